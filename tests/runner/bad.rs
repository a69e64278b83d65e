//! What cannot be loaded, and why: the engine's own words.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use model_control::{
    backend::{
        Backend as _, Error, Kind,
        embedded::{RunnerLimits, RunnerSettings},
    },
    gguf::{TensorKind, build::Builder},
    model::Capability,
};
use serde_json::json;

use crate::{
    llama,
    scene::{Scene, name, settings, spec},
};

fn no_path(scene: &Scene, error: &Error) {
    assert!(!error.message.contains(scene.path().to_str().unwrap()), "{error}");
    assert!(!error.message.contains("/blobs/"), "{error}");
}

/// A program in place of `llama-server`.
fn script(folder: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("engine.sh");
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_reason_arrives() {
    let Some(settings) = settings() else { return };
    let scene = Scene::new(settings).await;
    let file = |architecture| Builder::new(architecture).tensor("a", &[32], TensorKind::F32, &[0; 128]);
    scene.create("unknown", &file("llamx").finish()).await;
    let error = scene.load(spec("unknown")).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotLoadable);
    assert!(error.message.contains("unknown model architecture: 'llamx'"), "{error}");

    scene.create("broken", &file("llama").finish()).await;
    let error = scene.load(spec("broken")).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotLoadable);
    assert!(error.message.contains("key not found in model"), "{error}");
    no_path(&scene, &error);
    assert_eq!(scene.engine.running().await.unwrap(), []);

    let error = scene.load(spec("absent")).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    let error = scene
        .engine
        .warm(&spec("tiny"), Duration::from_secs(1))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Interrupted);
    let mut options = spec("tiny");
    options.options.engine_options.insert("tools".to_owned(), json!("all"));
    let error = scene.load(options).await.unwrap_err();
    assert!(matches!(error.kind, Kind::OptionInvalid(_)), "{error}");
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_without_memory_says_so() {
    let Some(settings) = settings() else { return };
    let folder = tempfile::tempdir().unwrap();
    let real = llama::program("llama-server").unwrap();
    let program = script(&folder, &format!("ulimit -v 400000\nexec '{}' \"$@\"", real.display()));
    let scene = Scene::new(RunnerSettings {
        program: Some(program),
        ..settings
    })
    .await;
    let mut wide = spec("tiny");
    // 512 MiB of cache.
    wide.options.context_length = Some(2 << 20);
    let error = scene.load(wide).await.unwrap_err();
    assert_eq!(error.kind, Kind::OutOfMemory, "{error}");
    assert!(error.message.contains("allocate"), "{error}");
    scene.load(spec("tiny")).await.unwrap();
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_llama_server_the_way_out_is_told_and_the_rest_works() {
    let scene = Scene::new(RunnerSettings {
        program: Some("/nonexistent/llama-server".into()),
        ..RunnerSettings::default()
    })
    .await;
    let error = scene.load(spec("tiny")).await.unwrap_err();
    assert_eq!(error.kind, Kind::MissingPart);
    assert!(error.message.contains("llama-server"), "{error}");
    assert!(!scene.engine.capabilities().contains(&Capability::Load));
    let missing = scene.engine.missing(Capability::Load).unwrap();
    assert_eq!(missing.message, error.message);
    assert!(
        scene.engine.missing(Capability::Quantize).is_none(),
        "no part makes it do that"
    );
    assert!(scene.engine.inspect(&name("tiny")).await.unwrap().is_some());
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_makes_no_progress_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    // It heeds no SIGTERM either.
    let program = script(&folder, "trap '' TERM\necho 'I am here' >&2\nexec tail -f /dev/null");
    let scene = Scene::new(RunnerSettings {
        program: Some(program),
        helper: Some(env!("CARGO_BIN_EXE_model-control").into()),
        limits: RunnerLimits {
            stall: Duration::from_millis(500),
            ..RunnerLimits::default()
        },
        ..RunnerSettings::default()
    })
    .await;
    let error = scene.load(spec("tiny")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Stalled, "{error}");
    assert!(error.message.contains("I am here"), "{error}");
    scene.close().await;
}
