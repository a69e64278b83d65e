//! Who makes room for whom.

use std::{num::NonZeroUsize, time::Duration};

use model_control::{
    backend::{Backend as _, Kind, embedded::RunnerSettings},
    model::KeepAlive,
};
use serde_json::json;

use crate::{
    llama,
    scene::{Scene, name, post, settings, spec},
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
async fn one_that_works_does_not_leave() {
    let Some(settings) = settings() else { return };
    let scene = three(RunnerSettings {
        max_loaded: NonZeroUsize::new(1),
        ..settings
    })
    .await;
    let mut long = spec("one");
    long.options.context_length = Some(512);
    scene.load(long).await.unwrap();
    let endpoint = scene.endpoint("one").await;
    // Without an end of its own, in a context that is moved on.
    let ask = json!({ "prompt": "hello", "max_tokens": 1_000_000, "ignore_eos": true, "stream": true });
    let address = endpoint.strip_prefix("http://").unwrap().to_owned();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    begin(&mut stream, &ask.to_string()).await;
    let error = tokio::time::timeout(Duration::from_mins(1), scene.load(spec("two"))).await;
    // A short context ends even this request: then, and only then, there was room.
    match error.unwrap() {
        Err(error) => assert_eq!(error.kind, Kind::OutOfMemory, "{error}"),
        Ok(_) => assert_eq!(loaded(&scene).await, names(&["two"])),
    }
    drop(stream);
    let (status, _) = match scene.running("two").await.and_then(|two| two.endpoint) {
        Some(endpoint) => {
            post(
                &endpoint,
                "/v1/completions",
                "",
                &json!({ "prompt": "a", "max_tokens": 1 }),
            )
            .await
        }
        None => (200, String::new()),
    };
    assert_eq!(status, 200);
    scene.close().await;
}

async fn begin(stream: &mut tokio::net::TcpStream, body: &str) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let head = format!(
        "POST /v1/completions HTTP/1.0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut first = [0; 64];
    assert!(stream.read(&mut first).await.unwrap() > 0);
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
