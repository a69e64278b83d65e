//! The service as its callers see it: a real listener on loopback, the real client, a scripted or a real engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{future::Future, net::SocketAddr, path::Path, sync::Arc, time::Duration, time::SystemTime};

use model_control::{
    app::App,
    backend::{Backend, embedded::Embedded, scripted::Scripted},
    config::Server,
    engines::{Engine, Entry, Setup},
    grpc::proto::{
        health::{HealthCheckRequest, health_client::HealthClient},
        v1::{self, model_control_client::ModelControlClient, operations_client::OperationsClient},
    },
    model::{Digest, Event, Phase},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::oneshot, task::JoinHandle, time::timeout};
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

const LONG: Duration = Duration::from_secs(30);

/// A running service.
struct Service {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _state: tempfile::TempDir,
}

impl Service {
    async fn start(backend: Arc<dyn Backend>, root: Option<&Path>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let settings = Server {
            listen: "127.0.0.1:0".parse().unwrap(),
            health_listen: None,
            state_dir: state.path().to_owned(),
            model_roots: root.map(Path::to_owned).into_iter().collect(),
            allow_unauthenticated: false,
            max_connections: 64,
            max_streams: 200,
            max_message_bytes: 64 << 10,
            max_handshakes: 8,
            handshake_timeout: LONG,
            max_operations: 8,
            keep_operations: 8,
            keep_operations_for: LONG,
            probe_interval: Duration::from_millis(200),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(5),
        };
        let engine = Some(Engine::new("one", backend));
        let entry = Entry {
            name: "one".into(),
            framework: "test".into(),
            engine,
            desired: vec![],
            advertise: None,
        };
        let setup = Setup {
            entries: vec![Arc::new(entry)],
            digest: Digest::of(b""),
            load_time: SystemTime::now(),
        };
        let app = App::with_setup(settings, Arc::new(setup)).await.unwrap();
        let address = app.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(app.run(async { drop(stopped.await) }));
        Self {
            address,
            stop,
            task,
            _state: state,
        }
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    async fn client(&self) -> ModelControlClient<Channel> {
        ModelControlClient::new(self.channel().await)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.task).await.unwrap();
    }
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(LONG, work).await.expect("in time")
}

