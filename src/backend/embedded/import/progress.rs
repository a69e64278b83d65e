//! How much of each of the caller's files is stored and hashed.

use super::check::Input;
use crate::{
    backend::call::Reporter,
    gguf::merge::Piece,
    model::{Event, Layer},
};

/// Bytes between two counts: a few hundred a second at most.
const STEP: u64 = 4 << 20;

/// Follows a position in the stored file back to the files it comes from.
#[derive(Debug)]
pub(super) struct Progress<'a> {
    reporter: &'a Reporter,
    /// Ends of the pieces in the stored file, and the file that each comes from.
    spans: Vec<(u64, Option<usize>)>,
    layers: Vec<Layer>,
    span: usize,
    at: u64,
    told: u64,
}

/// The caller's files as layers of a phase.
pub(super) fn layers(input: &Input) -> Vec<Layer> {
    let layer = |file: &super::check::File| Layer {
        file_name: file.name.clone(),
        total_bytes: Some(file.size()),
        ..Layer::default()
    };
    input.files.iter().map(layer).collect()
}

// === impl Progress ===

impl<'a> Progress<'a> {
    pub(super) fn new(reporter: &'a Reporter, input: &Input) -> Self {
        let mut end = 0;
        let spans = input.pieces.iter().map(|piece| {
            let (len, file) = match piece {
                Piece::Bytes(bytes) => (bytes.len() as u64, None),
                Piece::Range { part, len, .. } => (*len, Some(*part)),
            };
            end += len;
            (end, file)
        });
        Self {
            reporter,
            spans: spans.collect(),
            layers: layers(input),
            span: 0,
            at: 0,
            told: 0,
        }
    }

    /// All before `to` is done.
    pub(super) fn advance(&mut self, to: u64) {
        while let Some(&(end, file)) = self.spans.get(self.span).filter(|_| self.at < to) {
            let reached = to.min(end);
            if let Some(layer) = file.and_then(|file| self.layers.get_mut(file)) {
                layer.completed_bytes += reached - self.at;
                if to - self.told >= STEP {
                    self.told = to;
                    self.reporter.count(Event::Layer(layer.clone()));
                }
            }
            self.at = reached;
            if reached == end {
                self.span += 1;
            }
        }
    }

    /// All is done, headers and paddings included.
    pub(super) fn finish(self) {
        for mut layer in self.layers {
            layer.completed_bytes = layer.total_bytes.unwrap_or(layer.completed_bytes);
            self.reporter.report(Event::Layer(layer));
        }
    }
}
