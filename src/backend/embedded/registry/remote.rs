//! What a transfer needs of a registry: the bytes of a blob, and what its faults mean.

use std::{fmt, ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::backend::Error;

/// One blob at a registry.
#[async_trait]
pub(crate) trait Remote: fmt::Debug + Send + Sync + 'static {
    /// Opens the bytes of `range`, on a connection that no other open body has. `validator` is what an earlier answer said
    /// of the blob's state (`If-Range`): when that has changed, the whole blob comes.
    ///
    /// Bounded in time up to the first byte of the body. The body itself has no bound: who reads it watches for progress.
    async fn open(&self, range: Range<u64>, validator: Option<&str>) -> Result<Opened, Fault>;
}

/// An open body.
pub(crate) struct Opened {
    /// Where the body begins: the range's start, or 0 from a registry that passes over ranges.
    pub(crate) start: u64,
    /// Bytes of the whole blob, when they were told.
    pub(crate) total: Option<u64>,
    /// A strong validator, when there is one.
    pub(crate) validator: Option<String>,
    /// The bytes. It may end early or never: whoever reads counts.
    pub(crate) body: BoxStream<'static, Result<Bytes, Fault>>,
}

/// Why a registry did not give what it was asked for, and whether asking again can help.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    /// For the caller, once it is final.
    pub(crate) error: Error,
    /// Whether to ask again.
    pub(crate) retry: Retry,
}

/// Whether asking again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// The same question gets the same answer.
    Never,
    /// After a back-off.
    Soon,
    /// Not before this (Retry-After).
    After(Duration),
}

// === impl Opened ===

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("start", &self.start)
            .field("total", &self.total)
            .field("validator", &self.validator)
            .finish_non_exhaustive()
    }
}

// === impl Fault ===

impl Fault {
    /// A fault that no repetition mends.
    pub(crate) fn never(error: Error) -> Self {
        Self {
            error,
            retry: Retry::Never,
        }
    }

    /// A fault that may pass.
    pub(crate) fn soon(error: Error) -> Self {
        Self {
            error,
            retry: Retry::Soon,
        }
    }
}
