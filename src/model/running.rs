//! A model in an engine's memory, and how it is to get there.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Digest, ModelName, stored};

/// A model in memory, or on its way into or out of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Running {
    /// As the engine spells it.
    pub name: ModelName,
    /// Of the manifest that it was loaded from; none when the engine does not tell.
    pub digest: Option<Digest>,
    /// All memory that it takes, in bytes, as the engine counts it.
    pub size_bytes: u64,
    /// The part of it on accelerators, in bytes.
    pub size_vram_bytes: u64,
    /// In tokens.
    pub context_length: Option<u64>,
    /// When it leaves memory unless it is used; none: it stays.
    pub expire_time: Option<SystemTime>,
    /// Where it is on its way.
    pub state: RunState,
    /// The base URL of its inference endpoint where that is the model's own; none: the engine's.
    pub endpoint: Option<String>,
    /// What the endpoint speaks.
    pub protocols: Vec<Protocol>,
    /// How it was loaded, as far as that is known.
    pub options: Option<LoadOptions>,
    /// Other names that share its memory.
    pub shared_with: Vec<ModelName>,
}

/// Where a model is on its way into and out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RunState {
    /// Its process is being started.
    Starting,
    /// Its weights are being read.
    Loading,
    /// It answers.
    Ready,
    /// It ends its running requests and takes no new ones.
    Draining,
    /// It should be gone, and is not.
    Stuck,
}

/// A wire protocol of inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// Ollama's own.
    Ollama,
    /// With OpenAI's shapes.
    OpenAi,
}

/// How a model in memory is to run. What is not set is the engine's default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadOptions {
    /// In tokens, 1 or more.
    pub context_length: Option<u32>,
    /// By the engine's own names.
    pub engine_options: Map<String, Value>,
}

/// How long a model stays in memory after its last use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeepAlive {
    /// As the engine has it.
    #[default]
    Default,
    /// So long.
    For(Duration),
    /// Until it is unloaded.
    Forever,
}

// === impl Running ===

impl Running {
    /// All names of what is in this memory.
    pub fn names(&self) -> impl Iterator<Item = &ModelName> {
        std::iter::once(&self.name).chain(&self.shared_with)
    }

    /// The same, told by another of its names.
    #[must_use]
    pub fn told_as(mut self, name: &ModelName) -> Self {
        if let Some(other) = self.shared_with.iter_mut().find(|other| *other == name) {
            std::mem::swap(other, &mut self.name);
        }
        self
    }

    /// Whether it is, or shares its memory with, the model of this name.
    pub fn is(&self, name: &ModelName) -> bool {
        self.name == *name || self.shared_with.contains(name)
    }
}

// === impl KeepAlive ===

impl KeepAlive {
    /// The longer of two; the engine's own is the least, for nobody asked for it.
    #[must_use]
    pub fn longer(self, other: Self) -> Self {
        match (self, other) {
            (Self::Forever, _) | (_, Self::Forever) => Self::Forever,
            (Self::For(one), Self::For(another)) => Self::For(one.max(another)),
            (Self::Default, other) | (other, Self::Default) => other,
        }
    }
}

/// The evidence that a model answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// When it was asked.
    #[serde(with = "stored::nanoseconds")]
    pub check_time: SystemTime,
    /// From the question to the first token, or to the embedding.
    pub time_to_first_token: Duration,
    /// The first tokens; empty for an embedding.
    pub text: String,
    /// What the answer was given.
    pub timeout: Duration,
}

/// What left memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unloaded {
    /// In bytes, as the engine had counted it; 0 when nothing was loaded.
    pub freed_bytes: u64,
    /// Other names that left with it.
    pub shared_with: Vec<ModelName>,
}
