//! Every error of a pull that was recorded, and every end that is none.

use tonic::Code;

use super::{
    assert_clean, calls,
    ollama_double::{Answer, Route, Step},
    world,
};

/// Recordings that end in an error.
const RECORDED: &[(&str, Code, &str)] = &[
    ("pull-not-found", Code::NotFound, "MODEL_NOT_FOUND"),
    ("pull-tag-not-found", Code::NotFound, "MODEL_NOT_FOUND"),
    ("pull-blob-404", Code::NotFound, "MODEL_NOT_FOUND"),
    ("pull-403", Code::FailedPrecondition, "REGISTRY_CREDENTIALS"),
    (
        "pull-401-token-denied",
        Code::FailedPrecondition,
        "REGISTRY_CREDENTIALS",
    ),
    (
        "pull-401-token-ok-still-401",
        Code::FailedPrecondition,
        "REGISTRY_CREDENTIALS",
    ),
    ("pull-blob-403", Code::FailedPrecondition, "REGISTRY_CREDENTIALS"),
    ("pull-429", Code::Unavailable, "REGISTRY_BUSY"),
    ("pull-500", Code::Unavailable, "REGISTRY_UNREACHABLE"),
    ("pull-blob-500", Code::Unavailable, "REGISTRY_UNREACHABLE"),
    ("pull-connection-refused", Code::Unavailable, "REGISTRY_UNREACHABLE"),
    ("pull-missing-insecure", Code::Unavailable, "REGISTRY_UNREACHABLE"),
    ("pull-truncated-forever", Code::Unavailable, "REGISTRY_UNREACHABLE"),
    ("pull-no-redirect", Code::Unavailable, "REGISTRY_UNREACHABLE"),
    ("pull-blob-get-403", Code::Unavailable, "REGISTRY_UNREACHABLE"),
    ("pull-html", Code::Internal, "BACKEND_PROTOCOL"),
    ("pull-bad-layer-digest", Code::Internal, "BACKEND_PROTOCOL"),
    ("pull-bad-bytes", Code::DataLoss, "DIGEST_MISMATCH"),
    ("pull-disk-full", Code::ResourceExhausted, "DISK_FULL"),
    ("pull-mlx", Code::FailedPrecondition, "ENGINE_MISSING_PART"),
    ("pull-server-sigkill", Code::Aborted, "INTERRUPTED"),
    ("pull-server-sigterm", Code::Aborted, "INTERRUPTED"),
];

#[tokio::test(flavor = "multi_thread")]
async fn what_was_recorded_is_told_truly() {
    let world = world().await;
    let name = world.ground.name("m");
    let double = world.ground.double();
    let mut wrong = Vec::new();
    for &(recording, code, reason) in RECORDED {
        double.on(Route::Pull, Answer::Recorded(recording));
        let before = double.asked(Route::Pull);
        let status = world.pull(&name).await.expect_err(recording);
        assert_clean(&status);
        if calls::told(&status) != calls::is(code, reason) {
            wrong.push(format!(
                "{recording}: {} and not {reason}: {status:?}",
                calls::told(&status).1
            ));
        }
        if double.asked(Route::Pull) != before + 1 {
            wrong.push(format!("{recording}: asked again unasked"));
            double.state().scripts.clear();
        }
        assert!(world.list().await.is_empty(), "{recording}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(world.pull(&name).await.unwrap().changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_without_success_is_none() {
    let world = world().await;
    let name = world.ground.name("m");
    for lines in [
        vec![],
        vec!["{\"status\":\"pulling manifest\"}"],
        vec!["{\"status\":\"success\"}", "{\"status\":\"writing manifest\"}"],
        vec!["{\"status\":\"success\"}", "{\"error\":\"file does not exist\"}"],
    ] {
        world
            .ground
            .double()
            .on(Route::Pull, Answer::Stream(Step::lines(lines.clone())));
        let status = world.pull(&name).await.expect_err(&format!("{lines:?}"));
        assert!(
            ["INTERRUPTED", "BACKEND_PROTOCOL", "MODEL_NOT_FOUND"].contains(&calls::told(&status).1.as_str()),
            "{lines:?}: {status:?}"
        );
    }
}

/// Ready is believed when the engine lists it.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_is_not_listed_is_none() {
    let world = world().await;
    let name = world.ground.name("m");
    world.ground.double().state().forgets = true;
    let status = world.pull(&name).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Internal, "BACKEND_PROTOCOL"),
        "{status:?}"
    );
    world.ground.double().state().forgets = false;
    let model = world.pull(&name).await.unwrap().model.unwrap();

    // A list that tells another digest than the pinned one.
    world.ground.double().state().lies = true;
    // Seen by a list, which is never a moment old.
    super::support::soon(world.client.clone().list(super::support::v1::ListRequest::default()))
        .await
        .unwrap();
    let request = super::support::v1::EnsureReadyRequest {
        digest: model.digest,
        insecure: true,
        ..calls::ensure(&name)
    };
    let status = calls::ensured(&mut world.client.clone(), request).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "DIGEST_PIN_MISMATCH")
    );
}

/// A new pull may join one that was just cancelled, and is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_nobody_here_caused_is_tried_again() {
    let world = world().await;
    let lines = ["{\"status\":\"pulling manifest\"}", "{\"error\":\"context canceled\"}"];
    let double = world.ground.double();
    double.on(Route::Pull, Answer::Stream(Step::lines(lines)));
    assert!(world.pull(&world.ground.name("m")).await.unwrap().changed);
    assert_eq!((double.asked(Route::Pull), double.most_pulls()), (2, 1));
}
