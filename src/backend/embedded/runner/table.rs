//! All instances, and how those ended lately that were not to.

use std::{
    collections::{BTreeMap, VecDeque},
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::Arc,
    time::SystemTime,
};

use super::{instance::Instance, options::Launch, subject::Subject};
use crate::model::{LoadOptions, ModelName};

/// Deaths that are remembered.
const DEATHS: usize = 64;

/// What runs, and what ran.
#[derive(Debug, Default)]
pub(super) struct Table {
    instances: BTreeMap<u64, Arc<Instance>>,
    next: u64,
    deaths: VecDeque<(String, Ended)>,
}

/// How an engine ended that was not to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// When.
    pub time: SystemTime,
    /// Its exit code, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it said last, without paths; at most five lines.
    pub last_lines: Vec<String>,
}

// === impl Table ===

impl Table {
    pub(super) fn all(&self) -> Vec<Arc<Instance>> {
        self.instances.values().cloned().collect()
    }

    /// The one that has this name, wherever it is on its way.
    pub(super) fn named(&self, canonical: &str) -> Option<Arc<Instance>> {
        let has = |instance: &&Arc<Instance>| instance.live().names.contains_key(canonical);
        self.instances.values().rev().find(has).cloned()
    }

    /// One that is alive, of the same files, and runs as is wanted: rather one that has the name already.
    pub(super) fn same(&self, subject: &Subject, asked: &LoadOptions, wanted: &Launch) -> Option<Arc<Instance>> {
        let canonical = subject.name.canonical();
        let fits = |instance: &&Arc<Instance>| {
            instance.is_alive() && instance.subject.files == subject.files && instance.launch.satisfies(asked, wanted)
        };
        let foreign = |instance: &&Arc<Instance>| !instance.live().names.contains_key(&canonical);
        self.instances.values().filter(fits).min_by_key(foreign).cloned()
    }

    pub(super) fn add(&mut self, subject: Subject, launch: Launch) -> Arc<Instance> {
        self.next += 1;
        let completes = subject.completes;
        let instance = Arc::new(Instance::new(self.next, subject, launch, completes));
        self.instances.insert(self.next, Arc::clone(&instance));
        instance
    }

    pub(super) fn forget(&mut self, instance: &Instance) {
        self.instances.remove(&instance.number);
    }

    pub(super) fn died(&mut self, instance: &Instance, how: &Ended) {
        let names: Vec<_> = instance.live().names.keys().cloned().collect();
        for name in names {
            self.deaths.retain(|(known, _)| *known != name);
            self.deaths.push_back((name, how.clone()));
        }
        while self.deaths.len() > DEATHS {
            self.deaths.pop_front();
        }
    }

    /// How the model's engine ended last, until it is loaded again.
    pub(super) fn death(&self, name: &ModelName) -> Option<Ended> {
        let canonical = name.canonical();
        self.deaths
            .iter()
            .find(|(known, _)| *known == canonical)
            .map(|(_, how)| how.clone())
    }

    pub(super) fn revived(&mut self, canonical: &str) {
        self.deaths.retain(|(known, _)| known != canonical);
    }
}

// === impl Ended ===

impl Ended {
    pub(super) fn new(status: ExitStatus, last_lines: Vec<String>) -> Self {
        Self {
            time: SystemTime::now(),
            code: status.code(),
            signal: status.signal(),
            last_lines,
        }
    }
}
