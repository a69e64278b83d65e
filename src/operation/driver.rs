//! One task an operation: runs the job, ends it exactly once whatever happens.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use futures::FutureExt as _;

use super::{End, Ended, Operations, Record, Why, Work, journal::Line};

/// How long a job that was told to stop may take to clean up before it is dropped where it stands.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Ends the operation when the driver itself is dropped, as when the runtime goes.
struct Registered<W: Work> {
    operations: Operations<W>,
    record: Arc<Record<W>>,
    /// What is to be published, while it is being recorded.
    end: Option<Arc<Ended<W>>>,
    published: bool,
    began: Instant,
}

/// Runs `job` to its end. The task ends when the job does, or [`STOP_GRACE`] after it was told to stop.
pub(super) async fn drive<W, F>(operations: Operations<W>, record: Arc<Record<W>>, job: F)
where
    W: Work,
    F: Future<Output = End<W>> + Send,
{
    let mut registered = Registered {
        operations,
        record: Arc::clone(&record),
        end: None,
        published: false,
        began: Instant::now(),
    };
    let overdue = async {
        record.stop.wait().await;
        tokio::time::sleep(STOP_GRACE).await;
    };
    let end = tokio::select! {
        end = AssertUnwindSafe(job).catch_unwind() => end.unwrap_or_else(|panic| {
            tracing::error!(operation.id = %record.id, panic = panic_text(&*panic), "operation broke off by a panic");
            End::Failed(W::fault(record.id))
        }),
        () = overdue => {
            tracing::error!(operation.id = %record.id, "operation did not stop in time and was dropped");
            End::Stopped { continues: Some("what the engine was doing: it did not confirm that it stopped".to_owned()) }
        }
    };
    registered.end(end).await;
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

// === impl Registered ===

impl<W: Work> Registered<W> {
    async fn end(&mut self, end: End<W>) {
        let (ended, line) = self.decide(end);
        self.end = Some(ended);
        if let (Some(journal), Some(line)) = (self.operations.journal(), line) {
            journal.write(line).await;
        }
        self.publish();
    }

    /// The end, and what the journal is told of it: nothing when the successor is to take the operation up.
    fn decide(&self, end: End<W>) -> (Arc<Ended<W>>, Option<Line>) {
        let record = &self.record;
        let mut suspended = false;
        let (result, cancelled, continues) = match end {
            End::Done(outcome) => (Ok(outcome), false, None),
            End::Failed(failure) => (Err(failure), false, None),
            End::Stopped { continues } => {
                let why = record.stop.why().unwrap_or(Why::ShuttingDown);
                suspended = why == Why::ShuttingDown;
                (Err(W::stopped(record.id, why)), true, continues)
            }
        };
        let ended = Arc::new(Ended {
            time: SystemTime::now(),
            result,
            cancelled,
            suspended,
            continues,
        });
        let recorded = !suspended && self.operations.journal().is_some();
        let line = recorded.then(|| record.line_of(&record.progress(), &ended));
        (ended, line.flatten())
    }

    fn publish(&mut self) {
        let Some(ended) = self.end.take() else { return };
        self.published = true;
        W::ended(&self.record.label, self.began.elapsed(), &ended);
        // First out of the table, then published: see the module's documentation.
        self.operations.retire(&self.record);
        self.record.status.send_modify(|status| status.ended = Some(ended));
    }
}

impl<W: Work> Drop for Registered<W> {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        if self.end.is_none() {
            self.record.stop.request(Why::ShuttingDown);
            let (ended, line) = self.decide(End::Stopped { continues: None });
            self.end = Some(ended);
            if let (Some(journal), Some(line)) = (self.operations.journal(), line) {
                journal.push(line);
            }
        }
        self.publish();
    }
}
