//! Who may take memory: admission of one model after the other, and whom it displaces.
//!
//! A model is refused at once when it would not fit even if all that may leave had left. Else the least recently used ones
//! leave, one at a time, until it fits: never one that is pinned, at work, or on its way.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    Shared,
    instance::{Ask, Instance, State},
    keeper, memory,
};
use crate::backend::{Error, Kind};

/// So often is looked whether memory has come back.
const LOOK: Duration = Duration::from_millis(20);

/// What stands against one more model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Short {
    /// Models at a time.
    Count(usize),
    /// Bytes that the operator allows: left, of all.
    Limit(u64, u64),
    /// Bytes that machine or cgroup have left.
    Memory(u64),
}

/// What an instance takes from the sums.
#[derive(Debug, Clone, Copy)]
struct Load {
    total: u64,
    /// Mapped: the kernel counts it as free, and it is not.
    mapped: u64,
    /// Not yet taken, and promised.
    promised: u64,
}

/// Waits until there is room, and takes it.
pub(super) async fn admit(shared: &Shared, instance: &Instance) -> Result<(), Error> {
    let mut asked = instance.asked();
    let work = async {
        let _one_at_a_time = shared.admission.lock().await;
        let mut patience = Instant::now();
        loop {
            let others = others(shared, instance);
            let Some(short) = short(shared, instance, &others) else {
                instance.admitted.store(true, Ordering::Release);
                return Ok(());
            };
            // Those on their way become ready or end; only then is it known what they take.
            if let Some(unsettled) = others.iter().find(|other| other.is_moving()) {
                settled(unsettled).await;
                patience = Instant::now() + shared.settings.limits.memory;
                continue;
            }
            if let Some(victim) = victim(shared, instance, &others).await {
                tracing::info!(model = %victim.subject.name, for_model = %instance.subject.name, "the model makes room");
                victim.ask(Ask::Drain);
                settled(&victim).await;
                patience = Instant::now() + shared.settings.limits.memory;
                continue;
            }
            // What has just left may not be counted yet.
            if matches!(short, Short::Memory(_)) && Instant::now() < patience {
                sleep(LOOK).await;
                continue;
            }
            return Err(refused(instance, short));
        }
    };
    tokio::select! {
        done = work => done,
        _ = asked.wait_for(|&ask| ask > Ask::Stay) => Err(instance.interrupted()),
    }
}

/// All others that have, or may take, memory.
fn others(shared: &Shared, instance: &Instance) -> Vec<Arc<Instance>> {
    let mut all = shared.table().all();
    all.retain(|other| other.number != instance.number && other.is_admitted());
    all
}

/// What there is too little of, if these stay.
fn short(shared: &Shared, instance: &Instance, stay: &[Arc<Instance>]) -> Option<Short> {
    let loads: Vec<_> = stay.iter().map(|other| load(other)).collect();
    judge(&Bounds::of(shared), instance.estimate.total(), &loads)
}

/// What there is for all models.
struct Bounds {
    count: Option<usize>,
    limit: Option<u64>,
    available: Option<u64>,
}

fn judge(bounds: &Bounds, need: u64, loads: &[Load]) -> Option<Short> {
    let sum = |part: fn(&Load) -> u64| loads.iter().map(part).fold(0, u64::saturating_add);
    if bounds.count.is_some_and(|most| loads.len() >= most) {
        return bounds.count.map(Short::Count);
    }
    if let Some(limit) = bounds.limit {
        let left = limit.saturating_sub(sum(|load| load.total));
        if need > left {
            return Some(Short::Limit(left, limit));
        }
    }
    let available = bounds.available?;
    let left = available.saturating_sub(sum(|load| load.mapped.saturating_add(load.promised)));
    (need > left).then_some(Short::Memory(left))
}

fn load(instance: &Instance) -> Load {
    let estimate = instance.estimate;
    let total = estimate.total();
    let promised = if instance.is_ready() {
        0
    } else {
        total - estimate.weights
    };
    Load {
        total,
        mapped: estimate.weights,
        promised,
    }
}

