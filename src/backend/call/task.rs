//! Long work of ours that waits more than it computes, as a [`Call`].

use std::{future::Future, pin::pin, time::Duration};

use async_trait::async_trait;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::{EVENTS, Reporter, joined};
use crate::{
    backend::{Call, Cancelled, Done, Error, Kind, Next},
    model::Event,
};

/// What a task that is no longer wanted has to keep what it did so far.
const GRACE: Duration = Duration::from_secs(1);

/// Where a task reports, and whether it is still wanted.
#[derive(Debug, Clone)]
pub struct TaskReporter {
    pub(super) events: mpsc::Sender<Event>,
    pub(super) stop: CancellationToken,
}

/// A task as a call.
#[derive(Debug)]
struct Task {
    events: mpsc::Receiver<Event>,
    job: JoinHandle<Result<Done, Error>>,
    stop: DropGuard,
}

/// Runs `job` as a task. When it is no longer wanted it may end by itself within a second ([`TaskReporter::unless_stopped`]);
/// then its future is dropped where it waits: what must be undone is undone by guards.
pub fn task<F>(job: impl FnOnce(TaskReporter) -> F) -> Box<dyn Call>
where
    F: Future<Output = Result<Done, Error>> + Send + 'static,
{
    let (events_tx, events) = mpsc::channel(EVENTS);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let job = job(TaskReporter {
        events: events_tx,
        stop: stop.clone(),
    });
    let work = async move {
        let mut job = pin!(job);
        match stopped.run_until_cancelled(job.as_mut()).await {
            Some(ended) => ended,
            None => timeout(GRACE, job).await.unwrap_or_else(|_late| Err(interrupted())),
        }
    };
    Box::new(Task {
        events,
        job: tokio::spawn(work.in_current_span()),
        stop: stop.drop_guard(),
    })
}

// === impl TaskReporter ===

impl TaskReporter {
    /// Reports a phase or what must not be missed; waits for room. A follower that has gone stops the task.
    pub async fn report(&self, event: Event) {
        let _gone = self.events.send(event).await.is_err();
    }

    /// The work, or a failure once it is no longer wanted; the work is dropped then.
    pub async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.stop
            .run_until_cancelled(work)
            .await
            .unwrap_or_else(|| Err(interrupted()))
    }

    /// For a part of the work that blocks a thread.
    pub fn blocking(&self) -> Reporter {
        Reporter {
            events: self.events.clone(),
            stop: self.stop.clone(),
        }
    }

    /// Reports a count that a later one replaces; dropped when there is no room.
    pub fn count(&self, event: Event) {
        let _full = self.events.try_send(event).is_err();
    }
}

// === impl Task ===

#[async_trait]
impl Call for Task {
    async fn next(&mut self) -> Next {
        match self.events.recv().await {
            Some(event) => Next::Event(event),
            // The task dropped its reporter: it has ended, or is about to.
            None => Next::Ended(joined((&mut self.job).await)),
        }
    }

    async fn cancel(self: Box<Self>) -> Cancelled {
        let Self { events, job, stop } = *self;
        drop((stop, events));
        match joined(job.await) {
            Err(Error {
                kind: Kind::Interrupted,
                ..
            }) => Cancelled::Stopped,
            ended => Cancelled::Ended(ended),
        }
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Interrupted, "the work was stopped")
}
