//! The port to engines: what every engine answers, and how long work is followed and cancelled.
//!
//! A [`Backend`] is one engine, however many entries of the configuration name it. It knows no callers, no operations and
//! no transport. What an engine cannot do it says by [`Backend::capabilities`], which may change while it runs.
//!
//! Rejected: a stream whose dropping cancels. Some engines cannot stop what they began (an Ollama create), and a dropped
//! stream has nobody left to tell; [`Call::cancel`] answers what became of the work.

use std::{
    collections::BTreeSet,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    model::{
        Canary, Capability, Details, Digest, Event, ImportOptions, KeepAlive, LoadOptions, ModelInfo, ModelName,
        Protocol, Provenance, Running, Unloaded,
    },
    source::Source,
};

pub mod call;
pub mod embedded;
pub mod error;
mod files;
pub mod observed;
pub mod ollama;
pub mod registries;
#[doc(hidden)]
pub mod scripted;
pub mod state_file;
mod text;
mod turns;

pub use self::error::{Error, Kind};

/// One engine.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// Where it is, without user information: a URL, or `embedded`. Never a path of the server.
    fn endpoint(&self) -> String;

    /// What it can do now.
    fn capabilities(&self) -> BTreeSet<Capability>;

    /// Why it cannot do now what it could with a part that is not installed; none when it can, or never can.
    fn missing(&self, _capability: Capability) -> Option<Error> {
        None
    }

    /// What its endpoint speaks to those who want inference; nothing when each model has an endpoint of its own.
    fn protocols(&self) -> Vec<Protocol> {
        Vec::new()
    }

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

    // What follows not every engine can: see `capabilities`.

    /// All about a model; with `verbose`, tensors and long arrays too. Absence is no error.
    async fn show(&self, _name: &ModelName, _verbose: bool) -> Result<Option<Details>, Error> {
        Err(Error::lacks(Capability::Show))
    }

    /// Removes a model, and the layers that no other needs: the bytes that came free. Absence is [`Kind::NotFound`].
    async fn delete(&self, _name: &ModelName) -> Result<u64, Error> {
        Err(Error::lacks(Capability::Delete))
    }

    /// Gives a model a second name.
    async fn copy(&self, _spec: &CopySpec) -> Result<(), Error> {
        Err(Error::lacks(Capability::Copy))
    }

    /// Begins to send a model to its registry.
    async fn push(&self, _spec: PushSpec) -> Result<Box<dyn Call>, Error> {
        Err(Error::lacks(Capability::Push))
    }

    /// Begins to bring a model into memory. One that is there in the same way is nothing to do but to keep as long as is asked.
    async fn load(&self, _spec: LoadSpec) -> Result<Box<dyn Call>, Error> {
        Err(Error::lacks(Capability::Load))
    }

    /// Asks a model that is in memory for a first token or an embedding, the way that works for it, within `timeout`.
    async fn warm(&self, _spec: &LoadSpec, _timeout: Duration) -> Result<Canary, Error> {
        Err(Error::lacks(Capability::Load))
    }

    /// Takes a model out of memory, and returns when it is gone. One that is not there is nothing to do.
    async fn unload(&self, _name: &ModelName) -> Result<Unloaded, Error> {
        Err(Error::lacks(Capability::Unload))
    }

    /// The service ends: what the engine runs for it ends too, after the requests that run. The caller bounds the wait.
    async fn stop(&self) {}

    /// The models in memory, and those on their way in or out.
    async fn running(&self) -> Result<Vec<Running>, Error> {
        Err(Error::lacks(Capability::ListRunning))
    }

    /// A value that changes whenever something has left memory by itself; none where the engine does not tell.
    fn departures(&self) -> Option<watch::Receiver<u64>> {
        None
    }

    /// How the model's process ended that was not to end; none when it was loaded since, and where the engine does not tell.
    fn death(&self, _name: &ModelName) -> Option<Death> {
        None
    }
}

/// How a model's process ended that was not to end.
#[derive(Debug, Clone)]
pub struct Death {
    /// When.
    pub time: SystemTime,
    /// How often it has ended so, each time soon after it was loaded. From 1.
    pub in_a_row: u32,
    /// How, with what it said last, in words for callers.
    pub how: String,
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

/// What to copy.
#[derive(Debug, Clone)]
pub struct CopySpec {
    /// The model.
    pub source: ModelName,
    /// Its second name, not a reserved one.
    pub destination: ModelName,
    /// Replace a model of that name.
    pub replace: bool,
}

/// What to push.
#[derive(Debug, Clone)]
pub struct PushSpec {
    /// The model, whose host names the registry.
    pub name: ModelName,
    /// Plain http.
    pub insecure: bool,
}

/// What to load.
#[derive(Debug, Clone)]
pub struct LoadSpec {
    /// The model.
    pub name: ModelName,
    /// How it is to run.
    pub options: LoadOptions,
    /// How long it stays.
    pub keep_alive: KeepAlive,
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
    /// Of a push: the manifest's in the registry.
    pub digest: Option<Digest>,
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
