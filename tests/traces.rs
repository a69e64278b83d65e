//! Traces, as a real receiver of OTLP gets them from the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/llama.rs"]
mod llama;
#[path = "support/missing.rs"]
mod missing;
#[path = "traces/world.rs"]
mod world;

use std::time::{Duration, Instant};

use model_control::grpc::proto::{
    health::{HealthCheckRequest, health_client::HealthClient},
    v1::{EnsureReadyRequest, Level, model_control_client::ModelControlClient},
};
use opentelemetry_proto::tonic::trace::v1::{Span, status::StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::{Request, metadata::MetadataValue, transport::Channel};

use self::world::{Collector, Engine, LONG, Program};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
const ENSURE: &str = "ichat.modelcontrol.v1.ModelControl/EnsureReady";
/// Kinds of spans, by number.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const CLIENT: i32 = 3;

/// The request, of a caller who is traced.
fn traced<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    request
        .metadata_mut()
        .insert("traceparent", MetadataValue::try_from(parent).unwrap());
    request
}

async fn ensure(channel: Channel, model: &str) -> Result<(), tonic::Status> {
    let request = EnsureReadyRequest {
        model: model.into(),
        ..EnsureReadyRequest::default()
    };
    let mut stream = ModelControlClient::new(channel)
        .ensure_ready(traced(request))
        .await?
        .into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    use opentelemetry_proto::tonic::common::v1::any_value::Value::{IntValue, StringValue};
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        StringValue(text) => Some(text.clone()),
        IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_ensure_ready_is_one_tree() {
    let (collector, engine) = (Collector::start().await, Engine::start().await);
    let program = Program::start(&engine, &["--otlp-endpoint", &collector.url()], &[]).await;
    let channel = program.channel().await;
    let health = traced(HealthCheckRequest::default());
    HealthClient::new(channel.clone()).check(health).await.unwrap();
    engine.let_go();
    ensure(channel.clone(), "pulled").await.unwrap();
    ensure(channel, "nowhere.invalid/x/y").await.unwrap_err();
    // What is left is sent at the end, without a wait for the next batch.
    let log = program.stop().await;

    let spans = collector.spans();
    let rpcs = named(&spans, ENSURE);
    let [rpc, failed] = *rpcs else { panic!("{spans:#?}") };
    assert_eq!(
        (hex(&rpc.trace_id), hex(&rpc.parent_span_id)),
        (TRACE.into(), CALLER.into())
    );
    assert_eq!(rpc.kind, SERVER);
    assert_eq!(attribute(rpc, "rpc.response.status_code").as_deref(), Some("OK"));
    assert_eq!(attribute(rpc, "rpc.method").as_deref(), Some(ENSURE));
    assert_eq!(
        attribute(failed, "rpc.response.status_code").as_deref(),
        Some("PERMISSION_DENIED")
    );

    let operations = named(&spans, "operation");
    let operation = *operations
        .iter()
        .find(|span| span.parent_span_id == rpc.span_id)
        .unwrap();
    assert_eq!((&operation.trace_id, operation.kind), (&rpc.trace_id, INTERNAL));
    assert_eq!(attribute(operation, "operation.kind").as_deref(), Some("ensure"));
    let other = *operations
        .iter()
        .find(|span| span.parent_span_id == failed.span_id)
        .unwrap();
    assert_eq!(attribute(other, "error.type").as_deref(), Some("REGISTRY_NOT_ALLOWED"));
    assert_eq!(other.status.as_ref().unwrap().code(), StatusCode::Error);

    let calls: Vec<_> = spans
        .iter()
        .filter(|span| span.parent_span_id == operation.span_id)
        .collect();
    assert!(calls.iter().any(|call| call.name == "pull"), "{spans:#?}");
    for call in &calls {
        assert_eq!(
            (call.kind, attribute(call, "backend.name").as_deref()),
            (CLIENT, Some("one"))
        );
    }
    // The engine was told of one of them, and of no probe.
    let heard = engine.heard();
    assert!(!heard.is_empty());
    for parent in heard {
        let known = |span: &&Span| parent == format!("00-{TRACE}-{}-01", hex(&span.span_id));
        assert!(
            spans.iter().filter(|span| span.kind == CLIENT).any(|span| known(&span)),
            "{parent}"
        );
    }
    // Neither health nor probes have spans.
    let traces = spans.iter().all(|span| hex(&span.trace_id) == TRACE);
    assert!(
        traces && spans.iter().all(|span| !span.name.contains("Health")),
        "{spans:#?}"
    );
    assert_eq!(collector.resource("service.name").as_deref(), Some("model-control"));

    // The log tells to which of them a line belongs.
    let line = |message: &str, id: &Span| {
        let told = |line: &&Value| line["message"] == message && line["span_id"] == hex(&id.span_id);
        log.iter().any(|line| told(&line) && line["trace_id"] == TRACE)
    };
    assert!(line("operation succeeded", operation), "{log:#?}");
    assert!(line("call ended: Ok", rpc), "{log:#?}");
    assert!(
        log.iter()
            .any(|line| line["message"] == "listening" && line["trace_id"].is_null())
    );
}

/// The process that a load starts lives longer than the load, and than what the load is a part of.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_has_ended_while_the_model_is_in_memory() {
    let Some(server) = llama::program("llama-server") else {
        return;
    };
    let (collector, store) = (Collector::start().await, tempfile::tempdir().unwrap());
    // Not configured: work that begins by itself is in a trace of its own, and who joins it is only linked to it.
    let argv = [format!("--store={}", store.path().display())];
    let (server, tiny) = (server.display().to_string(), llama::tiny());
    let root = tiny.parent().unwrap().display().to_string();
    let flags = [
        "--otlp-endpoint",
        &collector.url(),
        "--llama-server",
        &server,
        "--model-root",
        &root,
    ];
    let program = Program::with("embedded", &argv, &flags, &[("OTEL_BSP_SCHEDULE_DELAY", "50")]).await;
    let request = EnsureReadyRequest {
        model: "tiny".into(),
        path: tiny.display().to_string(),
        level: Level::Warm.into(),
        ..EnsureReadyRequest::default()
    };
    let mut client = ModelControlClient::new(program.channel().await);
    let mut stream = client.ensure_ready(traced(request)).await.unwrap().into_inner();
    while stream.message().await.unwrap().is_some() {}
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let told = async {
        loop {
            looks.tick().await;
            let spans = collector.spans();
            let ours = |name: &str| {
                named(&spans, name)
                    .into_iter()
                    .find(|span| hex(&span.trace_id) == TRACE)
                    .cloned()
            };
            if let (Some(operation), Some(load)) = (ours("operation"), ours("load")) {
                return (operation, load);
            }
        }
    };
    let (operation, load) = tokio::time::timeout(LONG, told).await.unwrap();
    assert_eq!(load.parent_span_id, operation.span_id);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_found_nothing_to_do_has_no_line_of_its_own() {
    let engine = Engine::start().await;
    let program = Program::start(&engine, &[], &[]).await;
    let channel = program.channel().await;
    engine.let_go();
    for _ in 0..3 {
        ensure(channel.clone(), "pulled").await.unwrap();
    }
    let log = program.stop().await;
    let audited: Vec<_> = log.iter().filter(|line| line["audit"] == true).collect();
    let [pulled] = audited[..] else { panic!("{audited:#?}") };
    assert_eq!(
        (&pulled["rpc.method"], &pulled["level"]),
        (&"EnsureReady".into(), &"INFO".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_joins_an_operation_is_linked_to_it() {
    let (collector, engine) = (Collector::start().await, Engine::start().await);
    let program = Program::start(
        &engine,
        &[],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
            ("OTEL_SERVICE_NAME", "mine"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ],
    )
    .await;
    let channel = program.channel().await;
    // Pulls wait at the engine until they are let go.
    let first = tokio::spawn(ensure(channel.clone(), "pulled"));
    engine.pulled().await;
    let second = tokio::spawn(ensure(channel.clone(), "pulled"));
    program.joined().await;
    engine.let_go();
    for call in [first, second] {
        tokio::time::timeout(LONG, call).await.unwrap().unwrap().unwrap();
    }
    program.stop().await;

    let spans = collector.spans();
    let operations = named(&spans, "operation");
    let [operation] = *operations else { panic!("{spans:#?}") };
    let linked: Vec<_> = named(&spans, ENSURE)
        .into_iter()
        .filter(|span| !span.links.is_empty())
        .collect();
    let [joined] = *linked else { panic!("{spans:#?}") };
    assert_eq!(joined.links[0].span_id, operation.span_id);
    assert_ne!(joined.span_id, operation.parent_span_id);
    assert_eq!(collector.resource("service.name").as_deref(), Some("mine"));
    assert_eq!(
        collector.resource("deployment.environment.name").as_deref(),
        Some("test")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_says_nothing_holds_up_nobody() {
    let (engine, mute) = (Engine::start().await, TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://{}", mute.local_addr().unwrap());
    let program = Program::start(
        &engine,
        &["--otlp-endpoint", &url],
        &[("OTEL_BSP_SCHEDULE_DELAY", "50")],
    )
    .await;
    let channel = program.channel().await;
    for _ in 0..5 {
        ensure(channel.clone(), "here").await.unwrap();
    }
    drop(channel);
    let asked = Instant::now();
    program.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_told_about_once() {
    let engine = Engine::start().await;
    let flags = ["--otlp-endpoint", "http://127.0.0.1:9"];
    let program = Program::start(&engine, &flags, &[("OTEL_BSP_SCHEDULE_DELAY", "50")]).await;
    let channel = program.channel().await;
    ensure(channel.clone(), "here").await.unwrap();
    program
        .said("traces cannot be sent: they are dropped until the collector answers")
        .await;
    for _ in 0..5 {
        ensure(channel.clone(), "here").await.unwrap();
    }
    drop(channel);
    let log = program.stop().await;
    let told = log.iter().filter(|line| {
        line["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("traces cannot"))
    });
    assert_eq!(told.count(), 1, "{log:#?}");
}
