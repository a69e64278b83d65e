//! An engine in memory that does what a test tells it: one more implementation of the port.
//!
//! A pull that was not scripted fails, so that a test cannot pass by accident.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::{Backend, Call, Cancelled, CreateSpec, Done, Error, Kind, Next, PullSpec};
use crate::model::{Capability, Digest, Event, ModelCapability, ModelInfo, ModelName};

/// The engine.
#[derive(Debug, Default)]
pub struct Scripted {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    models: BTreeMap<ModelName, Arc<ModelInfo>>,
    capabilities: BTreeSet<Capability>,
    reachable: bool,
    scripts: VecDeque<Play>,
    pulls: usize,
}

/// The test's end of one pull.
#[derive(Debug)]
pub struct Script {
    engine: Arc<Scripted>,
    moves: mpsc::Sender<Next>,
    cancelled: watch::Receiver<bool>,
}

/// The engine's end.
#[derive(Debug)]
struct Play {
    moves: mpsc::Receiver<Next>,
    cancelled: watch::Sender<bool>,
    goes_on: Option<String>,
}

// === impl Scripted ===

impl Scripted {
    /// An engine that answers, has nothing, and can pull.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Puts a model there, with a digest made from `content`.
    pub fn put(&self, name: &ModelName, content: &str) {
        self.lock().models.insert(name.clone(), Arc::new(info(name, content)));
    }

    /// Takes a model away.
    pub fn remove(&self, name: &ModelName) {
        self.lock().models.remove(name);
    }

    /// Whether it answers.
    pub fn set_reachable(&self, reachable: bool) {
        self.lock().reachable = reachable;
    }

    /// What it can do.
    pub fn set_capabilities(&self, capabilities: impl IntoIterator<Item = Capability>) {
        self.lock().capabilities = capabilities.into_iter().collect();
    }

    /// Scripts the next pull. With `goes_on` it cannot be stopped, and says that.
    pub fn script(self: &Arc<Self>, goes_on: Option<&str>) -> Script {
        let (moves_tx, moves) = mpsc::channel(1);
        let (cancelled_tx, cancelled) = watch::channel(false);
        let play = Play {
            moves,
            cancelled: cancelled_tx,
            goes_on: goes_on.map(str::to_owned),
        };
        self.lock().scripts.push_back(play);
        Script {
            engine: Arc::clone(self),
            moves: moves_tx,
            cancelled,
        }
    }

    /// Pulls that were asked for.
    pub fn pulls(&self) -> usize {
        self.lock().pulls
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer<T>(&self, answer: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        let mut state = self.lock();
        if !state.reachable {
            return Err(Error::new(Kind::Unreachable, "the engine does not answer"));
        }
        Ok(answer(&mut state))
    }
}

#[async_trait]
impl Backend for Scripted {
    fn endpoint(&self) -> String {
        "scripted".to_owned()
    }

    fn capabilities(&self) -> BTreeSet<Capability> {
        self.lock().capabilities.clone()
    }

    async fn probe(&self) -> Result<String, Error> {
        self.answer(|_| "1.0".to_owned())
    }

    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        self.answer(|state| state.models.values().cloned().collect())
    }

    async fn inspect(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        self.answer(|state| state.models.get(name).cloned())
    }

    async fn pull(&self, _: PullSpec) -> Result<Box<dyn Call>, Error> {
        let play = self.answer(|state| {
            state.pulls += 1;
            state.scripts.pop_front()
        })?;
        let play = play.ok_or_else(|| Error::new(Kind::Internal, "this pull was not scripted"))?;
        Ok(Box::new(play))
    }

    async fn create(&self, _: CreateSpec) -> Result<Box<dyn Call>, Error> {
        Err(Error::cannot(Capability::Create, "it is scripted"))
    }
}

// === impl State ===

impl Default for State {
    fn default() -> Self {
        Self {
            models: BTreeMap::new(),
            capabilities: [Capability::Pull].into(),
            reachable: true,
            scripts: VecDeque::new(),
            pulls: 0,
        }
    }
}

// === impl Script ===

impl Script {
    /// The pull has come this far. Waits until the engine's end has taken the move before.
    pub async fn event(&self, event: Event) {
        let _gone = self.moves.send(Next::Event(event)).await.is_err();
    }

    /// The pull succeeds: the model is there.
    pub async fn succeed(self, name: &ModelName, content: &str) {
        self.engine.put(name, content);
        let done = Done {
            changed: true,
            provenance: None,
        };
        let _gone = self.moves.send(Next::Ended(Ok(done))).await.is_err();
    }

    /// The pull says that it succeeded, and that is all.
    pub async fn claim_success(self) {
        let _gone = self.moves.send(Next::Ended(Ok(Done::default()))).await.is_err();
    }

    /// The pull fails.
    pub async fn fail(self, error: Error) {
        let _gone = self.moves.send(Next::Ended(Err(error))).await.is_err();
    }

    /// Waits until the pull was cancelled or dropped.
    pub async fn cancelled(&mut self) {
        let _dropped = self.cancelled.wait_for(|cancelled| *cancelled).await.is_err();
    }
}

// === impl Play ===

#[async_trait]
impl Call for Play {
    async fn next(&mut self) -> Next {
        let broken = || {
            Next::Ended(Err(Error::new(
                Kind::Protocol,
                "the stream ended without its last line",
            )))
        };
        self.moves.recv().await.unwrap_or_else(broken)
    }

    async fn cancel(self: Box<Self>) -> Cancelled {
        self.cancelled.send_replace(true);
        match self.goes_on {
            Some(what) => Cancelled::GoesOn(what),
            None => Cancelled::Stopped,
        }
    }
}

/// A model with a digest made from `content`.
fn info(name: &ModelName, content: &str) -> ModelInfo {
    ModelInfo {
        name: name.clone(),
        digest: Digest::of(content.as_bytes()),
        size_bytes: content.len() as u64,
        modify_time: SystemTime::UNIX_EPOCH,
        format: "gguf".to_owned(),
        family: "llama".to_owned(),
        families: vec!["llama".to_owned()],
        parameter_count: None,
        parameter_size: String::new(),
        quantization_level: String::new(),
        context_length: None,
        embedding_length: None,
        capabilities: vec![ModelCapability::Completion],
    }
}
