//! What is, as metrics: written anew for each answer, so that nothing of what is gone stays.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    manager::{Manager, OperationKind},
    model::{Level, Phase},
    readiness::{BackendState, Readiness},
    telemetry::metrics::{
        OTHER, Process, State,
        table::{
            BACKEND_READY, BUILD, DRAINING, ENGINE_ANSWER, ENGINE_UP, FIRST_TOKEN, LOADED, LOADED_BYTES, MODEL_DESIRED,
            MODEL_LEVEL, MODELS, OPERATIONS, PROCESS_FDS, PROCESS_MAX_FDS, PROCESS_MEMORY, PROCESS_START, QUEUED,
            READY, RELOAD_OK, RELOAD_TIME, RELOADS,
        },
    },
};

/// Writes all of it.
pub(super) fn tell(state: &State, manager: &Manager, readiness: &Readiness) {
    state.flag(READY, &[], readiness.status("") == Some(true));
    state.flag(DRAINING, &[], readiness.draining);
    let supported = readiness.backends.iter().filter(|backend| backend.backend().is_some());
    supported.for_each(|one| backend(state, one, readiness));
    operations(state, manager);
    configuration(state, manager);
    process(state, manager);
}

fn backend(state: &State, backend: &BackendState, readiness: &Readiness) {
    let (entry, seen) = (&backend.entry, &backend.seen);
    let of = [("backend", &*entry.name)];
    state.flag(ENGINE_UP, &of, seen.answers);
    let ready = readiness.status(&format!("backends/{}", entry.name));
    state.flag(BACKEND_READY, &of, ready == Some(true));
    if let Some(time) = seen.last_time {
        state.gauge(ENGINE_ANSWER, &of, seconds(time));
    }
    state.gauge(MODELS, &of, seen.models.len() as f64);
    state.gauge(LOADED, &of, seen.running.len() as f64);
    for desired in &entry.desired {
        let model = desired.spec.name.canonical();
        let of = [("backend", &*entry.name), ("model", &*model)];
        let wanted = if desired.counts() {
            Some(desired.spec.level)
        } else {
            None
        };
        state.gauge(MODEL_DESIRED, &of, number(wanted));
        // What was seen of an engine that does not answer any more is not known to be so.
        let level = backend.level(desired).filter(|_| seen.answers);
        state.gauge(MODEL_LEVEL, &of, number(level));
        let running = seen.running.iter().find(|running| running.is(&desired.spec.name));
        let engine = entry.engine.as_ref();
        let canary = running.and_then(|running| engine?.memory.canary(&desired.spec.name, running.digest.as_ref()));
        if let Some(canary) = canary {
            state.gauge(FIRST_TOKEN, &of, canary.time_to_first_token.as_secs_f64());
        }
    }
    // Several that are not configured are one.
    let mut memory: BTreeMap<String, f64> = BTreeMap::new();
    for running in seen.running.iter() {
        let configured = entry.desired.iter().find(|desired| running.is(&desired.spec.name));
        let name = configured.map_or(OTHER.to_owned(), |desired| desired.spec.name.canonical());
        *memory.entry(name).or_default() += running.size_bytes as f64;
    }
    for (model, bytes) in &memory {
        state.gauge(LOADED_BYTES, &[("backend", &*entry.name), ("model", model)], *bytes);
    }
}

fn operations(state: &State, manager: &Manager) {
    for kind in OperationKind::ALL {
        state.gauge(OPERATIONS, &[("kind", kind.as_str())], 0.0);
        state.gauge(QUEUED, &[("kind", kind.as_str())], 0.0);
    }
    let running = manager
        .operations()
        .list(None, usize::MAX, |view| view.status.ended.is_none());
    for view in running {
        let waits = !view.status.running || matches!(view.status.progress.phase, Phase::Queued(_));
        let name = if waits { QUEUED } else { OPERATIONS };
        state.add(name, &[("kind", view.label.kind.as_str())], 1.0);
    }
}

fn configuration(state: &State, manager: &Manager) {
    let reloads = manager.reloads();
    state.counter(RELOADS, &[("outcome", "taken")], reloads.taken);
    state.counter(RELOADS, &[("outcome", "refused")], reloads.refused);
    state.flag(RELOAD_OK, &[], reloads.last_failure.is_none());
    state.gauge(RELOAD_TIME, &[], seconds(manager.setup().load_time));
}

fn process(state: &State, manager: &Manager) {
    let version = env!("CARGO_PKG_VERSION");
    let revision = env!("MODEL_CONTROL_BUILD");
    state.gauge(BUILD, &[("version", version), ("revision", revision)], 1.0);
    state.gauge(PROCESS_START, &[], seconds(manager.start_time()));
    let process = Process::now();
    for (name, value) in [
        (PROCESS_MEMORY, process.resident_bytes),
        (PROCESS_FDS, process.open_fds),
        (PROCESS_MAX_FDS, process.max_fds),
    ] {
        if let Some(value) = value {
            state.gauge(name, &[], value as f64);
        }
    }
}

fn number(level: Option<Level>) -> f64 {
    match level {
        None => 0.0,
        Some(Level::OnDisk) => 1.0,
        Some(Level::Loaded) => 2.0,
        Some(Level::Warm) => 3.0,
    }
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
