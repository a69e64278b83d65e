//! One pull at a time an Ollama, whatever the model.
//!
//! Two pulls that meet at a blob can end its process: one that joined while the other still asked for the blob's size waits
//! for ever, and the process dies when it leaves. So a pull begins when the one before it is over on Ollama's side as well,
//! and a pull that was left is given a second for that. Other clients of the same Ollama are out of our reach.
//!
//! Ollama stops a pull when its connection closes, and keeps what it has. When it may be closed: `transfer`.

use std::sync::Arc;

use super::{
    Shared,
    error::Doing,
    list,
    recent::Changes,
    transfer::{OneAtATime, Transfer, Turn},
};
use crate::{
    backend::{Call, Done, Error, Kind, PullSpec, call::TaskReporter, turns::Turns},
    model::{Event, ModelName, Phase},
};

/// Begins a pull.
pub(super) fn start(pulls: &OneAtATime, spec: PullSpec) -> Box<dyn Call> {
    pulls.start(|shared, turns, reporter| async move { run(&shared, &turns, &spec, &reporter).await })
}

async fn run(shared: &Shared, turns: &Arc<Turns>, spec: &PullSpec, reporter: &TaskReporter) -> Result<Done, Error> {
    let client = &shared.client;
    let prepared = async {
        // A create that was cancelled is still being made, and would replace what comes.
        let held = shared.held(&spec.name, reporter).await?;
        let turn = Turn::take(turns, client, reporter).await;
        reporter.report(Event::Entered(Phase::Resolving)).await;
        let before = list::find(shared, &spec.name).await?.map(|model| model.digest.clone());
        Ok((held, turn, before))
    };
    let (_held, mut turn, before) = reporter.unless_stopped(prepared).await?;
    let _changes = Changes(&shared.recent);
    let transfer = Transfer {
        doing: Doing::Pulling,
        path: "/api/pull",
        name: &spec.name,
        insecure: spec.insecure,
    };
    let pulled = transfer.run(client, &mut turn, reporter).await;
    pulled.map_err(|error| named(error, &spec.name))?;
    let after = list::find(shared, &spec.name).await?.map(|model| model.digest.clone());
    Ok(Done {
        changed: after != before,
        ..Done::default()
    })
}

/// Ollama's words for what is nowhere have no name in them.
fn named(error: Error, model: &ModelName) -> Error {
    match error.kind {
        Kind::NotFound => Error {
            message: format!("`{model}` cannot be pulled: {}", error.message),
            ..error
        },
        _ => error,
    }
}
