//! Creates and uploads that go wrong on Ollama's side.

use std::{fs, os::unix::fs::MetadataExt as _};

use model_control::model::Digest;
use serde_json::json;
use tonic::Code;

use super::{
    assert_clean, calls, ground,
    ollama_double::{Answer, Gate, Route, Step},
    support::{create, soon, v1},
    until, world,
    world::tiny,
};

const RECORDED: &[(Route, &str, Code, &str)] = &[
    (Route::Create, "create-missing-blob", Code::Aborted, "INTERRUPTED"),
    (Route::Create, "create-server-sigkill", Code::Aborted, "INTERRUPTED"),
    (
        Route::Create,
        "create-gguf-no-helper",
        Code::FailedPrecondition,
        "ENGINE_MISSING_PART",
    ),
    (
        Route::Create,
        "create-unknown-arch",
        Code::InvalidArgument,
        "MODEL_FILE_INVALID",
    ),
    (
        Route::Create,
        "create-not-gguf",
        Code::InvalidArgument,
        "MODEL_FILE_INVALID",
    ),
    (
        Route::Create,
        "create-bad-template",
        Code::InvalidArgument,
        "REQUEST_INVALID",
    ),
    (
        Route::Create,
        "create-quantize-nonsense",
        Code::InvalidArgument,
        "REQUEST_INVALID",
    ),
    (Route::PostBlob, "blob-disk-full", Code::ResourceExhausted, "DISK_FULL"),
    // The digest was taken of the same file a moment before.
    (
        Route::PostBlob,
        "blob-post-mismatch",
        Code::FailedPrecondition,
        "PATH_NOT_USABLE",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_told_truly() {
    let mut wrong = Vec::new();
    for &(route, recording, code, reason) in RECORDED {
        let world = world().await;
        world.ground.double().on(route, Answer::Recorded(recording));
        let status = world.create("m", &tiny(0)).await.expect_err(recording);
        assert_clean(&status);
        if calls::told(&status) != calls::is(code, reason) {
            wrong.push(format!(
                "{recording}: {} and not {reason}: {status:?}",
                calls::told(&status).1
            ));
        }
        assert!(world.list().await.is_empty(), "{recording}");
        assert!(world.create("m", &tiny(0)).await.unwrap().changed, "{recording}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// It was not there when asked, and is when it comes: Ollama answers at once and reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_comes_meanwhile_is_no_error() {
    let world = world().await;
    let path = world.ground.home.write_model("big.gguf", 32);
    let digest = Digest::of(&fs::read(&path).unwrap()).to_string();
    let double = world.ground.double();
    double.state().blobs.insert(digest, 32 << 20);
    double.on(Route::HeadBlob, Answer::Json(404, String::new()));
    let made = super::support::created(&mut world.client.clone(), create("m", &path)).await;
    assert!(made.unwrap().changed);
    assert_eq!(double.asked(Route::PostBlob), 1);
}

/// Ollama cannot stop a create: it is waited for, and its model is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_that_is_left_goes_to_its_end() {
    let world = world().await;
    let double = world.ground.double();
    let gate = Gate::new();
    double.on(Route::Create, Answer::Late(gate.clone(), Box::new(Answer::Usual)));
    let path = world.ground.put("m.gguf", &tiny(0));
    let mut stream = soon(world.client.clone().create_from_path(create("m", &path)))
        .await
        .unwrap()
        .into_inner();
    let first = soon(stream.message()).await.unwrap().unwrap();
    let Some(v1::create_from_path_response::Event::Progress(first)) = first.event else {
        panic!("no snapshot first")
    };
    until(|| double.asked(Route::Create) == 1).await;
    let cancelled = calls::cancel(&mut world.operations.clone(), &first.operation_id)
        .await
        .unwrap();
    let failure = calls::failure(&cancelled);
    assert_eq!(failure.reason, "OPERATION_CANCELLED");
    gate.open();
    until(|| !double.state().models.is_empty()).await;
    let again = world.create("m", &tiny(0)).await.unwrap();
    assert_eq!(again.model.unwrap().digest, world.list().await[0].digest);
}

/// The second create of a file reads and sends nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_not_sent_again() {
    let world = world().await;
    for model in ["a", "b", "c"] {
        let path = world.ground.home.model("one.gguf");
        if model == "a" {
            world.ground.put("one.gguf", &tiny(0));
        }
        let made = super::support::created(&mut world.client.clone(), create(model, &path)).await;
        assert!(made.unwrap().changed);
    }
    assert_eq!(world.ground.double().asked(Route::PostBlob), 1);
}

/// What was remembered of a file is wrong, which only Ollama finds out: it is read again, and its digest is right from then on.
#[tokio::test(flavor = "multi_thread")]
async fn a_remembered_digest_that_is_wrong_is_forgotten() {
    let (ground, _) = ground().await;
    let path = ground.put("m.gguf", &tiny(0));
    let file = fs::metadata(&path).unwrap();
    let nanoseconds = |seconds: i64, rest: i64| seconds * 1_000_000_000 + rest;
    let key = json!({
        "dev": file.dev(), "ino": file.ino(), "size": file.size(),
        "mtime": nanoseconds(file.mtime(), file.mtime_nsec()), "ctime": nanoseconds(file.ctime(), file.ctime_nsec()),
    });
    let remembered = json!({
        "format": "model-control digests", "version": 1, "made": [],
        "files": [{"key": key, "value": Digest::of(b"another").to_string()}],
    });
    fs::create_dir(ground.home.path("state")).unwrap();
    let state = ground.home.path("state/digests.json");
    fs::write(&state, remembered.to_string()).unwrap();
    let world = ground.start().await;
    let made = super::support::created(&mut world.client.clone(), create("m", &path)).await;
    let provenance = made.unwrap().provenance.unwrap();
    assert_eq!(provenance.sources[0].digest, Digest::of(&tiny(0)).to_string());
    let double = world.ground.double();
    // The wrong one alone: what was sent under it lies in Ollama under its own digest.
    assert_eq!((double.asked(Route::PostBlob), double.asked(Route::Create)), (1, 1));
    let kept = fs::read_to_string(state).unwrap();
    assert!(!kept.contains(Digest::of(b"another").hex()), "{kept}");
}

const HELPER: &str = "{\"error\":\"failed to validate GGUF with llama-quantize without compatibility patches: llama-quantize \
                      failed: exit status 1\"}";

/// Ollama's program failed, and Ollama does not say whether the file is wrong or the disk is full: the disk is tried.
#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_fails_has_the_disk_tried() {
    let world = world().await;
    let double = world.ground.double();
    let fails = || double.on(Route::Create, Answer::Stream(Step::lines([HELPER])));
    let tried = || -> u64 {
        let head = &double.state().heads[&Route::PostBlob]["content-length"];
        head.to_str().unwrap().parse().unwrap()
    };
    fails();
    let status = world.create("m", &tiny(0)).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::InvalidArgument, "MODEL_FILE_INVALID")
    );
    assert!(!status.message().contains("room"), "{status:?}");
    assert_eq!(tried(), tiny(0).len() as u64 + 1);

    fails();
    double.on(
        Route::PostBlob,
        Answer::Json(
            500,
            "{\"error\":\"write /models-dir/blobs/sha256-1: no space left on device\"}".to_owned(),
        ),
    );
    let status = world.create("m", &tiny(0)).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::ResourceExhausted, "DISK_FULL"));

    // Of a large one some of it is tried, and both causes are told.
    let path = world.ground.home.write_model("large.gguf", 65);
    fails();
    let made = super::support::created(&mut world.client.clone(), create("m", &path)).await;
    let status = made.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::InvalidArgument, "MODEL_FILE_INVALID")
    );
    assert!(status.message().contains("no room"), "{status:?}");
    assert_eq!(tried(), (64 << 20) + 1);
    assert_eq!(double.asked(Route::PostBlob), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_fails_when_nobody_listens_has_nothing_tried() {
    let world = world().await;
    let double = world.ground.double();
    let gate = Gate::new();
    let fails = Answer::Stream(Step::lines([HELPER]));
    double.on(Route::Create, Answer::Late(gate.clone(), Box::new(fails)));
    let path = world.ground.put("m.gguf", &tiny(0));
    let mut stream = soon(world.client.clone().create_from_path(create("m", &path)))
        .await
        .unwrap()
        .into_inner();
    let first = soon(stream.message()).await.unwrap().unwrap();
    let Some(v1::create_from_path_response::Event::Progress(first)) = first.event else {
        panic!("no snapshot first")
    };
    until(|| double.asked(Route::Create) == 1).await;
    calls::cancel(&mut world.operations.clone(), &first.operation_id)
        .await
        .unwrap();
    gate.open();
    assert!(world.create("m", &tiny(0)).await.unwrap().changed);
    assert_eq!(double.asked(Route::PostBlob), 1);
}
