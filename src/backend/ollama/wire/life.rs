//! The same of single models and of memory.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use super::or_default;

/// `DELETE /api/delete`.
#[derive(Debug, Serialize)]
pub(in super::super) struct Named<'a> {
    pub(in super::super) model: &'a str,
}

/// `POST /api/copy`.
#[derive(Debug, Serialize)]
pub(in super::super) struct CopyRequest<'a> {
    pub(in super::super) source: &'a str,
    pub(in super::super) destination: &'a str,
}

/// `POST /api/show`.
#[derive(Debug, Serialize)]
pub(in super::super) struct ShowRequest<'a> {
    pub(in super::super) model: &'a str,
    pub(in super::super) verbose: bool,
}

#[derive(Debug, Default, Deserialize)]
pub(in super::super) struct Shown {
    /// All licences, one after the other.
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) license: String,
    /// Has paths of Ollama's machine.
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) modelfile: String,
    /// Lines of a key and its value, as Go writes values.
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) parameters: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) template: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) system: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) messages: Vec<Said>,
    /// Arrays are null unless all was asked for.
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) model_info: Map<String, Value>,
    /// Always sent.
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) tensors: Vec<Tensor>,
}

#[derive(Debug, Deserialize)]
pub(in super::super) struct Said {
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) role: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) content: String,
}

#[derive(Debug, Deserialize)]
pub(in super::super) struct Tensor {
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) name: String,
    #[serde(default, rename = "type", deserialize_with = "or_default")]
    pub(in super::super) kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) shape: Vec<u64>,
}

/// `GET /api/ps`.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Processes {
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) models: Vec<Process>,
}

#[derive(Debug, Deserialize)]
pub(in super::super) struct Process {
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) model: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) size: i64,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) size_vram: i64,
    /// Of the manifest, 64 hexadecimal digits.
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) digest: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) expires_at: String,
    /// As it runs; older servers do not tell it.
    #[serde(default)]
    pub(in super::super) context_length: Option<i64>,
}

/// `POST /api/generate` and `POST /api/embed`: without a prompt or an input the model is loaded, or unloaded.
#[derive(Debug, Default, Serialize)]
pub(in super::super) struct Ask<'a> {
    pub(in super::super) model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) input: Option<&'a str>,
    /// Without the template.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(in super::super) raw: bool,
    /// In seconds; below 0 for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in super::super) keep_alive: Option<Number>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(in super::super) options: Map<String, Value>,
}

/// What an embed answers.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Embedded {
    #[serde(default, deserialize_with = "or_default")]
    pub(in super::super) embeddings: Vec<Vec<f64>>,
}

/// An answer of which nothing is wanted.
#[derive(Debug, Deserialize)]
pub(in super::super) struct Whatever {}
