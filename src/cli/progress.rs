//! Snapshots of an operation, shown: a bar on a terminal, lines elsewhere, nothing when programs read.
//!
//! Rates and remaining times are the server's: it sees every byte, we see some snapshots.

use std::time::Instant;

use super::console::Console;
use crate::grpc::proto::v1::{Progress, progress::Phase};

mod bar;
mod lines;

use self::{bar::Bar, lines::Lines};
use super::text;

/// How snapshots are shown.
pub(super) enum Display {
    /// Programs read the snapshots themselves.
    Silent,
    /// Standard error is a terminal.
    Bar(Bar),
    /// It is a file or a pipe.
    Lines(Lines),
}

// === impl Display ===

impl Display {
    pub(super) fn new(console: &Console, json: bool) -> Self {
        match (json, console.err_is_terminal) {
            (true, _) => Self::Silent,
            (false, true) => Self::Bar(Bar::new()),
            (false, false) => Self::Lines(Lines::default()),
        }
    }

    pub(super) fn show(&mut self, console: &mut Console, progress: &Progress, now: Instant) {
        match self {
            Self::Silent => {}
            Self::Bar(bar) => bar.show(progress),
            Self::Lines(lines) => {
                for line in lines.show(progress, now) {
                    console.note(line);
                }
            }
        }
    }

    /// Leaves the terminal to what comes next.
    pub(super) fn clear(&mut self) {
        if let Self::Bar(bar) = self {
            bar.clear();
        }
    }
}

/// The present phase's name, as the snapshot's field has it; of a phase that this version does not know, as the record
/// of phases tells it.
pub(super) fn phase_name(progress: &Progress) -> &str {
    match &progress.phase {
        Some(Phase::Queued(_)) => "queued",
        Some(Phase::Resolving(_)) => "resolving",
        Some(Phase::Hashing(_)) => "hashing",
        Some(Phase::Uploading(_)) => "uploading",
        Some(Phase::Downloading(_)) => "downloading",
        Some(Phase::Verifying(_)) => "verifying",
        Some(Phase::Parsing(_)) => "parsing",
        Some(Phase::Converting(_)) => "converting",
        Some(Phase::Quantizing(_)) => "quantizing",
        Some(Phase::Writing(_)) => "writing",
        Some(Phase::Loading(_)) => "loading",
        Some(Phase::Warming(_)) => "warming",
        Some(Phase::Unloading(_)) => "unloading",
        Some(Phase::Engine(_)) => "engine",
        None => progress.phases.last().map_or("working", |record| &record.phase),
    }
}

/// What the phase is about, for people; empty when its name says it all.
pub(super) fn detail(progress: &Progress) -> String {
    let detail = match &progress.phase {
        Some(Phase::Queued(queued)) if queued.position > 0 => format!("place {}", queued.position),
        Some(Phase::Hashing(hashing)) => hashing.file_names.first().cloned().unwrap_or_default(),
        Some(Phase::Uploading(up)) => layers(up.layers.len()),
        Some(Phase::Downloading(down)) => layers(down.layers.len()),
        Some(Phase::Quantizing(quantizing)) => quantizing.level.clone(),
        Some(Phase::Loading(loading)) => match loading.fraction {
            Some(fraction) => format!("{:.0}%", fraction.clamp(0.0, 1.0) * 100.0),
            None => String::new(),
        },
        _ => String::new(),
    };
    let detail = if detail.is_empty() {
        &progress.engine_text
    } else {
        &detail
    };
    text::printable(detail).into_owned()
}

fn layers(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => "1 layer".to_owned(),
        _ => format!("{count} layers"),
    }
}

/// `1.2 GB of 4.7 GB (25%), 35 MB/s, 1m 40s left`, as far as it is known; empty without bytes.
pub(super) fn bytes(progress: &Progress) -> String {
    let done = progress.completed_bytes.max(0);
    let mut parts = match progress.total_bytes {
        Some(total) if total > 0 => vec![format!(
            "{} of {} ({}%)",
            text::size(done),
            text::size(total),
            percent(done, total)
        )],
        _ if done > 0 => vec![text::size(done)],
        _ => return String::new(),
    };
    // When all is there nothing is on its way any more.
    let moves = progress.total_bytes.is_none_or(|total| done < total);
    if let Some(rate) = progress.bytes_per_second.filter(|rate| moves && *rate > 0) {
        parts.push(format!("{}/s", text::size(rate)));
    }
    if let Some(remaining) = progress.remaining.as_ref().filter(|_| moves) {
        parts.push(format!("{} left", text::duration(remaining.seconds)));
    }
    parts.join(", ")
}

/// From 0 to 100, whatever a server says; rounded down, so that 100 means all.
fn percent(done: i64, total: i64) -> i128 {
    (i128::from(done) * 100 / i128::from(total.max(1))).clamp(0, 100)
}

#[cfg(test)]
mod tests;
