//! From lines of progress to events: the only reader of Ollama's status texts.
//!
//! A text that is not known is told as it is and changes nothing else. A stream may skip any of its lines but the last, which
//! says `success`.

use std::collections::HashMap;

use super::wire::Line;
use crate::{
    backend::text::told,
    model::{Event, Layer, Phase},
};

/// Layers whose sizes are summed; models have a dozen.
const MAX_LAYERS: usize = 1024;

/// Reads the lines of one pull, push or create.
#[derive(Debug, Default)]
pub(super) struct Reader {
    text: String,
    totals: HashMap<String, u64>,
    /// The last line said that it is done.
    pub(super) success: bool,
    /// The layers that Ollama made or found, in its order, without `sha256:`: the model's first.
    pub(super) layers: Vec<String>,
}

// === impl Reader ===

impl Reader {
    /// What a line says.
    pub(super) fn read(&mut self, line: &Line) -> Vec<Event> {
        let status = line.status();
        // A create from another model has the success of its pull in the middle.
        self.success = status == "success";
        let mut events = Vec::new();
        if let Some(phase) = phase(status) {
            events.push(Event::Entered(phase));
        }
        if let Some(layer) = layer(status)
            && self.layers.len() < MAX_LAYERS
        {
            self.layers.push(layer.to_owned());
        }
        if status.starts_with("pulling ") && !line.digest.is_empty() {
            events.push(Event::Entered(Phase::Downloading(Vec::new())));
            events.extend(self.transferred(line));
        } else if status.starts_with("pushing ") && !line.digest.is_empty() {
            events.push(Event::Entered(Phase::Uploading(Vec::new())));
            events.extend(self.transferred(line));
        } else if line.total > 0 {
            // Of a create: the file's bytes, of which so many are told as done as the share of its tensors that is.
            let total = line.total.unsigned_abs();
            events.push(Event::Total(total));
            events.push(Event::Bytes(line.completed.max(0).unsigned_abs().min(total)));
        }
        if !self.success && !status.is_empty() && status != self.text {
            status.clone_into(&mut self.text);
            events.push(Event::Text(told(status)));
        }
        events
    }

    /// Layers come one after the other, each with its size in its first line; so the sum of what is known grows. What is
    /// missing in a line is 0, and what has fallen is not believed: the fold keeps the highest.
    fn transferred(&mut self, line: &Line) -> [Event; 2] {
        let total = line.total.max(0).unsigned_abs();
        if self.totals.len() < MAX_LAYERS || self.totals.contains_key(&line.digest) {
            let known = self.totals.entry(line.digest.clone()).or_default();
            *known = total.max(*known);
        }
        let total = self.totals.get(&line.digest).copied().filter(|&total| total > 0);
        let completed = line.completed.max(0).unsigned_abs();
        let layer = Layer {
            digest: line.digest.clone(),
            completed_bytes: completed.min(total.unwrap_or(u64::MAX)),
            total_bytes: total,
            file_name: String::new(),
        };
        let sum = self
            .totals
            .values()
            .fold(0_u64, |sum, &total| sum.saturating_add(total));
        [Event::Layer(layer), Event::Total(sum)]
    }
}

/// The phase that a text begins or goes on with.
fn phase(status: &str) -> Option<Phase> {
    Some(match status {
        "pulling manifest" | "retrieving manifest" => Phase::Resolving,
        "verifying sha256 digest" | "verifying conversion" => Phase::Verifying,
        "writing manifest" | "pushing manifest" => Phase::Writing,
        "parsing GGUF" => Phase::Parsing,
        "converting model" | "converting adapter" | "validating GGUF model" => Phase::Converting,
        _ => Phase::Quantizing(status.strip_prefix("quantizing ")?.rsplit_once(" to ")?.1.to_owned()),
    })
}

fn layer(status: &str) -> Option<&str> {
    let digest = ["creating new layer ", "using existing layer "]
        .into_iter()
        .find_map(|words| status.strip_prefix(words))?;
    digest.strip_prefix("sha256:")
}

#[cfg(test)]
mod tests;
