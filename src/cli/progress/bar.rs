//! Progress on a terminal: one bar for the present phase; past phases stay above it as lines.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{bytes, detail, phase_name, text};
use crate::grpc::proto::v1::Progress;

/// Between two turns of the spinner, which shows that we live while an engine is silent.
const TICK: Duration = Duration::from_millis(200);

/// The bar and what it shows.
#[derive(Debug)]
pub(in crate::cli) struct Bar {
    drawn: ProgressBar,
    phase: String,
    counted: Option<bool>,
}

// === impl Bar ===

impl Bar {
    pub(super) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(style(false));
        bar.enable_steady_tick(TICK);
        Self {
            drawn: bar,
            phase: String::new(),
            counted: None,
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let phase = text::printable(phase_name(progress)).into_owned();
        if phase != self.phase {
            if !self.phase.is_empty() {
                self.drawn.println(format!("  {}", self.phase));
            }
            self.drawn.set_prefix(phase.clone());
            self.phase = phase;
        }
        let total = progress
            .total_bytes
            .and_then(|total| u64::try_from(total).ok())
            .filter(|total| *total > 0);
        if self.counted != Some(total.is_some()) {
            self.counted = Some(total.is_some());
            self.drawn.set_style(style(total.is_some()));
        }
        if let Some(total) = total {
            self.drawn.set_length(total);
            self.drawn
                .set_position(u64::try_from(progress.completed_bytes).unwrap_or(0).min(total));
        }
        self.drawn.set_message(message(progress));
    }

    pub(super) fn clear(&mut self) {
        self.drawn.finish_and_clear();
    }
}

fn message(progress: &Progress) -> String {
    let parts = [bytes(progress), detail(progress)];
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("  ")
}

fn style(counted: bool) -> ProgressStyle {
    ProgressStyle::with_template(template(counted))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

/// Figures are in the message, which fits a line of 80 beside the longest phase; the bar draws the share only.
fn template(counted: bool) -> &'static str {
    if counted {
        "{spinner} {prefix:11} [{bar:12}] {wide_msg}"
    } else {
        "{spinner} {prefix:11} {wide_msg}"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_valid() {
        for counted in [true, false] {
            assert!(ProgressStyle::with_template(template(counted)).is_ok());
        }
    }
}
