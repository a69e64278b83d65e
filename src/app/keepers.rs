//! The tasks that a configuration in force asks for: one that probes each engine, one that keeps its pins, one for each
//! configured model. A new configuration ends those it does not want and begins those it does; the rest go on.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    engines::{Engine, Entry, Setup},
    manager::{self, Manager},
    readiness::Publisher,
};

/// What the tasks need, and how each is ended.
#[derive(Debug)]
pub(super) struct Keepers {
    pub(super) manager: Manager,
    pub(super) publisher: Publisher,
    pub(super) changed: Arc<Notify>,
    pub(super) probe_interval: Duration,
    pub(super) tasks: TaskTracker,
    /// Ends all of them.
    pub(super) stop: CancellationToken,
    pub(super) engines: Vec<(Engine, CancellationToken)>,
    pub(super) entries: HashMap<String, (Arc<Entry>, CancellationToken)>,
}

// === impl Keepers ===

impl Keepers {
    /// Makes the tasks those of this configuration.
    pub(super) fn apply(&mut self, setup: &Setup) {
        self.end_unwanted(setup);
        for (entry, engine) in setup.supported() {
            if !self.engines.iter().any(|(known, _)| known.is(engine)) {
                self.engine(engine);
            }
            if !self.entries.contains_key(&entry.name) {
                self.entry(entry);
            }
        }
    }

    fn end_unwanted(&mut self, setup: &Setup) {
        let (manager, tasks) = (&self.manager, &self.tasks);
        self.engines.retain(|(engine, stop)| {
            let stays = setup.supported().any(|(_, other)| other.is(engine));
            if !stays {
                stop.cancel();
                tasks.spawn(
                    self.stop
                        .clone()
                        .run_until_cancelled_owned(retire(manager.clone(), engine.clone())),
                );
            }
            stays
        });
        self.entries.retain(|_, (entry, stop)| {
            let stays = setup.entries.iter().any(|other| Arc::ptr_eq(entry, other));
            if !stays {
                stop.cancel();
            }
            stays
        });
    }

    fn engine(&mut self, engine: &Engine) {
        let stop = self.stop.child_token();
        let probe = self
            .publisher
            .clone()
            .probe(engine.clone(), self.probe_interval, Arc::clone(&self.changed));
        self.tasks.spawn(stop.clone().run_until_cancelled_owned(probe));
        let pins = manager::pins::keep(self.manager.clone(), engine.clone(), stop.clone());
        self.tasks.spawn(pins);
        self.engines.push((engine.clone(), stop));
    }

    fn entry(&mut self, entry: &Arc<Entry>) {
        let stop = self.stop.child_token();
        for index in 0..entry.desired.len() {
            let keep = manager::desired::keep(self.manager.clone(), Arc::clone(entry), index, stop.clone());
            self.tasks.spawn(keep);
        }
        self.entries.insert(entry.name.clone(), (Arc::clone(entry), stop));
    }
}

/// Lets the work on an engine end that is not configured any more, then what it runs.
async fn retire(manager: Manager, engine: Engine) {
    manager.idle(&engine.id).await;
    tracing::info!(
        engine.endpoint = engine.backend.endpoint(),
        "an engine is not configured any more, and is left"
    );
    engine.backend.stop().await;
}
