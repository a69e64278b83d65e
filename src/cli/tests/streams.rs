//! Words that follow an operation.

use prost::Message as _;
use serde_json::Value;

use super::*;
use crate::grpc::proto::v1::{
    self, CreateFromPathRequest, EnsureReadyRequest, EnsureReadyResponse, EnsureReadyResult, Failure, Model, Operation,
    OperationsWatchResponse, PhaseRecord, Plan, Progress, ensure_ready_response::Event, operation::Outcome, plan,
};

fn progress() -> EnsureReadyResponse {
    EnsureReadyResponse {
        event: Some(Event::Progress(Progress {
            operation_id: "0190-a".to_owned(),
            phases: vec![PhaseRecord {
                phase: "hashing".to_owned(),
                ..PhaseRecord::default()
            }],
            ..Progress::default()
        })),
    }
}

fn ready() -> EnsureReadyResult {
    EnsureReadyResult {
        model: Some(Model {
            backend: "embedded".to_owned(),
            name: "tiny:latest".to_owned(),
            digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
            size_bytes: 2000,
            level: 1,
            ..Model::default()
        }),
        plan: Some(Plan {
            steps: vec![
                plan::Step {
                    step: Some(plan::step::Step::Create(plan::CreateStep {
                        file_name: "tiny.gguf".to_owned(),
                    })),
                },
                plan::Step {
                    step: Some(plan::step::Step::Verify(plan::VerifyStep::default())),
                },
            ],
            disk_bytes: Some(2000),
            ..Plan::default()
        }),
        changed: true,
    }
}

fn result() -> EnsureReadyResponse {
    EnsureReadyResponse {
        event: Some(Event::Result(ready())),
    }
}

#[tokio::test]
async fn progress_goes_to_standard_error_and_the_result_to_standard_output() {
    let server = Server::start(|_, request| {
        let request = EnsureReadyRequest::decode(request).unwrap();
        assert_eq!(
            (request.model.as_str(), request.backend.as_str(), request.level),
            ("tiny", "b", 2)
        );
        assert!(request.import_options.is_none());
        Reply::messages([progress(), EnsureReadyResponse::default(), result()])
    })
    .await;
    let words = ["ensure", "tiny", "--backend", "b", "--level", "loaded"];
    let ensured = ran(&server.url, &words).await;
    assert_eq!(ensured.code, 0, "{ensured:?}");
    assert_eq!(ensured.err, "operation 0190-a\nhashing\n");
    assert_eq!(
        ensured.out,
        "tiny:latest on embedded (on-disk, 2.0 kB, sha256:0123456789ab) is ready now\n"
    );

    let ensured = ran(&server.url, &[&words[..], &["-o", "json"]].concat()).await;
    assert_eq!(ensured.err, "");
    let lines: Vec<Value> = ensured
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["progress"]["operationId"], "0190-a");
    assert_eq!(lines[2]["result"]["changed"], true);
}

#[tokio::test]
async fn a_dry_run_prints_the_plan() {
    let server = Server::start(|_, request| {
        assert!(EnsureReadyRequest::decode(request).unwrap().dry_run);
        Reply::one(result())
    })
    .await;
    let planned = ran(&server.url, &["ensure", "--dry-run"]).await;
    assert_eq!(
        planned.out,
        "this would be done:\n  1. create it from tiny.gguf\n  2. see that the backend lists it\non disk: 2.0 kB\n"
    );
}

