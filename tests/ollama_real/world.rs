//! A real Ollama, a registry and the running program in front of it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use model_control::{grpc::proto::v1, model::ModelName};
use serde_json::json;

use super::{
    calls::{self, Client, Operations},
    hub::Hub,
    ollama::{self, Server},
    service::{self, Home},
    support::{Channel, HealthCheckRequest, HealthClient, LONG, Status, create, created, soon},
};

pub(crate) use crate::soon::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");
pub(crate) const SERVING: i32 = 1;
pub(crate) const NOT_SERVING: i32 = 2;

/// It says once that there is none.
static THERE: LazyLock<bool> = LazyLock::new(|| ollama::program().is_some());

pub(crate) fn there() -> bool {
    *THERE
}

/// All but the service.
pub(crate) struct Ground {
    pub(crate) server: Server,
    pub(crate) hub: Hub,
    pub(crate) home: Home,
}

/// A service in front of it. What is dropped first ends first.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) operations: Operations,
    pub(crate) health: HealthClient<Channel>,
    pub(crate) service: service::Service,
    pub(crate) server: Server,
    pub(crate) hub: Hub,
    pub(crate) home: Home,
}

// === impl Ground ===

impl Ground {
    /// None without Ollama.
    pub(crate) async fn new() -> Option<Self> {
        Self::with(|| Server::start().unwrap()).await
    }

    /// With Ollama's models in this folder.
    pub(crate) async fn on(models: &Path) -> Option<Self> {
        Self::with(|| Server::on(models).unwrap()).await
    }

    async fn with(server: impl FnOnce() -> Server) -> Option<Self> {
        if !there() {
            return None;
        }
        Some(Self {
            server: server(),
            hub: Hub::start().await,
            home: Home::new(),
        })
    }

    /// Two entries for it: `one` with these flags, and `two`.
    pub(crate) async fn start(self, flags: &[&str]) -> World {
        let mut one = vec![format!("--host={}", self.server.url())];
        let two = one.clone();
        one.extend(flags.iter().map(|&flag| flag.to_owned()));
        let entries = [("one", one), ("two", two)]
            .map(|(name, argv)| json!({"name": name, "framework": "ollama", "backend_argv": argv}));
        fs::write(self.home.path("configs.yaml"), json!(entries).to_string()).unwrap();
        let service = service::Service::start(self.command());
        let channel = service.channel().await;
        World {
            client: Client::new(channel.clone()),
            operations: Operations::new(channel.clone()),
            health: HealthClient::new(channel),
            service,
            server: self.server,
            hub: self.hub,
            home: self.home,
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .arg("serve")
            .args(["--listen=127.0.0.1:0", "--drain-delay=0s", "--probe-interval=200ms"])
            .arg("--config")
            .arg(self.home.path("configs.yaml"))
            .arg("--state-dir")
            .arg(self.home.path("state"))
            .arg("--model-root")
            .arg(self.home.path("models"))
            .env_clear()
            .env("HOME", self.home.path(""));
        for host in self.hub.hosts() {
            command.arg("--allow-registry").arg(host);
        }
        command
    }
}

// === impl World ===

impl World {
    /// None without Ollama.
    pub(crate) async fn new() -> Option<Self> {
        Some(Ground::new().await?.start(&[]).await)
    }

    /// For a model of the registry.
    pub(crate) fn request(&self, model: &str) -> v1::PullRequest {
        v1::PullRequest {
            model: self.hub.name(model),
            insecure: true,
            ..Default::default()
        }
    }

    pub(crate) fn ensure(&self, model: &str) -> v1::EnsureReadyRequest {
        v1::EnsureReadyRequest {
            model: self.hub.name(model),
            insecure: true,
            ..Default::default()
        }
    }

    pub(crate) async fn pull(&self, model: &str) -> Result<v1::PullResult, Status> {
        calls::pulled(soon(self.client.clone().pull(self.request(model))).await?.into_inner()).await
    }

    /// Writes a file where callers may name it.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.home.model(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) async fn create(&self, model: &str, path: &Path) -> Result<v1::CreateFromPathResult, Status> {
        created(&mut self.client.clone(), create(model, path)).await
    }

    pub(crate) async fn cancel(&self, id: &str) -> v1::Operation {
        calls::cancel(&mut self.operations.clone(), id).await.unwrap()
    }

    pub(crate) async fn list(&self) -> Vec<v1::Model> {
        let request = v1::ListRequest {
            backend: "one".into(),
            ..Default::default()
        };
        soon(self.client.clone().list(request))
            .await
            .unwrap()
            .into_inner()
            .models
    }

    /// The listed model of this name at the registry.
    pub(crate) async fn listed(&self, model: &str) -> Option<v1::Model> {
        let canonical = self.hub.name(model).parse::<ModelName>().unwrap().canonical();
        self.list()
            .await
            .into_iter()
            .find(|model| model.canonical_name == canonical)
    }

    /// Waits until health says so of this name.
    pub(crate) async fn health(&self, name: &str, status: i32) {
        let request = HealthCheckRequest { service: name.into() };
        let mut watch = soon(self.health.clone().watch(request)).await.unwrap().into_inner();
        // An engine that says nothing has three probes of ten seconds before it is not ready.
        let told = async {
            while let Some(message) = watch.message().await.unwrap() {
                if message.status == status {
                    return;
                }
            }
            panic!("the stream stays open");
        };
        tokio::time::timeout(LONG * 2, told).await.expect("in time");
    }

    /// Ollama is the process that was started, and wrote of no panic.
    pub(crate) fn lives(&mut self) {
        assert!(!self.server.crashed(), "{}", self.server.log());
    }

    /// Requests for files and creates that reached Ollama.
    pub(crate) fn reached(&self) -> usize {
        let log = self.server.log();
        let of_create = |line: &&str| line.contains("\"/api/create\"") || line.contains("\"/api/blobs/");
        log.lines().filter(of_create).count()
    }
}

/// Nothing of Ollama's machine is told, and clients can read it.
pub(crate) fn assert_clean(status: &Status, world: &World) {
    let told = format!("{} {}", status.message(), String::from_utf8_lossy(status.details()));
    let models = world.server.models();
    for hidden in [
        models.to_str().unwrap(),
        models.parent().unwrap().to_str().unwrap(),
        world.home.path("").to_str().unwrap(),
        "/blobs",
        "/lib/ollama",
        "/tmp",
    ] {
        assert!(!told.contains(hidden), "{hidden}: {status:?}");
    }
    assert!(status.message().len() <= 1024 && status.details().len() <= 4096);
}
