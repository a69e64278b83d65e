//! Runs the steps of a plan against an engine, and reports.

use std::sync::Arc;

use super::{
    Manager, OperationKind, Outcome, error,
    follow::{self, At, Progress, QUESTION, Stop},
    import, memory,
    plan::{self, Impossible},
    target::Aim,
    task::{From, Task},
    work::{ModelReporter, ModelWork},
};
use crate::{
    backend::{Done, PullSpec},
    model::{Capability, Digest, Event, Failure, Level, ModelInfo, Phase, Plan, Step},
    operation::End,
};

/// Does the task to its end. Ends early when the operation is told to stop.
pub(super) async fn run(manager: Manager, task: Task, reporter: ModelReporter) -> End<ModelWork> {
    let progress = Progress::begin(reporter, &task.entry.name);
    let ended = steps(&manager, &task, &progress).await;
    manager.keep_pins().await;
    manager.shared.changed.notify_waiters();
    follow::end(ended)
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
        plan,
        desired_level: task.entry.keeps_at(&task.name),
        ..Outcome::default()
    })
}

/// What there is to tell when nothing has to be done; none also when that cannot be told.
pub(super) async fn ready(task: &Task) -> Option<Outcome> {
    let (model, plan) = planned(task).await.ok()?;
    if !plan.steps.is_empty() {
        return None;
    }
    let mut outcome = Outcome {
        model,
        plan,
        ..Outcome::default()
    };
    let aim = task.target.aim();
    if aim.level > Level::OnDisk {
        let there = memory::there(task, &aim, outcome.model.as_ref()).await;
        memory::note(task, there.ok()??, &mut outcome);
    }
    outcome.desired_level = task.entry.keeps_at(&task.name);
    Some(outcome)
}

async fn steps(manager: &Manager, task: &Task, progress: &Progress) -> Result<Outcome, Stop> {
    progress.report(Event::Entered(Phase::Resolving));
    let (present, plan) = progress.unless_stopped(planned(task)).await?;
    progress.report(Event::Planned(plan.clone()));
    let mut outcome = Outcome {
        model: present,
        plan,
        ..Outcome::default()
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
                progress.enter(Phase::Verifying);
                let before = outcome.model.as_ref().map(|model| &model.digest);
                let verified = verified(task, digest.as_ref(), before);
                outcome.model = Some(progress.unless_stopped(verified).await?);
            }
            // Below: callers who join may want more of it.
            Step::Load { .. } => {}
        }
    }
    let mut reached = Aim::default();
    while let Err(aim) = task.target.close(&reached) {
        require(task, &Step::Load { level: aim.level })?;
        let there = memory::there(task, &aim, outcome.model.as_ref());
        if let Some(running) = progress.unless_stopped(there).await? {
            memory::note(task, running, &mut outcome);
        } else {
            if !outcome.plan.steps.iter().any(|step| matches!(step, Step::Load { .. })) {
                outcome.plan.steps.push(Step::Load { level: aim.level });
                progress.report(Event::Planned(outcome.plan.clone()));
            }
            memory::bring(task, &aim, progress, &mut outcome).await?;
        }
        reached = aim;
    }
    outcome.desired_level = task.entry.keeps_at(&task.name);
    Ok(outcome)
}

/// What is there, and the steps from there. A pull or a create that was asked for by name is done whatever is there.
async fn planned(task: &Task) -> Result<(Option<ModelInfo>, Plan), Failure> {
    let present = inspected(task).await?.map(|model| (*model).clone());
    let considered = match task.kind {
        OperationKind::Pull | OperationKind::CreateFromPath => None,
        _ => present.as_ref(),
    };
    let (mut wanted, aim) = (task.wanted(), task.target.aim());
    if wanted.level > Level::OnDisk
        && task.engine.can(Capability::ListRunning)
        && memory::there(task, &aim, considered).await?.is_some()
    {
        wanted.level = Level::OnDisk;
    }
    match plan::plan(considered, &wanted) {
        Ok(plan) => Ok((present, plan)),
        Err(Impossible::PinMismatch { present }) => Err(error::pin_mismatch(
            &task.entry.name,
            &task.name,
            task.digest.as_ref(),
            &present,
            Some(&present),
        )),
        Err(Impossible::NotFound) => Err(error::model_not_found(&task.entry.name, &task.name)),
    }
}

async fn pull(task: &Task, progress: &Progress) -> Result<Done, Stop> {
    let spec = PullSpec {
        name: task.name.clone(),
        digest: task.digest.clone(),
        insecure: matches!(task.from, From::Registry { insecure: true }),
    };
    let begun = task.engine.backend.pull(spec).await;
    progress
        .follow(task.at(), begun.map_err(|error| task.at().failed(&error))?)
        .await
}

async fn create(manager: &Manager, task: &Task, progress: &Progress) -> Result<Done, Stop> {
    // A plan with this step comes of a task with a path only.
    let From::Path { path, options, replace } = &task.from else {
        return Err(Stop::Failed(error::cannot(&task.entry.name, Capability::Create)));
    };
    let spec = import::open(manager, task, path, options, *replace).await?;
    let begun = task.engine.backend.create(spec).await;
    progress
        .follow(task.at(), begun.map_err(|error| task.at().failed(&error))?)
        .await
}

/// What the engine has of this name.
async fn inspected(task: &Task) -> Result<Option<Arc<ModelInfo>>, Failure> {
    task.at()
        .within(QUESTION, task.engine.backend.inspect(&task.name))
        .await
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

/// Fails unless the engine can do the step now.
fn require(task: &Task, step: &Step) -> Result<(), Failure> {
    match step {
        Step::Pull { .. } => task.require(Capability::Pull),
        Step::Create { .. } => task.require(Capability::Create),
        Step::Load { level: Level::OnDisk } | Step::Verify { .. } => Ok(()),
        Step::Load { .. } => task.require(Capability::Load),
    }
}

// === impl Task ===

impl Task {
    pub(super) fn at(&self) -> At<'_> {
        At {
            entry: &self.entry.name,
            name: &self.name,
        }
    }
}

#[cfg(test)]
mod tests;
