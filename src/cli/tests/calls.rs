//! Unary words.

use prost::Message as _;
use serde_json::Value;

use super::*;
use crate::grpc::proto::{
    health::{HealthCheckRequest, HealthCheckResponse},
    v1::{self, Failure, ListRequest, ListResponse, Model, Operation, UnreachableBackend},
};

fn model(name: &str) -> Model {
    Model {
        backend: "embedded".to_owned(),
        name: name.to_owned(),
        digest: format!("sha256:{}", "0123456789abcdef".repeat(4)),
        size_bytes: 1_234_567_890,
        level: v1::Level::OnDisk.into(),
        ..Model::default()
    }
}

fn two_pages(method: &str, request: &[u8]) -> Reply {
    assert_eq!(method, "List");
    let request = ListRequest::decode(request).unwrap();
    assert_eq!(
        (request.order_by.as_str(), request.page_size),
        ("size_bytes desc", 1000)
    );
    let (name, next_page_token) = match request.page_token.as_str() {
        "" => ("tiny:latest", "more"),
        "more" => ("ev\u{1b}il:latest", ""),
        other => panic!("{other}"),
    };
    Reply::one(ListResponse {
        models: vec![model(name)],
        next_page_token: next_page_token.to_owned(),
        unreachable: vec![UnreachableBackend {
            backend: "ollama".to_owned(),
            failure: Some(Failure {
                code: 14,
                reason: "BACKEND_UNREACHABLE".to_owned(),
                message: "no answer".to_owned(),
                ..Failure::default()
            }),
        }],
    })
}

#[tokio::test]
async fn a_list_has_all_pages_and_tells_what_is_missing() {
    let server = Server::start(two_pages).await;
    let listed = ran(&server.url, &["list", "--order-by", "size_bytes desc"]).await;
    assert_eq!(listed.code, 0, "{listed:?}");
    let lines: Vec<&str> = listed.out.lines().collect();
    assert_eq!(lines.len(), 3, "{listed:?}");
    assert!(lines[1].starts_with("tiny:latest"), "{listed:?}");
    assert!(lines[1].contains("0123456789ab  1.2 GB"), "{listed:?}");
    assert!(lines[2].starts_with("ev\\u{1b}il:latest"), "{listed:?}");
    assert_eq!(
        listed.err,
        "warning: backend ollama is missing here: no answer (BACKEND_UNREACHABLE)\n"
    );

    let listed = ran(
        &server.url,
        &["list", "--order-by", "size_bytes desc", "--output", "json"],
    )
    .await;
    let whole: Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(whole["models"][1]["name"], "ev\u{1b}il:latest");
    assert_eq!(whole["unreachable"][0]["failure"]["reason"], "BACKEND_UNREACHABLE");
}

#[tokio::test]
async fn a_list_without_end_is_left() {
    let server = Server::start(|_, _| {
        Reply::one(ListResponse {
            next_page_token: "again".to_owned(),
            ..ListResponse::default()
        })
    })
    .await;
    let listed = ran(&server.url, &["list"]).await;
    assert_eq!(listed.code, 1);
    assert!(listed.err.contains("did not end"), "{listed:?}");
}

#[tokio::test]
async fn a_server_that_is_silent_is_left_at_the_deadline() {
    let silent = |_: &str, _: &[u8]| Reply::messages::<ListResponse>([]).then_hangs();
    let server = Server::start(silent).await;
    let listed = ran(&server.url, &["list", "--timeout", "50ms"]).await;
    assert_eq!(listed.code, 1);
    assert!(listed.err.contains("DEADLINE_EXCEEDED"), "{listed:?}");
    assert!(listed.err.contains("--timeout"), "{listed:?}");
    assert_eq!(ran(&server.url, &["health", "--timeout", "50ms"]).await.code, 3);
}

#[tokio::test]
async fn health_has_the_exit_codes_of_the_probes() {
    let server = Server::start(|method, request| {
        assert!(matches!(method, "Check" | "Watch"));
        let told = |status: i32| HealthCheckResponse { status };
        match (method, HealthCheckRequest::decode(request).unwrap().service.as_str()) {
            ("Watch", _) => Reply::messages([told(2), told(1), told(3)]).then(refused()),
            (_, "") => Reply::one(told(1)),
            (_, "backends/a") => Reply::one(told(2)),
            _ => Reply::refused(Status::not_found("unknown name")),
        }
    })
    .await;
    for (name, code, out) in [("", 0, "SERVING\n"), ("backends/a", 4, "NOT_SERVING\n"), ("b", 3, "")] {
        let asked = ran(&server.url, &["health", name]).await;
        assert_eq!((asked.code, asked.out.as_str()), (code, out), "{name}: {asked:?}");
    }
    let json = ran(&server.url, &["health", "backends/a", "-o", "json"]).await;
    assert_eq!((json.code, json.out.as_str()), (4, "{\"status\":\"NOT_SERVING\"}\n"));
    let watched = ran(&server.url, &["health", "--watch"]).await;
    assert_eq!(
        (watched.code, watched.out.as_str()),
        (3, "NOT_SERVING\nSERVING\nSERVICE_UNKNOWN\n")
    );
}

#[tokio::test]
async fn an_operation_is_told_and_its_cancel() {
    let operation = Operation {
        operation_id: "0190-a".to_owned(),
        kind: 2,
        state: 2,
        name: "llama3:latest".to_owned(),
        continues: "its create goes on".to_owned(),
        ..Operation::default()
    };
    let server = Server::start(move |method, _| {
        let operation = Some(operation.clone());
        match method {
            "Get" => Reply::one(v1::OperationsGetResponse { operation }),
            "List" => Reply::one(v1::OperationsListResponse {
                operations: operation.into_iter().collect(),
                ..v1::OperationsListResponse::default()
            }),
            _ => Reply::one(v1::OperationsCancelResponse { operation }),
        }
    })
    .await;
    let told = ran(&server.url, &["operations", "get", "0190-a"]).await;
    assert!(told.out.contains("state:      running"), "{told:?}");
    let listed = ran(&server.url, &["operations", "list", "--state", "running"]).await;
    assert!(listed.out.contains("0190-a  pull  llama3:latest"), "{listed:?}");
    let cancelled = ran(&server.url, &["operations", "cancel", "0190-a"]).await;
    assert_eq!(cancelled.out, "operation 0190-a is being cancelled\n");
    assert_eq!(cancelled.err, "warning: the engine cannot stop: its create goes on\n");
}
