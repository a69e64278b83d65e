//! The port to engines: what every engine answers, and how long work is followed and cancelled.
//!
//! A [`Backend`] is one engine, however many entries of the configuration name it. It knows no callers, no operations and
//! no transport. What an engine cannot do it says by [`Backend::capabilities`], which may change while it runs.
//!
//! Rejected: a stream whose dropping cancels. Some engines cannot stop what they began (an Ollama create), and a dropped
//! stream has nobody left to tell; [`Call::cancel`] answers what became of the work.

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;

use crate::{
    model::{Capability, Digest, Event, ImportOptions, ModelInfo, ModelName, Provenance},
    source::Source,
};

pub mod call;
pub mod embedded;
pub mod error;
mod files;
pub mod ollama;
pub mod scripted;
mod turns;

pub use self::error::{Error, Kind};

/// One engine.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Where it is, without user information: a URL, or `embedded`. Never a path of the server.
    fn endpoint(&self) -> String;

    /// What it can do now.
    fn capabilities(&self) -> BTreeSet<Capability>;

    /// Asks for a cheap, real answer: the engine's version.
    async fn probe(&self) -> Result<String, Error>;

    /// Lists whole models only, in no order.
    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error>;

    /// The model of this name, in whatever spelling the engine has it. Absence is no error.
    async fn inspect(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error>;

    /// Begins to fetch a model from its registry.
    async fn pull(&self, spec: PullSpec) -> Result<Box<dyn Call>, Error>;

    /// Begins to make a model from opened files.
    async fn create(&self, spec: CreateSpec) -> Result<Box<dyn Call>, Error>;
}

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullSpec {
    /// The model.
    pub name: ModelName,
    /// The manifest that must come, or nothing is replaced.
    pub digest: Option<Digest>,
    /// Plain http.
    pub insecure: bool,
}

/// What to create.
#[derive(Debug)]
pub struct CreateSpec {
    /// The model's name, not a reserved one.
    pub name: ModelName,
    /// The model's files, opened.
    pub source: Source,
    /// The adapters' files, opened.
    pub adapters: Vec<Source>,
    /// The rest. Paths in it have been opened already.
    pub options: ImportOptions,
    /// The manifest that must come of it, or nothing is written.
    pub digest: Option<Digest>,
    /// Replace a model of that name with other content.
    pub replace: bool,
}

/// Long work of an engine. Dropping it asks the engine to stop and leaves nobody to be told.
#[async_trait]
pub trait Call: Send {
    /// What happens next. Not called again after [`Next::Ended`]. Cancel-safe.
    async fn next(&mut self) -> Next;

    /// Stops the work, and returns when it has stopped and cleaned up, or will not.
    async fn cancel(self: Box<Self>) -> Cancelled;
}

/// One message of a [`Call`].
#[derive(Debug)]
pub enum Next {
    /// It has come this far.
    Event(Event),
    /// It is over.
    Ended(Result<Done, Error>),
}

/// What a call achieved. Whether the engine lists the model is for the caller to look at.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// False when it was so already.
    pub changed: bool,
    /// Of a create.
    pub provenance: Option<Provenance>,
}

/// What became of work that was to be cancelled.
#[derive(Debug)]
pub enum Cancelled {
    /// It stopped, and left nothing half-written.
    Stopped,
    /// The engine cannot stop it: what goes on, in words.
    GoesOn(String),
    /// It was over before it could be stopped.
    Ended(Result<Done, Error>),
}
