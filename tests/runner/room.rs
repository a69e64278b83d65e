//! Who makes room for whom.

use std::{num::NonZeroUsize, time::Duration};

use model_control::{
    backend::{
        Backend as _, Kind,
        embedded::{RunnerLimits, RunnerSettings},
    },
    model::KeepAlive,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    llama,
    scene::{PATIENCE, Scene, name, settings, spec, until},
    shape::BIG,
};

async fn three(settings: RunnerSettings) -> Scene {
    let scene = Scene::new(settings).await;
    // Of other content each, so that none can share an engine.
    let file = std::fs::read(llama::tiny()).unwrap();
    for (seed, model) in [(1, "one"), (2, "two"), (3, "three")] {
        let mut other = file.clone();
        let last = other.len() - 1;
        other[last] = seed;
        scene.create(model, &other).await;
    }
    scene
}

async fn loaded(scene: &Scene) -> Vec<String> {
    let running = scene.engine.running().await.unwrap();
    let mut names: Vec<_> = running.iter().map(|running| running.name.to_string()).collect();
    names.sort();
    names
}

fn names(models: &[&str]) -> Vec<String> {
    let mut names: Vec<_> = models.iter().map(|model| name(model).to_string()).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_recently_used_leaves_and_the_pinned_does_not() {
    let Some(settings) = settings() else { return };
    let scene = three(RunnerSettings {
        max_loaded: NonZeroUsize::new(2),
        ..settings
    })
    .await;
    let mut pinned = spec("one");
    pinned.keep_alive = KeepAlive::Forever;
    scene.load(pinned).await.unwrap();
    scene.load(spec("two")).await.unwrap();
    scene.load(spec("three")).await.unwrap();
    assert_eq!(loaded(&scene).await, names(&["one", "three"]));
    assert_eq!(scene.processes().len(), 2);
    let mut all_pinned = spec("three");
    all_pinned.keep_alive = KeepAlive::Forever;
    scene.load(all_pinned).await.unwrap();
    let error = scene.load(spec("two")).await.unwrap_err();
    assert_eq!(error.kind, Kind::OutOfMemory);
    assert!(error.message.contains("2 models are in memory"), "{error}");
    assert_eq!(loaded(&scene).await, names(&["one", "three"]));
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_works_does_not_leave_for_another_but_for_an_unload() {
    let Some(settings) = settings() else { return };
    let limits = RunnerLimits {
        drain: Duration::from_millis(200),
        ..settings.limits
    };
    let scene = Scene::new(RunnerSettings {
        max_loaded: NonZeroUsize::new(1),
        limits,
        ..settings
    })
    .await;
    scene.create("big", &BIG.file()).await;
    let mut long = spec("big");
    long.options.context_length = Some(8192);
    // Minutes of work, unless nobody wants it any more.
    let ask = json!({ "prompt": "hello", "max_tokens": 8000, "ignore_eos": true, "stream": true }).to_string();
    scene.load(long.clone()).await.unwrap();
    let stream = begin(&scene.endpoint("big").await, &ask).await;
    let error = scene.load(spec("tiny")).await.unwrap_err();
    assert_eq!(error.kind, Kind::OutOfMemory, "{error}");
    assert_eq!(loaded(&scene).await, names(&["big"]));
    drop(stream);
    until("it is done", async || scene.load(spec("tiny")).await.is_ok()).await;
    assert_eq!(loaded(&scene).await, names(&["tiny"]));

    scene.load(long).await.unwrap();
    let mut stream = begin(&scene.endpoint("big").await, &ask).await;
    assert!(scene.unload("big").await.freed_bytes > 100 << 20);
    assert_eq!(loaded(&scene).await, [""; 0]);
    // Cut off, or ended: over.
    let over = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    assert!(over.is_ok());
    scene.close().await;
}

/// A request whose answer has begun.
async fn begin(endpoint: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(endpoint.strip_prefix("http://").unwrap())
        .await
        .unwrap();
    let head = format!(
        "POST /v1/completions HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut first = [0; 64];
    assert!(stream.read(&mut first).await.unwrap() > 0);
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_fit_is_refused_with_the_figures_and_displaces_nobody() {
    let Some(settings) = settings() else { return };
    let scene = three(settings).await;
    scene.load(spec("one")).await.unwrap();
    let mut huge = spec("two");
    huge.options.context_length = Some(2_000_000_000);
    let error = scene.load(huge).await.unwrap_err();
    assert_eq!(error.kind, Kind::OutOfMemory);
    assert!(error.message.contains("cache of 2000000000 tokens 488282"), "{error}");
    assert_eq!(loaded(&scene).await, names(&["one"]));
    scene.close().await;
}
