//! Brings a model that is on disk into memory, and sees that it is there and answers.

use std::time::Duration;

use super::{
    OperationKind, Outcome, error,
    follow::{Progress, QUESTION, Stop},
    target::Aim,
    task::Task,
};
use crate::{
    backend::LoadSpec,
    engines::Pin,
    model::{Failure, KeepAlive, Level, Phase, RunState, Running},
};

/// For a first token of a model that is in memory: large ones on slow machines take half a minute.
const CANARY: Duration = Duration::from_mins(2);

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
    let running = progress.unless_stopped(running(task)).await?;
    if done.changed {
        memory.cooled(&task.name);
    }
    if aim.level == Level::Warm {
        progress.enter(Phase::Warming);
        let asked = task.at().within(CANARY * 2, backend.warm(&spec, CANARY));
        let canary = progress.unless_stopped(asked).await?;
        memory.warmed(&task.name, running.digest.clone(), canary.clone());
        outcome.canary = Some(canary);
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
    outcome.pinned = memory.pinned(&task.name);
    let own = || task.entry.advertise.clone().unwrap_or_else(|| backend.endpoint());
    outcome.endpoint = running.endpoint.clone().unwrap_or_else(own);
    outcome.running = Some(running);
    Ok(())
}

/// The model as it is in memory. Not what the load said: what the engine lists.
async fn running(task: &Task) -> Result<Running, Failure> {
    let all = task.at().within(QUESTION, task.engine.backend.running()).await?;
    all.into_iter()
        .find(|running| {
            let named = running.name == task.name || running.shared_with.contains(&task.name);
            named && running.state == RunState::Ready
        })
        .map(|running| running.told_as(&task.name))
        .ok_or_else(|| error::not_running(&task.entry.name, &task.name))
}
