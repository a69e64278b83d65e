//! What was pushed comes back, byte for byte.

use std::fs;

use model_control::{backend::Backend as _, model::Digest};
use serde_json::json;

use super::{
    ollama::Server,
    registry::Front,
    world::{World, name, soon},
};

#[tokio::test(flavor = "multi_thread")]
async fn another_store_of_ours_has_the_same() {
    let Some(world) = World::start().await else { return };
    let name = world.create("team/tiny:v1").await;
    world.push(&name).await.ended.unwrap();
    let engine = world.pulled("two", &name).await;
    assert_eq!(world.stored("two", &name), world.stored("one", &name));
    for digest in world.blobs("one", &name) {
        let (one, two) = (world.blob("one", &digest), world.blob("two", &digest));
        assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap(), "{digest}");
    }
    let listed = soon(engine.inspect(&name)).await.unwrap().unwrap();
    assert_eq!(listed.digest, Digest::of(&world.stored("one", &name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_ollama_has_the_same() {
    let Some(world) = World::start().await else { return };
    let Some(ollama) = Server::start() else { return };
    let name = world.create("team/tiny:v1").await;
    world.push(&name).await.ended.unwrap();
    let (stored, blobs) = (world.stored("one", &name), world.blobs("one", &name));
    // It fetches blobs only from where a registry sends it.
    let front = Front::before(&world.registry, world.registry.address).await;
    let name = self::name(&format!("{}/team/tiny:v1", front.address));
    let model = name.to_string();
    let pull = json!({"model": model, "insecure": true, "stream": false});
    let pulled = tokio::task::spawn_blocking(move || {
        let pulled = ollama.post("/api/pull", &pull);
        (ollama, pulled)
    });
    let (ollama, pulled) = soon(pulled).await.unwrap();
    assert_eq!(pulled.unwrap()["status"], "success");
    let tags = ollama.get("/api/tags").unwrap();
    let digest = Digest::of(&stored);
    assert_eq!(tags["models"][0]["digest"], digest.hex());
    assert_eq!(tags["models"][0]["name"], model.as_str());
    let mut path = ollama.models().join("manifests");
    path.extend(name.parts());
    assert_eq!(fs::read(path).unwrap(), stored);
    for digest in blobs {
        let there = ollama.models().join("blobs").join(format!("sha256-{}", digest.hex()));
        assert_eq!(
            fs::read(world.blob("one", &digest)).unwrap(),
            fs::read(there).unwrap(),
            "{digest}"
        );
    }
    let shown = ollama.post("/api/show", &json!({"model": model})).unwrap();
    assert_eq!(shown["system"], "say little");
}
