//! What the journal keeps of an operation, so that it can be done again after a restart.
//!
//! It is what was asked, not what was resolved from it: the entry, its engine, and the paths that the operator configured
//! are looked up again in the configuration of the new start. A caller's path stays a caller's, beneath the roots of then.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::target::{Aim, Target};
use crate::model::{Digest, ImportOptions, ModelName};

/// What is done again; the label says with which model, on which backend.
#[derive(Debug, Serialize, Deserialize)]
pub enum Intent {
    /// Brings a model to a level.
    Bring {
        /// Where it comes from when it is not there.
        source: Source,
        /// The manifest that must come.
        digest: Option<Digest>,
        /// How ready: as all callers want it at the time of writing.
        #[serde(serialize_with = "write_target", deserialize_with = "read_target")]
        target: Arc<Target>,
    },
    /// Changes a model that is there.
    Change {
        /// What is changed.
        change: Change,
        /// Although the configuration wants the model.
        force: bool,
    },
}

/// Where a model comes from.
#[derive(Debug, Serialize, Deserialize)]
pub enum Source {
    /// The registry of its name.
    Registry {
        /// Plain http.
        insecure: bool,
    },
    /// A caller's path.
    Path {
        /// As it was given.
        path: String,
        /// How it is made.
        options: Box<ImportOptions>,
        /// Other content of that name goes.
        replace: bool,
    },
    /// The configured path of the entry's model.
    Configured {
        /// How it is made.
        options: Box<ImportOptions>,
    },
    /// It must be there.
    Present,
}

/// Work on a model that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Remove it.
    Delete {
        /// An absent one is success.
        allow_missing: bool,
        /// Out of memory first.
        unload: bool,
    },
    /// Give it this second name.
    Copy {
        /// The model.
        source: ModelName,
        /// The name may be taken.
        replace: bool,
    },
    /// Send it to its registry.
    Push {
        /// Plain http.
        insecure: bool,
    },
    /// Out of memory.
    Unload,
}

fn write_target<S: Serializer>(target: &Arc<Target>, serializer: S) -> Result<S::Ok, S::Error> {
    target.aim().serialize(serializer)
}

fn read_target<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Target>, D::Error> {
    Aim::deserialize(deserializer).map(|aim| Arc::new(Target::new(aim)))
}
