//! Work of an engine that cannot stop it once it has begun, as a [`Call`].

use std::future::Future;

use async_trait::async_trait;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument as _;

use super::{EVENTS, TaskReporter, joined};
use crate::backend::{Call, Cancelled, Done, Error, Kind, Next};

/// Where a job tells that it cannot be stopped any more.
#[derive(Debug)]
pub struct PointOfNoReturn(watch::Sender<Option<String>>);

/// A job that outlives its follower, as a call.
#[derive(Debug)]
struct Draining {
    events: mpsc::Receiver<crate::model::Event>,
    job: JoinHandle<Result<Done, Error>>,
    stop: DropGuard,
    passed: watch::Receiver<Option<String>>,
}

/// Runs `job` as a task. Up to the point of no return it ends soon after it is no longer wanted
/// ([`TaskReporter::unless_stopped`]); after it, it goes on to its end, followed or not.
pub fn draining<F>(job: impl FnOnce(TaskReporter, PointOfNoReturn) -> F) -> Box<dyn Call>
where
    F: Future<Output = Result<Done, Error>> + Send + 'static,
{
    let (events_tx, events) = mpsc::channel(EVENTS);
    let (passed_tx, passed) = watch::channel(None);
    let stop = CancellationToken::new();
    let reporter = TaskReporter::new(events_tx, stop.clone());
    let work = job(reporter, PointOfNoReturn(passed_tx));
    Box::new(Draining {
        events,
        job: tokio::spawn(work.in_current_span()),
        stop: stop.drop_guard(),
        passed,
    })
}

// === impl PointOfNoReturn ===

impl PointOfNoReturn {
    /// From now on it goes on: what does, in words.
    pub fn pass(&self, what: impl Into<String>) {
        self.0.send_replace(Some(what.into()));
    }
}

// === impl Draining ===

#[async_trait]
impl Call for Draining {
    async fn next(&mut self) -> Next {
        match self.events.recv().await {
            Some(event) => Next::Event(event),
            // The job dropped its reporter: it has ended, or is about to.
            None => Next::Ended(joined((&mut self.job).await)),
        }
    }

    async fn cancel(self: Box<Self>) -> Cancelled {
        let Self {
            events,
            mut job,
            stop,
            mut passed,
        } = *self;
        drop((stop, events));
        let goes_on = async {
            let what = passed.wait_for(Option::is_some).await.map(|what| what.clone());
            match what {
                Ok(what) => what.unwrap_or_default(),
                // The job has ended, and says so itself.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            ended = &mut job => match joined(ended) {
                Err(Error { kind: Kind::Interrupted, .. }) => Cancelled::Stopped,
                ended => Cancelled::Ended(ended),
            },
            what = goes_on => Cancelled::GoesOn(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn before_the_point_it_stops() {
        let call = draining(|reporter, _point| async move {
            let never = std::future::pending::<Result<Done, Error>>();
            reporter.unless_stopped(never).await
        });
        assert!(matches!(call.cancel().await, Cancelled::Stopped));
    }

    #[tokio::test]
    async fn after_the_point_it_goes_on_to_its_end() {
        let (go, wait) = oneshot::channel::<()>();
        let (done, ended) = oneshot::channel::<bool>();
        let call = draining(|reporter, point| async move {
            point.pass("the rest");
            let _gone = wait.await.is_err();
            // Nobody listens, and nobody is waited for.
            for _ in 0..2 * EVENTS {
                reporter.report(crate::model::Event::Bytes(1)).await;
            }
            let _left = done.send(true).is_err();
            Ok(Done::default())
        });
        match call.cancel().await {
            Cancelled::GoesOn(what) => assert_eq!(what, "the rest"),
            other => panic!("{other:?}"),
        }
        go.send(()).unwrap();
        assert!(ended.await.unwrap());
    }

    #[tokio::test]
    async fn what_is_over_is_told_as_it_ended() {
        let (told, over) = oneshot::channel::<()>();
        let mut call = draining(|_reporter, point| async move {
            point.pass("the rest");
            drop(told);
            Ok(Done::default())
        });
        assert!(matches!(call.next().await, Next::Ended(Ok(_))));
        assert!(over.await.is_err());
    }
}
