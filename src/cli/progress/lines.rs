//! Progress where no bar can be drawn: one line a phase, and now and then one for the bytes.

use std::time::{Duration, Instant};

use super::{bytes, detail, phase_name, text};
use crate::grpc::proto::v1::{PhaseRecord, Progress};

/// Between two lines about the bytes of one phase.
const BETWEEN_BYTES: Duration = Duration::from_secs(5);

/// What has been said.
#[derive(Debug, Default)]
pub(in crate::cli) struct Lines {
    started: bool,
    last: Option<PhaseRecord>,
    bytes_at: Option<Instant>,
}

// === impl Lines ===

impl Lines {
    /// The lines that this snapshot adds. Phases between two snapshots are told as well.
    pub(super) fn show(&mut self, progress: &Progress, now: Instant) -> Vec<String> {
        let mut lines = Vec::new();
        // Who waits for other work has no operation yet.
        if !self.started && !progress.operation_id.is_empty() {
            self.started = true;
            let joined = if progress.joined {
                ", which was running already"
            } else {
                ""
            };
            lines.push(format!("operation {}{joined}", text::printable(&progress.operation_id)));
        }
        for (position, record) in self.unsaid(&progress.phases).iter().enumerate() {
            let mut line = text::printable(&record.phase).into_owned();
            if record.attempt > 1 {
                line = format!("{line} (attempt {})", record.attempt);
            }
            // Only the last one is the present one, which the snapshot describes.
            let detail = detail(progress);
            if position + 1 == self.unsaid(&progress.phases).len() && !detail.is_empty() {
                line = format!("{line}: {detail}");
            }
            lines.push(line);
        }
        if !lines.is_empty() {
            self.bytes_at = Some(now);
        }
        if let Some(record) = progress.phases.last() {
            self.last = Some(record.clone());
        }
        let due = self
            .bytes_at
            .is_none_or(|at| now.saturating_duration_since(at) >= BETWEEN_BYTES);
        let bytes = bytes(progress);
        if due && !bytes.is_empty() {
            self.bytes_at = Some(now);
            lines.push(format!("{}: {bytes}", text::printable(phase_name(progress))));
        }
        lines
    }

    /// The records after the last one that was told.
    fn unsaid<'a>(&self, phases: &'a [PhaseRecord]) -> &'a [PhaseRecord] {
        let told = self
            .last
            .as_ref()
            .and_then(|last| phases.iter().rposition(|record| record == last));
        told.map_or(phases, |told| &phases[told + 1..])
    }
}
