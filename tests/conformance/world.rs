//! What a case stands on: an engine with its registry and files, and then the running program in front of it.

// Each test binary that includes this file uses a part of it.
#![allow(dead_code)]

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use model_control::{
    grpc::proto::v1,
    model::{Digest, ModelName},
};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{
    calls::{self, Client, Operations},
    case::Need,
    ollama,
    ollama_double::{Double, Gate, Layer, Remote, digest_of},
    processes::processes,
    registry::{Front, Registry},
    road::Road,
    service::{self, Home},
    support::{Channel, HealthCheckRequest, HealthClient, LONG, Status, create, created, soon},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");
/// The registry's address where none is needed: the double asks nobody.
const NOBODY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
static SPACES: AtomicUsize = AtomicUsize::new(0);

/// An engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Embedded,
    Double,
    Ollama,
}

/// What all cases share.
pub(crate) struct Shared {
    pub(crate) registry: Option<Registry>,
    /// llama.cpp's tool that splits a model is there.
    pub(crate) split: bool,
    /// llama.cpp's server, which the embedded engine runs.
    pub(crate) server: Option<PathBuf>,
    /// A Python with a client of the OpenAI API.
    pub(crate) python: Option<PathBuf>,
    /// Names may mean Ollama's hub: only where every engine is a double, which asks nobody.
    pub(crate) hub: bool,
    pub(crate) handle: Handle,
}

pub(crate) enum Engine {
    Embedded,
    Double(Double),
    Ollama(Box<ollama::Server>),
}

/// An engine that runs, a registry and a folder: all but the service.
pub(crate) struct Ground {
    pub(crate) kind: Kind,
    pub(crate) engine: Engine,
    pub(crate) home: Home,
    /// Opens the road of what [`Ground::held_name`] names.
    pub(crate) gate: Arc<Gate>,
    /// Further flags of the service.
    pub(crate) flags: Vec<String>,
    /// Further variables of its environment.
    pub(crate) variables: Vec<(String, String)>,
    /// Its namespace at the registry, which all cases share.
    space: String,
    fast: Option<Front>,
    held: Option<(Front, Road)>,
    shared: Arc<Shared>,
}

/// A service in front of it. What is dropped first ends first.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) operations: Operations,
    pub(crate) health: HealthClient<Channel>,
    pub(crate) service: service::Service,
    pub(crate) ground: Ground,
}

/// The repository's own model with another last weight: really loadable, and another content for each seed.
pub(crate) fn tiny(seed: u8) -> Vec<u8> {
    let mut bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf")).unwrap();
    *bytes.last_mut().unwrap() ^= seed;
    bytes
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Embedded, Self::Double, Self::Ollama];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Double => "double",
            Self::Ollama => "ollama",
        }
    }

    /// The framework of its entry.
    pub(crate) fn framework(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Double | Self::Ollama => "ollama",
        }
    }

    pub(crate) fn has(self, need: Need) -> bool {
        match need {
            Need::Create | Need::Registry | Need::Split | Need::OpenAi => true,
            Need::Child => self == Self::Embedded,
            Need::Outage => self != Self::Embedded,
            Need::Manage | Need::Push | Need::Load => self != Self::Double,
            Need::Count => self == Self::Double,
        }
    }
}

// === impl Ground ===

impl Ground {
    pub(crate) async fn new(kind: Kind, shared: Arc<Shared>) -> Self {
        let gate = Gate::new();
        let (mut fast, mut held) = (None, None);
        if let Some(registry) = &shared.registry {
            let road = Road::to(registry.address, &gate).await;
            fast = Some(Front::before(registry, registry.address).await);
            held = Some((Front::before(registry, road.address).await, road));
        }
        let engine = match kind {
            Kind::Embedded => Engine::Embedded,
            Kind::Double => Engine::Double(Double::start().await),
            Kind::Ollama => Engine::Ollama(Box::new(ollama::Server::start().expect("it was there"))),
        };
        Self {
            kind,
            engine,
            home: Home::new(),
            gate,
            flags: Vec::new(),
            variables: Vec::new(),
            space: format!("w{}", SPACES.fetch_add(1, Ordering::Relaxed)),
            fast,
            held,
            shared,
        }
    }

