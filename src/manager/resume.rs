//! Operations that ran when the service ended: taken up under their ids, or ended with a reason.
//!
//! Taking up is asking again. An EnsureReady looks what is there and does the rest; a pull goes on where its bytes are; a
//! create, a load and a push find done what was done. A delete, a copy and an unload are over in moments, and the world may
//! have changed since: they are asked again within [`CHANGE_AGE`] only, and what they find done is success.

use std::time::Duration;

use backon::BackoffBuilder as _;

use super::{
    Manager, OperationKind,
    change::{self, Job},
    error, execute,
    intent::{Change, Intent},
    task::{From, Task},
    work::{ModelReporter, ModelWork},
};
use crate::{
    engines::{Engine, Entry},
    model::{Capability, Failure, Snapshot},
    operation::{Left, OnDisconnect, Opening},
};

/// A change that is older than this is not asked again: who wanted it has seen the world since.
const CHANGE_AGE: Duration = Duration::from_mins(15);
/// An operation that was interrupted so often may be what ends the service.
const MOST: u32 = 20;
/// Engines often start together with this service, and not faster.
const ENGINE_START: Duration = Duration::from_mins(5);
/// Between two looks whether it is there.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(5);

/// What a snapshot says of it.
const WHY: &str = "taken up again after a restart of the service";

/// What is done again.
enum Again {
    Bring(Task),
    Change(Job),
}

// === impl Manager ===

impl Manager {
    /// Takes up what the journal has, before the API answers: who asks for an id finds it, who asks for the same work joins
    /// it. When another service has the journal, that happens once it ends.
    pub async fn resume(&self, opening: Opening) {
        let (left, later) = self.operations().restore(opening).await;
        self.take_up(left);
        if let Some(later) = later {
            let manager = self.clone();
            // Ends when the journal is had, or closed.
            tokio::spawn(async move {
                if let Some(left) = manager.operations().restore_later(later).await {
                    manager.take_up(left);
                }
            });
        }
    }

    fn take_up(&self, left: Vec<Left<ModelWork>>) {
        for mut left in left {
            if self.operations().is_draining() {
                // They have not ended: the next start takes them up.
                tracing::info!(operation.id = %left.id, "an operation is left to the next start: this one ends");
                continue;
            }
            let taken = self.again(&mut left).and_then(|again| {
                let begun = self.begin_again(&left, again);
                let busy = || error::interrupted(left.id, &left.label, "other work on the model is running: ask again");
                begun.then_some(()).ok_or_else(busy)
            });
            let Err(failure) = taken else {
                tracing::info!(
                    operation.id = %left.id,
                    operation.kind = left.label.kind.as_str(),
                    backend.name = left.label.backend,
                    model.name = %left.label.name,
                    times = left.taken_up + 1,
                    "an operation is taken up again"
                );
                continue;
            };
            if self.operations().is_draining() {
                // Why it was refused.
                continue;
            }
            tracing::warn!(
                operation.id = %left.id,
                operation.kind = left.label.kind.as_str(),
                backend.name = left.label.backend,
                model.name = %left.label.name,
                error = %failure,
                "an operation is not taken up again"
            );
            let progress = snapshot(&left);
            self.operations().give_up(left, progress, failure);
        }
    }

    /// What is to be done again, or why not.
    fn again(&self, left: &mut Left<ModelWork>) -> Result<Again, Failure> {
        let (id, label, intent) = (left.id, left.label.clone(), left.intent.take());
        let gone = |why: &str| error::interrupted(id, &label, why);
        let refused = |failure: Failure| gone(&format!("cannot be taken up again: {failure}"));
        let intent = intent.ok_or_else(|| gone("what it was to do is not known any more: ask again"))?;
        if !left.keep {
            return Err(gone("its callers had asked that it ends when they leave: ask again"));
        }
        if left.taken_up >= MOST {
            let why = format!("had been taken up {MOST} times before: see whether it is what ends the service");
            return Err(gone(&why));
        }
        let (entry, engine) = self.entry(&label.backend).map_err(|_| {
            let why = format!(
                "backend `{}` is not configured any more: ask another backend",
                label.backend
            );
            gone(&why)
        })?;
        match intent {
            Intent::Bring { source, digest, target } => {
                let configured = entry.desired.iter().find(|desired| desired.spec.name == label.name);
                let from = From::again(source, configured.map(|desired| &desired.spec))
                    .ok_or_else(|| gone("the model's path is not configured any more: ask again"))?;
                if let (OperationKind::EnsureReady, Some(desired)) = (label.kind, configured) {
                    // Asked for before the restart, it counts in health after it.
                    desired.ask();
                }
                let task = Task {
                    kind: label.kind,
                    entry,
                    engine,
                    name: label.name.clone(),
                    from,
                    digest,
                    target,
                };
                if matches!(task.from, From::Path { .. }) {
                    task.refuse_reserved().map_err(refused)?;
                }
                if matches!(task.from, From::Present) {
                    task.require(Capability::Load).map_err(refused)?;
                }
                Ok(Again::Bring(task))
            }
            Intent::Change { change, force } => {
                let age = left.create_time.elapsed().unwrap_or_default();
                if age > CHANGE_AGE && !matches!(change, Change::Push { .. }) {
                    return Err(gone(
                        "it is too long ago to be done unasked: see what is there, and ask again",
                    ));
                }
                let job = Job {
                    entry,
                    engine,
                    name: label.name.clone(),
                    change,
                    force,
                    again: true,
                };
                job.permit(&self.setup()).map_err(refused)?;
                Ok(Again::Change(job))
            }
        }
    }

    fn begin_again(&self, left: &Left<ModelWork>, again: Again) -> bool {
        let (manager, first) = (self.clone(), snapshot(left));
        match again {
            Again::Bring(task) => {
                let order = task.order(OnDisconnect::Keep, first);
                let job = |reporter| async move {
                    answers(&task.entry, &task.engine, &reporter).await;
                    execute::run(manager, task, reporter).await
                };
                self.operations().take_up(left, order, job)
            }
            Again::Change(work) => {
                let order = work.order(OnDisconnect::Keep, first);
                let job = |reporter| async move {
                    answers(&work.entry, &work.engine, &reporter).await;
                    change::run(manager, work, reporter).await
                };
                self.operations().take_up(left, order, job)
            }
        }
    }
}

fn snapshot(left: &Left<ModelWork>) -> Snapshot {
    let at = left.create_time.elapsed().unwrap_or_default();
    Snapshot::taken_up(left.create_time, at, left.taken_up + 1, WHY.to_owned())
}

/// Waits until the engine answers, the operation is told to stop, or it has been long enough: then the work itself says
/// what is wrong.
async fn answers(entry: &Entry, engine: &Engine, reporter: &ModelReporter) {
    let looks = async {
        let mut pauses = backon::ExponentialBuilder::default()
            .with_min_delay(FIRST_LOOK)
            .with_max_delay(LAST_LOOK)
            .without_max_times()
            .with_jitter()
            .build();
        while let Err(error) = engine.backend.probe().await {
            tracing::debug!(backend.name = entry.name, %error, "waits for the engine");
            tokio::time::sleep(pauses.next().unwrap_or(LAST_LOOK)).await;
        }
    };
    tokio::select! {
        () = looks => {}
        _why = reporter.stopped() => {}
        () = tokio::time::sleep(ENGINE_START) => {}
    }
}
