//! From the errors of the rooms below to what callers are told. Causes are logged where the work ends, not here.

use std::time::Duration;

use uuid::Uuid;

use super::Label;
use crate::{
    backend::{self, Kind},
    engines::{Engine, Entry, Setup},
    model::{Capability, Digest, Failure, ModelName, Reason},
    operation::Refused,
    source,
};

/// When a caller should ask an engine again that did not answer: about the time that a probe takes to see it back.
const RETRY_UNREACHABLE: Duration = Duration::from_secs(5);
/// When a caller should ask a registry again that did not answer, after our own tries.
const RETRY_REGISTRY: Duration = Duration::from_secs(30);
/// When a caller should ask again that was refused because too much runs.
const RETRY_BUSY: Duration = Duration::from_secs(10);

pub(super) fn no_backend() -> Failure {
    let message = "no backend of the configuration is supported by this version: see `model-control describe`";
    Failure::new(Reason::BackendNotFound, message)
}

pub(super) fn backend_not_found(name: &str, setup: &Setup) -> Failure {
    let known: Vec<_> = setup.entries.iter().take(16).map(|entry| entry.name.as_str()).collect();
    let message = format!("there is no backend `{}`: there is {}", short(name), known.join(", "));
    Failure::new(Reason::BackendNotFound, message).with("backend", short(name))
}

pub(super) fn not_supported(entry: &Entry) -> Failure {
    let message = format!(
        "backend `{}` has the framework `{}`, which this version does not support",
        entry.name,
        short(&entry.framework)
    );
    Failure::new(Reason::FrameworkNotSupported, message)
        .with("backend", &entry.name)
        .with("framework", short(&entry.framework))
}

/// What the engine lacks to do this, if it lacks anything.
pub(super) fn require(backend: &str, engine: &Engine, capability: Capability) -> Result<(), Failure> {
    if engine.can(capability) {
        return Ok(());
    }
    Err(match engine.backend.missing(capability) {
        Some(part) => self::engine(&part, backend),
        None => cannot(backend, capability),
    })
}

pub(super) fn cannot(backend: &str, capability: Capability) -> Failure {
    let message = format!("backend `{backend}` cannot {capability}: `model-control describe` lists what it can do");
    Failure::new(Reason::BackendCannot(capability), message).with("backend", backend)
}

pub(super) fn which_model(backend: &str, configured: usize) -> Failure {
    let why = if configured == 0 {
        "has no configured model"
    } else {
        "has several configured models"
    };
    Failure::new(Reason::RequestInvalid, format!("backend `{backend}` {why}: name one"))
        .with("backend", backend)
        .violation(
            "model",
            format!("may be empty only when the backend has one configured model; it {why}"),
        )
}

pub(super) fn refused(refused: Refused<Label>) -> Failure {
    match refused {
        Refused::Conflict { id, label } => {
            let message = format!(
                "operation {id} is working on `{}` with other content: follow it or cancel it, then ask again",
                label.name
            );
            Failure::new(Reason::OperationConflict, message)
                .with("operationId", id)
                .with("model", &label.name)
                .with("backend", &label.backend)
        }
        Refused::TooMany { limit } => {
            let message = format!("{limit} operations are running, which is the limit: ask again when one has ended");
            Failure::new(Reason::TooManyOperations, message)
                .with("limit", limit)
                .retry_after(RETRY_BUSY)
        }
        Refused::ShuttingDown => Failure::new(Reason::ShuttingDown, "the service is shutting down: ask its successor")
            .retry_after(RETRY_UNREACHABLE),
    }
}

/// An engine's failure at work on a model.
pub(super) fn backend(error: &backend::Error, entry: &str, name: &ModelName) -> Failure {
    at(engine(error, entry), entry, name)
}

