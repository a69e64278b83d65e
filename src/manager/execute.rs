//! Runs the steps of a plan against an engine, and reports.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    Manager, Outcome, error, import,
    plan::{self, PinMismatch},
    task::{From, Task},
    work::{ModelReporter, ModelWork},
};
use crate::{
    backend::{Call, Cancelled, Done, Error, Kind, Next, PullSpec},
    model::{Capability, Digest, Event, Failure, ModelInfo, Phase, Plan, Snapshot, Step},
    operation::End,
};

/// An engine may be silent this long: reading and checking a model of hundreds of gigabytes takes minutes without a word.
const STALL: Duration = Duration::from_mins(15);

/// An engine may take this long to say what it has of a name: a disk that has to wake up takes seconds.
const QUESTION: Duration = Duration::from_mins(1);

/// How a step ends when it does not succeed.
enum Stop {
    Failed(Failure),
    Stopped { continues: Option<String> },
}

/// Where a job reports to, and since when.
struct Progress {
    reporter: ModelReporter,
    start: Instant,
}

/// Does the task to its end. Ends early when the operation is told to stop.
pub(super) async fn run(manager: Manager, task: Task, reporter: ModelReporter) -> End<ModelWork> {
    let progress = Progress {
        reporter,
        start: Instant::now(),
    };
    progress.reporter.running();
    let ended = steps(&manager, &task, &progress).await;
    manager.shared.changed.notify_waiters();
    match ended {
        Ok(outcome) => {
            tracing::info!(changed = outcome.changed, "operation succeeded");
            End::Done(outcome)
        }
        Err(Stop::Failed(failure)) => {
            tracing::warn!(reason = %failure.reason.text(), error = %failure, "operation failed");
            End::Failed(failure)
        }
        Err(Stop::Stopped { continues }) => {
            tracing::info!(continues, "operation stopped");
            End::Stopped { continues }
        }
    }
}

/// What would be done.
pub(super) async fn dry_run(manager: &Manager, task: &Task) -> Result<Outcome, Failure> {
    let (model, plan) = planned(task).await?;
    for step in &plan.steps {
        require(task, step)?;
        if matches!(step, Step::Create { .. }) {
            task.try_open(manager).await?;
        }
    }
    Ok(Outcome {
        model,
        changed: false,
        plan,
        provenance: None,
    })
}

async fn steps(manager: &Manager, task: &Task, progress: &Progress) -> Result<Outcome, Stop> {
    progress.report(Event::Entered(Phase::Resolving));
    let (present, plan) = unless_stopped(progress, planned(task)).await?;
    progress.report(Event::Planned(plan.clone()));
    let mut outcome = Outcome {
        model: present,
        plan,
        changed: false,
        provenance: None,
    };
    for step in outcome.plan.steps.clone() {
        require(task, &step)?;
        match step {
            Step::Pull { .. } => {
                let done = pull(task, progress).await?;
                outcome.changed |= done.changed;
            }
            Step::Create { .. } => {
                let done = create(manager, task, progress).await?;
                outcome.changed |= done.changed;
                outcome.provenance = done.provenance;
            }
            Step::Verify { digest } => {
                progress.report(Event::Entered(Phase::Verifying));
                // What the engine said of its own work says nothing of ours.
                progress.report(Event::Text(String::new()));
                let before = outcome.model.as_ref().map(|model| &model.digest);
                outcome.model = Some(unless_stopped(progress, verified(task, digest.as_ref(), before)).await?);
            }
            // `require` has refused it: no engine of this version can.
            Step::Load { .. } => return Err(Stop::Failed(error::cannot(&task.entry.name, Capability::Load))),
        }
    }
    Ok(outcome)
}

/// What is there, and the steps from there. A pull or a create that was asked for by name is done whatever is there.
async fn planned(task: &Task) -> Result<(Option<ModelInfo>, Plan), Failure> {
    let present = inspected(task).await?.map(|model| (*model).clone());
    let wanted = task.wanted();
    let considered = if task.kind == super::OperationKind::EnsureReady {
        present.as_ref()
    } else {
        None
    };
    match plan::plan(considered, &wanted) {
        Ok(plan) => Ok((present, plan)),
        Err(PinMismatch { present }) => Err(error::pin_mismatch(
            &task.entry.name,
            &task.name,
            task.digest.as_ref(),
            &present,
            Some(&present),
        )),
    }
}

async fn pull(task: &Task, progress: &Progress) -> Result<Done, Stop> {
    let insecure = matches!(task.from, From::Registry { insecure: true });
    let spec = PullSpec {
        name: task.name.clone(),
        digest: task.digest.clone(),
        insecure,
    };
    let call = task
        .engine
        .backend
        .pull(spec)
        .await
        .map_err(|error| failed(task, &error))?;
    follow(task, call, progress).await
}

