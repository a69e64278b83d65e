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
//!
//! Ollama answers 200 and fails later, ends streams early, tells bytes that fall back, and dies when two of its pulls meet
//! at one blob; each file says which of that it keeps from callers. Rejected: ollama-rs and the like, which believe what
//! they are told.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;

use self::{client::Client, pull::Pulls, wire::Version};
use super::{Backend, Call, CreateSpec, Error, Kind, PullSpec, embedded::AllowList};
use crate::model::{Capability, ModelInfo, ModelName};

#[expect(dead_code, reason = "CreateFromPath is next and uses the rest")]
mod client;
#[expect(dead_code, reason = "CreateFromPath is next and uses the rest")]
mod error;
mod events;
mod list;
mod pull;
mod stream;
mod text;
mod wire;

pub use self::client::{Settings, SettingsError};

/// One Ollama.
#[derive(Debug)]
pub struct Ollama {
    client: Client,
    allow: AllowList,
    pulls: Arc<Pulls>,
}

// === impl Ollama ===

impl Ollama {
    /// A client of it. Nothing is asked yet. Blocks, for it reads the files that the settings name.
    pub fn new(settings: &Settings, allow: AllowList) -> Result<Self, SettingsError> {
        let client = Client::new(settings)?;
        Ok(Self {
            pulls: Arc::new(Pulls::new(client.clone())),
            client,
            allow,
        })
    }
}

#[async_trait]
impl Backend for Ollama {
    fn endpoint(&self) -> String {
        self.client.url().to_owned()
    }

    fn capabilities(&self) -> BTreeSet<Capability> {
        [Capability::Pull].into()
    }

    async fn probe(&self) -> Result<String, Error> {
        let Version { version } = self.client.get("/api/version").await?;
        Ok(version.chars().take(64).collect())
    }

    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        list::all(&self.client).await
    }

    async fn inspect(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        list::find(&self.client, name).await
    }

    async fn pull(&self, spec: PullSpec) -> Result<Box<dyn Call>, Error> {
        not_reserved(&spec.name)?;
        self.allow.check(&spec.name, spec.insecure)?;
        Ok(self.pulls.start(spec))
    }

    async fn create(&self, _spec: CreateSpec) -> Result<Box<dyn Call>, Error> {
        Err(Error::cannot(Capability::Create, "not yet"))
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
