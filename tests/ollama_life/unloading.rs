//! What is unloaded has left memory when that is told, with the names that shared it.

use model_control::{
    backend::{Backend as _, Kind},
    model::{ImportOptions, Unloaded},
};
use serde_json::json;

use super::{
    models::{embedder, tiny},
    world::{World, copy, load, name, soon},
};

#[tokio::test(flavor = "multi_thread")]
async fn it_is_gone_when_it_is_told() {
    let Some(world) = World::start() else { return };
    world.create("tiny", &tiny(), ImportOptions::default()).await;
    for _ in 0..5 {
        world.load(load("tiny")).await.unwrap();
        let size = world.running().await[0].size_bytes;
        let unloaded = world.unload("Tiny").await.unwrap();
        assert_eq!((unloaded.freed_bytes, &unloaded.shared_with[..]), (size, &[][..]));
        assert_eq!(world.loaded(), [""; 0]);
    }
    for nothing in ["tiny", "none"] {
        assert_eq!(world.unload(nothing).await.unwrap(), Unloaded::default());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_share_memory_are_told() {
    let Some(world) = World::start() else { return };
    world.create("a", &tiny(), ImportOptions::default()).await;
    world.create("emb", &embedder(), ImportOptions::default()).await;
    soon(world.port.copy(&copy("a", "b"))).await.unwrap();
    world.derive("a", "c");
    assert_ne!(world.digest("c").await, world.digest("a").await);
    world.load(load("emb")).await.unwrap();
    world.load(load("a")).await.unwrap();
    // Of other names the same: nothing to load, and found under the first.
    for other in ["b", "c"] {
        assert!(!world.load(load(other)).await.unwrap().changed, "{other}");
    }
    let running = world.running().await;
    assert_eq!(running.len(), 2);
    let shared = running.iter().find(|one| one.name == name("a")).unwrap();
    let mut sharing = shared.shared_with.clone();
    sharing.sort();
    assert_eq!(sharing, [name("b"), name("c")]);

    let unloaded = world.unload("c").await.unwrap();
    let mut sharing = unloaded.shared_with;
    sharing.sort();
    assert_eq!(sharing, [name("a"), name("b")]);
    assert_eq!(unloaded.freed_bytes, shared.size_bytes);
    assert_eq!(world.loaded(), ["emb:latest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_removed_or_replaced_while_it_was_loaded_is_told() {
    let Some(world) = World::start() else { return };
    for way in ["removed", "replaced"] {
        world.create(way, &tiny(), ImportOptions::default()).await;
        world.load(load(way)).await.unwrap();
        if way == "removed" {
            soon(world.port.delete(&name(way))).await.unwrap();
        } else {
            world.create(way, &embedder(), ImportOptions::default()).await;
        }
        let error = world.unload(way).await.unwrap_err();
        assert_eq!(error.kind, Kind::Stalled, "{error}");
        assert!(error.message.contains(way), "{error}");
        assert!(world.loaded().contains(&format!("{way}:latest")));
        // With the same content under a name it can be unloaded again.
        world.create("same", &tiny(), ImportOptions::default()).await;
        world.unload("same").await.unwrap();
        assert_eq!(world.loaded(), [""; 0]);
        soon(world.port.delete(&name("same"))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_answer_is_waited_for() {
    let Some(world) = World::start() else { return };
    world.create("tiny", &tiny(), ImportOptions::default()).await;
    world.load(load("tiny")).await.unwrap();
    let ask = json!({"model": "tiny", "prompt": "hi", "raw": true, "stream": false,
        "options": {"num_predict": 400, "ignore_eos": true}});
    std::thread::scope(|scope| {
        let answer = scope.spawn(|| world.server.post("/api/generate", &ask));
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                world.unload("tiny").await.unwrap();
            });
        });
        // Whichever came first, both were served.
        assert_eq!(answer.join().unwrap().unwrap()["done"], true);
    });
}
