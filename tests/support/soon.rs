//! Waits that end: a test fails where it would hang.

// Each test binary that includes this file uses a part of it.
#![allow(dead_code, clippy::expect_used)]

use std::{
    future::Future,
    time::{Duration, Instant},
};

/// No step takes longer, on a busy machine either.
pub(crate) const LONG: Duration = Duration::from_mins(2);

/// What comes of the work, which must end.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, work).await.expect("in time")
}

/// Waits until it is so. For what is told by nothing that could be waited for: a file system, another process, a double.
pub(crate) async fn until(mut so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < LONG, "in time");
        tokio::task::yield_now().await;
    }
}
