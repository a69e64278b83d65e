//! How far an operation has come: one complete snapshot, made by a pure fold over what the engine reports.
//!
//! A reader may miss snapshots, for only the newest is kept; so byte counts are latest-value, while the phases passed are part
//! of the snapshot and nobody misses one. Within an attempt and phase bytes never fall, whatever the engine says.

use std::{
    borrow::Cow,
    collections::VecDeque,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize};

use super::{Plan, stored};

/// The newest phases that a snapshot keeps.
const MAX_PHASES: usize = 32;
/// Layers or files of one phase that are followed one by one; further ones still count in the sums.
const MAX_LAYERS: usize = 1024;
/// The rate is taken over this much of the past: long enough to be calm, short enough to follow a change of speed.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// No rate before this much was seen, and samples no closer than a tenth of it.
const RATE_MINIMUM: Duration = Duration::from_secs(1);

/// All that [`Phase::name`] says.
const NAMES: [&str; 14] = [
    "queued",
    "resolving",
    "hashing",
    "uploading",
    "downloading",
    "verifying",
    "parsing",
    "converting",
    "quantizing",
    "writing",
    "loading",
    "warming",
    "unloading",
    "engine",
];

/// A complete snapshot of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Rises with every change.
    pub sequence: u64,
    /// When the operation began.
    #[serde(with = "stored::nanoseconds")]
    pub start_time: SystemTime,
    /// From the start to the last change.
    pub elapsed: Duration,
    /// From 1; rises when the work starts over.
    pub attempt: u32,
    /// Bytes of the present phase.
    pub completed_bytes: u64,
    /// Absent until the whole is known.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub total_bytes: Option<u64>,
    /// Over the last ten seconds of the present phase.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub bytes_per_second: Option<u64>,
    /// What the engine says.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub engine_text: String,
    /// Once it is known what is to be done. Not recorded: the result has it.
    #[serde(skip)]
    pub plan: Option<Plan>,
    /// Oldest first, the present one last; the newest 32.
    pub phases: Vec<PhaseRecord>,
    /// The present phase.
    pub phase: Phase,
    /// Of this process: nobody is told of them.
    #[serde(skip)]
    samples: VecDeque<(Duration, u64)>,
}

/// When a phase began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseRecord {
    /// The phase's name, as the API spells it.
    #[serde(deserialize_with = "phase_name")]
    pub phase: Cow<'static, str>,
    /// When it began.
    #[serde(with = "stored::nanoseconds")]
    pub start_time: SystemTime,
    /// In which attempt.
    pub attempt: u32,
}

/// What is being done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Waits for its turn; 1 is next.
    Queued(u32),
    /// Finds out what is there and what is wanted.
    Resolving,
    /// Reads local files for their digests.
    Hashing(Vec<String>),
    /// Stores or sends local files.
    Uploading(Vec<Layer>),
    /// Fetches layers.
    Downloading(Vec<Layer>),
    /// Checks digests, or that the engine lists the model.
    Verifying,
    /// Reads a model file's structure.
    Parsing,
    /// Converts to the engine's format.
    Converting,
    /// Quantizes to a type.
    Quantizing(String),
    /// Writes the manifest.
    Writing,
    /// Loads into memory.
    Loading,
    /// Asks for a first token.
    Warming,
    /// Leaves memory.
    Unloading,
    /// Something of the engine's that has no name here.
    Engine,
}

/// One layer of a transfer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// Empty while it is not known.
    pub digest: String,
    /// In bytes.
    pub completed_bytes: u64,
    /// When it is known.
    pub total_bytes: Option<u64>,
    /// The local file's name, when it comes from one.
    pub file_name: String,
}

/// What a job reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// A phase begins.
    Entered(Phase),
    /// A layer of the present phase has come this far. Layers are told apart by digest, or by file name without one.
    Layer(Layer),
    /// The present phase has come this far, where there are no layers.
    Bytes(u64),
    /// All bytes of the present phase.
    Total(u64),
    /// The engine works on and cannot say how far it is.
    Alive,
    /// What is to be done.
    Planned(Plan),
    /// The engine said something.
    Text(String),
    /// The work starts over, for this reason.
    Restarted(String),
}

/// Without a copy where it is one of ours, as it is in all of the many records that a start reads.
fn phase_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'static, str>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let text = Text::deserialize(deserializer)?.0;
    let ours = NAMES.iter().find(|name| text == **name);
    Ok(ours.map_or_else(|| Cow::Owned(text.into_owned()), |name| Cow::Borrowed(*name)))
}

// === impl Snapshot ===

impl Snapshot {
    /// Before anything was done.
    pub fn new(start_time: SystemTime) -> Self {
        Self {
            sequence: 1,
            start_time,
            elapsed: Duration::ZERO,
            attempt: 1,
            completed_bytes: 0,
            total_bytes: None,
            bytes_per_second: None,
            engine_text: String::new(),
            plan: None,
            phases: vec![PhaseRecord {
                phase: Phase::Queued(1).name().into(),
                start_time,
                attempt: 1,
            }],
            phase: Phase::Queued(1),
            samples: VecDeque::new(),
        }
    }

    /// Of an operation that is taken up by another process, for the `times`th time, `at` this long after it began. Its
    /// sequence is above whatever the process before can have told: that one reported less than 2^32 times.
    pub fn taken_up(start_time: SystemTime, at: Duration, times: u32, why: String) -> Self {
        let mut snapshot = Self::new(start_time);
        snapshot.sequence = u64::from(times) << 32;
        snapshot.attempt = times;
        snapshot.fold(Event::Restarted(why), at)
    }