#[tokio::test]
async fn create_sends_an_absolute_path_and_its_options() {
    let server = Server::start(|method, request| {
        assert_eq!(method, "CreateFromPath");
        let request = CreateFromPathRequest::decode(request).unwrap();
        assert!(
            request.path.starts_with('/') && request.path.ends_with("/models/tiny.gguf"),
            "{}",
            request.path
        );
        assert!(request.replace);
        assert_eq!(request.on_disconnect, 2);
        let options = request.import_options.unwrap();
        assert_eq!(options.system.as_deref(), Some("be brief"));
        assert!(options.parameters.unwrap().fields.contains_key("temperature"));
        Reply::one(v1::CreateFromPathResponse {
            event: Some(v1::create_from_path_response::Event::Result(v1::CreateFromPathResult {
                model: ready().model,
                ..v1::CreateFromPathResult::default()
            })),
        })
    })
    .await;
    let words = [
        "create",
        "tiny",
        "models/tiny.gguf",
        "--replace",
        "--cancel-on-disconnect",
        "--system",
        "be brief",
        "--parameter",
        "temperature=0.5",
    ];
    let created = ran(&server.url, &words).await;
    assert_eq!(created.code, 0, "{created:?}");
    assert!(
        created.out.contains("was there already with this content"),
        "{created:?}"
    );
}

#[tokio::test]
async fn leaving_tells_what_goes_on_and_how_to_cancel_it() {
    let server = Server::start(|_, _| Reply::one(progress()).then_hangs()).await;
    for (words, first) in [
        (
            &["ensure", "tiny"][..],
            "interrupted: operation 0190-a goes on in the server",
        ),
        (
            &["ensure", "tiny", "--cancel-on-disconnect"],
            "interrupted: operation 0190-a is cancelled unless somebody else waits for it",
        ),
    ] {
        let err = Written::default();
        let interrupt = err.interrupt_at("hashing");
        let left = ran_with(&server.url, words, Written::default(), err, interrupt).await;
        assert_eq!((left.code, left.out.as_str()), (130, ""));
        let url = &server.url;
        let wanted = format!(
            "{first}\n  follow it: model-control --server {url} operations watch 0190-a\n  cancel it: model-control --server {url} operations cancel 0190-a\n"
        );
        assert!(left.err.ends_with(&wanted), "{left:?}");
    }
    // Before the server has said a word.
    let now: Interrupt = Box::pin(future::ready(Ok(())));
    let (out, err) = (Written::default(), Written::default());
    let left = ran_with(&server.url, &["pull", "tiny"], out, err, now).await;
    assert_eq!(left.code, 130);
    assert!(left.err.contains("operations list"), "{left:?}");
}

#[tokio::test]
async fn a_stream_that_breaks_off_tells_the_way_back_to_the_work() {
    let server = Server::start(|method, _| match method {
        "EnsureReady" => Reply::one(progress()).then(refused()),
        _ => Reply::messages([v1::PullResponse::default()]),
    })
    .await;
    let broken = ran(&server.url, &["ensure", "tiny"]).await;
    assert_eq!((broken.code, broken.out.as_str()), (1, ""));
    assert!(broken.err.contains("operation 0190-a may go on"), "{broken:?}");

    let unended = ran(&server.url, &["pull", "tiny"]).await;
    assert_eq!(unended.code, 1);
    assert!(unended.err.contains("ended without its result"), "{unended:?}");
}

#[tokio::test]
async fn watching_an_operation_that_failed_fails() {
    let server = Server::start(|_, _| {
        Reply::one(OperationsWatchResponse {
            event: Some(v1::operations_watch_response::Event::Operation(Operation {
                outcome: Some(Outcome::Failure(Failure {
                    code: 8,
                    reason: "DISK_FULL".to_owned(),
                    message: "no room for 4 GB".to_owned(),
                    ..Failure::default()
                })),
                ..Operation::default()
            })),
        })
    })
    .await;
    let watched = ran(&server.url, &["operations", "watch", "x", "-o", "json"]).await;
    assert_eq!(watched.code, 1);
    assert!(watched.out.contains("\"reason\":\"DISK_FULL\""), "{watched:?}");
    assert!(
        watched.err.starts_with("error: no room for 4 GB (DISK_FULL)\n"),
        "{watched:?}"
    );
    let last: Value = serde_json::from_str(watched.err.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["code"], &last["reason"]),
        (&"RESOURCE_EXHAUSTED".into(), &"DISK_FULL".into())
    );
}
