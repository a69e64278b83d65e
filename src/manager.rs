//! The use cases, without transport: ensure, pull, create, list, the desired state, and the operations behind them.
//!
//! ```text
//! request ─> resolve (entry, engine, what the configuration adds) ─> operation ─> plan ─> execute ─> verify
//! ```
//!
//! A model is believed ready only after the engine lists it again with its digest, whatever the engine said before.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    engines::{Engine, Entry, Setup},
    model::{Failure, Reason},
    source::Roots,
};

mod change;
pub mod desired;
mod drift;
mod ensure;
mod error;
mod execute;
mod follow;
mod import;
mod intent;
pub mod list;
mod look;
mod memory;
pub mod pins;
mod plan;
pub mod reload;
pub mod request;
mod restart;
mod resume;
mod target;
mod task;
pub mod work;

pub use self::{
    change::Changed,
    ensure::Ensured,
    intent::{Change, Intent, Source},
    list::Listed,
    look::{RunningModel, RunningModels, Shown},
    work::{Label, ModelEnded, ModelOperations, ModelStatus, ModelSubscription, ModelView, OperationKind, Outcome},
};

/// The use cases. Cheap to clone: a handle.
#[derive(Debug, Clone)]
pub struct Manager {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Replaced as a whole by a reload; whatever runs holds what it began with.
    setup: ArcSwap<Setup>,
    operations: ModelOperations,
    roots: Arc<Roots>,
    start_time: SystemTime,
    /// Something on an engine may have changed: probers and the desired state look again.
    changed: Arc<Notify>,
    desired: desired::States,
    reloads: reload::Reloads,
    pins: pins::Kept,
}

// === impl Manager ===

impl Manager {
    /// Over the engines of `setup`. `changed` is notified whenever an operation has ended.
    pub fn new(setup: Arc<Setup>, operations: ModelOperations, roots: Roots, changed: Arc<Notify>) -> Self {
        Self {
            shared: Arc::new(Shared {
                setup: ArcSwap::new(setup),
                operations,
                roots: Arc::new(roots),
                start_time: SystemTime::now(),
                changed,
                desired: desired::States::default(),
                reloads: reload::Reloads::default(),
                pins: pins::Kept::default(),
            }),
        }
    }

    /// The configuration in force.
    pub fn setup(&self) -> Arc<Setup> {
        self.shared.setup.load_full()
    }

    /// When the service started.
    pub fn start_time(&self) -> SystemTime {
        self.shared.start_time
    }

    /// The table of operations.
    pub fn operations(&self) -> &ModelOperations {
        &self.shared.operations
    }

    /// How the configured models are.
    pub fn desired(&self) -> &desired::States {
        &self.shared.desired
    }

    /// The failure of a look-up by id.
    pub fn operation_not_found(id: Uuid) -> Failure {
        let message = format!("operation {id} is not known: ended ones are forgotten after a while");
        Failure::new(Reason::OperationNotFound, message).with("operationId", id)
    }

    /// The entry of this name with its engine; the first supported one when the name is empty.
    fn entry(&self, name: &str) -> Result<(Arc<Entry>, Engine), Failure> {
        let setup = self.setup();
        if name.is_empty() {
            let (entry, engine) = setup.supported().next().ok_or_else(error::no_backend)?;
            return Ok((Arc::clone(entry), engine.clone()));
        }
        let entry = self.named(&setup, name)?;
        let engine = entry.engine.clone().ok_or_else(|| error::not_supported(&entry))?;
        Ok((entry, engine))
    }

    /// The entries of this name; all when it is empty.
    fn entries(&self, name: &str) -> Result<Vec<Arc<Entry>>, Failure> {
        let setup = self.setup();
        if name.is_empty() {
            return Ok(setup.entries.clone());
        }
        Ok(vec![self.named(&setup, name)?])
    }

    /// Fails unless the name is empty or an entry's.
    pub fn check_backend(&self, name: &str) -> Result<(), Failure> {
        self.entries(name).map(drop)
    }

    #[expect(clippy::unused_self, reason = "reads as a look-up of the manager's")]
    fn named(&self, setup: &Setup, name: &str) -> Result<Arc<Entry>, Failure> {
        let found = setup.entries.iter().find(|entry| entry.name == name);
        found.cloned().ok_or_else(|| error::backend_not_found(name, setup))
    }
}