    pub(crate) fn python(&self) -> Option<&Path> {
        self.shared.python.as_deref()
    }

    pub(crate) fn has_registry(&self) -> bool {
        self.fast.is_some()
    }

    /// A name at the registry.
    pub(crate) fn name(&self, model: &str) -> String {
        let host = self.fast.as_ref().map_or(NOBODY, |front| front.address);
        format!("{host}/{}/{model}", self.space)
    }

    /// A name at the registry that takes what is sent: the fronts only give.
    pub(crate) fn push_name(&self, model: &str) -> String {
        let registry = self.shared.registry.as_ref().unwrap().address;
        format!("localhost:{}/{}/{model}", registry.port(), self.space)
    }

    /// The same model at the registry, whose blobs come half way before the gate opens.
    pub(crate) fn held_name(&self, model: &str) -> String {
        format!("{}/{}/{model}", self.held.as_ref().unwrap().0.address, self.space)
    }

    /// Puts a model of these layers at the registry: the digest that is to be listed.
    pub(crate) async fn publish(&self, model: &str, layers: &[(&str, &[u8])]) -> String {
        let registry = self.shared.registry.as_ref().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..layers.len())
            .map(|index| folder.path().join(index.to_string()))
            .collect();
        for (path, (_, bytes)) in paths.iter().zip(layers) {
            fs::write(path, bytes).unwrap();
        }
        let files: Vec<_> = layers
            .iter()
            .zip(&paths)
            .map(|((kind, _), path)| (*kind, path.as_path()))
            .collect();
        let (repository, tag) = model.split_once(':').unwrap_or((model, "latest"));
        let pushed = registry
            .push(&format!("{}/{repository}", self.space), tag, &files)
            .await;
        let Engine::Double(double) = &self.engine else {
            return pushed.to_string();
        };
        let layer = |(kind, bytes): &(&str, &[u8])| Layer::file(kind, Digest::of(bytes), bytes.len() as u64);
        let layers: Vec<_> = layers.iter().map(layer).collect();
        for (name, half_way) in [
            (self.name(model), None),
            (self.held_name(model), Some(Arc::clone(&self.gate))),
        ] {
            let layers = layers.clone();
            double
                .state()
                .publish(&name.parse().unwrap(), Remote { layers, half_way });
        }
        digest_of(&layers).to_string()
    }

    /// Writes a file where callers may name it.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.home.model(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn double(&self) -> &Double {
        match &self.engine {
            Engine::Double(double) => double,
            _ => panic!("only the double counts"),
        }
    }

    /// Where the engine's files are.
    pub(crate) fn blobs(&self) -> PathBuf {
        match &self.engine {
            Engine::Ollama(server) => server.models().join("blobs"),
            _ => self.home.store("blobs"),
        }
    }

    /// Processes that run a model.
    pub(crate) fn runners(&self) -> Vec<u32> {
        processes(&self.blobs())
    }

    /// Ends the engine as a crash does.
    pub(crate) async fn down(&mut self) {
        match &mut self.engine {
            Engine::Embedded => panic!("it is part of the service"),
            Engine::Double(double) => double.down().await,
            Engine::Ollama(server) => server.kill(),
        }
    }

    /// It is back where it was.
    pub(crate) async fn up(&mut self) {
        match &mut self.engine {
            Engine::Embedded => panic!("it is part of the service"),
            Engine::Double(double) => double.up().await,
            Engine::Ollama(server) => server.restart(),
        }
    }

    /// A layer of a model by its short name, as it lies in the store.
    pub(crate) fn layer(&self, model: &str, kind: &str) -> Option<Vec<u8>> {
        let models = match &self.engine {
            Engine::Embedded => self.home.store(""),
            Engine::Ollama(server) => server.models(),
            Engine::Double(double) => {
                let name: ModelName = model.parse().unwrap();
                let state = double.state();
                let layers = &state.model(&name).expect(model).layers;
                let layer = layers.iter().find(|layer| layer.kind == kind)?;
                return Some(layer.text.clone().unwrap_or_default().into_bytes());
            }
        };
        let manifest = models.join(format!("manifests/registry.ollama.ai/library/{model}/latest"));
        let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
        let wanted = format!("application/vnd.ollama.image.{kind}");
        let layers = manifest["layers"].as_array().unwrap();
        let layer = layers.iter().find(|layer| layer["mediaType"] == wanted.as_str())?;
        let digest = layer["digest"].as_str().unwrap().replace(':', "-");
        Some(fs::read(models.join("blobs").join(digest)).unwrap())
    }

    /// The service starts, with no configured model.
    pub(crate) async fn start(self) -> World {
        self.start_with(&[]).await
    }

    /// The service starts, with these flags of its entry.
    pub(crate) async fn start_with(self, flags: &[String]) -> World {
        let mut argv = vec![match &self.engine {
            Engine::Embedded => format!("--store={}", self.home.store("").display()),
            Engine::Double(double) => format!("--host={}", double.url()),
            Engine::Ollama(server) => format!("--host={}", server.url()),
        }];
        argv.extend_from_slice(flags);
        let entry = json!([{"name": "one", "framework": self.kind.framework(), "backend_argv": argv}]);
        fs::write(self.home.path("configs.yaml"), entry.to_string()).unwrap();
        let service = service::Service::start(self.command());
        let channel = service.channel().await;
        World {
            client: Client::new(channel.clone()),
            operations: Operations::new(channel.clone()),
            health: HealthClient::new(channel),
            service,
            ground: self,
        }
    }

    /// Its flags are all that the service is told: the environment is empty.
    fn command(&self) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .arg("serve")
            .args(["--listen=127.0.0.1:0", "--drain-delay=0s", "--probe-interval=200ms"])
            .args(["--pull-connections=1", "--max-operations=200"])
            .args(&self.flags)
            .arg("--config")
            .arg(self.home.path("configs.yaml"))
            .arg("--state-dir")
            .arg(self.home.path("state"))
            .arg("--model-root")
            .arg(self.home.path("models"))
            .env_clear()
            .env("HOME", self.home.path(""))
            .envs(self.variables.iter().cloned());
        if let (Some(fast), Some((held, road))) = (&self.fast, &self.held) {
            let registry = self.shared.registry.as_ref().unwrap().address;
            for host in [
                fast.address.to_string(),
                held.address.to_string(),
                format!("localhost:{}", registry.port()),
                format!("localhost:{}", road.address.port()),
            ] {
                command.arg("--allow-registry").arg(format!("http://{host}"));
            }
        }
        if self.shared.hub {
            command.arg("--allow-registry=registry.ollama.ai");
        }
        if let Some(program) = &self.shared.server {
            command.arg("--llama-server").arg(program);
        }
        if self.fast.is_none() {
            command.arg(format!("--allow-registry=http://{NOBODY}"));
        }
        command
    }
}

