//! One task an operation: runs the job, ends it exactly once whatever happens.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::FutureExt as _;

use super::{End, Ended, Operations, Record, Work};

/// How long a job that was told to stop may take to clean up before it is dropped where it stands.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// Ends the operation when the driver itself is dropped, as when the runtime goes.
struct Registered<W: Work> {
    operations: Operations<W>,
    record: Arc<Record<W>>,
    ended: bool,
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
        ended: false,
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
    registered.end(end);
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
    fn end(&mut self, end: End<W>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let record = &self.record;
        let (result, cancelled, continues) = match end {
            End::Done(outcome) => (Ok(outcome), false, None),
            End::Failed(failure) => (Err(failure), false, None),
            End::Stopped { continues } => {
                let why = record.stop.why().unwrap_or(super::Why::ShuttingDown);
                (Err(W::stopped(record.id, why)), true, continues)
            }
        };
        let ended = Arc::new(Ended {
            time: SystemTime::now(),
            result,
            cancelled,
            continues,
        });
        // First out of the table, then published: see the module's documentation.
        self.operations.retire(record);
        record.status.send_modify(|status| status.ended = Some(ended));
    }
}

impl<W: Work> Drop for Registered<W> {
    fn drop(&mut self) {
        if !self.ended {
            self.record.stop.request(super::Why::ShuttingDown);
            self.end(End::Stopped { continues: None });
        }
    }
}
