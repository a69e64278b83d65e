//! Brings a model that is on disk into memory, and sees that it is there and answers.

use std::time::Duration;

use super::{
    OperationKind, Outcome, error,
    follow::{Progress, QUESTION, Stop},
    look::RunningModel,
    target::Aim,
    task::Task,
};
use crate::{
    backend::LoadSpec,
    engines::Pin,
    model::{Failure, KeepAlive, Level, LoadOptions, ModelInfo, Phase, RunState, Running},
};

/// For a first token of a model that is in memory: large ones on slow machines take half a minute.
const CANARY: Duration = Duration::from_mins(2);

/// The model in memory when nothing is to be done for the aim: an EnsureReady of what is ready loads and asks nothing.
/// A Load, options and a time to stay are always told to the engine.
pub(super) async fn there(task: &Task, aim: &Aim, model: Option<&ModelInfo>) -> Result<Option<Running>, Failure> {
    let plain = aim.options == LoadOptions::default() && aim.keep_alive == KeepAlive::Default;
    let Some(model) = model.filter(|_| plain && task.kind != OperationKind::Load) else {
        return Ok(None);
    };
    let Some(running) = look(task).await? else {
        return Ok(None);
    };
    let engine = &task.engine;
    let stays = !aim.pin || (engine.memory.pinned(&task.name) && running.expire_time.is_none());
    let ready = engine.level(model, std::slice::from_ref(&running)) >= aim.level;
    Ok(Some(running).filter(|_| stays && ready))
}

/// Loads, and looks. What was reached is noted in `outcome`.
pub(super) async fn bring(task: &Task, aim: &Aim, progress: &Progress, outcome: &mut Outcome) -> Result<(), Stop> {
    let (backend, memory) = (&task.engine.backend, &task.engine.memory);
    let spec = LoadSpec {
        name: task.name.clone(),
        options: aim.options.clone(),
        keep_alive: if aim.pin { KeepAlive::Forever } else { aim.keep_alive },
    };
    progress.enter(Phase::Loading);
    let begun = backend.load(spec.clone()).await;
    let call = begun.map_err(|error| task.at().failed(&error))?;
    let done = progress.follow(task.at(), call).await?;
    outcome.changed |= done.changed;
    let running = progress.unless_stopped(look(task)).await?;
    // Not what the load said: what the engine lists.
    let running = running.ok_or_else(|| error::not_running(&task.entry.name, &task.name))?;
    if done.changed {
        running.names().for_each(|name| memory.cooled(name));
    }
    if aim.level == Level::Warm {
        progress.enter(Phase::Warming);
        let asked = task.at().within(CANARY * 2, backend.warm(&spec, CANARY));
        let canary = progress.unless_stopped(asked).await?;
        memory.warmed(&task.name, running.digest.clone(), canary);
    }
    if aim.pin {
        let pin = Pin {
            level: aim.level,
            options: aim.options.clone(),
        };
        memory.pin(&task.name, pin);
    } else if task.kind == OperationKind::Load {
        // Said without a pin, it is taken off.
        memory.unpin(&task.name);
    }
    note(task, running, outcome);
    Ok(())
}

/// What callers are told of it.
pub(super) fn note(task: &Task, running: Running, outcome: &mut Outcome) {
    let told = RunningModel::new(&task.entry, &task.engine, running);
    outcome.canary = told.canary;
    outcome.pinned = told.pinned;
    outcome.endpoint = told.endpoint;
    outcome.running = Some(told.running);
}

/// The model as the engine lists it in memory, when it can be used.
async fn look(task: &Task) -> Result<Option<Running>, Failure> {
    let all = task.at().within(QUESTION, task.engine.backend.running()).await?;
    let ready = |running: &Running| running.is(&task.name) && running.state == RunState::Ready;
    Ok(all.into_iter().find(ready).map(|running| running.told_as(&task.name)))
}