async fn create(manager: &Manager, task: &Task, progress: &Progress) -> Result<Done, Stop> {
    // A plan with this step comes of a task with a path only.
    let From::Path { path, options, replace } = &task.from else {
        return Err(Stop::Failed(error::cannot(&task.entry.name, Capability::Create)));
    };
    let spec = import::open(manager, task, path, options, *replace).await?;
    let call = task
        .engine
        .backend
        .create(spec)
        .await
        .map_err(|error| failed(task, &error))?;
    follow(task, call, progress).await
}

/// What the engine has of this name.
async fn inspected(task: &Task) -> Result<Option<Arc<ModelInfo>>, Failure> {
    let asked = tokio::time::timeout(QUESTION, task.engine.backend.inspect(&task.name)).await;
    let answered = asked.unwrap_or_else(|_elapsed| {
        let seconds = QUESTION.as_secs();
        let message = format!(
            "backend `{}` did not say within {seconds} s what it has",
            task.entry.name
        );
        Err(Error::new(Kind::Stalled, message))
    });
    answered.map_err(|error| failed(task, &error))
}

/// Believes nothing: asks the engine what it lists.
async fn verified(task: &Task, pin: Option<&Digest>, before: Option<&Digest>) -> Result<ModelInfo, Failure> {
    let model = inspected(task).await?;
    let model = model.ok_or_else(|| error::not_listed(&task.entry.name, &task.name))?;
    match pin.filter(|pin| **pin != model.digest) {
        None => Ok((*model).clone()),
        pin => Err(error::pin_mismatch(
            &task.entry.name,
            &task.name,
            pin,
            &model.digest,
            before,
        )),
    }
}

/// A question to the engine, given up when the operation is told to stop: an engine that hangs holds up no cancel.
async fn unless_stopped<T>(progress: &Progress, question: impl Future<Output = Result<T, Failure>>) -> Result<T, Stop> {
    tokio::select! {
        biased;
        answer = question => answer.map_err(Stop::from),
        _why = progress.reporter.stopped() => Err(Stop::Stopped { continues: None }),
    }
}

/// Follows long work to its end, until it is told to stop, or until nothing has changed for too long.
async fn follow(task: &Task, mut call: Box<dyn Call>, progress: &Progress) -> Result<Done, Stop> {
    let mut moved = (Instant::now(), progress.mark());
    loop {
        tokio::select! {
            next = call.next() => match next {
                Next::Event(event) => {
                    let alive = event == Event::Alive;
                    progress.report(event);
                    let mark = progress.mark();
                    if alive || mark != moved.1 {
                        moved = (Instant::now(), mark);
                    }
                }
                Next::Ended(ended) => return ended.map_err(|error| failed(task, &error).into()),
            },
            _why = progress.reporter.stopped() => {
                return match call.cancel().await {
                    Cancelled::Stopped => Err(Stop::Stopped { continues: None }),
                    Cancelled::GoesOn(what) => Err(Stop::Stopped { continues: Some(what) }),
                    Cancelled::Ended(ended) => ended.map_err(|error| failed(task, &error).into()),
                };
            }
            () = tokio::time::sleep_until(moved.0 + STALL) => {
                if let Cancelled::Ended(Ok(done)) = call.cancel().await {
                    return Ok(done);
                }
                let minutes = STALL.as_secs() / 60;
                let message = format!("backend `{}` made no progress for {minutes} minutes", task.entry.name);
                return Err(failed(task, &Error::new(Kind::Stalled, message)).into());
            }
        }
    }
}

/// Fails unless the engine can do the step now.
fn require(task: &Task, step: &Step) -> Result<(), Failure> {
    match step {
        Step::Pull { .. } => task.require(Capability::Pull),
        Step::Create { .. } => task.require(Capability::Create),
        Step::Load { .. } => task.require(Capability::Load),
        Step::Verify { .. } => Ok(()),
    }
}

fn failed(task: &Task, error: &Error) -> Failure {
    if let Some(source) = &error.source {
        let chain = crate::telemetry::Chain(&**source);
        tracing::warn!(backend.name = task.entry.name, error = %error, cause = %chain, "engine call failed");
    }
    error::backend(error, &task.entry.name, &task.name)
}

// === impl Progress ===

impl Progress {
    fn report(&self, event: Event) {
        let at = self.start.elapsed();
        if let Event::Entered(phase) = &event
            && self.reporter.look(|snapshot| snapshot.phase.name() != phase.name())
        {
            tracing::info!(phase = phase.name(), "operation entered a phase");
        }
        self.reporter.report(|snapshot: Snapshot| snapshot.fold(event, at));
    }

    /// What counts as progress: a phase, an attempt or bytes; not a repeated line.
    fn mark(&self) -> (Option<SystemTime>, u32, u64) {
        self.reporter.look(|snapshot| {
            (
                snapshot.phases.last().map(|phase| phase.start_time),
                snapshot.attempt,
                snapshot.completed_bytes,
            )
        })
    }
}

// === impl Stop ===

impl std::convert::From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

#[cfg(test)]
mod tests;
