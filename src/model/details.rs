//! All about one model.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ChatMessage, Provenance};

/// What an engine tells of a model beyond its list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// Licence texts.
    pub license: Vec<String>,
    /// Empty when there is none.
    pub system: String,
    /// Empty when there is none.
    pub template: String,
    /// Engine parameters by their own names.
    pub parameters: Map<String, Value>,
    /// The conversation that the model starts with.
    pub messages: Vec<ChatMessage>,
    /// The file's metadata by its own keys. A long array is `{"type": …, "length": …}` unless all was asked for; an integer
    /// beyond 2^53 is text.
    pub metadata: Map<String, Value>,
    /// In the file's order; only when all was asked for.
    pub tensors: Vec<TensorInfo>,
    /// What it was made from, when this service made it.
    pub provenance: Option<Provenance>,
    /// Fields and keys that were left out for their size.
    pub omitted: Vec<String>,
}

/// One tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// As in the file.
    pub name: String,
    /// `F16`, `Q4_K`, …
    pub kind: String,
    /// The fastest dimension first.
    pub shape: Vec<u64>,
}
