//! What the service tells those who watch it: `/metrics`, `/livez`, `/readyz`, through the real binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "metrics/exposed.rs"]
mod exposed;
#[path = "support/llama.rs"]
mod llama;
#[path = "support/missing.rs"]
mod missing;
#[path = "metrics/scene.rs"]
mod scene;
#[path = "support/service.rs"]
mod service;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use model_control::{
    grpc::proto::v1::{CreateFromPathRequest, EnsureReadyRequest, Level, LoadRequest},
    telemetry::metrics::{Kind, table},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    time::{interval, timeout},
};
use tonic::Streaming;

use self::{
    exposed::Exposed,
    scene::{LONG, PROGRAM, Scene, get},
    service::Home,
};

const TINY: &str = "registry.ollama.ai/library/tiny:latest";

/// Reads a stream to its end.
async fn drain<T>(stream: Result<tonic::Response<Streaming<T>>, tonic::Status>) -> Result<(), tonic::Status> {
    let mut stream = stream?.into_inner();
    while stream.message().await?.is_some() {}
    Ok(())
}

fn embedded(store: &str, flags: &[&str]) -> Value {
    let argv = [&[store][..], flags].concat();
    json!({ "name": store.rsplit('/').next().unwrap(), "framework": "embedded", "backend_argv": argv })
}

