//! The desired state: each configured model is brought to its level at start, and again whenever it has left it.
//!
//! One task a model. It looks at the engine, periodically and when something may have changed, and asks for an operation
//! only when the model is not as it should be; so nothing is done twice, and callers join what it began. Failures are
//! retried with back-off, without end: the operator may mend the file, the registry may come back. A model that loads and
//! ends again and again is another matter: see `restart`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use backon::BackoffBuilder as _;
use tokio::sync::futures::Notified;
use tokio_util::sync::CancellationToken;

use super::{
    Ensured, Manager, drift, error, look, request,
    restart::{self, Again, Refusals},
};
use crate::{
    config::Ensure,
    engines::{Desired, Engine, Entry},
    model::{Digest, Failure, KeepAlive, Level, LoadOptions, ModelInfo, Reason},
    operation::OnDisconnect,
};

mod state;

pub use self::state::{State, States};

/// Between two looks at a model that is as it should be.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// Between two tries that fail.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_mins(1);

/// What a look at a model saw.
enum Look {
    /// It is as it should be, with this digest.
    Right(Digest),
    /// It is there, with this digest, and not in memory as it should be.
    Fetched(Digest),
    /// It is not there, or is another one.
    Missing,
}

/// What came of a try.
enum Came {
    /// It is as it should be.
    Right,
    /// It is not, and what was tried failed.
    Failed,
    /// It may not be loaded before then.
    Wait(SystemTime),
    /// Only a person can help.
    Stuck,
}

