//! Delete, Copy, Push and Unload: changes of a model that is there. Each is one operation, and what is in its way is
//! cancelled, waited for or told, by the rules of the API.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Label, Manager, ModelSubscription, OperationKind, Outcome, error,
    follow::{self, At, Progress, QUESTION, Stop},
    intent::{Change, Intent},
    request,
    work::{Content, ModelReporter, ModelWork, first},
};
use crate::{
    backend::{CopySpec, Error, Kind, PushSpec},
    engines::{Engine, Entry, Setup},
    model::{Capability, Failure, ModelInfo, ModelName, Phase, Snapshot, Unloaded},
    operation::{End, OnDisconnect, Order, Refused},
};

/// How often work in the way is cancelled before its callers, who ask again and again, are told to settle it.
const CANCELS: usize = 8;

/// A change that is over.
#[derive(Debug)]
pub struct Changed {
    /// The operation that did it.
    pub id: Uuid,
    /// What came of it.
    pub outcome: Outcome,
}

/// One change, resolved.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) entry: Arc<Entry>,
    pub(super) engine: Engine,
    pub(super) name: ModelName,
    pub(super) change: Change,
    /// Although the configuration wants the model.
    pub(super) force: bool,
    /// A restart interrupted it: what it finds done is its own work.
    pub(super) again: bool,
}

// === impl Manager ===

impl Manager {
    /// Removes a model, and the layers that no other needs.
    pub async fn delete(&self, request: request::Delete) -> Result<Changed, Failure> {
        let change = Change::Delete {
            allow_missing: request.allow_missing,
            unload: request.unload,
        };
        let mut job = self.change(&request.backend, request.model, change)?;
        job.force = request.force;
        job.permit(&self.setup())?;
        for _ in 0..CANCELS {
            // Before anything is cancelled; the operation looks again.
            if !request.unload && job.in_memory().await? {
                return Err(error::in_use(&job.entry.name, &job.name));
            }
            match self.begin(&job, OnDisconnect::Keep).await {
                Err(Refused::Conflict { id, label }) if label.kind.brings() => {
                    if !request.unload && self.loads(id) {
                        return Err(error::in_use(&job.entry.name, &job.name));
                    }
                    let _ended = self.operations().cancel(id).await;
                }
                begun => return ended(begun.map_err(error::refused)?).await,
            }
        }
        Err(error::busy_name(&job.entry.name, &job.name))
    }

    /// Gives a model a second name.
    pub async fn copy(&self, request: request::Copy) -> Result<Changed, Failure> {
        let change = Change::Copy {
            source: request.source,
            replace: request.replace,
        };
        let job = self.change(&request.backend, request.destination, change)?;
        job.permit(&self.setup())?;
        ended(self.begin(&job, OnDisconnect::Keep).await.map_err(error::refused)?).await
    }

    /// Sends a model to its registry.
    pub async fn push(&self, request: request::Push) -> Result<ModelSubscription, Failure> {
        let insecure = request.insecure;
        let job = self.change(&request.backend, request.model, Change::Push { insecure })?;
        job.permit(&self.setup())?;
        self.begin(&job, request.on_disconnect).await.map_err(error::refused)
    }

    /// Takes a model out of memory and unpins it.
    pub async fn unload(&self, request: request::Unload) -> Result<Changed, Failure> {
        let job = self.change(&request.backend, request.model, Change::Unload)?;
        job.permit(&self.setup())?;
        for _ in 0..CANCELS {
            match self.begin(&job, OnDisconnect::Keep).await {
                Err(Refused::Conflict { id, .. }) if self.loads(id) => {
                    let _ended = self.operations().cancel(id).await;
                }
                begun => return ended(begun.map_err(error::refused)?).await,
            }
        }
        Err(error::busy_name(&job.entry.name, &job.name))
    }

    fn change(&self, backend: &str, name: ModelName, change: Change) -> Result<Job, Failure> {
        let (entry, engine) = self.entry(backend)?;
        Ok(Job {
            entry,
            engine,
            name,
            change,
            force: false,
            again: false,
        })
    }

    async fn begin(&self, job: &Job, on_disconnect: OnDisconnect) -> Result<ModelSubscription, Refused<Label>> {
        let order = job.order(on_disconnect, first());
        let (manager, job) = (self.clone(), job.clone());
        let work = |reporter| run(manager, job, reporter);
        self.operations().join_or_start(order, work).await
    }

