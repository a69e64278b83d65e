//! What is behind the port is busy, somebody else, or gone; and how little is asked of it.

use tonic::Code;

use super::{
    calls, ground,
    ollama_double::{Mode, Route},
    publish,
    support::{soon, v1},
    world,
};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_ollama_or_busy_is_told() {
    for (mode, told) in [
        (Mode::Busy, (Code::Unavailable, "BACKEND_BUSY")),
        (Mode::Html, (Code::Internal, "BACKEND_PROTOCOL")),
    ] {
        let world = world().await;
        world.health("backends/one", SERVING).await;
        world.ground.double().be(mode);
        let listed = soon(world.client.clone().list(v1::ListRequest::default())).await;
        let status = listed.unwrap_err();
        assert_eq!(calls::told(&status), calls::is(told.0, told.1), "{mode:?}: {status:?}");
        let status = world.pull(&world.ground.name("m")).await.unwrap_err();
        assert_eq!(calls::told(&status), calls::is(told.0, told.1), "{mode:?}: {status:?}");
        world.health("backends/one", NOT_SERVING).await;
        world.ground.double().be(Mode::Ollama);
        world.health("backends/one", SERVING).await;
        assert!(world.pull(&world.ground.name("m")).await.unwrap().changed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_of_what_is_there_ask_little() {
    let world = world().await;
    world.health("backends/one", SERVING).await;
    let name = world.ground.name("m");
    world.pull(&name).await.unwrap();
    let double = world.ground.double();
    let count = || double.asked(Route::Tags) + double.asked(Route::Pull) + double.asked(Route::Show);
    let (before, mut callers) = (count(), Vec::new());
    for _ in 0..1000 {
        let (mut client, name) = (world.client.clone(), name.clone());
        callers.push(tokio::spawn(async move {
            calls::ensured(&mut client, calls::ensure(&name)).await
        }));
    }
    for caller in callers {
        assert!(!soon(caller).await.unwrap().unwrap().changed);
    }
    let asked = count() - before;
    eprintln!("1000 callers of a present model: {asked} requests, probes among them");
    assert!(asked < 100, "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing() {
    let mut world = world().await;
    let name = world.ground.name("m");
    world.pull(&name).await.unwrap();
    for _ in 0..5 {
        world.ground.down().await;
        world.ground.up().await;
        // Connections that were open before are dead, and no caller learns of it.
        assert_eq!(world.list().await.len(), 1);
    }
}

/// The worker's own entry, with the bare name that means Ollama's hub.
#[tokio::test(flavor = "multi_thread")]
async fn the_entry_of_the_worker_has_its_model_pulled() {
    let (ground, _) = ground().await;
    publish(&ground, "llama3");
    let world = ground.start_with(&["--model=llama3".to_owned()]).await;
    world.health("", SERVING).await;
    assert_eq!(world.list().await[0].name, "llama3:latest");
    let double = world.ground.double();
    assert_eq!((double.asked(Route::Pull), double.asked(Route::Create)), (1, 0));
    let asked = double.state().bodies.clone();
    let pulled = asked.iter().find(|(route, _)| *route == Route::Pull).unwrap();
    assert_eq!(pulled.1["model"], "llama3:latest");
    assert_eq!(pulled.1["insecure"], false);
}