/// The next that may leave, if that can help at all.
async fn victim(shared: &Shared, instance: &Instance, others: &[Arc<Instance>]) -> Option<Arc<Instance>> {
    let mut may_leave = Vec::new();
    for other in others {
        let pinned = other.patience(shared.settings.keep_alive).is_none();
        if !pinned && keeper::look(other).await.is_some_and(|slots| !slots.busy) {
            may_leave.push(Arc::clone(other));
        }
    }
    let stay: Vec<_> = others
        .iter()
        .filter(|other| may_leave.iter().all(|leaves| leaves.number != other.number))
        .map(|other| load(other))
        .collect();
    let mut bounds = Bounds::of(shared);
    // What they have of their own comes back; their mapped pages are in the sum of what is free already.
    let back = may_leave
        .iter()
        .map(|leaves| leaves.estimate.total() - leaves.estimate.weights);
    bounds.available = bounds.available.map(|free| back.fold(free, u64::saturating_add));
    if judge(&bounds, instance.estimate.total(), &stay).is_some() {
        return None;
    }
    may_leave.into_iter().min_by_key(|leaves| leaves.live().used)
}

/// Ready, or gone, or stuck.
async fn settled(instance: &Instance) {
    let leaves = *instance.asked().borrow() > Ask::Stay;
    let done =
        |state: &State| matches!(state, State::Gone(_) | State::Stuck) || (!leaves && matches!(state, State::Ready));
    let _gone = instance.state().wait_for(done).await.is_err();
}

fn refused(instance: &Instance, short: Short) -> Error {
    let estimate = instance.estimate;
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let need = format!(
        "model `{}` needs about {} MiB (weights {}, repacked {}, cache of {} tokens {}, computing {})",
        instance.subject.name,
        mib(estimate.total()),
        mib(estimate.weights),
        mib(estimate.repacked),
        instance.launch.context,
        mib(estimate.cache),
        mib(estimate.compute),
    );
    let have = match short {
        Short::Count(most) => {
            format!("{most} models are in memory, the most that the operator allows, and none may leave")
        }
        Short::Limit(left, all) => format!(
            "{need}, and {} MiB of the operator's limit of {} MiB are left",
            mib(left),
            mib(all)
        ),
        Short::Memory(left) => format!("{need}, and {} MiB of memory are left", left >> 20),
    };
    let way_out = "; unload a model, or ask for a shorter context";
    Error::new(Kind::OutOfMemory, have + way_out)
}

// === impl Bounds ===

impl Bounds {
    fn of(shared: &Shared) -> Self {
        Self {
            count: shared.settings.max_loaded.map(std::num::NonZeroUsize::get),
            limit: shared.settings.memory_limit,
            available: memory::available(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Bounds = Bounds {
        count: None,
        limit: None,
        available: Some(1000),
    };
    const LOAD: Load = Load {
        total: 300,
        mapped: 200,
        promised: 0,
    };

    #[test]
    fn mapped_weights_are_not_free_although_the_kernel_says_so() {
        assert_eq!(judge(&ALL, 800, &[LOAD]), None);
        assert_eq!(judge(&ALL, 801, &[LOAD]), Some(Short::Memory(800)));
        let loading = Load { promised: 100, ..LOAD };
        assert_eq!(judge(&ALL, 701, &[loading]), Some(Short::Memory(700)));
    }

    #[test]
    fn the_operators_bounds_come_first() {
        let bounds = Bounds {
            count: Some(2),
            limit: Some(500),
            ..ALL
        };
        assert_eq!(judge(&bounds, 200, &[LOAD]), None);
        assert_eq!(judge(&bounds, 201, &[LOAD]), Some(Short::Limit(200, 500)));
        assert_eq!(judge(&bounds, 1, &[LOAD, LOAD]), Some(Short::Count(2)));
    }

    #[test]
    fn nothing_known_refuses_nothing() {
        let bounds = Bounds { available: None, ..ALL };
        assert_eq!(judge(&bounds, u64::MAX, &[LOAD]), None);
    }
}
