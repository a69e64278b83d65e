//! Load, use, share, keep, unload.

use std::{net::TcpListener, sync::Arc, time::Duration};

use model_control::{
    backend::{Backend as _, Cancelled, Kind, embedded::RunnerSettings},
    gguf::build::Builder,
    model::{Capability, Event, KeepAlive, Phase, Protocol, RunState, Unloaded},
};
use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene, end, name, post, settings, spec, until};
use crate::shape::BIG;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_loaded_answers_and_leaves() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    let can = scene.engine.capabilities();
    assert!(can.is_superset(&[Capability::Load, Capability::Unload, Capability::ListRunning].into()));

    let (events, done) = end(scene.engine.load(spec("tiny")).await.unwrap()).await;
    assert!(done.unwrap().changed);
    assert!(events.contains(&Event::Entered(Phase::Loading)), "{events:?}");
    let running = scene.running("tiny").await.unwrap();
    assert_eq!(running.state, RunState::Ready);
    assert_eq!(running.context_length, Some(256));
    assert_eq!(running.protocols, [Protocol::OpenAi]);
    assert_eq!(running.options.unwrap().context_length, Some(256));
    assert!(
        (5 << 20..100 << 20).contains(&running.size_bytes),
        "{}",
        running.size_bytes
    );
    let listed = scene.engine.inspect(&name("tiny")).await.unwrap().unwrap();
    assert_eq!(running.digest, Some(listed.digest.clone()));
    assert!(running.expire_time.is_some());

    let endpoint = running.endpoint.unwrap();
    let chat = json!({ "messages": [{ "role": "user", "content": "hello" }], "max_tokens": 4, "stream": true });
    let (status, answer) = post(&endpoint, "/v1/chat/completions", "", &chat).await;
    assert_eq!(status, 200, "{answer}");
    assert!(
        answer.contains("chat.completion.chunk") && answer.contains("[DONE]"),
        "{answer}"
    );
    let (status, answer) = post(&endpoint, "/v1/embeddings", "", &json!({ "input": "hello" })).await;
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["data"][0]["embedding"].as_array().map(Vec::len), Some(64));
    assert_eq!(answer["model"], running.name.to_string());

    let canary = scene.engine.warm(&spec("tiny"), PATIENCE).await.unwrap();
    assert!(canary.time_to_first_token < PATIENCE);
    let again = scene.load(spec("tiny")).await.unwrap();
    assert!(!again.changed);

    let left = scene.unload("tiny").await;
    assert!(left.freed_bytes > 5 << 20);
    assert_eq!(scene.running("tiny").await, None);
    assert_eq!(scene.processes(), [0; 0]);
    assert_eq!(scene.unload("tiny").await, Unloaded::default());
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_the_same_in_whatever_case_it_is_named() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    // The store spells it as it was made; callers need not.
    scene.load(spec("TINY")).await.unwrap();
    scene.engine.warm(&spec("Tiny"), PATIENCE).await.unwrap();
    assert!(!scene.load(spec("tinY:LATEST")).await.unwrap().changed);
    assert_eq!(scene.processes().len(), 1);

    let left = scene.unload("TINY").await;
    assert!(left.freed_bytes > 5 << 20, "{left:?}");
    assert_eq!(left.shared_with, []);
    assert_eq!(scene.processes(), [0; 0]);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_loads_of_one_name_are_one_engine() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    let (one, two) = tokio::join!(scene.load(spec("tiny")), scene.load(spec("tiny")));
    assert!(one.unwrap().changed);
    two.unwrap();
    assert_eq!(scene.processes().len(), 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_the_same_files_share_an_engine_and_leave_together() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    scene
        .create("twin", &std::fs::read(crate::llama::tiny()).unwrap())
        .await;
    scene.load(spec("tiny")).await.unwrap();
    let done = scene.load(spec("twin")).await.unwrap();
    assert!(!done.changed);
    assert_eq!(scene.processes().len(), 1);
    assert_eq!(scene.running("twin").await.unwrap().shared_with, [name("tiny")]);
    assert_eq!(scene.endpoint("twin").await, scene.endpoint("tiny").await);

    // The other one wants another context: it gets an engine of its own only once its own is out of the way.
    let mut wide = spec("twin");
    wide.options.context_length = Some(512);
    scene.load(wide).await.unwrap();
    assert_eq!(scene.running("twin").await.unwrap().context_length, Some(512));

    let left = scene.unload("twin").await;
    assert_eq!(left.shared_with, []);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_load_leaves_nothing() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    scene.create("big", &BIG.file()).await;
    let call = scene.engine.load(spec("big")).await.unwrap();
    until("the process is there", async || {
        scene
            .running("big")
            .await
            .is_some_and(|big| big.state == RunState::Loading)
    })
    .await;
    let cancelled = call.cancel().await;
    assert!(matches!(cancelled, Cancelled::Stopped), "{cancelled:?}");
    assert_eq!(scene.running("big").await, None);
    assert_eq!(scene.processes(), [0; 0]);
    // One of two that wait may go.
    let (one, two) = (scene.engine.load(spec("big")).await.unwrap(), scene.load(spec("big")));
    let (_, two) = tokio::join!(one.cancel(), two);
    two.unwrap();
    assert_eq!(scene.processes().len(), 1);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_the_range_are_tried_in_order() {
    let Some(settings) = settings() else { return };
    // Two neighbours that were free a moment ago; the first is taken, and stays so.
    let (taken, free) = loop {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            break (taken, port + 1);
        }
    };
    let scene = Scene::new(RunnerSettings {
        ports: Some(free - 1..=free),
        ..settings
    })
    .await;
    scene.load(spec("tiny")).await.unwrap();
    assert_eq!(scene.endpoint("tiny").await, format!("http://127.0.0.1:{free}"));
    scene
        .create("twin", &std::fs::read(crate::llama::tiny()).unwrap())
        .await;
    let mut other = spec("twin");
    other.options.context_length = Some(512);
    let error = scene.load(other).await.unwrap_err();
    assert_eq!(error.kind, Kind::Busy(None), "{error}");
    drop(taken);
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_show_the_key_and_are_told_the_advertised_host() {
    let Some(settings) = settings() else { return };
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("keys");
    std::fs::write(&key_file, "# ours\nsecret-key\n").unwrap();
    let scene = Scene::new(RunnerSettings {
        listen: "0.0.0.0".parse().unwrap(),
        advertise: Some("localhost".to_owned()),
        key_file: Some(key_file),
        ..settings
    })
    .await;
    scene.load(spec("tiny")).await.unwrap();
    scene.engine.warm(&spec("tiny"), PATIENCE).await.unwrap();
    let endpoint = scene.endpoint("tiny").await;
    assert!(endpoint.starts_with("http://localhost:"), "{endpoint}");
    let ask = json!({ "prompt": "hello", "max_tokens": 1 });
    assert_eq!(post(&endpoint, "/v1/completions", "wrong", &ask).await.0, 401);
    assert_eq!(post(&endpoint, "/v1/completions", "secret-key", &ask).await.0, 200);
    for pid in scene.processes() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(!String::from_utf8_lossy(&line).contains("secret-key"));
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unused_leaves_and_the_pinned_stays() {
    let Some(settings) = settings() else { return };
    let scene = Arc::new(Scene::new(settings).await);
    let mut short = spec("tiny");
    short.keep_alive = KeepAlive::For(Duration::from_millis(200));
    scene.load(short.clone()).await.unwrap();
    let kept = scene.running("tiny").await.unwrap();
    assert!(kept.expire_time.is_some());
    let look = Arc::clone(&scene);
    until("it leaves", async || look.running("tiny").await.is_none()).await;

    // A pin outlasts the time that was asked for before.
    scene.load(short.clone()).await.unwrap();
    short.keep_alive = KeepAlive::Forever;
    scene.load(short).await.unwrap();
    let before = scene.processes();
    let passed = tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
    assert!(passed.is_err());
    assert_eq!(scene.processes(), before);
    assert_eq!(scene.running("tiny").await.unwrap().expire_time, None);
    drop(look);
    Arc::into_inner(scene).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_only_embeds_is_warmed_by_an_embedding() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    let mut shape = BIG;
    (shape.dim, shape.layers, shape.ff, shape.vocab) = (96, 1, 96, 300);
    let file = shape.build().unsigned("llama.pooling_type", 1);
    scene.create("embeds", &Builder::finish(&file)).await;
    scene.load(spec("embeds")).await.unwrap();
    let canary = scene.engine.warm(&spec("embeds"), PATIENCE).await.unwrap();
    assert_eq!(canary.text, "");
    scene.close().await;
}