// === impl World ===

impl World {
    pub(crate) fn request(name: &str) -> v1::PullRequest {
        v1::PullRequest {
            model: name.to_owned(),
            insecure: true,
            ..Default::default()
        }
    }

    pub(crate) async fn pull(&self, name: &str) -> Result<v1::PullResult, Status> {
        calls::pulled(soon(self.client.clone().pull(Self::request(name))).await?.into_inner()).await
    }

    /// From a file that is put where callers may name it.
    pub(crate) async fn create(&self, model: &str, bytes: &[u8]) -> Result<v1::CreateFromPathResult, Status> {
        let path = self.ground.put(&format!("{model}.gguf"), bytes);
        created(&mut self.client.clone(), create(model, &path)).await
    }

    pub(crate) async fn list(&self) -> Vec<v1::Model> {
        let listed = soon(self.client.clone().list(v1::ListRequest::default())).await;
        listed.unwrap().into_inner().models
    }

    /// The listed model of this name.
    pub(crate) async fn listed(&self, name: &str) -> Option<v1::Model> {
        let canonical = name.parse::<ModelName>().unwrap().canonical();
        let of_it = |model: &v1::Model| model.canonical_name.eq_ignore_ascii_case(&canonical);
        self.list().await.into_iter().find(of_it)
    }

    /// What health says of this name now.
    pub(crate) async fn health_of(&self, name: &str) -> i32 {
        let request = HealthCheckRequest { service: name.into() };
        let told = soon(self.health.clone().check(request)).await.unwrap();
        told.into_inner().status
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
        tokio::time::timeout(LONG * 4, told).await.expect("in time");
    }
}
