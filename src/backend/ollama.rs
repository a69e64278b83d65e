//! An Ollama that runs already: driven over its HTTP API, never started, stopped or patched.
//!
//! | file | holds |
//! |---|---|
//! | `client` | HTTP, bounded |
//! | `stream` | the lines of long work |
//! | `wire` | what is sent, as it is |
//! | `events` | progress: the only reader of status texts |
//! | `error` | failures: the only reader of error texts |
//! | `list` | its models |
//! | `recent` | one answer for many who ask at the same time |
//! | `transfer` | what pulls and pushes have in common |
//! | `pull` | one pull at a time |
//! | `push` | one push at a time |
//! | `create` | makes models, to the end |
//! | `files` | what a create sends, checked |
//! | `hash` | its digests |
//! | `upload` | its blobs |
//! | `memory` | what is remembered between creates |
//! | `names` | one piece of work on a name |
//! | `silence` | waits while it says nothing |
//! | `show` | all about a model |
//! | `remove`, `copy` | and that it was done |
//! | `load` | into memory |
//! | `canary` | a first token |
//! | `running` | what is in memory, and out of it |
//! | `weights` | which models run in the same process |
//!
//! Ollama answers 200 and fails later, ends streams early, tells bytes that fall back, and dies when two of its pulls meet
//! at one blob; each file says which of that it keeps from callers. Rejected: ollama-rs and the like, which believe what
//! they are told.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;

use self::{client::Client, names::Names, recent::Recent, transfer::OneAtATime, weights::Weights, wire::Version};
use super::{
    Backend, Call, CopySpec, CreateSpec, Error, Kind, LoadSpec, PullSpec, PushSpec, call, registries::AllowList,
};
use crate::model::{Canary, Capability, Details, ModelInfo, ModelName, Protocol, Running, Unloaded};

mod canary;
mod client;
mod copy;
mod create;
mod error;
mod events;
mod files;
mod hash;
mod list;
mod load;
mod memory;
mod names;
mod pull;
mod push;
mod recent;
#[cfg(test)]
mod recorded;
mod remove;
mod running;
mod show;
mod silence;
mod stream;
mod transfer;
mod upload;
mod weights;
mod wire;

pub use self::{
    client::{Settings, SettingsError},
    memory::Memory,
};

/// What it speaks.
const PROTOCOLS: [Protocol; 2] = [Protocol::Ollama, Protocol::OpenAi];

/// One Ollama.
#[derive(Debug)]
pub struct Ollama {
    shared: Arc<Shared>,
    allow: AllowList,
    pulls: OneAtATime,
    pushes: OneAtATime,
}

/// What work on it shares.
#[derive(Debug)]
struct Shared {
    client: Client,
    memory: Memory,
    names: Names,
    weights: Weights,
    seen: list::Seen,
    recent: Recent,
}

// === impl Ollama ===

impl Ollama {
    /// A client of it. Nothing is asked yet. Blocks, for it reads the files that the settings name.
    pub fn new(settings: &Settings, allow: AllowList, memory: Memory) -> Result<Self, SettingsError> {
        let shared = Arc::new(Shared {
            client: Client::new(settings)?,
            memory,
            names: Names::default(),
            weights: Weights::default(),
            seen: list::Seen::default(),
            recent: Recent::default(),
        });
        Ok(Self {
            pulls: OneAtATime::new(Arc::clone(&shared)),
            pushes: OneAtATime::new(Arc::clone(&shared)),
            shared,
            allow,
        })
    }
}

#[async_trait]
impl Backend for Ollama {
    fn endpoint(&self) -> String {
        self.shared.client.url().to_owned()
    }

    fn capabilities(&self) -> BTreeSet<Capability> {
        [
            Capability::Pull,
            Capability::Create,
            Capability::Convert,
            Capability::Quantize,
            Capability::Adapters,
            Capability::Show,
            Capability::Delete,
            Capability::Copy,
            Capability::Push,
            Capability::Load,
            Capability::Unload,
            Capability::ListRunning,
        ]
        .into()
    }

    fn protocols(&self) -> Vec<Protocol> {
        PROTOCOLS.to_vec()
    }

    async fn probe(&self) -> Result<String, Error> {
        let Version { version } = self.shared.client.get("/api/version").await?;
        Ok(version.chars().take(64).collect())
    }

    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        Ok(Recent::all(&self.shared).await?.to_vec())
    }

    async fn inspect(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        Recent::find(&self.shared, name).await
    }

    async fn pull(&self, spec: PullSpec) -> Result<Box<dyn Call>, Error> {
        not_reserved(&spec.name, "pull")?;
        self.allow.check(&spec.name, spec.insecure)?;
        Ok(pull::start(&self.pulls, spec))
    }

    async fn create(&self, spec: CreateSpec) -> Result<Box<dyn Call>, Error> {
        create::refuse(&spec.options)?;
        let shared = Arc::clone(&self.shared);
        Ok(call::draining(|reporter, point| {
            create::run(shared, spec, reporter, point)
        }))
    }

    async fn show(&self, name: &ModelName, verbose: bool) -> Result<Option<Details>, Error> {
        show::run(&self.shared, name, verbose).await
    }

    async fn delete(&self, name: &ModelName) -> Result<u64, Error> {
        remove::run(&self.shared, name).await
    }

    async fn copy(&self, spec: &CopySpec) -> Result<(), Error> {
        copy::run(&self.shared, spec).await
    }

    async fn push(&self, spec: PushSpec) -> Result<Box<dyn Call>, Error> {
        self.allow.check(&spec.name, spec.insecure)?;
        Ok(push::start(&self.pushes, spec))
    }

    async fn load(&self, spec: LoadSpec) -> Result<Box<dyn Call>, Error> {
        load::refuse(&spec)?;
        Ok(load::start(Arc::clone(&self.shared), spec))
    }

    async fn warm(&self, spec: &LoadSpec, timeout: Duration) -> Result<Canary, Error> {
        load::refuse(spec)?;
        canary::warm(&self.shared, spec, timeout).await
    }

    async fn unload(&self, name: &ModelName) -> Result<Unloaded, Error> {
        running::unload(&self.shared, name).await
    }

    async fn running(&self) -> Result<Vec<Running>, Error> {
        running::all(&self.shared).await
    }
}

/// Ollama reads some tags as a place, and would do it to another model than the one that is named.
fn not_reserved(name: &ModelName, what: &str) -> Result<(), Error> {
    match name.reserved() {
        None => Ok(()),
        Some(why) => Err(Error::new(
            Kind::NameInvalid,
            format!("Ollama cannot {what} `{name}`: {why}"),
        )),
    }
}
