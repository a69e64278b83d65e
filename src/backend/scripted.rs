//! An engine in memory that does what a test tells it: one more implementation of the port.
//!
//! Work that was not scripted fails, so that a test cannot pass by accident.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
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
    silent: watch::Sender<bool>,
}

#[derive(Debug)]
struct State {
    models: BTreeMap<ModelName, Arc<ModelInfo>>,
    capabilities: BTreeSet<Capability>,
    reachable: bool,
    scripts: VecDeque<Play>,
    pulls: Vec<PullSpec>,
    calls: usize,
}

/// The test's end of one pull or create.
#[derive(Debug)]
pub struct Script {
    moves: mpsc::Sender<Move>,
    cancelled: watch::Receiver<bool>,
}

/// What happens next, and the model that is there from then on.
#[derive(Debug)]
struct Move {
    next: Next,
    model: Option<Arc<ModelInfo>>,
}

/// The engine's end.
#[derive(Debug)]
struct Play {
    engine: Weak<Scripted>,
    moves: mpsc::Receiver<Move>,
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
        self.put_at(name, content, SystemTime::UNIX_EPOCH);
    }

    /// As [`put`](Self::put), written at that time.
    pub fn put_at(&self, name: &ModelName, content: &str, modify_time: SystemTime) {
        let model = ModelInfo {
            modify_time,
            ..info(name, content)
        };
        self.lock().models.insert(name.clone(), Arc::new(model));
    }

    /// Takes a model away.
    pub fn remove(&self, name: &ModelName) {
        self.lock().models.remove(name);
    }

    /// Whether it answers.
    pub fn set_reachable(&self, reachable: bool) {
        self.lock().reachable = reachable;
    }

    /// While it is silent, questions wait for their answers.
    pub fn set_silent(&self, silent: bool) {
        self.silent.send_replace(silent);
    }

    /// What it can do.
    pub fn set_capabilities(&self, capabilities: impl IntoIterator<Item = Capability>) {
        self.lock().capabilities = capabilities.into_iter().collect();
    }

    /// Scripts the next pull or create. With `goes_on` it cannot be stopped, and says that.
    pub fn script(self: &Arc<Self>, goes_on: Option<&str>) -> Script {
        let (moves_tx, moves) = mpsc::channel(1);
        let (cancelled_tx, cancelled) = watch::channel(false);
        let play = Play {
            engine: Arc::downgrade(self),
            moves,
            cancelled: cancelled_tx,
            goes_on: goes_on.map(str::to_owned),
        };
        self.lock().scripts.push_back(play);
        Script {
            moves: moves_tx,
            cancelled,
        }
    }

    /// Pulls that were asked for.
    pub fn pulls(&self) -> usize {
        self.lock().pulls.len()
    }

    /// What the last pull was asked for.
    pub fn last_pull(&self) -> Option<PullSpec> {
        self.lock().pulls.last().cloned()
    }

    /// Calls of any kind.
    pub fn calls(&self) -> usize {
        self.lock().calls
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer<T>(&self, answer: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        self.lock().calls += 1;
        // The sender is ours: it does not go.
        let _closed = self.silent.subscribe().wait_for(|silent| !silent).await.is_err();
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
        self.answer(|_| "1.0".to_owned()).await
    }

    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        self.answer(|state| state.models.values().cloned().collect()).await
    }

    async fn inspect(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        self.answer(|state| state.models.get(name).cloned()).await
    }

    async fn pull(&self, spec: PullSpec) -> Result<Box<dyn Call>, Error> {
        let played = |state: &mut State| {
            state.pulls.push(spec);
            state.scripts.pop_front()
        };
        play(self.answer(played).await?)
    }

    async fn create(&self, _: CreateSpec) -> Result<Box<dyn Call>, Error> {
        play(self.answer(|state| state.scripts.pop_front()).await?)
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
            pulls: Vec::new(),
            calls: 0,
        }
    }
}

// === impl Script ===

impl Script {
    /// The work has come this far. Waits until the engine's end has taken the move before.
    pub async fn event(&self, event: Event) {
        self.play(Next::Event(event), None).await;
    }

    /// The work succeeds: once it has come to this, the model is there.
    pub async fn succeed(self, name: &ModelName, content: &str) {
        let done = Done {
            changed: true,
            ..Done::default()
        };
        let model = Arc::new(info(name, content));
        self.play(Next::Ended(Ok(done)), Some(model)).await;
    }

    /// The work says that it succeeded, and that is all.
    pub async fn claim_success(self) {
        self.play(Next::Ended(Ok(Done::default())), None).await;
    }

    /// The work fails.
    pub async fn fail(self, error: Error) {
        self.play(Next::Ended(Err(error)), None).await;
    }

    /// Waits until the work was cancelled or dropped.
    pub async fn cancelled(&mut self) {
        let _dropped = self.cancelled.wait_for(|cancelled| *cancelled).await.is_err();
    }

    async fn play(&self, next: Next, model: Option<Arc<ModelInfo>>) {
        let _gone = self.moves.send(Move { next, model }).await.is_err();
    }
}

// === impl Play ===

#[async_trait]
impl Call for Play {
    async fn next(&mut self) -> Next {
        let broken = Next::Ended(Err(Error::new(
            Kind::Protocol,
            "the stream ended without its last line",
        )));
        let Some(Move { next, model }) = self.moves.recv().await else {
            return broken;
        };
        if let (Some(engine), Some(model)) = (self.engine.upgrade(), model) {
            engine.lock().models.insert(model.name.clone(), model);
        }
        next
    }

    async fn cancel(self: Box<Self>) -> Cancelled {
        self.cancelled.send_replace(true);
        match self.goes_on {
            Some(what) => Cancelled::GoesOn(what),
            None => Cancelled::Stopped,
        }
    }
}

fn play(scripted: Option<Play>) -> Result<Box<dyn Call>, Error> {
    let play = scripted.ok_or_else(|| Error::new(Kind::Internal, "this work was not scripted"))?;
    Ok(Box::new(play))
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
