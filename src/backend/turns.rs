//! Who may work now, and who is next.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    backend::call::TaskReporter,
    model::{Event, Phase},
};

/// A few places, and a queue before them in the order of arrival.
#[derive(Debug)]
pub(in crate::backend) struct Turns {
    places: Arc<Semaphore>,
    arrived: AtomicU64,
    /// The numbers of those who wait.
    queue: watch::Sender<BTreeSet<u64>>,
}

/// A place in the queue. Dropping it is leaving.
struct Ticket<'a> {
    turns: &'a Turns,
    number: u64,
}

// === impl Turns ===

impl Turns {
    pub(in crate::backend) fn new(places: usize) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places.max(1))),
            arrived: AtomicU64::default(),
            queue: watch::Sender::default(),
        }
    }

    /// Waits for a place, and reports how far off it is. The place is free again when the permit is dropped; None only if
    /// places were closed, which nobody does.
    pub(in crate::backend) async fn take(&self, reporter: &TaskReporter) -> Option<OwnedSemaphorePermit> {
        let places = || Arc::clone(&self.places);
        if let Ok(place) = places().try_acquire_owned() {
            return Some(place);
        }
        let ticket = Ticket::draw(self);
        let mut queue = self.queue.subscribe();
        let mut place = std::pin::pin!(places().acquire_owned());
        let mut told = None;
        loop {
            let ahead = queue.borrow_and_update().range(..ticket.number).count();
            let position = u32::try_from(ahead + 1).unwrap_or(u32::MAX);
            if told != Some(position) {
                told = Some(position);
                reporter.report(Event::Entered(Phase::Queued(position))).await;
            }
            tokio::select! {
                place = &mut place => return place.ok(),
                _ = queue.changed() => {}
            }
        }
    }
}

// === impl Ticket ===

impl<'a> Ticket<'a> {
    fn draw(turns: &'a Turns) -> Self {
        let number = turns.arrived.fetch_add(1, Ordering::Relaxed);
        turns.queue.send_modify(|queue| {
            queue.insert(number);
        });
        Self { turns, number }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.turns.queue.send_modify(|queue| {
            queue.remove(&self.number);
        });
    }
}
