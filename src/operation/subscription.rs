//! A caller's place at an operation, and a watcher's.

use std::sync::Arc;

use tokio::sync::watch;
use uuid::Uuid;

use super::{Operations, Record, Status, Work};

/// A caller that follows an operation. Dropping it is leaving; what that does was said when it came.
pub struct Subscription<W: Work> {
    operations: Operations<W>,
    id: Uuid,
    key: W::Key,
    joined: bool,
    status: watch::Receiver<Status<W>>,
}

/// Somebody who follows an operation and has no say in what becomes of it: counted while this is there.
#[derive(Debug)]
pub struct Watcher {
    _counted: Arc<()>,
}

// === impl Subscription ===

impl<W: Work> Subscription<W> {
    pub(super) fn new(
        operations: Operations<W>,
        id: Uuid,
        key: W::Key,
        joined: bool,
        status: watch::Receiver<Status<W>>,
    ) -> Self {
        Self {
            operations,
            id,
            key,
            joined,
            status,
        }
    }

    /// The operation's id.
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// Whether it was running already.
    pub fn joined(&self) -> bool {
        self.joined
    }

    /// The value that changes.
    pub fn status(&mut self) -> &mut watch::Receiver<Status<W>> {
        &mut self.status
    }
}

impl<W: Work> Drop for Subscription<W> {
    fn drop(&mut self) {
        self.operations.leave(self.id, &self.key);
    }
}

impl<W: Work> std::fmt::Debug for Subscription<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("id", &self.id)
            .field("joined", &self.joined)
            .finish_non_exhaustive()
    }
}

// === impl Watcher ===

impl Watcher {
    pub(super) fn of<W: Work>(record: &Record<W>) -> Self {
        Self {
            _counted: Arc::clone(&record.watchers),
        }
    }
}
