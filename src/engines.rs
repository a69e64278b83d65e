//! From entries of the configuration to engines. The only match on frameworks.
//!
//! Entries whose store or address is the same share one engine: locks, probes, limits and operation keys are the engine's.
//! A new configuration takes over the engines of the old one: what they run, and what is known of them, outlives a reload.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use tokio::sync::Semaphore;

use crate::{
    backend::{
        Backend,
        embedded::{OpenError, SettingsError},
        ollama,
        registries::InvalidHost,
    },
    config,
    model::{Capability, Digest, Level, ModelInfo, ModelName, RunState, Running},
};

mod build;
mod memory;

pub use self::{
    build::{build, rebuild},
    memory::{Memory, Pin},
};

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
    /// Whose turn it is among the models that the configuration wants.
    pub turns: Arc<Turns>,
    /// How it is reached, beyond what tells it apart.
    reach: Arc<str>,
}

/// Of the models that the configuration wants of an engine, one at a time is fetched and one loaded: a start is no storm, and
/// a model that left memory is back before an hour's pull of another.
#[derive(Debug)]
pub struct Turns {
    /// For one that is not there.
    pub fetch: Semaphore,
    /// For one that is there.
    pub load: Semaphore,
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
    /// An engine that is there already is to be reached otherwise.
    #[error(
        "backend `{backend}`: the scheme and the `--header-file` of an Ollama that is in use, and how a store that is in use \
         runs its models, change only with a restart of this service"
    )]
    Reach {
        /// The entry's name.
        backend: String,
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

// === impl Setup ===

impl Setup {
    /// Entries that have an engine.
    pub fn supported(&self) -> impl Iterator<Item = (&Arc<Entry>, &Engine)> {
        self.entries
            .iter()
            .filter_map(|entry| Some((entry, entry.engine.as_ref()?)))
    }

    /// The configured models of this name on an engine, of all entries that share it.
    pub fn configured(&self, engine: &Engine, name: &ModelName) -> impl Iterator<Item = &Desired> {
        self.supported()
            .filter(|(_, other)| other.is(engine))
            .flat_map(|(entry, _)| &entry.desired)
            .filter(|desired| desired.spec.name == *name)
    }

    /// Whether the configuration keeps the model in the engine's memory.
    pub fn keeps(&self, engine: &Engine, name: &ModelName) -> bool {
        self.configured(engine, name)
            .any(|desired| desired.spec.level > Level::OnDisk)
    }
}

// === impl Entry ===

impl Entry {
    fn new(spec: &config::Entry, engine: Option<Engine>, before: Option<&Self>) -> Self {
        let desired = spec.desired.iter().cloned().map(|spec| {
            let desired = Desired::new(spec);
            // What somebody has asked for stays asked for.
            let old = before.and_then(|old| old.desired.iter().find(|old| old.spec.name == desired.spec.name));
            if old.is_some_and(Desired::counts) {
                desired.ask();
            }
            desired
        });
        Self {
            name: spec.name.clone(),
            framework: spec.framework.name().to_owned(),
            engine,
            desired: desired.collect(),
            advertise: spec.advertise.clone(),
        }
    }

    /// The level at which this service keeps a model: what is configured here, or a higher pin.
    pub fn keeps_at(&self, name: &ModelName) -> Level {
        let configured = self.desired.iter().find(|desired| desired.spec.name == *name);
        let configured = configured.map_or(Level::OnDisk, |desired| desired.spec.level);
        let pinned = self.engine.as_ref().and_then(|engine| engine.memory.pin_of(name));
        configured.max(pinned.unwrap_or(Level::OnDisk))
    }

    /// Whether it is what `spec` says, on this engine.
    fn is(&self, spec: &config::Entry, engine: Option<&Engine>) -> bool {
        let desired = self.desired.iter().map(|desired| &desired.spec);
        self.name == spec.name
            && self.framework == spec.framework.name()
            && self.advertise == spec.advertise
            && self.engine.as_ref().map(|engine| &engine.id) == engine.map(|engine| &engine.id)
            && desired.eq(&spec.desired)
    }
}

// === impl Turns ===

impl Default for Turns {
    fn default() -> Self {
        Self {
            fetch: Semaphore::new(1),
            load: Semaphore::new(1),
        }
    }
}

// === impl EngineId ===

impl EngineId {
    /// The same for the same engine in every run.
    pub fn as_str(&self) -> &str {
        &self.0
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
            turns: Arc::default(),
            reach: Arc::default(),
        }
    }

    /// Whether it is the very same, not only another one in the same place.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.memory, &other.memory)
    }

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
