//! Who may work now, and who is next.
//!
//! Who waits is alive, and says so ([`waiting`]): the work before may rightly take hours, and its own follower ends it when
//! nothing moves.

use std::{
    collections::BTreeSet,
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};

use crate::{
    backend::call::TaskReporter,
    model::{Event, Phase},
};

/// Between two signs of life of who waits; far less than the quarter of an hour after which a follower gives up.
const ALIVE: Duration = Duration::from_secs(30);

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

/// Waits for something that may take as long as it must. Who waits says that it is alive meanwhile.
pub(in crate::backend) async fn waiting<T>(reporter: &TaskReporter, thing: impl Future<Output = T>) -> T {
    let mut thing = pin!(thing);
    loop {
        if let Ok(thing) = timeout(ALIVE, &mut thing).await {
            return thing;
        }
        reporter.report(Event::Alive).await;
    }
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
        waiting(reporter, self.queued(reporter, places().acquire_owned())).await
    }

    async fn queued(
        &self,
        reporter: &TaskReporter,
        place: impl Future<Output = Result<OwnedSemaphorePermit, AcquireError>>,
    ) -> Option<OwnedSemaphorePermit> {
        let ticket = Ticket::draw(self);
        let mut queue = self.queue.subscribe();
        let mut place = pin!(place);
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

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::backend::{Done, Error, Kind, Next, call};

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_hours_is_told_alive_and_has_its_turn() {
        let turns = Arc::new(Turns::new(1));
        let first = Arc::clone(&turns.places).try_acquire_owned().unwrap();
        tokio::spawn(async move {
            sleep(Duration::from_hours(2)).await;
            drop(first);
        });
        let mut second = call::task(|reporter| async move {
            let place = turns.take(&reporter).await;
            let none = || Error::new(Kind::Internal, "no place");
            place.map(|_place| Done::default()).ok_or_else(none)
        });
        let (start, mut last) = (Instant::now(), Instant::now());
        let mut told = Vec::new();
        loop {
            let next = second.next().await;
            assert!(last.elapsed() <= ALIVE, "{:?} without a word", last.elapsed());
            last = Instant::now();
            match next {
                Next::Event(event) => told.push(event),
                Next::Ended(ended) => break drop(ended.unwrap()),
            }
        }
        assert_eq!(start.elapsed(), Duration::from_hours(2));
        assert_eq!(told.remove(0), Event::Entered(Phase::Queued(1)));
        assert!(told.iter().all(|event| *event == Event::Alive), "{told:?}");
    }
}
