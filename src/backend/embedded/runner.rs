//! Runs models: a child `llama-server` each, from the wish for it to its end.
//!
//! | file | holds |
//! |---|---|
//! | `settings` | what the operator decides |
//! | `subject` | the files of a model, and what its header tells |
//! | `options` | how it is to run: names and values that a caller may give |
//! | `fit`, `memory`, `evict` | what it will take, what there is, who makes room |
//! | `program`, `args`, `key` | the command of an engine |
//! | `orphan`, `spawn` | an engine ends when we do |
//! | `child`, `ring`, `port`, `process` | one process: its end, its words, its port, its work |
//! | `ready`, `canary`, `http` | what it answers |
//! | `instance`, `keeper`, `table` | one model in memory, the task that makes it true, all of them |
//! | `reason` | why one ended |
//!
//! An instance has one task, its keeper, which alone owns the process; everybody else asks it by a value that rises (stay,
//! drain, stop) and reads its state. So a load that is cancelled, an unload, an eviction and the end of idle time are one
//! thing, and a death is noticed by whoever waits for the process anyway. Restarting is for those who want the model.
//!
//! In use is what works in a slot, or has since we looked last: we ask each quarter of the keep-alive time, at most every
//! five seconds. Sizes are resident memory, mapped pages of the file included.
//!
//! Rejected: a router over all models (`llama-server --models-dir`), which hides why a child ended and shares one port;
//! linking llama.cpp, whose assertions would end this service.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::timeout,
};
use tracing::Span;

use self::{
    http::Http,
    instance::{Ask, Instance, State},
    options::Launch,
    subject::Subject,
    table::Table,
};
use super::store::Store;
use crate::{
    backend::{Call, Death, Done, Error, Kind, LoadSpec, call},
    model::{Canary, Event, ModelName, Phase, Running, Unloaded},
};

mod args;
mod canary;
mod child;
mod evict;
mod fit;
mod http;
mod instance;
mod keeper;
mod key;
mod memory;
mod options;
mod orphan;
mod port;
mod process;
mod program;
mod pulse;
mod ready;
mod reason;
mod ring;
mod settings;
mod spawn;
mod subject;
mod table;

pub use self::{
    orphan::engine_child,
    settings::{RunnerLimits, RunnerSettings, RunnerSettingsError},
    table::Ended,
};

/// From the break of a process's connections to its end.
const LINGER: Duration = Duration::from_secs(1);

/// Runs the models of one store. Dropping it ends them at once; [`stop`](Self::stop) lets them finish.
#[derive(Debug)]
pub(super) struct Runner {
    shared: Arc<Shared>,
}

/// What instances and callers share.
#[derive(Debug)]
struct Shared {
    settings: RunnerSettings,
    http: OnceLock<Http>,
    table: Mutex<Table>,
    /// Rises with each process that has ended.
    departures: watch::Sender<u64>,
    /// Held while it is decided who may take memory.
    admission: AsyncMutex<()>,
}

/// A load that waits. The last one of an instance that goes away takes it along, unless it is ready.
struct Interest {
    shared: Arc<Shared>,
    instance: Arc<Instance>,
}

// === impl Runner ===

impl Runner {
    pub(super) fn new(settings: RunnerSettings) -> Result<Self, RunnerSettingsError> {
        settings.check()?;
        Ok(Self {
            shared: Arc::new(Shared {
                settings,
                http: OnceLock::new(),
                table: Mutex::default(),
                departures: watch::Sender::default(),
                admission: AsyncMutex::default(),
            }),
        })
    }

    /// Why no model can be loaded now.
    pub(super) fn missing(&self) -> Option<Error> {
        program::find(self.shared.settings.program.as_deref()).err()
    }

