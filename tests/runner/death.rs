//! Engines that are killed, and a service that is.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use model_control::{
    backend::{
        Backend as _, Kind, LoadSpec,
        embedded::{Embedded, RunnerLimits, RunnerSettings},
    },
    model::{KeepAlive, ModelName},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    processes::{kill, processes},
    scene::{PATIENCE, Scene, end, name, post, settings, spec, until},
};

/// Where the role finds the store.
const STORE: &str = "MODEL_CONTROL_TEST_RUNNER_STORE";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_is_told_and_touches_no_other() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    scene.load(spec("tiny")).await.unwrap();
    let victim = scene.processes();
    scene
        .create("other", &std::fs::read(crate::llama::tiny()).unwrap())
        .await;
    let mut other = spec("other");
    other.options.context_length = Some(512);
    scene.load(other).await.unwrap();
    assert_eq!(scene.processes().len(), 2);

    kill(victim[0]);
    until("it is gone", async || scene.running("tiny").await.is_none()).await;
    let ended = scene.engine.ended(&name("tiny")).unwrap();
    assert_eq!((ended.code, ended.signal), (None, Some(9)));
    assert!(!ended.last_lines.is_empty());
    assert_eq!(scene.engine.ended(&name("Tiny")), Some(ended));
    assert_eq!(scene.engine.death(&name("TINY")).unwrap().in_a_row, 1);
    let error = scene.engine.warm(&spec("tiny"), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted);
    let endpoint = scene.endpoint("other").await;
    let ask = json!({ "prompt": "hello", "max_tokens": 1 });
    assert_eq!(post(&endpoint, "/v1/completions", "", &ask).await.0, 200);

    scene.load(spec("tiny")).await.unwrap();
    assert_eq!(scene.engine.ended(&name("tiny")), None);
    scene.close().await;
}

/// Stopped, it takes connections and does nothing: as one whose accelerator hangs.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_hangs_is_ended_and_told_as_one_that_died() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(RunnerSettings {
        limits: RunnerLimits {
            stall: Duration::from_millis(800),
            terminate: Duration::from_millis(100),
            ..RunnerLimits::default()
        },
        ..settings
    })
    .await;
    let pinned = LoadSpec {
        keep_alive: KeepAlive::Forever,
        ..spec("tiny")
    };
    scene.load(pinned).await.unwrap();
    let process = Pid::from_raw(scene.processes()[0].cast_signed()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    until("it is gone", async || scene.running("tiny").await.is_none()).await;
    assert_eq!(
        scene.engine.ended(&name("tiny")).unwrap().hung,
        Some(Duration::from_millis(800))
    );
    let death = scene.engine.death(&name("tiny")).unwrap();
    assert!(death.how.contains("no answer and no work"), "{}", death.how);
    assert!(scene.processes().is_empty());
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_nobody_has_any_more_is_killed() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    scene.load(spec("tiny")).await.unwrap();
    assert_eq!(scene.processes().len(), 1);
    let folder = scene.path().to_owned();
    drop(scene);
    until("it is gone", async || processes(&folder).is_empty()).await;
}

/// The service of `no_engine_outlives_a_killed_service`, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs in a process of its own, by the test below, which kills it"]
async fn role_of_a_service() {
    let Some(store) = std::env::var_os(STORE) else { return };
    let engine = Embedded::open(PathBuf::from(store)).unwrap();
    let engine = engine.with_runner(settings().unwrap()).unwrap();
    let name: ModelName = name("tiny");
    end(engine.load(spec("tiny")).await.unwrap()).await.1.unwrap();
    assert_eq!(engine.running().await.unwrap()[0].name, name);
    eprintln!("\nloaded");
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_engine_outlives_a_killed_service() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    let folder = scene.path().to_owned();
    let path = scene.file("store");
    let kept = scene.into_folder();
    let mut service = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "death::role_of_a_service",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(STORE, path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let said = BufReader::new(service.stderr.take().unwrap());
    let loaded = said.lines().map_while(Result::ok).any(|line| line == "loaded");
    let before = processes(&folder);
    service.kill().unwrap();
    service.wait().unwrap();
    assert!(loaded);
    assert_eq!(before.len(), 1);
    until("it is gone", async || processes(&folder).is_empty()).await;
    drop(kept);
}
