//! What an operation is here: its kinds, what two callers must agree on, what comes of it.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    engines::EngineId,
    model::{Digest, Failure, ImportOptions, ModelInfo, ModelName, Plan, Provenance, Reason, Snapshot},
    operation::{Ended, Operations, Reporter, Status, Subscription, View, Why, Work},
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

/// What two callers must agree on: all that changes the stored content, and nothing else.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// From the registry that the name says.
    Registry {
        /// The manifest that must come.
        digest: Option<Digest>,
        /// Plain http.
        insecure: bool,
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
    },
}

/// What came of an operation. Each kind tells its callers the part that they asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// As the engine lists it afterwards; absent in a dry run of an absent model.
    pub model: Option<ModelInfo>,
    /// What was done, or would be.
    pub plan: Plan,
    /// False when it was so already.
    pub changed: bool,
    /// Of a create.
    pub provenance: Option<Provenance>,
}

// === impl ModelWork ===

impl Work for ModelWork {
    type Key = (EngineId, ModelName);
    type Content = Content;
    type Label = Label;
    type Progress = Snapshot;
    type Outcome = Outcome;
    type Failure = Failure;

    fn span(id: Uuid, label: &Label) -> tracing::Span {
        tracing::info_span!(
            parent: None,
            "operation",
            operation.id = %id,
            operation.kind = label.kind.as_str(),
            backend.name = label.backend,
            model.name = %label.name,
        )
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

/// The first snapshot of an operation that begins now.
pub(super) fn first() -> Snapshot {
    Snapshot::new(SystemTime::now())
}
