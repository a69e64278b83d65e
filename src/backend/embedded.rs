//! The engine inside this program: a model store in Ollama's layout, in plain Rust.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

use self::{pull::Pulls, push::Pushes, runner::Runner, store::Store};
use super::{Backend, Call, CopySpec, CreateSpec, Death, Error, Kind, LoadSpec, PullSpec, PushSpec, call};
use crate::model::{Canary, Capability, Details, ModelInfo, ModelName, Running, Unloaded};

mod import;
mod pull;
mod push;
mod registry;
mod runner;
mod show;
mod store;

pub use self::{
    registry::{Limits as TransferLimits, Registry, Settings as RegistrySettings, SettingsError},
    runner::{Ended, RunnerLimits, RunnerSettings, RunnerSettingsError, engine_child},
    store::OpenError,
};

/// The engine. It does all its I/O on blocking threads.
#[derive(Debug)]
pub struct Embedded {
    store: Arc<Store>,
    pulls: Pulls,
    pushes: Pushes,
    runner: Runner,
}

/// How models are fetched and sent.
#[derive(Debug, Clone)]
pub struct Pulling {
    /// From where, and where to.
    pub registry: Registry,
    /// Pulls at a time, at least 1.
    pub at_a_time: usize,
    /// Sizes, connections and waits of the transfer.
    pub limits: TransferLimits,
}

// === impl Embedded ===

impl Embedded {
    /// Opens the store in this folder, and makes what is missing of it; no registry is allowed. Blocks; another process that has it is named in the
    /// error.
    pub fn open(store: PathBuf) -> Result<Self, OpenError> {
        Self::pulling(store, Pulling::from(RegistrySettings::default())?)
    }

    /// As [`open`](Self::open); models may be fetched too.
    pub fn pulling(store: PathBuf, pulling: Pulling) -> Result<Self, OpenError> {
        let store = Arc::new(Store::open(store)?);
        Ok(Self {
            pushes: Pushes::new(Arc::clone(&store), &pulling),
            pulls: Pulls::new(Arc::clone(&store), pulling),
            runner: Runner::new(RunnerSettings::default())?,
            store,
        })
    }

    /// With models run so; without it a `llama-server` on the PATH runs them, on loopback.
    pub fn with_runner(mut self, settings: RunnerSettings) -> Result<Self, OpenError> {
        self.runner = Runner::new(settings)?;
        Ok(self)
    }

    /// How the model's engine ended, when it was not to, until the model is loaded again.
    pub fn ended(&self, name: &ModelName) -> Option<Ended> {
        self.runner.ended(name)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Store) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let store = Arc::clone(&self.store);
        tokio::task::spawn_blocking(move || ask(&store))
            .await
            .unwrap_or_else(|error| {
                Err(Error::new(Kind::Internal, "the store failed by a fault of this service").because(error))
            })
    }
}

#[async_trait]
impl Backend for Embedded {
    fn endpoint(&self) -> String {
        "embedded".to_owned()
    }

    fn capabilities(&self) -> BTreeSet<Capability> {
        let mut all: BTreeSet<_> = [
            Capability::Pull,
            Capability::Create,
            Capability::Adapters,
            Capability::Show,
            Capability::Delete,
            Capability::Copy,
            Capability::Push,
            Capability::Load,
            Capability::Unload,
            Capability::ListRunning,
        ]
        .into();
        // Looked for each time: it may be installed meanwhile.
        if self.missing(Capability::Load).is_some() {
            all.remove(&Capability::Load);
        }
        all
    }

    fn missing(&self, capability: Capability) -> Option<Error> {
        match capability {
            Capability::Load => self.runner.missing(),
            _ => None,
        }
    }

    async fn probe(&self) -> Result<String, Error> {
        self.blocking(Store::probe).await?;
        Ok(env!("CARGO_PKG_VERSION").to_owned())
    }

    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        self.blocking(Store::list).await
    }

    async fn inspect(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        let name = name.clone();
        self.blocking(move |store| store.find(&name)).await
    }

    async fn pull(&self, spec: PullSpec) -> Result<Box<dyn Call>, Error> {
        Ok(self.pulls.start(spec))
    }

    async fn create(&self, spec: CreateSpec) -> Result<Box<dyn Call>, Error> {
        import::refuse(&spec)?;
        let store = Arc::clone(&self.store);
        Ok(call::blocking(move |reporter| import::run(&store, &spec, &reporter)))
    }

    async fn show(&self, name: &ModelName, verbose: bool) -> Result<Option<Details>, Error> {
        let name = name.clone();
        self.blocking(move |store| show::show(store, &name, verbose)).await
    }

    async fn delete(&self, name: &ModelName) -> Result<u64, Error> {
        let name = name.clone();
        self.blocking(move |store| store.remove(&name)).await
    }

    async fn copy(&self, spec: &CopySpec) -> Result<(), Error> {
        let spec = spec.clone();
        self.blocking(move |store| store.copy(&spec.source, &spec.destination, spec.replace))
            .await
    }

    async fn push(&self, spec: PushSpec) -> Result<Box<dyn Call>, Error> {
        self.pushes.start(spec)
    }

    async fn load(&self, spec: LoadSpec) -> Result<Box<dyn Call>, Error> {
        self.runner.load(&self.store, spec)
    }

    async fn warm(&self, spec: &LoadSpec, timeout: Duration) -> Result<Canary, Error> {
        self.runner.warm(&spec.name, timeout).await
    }

    async fn unload(&self, name: &ModelName) -> Result<Unloaded, Error> {
        self.runner.unload(name).await
    }

    async fn stop(&self) {
        self.runner.stop().await;
    }

    async fn running(&self) -> Result<Vec<Running>, Error> {
        Ok(self.runner.running())
    }

    fn departures(&self) -> Option<watch::Receiver<u64>> {
        Some(self.runner.departures())
    }

    fn death(&self, name: &ModelName) -> Option<Death> {
        self.runner.death(name)
    }
}

// === impl Pulling ===

impl Pulling {
    /// From the registries that the settings allow, with the defaults of the rest.
    pub fn from(settings: RegistrySettings) -> Result<Self, SettingsError> {
        Ok(Self {
            registry: Registry::new(settings)?,
            at_a_time: 8,
            limits: TransferLimits::default(),
        })
    }
}
