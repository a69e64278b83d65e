//! One push at a time an Ollama, whatever the model.
//!
//! As with pulls: two that meet at a blob can end its process, and one that follows a blob on its way to another registry
//! believes that it sent it. Ollama stops a push when its connection closes; what has been sent lies in the registry, under
//! no name.
//!
//! Which digest the registry then has is not known: Ollama lists the digest of its file, and sends the manifest written anew,
//! without the line break at its end.

use std::sync::Arc;

use super::{
    Shared,
    error::Doing,
    list,
    transfer::{OneAtATime, Transfer, Turn},
};
use crate::{
    backend::{Call, Done, Error, Kind, PushSpec, call::TaskReporter, turns::Turns},
    model::{Event, Phase},
};

/// Begins a push.
pub(super) fn start(pushes: &OneAtATime, spec: PushSpec) -> Box<dyn Call> {
    pushes.start(|shared, turns, reporter| async move { run(&shared, &turns, &spec, &reporter).await })
}

async fn run(shared: &Shared, turns: &Arc<Turns>, spec: &PushSpec, reporter: &TaskReporter) -> Result<Done, Error> {
    let client = &shared.client;
    let prepared = async {
        // What is sent is one content from the first layer to the manifest.
        let held = shared.held(&spec.name, reporter).await?;
        let turn = Turn::take(turns, client, reporter).await;
        reporter.report(Event::Entered(Phase::Resolving)).await;
        Ok((held, turn, list::find(shared, &spec.name).await?))
    };
    let (_held, mut turn, Some(model)) = reporter.unless_stopped(prepared).await? else {
        return Err(Error::new(
            Kind::NotFound,
            format!("Ollama has no model `{}`", spec.name),
        ));
    };
    let transfer = Transfer {
        doing: Doing::Pushing,
        path: "/api/push",
        name: &model.name,
        insecure: spec.insecure,
    };
    transfer.run(client, &mut turn, reporter).await?;
    Ok(Done {
        changed: true,
        ..Done::default()
    })
}
