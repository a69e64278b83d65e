//! Calls that many tests make, and what their answers say.

use std::time::{Duration, Instant};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use model_control::{
    config,
    engines::Desired,
    model::{Digest, ImportOptions, Level, ModelName},
};
use tokio::net::TcpStream;
use tonic::Streaming;
use tonic_types::StatusExt as _;

use super::support::*;

pub(crate) type Client = ModelControlClient<Channel>;
pub(crate) type Operations = OperationsClient<Channel>;

pub(crate) fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

pub(crate) fn digest(content: &str) -> String {
    Digest::of(content.as_bytes()).to_string()
}

/// Code and reason, for comparison.
pub(crate) fn told(status: &Status) -> (Code, String) {
    (status.code(), reason(status))
}

pub(crate) fn is(code: Code, reason: &str) -> (Code, String) {
    (code, reason.to_owned())
}

pub(crate) fn metadata(status: &Status, key: &str) -> String {
    let details = status.get_error_details();
    let info = details.error_info().expect("an ErrorInfo");
    assert_eq!(info.domain, "modelcontrol.ichat");
    info.metadata.get(key).cloned().unwrap_or_default()
}

pub(crate) fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_error_details().retry_info()?.retry_delay
}

/// The fields that a BadRequest names.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let violations = details.bad_request().map(|bad| bad.field_violations.clone());
    violations
        .unwrap_or_default()
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}

/// A model of the configuration that nobody brings before it was asked for.
pub(crate) fn desired(model: &str) -> config::Desired {
    config::Desired {
        name: name(model),
        level: Level::OnDisk,
        path: None,
        digest: None,
        options: ImportOptions::default(),
        insecure: false,
        keep_alive: None,
        context_length: None,
        ensure: config::Ensure::OnDemand,
    }
}

/// One backend `one` with configured models.
pub(crate) fn configured(engine: Arc<Scripted>, models: impl IntoIterator<Item = config::Desired>) -> Plan {
    let mut plan = Plan::new(engine);
    plan.entries[0].desired = models.into_iter().map(Desired::new).collect();
    plan
}

pub(crate) fn ensure(model: &str) -> v1::EnsureReadyRequest {
    v1::EnsureReadyRequest {
        model: model.into(),
        ..Default::default()
    }
}

pub(crate) async fn ensured(
    client: &mut Client,
    request: v1::EnsureReadyRequest,
) -> Result<v1::EnsureReadyResult, Status> {
    ready(soon(client.ensure_ready(request)).await?.into_inner()).await
}

/// Reads to the result, which comes last and once.
pub(crate) async fn ready(mut stream: Streaming<v1::EnsureReadyResponse>) -> Result<v1::EnsureReadyResult, Status> {
    let until = Instant::now() + LONG;
    while let Some(message) = soon(stream.message()).await? {
        assert!(Instant::now() < until, "heartbeats and no end");
        if let Some(v1::ensure_ready_response::Event::Result(result)) = message.event {
            assert!(soon(stream.message()).await?.is_none(), "the result comes last");
            return Ok(result);
        }
    }
    panic!("no result");
}

/// Reads to the result, which comes last and once.
pub(crate) async fn pulled(mut stream: Streaming<v1::PullResponse>) -> Result<v1::PullResult, Status> {
    let until = Instant::now() + LONG;
    while let Some(message) = soon(stream.message()).await? {
        assert!(Instant::now() < until, "heartbeats and no end");
        if let Some(v1::pull_response::Event::Result(result)) = message.event {
            assert!(soon(stream.message()).await?.is_none(), "the result comes last");
            return Ok(result);
        }
    }
    panic!("no result");
}

/// Begins or joins a pull; answers with its stream and its first snapshot.
pub(crate) async fn pulling(
    client: &mut Client,
    request: v1::PullRequest,
) -> (Streaming<v1::PullResponse>, v1::Progress) {
    let mut stream = soon(client.pull(request)).await.unwrap().into_inner();
    let first = soon(stream.message()).await.unwrap().unwrap();
    let Some(v1::pull_response::Event::Progress(progress)) = first.event else {
        panic!("no snapshot first")
    };
    (stream, progress)
}

/// Waits until the engine was asked for so many pulls: each has taken its script then, and the next one gets the next.
pub(crate) async fn began(engine: &Scripted, pulls: usize) {
    soon(async {
        while engine.pulls() < pulls {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

pub(crate) async fn get(operations: &mut Operations, id: &str) -> Result<v1::Operation, Status> {
    let request = v1::OperationsGetRequest {
        operation_id: id.into(),
    };
    Ok(soon(operations.get(request)).await?.into_inner().operation.unwrap())
}

pub(crate) async fn cancel(operations: &mut Operations, id: &str) -> Result<v1::Operation, Status> {
    let request = v1::OperationsCancelRequest {
        operation_id: id.into(),
    };
    Ok(soon(operations.cancel(request)).await?.into_inner().operation.unwrap())
}

pub(crate) async fn watch(
    operations: &mut Operations,
    id: &str,
) -> Result<Streaming<v1::OperationsWatchResponse>, Status> {
    let request = v1::OperationsWatchRequest {
        operation_id: id.into(),
        after_sequence: 0,
    };
    Ok(soon(operations.watch(request)).await?.into_inner())
}

/// Reads a watch to the ended operation, which comes last and once.
pub(crate) async fn ended(mut stream: Streaming<v1::OperationsWatchResponse>) -> Result<v1::Operation, Status> {
    use v1::operations_watch_response::Event;
    let until = Instant::now() + LONG;
    loop {
        assert!(Instant::now() < until, "heartbeats and no end");
        match soon(stream.message()).await?.expect("an end").event.unwrap() {
            Event::Progress(progress) => assert!(progress.joined, "whoever watches came later"),
            Event::Operation(operation) => {
                assert!(soon(stream.message()).await?.is_none(), "the operation comes last");
                return Ok(operation);
            }
        }
    }
}

/// The failure of an ended operation.
pub(crate) fn failure(operation: &v1::Operation) -> v1::Failure {
    match operation.outcome.clone() {
        Some(v1::operation::Outcome::Failure(failure)) => failure,
        other => panic!("no failure but {other:?}"),
    }
}

/// One call over HTTP/2 without a gRPC client in between, which would mend or refuse what is sent here.
///
/// Answers with the HTTP status, and headers and trailers together.
pub(crate) async fn raw(
    service: &Service,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> (StatusCode, HeaderMap) {
    let socket = soon(TcpStream::connect(service.address)).await.unwrap();
    let (mut sender, connection) = soon(hyper::client::conn::http2::handshake(
        TokioExecutor::new(),
        TokioIo::new(socket),
    ))
    .await
    .unwrap();
    let connection = tokio::spawn(connection);
    let mut request = http::Request::post(format!("http://{}{path}", service.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    for (key, value) in headers {
        request = request.header(*key, *value);
    }
    let answer = soon(sender.send_request(request.body(Full::new(body)).unwrap()))
        .await
        .unwrap();
    let (head, body) = answer.into_parts();
    let mut headers = head.headers;
    let body = soon(body.collect()).await.unwrap();
    headers.extend(body.trailers().cloned().unwrap_or_default());
    drop(sender);
    drop(soon(connection).await);
    (head.status, headers)
}

/// A message as gRPC frames it.
pub(crate) fn frame(compressed: bool, message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(compressed.into());
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed.freeze()
}

/// The status of a raw answer.
pub(crate) fn status_of(answer: &(StatusCode, HeaderMap)) -> Status {
    assert_eq!(answer.0, StatusCode::OK);
    Status::from_header_map(&answer.1).expect("a gRPC status")
}