    /// Whether an operation brings its model into memory now.
    fn loads(&self, id: Uuid) -> bool {
        self.operations().get(id).is_some_and(|view| {
            let phase = &view.status.progress.phase;
            view.label.kind == OperationKind::Load || matches!(phase, Phase::Loading | Phase::Warming)
        })
    }
}

async fn ended(mut following: ModelSubscription) -> Result<Changed, Failure> {
    let id = following.id();
    let ended = match following.status().wait_for(|status| status.ended.is_some()).await {
        Ok(status) => status.ended.clone(),
        Err(_) => None,
    };
    let ended = ended.ok_or_else(|| Manager::operation_not_found(id))?;
    if ended.suspended {
        return Err(error::refused(Refused::ShuttingDown));
    }
    let outcome = ended
        .result
        .clone()
        .map_err(|failure| failure.with("operationId", id))?;
    Ok(Changed { id, outcome })
}

pub(super) async fn run(manager: Manager, job: Job, reporter: ModelReporter) -> End<ModelWork> {
    let progress = Progress::begin(reporter, &job.entry.name);
    let done = match &job.change {
        Change::Delete { allow_missing, unload } => job.delete(*allow_missing, *unload, &progress).await,
        Change::Copy { source, replace } => job.copy(source, *replace, &progress).await,
        Change::Push { insecure } => job.push(*insecure, &progress).await,
        Change::Unload => job.unload(&progress).await,
    };
    manager.keep_pins().await;
    manager.shared.changed.notify_waiters();
    follow::end(done)
}

// === impl Job ===

impl Job {
    /// Fails when it must not be done, or the engine cannot.
    pub(super) fn permit(&self, setup: &Setup) -> Result<(), Failure> {
        match &self.change {
            Change::Delete { .. } => {
                self.require(Capability::Delete)?;
                let wanted = setup.configured(&self.engine, &self.name).next().is_some();
                if wanted && !self.force {
                    return Err(error::configured(&self.entry.name, &self.name));
                }
                Ok(())
            }
            Change::Copy { .. } => {
                self.require(Capability::Copy)?;
                let reserved = self.name.reserved();
                reserved.map_or(Ok(()), |why| Err(error::reserved("destination", &self.name, why)))
            }
            Change::Push { .. } => self.require(Capability::Push),
            Change::Unload => self.require(Capability::Unload),
        }
    }

    /// What its operation is begun with.
    pub(super) fn order(&self, on_disconnect: OnDisconnect, first: Snapshot) -> Order<ModelWork> {
        let key = |name: &ModelName| (self.engine.id.clone(), name.clone());
        let held = match &self.change {
            Change::Copy { source, .. } => vec![key(source)],
            _ => Vec::new(),
        };
        Order {
            key: key(&self.name),
            held,
            label: Label {
                kind: self.change.kind(),
                backend: self.entry.name.clone(),
                name: self.name.clone(),
            },
            content: Content::Change(self.change.clone()),
            intent: Intent::Change {
                change: self.change.clone(),
                force: self.force,
            },
            on_disconnect,
            first,
        }
    }

    async fn delete(&self, allow_missing: bool, unload: bool, progress: &Progress) -> Result<Outcome, Stop> {
        let backend = &self.engine.backend;
        if progress.unless_stopped(self.in_memory()).await? {
            if !unload {
                return Err(error::in_use(&self.entry.name, &self.name).into());
            }
            progress.enter(Phase::Unloading);
            self.leave_memory(progress).await?;
        }
        self.engine.memory.unpin(&self.name);
        progress.enter(Phase::Writing);
        // Not given up half-way: what was begun is told as it ended.
        let removed = match backend.delete(&self.name).await {
            Ok(freed) => Some(freed),
            Err(Error {
                kind: Kind::NotFound, ..
            }) if allow_missing || self.again => None,
            Err(error) => return Err(self.at().failed(&error).into()),
        };
        progress.enter(Phase::Verifying);
        if self.ask(backend.inspect(&self.name)).await?.is_some() {
            return Err(error::still_listed(&self.entry.name, &self.name).into());
        }
        Ok(Outcome {
            changed: removed.is_some(),
            freed_bytes: removed.unwrap_or_default(),
            ..Outcome::default()
        })
    }

