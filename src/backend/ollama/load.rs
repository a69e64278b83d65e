//! Brings a model into memory.
//!
//! A request without a prompt loads, and is answered when that is done; nothing is told in between. A model that only embeds
//! is loaded by embed. The same request on a loaded model renews its keep-alive; with other options it is loaded anew. When
//! the client leaves, Ollama gives the load up.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Number, Value};

use super::{
    Shared,
    client::Client,
    error::{self, Doing},
    list, running, silence,
    wire::life::{Ask, Whatever},
};
use crate::{
    backend::{Call, Done, Error, Kind, LoadSpec, call, call::TaskReporter},
    model::{Event, KeepAlive, LoadOptions, ModelCapability, ModelInfo, Phase},
};

/// Ollama says nothing while it loads; so often it is asked whether it still runs.
const SILENCE: Duration = Duration::from_secs(10);
/// Ollama's own numbers overflow far above, and what overflows is unloaded at once.
const LONGEST: Duration = Duration::from_hours(10 * 365 * 24);
/// What stays shorter may be gone when it is looked for.
const SHORT: Duration = Duration::from_secs(5);

/// The request that works for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Generate,
    Embed,
}

/// Begins it.
pub(super) fn start(shared: Arc<Shared>, spec: LoadSpec) -> Box<dyn Call> {
    call::task(|reporter| async move {
        let whole = run(&shared, &spec, &reporter);
        reporter.unless_stopped(whole).await
    })
}

async fn run(shared: &Shared, spec: &LoadSpec, reporter: &TaskReporter) -> Result<Done, Error> {
    let client = &shared.client;
    // A create that was cancelled is still being made: what is loaded before its end is the older content.
    drop(shared.held(&spec.name, reporter).await?);
    reporter.report(Event::Entered(Phase::Loading)).await;
    let model = listed(shared, spec).await?;
    let before = running::find(shared, &model).await?;
    silence::bear(client, reporter, SILENCE, ask(client, spec, &model)).await?;
    let after = running::find(shared, &model).await?;
    let short = matches!(spec.keep_alive, KeepAlive::For(time) if time < SHORT);
    if after.is_none() && !short {
        let message = format!(
            "Ollama loaded `{}` and has it no more: something else was loaded in its place",
            model.name
        );
        return Err(Error::new(Kind::Interrupted, message));
    }
    let same = before.is_some_and(|before| {
        after.is_some_and(|after| (before.digest, before.context_length) == (after.digest, after.context_length))
    });
    Ok(Done {
        changed: !same,
        ..Done::default()
    })
}

/// The request, and the other one when Ollama knows better what the model can.
async fn ask(client: &Client, spec: &LoadSpec, model: &ModelInfo) -> Result<(), Error> {
    let name = model.name.to_string();
    let ask = request(spec, &name);
    if way(model) == Way::Generate {
        let asked = client.patient(Doing::Loading, "/api/generate", &ask).await;
        match asked {
            Ok(Whatever {}) => return Ok(()),
            Err(error) if error::is_embedding_only(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let Whatever {} = client.patient(Doing::Loading, "/api/embed", &ask).await?;
    Ok(())
}

/// The model as Ollama lists it.
pub(super) async fn listed(shared: &Shared, spec: &LoadSpec) -> Result<Arc<ModelInfo>, Error> {
    let found = list::find(shared, &spec.name).await?;
    found.ok_or_else(|| Error::new(Kind::NotFound, format!("Ollama has no model `{}`", spec.name)))
}

/// Refuses what Ollama would take for something else.
pub(super) fn refuse(spec: &LoadSpec) -> Result<(), Error> {
    if spec.keep_alive == KeepAlive::For(Duration::ZERO) {
        let message = "Ollama takes a keep-alive of 0 for an unload: leave it unset, or give a time";
        return Err(Error::new(Kind::OptionInvalid("keep_alive"), message));
    }
    super::not_reserved(&spec.name, "load")
}

pub(super) fn way(model: &ModelInfo) -> Way {
    let can = |what| model.capabilities.contains(&what);
    if can(ModelCapability::Embedding) && !can(ModelCapability::Completion) {
        Way::Embed
    } else {
        Way::Generate
    }
}

/// What loads it.
pub(super) fn request<'a>(spec: &LoadSpec, name: &'a str) -> Ask<'a> {
    Ask {
        model: name,
        keep_alive: keep_alive(spec.keep_alive),
        options: options(&spec.options),
        ..Ask::default()
    }
}

/// In seconds.
fn keep_alive(keep_alive: KeepAlive) -> Option<Number> {
    match keep_alive {
        KeepAlive::Default => None,
        KeepAlive::For(time) => Number::from_f64(time.min(LONGEST).as_secs_f64()),
        KeepAlive::Forever => Some(Number::from(-1)),
    }
}

fn options(options: &LoadOptions) -> Map<String, Value> {
    let mut all = options.engine_options.clone();
    if let Some(length) = options.context_length {
        all.insert("num_ctx".to_owned(), length.into());
    }
    all
}

#[cfg(test)]
mod tests;
