//! A collector, an engine that remembers which traces it was told of, and the program between them.

use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value::StringValue,
    trace::v1::Span,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::AbortHandle,
    time::{interval, timeout},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Response as Answer, Status, transport::Channel};

/// No step takes longer: the test fails then.
pub(super) const LONG: Duration = Duration::from_mins(1);

/// A receiver of traces.
pub(super) struct Collector {
    address: SocketAddr,
    got: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    task: AbortHandle,
}

struct Receiver(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

/// As much of an Ollama as an EnsureReady asks for: it has `here`, and `pulled` once that was pulled, which waits until it
/// is let go.
pub(super) struct Engine {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Default)]
struct Shared {
    heard: Mutex<Vec<String>>,
    asked: watch::Sender<bool>,
    free: watch::Sender<bool>,
    done: watch::Sender<bool>,
}

/// The service. Dropping it kills the process.
pub(super) struct Program {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

// === impl Collector ===

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Answer<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Answer::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let got = Arc::new(Mutex::new(Vec::new()));
        let service = TraceServiceServer::new(Receiver(Arc::clone(&got)));
        let serving = tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener));
        let task = tokio::spawn(async move { serving.await.unwrap() }).abort_handle();
        Self { address, got, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let resources = got.iter().flat_map(|request| &request.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Of the first batch.
    pub(super) fn resource(&self, key: &str) -> Option<String> {
        let got = self.got.lock().unwrap();
        let resource = got.first()?.resource_spans.first()?.resource.as_ref()?;
        let found = resource.attributes.iter().find(|attribute| attribute.key == key)?;
        match found.value.as_ref()?.value.as_ref()? {
            StringValue(text) => Some(text.clone()),
            _ => None,
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

// === impl Engine ===

impl Engine {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let serving = axum::serve(listener, routes);
        let task = tokio::spawn(async move { serving.await.unwrap() }).abort_handle();
        Self { address, shared, task }
    }

    /// The traces that it was told of.
    pub(super) fn heard(&self) -> Vec<String> {
        self.shared.heard.lock().unwrap().clone()
    }

    /// Returns once a pull waits.
    pub(super) async fn pulled(&self) {
        let mut asked = self.shared.asked.subscribe();
        timeout(LONG, asked.wait_for(|&asked| asked)).await.unwrap().unwrap();
    }

    pub(super) fn let_go(&self) {
        self.shared.free.send_replace(true);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    if let Some(parent) = request.headers().get("traceparent") {
        shared.heard.lock().unwrap().push(parent.to_str().unwrap().to_owned());
    }
    let model = |name: &str, digit: &str| {
        let (digest, details) = (digit.repeat(64), json!({ "format": "gguf", "family": "llama" }));
        let time = "2026-01-01T00:00:00Z";
        json!({ "name": name, "model": name, "modified_at": time, "size": 1, "digest": digest, "details": details })
    };
    match request.uri().path() {
        "/api/version" => Json(json!({ "version": "0.34.0" })).into_response(),
        "/api/ps" => Json(json!({ "models": [] })).into_response(),
        "/api/tags" => {
            let mut models = vec![model("here:latest", "a")];
            if *shared.done.borrow() {
                models.push(model("pulled:latest", "b"));
            }
            Json(json!({ "models": models })).into_response()
        }
        "/api/pull" => {
            shared.asked.send_replace(true);
            shared.free.subscribe().wait_for(|&free| free).await.unwrap();
            shared.done.send_replace(true);
            "{\"status\":\"success\"}\n".into_response()
        }
        _ => (http::StatusCode::NOT_FOUND, Json(json!({ "error": "not found" }))).into_response(),
    }
}

// === impl Program ===

impl Program {
    /// In front of an Ollama.
    pub(super) async fn start(engine: &Engine, flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let host = format!("--host=http://{}", engine.address);
        Self::with("ollama", &[host], flags, variables).await
    }

    /// With one entry.
    pub(super) async fn with(framework: &str, argv: &[String], flags: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let entries = json!([{ "name": "one", "framework": framework, "backend_argv": argv }]);
        fs::write(folder.path().join("configs.yaml"), entries.to_string()).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_model-control"))
            .args(["serve", "--listen=127.0.0.1:0", "--drain-delay=0s", "--log-format=json"])
            .arg("--config")
            .arg(folder.path().join("configs.yaml"))
            .arg("--state-dir")
            .arg(folder.path().join("state"))
            .args(flags)
            .env_clear()
            .env("HOME", folder.path())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut program = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            folder,
        };
        let line = program.said("listening").await;
        program.address = line["address"].as_str().unwrap().parse().unwrap();
        program
    }

    pub(super) async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.address);
        Channel::from_shared(address).unwrap().connect().await.unwrap()
    }

    fn log(&self) -> Vec<Value> {
        let path: PathBuf = self.folder.path().join("log");
        let text = fs::read_to_string(path).unwrap();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        whole.map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Waits for the line with this message.
    pub(super) async fn said(&self, message: &str) -> Value {
        let mut looks = interval(Duration::from_millis(20));
        let found = async {
            loop {
                looks.tick().await;
                if let Some(line) = self.log().into_iter().find(|line| line["message"] == message) {
                    return line;
                }
            }
        };
        let found = timeout(LONG, found).await.ok();
        found.unwrap_or_else(|| panic!("{message} is not said: {:#?}", self.log()))
    }

    /// Waits until two callers follow one operation.
    pub(super) async fn joined(&self) {
        use model_control::grpc::proto::v1::{OperationsListRequest, operations_client::OperationsClient};
        let mut client = OperationsClient::new(self.channel().await);
        let mut looks = interval(Duration::from_millis(20));
        let joined = async {
            loop {
                looks.tick().await;
                let listed = client
                    .list(OperationsListRequest::default())
                    .await
                    .unwrap()
                    .into_inner();
                if listed
                    .operations
                    .iter()
                    .any(|operation| operation.subscriber_count == 2)
                {
                    return;
                }
            }
        };
        timeout(LONG, joined).await.unwrap();
    }

    /// SIGTERM, the wait for its end, and all that it said.
    pub(super) async fn stop(mut self) -> Vec<Value> {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), Signal::TERM).unwrap();
        let mut looks = interval(Duration::from_millis(20));
        let ended = async {
            loop {
                looks.tick().await;
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
            }
        };
        let status = timeout(LONG, ended).await.unwrap();
        assert!(status.success(), "{status}: {:#?}", self.log());
        self.log()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