/// An engine's failure at work on no model in particular.
pub(super) fn engine(error: &backend::Error, entry: &str) -> Failure {
    let told = |reason| Failure::new(reason, error.message.clone());
    let failure = match &error.kind {
        Kind::Unreachable => {
            let message = format!("backend `{entry}` does not answer: {}", error.message);
            Failure::new(Reason::BackendUnreachable, message).retry_after(RETRY_UNREACHABLE)
        }
        Kind::Busy(delay) => told(Reason::BackendBusy).retry_after(delay.unwrap_or(RETRY_BUSY)),
        Kind::NotFound => told(Reason::ModelNotFound),
        Kind::Exists => told(Reason::ModelExists),
        Kind::FileInvalid => told(Reason::ModelFileInvalid).violation("path", &error.message),
        Kind::OptionInvalid(field) => told(Reason::RequestInvalid).violation(*field, &error.message),
        Kind::NameInvalid => told(Reason::ModelNameInvalid).violation("model", &error.message),
        Kind::SourceNotUsable => told(Reason::PathNotUsable).violation("path", &error.message),
        Kind::Cannot(capability) => told(Reason::BackendCannot(*capability)),
        Kind::MissingPart => told(Reason::EngineMissingPart).violation(entry, &error.message),
        Kind::RegistryUnreachable => told(Reason::RegistryUnreachable).retry_after(RETRY_REGISTRY),
        Kind::RegistryBusy(delay) => told(Reason::RegistryBusy).retry_after(delay.unwrap_or(RETRY_BUSY)),
        Kind::RegistryCredentials => told(Reason::RegistryCredentials).violation("registry", &error.message),
        Kind::RegistryNotAllowed => told(Reason::RegistryNotAllowed),
        Kind::NotLoadable => told(Reason::ModelNotLoadable).violation("model", &error.message),
        Kind::OutOfMemory => told(Reason::EngineOutOfMemory),
        Kind::DiskFull { need: 0, .. } => told(Reason::DiskFull),
        Kind::DiskFull { need, have } => told(Reason::DiskFull).with("needBytes", need).with("haveBytes", have),
        Kind::DigestMismatch => told(Reason::DigestMismatch),
        Kind::PinMismatch => told(Reason::DigestPinMismatch).violation("digest", &error.message),
        Kind::Stalled => told(Reason::EngineStalled),
        Kind::Interrupted => told(Reason::Interrupted),
        Kind::Protocol => told(Reason::BackendProtocol),
        // No fault of ours, but no caller's either: whoever reads it must find the operator.
        Kind::StoreUnusable => {
            let message = format!("the store of backend `{entry}` cannot be used: {}", error.message);
            Failure::new(Reason::Internal, message)
        }
        // Nothing internal in the text: the log has it.
        Kind::Internal => Failure::new(
            Reason::Internal,
            format!("backend `{entry}` failed by a fault of this service: see its log"),
        ),
    };
    failure.with("backend", entry)
}

/// What a path leads to cannot be opened.
pub(super) fn source(error: &source::Error, entry: &str, name: &ModelName) -> Failure {
    let reason = match error {
        source::Error::NotAbsolute | source::Error::Nul => Reason::RequestInvalid,
        source::Error::NotAllowed(_) => Reason::PathNotAllowed,
        source::Error::NotFound { .. } => Reason::PathNotFound,
        source::Error::NotUsable { .. } | source::Error::Read { .. } => Reason::PathNotUsable,
    };
    let failure = Failure::new(reason, error.to_string());
    let failure = match error {
        source::Error::NotFound { name } => failure.with("path", name),
        _ if reason == Reason::PathNotAllowed => failure,
        _ => failure.violation("path", error),
    };
    at(failure, entry, name)
}