    /// Begins to load a model. Fails at once when nothing is there to run it.
    pub(super) fn load(&self, store: &Arc<Store>, spec: LoadSpec) -> Result<Box<dyn Call>, Error> {
        program::find(self.shared.settings.program.as_deref())?;
        let (shared, store) = (Arc::clone(&self.shared), Arc::clone(store));
        Ok(call::task(move |reporter| async move {
            reporter.report(Event::Entered(Phase::Loading)).await;
            let name = spec.name.clone();
            let subject = blocking(move || Subject::find(&store, &name));
            let subject = reporter.unless_stopped(subject).await?;
            let launch = Launch::decide(&subject, &spec.options, &shared.settings)?;
            reporter.count(Event::Total(subject.shape.file));
            let joined = join(&shared, &spec, subject, launch);
            let (interest, was_ready) = reporter.unless_stopped(joined).await?;
            let ended = reporter.unless_stopped(follow(&interest.instance, &reporter)).await;
            match ended {
                Ok(()) => Ok(Done {
                    changed: !was_ready,
                    ..Done::default()
                }),
                Err(error) => {
                    // The process is gone before the answer is.
                    interest.leave().await;
                    Err(error)
                }
            }
        }))
    }

    /// Asks a model in memory for a token, or an embedding.
    pub(super) async fn warm(&self, name: &ModelName, bound: Duration) -> Result<Canary, Error> {
        let instance = self.named(name).filter(|instance| instance.is_ready());
        let remote = instance.as_ref().and_then(|instance| instance.live().remote.clone());
        let (Some(instance), Some(remote)) = (instance, remote) else {
            let text = format!("model `{name}` is not in memory: it left, or its engine ended");
            return Err(Error::new(Kind::Interrupted, text));
        };
        let mut state = instance.state();
        let gone = async {
            match state.wait_for(|state| matches!(state, State::Gone(_))).await.as_deref() {
                Ok(State::Gone(error)) => error.clone(),
                _ => instance.interrupted(),
            }
        };
        let mut gone = pin!(gone);
        let asked = tokio::select! {
            biased;
            error = &mut gone => return Err(error),
            canary = canary::ask(&remote, instance.subject.completes, bound) => canary,
        };
        match asked {
            // Connections of a process that ends break before its end is seen.
            Err(error) if matches!(error.kind, Kind::Unreachable | Kind::Protocol) => {
                Err(timeout(LINGER, gone).await.unwrap_or(error))
            }
            asked => asked,
        }
    }

    /// Takes a model out of memory, with all names that share its process.
    pub(super) async fn unload(&self, name: &ModelName) -> Result<Unloaded, Error> {
        self.shared.table().forgive(name);
        let Some(instance) = self.named(name) else {
            return Ok(Unloaded::default());
        };
        let unloaded = Unloaded {
            freed_bytes: instance.resident(),
            shared_with: instance.others(name),
        };
        instance.ask(Ask::Drain);
        if left(&instance).await {
            return Ok(unloaded);
        }
        let text = format!("the engine of model `{name}` was killed, and the system does not let it end");
        Err(Error::new(Kind::Stalled, text))
    }

    pub(super) fn running(&self) -> Vec<Running> {
        let instances = self.shared.table().all();
        let keep_alive = self.shared.settings.keep_alive;
        instances
            .iter()
            .flat_map(|instance| instance.running(keep_alive))
            .collect()
    }

    pub(super) fn ended(&self, name: &ModelName) -> Option<Ended> {
        self.shared.table().ended(name)
    }

    pub(super) fn death(&self, name: &ModelName) -> Option<Death> {
        self.shared.table().death(name)
    }

    pub(super) fn departures(&self) -> watch::Receiver<u64> {
        self.shared.departures.subscribe()
    }

    /// Lets all models leave, and returns when they have.
    pub(super) async fn stop(&self) {
        let instances = self.shared.table().all();
        for instance in &instances {
            instance.ask(Ask::Drain);
        }
        for instance in &instances {
            left(instance).await;
        }
    }

