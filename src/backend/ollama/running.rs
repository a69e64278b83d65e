//! What is in Ollama's memory, and out of it.
//!
//! Ollama lists what has been loaded, not what is on its way, by the first of the names that share a process. A model that
//! was removed or replaced while it was loaded stays, and cannot be unloaded: there is no name any more that means it.

use std::time::{Duration, SystemTime};

use serde_json::Number;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::{Instant, sleep};

use super::{
    Shared,
    client::Client,
    error::Doing,
    list,
    recent::Recent,
    wire::life::{Ask, Process, Processes, Whatever},
};
use crate::{
    backend::{Error, Kind},
    model::{Digest, ModelInfo, ModelName, RunState, Running, Unloaded},
};

/// A date later than this from now means for ever: Ollama tells one in about 292 years.
const FOREVER: Duration = Duration::from_hours(100 * 365 * 24);
/// From the request to unload until the model is gone: it ends what it is answering, and waits 5 s for a GPU's memory.
const GONE: Duration = Duration::from_secs(30);
/// The same for what cannot be unloaded by its name, and only might be.
const GONE_NAMELESS: Duration = Duration::from_secs(2);
/// Between two looks, doubled after each up to the last.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// All that is loaded.
pub(super) async fn all(shared: &Shared) -> Result<Vec<Running>, Error> {
    let mut running = processes(&shared.client).await?;
    if running.is_empty() {
        return Ok(running);
    }
    let listed = Recent::about(shared).await?;
    for one in &mut running {
        let own = listed
            .iter()
            .filter(|model| Some(&model.digest) == one.digest.as_ref())
            .max_by_key(|model| model.name == one.name);
        if let Some(own) = own {
            let sharing = shared.weights.sharing(&shared.client, own, &listed).await;
            let names = sharing.iter().chain([own]).map(|model| model.name.clone());
            one.shared_with = names.filter(|name| *name != one.name).collect();
        }
    }
    Ok(running)
}

/// The process that runs this model, under whatever name.
pub(super) async fn find(shared: &Shared, model: &ModelInfo) -> Result<Option<Running>, Error> {
    let mut running = processes(&shared.client).await?;
    if let Some(at) = running
        .iter()
        .position(|one| one.digest.as_ref() == Some(&model.digest))
    {
        return Ok(Some(running.swap_remove(at)));
    }
    if running.is_empty() {
        return Ok(None);
    }
    let listed = list::all(shared).await?;
    let sharing = shared.weights.sharing(&shared.client, model, &listed).await;
    Ok(running
        .into_iter()
        .find(|one| sharing.iter().any(|other| one.digest.as_ref() == Some(&other.digest))))
}

/// Takes a model out of memory.
pub(super) async fn unload(shared: &Shared, name: &ModelName) -> Result<Unloaded, Error> {
    let client = &shared.client;
    let listed = list::find(shared, name).await?;
    let found = match &listed {
        Some(model) => find(shared, model).await?,
        None => None,
    };
    let (Some(model), Some(process)) = (&listed, found) else {
        return nameless(client, name, listed.as_deref()).await;
    };
    let sharing = shared.weights.sharing(client, model, &list::all(shared).await?).await;
    ask(client, &model.name).await?;
    if !gone(client, process.digest.as_ref(), GONE, Some(&model.name)).await? {
        let message = format!(
            "Ollama was told to unload `{}` {} s ago and has it still: it answers long requests, or hangs",
            model.name,
            GONE.as_secs()
        );
        return Err(Error::new(Kind::Stalled, message));
    }
    Ok(Unloaded {
        freed_bytes: process.size_bytes,
        shared_with: sharing.iter().map(|other| other.name.clone()).collect(),
    })
}

/// Of what is loaded under the name and is not what the name means now: it may leave when it is asked by the name, else
/// nobody can make it.
async fn nameless(client: &Client, name: &ModelName, listed: Option<&ModelInfo>) -> Result<Unloaded, Error> {
    let running = processes(client).await?;
    let Some(old) = running.into_iter().find(|one| one.name == *name) else {
        return Ok(Unloaded::default());
    };
    let asked = match listed {
        Some(model) => ask(client, &model.name).await,
        None => ask(client, name).await,
    };
    match asked {
        Err(error) if error.kind != Kind::NotFound => return Err(error),
        Ok(()) if gone(client, old.digest.as_ref(), GONE_NAMELESS, None).await? => {
            return Ok(Unloaded {
                freed_bytes: old.size_bytes,
                shared_with: Vec::new(),
            });
        }
        _ => {}
    }
    let message = format!(
        "`{name}` was {} while it was loaded, and Ollama cannot unload what has no name: it leaves memory when its keep-alive \
         ends, or with a restart of Ollama",
        if listed.is_some() { "replaced" } else { "removed" }
    );
    Err(Error::new(Kind::Stalled, message))
}

async fn ask(client: &Client, name: &ModelName) -> Result<(), Error> {
    // It would unload the model with the tag `latest`.
    super::not_reserved(name, "unload")?;
    let name = name.to_string();
    let ask = Ask {
        model: &name,
        keep_alive: Some(Number::from(0)),
        ..Ask::default()
    };
    let _unloads: Whatever = client.post(Doing::Loading, "/api/generate", &ask).await?;
    Ok(())
}

/// Whether it is gone in this time. Ollama forgets an unload when another client asks the model something with a keep-alive,
/// and one that came just after it loads the model anew: it is asked `again` as long as the model is there.
async fn gone(
    client: &Client,
    digest: Option<&Digest>,
    within: Duration,
    again: Option<&ModelName>,
) -> Result<bool, Error> {
    let end = Instant::now() + within;
    let mut pause = FIRST_LOOK;
    loop {
        let running = processes(client).await?;
        if running.iter().all(|one| one.digest.as_ref() != digest) {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        sleep(pause).await;
        if let Some(name) = again {
            ask(client, name).await?;
        }
        pause = (pause * 2).min(LAST_LOOK);
    }
}

async fn processes(client: &Client) -> Result<Vec<Running>, Error> {
    let told: Processes = client.get("/api/ps").await?;
    Ok(told.models.iter().filter_map(running).collect())
}

fn running(process: &Process) -> Option<Running> {
    let text = if process.model.is_empty() {
        &process.name
    } else {
        &process.model
    };
    let Ok(name) = text.parse::<ModelName>() else {
        tracing::debug!(model = text, "Ollama runs what is no model");
        return None;
    };
    Some(Running {
        name,
        digest: format!("sha256:{}", process.digest.trim_start_matches("sha256:"))
            .parse()
            .ok(),
        size_bytes: process.size.max(0).unsigned_abs(),
        size_vram_bytes: process.size_vram.max(0).unsigned_abs(),
        context_length: process
            .context_length
            .and_then(|length| u64::try_from(length).ok())
            .filter(|&length| length > 0),
        expire_time: expires(&process.expires_at),
        state: RunState::Ready,
        endpoint: None,
        protocols: super::PROTOCOLS.to_vec(),
        options: None,
        shared_with: Vec::new(),
    })
}

/// None for ever, and when it cannot be read.
fn expires(text: &str) -> Option<SystemTime> {
    let time = SystemTime::from(OffsetDateTime::parse(text, &Rfc3339).ok()?);
    let left = time.duration_since(SystemTime::now()).unwrap_or_default();
    (left < FOREVER).then_some(time)
}

#[cfg(test)]
mod tests;
