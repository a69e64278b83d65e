//! Long work of ours that waits more than it computes, as a [`Call`].

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, mpsc},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{EVENTS, Job, Reporter, interrupted};
use crate::{
    backend::{Call, Done, Error},
    model::Event,
};

/// What a task that is no longer wanted has to keep what it did so far.
const GRACE: Duration = Duration::from_secs(1);

/// Where a task reports, and whether it is still wanted.
#[derive(Debug, Clone)]
pub struct TaskReporter {
    events: mpsc::Sender<Event>,
    stop: CancellationToken,
    /// Held while what is done cannot be undone.
    last_step: Arc<Mutex<()>>,
}

/// Runs `job` as a task. When it is no longer wanted it may end by itself within a second ([`TaskReporter::unless_stopped`]);
/// then its future is dropped where it waits: what must be undone is undone by guards. A last step that has begun is never
/// dropped ([`TaskReporter::to_the_end`]): the answer to a cancel is true of what was done.
pub fn task<F>(job: impl FnOnce(TaskReporter) -> F) -> Box<dyn Call>
where
    F: Future<Output = Result<Done, Error>> + Send + 'static,
{
    let (events_tx, events) = mpsc::channel(EVENTS);
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let reporter = TaskReporter::new(events_tx, stop.clone());
    let last_step = Arc::clone(&reporter.last_step);
    let job = job(reporter);
    let work = async move {
        let mut job = pin!(job);
        if let Some(ended) = stopped.run_until_cancelled(job.as_mut()).await {
            return ended;
        }
        let late = async {
            sleep(GRACE).await;
            drop(last_step.lock().await);
        };
        tokio::select! {
            biased;
            ended = job => ended,
            () = late => Err(interrupted()),
        }
    };
    Box::new(Job {
        events,
        handle: tokio::spawn(work.in_current_span()),
        stop: stop.drop_guard(),
    })
}

// === impl TaskReporter ===

impl TaskReporter {
    pub(super) fn new(events: mpsc::Sender<Event>, stop: CancellationToken) -> Self {
        Self {
            events,
            stop,
            last_step: Arc::default(),
        }
    }

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

    /// Waits until the work is no longer wanted. For work that must leave in its own way: it has a second, less what it does
    /// then.
    pub async fn stopped(&self) -> Error {
        self.stop.cancelled().await;
        interrupted()
    }

    /// Whether the work is no longer wanted.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// For a part of the work that blocks a thread.
    pub fn blocking(&self) -> Reporter {
        Reporter {
            events: self.events.clone(),
            stop: self.stop.clone(),
        }
    }

    /// The step that cannot be undone, as short as may be: a failure when the work is no longer wanted before it begins, and
    /// else to its end.
    pub async fn to_the_end<T>(&self, step: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let _until_done = self.last_step.lock().await;
        if self.stop.is_cancelled() {
            return Err(interrupted());
        }
        step.await
    }

    /// Reports a count that a later one replaces; dropped when there is no room.
    pub fn count(&self, event: Event) {
        let _full = self.events.try_send(event).is_err();
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::backend::Cancelled;

    fn done() -> Done {
        Done {
            changed: true,
            ..Done::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_last_step_that_has_begun_is_waited_for_and_its_end_is_told() {
        let (begun, begins) = oneshot::channel();
        let (finish, finished) = oneshot::channel::<()>();
        let call = task(|reporter| async move {
            let step = async {
                begun.send(()).unwrap();
                finished.await.unwrap();
                Ok(done())
            };
            reporter.to_the_end(step).await
        });
        begins.await.unwrap();
        let cancelled = tokio::spawn(call.cancel());
        sleep(20 * GRACE).await;
        assert!(!cancelled.is_finished());
        finish.send(()).unwrap();
        let cancelled = cancelled.await.unwrap();
        assert!(
            matches!(cancelled, Cancelled::Ended(Ok(Done { changed: true, .. }))),
            "{cancelled:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_last_step_that_has_not_begun_never_does() {
        let (begun, begins) = oneshot::channel();
        let call = task(|reporter| async move {
            begun.send(()).unwrap();
            sleep(GRACE / 2).await;
            reporter.to_the_end(async { Ok(done()) }).await
        });
        begins.await.unwrap();
        assert!(matches!(call.cancel().await, Cancelled::Stopped));
    }

    #[tokio::test(start_paused = true)]
    async fn other_work_is_dropped_after_a_second() {
        let call = task(|_reporter| std::future::pending());
        let start = tokio::time::Instant::now();
        assert!(matches!(call.cancel().await, Cancelled::Stopped));
        assert_eq!(start.elapsed(), GRACE);
    }
}