fn reason(status: &Status) -> String {
    status
        .get_error_details()
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

fn pull(model: &str) -> v1::PullRequest {
    v1::PullRequest {
        model: model.into(),
        ..Default::default()
    }
}

fn create(model: &str, path: &Path) -> v1::CreateFromPathRequest {
    v1::CreateFromPathRequest {
        model: model.into(),
        path: path.display().to_string(),
        ..Default::default()
    }
}

async fn created(
    client: &mut ModelControlClient<Channel>,
    request: v1::CreateFromPathRequest,
) -> Result<v1::CreateFromPathResult, Status> {
    let mut stream = soon(client.create_from_path(request)).await?.into_inner();
    while let Some(message) = soon(stream.message()).await? {
        if let Some(v1::create_from_path_response::Event::Result(result)) = message.event {
            assert!(soon(stream.message()).await?.is_none(), "the result comes last");
            return Ok(result);
        }
    }
    panic!("no result");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_cause_one_pull_and_all_get_its_result() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let service = Service::start(engine.clone(), None).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut client = service.client().await;
        for _ in 0..100 {
            let mut stream = soon(client.pull(pull("m"))).await.unwrap().into_inner();
            assert!(soon(stream.message()).await.unwrap().is_some());
            streams.push(stream);
        }
    }
    script.event(Event::Entered(Phase::Downloading(vec![]))).await;
    script.succeed(&"m".parse().unwrap(), "content").await;
    for mut stream in streams {
        let mut result = None;
        while let Some(message) = soon(stream.message()).await.unwrap() {
            result = Some(message);
        }
        let Some(v1::pull_response::Event::Result(result)) = result.unwrap().event else {
            panic!("no result")
        };
        assert_eq!(result.model.unwrap().name, "m:latest");
    }
    assert_eq!(engine.pulls(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn success_is_believed_only_when_the_engine_lists_the_model() {
    let engine = Scripted::new();
    engine.script(None).claim_success().await;
    let service = Service::start(engine, None).await;
    let mut stream = soon(service.client().await.pull(pull("m"))).await.unwrap().into_inner();
    let status = loop {
        if let Err(status) = soon(stream.message()).await {
            break status;
        }
    };
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Internal, "BACKEND_PROTOCOL")
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_stream_and_not_the_work() {
    let engine = Scripted::new();
    let _script = engine.script(None);
    let service = Service::start(engine, None).await;
    let mut request = Request::new(pull("m"));
    request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let mut stream = soon(service.client().await.pull(request)).await.unwrap().into_inner();
    let status = loop {
        if let Err(status) = soon(stream.message()).await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let mut operations = OperationsClient::new(service.channel().await);
    let listed = soon(operations.list(v1::OperationsListRequest::default()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.operations[0].state(), v1::operation::State::Running);
    let id = listed.operations[0].operation_id.clone();
    let cancelled = soon(operations.cancel(v1::OperationsCancelRequest { operation_id: id }))
        .await
        .unwrap();
    assert_eq!(
        cancelled.into_inner().operation.unwrap().state(),
        v1::operation::State::Cancelled
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_caller_that_leaves_cancels_when_it_asked_for_that() {
    let engine = Scripted::new();
    let mut script = engine.script(None);
    let service = Service::start(engine, None).await;
    let request = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..pull("m")
    };
    let mut stream = soon(service.client().await.pull(request)).await.unwrap().into_inner();
    assert!(soon(stream.message()).await.unwrap().is_some());
    drop(stream);
    soon(script.cancelled()).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_ends_with_open_streams_watches_and_silent_sockets() {
    let engine = Scripted::new();
    let _script = engine.script(None);
    let service = Service::start(engine, None).await;
    let mut stream = soon(service.client().await.pull(pull("m"))).await.unwrap().into_inner();
    assert!(soon(stream.message()).await.unwrap().is_some());
    let request = HealthCheckRequest {
        service: "liveness".into(),
    };
    let mut watch = soon(HealthClient::new(service.channel().await).watch(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, 1);
    let mut silent = TcpStream::connect(service.address).await.unwrap();
    service.stop().await;
    let status = loop {
        if let Err(status) = soon(stream.message()).await {
            break status;
        }
    };
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "SHUTTING_DOWN")
    );
    assert_eq!(
        soon(watch.message()).await.unwrap().unwrap().status,
        2,
        "NOT_SERVING is told first"
    );
    assert_eq!(soon(silent.read(&mut [0; 1])).await.unwrap_or(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_tonic_answers_by_itself_has_our_form() {
    let service = Service::start(Scripted::new(), None).await;
    let mut client = service.client().await;
    let status = soon(client.show(v1::ShowRequest::default())).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unimplemented, "METHOD_UNKNOWN")
    );
    let large = v1::PullRequest {
        model: "x".repeat(1 << 20),
        ..Default::default()
    };
    let status = soon(client.pull(large)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );
    let status = soon(client.pull(pull("a b"))).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "MODEL_NAME_INVALID")
    );
    let zipped = client.clone().send_compressed(tonic::codec::CompressionEncoding::Gzip);
    soon({ zipped }.list(v1::ListRequest::default()))
        .await
        .expect("gzip is accepted");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_health_name_is_watched_until_it_is_known() {
    let engine = Scripted::new();
    let service = Service::start(engine.clone(), None).await;
    let request = HealthCheckRequest {
        service: "backends/one/models/m".into(),
    };
    let mut watch = soon(HealthClient::new(service.channel().await).watch(request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, 3);
    engine.put(&"m".parse().unwrap(), "content");
    assert_eq!(soon(watch.message()).await.unwrap().unwrap().status, 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_under_a_root_becomes_a_model_and_nothing_else_does() {
    let (store, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tiny = root.path().join("tiny.gguf");
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/models/tiny.gguf"), &tiny).unwrap();
    std::fs::write(root.path().join("bad.gguf"), b"GGUF").unwrap();
    let engine = Arc::new(Embedded::open(store.path().join("s")).unwrap());
    let service = Service::start(engine, Some(root.path())).await;
    let mut client = service.client().await;
    let result = created(&mut client, create("m", &tiny)).await.unwrap();
    assert!(result.changed);
    assert_eq!(result.model.unwrap().parameter_count, Some(115_008));
    assert!(
        !created(&mut client, create("m", &tiny)).await.unwrap().changed,
        "the same again is nothing to do"
    );
    for (path, code, wanted) in [
        (root.path().join("none.gguf"), Code::NotFound, "PATH_NOT_FOUND"),
        (
            root.path().join("bad.gguf"),
            Code::InvalidArgument,
            "MODEL_FILE_INVALID",
        ),
        ("/etc/passwd".into(), Code::PermissionDenied, "PATH_NOT_ALLOWED"),
        ("/no/such/file".into(), Code::PermissionDenied, "PATH_NOT_ALLOWED"),
        (root.path().join("../x"), Code::PermissionDenied, "PATH_NOT_ALLOWED"),
        ("relative".into(), Code::InvalidArgument, "REQUEST_INVALID"),
    ] {
        let status = created(&mut client, create("n", &path)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (code, wanted),
            "{}",
            path.display()
        );
    }
    let listed = soon(client.list(v1::ListRequest::default()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(listed.models.len(), 1);
    let status = created(&mut client, create("n:cloud", &tiny)).await.unwrap_err();
    assert_eq!(reason(&status), "MODEL_NAME_INVALID");
    let ensure = v1::EnsureReadyRequest {
        model: "m".into(),
        level: v1::Level::Loaded.into(),
        ..Default::default()
    };
    let status = soon(client.ensure_ready(ensure)).await.unwrap_err();
    assert_eq!(reason(&status), "BACKEND_CANNOT_LOAD");
    service.stop().await;
}
