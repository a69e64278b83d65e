//! An Ollama that runs already: driven over its HTTP API, never started, stopped or patched.
//!
//! | file | holds |
//! |---|---|
//! | `client` | HTTP, bounded |
//! | `stream` | the lines of long work |
//! | `wire` | what is sent, as it is |
//! | `events` | progress: the only reader of status texts |
//! | `error` | failures: the only reader of error texts |
//! | `text` | Ollama's words without paths and secrets |
//! | `list` | its models |
//! | `pull` | one pull at a time |
//! | `create` | makes models, to the end |
//! | `files` | what a create sends, checked |
//! | `hash` | its digests |
//! | `upload` | its blobs |
//! | `memory` | what is remembered between creates |
//! | `names` | one piece of work on a name |
//!
//! Ollama answers 200 and fails later, ends streams early, tells bytes that fall back, and dies when two of its pulls meet
//! at one blob; each file says which of that it keeps from callers. Rejected: ollama-rs and the like, which believe what
//! they are told.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;

use self::{client::Client, names::Names, pull::Pulls, wire::Version};
use super::{Backend, Call, CreateSpec, Error, Kind, PullSpec, call, embedded::AllowList};
use crate::model::{Capability, ModelInfo, ModelName};

mod client;
mod create;
mod error;
mod events;
mod files;
mod hash;
mod list;
mod memory;
mod names;
mod pull;
mod stream;
pub(super) mod text;
mod upload;
mod wire;

pub use self::{
    client::{Settings, SettingsError},
    memory::Memory,
};

/// One Ollama.
#[derive(Debug)]
pub struct Ollama {
    shared: Arc<Shared>,
    allow: AllowList,
    pulls: Pulls,
}

/// What work on it shares.
#[derive(Debug)]
struct Shared {
    client: Client,
    memory: Memory,
    names: Names,
}

// === impl Ollama ===

impl Ollama {
    /// A client of it. Nothing is asked yet. Blocks, for it reads the files that the settings name.
    pub fn new(settings: &Settings, allow: AllowList, memory: Memory) -> Result<Self, SettingsError> {
        let shared = Arc::new(Shared {
            client: Client::new(settings)?,
            memory,
            names: Names::default(),
        });
        Ok(Self {
            pulls: Pulls::new(Arc::clone(&shared)),
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
        ]
        .into()
    }

    async fn probe(&self) -> Result<String, Error> {
        let Version { version } = self.shared.client.get("/api/version").await?;
        Ok(version.chars().take(64).collect())
    }

    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        list::all(&self.shared.client).await
    }

    async fn inspect(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        list::find(&self.shared.client, name).await
    }

    async fn pull(&self, spec: PullSpec) -> Result<Box<dyn Call>, Error> {
        not_reserved(&spec.name)?;
        self.allow.check(&spec.name, spec.insecure)?;
        Ok(self.pulls.start(spec))
    }

    async fn create(&self, spec: CreateSpec) -> Result<Box<dyn Call>, Error> {
        create::refuse(&spec.options)?;
        let shared = Arc::clone(&self.shared);
        Ok(call::draining(|reporter, point| {
            create::run(shared, spec, reporter, point)
        }))
    }
}

/// Ollama reads some tags as a place, and would pull another model than the one that is named.
fn not_reserved(name: &ModelName) -> Result<(), Error> {
    match name.reserved() {
        None => Ok(()),
        Some(why) => Err(Error::new(
            Kind::NameInvalid,
            format!("Ollama cannot pull `{name}`: {why}"),
        )),
    }
}