fn store(folder: &Path, name: &str) -> String {
    format!("--store={}", folder.join(name).display())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_cycle_is_told_and_what_is_gone_is_gone() {
    let stores = tempfile::tempdir().unwrap();
    let path = format!("--model-path={}", llama::tiny().display());
    let one = embedded(&store(stores.path(), "one"), &["--model=tiny", &path]);
    let two = embedded(&store(stores.path(), "two"), &["--model=other", "--ensure=on-demand"]);
    let scene = Scene::start(&json!([one, two]), &[]);
    let of_one = [("backend", "one")];
    let tiny = [("backend", "one"), ("model", TINY)];

    // The configured model comes by itself, and counts.
    let seen = scene
        .until(|seen| seen.value("model_control_model_level", &tiny) == Some(1.0))
        .await;
    assert_eq!(seen.value("model_control_engine_up", &of_one), Some(1.0));
    assert_eq!(seen.value("model_control_model_level_desired", &tiny), Some(1.0));
    let other = [("backend", "two"), ("model", "registry.ollama.ai/library/other:latest")];
    assert_eq!(seen.value("model_control_model_level", &other), Some(0.0));
    assert_eq!(seen.value("model_control_model_level_desired", &other), Some(0.0));
    scene
        .until(|seen| seen.value("model_control_ready", &[]) == Some(1.0))
        .await;
    assert_eq!(get(scene.service.metrics(), "/readyz").await.unwrap().0, 200);
    assert_eq!(get(scene.service.metrics(), "/livez").await.unwrap().0, 200);
    assert_eq!(get(scene.service.metrics(), "/").await.unwrap().0, 404);

    // What callers do.
    let mut client = scene.client().await;
    let model = scene.home.model("copy.gguf");
    fs::copy(llama::tiny(), &model).unwrap();
    let create = CreateFromPathRequest {
        backend: "one".into(),
        model: "made".into(),
        path: model.to_str().unwrap().into(),
        ..CreateFromPathRequest::default()
    };
    drain(client.create_from_path(create).await).await.unwrap();
    let ready = EnsureReadyRequest::default();
    drain(client.ensure_ready(ready).await).await.unwrap();
    let never = EnsureReadyRequest {
        model: "nowhere.invalid/x/y".into(),
        ..EnsureReadyRequest::default()
    };
    drain(client.ensure_ready(never).await).await.unwrap_err();
    let runs = llama::program("llama-server").is_some();
    if runs {
        for model in ["tiny", "made"] {
            let load = LoadRequest {
                model: model.into(),
                level: Level::Warm.into(),
                ..LoadRequest::default()
            };
            drain(client.load(load).await).await.unwrap();
        }
        scene
            .until(|seen| seen.value("model_control_model_level", &tiny) == Some(3.0))
            .await;
        scene
            .until(|seen| seen.value("model_control_loaded_models", &of_one) == Some(2.0))
            .await;
    }
    let ensure = "ichat.modelcontrol.v1.ModelControl/EnsureReady";
    let seen = scene
        .until(|seen| seen.value("model_control_rpcs_in_flight", &[("rpc_method", ensure)]) == Some(0.0))
        .await;
    let called = |code| {
        let labels = [("rpc_method", ensure), ("rpc_response_status_code", code)];
        seen.value("rpc_server_call_duration_seconds_count", &labels)
    };
    assert_eq!(called("OK"), Some(1.0));
    assert_eq!(called("PERMISSION_DENIED"), Some(1.0), "{seen:#?}");
    let ended = |kind, outcome, reason| {
        let labels = [
            ("backend", "one"),
            ("kind", kind),
            ("outcome", outcome),
            ("reason", reason),
        ];
        seen.value("model_control_operations_ended_total", &labels)
    };
    assert_eq!(ended("create", "succeeded", ""), Some(1.0));
    assert_eq!(ended("ensure", "failed", "REGISTRY_NOT_ALLOWED"), Some(1.0));
    let bytes = [("backend", "one"), ("phase", "uploading")];
    assert!(seen.value("model_control_operation_bytes_total", &bytes) >= Some(130_656.0));

    documented(&seen, runs);

    // A reload: one entry goes, with all that was its state.
    scene.write(&json!([one]).to_string());
    let taken = [("outcome", "taken")];
    let seen = scene
        .until(|seen| seen.value("model_control_config_reloads_total", &taken) == Some(1.0))
        .await;
    for family in [
        "model_control_engine_up",
        "model_control_model_level",
        "model_control_models",
    ] {
        assert!(!seen.has(family, "two"), "{family}");
        assert!(seen.has(family, "one"), "{family}");
    }
    scene.write("nonsense");
    let seen = scene
        .until(|seen| seen.value("model_control_config_last_reload_successful", &[]) == Some(0.0))
        .await;
    assert_eq!(
        seen.value("model_control_config_reloads_total", &[("outcome", "refused")]),
        Some(1.0)
    );
}

/// Names and types are the documented ones, and all of those are there.
fn documented(seen: &Exposed, runs: bool) {
    assert_eq!(seen.families(), expected(runs));
    for metric in table::ALL {
        for labels in seen.labels(metric.name) {
            let told: BTreeSet<_> = labels.iter().map(String::as_str).collect();
            assert_eq!(told, metric.labels.iter().copied().collect(), "{}", metric.name);
        }
    }
}

/// Every family of the table but those that need what this test has not.
fn expected(runs: bool) -> BTreeSet<(String, String)> {
    let there = |name: &str| match name {
        table::CERTIFICATE => false,
        table::LOADED_BYTES | table::FIRST_TOKEN => runs,
        _ => true,
    };
    let told = table::ALL.iter().filter(|metric| there(metric.name));
    told.map(|metric| {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        (metric.name.to_owned(), kind.to_owned())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_callers_write_is_no_label() {
    let stores = tempfile::tempdir().unwrap();
    let scene = Scene::start(&json!([embedded(&store(stores.path(), "one"), &[])]), &[]);
    let mut client = tonic::client::Grpc::new(scene.service.channel().await);
    for path in [
        "/nobody.has/This",
        "/nobody.has/That",
        "/ichat.modelcontrol.v1.ModelControl/Nothing",
    ] {
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<EnsureReadyRequest, EnsureReadyRequest>::default();
        let request = tonic::Request::new(EnsureReadyRequest::default());
        let answer = client.unary(request, path.parse().unwrap(), codec).await;
        assert_eq!(answer.unwrap_err().code(), tonic::Code::Unimplemented);
    }
    let other = [("rpc_method", "_OTHER"), ("rpc_response_status_code", "UNIMPLEMENTED")];
    let seen = scene
        .until(|seen| seen.value("rpc_server_call_duration_seconds_count", &other) == Some(3.0))
        .await;
    assert!(!seen.text.contains("nobody"), "{}", seen.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_seen_and_a_silent_peer_does_not_hold_it_up() {
    let gone = json!([{ "name": "gone", "framework": "ollama", "backend_argv": ["--host=http://127.0.0.1:9"] }]);
    let scene = Scene::start(&gone, &["--drain-delay=2s"]);
    let at = scene.service.metrics();
    assert_eq!(get(at, "/livez").await.unwrap().0, 200);
    assert_eq!(get(at, "/readyz").await.unwrap().0, 503);
    let mut silent = TcpStream::connect(at).await.unwrap();
    scene.signal(Signal::TERM);
    let seen = scene
        .until(|seen| seen.value("model_control_draining", &[]) == Some(1.0))
        .await;
    assert_eq!(seen.value("model_control_engine_up", &[("backend", "gone")]), Some(0.0));
    assert_eq!(get(at, "/livez").await.unwrap().0, 503);
    let mut looks = interval(Duration::from_millis(20));
    let ended = async {
        while get(at, "/livez").await.is_ok() {
            looks.tick().await;
        }
    };
    timeout(LONG, ended).await.unwrap();
    // Closed, with an answer or without.
    let mut rest = Vec::new();
    timeout(LONG, silent.read_to_end(&mut rest)).await.unwrap().ok();
}

#[tokio::test]
async fn a_port_that_is_taken_stops_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let home = Home::new();
    let Output { status, stderr, .. } = home
        .command(Path::new(PROGRAM))
        .arg(format!("--metrics-listen={address}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("cannot listen on {address}")), "{said}");
    assert!(said.contains("--metrics-listen"), "{said}");
}

/// What `config check` says of wrong flags.
fn refused(flags: &[&str]) -> String {
    let home = Home::new();
    let mut command = Command::new(PROGRAM);
    command.args(["config", "check"]).args(flags);
    let output = command.env_clear().env("HOME", home.path("")).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    said
}

#[test]
fn the_same_address_twice_is_a_wrong_flag() {
    let at = "127.0.0.1:50999";
    for flag in ["--listen", "--health-listen"] {
        let said = refused(&["--metrics-listen", at, flag, at]);
        assert!(
            said.contains(&format!("--metrics-listen is the same address as {flag}")),
            "{said}"
        );
    }
}

#[test]
fn a_collector_has_a_plain_url() {
    for url in [
        "localhost:4317",
        "ftp://a:1",
        "http://user:secret@a:4317",
        "",
        "http://",
    ] {
        let said = refused(&["--otlp-endpoint", url]);
        assert!(
            said.contains("--otlp-endpoint is no URL of a collector"),
            "{url}: {said}"
        );
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn the_document_tells_every_metric_and_no_other() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let told: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(str::to_owned)
        .collect();
    let row = |metric: &table::Metric| {
        let kind = format!("{:?}", metric.kind).to_lowercase();
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        format!(
            "| `{}` | {kind} | {} | {} |",
            metric.name,
            labels.join(", "),
            metric.help
        )
    };
    let expected: Vec<_> = table::ALL.iter().map(row).collect();
    assert_eq!(told, expected, "\nthe table should be:\n{}\n", expected.join("\n"));
}