    fn named(&self, name: &ModelName) -> Option<Arc<Instance>> {
        self.shared.table().named(name)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        for instance in self.shared.table().all() {
            instance.ask(Ask::Stop);
        }
    }
}

/// The instance that will serve the name: one that is there, or a new one in the place of one that runs otherwise. Whether it
/// was ready.
async fn join(
    shared: &Arc<Shared>,
    spec: &LoadSpec,
    subject: Subject,
    launch: Launch,
) -> Result<(Interest, bool), Error> {
    loop {
        let in_the_way = {
            let mut table = shared.table();
            let known = table.named(&subject.name);
            let same = table.same(&subject, &spec.options, &launch);
            let is_same = |one: &Arc<Instance>| same.as_ref().is_some_and(|same| same.number == one.number);
            if let Some(other) = known.filter(|known| !is_same(known)) {
                other
            } else {
                table.revived(&subject.name);
                let instance = same.unwrap_or_else(|| {
                    let instance = table.add(subject.clone(), launch.clone());
                    // Ends with the instance's process, which outlives what the span is of.
                    tokio::spawn(keeper::keep(Arc::clone(shared), Arc::clone(&instance), Span::current()));
                    instance
                });
                let was_ready = instance.is_ready();
                instance.waiting.fetch_add(1, Ordering::AcqRel);
                instance.keep(&subject, spec.keep_alive);
                let shared = Arc::clone(shared);
                return Ok((Interest { shared, instance }, was_ready));
            }
        };
        // It loads otherwise, for somebody who waits: they get it first.
        let mut state = in_the_way.state();
        let settled = |state: &State| !matches!(state, State::Starting | State::Loading);
        let _gone = state.wait_for(settled).await.is_err();
        in_the_way.ask(Ask::Drain);
        if !left(&in_the_way).await {
            let text = format!("the engine that had model `{}` before does not end", subject.name);
            return Err(Error::new(Kind::Stalled, text));
        }
    }
}

/// Reports progress until it is ready, or has failed.
async fn follow(instance: &Instance, reporter: &call::TaskReporter) -> Result<(), Error> {
    let (mut state, mut progress) = (instance.state(), instance.progress());
    loop {
        match &*state.borrow_and_update() {
            State::Ready => return Ok(()),
            State::Gone(error) => return Err(error.clone()),
            _ => {}
        }
        tokio::select! {
            changed = state.changed() => changed.map_err(|_| instance.interrupted())?,
            _ = progress.changed() => {
                let resident = *progress.borrow_and_update();
                reporter.count(Event::Bytes(resident.min(instance.subject.shape.file)));
            }
        }
    }
}

/// True once it is gone; false when it is stuck.
async fn left(instance: &Instance) -> bool {
    let mut state = instance.state();
    let over = state
        .wait_for(|state| matches!(state, State::Gone(_) | State::Stuck))
        .await;
    over.is_ok_and(|state| matches!(*state, State::Gone(_)))
}

async fn blocking<T: Send + 'static>(ask: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    let ended = tokio::task::spawn_blocking(ask).await;
    ended.unwrap_or_else(|error| {
        Err(Error::new(Kind::Internal, "the store failed by a fault of this service").because(error))
    })
}

// === impl Shared ===

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn http(&self) -> Result<&Http, Error> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let made = Http::new()?;
        Ok(self.http.get_or_init(|| made))
    }
}

// === impl Interest ===

impl Interest {
    /// Goes away, and waits until the process has gone if it was the last.
    async fn leave(self) {
        let instance = Arc::clone(&self.instance);
        drop(self);
        if !instance.is_alive() {
            left(&instance).await;
        }
    }
}

impl Drop for Interest {
    fn drop(&mut self) {
        // Whoever joins counts itself under the same lock.
        let _joins = self.shared.table();
        let last = self.instance.waiting.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && !self.instance.is_ready() {
            self.instance.ask(Ask::Stop);
        }
    }
}
