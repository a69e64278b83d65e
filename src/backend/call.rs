//! Long work of ours as a [`Call`]: on a blocking thread here, as a task in `task`, as one that cannot be stopped in `draining`.

use async_trait::async_trait;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Call, Cancelled, Done, Error, Kind, Next};
use crate::model::Event;

mod draining;
mod task;

pub use self::{
    draining::{PointOfNoReturn, draining},
    task::{TaskReporter, task},
};

/// Events on their way to the follower. When it is slow, byte counts are dropped (a later one says more) and phases wait.
const EVENTS: usize = 64;

/// What a blocking job is given: where it reports, and whether it is still wanted.
#[derive(Debug, Clone)]
pub struct Reporter {
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
}

/// A job that runs, blocking or not, as a call.
#[derive(Debug)]
struct Job {
    events: mpsc::Receiver<Event>,
    handle: JoinHandle<Result<Done, Error>>,
    stop: DropGuard,
}

/// Runs `job` on a blocking thread. It ends when its work is done, or soon after it is no longer wanted: the job asks
/// [`Reporter::check`] at least once a megabyte.
pub fn blocking(job: impl FnOnce(Reporter) -> Result<Done, Error> + Send + 'static) -> Box<dyn Call> {
    let (events_tx, events) = mpsc::channel(EVENTS);
    let stop = CancellationToken::new();
    let reporter = Reporter {
        events: events_tx,
        stop: stop.clone(),
    };
    let span = tracing::Span::current();
    let job = tokio::task::spawn_blocking(move || span.in_scope(|| job(reporter)));
    Box::new(Job {
        events,
        handle: job,
        stop: stop.drop_guard(),
    })
}

// === impl Reporter ===

impl Reporter {
    /// Reports a phase or what must not be missed; waits for room.
    pub fn report(&self, event: Event) {
        // A follower that has gone is noticed by `check`.
        let _gone = self.events.blocking_send(event).is_err();
    }

    /// Reports a count that a later one replaces; dropped when there is no room.
    pub fn count(&self, event: Event) {
        let _full = self.events.try_send(event).is_err();
    }

    /// Fails once the work is no longer wanted.
    pub fn check(&self) -> Result<(), Error> {
        if self.stop.is_cancelled() {
            return Err(interrupted());
        }
        Ok(())
    }
}

// === impl Job ===

#[async_trait]
impl Call for Job {
    async fn next(&mut self) -> Next {
        match self.events.recv().await {
            Some(event) => Next::Event(event),
            // The job dropped its reporter: it has ended, or is about to.
            None => Next::Ended(joined((&mut self.handle).await)),
        }
    }

    async fn cancel(self: Box<Self>) -> Cancelled {
        let Self { events, handle, stop } = *self;
        // Nobody reads: a job that waits for room must not wait for ever.
        drop((stop, events));
        match joined(handle.await) {
            Err(Error {
                kind: Kind::Interrupted,
                ..
            }) => Cancelled::Stopped,
            ended => Cancelled::Ended(ended),
        }
    }
}

fn joined(ended: Result<Result<Done, Error>, tokio::task::JoinError>) -> Result<Done, Error> {
    ended.unwrap_or_else(|error| {
        Err(Error::new(Kind::Internal, "the work broke off by a fault of this service").because(error))
    })
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "the work was stopped")
}
