//! What the service and its backends are.

use super::{level, status, timestamp};
use crate::{
    grpc::proto::v1::{self, backend::State},
    manager::Manager,
    model::{Capability, Failure, Reason},
    readiness::{BackendState, Desired, Readiness},
};

/// The service, and the backend of this name or all of them.
pub(in crate::grpc) fn describe(manager: &Manager, readiness: &Readiness, backend: &str) -> v1::DescribeResponse {
    let setup = manager.setup();
    let refused = manager.reloads().last_failure;
    let wanted = |state: &&BackendState| backend.is_empty() || state.entry.name == backend;
    v1::DescribeResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: env!("MODEL_CONTROL_BUILD").to_owned(),
        start_time: Some(timestamp(manager.start_time())),
        backends: readiness
            .backends
            .iter()
            .filter(wanted)
            .map(|state| self::backend(manager, state))
            .collect(),
        configuration: Some(v1::Configuration {
            load_time: Some(timestamp(setup.load_time)),
            digest: setup.digest.to_string(),
            last_failure: refused.as_ref().map(|(failure, _)| status::value(failure)),
            last_failure_time: refused.map(|(_, time)| timestamp(time)),
        }),
    }
}

fn backend(manager: &Manager, state: &BackendState) -> v1::Backend {
    let (entry, seen) = (&state.entry, &state.seen);
    let (told, failure) = told(manager, state);
    let (inference_endpoint, protocols) = state.inference();
    v1::Backend {
        name: entry.name.clone(),
        framework: entry.framework.clone(),
        state: told.into(),
        endpoint: state.endpoint(),
        inference_endpoint,
        protocols: super::life::protocols(&protocols),
        version: seen.version.clone(),
        last_seen_time: seen.last_time.map(timestamp),
        failure: failure.as_ref().map(status::value),
        capabilities: state.capabilities().into_iter().map(|c| capability(c).into()).collect(),
        desired: entry
            .desired
            .iter()
            .map(|desired| self::desired(manager, state, desired))
            .collect(),
    }
}

fn told(manager: &Manager, state: &BackendState) -> (State, Option<Failure>) {
    let seen = &state.seen;
    if state.backend().is_none() {
        let message = "this version does not support the framework";
        return (
            State::Unsupported,
            Some(Failure::new(Reason::FrameworkNotSupported, message)),
        );
    }
    if !seen.answers {
        let failure = seen
            .failure
            .as_ref()
            .map(|error| Failure::new(Reason::BackendUnreachable, error.message.clone()));
        let told = if failure.is_some() {
            State::Unreachable
        } else {
            State::Starting
        };
        return (told, failure);
    }
    if state.satisfied() {
        (State::Ready, None)
    } else {
        let mut below = state
            .entry
            .desired
            .iter()
            .filter(|desired| desired.counts() && !state.has(desired));
        let failure = below.find_map(|desired| manager.desired().get(&state.entry.name, &desired.spec.name).failure);
        (State::Reconciling, failure)
    }
}

fn desired(manager: &Manager, state: &BackendState, desired: &Desired) -> v1::DesiredModel {
    let spec = &desired.spec;
    let now = manager.desired().get(&state.entry.name, &spec.name);
    let listed = state.seen.models.get(&spec.name);
    let reached = state.level(desired).map_or(v1::Level::Unspecified, level);
    let below = !state.has(desired);
    v1::DesiredModel {
        name: spec.name.to_string(),
        canonical_name: spec.name.canonical(),
        file_name: spec
            .path
            .as_ref()
            .and_then(|path| path.file_name())
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default(),
        level: level(spec.level).into(),
        digest: spec.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
        reached_level: reached.into(),
        failure: now.failure.filter(|_| below).as_ref().map(status::value),
        operation_id: now
            .operation
            .filter(|_| below)
            .map(|id| id.to_string())
            .unwrap_or_default(),
        current_digest: listed.map(|model| model.digest.to_string()).unwrap_or_default(),
        next_attempt_time: now.next_attempt.filter(|_| below).map(timestamp),
    }
}

fn capability(capability: Capability) -> v1::BackendCapability {
    match capability {
        Capability::Pull => v1::BackendCapability::Pull,
        Capability::Create => v1::BackendCapability::Create,
        Capability::Convert => v1::BackendCapability::Convert,
        Capability::Quantize => v1::BackendCapability::Quantize,
        Capability::Adapters => v1::BackendCapability::Adapters,
        Capability::Show => v1::BackendCapability::Show,
        Capability::Delete => v1::BackendCapability::Delete,
        Capability::Copy => v1::BackendCapability::Copy,
        Capability::Push => v1::BackendCapability::Push,
        Capability::Load => v1::BackendCapability::Load,
        Capability::Unload => v1::BackendCapability::Unload,
        Capability::ListRunning => v1::BackendCapability::ListRunning,
    }
}
