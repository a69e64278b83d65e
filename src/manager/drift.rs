//! A configured model that is another one than before: by whose hand.

use std::time::SystemTime;

use super::{Manager, ModelView, OperationKind};
use crate::{
    engines::Entry,
    model::{Digest, ModelName},
};

/// What was seen of a model, and when.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) digest: Digest,
    pub(super) time: SystemTime,
}

/// Tells, in the log, of a model whose content changed since it was seen last. What this service did itself is no news.
pub(super) fn tell(manager: &Manager, entry: &Entry, name: &ModelName, before: &Sight, now: &Digest) {
    if before.digest == *now {
        return;
    }
    let setup = manager.setup();
    let here = |backend: &str| {
        let mut named = setup.supported().filter(|(other, _)| other.name == backend);
        named.any(|(_, engine)| entry.engine.as_ref().is_some_and(|own| own.is(engine)))
    };
    let ours = |view: &ModelView| {
        let kind = view.label.kind;
        let since = |ended: SystemTime| ended >= before.time;
        view.label.name == *name
            && here(&view.label.backend)
            && !matches!(kind, OperationKind::Push | OperationKind::Load | OperationKind::Unload)
            && view.status.ended.as_ref().is_none_or(|ended| since(ended.time))
    };
    if manager.operations().list(None, 1, ours).is_empty() {
        tracing::warn!(
            model.name = %name, backend.name = entry.name, digest_before = %before.digest, digest = %now,
            "another client of the engine changed a configured model: give --digest where it must stay the same"
        );
    }
}
