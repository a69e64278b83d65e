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
/// A Load and a time to stay are always told to the engine.
pub(super) async fn there(task: &Task, aim: &Aim, model: Option<&ModelInfo>) -> Result<Option<Running>, Failure> {
    let engine = &task.engine;
    let pinned = engine.memory.pinned(&task.name);
    let asks = task.kind == OperationKind::Load || (aim.keep_alive != KeepAlive::Default && !pinned && !aim.pin);
    let Some(model) = model.filter(|_| !asks) else {
        return Ok(None);
    };
    let Some(running) = look(task).await? else {
        return Ok(None);
    };
    let stays = if pinned {
        running.expire_time.is_none()
    } else {
        !aim.pin
    };
    let ready = engine.level(model, std::slice::from_ref(&running)) >= aim.level;
    Ok(Some(running).filter(|running| stays && ready && runs_so(running, &aim.options, model)))
}

/// Whether a model in memory runs by these options, as far as its engine tells. None asked for are met by any.
fn runs_so(running: &Running, options: &LoadOptions, model: &ModelInfo) -> bool {
    if *options == LoadOptions::default() {
        return true;
    }
    match &running.options {
        Some(own) => own == options,
        // Not told; a context that is longer than the model's own is cut to that.
        None if options.engine_options.is_empty() => {
            let asked = options.context_length.map(u64::from);
            let most = model.context_length.unwrap_or(u64::MAX);
            running.context_length == asked.map(|asked| asked.min(most))
        }
        None => false,
    }
}

/// Loads, and looks. What was reached is noted in `outcome`.
pub(super) async fn bring(task: &Task, aim: &Aim, progress: &Progress, outcome: &mut Outcome) -> Result<(), Stop> {
    let (backend, memory) = (&task.engine.backend, &task.engine.memory);
    // Only a Load without a pin takes one off.
    let stays = aim.pin || (task.kind != OperationKind::Load && memory.pinned(&task.name));
    let spec = LoadSpec {
        name: task.name.clone(),
        options: aim.options.clone(),
        keep_alive: if stays { KeepAlive::Forever } else { aim.keep_alive },
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