    async fn copy(&self, source: &ModelName, replace: bool, progress: &Progress) -> Result<Outcome, Stop> {
        let spec = CopySpec {
            source: source.clone(),
            destination: self.name.clone(),
            replace,
        };
        if self.again
            && let Some(model) = self.copied(source).await?
        {
            return Ok(Outcome {
                model: Some(model),
                desired_level: self.entry.keeps_at(&self.name),
                ..Outcome::default()
            });
        }
        progress.enter(Phase::Writing);
        let copied = self.engine.backend.copy(&spec).await;
        copied.map_err(|error| self.at().failed(&error))?;
        progress.enter(Phase::Verifying);
        let model = self.ask(self.engine.backend.inspect(&self.name)).await?;
        let model = model.ok_or_else(|| error::not_listed(&self.entry.name, &self.name))?;
        Ok(Outcome {
            model: Some((*model).clone()),
            desired_level: self.entry.keeps_at(&self.name),
            changed: true,
            ..Outcome::default()
        })
    }

    /// The model of the second name, when it is the source's already.
    async fn copied(&self, source: &ModelName) -> Result<Option<ModelInfo>, Failure> {
        let backend = &self.engine.backend;
        let there = self.ask(backend.inspect(&self.name)).await?;
        let source = self.ask(backend.inspect(source)).await?;
        let digest = source.map(|source| source.digest.clone());
        Ok(there
            .filter(|there| Some(&there.digest) == digest.as_ref())
            .map(|there| (*there).clone()))
    }

    async fn push(&self, insecure: bool, progress: &Progress) -> Result<Outcome, Stop> {
        let backend = &self.engine.backend;
        progress.enter(Phase::Resolving);
        let model = progress.unless_stopped(self.ask(backend.inspect(&self.name))).await?;
        let model = model.ok_or_else(|| error::model_not_found(&self.entry.name, &self.name))?;
        let spec = PushSpec {
            name: self.name.clone(),
            insecure,
        };
        let begun = backend.push(spec).await;
        let call = begun.map_err(|error| self.at().failed(&error))?;
        let done = progress.follow(self.at(), call).await?;
        Ok(Outcome {
            changed: done.changed,
            pushed: done.digest,
            model: Some((*model).clone()),
            ..Outcome::default()
        })
    }

    async fn unload(&self, progress: &Progress) -> Result<Outcome, Stop> {
        let backend = &self.engine.backend;
        progress.enter(Phase::Unloading);
        let known = progress.unless_stopped(self.ask(backend.inspect(&self.name))).await?;
        if known.is_none() && !self.in_memory().await? {
            if self.again {
                return Ok(Outcome::default());
            }
            return Err(error::model_not_found(&self.entry.name, &self.name).into());
        }
        let unloaded = self.leave_memory(progress).await?;
        Ok(Outcome {
            changed: unloaded.freed_bytes > 0,
            freed_bytes: unloaded.freed_bytes,
            shared_with: unloaded.shared_with,
            ..Outcome::default()
        })
    }

    /// Unpins it, and returns when it is gone with all that shares its memory.
    async fn leave_memory(&self, progress: &Progress) -> Result<Unloaded, Stop> {
        let memory = &self.engine.memory;
        memory.unpin(&self.name);
        let unload = self.ask(self.engine.backend.unload(&self.name));
        let unloaded = progress.unless_stopped(unload).await?;
        let names = std::iter::once(&self.name).chain(&unloaded.shared_with);
        names.for_each(|name| memory.cooled(name));
        Ok(unloaded)
    }

    async fn in_memory(&self) -> Result<bool, Failure> {
        if !self.engine.can(Capability::ListRunning) {
            return Ok(false);
        }
        let running = self.ask(self.engine.backend.running()).await?;
        Ok(running.iter().any(|running| running.is(&self.name)))
    }

    async fn ask<T>(&self, question: impl Future<Output = Result<T, Error>>) -> Result<T, Failure> {
        self.at().within(QUESTION, question).await
    }

    fn require(&self, capability: Capability) -> Result<(), Failure> {
        error::require(&self.entry.name, &self.engine, capability)
    }

    fn at(&self) -> At<'_> {
        At {
            entry: &self.entry.name,
            name: &self.name,
        }
    }
}

// === impl Change ===

impl Change {
    fn kind(&self) -> OperationKind {
        match self {
            Self::Delete { .. } => OperationKind::Delete,
            Self::Copy { .. } => OperationKind::Copy,
            Self::Push { .. } => OperationKind::Push,
            Self::Unload => OperationKind::Unload,
        }
    }
}

// === impl OperationKind ===

impl OperationKind {
    /// Whether it brings a model, so that who wants it gone may stop it. A create is its caller's work, and is not stopped.
    fn brings(self) -> bool {
        matches!(self, Self::EnsureReady | Self::Pull | Self::Load)
    }
}