    /// When it last changed.
    pub fn update_time(&self) -> SystemTime {
        self.start_time + self.elapsed
    }

    /// How long the present phase will take at its present rate; absent unless that means something.
    pub fn remaining(&self) -> Option<Duration> {
        let rate = self.bytes_per_second.filter(|&rate| rate > 0)?;
        let left = self.total_bytes?.checked_sub(self.completed_bytes)?;
        Some(Duration::from_secs(left.div_ceil(rate)))
    }

    /// The snapshot after `event`, which was reported `at` this long after the start.
    #[must_use]
    pub fn fold(mut self, event: Event, at: Duration) -> Self {
        // Clocks of two reporters may disagree by a little; time does not run back for a reader.
        self.elapsed = self.elapsed.max(at);
        self.sequence += 1;
        match event {
            Event::Entered(phase) => self.enter(phase),
            Event::Layer(layer) => self.layer(layer),
            Event::Bytes(completed) => self.completed_bytes = self.completed_bytes.max(completed),
            Event::Total(total) => self.total_bytes = Some(total),
            Event::Alive => {}
            Event::Planned(plan) => self.plan = Some(plan),
            Event::Text(text) => self.engine_text = text,
            Event::Restarted(text) => {
                self.attempt = self.attempt.saturating_add(1);
                self.enter(Phase::Resolving);
                self.engine_text = text;
            }
        }
        if let Some(total) = &mut self.total_bytes {
            *total = (*total).max(self.completed_bytes);
        }
        self.sample();
        self
    }

    fn enter(&mut self, phase: Phase) {
        let record = PhaseRecord {
            phase: phase.name().into(),
            start_time: self.update_time(),
            attempt: self.attempt,
        };
        // Told again, as engines do: the phase goes on.
        let again = self
            .phases
            .last()
            .is_some_and(|last| last.phase == record.phase && last.attempt == record.attempt);
        if again && !matches!(phase, Phase::Queued(_)) {
            return;
        }
        if again {
            self.phase = phase;
            return;
        }
        self.phases.push(record);
        if self.phases.len() > MAX_PHASES {
            self.phases.remove(0);
        }
        (self.completed_bytes, self.total_bytes) = phase.bytes();
        self.phase = phase;
        self.bytes_per_second = None;
        self.samples.clear();
    }

    fn layer(&mut self, layer: Layer) {
        let (Phase::Uploading(layers) | Phase::Downloading(layers)) = &mut self.phase else {
            // An engine that reports bytes outside a transfer: keep the count, it has no place for layers.
            self.completed_bytes = self.completed_bytes.max(layer.completed_bytes);
            return;
        };
        let known = layers.iter().position(|known| {
            if layer.digest.is_empty() {
                known.file_name == layer.file_name
            } else {
                known.digest == layer.digest
            }
        });
        let gained = match known {
            Some(index) => {
                let known = &mut layers[index];
                let before = known.completed_bytes;
                known.completed_bytes = before.max(layer.completed_bytes);
                known.total_bytes = layer.total_bytes.or(known.total_bytes);
                known.completed_bytes - before
            }
            None if layers.len() < MAX_LAYERS => {
                let gained = layer.completed_bytes;
                layers.push(layer);
                gained
            }
            None => 0,
        };
        self.completed_bytes = self.completed_bytes.saturating_add(gained);
    }

    fn sample(&mut self) {
        let (now, bytes) = (self.elapsed, self.completed_bytes);
        if self
            .samples
            .back()
            .is_none_or(|&(at, _)| now.saturating_sub(at) >= RATE_MINIMUM / 10)
        {
            self.samples.push_back((now, bytes));
        }
        while self
            .samples
            .front()
            .is_some_and(|&(at, _)| now.saturating_sub(at) > RATE_WINDOW)
        {
            self.samples.pop_front();
        }
        let Some(&(first, before)) = self.samples.front() else {
            return;
        };
        let span = now.saturating_sub(first);
        if span >= RATE_MINIMUM && bytes > 0 {
            let gained = u128::from(bytes.saturating_sub(before)) * 1000;
            self.bytes_per_second = Some(u64::try_from(gained / span.as_millis()).unwrap_or(u64::MAX));
        }
    }
}

// === impl Phase ===

impl Phase {
    /// Of a transfer that knows its layers when it begins: the bytes that are there, and all of them.
    fn bytes(&self) -> (u64, Option<u64>) {
        let (Self::Uploading(layers) | Self::Downloading(layers)) = self else {
            return (0, None);
        };
        let there = layers.iter().map(|layer| layer.completed_bytes);
        let all = layers.iter().map(|layer| layer.total_bytes);
        let sum = |sum: u64, more| sum.saturating_add(more);
        let known = all.reduce(|sum, more| Some(sum?.saturating_add(more?)));
        (there.fold(0, sum), known.flatten())
    }

    /// As the API spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued(_) => "queued",
            Self::Resolving => "resolving",
            Self::Hashing(_) => "hashing",
            Self::Uploading(_) => "uploading",
            Self::Downloading(_) => "downloading",
            Self::Verifying => "verifying",
            Self::Parsing => "parsing",
            Self::Converting => "converting",
            Self::Quantizing(_) => "quantizing",
            Self::Writing => "writing",
            Self::Loading => "loading",
            Self::Warming => "warming",
            Self::Unloading => "unloading",
            Self::Engine => "engine",
        }
    }
}

#[cfg(test)]
mod tests;