/// Keeps one configured model at its level until `stop`.
pub async fn keep(manager: Manager, entry: Arc<Entry>, index: usize, stop: CancellationToken) {
    let Some(desired) = entry.desired.get(index) else {
        return;
    };
    let work = async {
        let mut retries = retries();
        loop {
            // Registered before the look, so that a change in between is not missed.
            let changed = manager.shared.changed.notified();
            let came = if desired.counts() {
                attempt(&manager, &entry, desired).await
            } else {
                Came::Right
            };
            let (delay, next) = match came {
                Came::Right => {
                    retries = self::retries();
                    let _early = tokio::time::timeout(LOOK_INTERVAL, changed).await.is_ok();
                    continue;
                }
                Came::Failed => {
                    let delay = retries.next().unwrap_or(LAST_RETRY);
                    (delay, Some(SystemTime::now() + delay))
                }
                Came::Wait(until) => (until.duration_since(SystemTime::now()).unwrap_or_default(), Some(until)),
                Came::Stuck => (LOOK_INTERVAL, None),
            };
            manager
                .desired()
                .update(&entry, desired, |state| state.next_attempt = next);
            // Another caller may bring it meanwhile. Only looked for, not tried again: two models that fail would wake
            // each other without end.
            let brought = brought(&manager, &entry, desired, changed);
            if tokio::time::timeout(delay, brought).await.is_ok() {
                retries = self::retries();
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Returns once the model is as it should be, whoever did it. Looks after each change from `changed` on.
async fn brought(manager: &Manager, entry: &Entry, desired: &Desired, mut changed: Notified<'_>) {
    loop {
        changed.await;
        changed = manager.shared.changed.notified();
        if let Ok(Look::Right(digest)) = look(entry, desired).await {
            manager
                .desired()
                .update(entry, desired, |state| *state = State::at(desired.spec.level, digest));
            return;
        }
    }
}

/// Looks, and does what is missing.
async fn attempt(manager: &Manager, entry: &Arc<Entry>, desired: &Desired) -> Came {
    let states = manager.desired();
    let failed = |failure| states.update(entry, desired, |state| state.fall(Some(failure)));
    let fetched = match look(entry, desired).await {
        Ok(Look::Right(digest)) => {
            if let Some(before) = states.get(&entry.name, &desired.spec.name).seen {
                drift::tell(manager, entry, &desired.spec.name, &before, &digest);
            }
            states.update(entry, desired, |state| *state = State::at(desired.spec.level, digest));
            return Came::Right;
        }
        Ok(Look::Fetched(digest)) => Some(digest),
        Ok(Look::Missing) => None,
        Err(failure) => {
            states.update(entry, desired, |state| state.failure = Some(failure));
            return Came::Failed;
        }
    };
    let died = entry
        .engine
        .as_ref()
        .map(|engine| restart::again(engine, &desired.spec.name));
    let refused = states.get(&entry.name, &desired.spec.name).refused;
    let refused = refused
        .zip(fetched.as_ref())
        .map(|(refused, digest)| refused.again(digest));
    for again in [died, refused].into_iter().flatten() {
        if let Again::Not { why, until } = again {
            failed(why);
            return until.map_or(Came::Stuck, Came::Wait);
        }
    }
    states.update(entry, desired, |state| state.fall(None));
    if desired.spec.ensure == Ensure::OnDemand {
        // Whoever asks for it brings it; what it needs meanwhile is being told truthfully.
        return Came::Right;
    }
    // What somebody brings already needs no turn. None is ever closed.
    let joins = |engine: &Engine| {
        let key = (engine.id.clone(), desired.spec.name.clone());
        manager.operations().runs(&key, |_| true)
    };
    let _turn = match &entry.engine {
        Some(engine) if !joins(engine) => {
            let turn = if fetched.is_some() {
                &engine.turns.load
            } else {
                &engine.turns.fetch
            };
            turn.acquire().await.ok()
        }
        _ => None,
    };
    match ensure(manager, entry, desired).await {
        Ok(digest) => {
            states.update(entry, desired, |state| *state = State::at(desired.spec.level, digest));
            Came::Right
        }
        Err(failure) => {
            failed(failure.clone());
            let Some(digest) = fetched.filter(|_| failure.reason == Reason::ModelNotLoadable) else {
                return Came::Failed;
            };
            let refusals = Refusals::add(states.get(&entry.name, &desired.spec.name).refused, &digest, failure);
            let again = refusals.again(&digest);
            states.update(entry, desired, |state| state.refused = Some(refusals));
            match again {
                Again::Not { until: None, .. } => Came::Stuck,
                Again::Not { until: Some(until), .. } => Came::Wait(until),
                Again::Now => Came::Failed,
            }
        }
    }
}

async fn look(entry: &Entry, desired: &Desired) -> Result<Look, Failure> {
    let spec = &desired.spec;
    let Some(engine) = &entry.engine else {
        return Err(error::not_supported(entry));
    };
    let failed = |error: &_| error::backend(error, &entry.name, &spec.name);
    let inspected = engine.backend.inspect(&spec.name).await;
    let listed = inspected.map_err(|error| failed(&error))?;
    let right = |model: &Arc<ModelInfo>| spec.digest.as_ref().is_none_or(|pin| *pin == model.digest);
    let Some(model) = listed.filter(right) else {
        return Ok(Look::Missing);
    };
    if spec.level > Level::OnDisk {
        let running = look::running(engine).await.map_err(|error| failed(&error))?;
        // What this service finds in memory is there for a while only, until it is pinned.
        let stays = spec.ensure == Ensure::OnDemand || engine.memory.pinned(&spec.name);
        if engine.level(&model, &running) < spec.level || !stays {
            return Ok(Look::Fetched(model.digest.clone()));
        }
    }
    Ok(Look::Right(model.digest.clone()))
}

async fn ensure(manager: &Manager, entry: &Entry, desired: &Desired) -> Result<Digest, Failure> {
    let request = request::Ensure {
        backend: entry.name.clone(),
        model: Some(desired.spec.name.clone()),
        path: String::new(),
        options: None,
        level: None,
        digest: None,
        load_options: LoadOptions::default(),
        keep_alive: KeepAlive::Default,
        pin: false,
        insecure: false,
        dry_run: false,
        on_disconnect: OnDisconnect::Keep,
    };
    let not_listed = || error::not_listed(&entry.name, &desired.spec.name);
    let mut following = match manager.ensure(request).await? {
        Ensured::Following(following) => following,
        Ensured::Told(outcome) => return Ok(outcome.model.ok_or_else(not_listed)?.digest),
    };
    let id = following.id();
    manager
        .desired()
        .update(entry, desired, |state| state.operation = Some(id));
    let ended = match following.status().wait_for(|status| status.ended.is_some()).await {
        Ok(status) => status.ended.clone(),
        Err(_) => None,
    };
    let ended = ended.ok_or_else(|| Manager::operation_not_found(id))?;
    let outcome = ended.result.clone()?;
    Ok(outcome.model.ok_or_else(not_listed)?.digest)
}

fn retries() -> impl Iterator<Item = Duration> {
    backon::ExponentialBuilder::default()
        .with_min_delay(FIRST_RETRY)
        .with_max_delay(LAST_RETRY)
        .without_max_times()
        .with_jitter()
        .build()
}
