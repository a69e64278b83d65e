//! What a job is given: where it reports, and whether it is still wanted.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Record, Why, Work};

/// A job's link to its operation.
pub struct Reporter<W: Work> {
    record: Arc<Record<W>>,
}

/// A request to stop, made at most once; the first reason holds.
#[derive(Debug, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    why: OnceLock<Why>,
}

// === impl Reporter ===

impl<W: Work> Reporter<W> {
    pub(super) fn new(record: Arc<Record<W>>) -> Self {
        Self { record }
    }

    /// The operation's id.
    pub fn id(&self) -> Uuid {
        self.record.id
    }

    /// The work no longer waits.
    pub fn running(&self) {
        self.record
            .status
            .send_if_modified(|status| !std::mem::replace(&mut status.running, true));
    }

    /// Replaces the snapshot by what `fold` makes of it.
    pub fn report(&self, fold: impl FnOnce(W::Progress) -> W::Progress) {
        self.record.status.send_modify(|status| {
            status.progress = Arc::new(fold(W::Progress::clone(&status.progress)));
        });
    }

    /// Reads the snapshot.
    pub fn look<T>(&self, read: impl FnOnce(&W::Progress) -> T) -> T {
        read(&self.record.status.borrow().progress)
    }

    /// Waits until the work is no longer wanted. Cancel-safe.
    pub async fn stopped(&self) -> Why {
        self.record.stop.wait().await
    }
}

impl<W: Work> std::fmt::Debug for Reporter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter").field("id", &self.record.id).finish()
    }
}

// === impl Stop ===

impl Stop {
    pub(super) fn request(&self, why: Why) {
        self.why.get_or_init(|| why);
        self.token.cancel();
    }

    pub(super) async fn wait(&self) -> Why {
        self.token.cancelled().await;
        // Set before the token, always.
        self.why.get().copied().unwrap_or(Why::ShuttingDown)
    }

    pub(super) fn why(&self) -> Option<Why> {
        self.why.get().copied()
    }
}
