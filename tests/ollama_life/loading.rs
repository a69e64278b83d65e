//! What is loaded is in memory, answers, and was loaded as it was asked for.

use std::time::{Duration, SystemTime};

use model_control::{
    backend::{Backend as _, Cancelled, Kind, LoadSpec, Next},
    model::{Event, ImportOptions, KeepAlive, LoadOptions, Phase, Protocol, RunState},
};
use serde_json::json;

use super::{
    models::{broken, embedder, tiny},
    world::{World, load, name, soon},
};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_loaded_warm_and_stays_as_asked() {
    let Some(world) = World::start() else { return };
    world.create("tiny", &tiny(), ImportOptions::default()).await;
    assert_eq!(world.running().await, []);
    assert!(world.load(load("TINY")).await.unwrap().changed);
    let running = world.running().await;
    let [one] = &running[..] else { panic!("{running:?}") };
    assert_eq!((&one.name, &one.digest), (&name("tiny"), &world.digest("tiny").await));
    assert_eq!((one.state, one.context_length), (RunState::Ready, Some(512)));
    assert_eq!(one.protocols, [Protocol::Ollama, Protocol::OpenAi]);
    assert!(one.size_bytes > 100_000 && one.shared_with.is_empty() && one.endpoint.is_none());
    assert!(one.expire_time.unwrap() > SystemTime::now());

    let forever = LoadSpec {
        keep_alive: KeepAlive::Forever,
        ..load("tiny")
    };
    assert!(!world.load(forever.clone()).await.unwrap().changed, "it was there");
    assert_eq!(world.running().await[0].expire_time, None);
    let canary = soon(world.port.warm(&forever, LIMIT)).await.unwrap();
    assert!(canary.time_to_first_token > Duration::ZERO && canary.time_to_first_token < LIMIT);
    assert!(canary.text.chars().count() <= 64 && canary.timeout == LIMIT);
    assert_eq!(world.running().await[0].expire_time, None, "it stays as it was");

    // Longer than Ollama's own numbers reach.
    let ages = LoadSpec {
        keep_alive: KeepAlive::For(Duration::from_secs(1_000_000_000_000)),
        ..load("tiny")
    };
    world.load(ages).await.unwrap();
    let years = world.running().await[0].expire_time.unwrap();
    assert!(years > SystemTime::now() + Duration::from_hours(9 * 365 * 24));
}

#[tokio::test(flavor = "multi_thread")]
async fn options_load_anew_and_the_canary_does_not() {
    let Some(world) = World::start() else { return };
    world.create("tiny", &tiny(), ImportOptions::default()).await;
    let smaller = LoadSpec {
        options: LoadOptions {
            context_length: Some(256),
            engine_options: json!({"num_batch": 64.0}).as_object().unwrap().clone(),
        },
        ..load("tiny")
    };
    world.load(load("tiny")).await.unwrap();
    let begun = |world: &World| world.server.log().matches("starting llama-server").count();
    let before = begun(&world);
    assert!(world.load(smaller.clone()).await.unwrap().changed);
    assert_eq!(world.running().await[0].context_length, Some(256));
    let loaded = begun(&world);
    assert!(loaded > before, "{}", world.server.log());
    for _ in 0..3 {
        soon(world.port.warm(&smaller, LIMIT)).await.unwrap();
        assert!(!world.load(smaller.clone()).await.unwrap().changed);
    }
    assert_eq!(begun(&world), loaded);

    let wrong = LoadSpec {
        options: LoadOptions {
            context_length: None,
            engine_options: json!({"num_batch": "many"}).as_object().unwrap().clone(),
        },
        ..load("tiny")
    };
    let error = world.load(wrong).await.unwrap_err();
    assert_eq!(
        error.kind,
        Kind::OptionInvalid("load_options.engine_options"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_only_embeds_is_loaded_and_warm() {
    let Some(world) = World::start() else { return };
    world.create("emb", &embedder(), ImportOptions::default()).await;
    assert!(world.load(load("emb")).await.unwrap().changed);
    assert_eq!(world.loaded(), ["emb:latest"]);
    let canary = soon(world.port.warm(&load("emb"), LIMIT)).await.unwrap();
    assert_eq!(canary.text, "");
    assert!(canary.time_to_first_token > Duration::ZERO);
    assert!(world.unload("emb").await.unwrap().freed_bytes > 0);
    assert_eq!(world.loaded(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_loaded_says_why() {
    let Some(world) = World::start() else { return };
    world.create("broken", &broken(), ImportOptions::default()).await;
    let error = world.load(load("broken")).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotLoadable, "{error}");
    assert!(error.message.contains("tensor"), "the runner's own reason: {error}");
    assert_eq!(error.message.matches("error loading model").count(), 1, "{error}");
    assert_eq!(world.running().await, []);

    for failed in [
        world.load(load("none")).await.map(drop),
        soon(world.port.warm(&load("none"), LIMIT)).await.map(drop),
    ] {
        assert_eq!(failed.unwrap_err().kind, Kind::NotFound);
    }
    let at_once = LoadSpec {
        keep_alive: KeepAlive::For(Duration::ZERO),
        ..load("broken")
    };
    let error = world.load(at_once).await.unwrap_err();
    assert_eq!(error.kind, Kind::OptionInvalid("keep_alive"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_is_told_and_given_up() {
    let Some(world) = World::start() else { return };
    world.create("tiny", &tiny(), ImportOptions::default()).await;
    let mut call = world.port.load(load("tiny")).await.unwrap();
    match soon(call.next()).await {
        Next::Event(event) => assert_eq!(event, Event::Entered(Phase::Loading)),
        other @ Next::Ended(_) => panic!("{other:?}"),
    }
    // Whether it was in time is a race; nothing hangs, and what is told is so.
    match soon(call.cancel()).await {
        Cancelled::Stopped => {}
        Cancelled::Ended(ended) => assert!(ended.unwrap().changed),
        Cancelled::GoesOn(what) => panic!("{what}"),
    }
    world.unload("tiny").await.unwrap();
    assert!(
        world.load(load("tiny")).await.unwrap().changed,
        "and it can be loaded after"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_is_silent_is_stalled() {
    let Some(world) = World::start() else { return };
    world.create("tiny", &tiny(), ImportOptions::default()).await;
    world.load(load("tiny")).await.unwrap();
    world.server.stop();
    let error = soon(world.port.warm(&load("tiny"), Duration::from_millis(300)))
        .await
        .unwrap_err();
    world.server.cont();
    assert_eq!(error.kind, Kind::Stalled, "{error}");
    soon(world.port.warm(&load("tiny"), LIMIT)).await.unwrap();
}
