//! What an operation is here: its kinds, what two callers must agree on, what comes of it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    intent::{Change, Intent},
    target::Target,
};
use crate::{
    engines::EngineId,
    model::{
        Canary, Digest, Failure, ImportOptions, Level, ModelInfo, ModelName, Plan, Provenance, Reason, Running,
        Snapshot, stored,
    },
    operation::{Ended, Meeting, Operations, Reporter, Status, Subscription, View, Why, Work},
    telemetry::{metrics, trace},
};

/// Work on models.
#[derive(Debug)]
pub struct ModelWork;

/// The table of operations.
pub type ModelOperations = Operations<ModelWork>;
/// A caller that follows one.
pub type ModelSubscription = Subscription<ModelWork>;
/// One as it is now.
pub type ModelView = View<ModelWork>;
/// The part of one that changes.
pub type ModelStatus = Status<ModelWork>;
/// The end of one.
pub type ModelEnded = Ended<ModelWork>;
/// A job's link to its operation.
pub(super) type ModelReporter = Reporter<ModelWork>;

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OperationKind {
    /// Brings a model to a level.
    EnsureReady,
    /// Fetches a model.
    Pull,
    /// Makes a model from files.
    CreateFromPath,
    /// Sends a model to its registry.
    Push,
    /// Brings a model into memory.
    Load,
    /// Removes a model.
    Delete,
    /// Gives a model a second name.
    Copy,
    /// Takes a model out of memory.
    Unload,
}

/// What describes an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// What it does.
    pub kind: OperationKind,
    /// The entry that was named first.
    pub backend: String,
    /// The model.
    pub name: ModelName,
}

/// What two callers must agree on: all that changes the stored content, and nothing else. How ready they want it may differ.
#[derive(Debug)]
pub enum Content {
    /// From the registry that the name says.
    Registry {
        /// The manifest that must come.
        digest: Option<Digest>,
        /// Plain http.
        insecure: bool,
        /// How ready.
        target: Arc<Target>,
    },
    /// From files.
    Path {
        /// As it was given.
        path: String,
        /// The manifest that must come of it.
        digest: Option<Digest>,
        /// How it is made.
        options: Box<ImportOptions>,
        /// Whether other content of that name goes.
        replace: bool,
        /// How ready.
        target: Arc<Target>,
    },
    /// What is on disk, into memory.
    Load {
        /// How ready.
        target: Arc<Target>,
    },
    /// A change that is shared by those who want the very same.
    Change(Change),
}

/// What came of an operation. Each kind tells its callers the part that they asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// As the engine lists it afterwards; absent in a dry run of an absent model.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub model: Option<ModelInfo>,
    /// What was done, or would be.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub plan: Plan,
    /// False when it was so already.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub changed: bool,
    /// Of a create.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub provenance: Option<Provenance>,
    /// Where callers send inference, when it is in memory.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub endpoint: String,
    /// In memory, when it was brought there.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub running: Option<Running>,
    /// That it answers, when that was asked.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub canary: Option<Canary>,
    /// It is kept in memory.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub pinned: bool,
    /// How ready it is kept.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub desired_level: Level,
    /// Of a delete, on disk; of an unload, in memory.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub freed_bytes: u64,
    /// Of an unload: names that left with it.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub shared_with: Vec<ModelName>,
    /// Of a push: the manifest's in the registry.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub pushed: Option<Digest>,
}

// === impl ModelWork ===

impl Work for ModelWork {
    type Key = (EngineId, ModelName);
    type Content = Content;
    type Intent = Intent;
    type Label = Label;
    type Progress = Snapshot;
    type Outcome = Outcome;
    type Failure = Failure;

    fn meet(running: &Content, new: &Content) -> Meeting {
        running.meet(new)
    }

    fn span(id: Uuid, label: &Label) -> tracing::Span {
        let span = tracing::info_span!(
            parent: None,
            "operation",
            operation.id = %id,
            operation.kind = label.kind.as_str(),
            backend.name = label.backend,
            model.name = %label.name,
        );
        trace::begun_here(&span);
        span
    }

    fn ended(label: &Label, took: Duration, ended: &ModelEnded) {
        let (outcome, reason) = match &ended.result {
            Ok(_) => ("succeeded", None),
            Err(failure) if ended.cancelled => ("stopped", Some(failure.reason)),
            Err(failure) => ("failed", Some(failure.reason)),
        };
        let reason = reason.map(|reason| reason.text().into_owned()).unwrap_or_default();
        if outcome == "failed" {
            trace::operation_failed(&tracing::Span::current(), &reason);
        }
        metrics::operation_ended(&label.backend, label.kind.as_str(), outcome, reason, took);
    }

    fn stopped(id: Uuid, why: Why) -> Failure {
        let (reason, message) = match why {
            Why::Cancelled => (Reason::OperationCancelled, format!("operation {id} was cancelled")),
            Why::Abandoned => (
                Reason::OperationCancelled,
                format!("operation {id} was cancelled, for all its callers left and had asked for that"),
            ),
            Why::ShuttingDown => (
                Reason::Interrupted,
                format!("operation {id} was interrupted, for the service shut down: ask again once it runs"),
            ),
        };
        Failure::new(reason, message).with("operationId", id)
    }

    fn fault(id: Uuid) -> Failure {
        Failure::new(
            Reason::Internal,
            format!("operation {id} broke off by a fault of this service"),
        )
        .with("operationId", id)
    }
}

// === impl Content ===

impl Content {
    fn meet(&self, new: &Self) -> Meeting {
        match (self, new) {
            (
                Self::Registry {
                    digest,
                    insecure,
                    target,
                },
                Self::Registry {
                    digest: other,
                    insecure: plain,
                    target: wanted,
                },
            ) if digest == other && insecure == plain => target.join(wanted),
            (
                Self::Path {
                    path,
                    digest,
                    options,
                    replace,
                    target,
                },
                Self::Path {
                    path: file,
                    digest: other,
                    options: others,
                    replace: over,
                    target: wanted,
                },
            ) if (path, digest, options, replace) == (file, other, others, over) => target.join(wanted),
            // A model that is being brought is loaded by whoever brings it, and one that is being loaded is there.
            (
                Self::Registry { target, .. } | Self::Path { target, .. } | Self::Load { target },
                Self::Load { target: wanted },
            )
            | (
                Self::Load { target },
                Self::Registry {
                    digest: None,
                    target: wanted,
                    ..
                }
                | Self::Path {
                    digest: None,
                    target: wanted,
                    ..
                },
            ) => target.join(wanted),
            // A manifest that must come is looked for when the load has ended.
            (Self::Load { .. }, Self::Registry { .. } | Self::Path { .. }) => Meeting::Wait,
            (Self::Change(running), Self::Change(new)) if running == new => Meeting::Join,
            _ => Meeting::Conflict,
        }
    }
}

impl Target {
    fn join(&self, wanted: &Self) -> Meeting {
        if self.raise(wanted) {
            Meeting::Join
        } else {
            Meeting::Wait
        }
    }
}

/// The first snapshot of an operation that begins now.
pub(super) fn first() -> Snapshot {
    Snapshot::new(SystemTime::now())
}
