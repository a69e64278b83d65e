//! A running service and its callers.

use std::{net::SocketAddr, time::Duration, time::SystemTime};
pub(crate) use std::{path::Path, sync::Arc};

use model_control::{
    app::App,
    backend::Backend,
    config::{Access, Server},
    engines::{Engine, Entry, Setup},
    model::Digest,
};
pub(crate) use model_control::{
    backend::{embedded::Embedded, scripted::Scripted},
    grpc::proto::{
        health::{HealthCheckRequest, health_client::HealthClient},
        v1::{self, model_control_client::ModelControlClient, operations_client::OperationsClient},
    },
    model::{Event, Phase},
};
use tokio::{sync::oneshot, task::JoinHandle};
pub(crate) use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

pub(crate) use crate::soon::soon;

/// No test waits longer for anything: it fails then.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// How a service is started.
pub(crate) struct Plan {
    pub(crate) settings: Server,
    pub(crate) entries: Vec<Entry>,
    state: tempfile::TempDir,
}

/// A running service.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) health: Option<SocketAddr>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    _state: tempfile::TempDir,
}

/// A backend without configured models.
pub(crate) fn entry(name: &str, backend: Arc<dyn Backend>) -> Entry {
    Entry {
        name: name.into(),
        framework: "test".into(),
        engine: Some(Engine::new(name, backend)),
        desired: vec![],
        advertise: None,
    }
}

// === impl Plan ===

impl Plan {
    /// Small limits; one backend `one`.
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let settings = Server {
            listen: "127.0.0.1:0".parse().unwrap(),
            metrics_listen: None,
            otlp_endpoint: None,
            health_listen: None,
            state_dir: state.path().to_owned(),
            model_roots: vec![],
            allow_unauthenticated: false,
            access: Access::default(),
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
        Self {
            settings,
            entries: vec![entry("one", backend)],
            state,
        }
    }

    pub(crate) async fn start(self) -> Service {
        let setup = Setup {
            entries: self.entries.into_iter().map(Arc::new).collect(),
            digest: Digest::of(b""),
            load_time: SystemTime::now(),
        };
        let app = App::with_setup(self.settings, Arc::new(setup)).await.unwrap();
        let address = app.local_addr().unwrap();
        let health = app.health_addr().map(Result::unwrap);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(app.run(async { drop(stopped.await) }));
        Service {
            address,
            health,
            stop,
            task,
            _state: self.state,
        }
    }
}

// === impl Service ===

impl Service {
    pub(crate) async fn start(backend: Arc<dyn Backend>, root: Option<&Path>) -> Self {
        let mut plan = Plan::new(backend);
        plan.settings.model_roots = root.map(Path::to_owned).into_iter().collect();
        plan.start().await
    }

    pub(crate) async fn channel(&self) -> Channel {
        channel(self.address).await
    }

    pub(crate) async fn client(&self) -> ModelControlClient<Channel> {
        ModelControlClient::new(self.channel().await)
    }

    pub(crate) async fn operations(&self) -> OperationsClient<Channel> {
        OperationsClient::new(self.channel().await)
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.task).await.unwrap();
    }
}

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

pub(crate) fn reason(status: &Status) -> String {
    status
        .get_error_details()
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}

pub(crate) fn pull(model: &str) -> v1::PullRequest {
    v1::PullRequest {
        model: model.into(),
        ..Default::default()
    }
}

pub(crate) fn create(model: &str, path: &Path) -> v1::CreateFromPathRequest {
    v1::CreateFromPathRequest {
        model: model.into(),
        path: path.display().to_string(),
        ..Default::default()
    }
}

pub(crate) async fn created(
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