/// The engine lists the model with another digest than the pinned one; `before` our work it listed that.
pub(super) fn pin_mismatch(
    entry: &str,
    name: &ModelName,
    pin: Option<&Digest>,
    present: &Digest,
    before: Option<&Digest>,
) -> Failure {
    let wanted = pin.map_or_else(|| "another".to_owned(), Digest::to_string);
    // Engines that fetch by themselves learn of no pin: they may have replaced what was there.
    let replaced = match before {
        Some(before) if before == present => "nothing was replaced",
        Some(_) => "the engine has replaced what was there",
        None => "nothing was there before",
    };
    let message = format!("`{name}` has the digest {present}, and {wanted} is pinned: {replaced}");
    let failure = Failure::new(Reason::DigestPinMismatch, message)
        .with("digest", wanted)
        .with("presentDigest", present)
        .violation("digest", format!("the model that is there has {present}"));
    at(failure, entry, name)
}

/// The engine said that it removed the model, and lists it.
pub(super) fn still_listed(entry: &str, name: &ModelName) -> Failure {
    let message = format!(
        "backend `{entry}` reported that it removed `{name}`, but still lists it: somebody may have brought it back"
    );
    at(Failure::new(Reason::BackendProtocol, message), entry, name)
}

/// Others begin work on the name as fast as it is cancelled.
pub(super) fn busy_name(entry: &str, name: &ModelName) -> Failure {
    let message = format!("others begin work on `{name}` as fast as it is cancelled: ask them to stop, then ask again");
    at(Failure::new(Reason::OperationConflict, message), entry, name)
}

/// A name that must not be given.
pub(super) fn reserved(field: &str, name: &ModelName, why: &str) -> Failure {
    let message = format!("`{name}` cannot be made: {why}");
    Failure::new(Reason::ModelNameInvalid, message)
        .with("model", name)
        .violation(field, why)
}

/// The engine has no model of this name.
pub(super) fn model_not_found(entry: &str, name: &ModelName) -> Failure {
    let message = format!("backend `{entry}` has no model `{name}`: pull or create it first");
    at(Failure::new(Reason::ModelNotFound, message), entry, name)
}

/// The engine said that it loaded the model, and does not list it as running.
pub(super) fn not_running(entry: &str, name: &ModelName) -> Failure {
    let message = format!("backend `{entry}` reported that it loaded `{name}`, but does not list it as running");
    at(Failure::new(Reason::BackendProtocol, message), entry, name)
}

/// The model is in memory, and the caller did not say that it may be taken out.
pub(super) fn in_use(entry: &str, name: &ModelName) -> Failure {
    let message = format!("`{name}` is loaded or being loaded: unload it first, or ask with `unload`");
    let failure = Failure::new(Reason::ModelInUse, message).violation("model", "is in memory");
    at(failure, entry, name)
}

/// The configuration wants the model.
pub(super) fn configured(entry: &str, name: &ModelName) -> Failure {
    let message = format!(
        "the configuration wants `{name}` on backend `{entry}`, and would bring it back: take it out there, or ask with `force`"
    );
    let failure = Failure::new(Reason::ModelConfigured, message).violation("model", "is configured");
    at(failure, entry, name)
}

/// The engine reported success, and does not list the model.
pub(super) fn not_listed(entry: &str, name: &ModelName) -> Failure {
    let message = format!(
        "backend `{entry}` reported success, but does not list `{name}`: it was not kept, or somebody else removed it since"
    );
    at(Failure::new(Reason::BackendProtocol, message), entry, name)
}

fn at(failure: Failure, entry: &str, name: &ModelName) -> Failure {
    failure.with("backend", entry).with("model", name)
}

/// Text of a caller's in a message of ours: no longer than a name may be.
fn short(text: &str) -> String {
    text.chars()
        .take(64)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// An operation that a restart interrupted for good. `why` goes on from "and".
pub(super) fn interrupted(id: Uuid, label: &Label, why: &str) -> Failure {
    let message = format!("operation {id} was interrupted by a restart of the service, and {why}");
    Failure::new(Reason::Interrupted, message)
        .with("operationId", id)
        .with("backend", &label.backend)
        .with("model", &label.name)
}
