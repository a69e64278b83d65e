//! How much a download may take, and how long it may wait.

use std::time::Duration;

/// Bounds of all downloads of one store.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of one blob, at least 1. Default 24: a link with 40 ms and 0.1 % loss carries some 12 Mbit/s on each.
    pub connections_per_blob: usize,
    /// Connections of all blobs together, at least those of one. Default 32. Each may hold most of a megabyte.
    pub connections: usize,
    /// Bytes that one request asks for at most, at least 1. Default 16 MiB.
    pub part: u64,
    /// Bytes that one request asks for at least, 1 to `part`: more is taken as that. A blob of fewer comes with one request, and towards the end
    /// of a blob the parts shrink to this, so that all connections end together. Default 1 MiB: over
    /// slow connections the last part is waited for alone, and each request costs a round trip.
    pub smallest_part: u64,
    /// Bytes that a connection gathers before they are written, at least 1. Default 64 KiB: a killed process loses what
    /// all its connections hold.
    pub batch: usize,
    /// Bytes written after which a small blob's partial file is recorded, at least 1; for larger ones it is 1/512 of the
    /// blob up to 64 MiB. A killed process loses at most twice that and a batch a connection. Default 2 MiB.
    pub record: u64,
    /// A connection that brings nothing for so long is replaced. Default 20 s.
    pub stall: Duration,
    /// A blob that gains nothing for so long, whatever is tried, fails; so does one whose registry asks for a longer
    /// wait. Default 5 min.
    pub no_progress: Duration,
    /// Tries in a row without a byte gained before a blob fails, at least 1. Default 10.
    pub tries: usize,
    /// The first wait before another try; later ones double, each with jitter. Default 500 ms.
    pub first_wait: Duration,
    /// The longest such wait, but for what the registry asks for. Default 30 s.
    pub longest_wait: Duration,
}

// === impl Limits ===

impl Limits {
    /// With each value in its range.
    pub(in super::super) fn sound(mut self) -> Self {
        for count in [
            &mut self.connections_per_blob,
            &mut self.connections,
            &mut self.batch,
            &mut self.tries,
        ] {
            *count = (*count).max(1);
        }
        for bytes in [&mut self.part, &mut self.record] {
            *bytes = (*bytes).max(1);
        }
        self.connections = self.connections.max(self.connections_per_blob);
        self.smallest_part = self.smallest_part.clamp(1, self.part);
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_per_blob: 24,
            connections: 32,
            part: 16 << 20,
            smallest_part: 1 << 20,
            batch: 64 << 10,
            record: 2 << 20,
            stall: Duration::from_secs(20),
            no_progress: Duration::from_mins(5),
            tries: 10,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
        }
    }
}
