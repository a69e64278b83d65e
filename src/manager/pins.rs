//! Keeps pinned models in memory: loads again what was evicted or lost with a restart, and takes back what another client
//! shortened. What it does are operations like any other.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    Manager, look, request,
    restart::{self, Again},
};
use crate::{
    config::Ensure,
    engines::{Desired, Engine, Entry, Pin, Setup},
    model::{KeepAlive, Level, ModelName, RunState, Running},
    operation::OnDisconnect,
};

mod kept;

pub(super) use self::kept::Kept;

/// Between two looks, unless something may have changed.
const INTERVAL: Duration = Duration::from_secs(15);
/// After a load that failed, doubled up to the last: an engine that cannot take the model is not worn out.
const FIRST_RETRY: Duration = Duration::from_secs(2);
const LAST_RETRY: Duration = Duration::from_mins(2);

const GONE: &str = "it was not in memory";

/// What came of a look.
enum Held {
    All,
    /// The engine does not say what it has in memory.
    Unknown,
    /// A pinned model could not be brought back.
    Lost,
}

/// Keeps the pins of one engine until `stop`.
pub async fn keep(manager: Manager, engine: Engine, stop: CancellationToken) {
    let work = async {
        let mut pause = FIRST_RETRY;
        loop {
            let changed = manager.shared.changed.notified();
            match hold(&manager, &engine).await {
                Held::All => {
                    pause = FIRST_RETRY;
                    let _early = tokio::time::timeout(INTERVAL, changed).await.is_ok();
                }
                // A question costs little: it is back soon after the engine is.
                Held::Unknown => tokio::time::sleep(FIRST_RETRY).await,
                Held::Lost => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_RETRY);
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

async fn hold(manager: &Manager, engine: &Engine) -> Held {
    // Any of those that name the engine now: a reload may have renamed the one that named it first.
    let setup = manager.setup();
    let Some((entry, _)) = setup.supported().find(|(_, other)| other.is(engine)) else {
        return Held::All;
    };
    let (pins, released) = (engine.memory.pins(), engine.memory.released());
    if pins.is_empty() && released.is_empty() {
        return Held::All;
    }
    let Ok(running) = look::running(engine).await else {
        return Held::Unknown;
    };
    for (name, pin) in released {
        engine.memory.let_go(&name);
        if !engine.memory.pinned(&name) && running.iter().any(|running| running.is(&name)) {
            tracing::info!(model.name = %name, backend.name = entry.name, "a model is not kept in memory any more");
            load(manager, entry, name, pin, false).await;
        }
    }
    let mut held = true;
    for (name, pin) in pins {
        let Some(why) = lost(&name, &running) else { continue };
        // Its own keeper brings back what the configuration wants in memory.
        if why == GONE && brought(&setup, engine, &name) {
            continue;
        }
        if matches!(restart::again(engine, &name), Again::Not { .. }) {
            held = false;
            continue;
        }
        // Somebody may have unpinned it while others were loaded.
        if !engine.memory.pinned(&name) {
            continue;
        }
        tracing::info!(model.name = %name, backend.name = entry.name, why, "a pinned model is loaded again");
        held &= load(manager, entry, name, pin, true).await;
    }
    if held { Held::All } else { Held::Lost }
}

/// Whether the configuration brings the model into memory, unasked.
fn brought(setup: &Setup, engine: &Engine, name: &ModelName) -> bool {
    let brings = |desired: &Desired| desired.spec.level > Level::OnDisk && desired.spec.ensure == Ensure::Startup;
    setup.configured(engine, name).any(brings)
}

/// Why a pinned model must be loaded again.
fn lost(name: &ModelName, running: &[Running]) -> Option<&'static str> {
    match running.iter().find(|running| running.is(name)) {
        None => Some(GONE),
        Some(running) if running.state != RunState::Ready => None,
        Some(running) if running.expire_time.is_some() => Some("another client had shortened its stay"),
        Some(_) => None,
    }
}

/// Loads it to stay, or else for as long as the engine keeps what is used.
async fn load(manager: &Manager, entry: &Entry, name: ModelName, pin: Pin, stays: bool) -> bool {
    let request = request::Load {
        backend: entry.name.clone(),
        model: name,
        level: pin.level,
        options: pin.options,
        keep_alive: if stays { KeepAlive::Forever } else { KeepAlive::Default },
        pin: stays,
        on_disconnect: OnDisconnect::Keep,
    };
    let Ok(mut following) = manager.load(request).await else {
        return false;
    };
    let ended = following.status().wait_for(|status| status.ended.is_some()).await;
    ended.is_ok_and(|status| status.ended.as_ref().is_some_and(|ended| ended.result.is_ok()))
}
