//! All instances, and how those ended lately that were not to.

use std::{
    collections::{BTreeMap, VecDeque},
    os::unix::process::ExitStatusExt as _,
    process::ExitStatus,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{instance::Instance, options::Launch, reason, subject::Subject};
use crate::{
    backend::Death,
    model::{LoadOptions, ModelName},
};

/// Deaths that are remembered.
const DEATHS: usize = 64;
/// A process that was ready for so long did not end for the reason for which the one before it did.
const STABLE: Duration = Duration::from_mins(10);

/// What runs, and what ran.
#[derive(Debug, Default)]
pub(super) struct Table {
    instances: BTreeMap<u64, Arc<Instance>>,
    next: u64,
    deaths: VecDeque<Dead>,
}

/// A name whose process ended.
#[derive(Debug)]
struct Dead {
    name: ModelName,
    how: Ended,
    in_a_row: u32,
    /// Loaded since then.
    revived: bool,
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
    /// It had neither answered nor worked for this long, and was killed for that.
    pub hung: Option<Duration>,
}

// === impl Table ===

impl Table {
    pub(super) fn all(&self) -> Vec<Arc<Instance>> {
        self.instances.values().cloned().collect()
    }

    /// The one that has this name, wherever it is on its way.
    pub(super) fn named(&self, name: &ModelName) -> Option<Arc<Instance>> {
        let has = |instance: &&Arc<Instance>| instance.live().names.contains_key(name);
        self.instances.values().rev().find(has).cloned()
    }

    /// One that is alive, of the same files, and runs as is wanted: rather one that has the name already.
    pub(super) fn same(&self, subject: &Subject, asked: &LoadOptions, wanted: &Launch) -> Option<Arc<Instance>> {
        let fits = |instance: &&Arc<Instance>| {
            instance.is_alive() && instance.subject.files == subject.files && instance.launch.satisfies(asked, wanted)
        };
        let foreign = |instance: &&Arc<Instance>| !instance.live().names.contains_key(&subject.name);
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
        let stable = instance.ready_for().is_none_or(|ready| ready >= STABLE);
        let names: Vec<_> = instance.live().names.keys().cloned().collect();
        for name in names {
            let before = self.deaths.iter().position(|dead| dead.name == name);
            let before = before.and_then(|at| self.deaths.remove(at));
            let row = before.filter(|_| !stable).map_or(0, |dead| dead.in_a_row);
            self.deaths.push_back(Dead {
                name,
                how: how.clone(),
                in_a_row: row.saturating_add(1),
                revived: false,
            });
        }
        while self.deaths.len() > DEATHS {
            self.deaths.pop_front();
        }
    }

    /// How the model's engine ended last, until it is loaded again.
    pub(super) fn ended(&self, name: &ModelName) -> Option<Ended> {
        self.dead(name).map(|dead| dead.how.clone())
    }

    /// The same, as those are told who want it back.
    pub(super) fn death(&self, name: &ModelName) -> Option<Death> {
        let dead = self.dead(name)?;
        Some(Death {
            time: dead.how.time,
            in_a_row: dead.in_a_row,
            how: dead.how.told(),
        })
    }

    pub(super) fn revived(&mut self, name: &ModelName) {
        for dead in self.deaths.iter_mut().filter(|dead| dead.name == *name) {
            dead.revived = true;
        }
    }

    /// Somebody took it out of memory: what was before is over.
    pub(super) fn forgive(&mut self, name: &ModelName) {
        self.deaths.retain(|dead| dead.name != *name);
    }

    fn dead(&self, name: &ModelName) -> Option<&Dead> {
        self.deaths.iter().find(|dead| dead.name == *name && !dead.revived)
    }
}

// === impl Ended ===

impl Ended {
    pub(super) fn new(status: ExitStatus, last_lines: Vec<String>, hung: Option<Duration>) -> Self {
        Self {
            time: SystemTime::now(),
            code: status.code(),
            signal: status.signal(),
            last_lines,
            hung,
        }
    }

    /// For callers.
    fn told(&self) -> String {
        if let Some(hung) = self.hung {
            return format!(
                "no answer and no work for {} s, so that it was killed",
                hung.as_secs_f32()
            );
        }
        reason::end_told(self.code, self.signal, &self.last_lines)
    }
}
