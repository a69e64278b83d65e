//! From entries of the configuration to engines. The only match on frameworks.
//!
//! Entries whose store or address is the same share one engine: locks, probes, limits and operation keys are the engine's.

use std::{
    collections::HashMap,
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use crate::{
    backend::{
        Backend,
        embedded::{
            AllowList, AllowedHost, Embedded, InvalidHost, OpenError, Pulling, Registry, RegistrySettings,
            RunnerSettings, SettingsError, TransferLimits,
        },
        ollama::{self, Memory as Remembered, Ollama},
    },
    config::{self, Config, Framework, RegistryHost},
    model::{Capability, Digest, Level, ModelInfo, RunState, Running},
};

mod memory;

pub use self::memory::{Memory, Pin};

/// The configuration in force with its engines. Replaced as a whole; a running operation holds the one it began with.
#[derive(Debug)]
pub struct Setup {
    /// In the order of the file.
    pub entries: Vec<Arc<Entry>>,
    /// Of the file.
    pub digest: Digest,
    /// When it came into force.
    pub load_time: SystemTime,
}

/// One backend: an entry with its engine.
#[derive(Debug)]
pub struct Entry {
    /// Unique.
    pub name: String,
    /// As configured.
    pub framework: String,
    /// None when this build does not know the framework.
    pub engine: Option<Engine>,
    /// The models that must be ready.
    pub desired: Vec<Desired>,
    /// Where callers send inference.
    pub advertise: Option<String>,
}

/// A configured model, and whether it counts yet.
#[derive(Debug)]
pub struct Desired {
    /// As configured.
    pub spec: config::Desired,
    asked: AtomicBool,
}

/// An engine and what tells it from others.
#[derive(Clone)]
pub struct Engine {
    /// Equal for entries that share the engine.
    pub id: EngineId,
    /// The engine.
    pub backend: Arc<dyn Backend>,
    /// What this service knows of its memory.
    pub memory: Arc<Memory>,
}

/// What tells engines apart: the framework and the normalised address or store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EngineId(Arc<str>);

/// The engines could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// One of them.
    #[error("backend `{backend}` cannot start")]
    Store {
        /// The entry's name.
        backend: String,
        /// Why.
        source: OpenError,
    },
    /// The client of an Ollama.
    #[error("backend `{backend}` cannot start")]
    Ollama {
        /// The entry's name.
        backend: String,
        /// Why.
        source: ollama::SettingsError,
    },
    /// What they need to reach registries.
    #[error(transparent)]
    Registries(#[from] SettingsError),
    /// A registry that may be asked.
    #[error("--allow-registry {host}")]
    Registry {
        /// As configured.
        host: String,
        /// Why not.
        source: InvalidHost,
    },
}

/// Sets up the engines of a configuration. Blocks.
pub fn build(config: &Config) -> Result<Setup, BuildError> {
    let mut builder = Builder::new(config)?;
    let entries = config.entries.iter().map(|entry| {
        Ok(Arc::new(Entry {
            name: entry.name.clone(),
            framework: entry.framework.name().to_owned(),
            engine: builder.engine(entry)?,
            desired: entry.desired.iter().cloned().map(Desired::new).collect(),
            advertise: entry.advertise.clone(),
        }))
    });
    Ok(Setup {
        entries: entries.collect::<Result<_, BuildError>>()?,
        digest: config.digest.clone(),
        load_time: SystemTime::now(),
    })
}

/// Makes each engine once.
struct Builder {
    allow: Vec<AllowedHost>,
    pulling: Pulling,
    memory: Remembered,
    runner: RunnerSettings,
    made: HashMap<String, Engine>,
}

// === impl Builder ===

impl Builder {
    fn new(config: &Config) -> Result<Self, BuildError> {
        let memory = Remembered::open(&config.server.state_dir);
        let runner = RunnerSettings {
            program: config.runner.program.clone(),
            listen: config.runner.listen,
            advertise: config.runner.advertise.clone(),
            ports: config.runner.ports.as_ref().map(|ports| ports.0.clone()),
            key_file: config.runner.key_file.clone(),
            max_loaded: config.runner.max_loaded,
            memory_limit: config.runner.memory_limit,
            ..RunnerSettings::default()
        };
        let config = &config.registries;
        let allowed = |host: &RegistryHost| {
            let host = host.to_string();
            host.parse().map_err(|source| BuildError::Registry { host, source })
        };
        let allow: Vec<AllowedHost> = config.allow.iter().map(allowed).collect::<Result<_, _>>()?;
        let settings = RegistrySettings {
            allow: allow.clone(),
            auth_file: config.auth_file.clone(),
            ca_file: config.ca_file.clone(),
            proxy: config.proxy.as_ref().map(|proxy| proxy.reveal().to_owned()),
            ..RegistrySettings::default()
        };
        let pulling = Pulling {
            registry: Registry::new(settings)?,
            at_a_time: config.max_concurrent_pulls,
            limits: TransferLimits {
                connections_per_blob: config.pull_connections,
                part: config.pull_part_bytes,
                ..TransferLimits::default()
            },
        };
        Ok(Self {
            allow,
            pulling,
            memory,
            runner,
            made: HashMap::new(),
        })
    }

    /// The entry's engine; none when this build does not know the framework.
    fn engine(&mut self, entry: &config::Entry) -> Result<Option<Engine>, BuildError> {
        match &entry.framework {
            Framework::Embedded { store } => {
                let id = format!("embedded {}", store.display());
                self.once(id, |builder| builder.embedded(&entry.name, store)).map(Some)
            }
            Framework::Ollama { host, header_file } => {
                let id = format!("ollama {}", host.id());
                let settings = ollama::Settings {
                    url: host.to_string(),
                    header_file: header_file.clone(),
                };
                self.once(id, |builder| builder.ollama(&entry.name, &settings))
                    .map(Some)
            }
            Framework::Unsupported(framework) => {
                tracing::warn!(
                    backend.name = entry.name,
                    backend.framework = framework,
                    "this version does not support the framework: the entry is listed and otherwise left alone"
                );
                Ok(None)
            }
        }
    }

    fn once(
        &mut self,
        id: String,
        make: impl FnOnce(&Self) -> Result<Arc<dyn Backend>, BuildError>,
    ) -> Result<Engine, BuildError> {
        if let Some(engine) = self.made.get(&id) {
            return Ok(engine.clone());
        }
        let engine = Engine::new(&id, make(self)?);
        self.made.insert(id, engine.clone());
        Ok(engine)
    }

    fn embedded(&self, name: &str, store: &Path) -> Result<Arc<dyn Backend>, BuildError> {
        let made = Embedded::pulling(store.to_owned(), self.pulling.clone())
            .and_then(|engine| engine.with_runner(self.runner.clone()));
        Ok(Arc::new(made.map_err(|source| BuildError::Store {
            backend: name.to_owned(),
            source,
        })?))
    }

    fn ollama(&self, name: &str, settings: &ollama::Settings) -> Result<Arc<dyn Backend>, BuildError> {
        let made = Ollama::new(settings, AllowList(self.allow.clone()), self.memory.clone());
        Ok(Arc::new(made.map_err(|source| BuildError::Ollama {
            backend: name.to_owned(),
            source,
        })?))
    }
}

// === impl Setup ===

impl Setup {
    /// Entries that have an engine.
    pub fn supported(&self) -> impl Iterator<Item = (&Arc<Entry>, &Engine)> {
        self.entries
            .iter()
            .filter_map(|entry| Some((entry, entry.engine.as_ref()?)))
    }
}

// === impl Engine ===

impl Engine {
    /// An engine told apart by `id`.
    pub fn new(id: &str, backend: Arc<dyn Backend>) -> Self {
        Self {
            id: EngineId(id.into()),
            backend,
            memory: Arc::default(),
        }
    }
}

impl Engine {
    /// Whether it can do this now.
    pub fn can(&self, capability: Capability) -> bool {
        self.backend.capabilities().contains(&capability)
    }

    /// How ready a listed model is, by what runs.
    pub fn level(&self, info: &ModelInfo, running: &[Running]) -> Level {
        let ready = running.iter().find(|running| {
            // Under another name the manifest is another one, of the same weights.
            let told = running.digest.as_ref().filter(|_| running.name == info.name);
            let same = told.is_none_or(|digest| *digest == info.digest);
            same && running.state == RunState::Ready && running.is(&info.name)
        });
        match ready {
            None => Level::OnDisk,
            Some(running) if self.memory.canary(&info.name, running.digest.as_ref()).is_some() => Level::Warm,
            Some(_) => Level::Loaded,
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Engine").field(&self.id).finish()
    }
}

// === impl Desired ===

impl Desired {
    /// A configured model; one that is made ready at start counts from the start.
    pub fn new(spec: config::Desired) -> Self {
        let asked = AtomicBool::new(spec.ensure == config::Ensure::Startup);
        Self { spec, asked }
    }

    /// Whether it counts: it is made ready at start, or somebody has asked for it.
    pub fn counts(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// Somebody asks for it. True for the first one.
    pub fn ask(&self) -> bool {
        !self.asked.swap(true, Ordering::Relaxed)
    }
}
