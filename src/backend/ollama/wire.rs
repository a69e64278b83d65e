//! What Ollama sends and takes, as it is. Lenient where versions differ: fields that are absent or null, numbers of another
//! sign, words that came later.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, value::RawValue};

pub(super) mod life;

/// `GET /api/version`.
#[derive(Debug, Deserialize)]
pub(super) struct Version {
    pub(super) version: String,
}

/// `GET /api/tags`, where it lies in the answer.
#[derive(Debug, Deserialize)]
pub(super) struct Tags<'a> {
    /// Each a [`Listed`], in Ollama's words.
    #[serde(borrow, deserialize_with = "or_default")]
    pub(super) models: Vec<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    /// Older servers have `name` only.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) model: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) modified_at: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) size: i64,
    /// Of the manifest, 64 hexadecimal digits.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) digest: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) details: Details,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) capabilities: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Details {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) format: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) family: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) families: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) parameter_size: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) quantization_level: String,
    #[serde(default)]
    pub(super) context_length: Option<i64>,
    #[serde(default)]
    pub(super) embedding_length: Option<i64>,
}

/// One line of a stream: progress, or an error that ends it whatever the HTTP status was.
#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
pub(super) struct Line {
    /// A text in progress; in errors of older servers, the HTTP status.
    #[serde(default)]
    status: Value,
    /// A digest, or a word in the place of one.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) digest: String,
    /// Absent when it is 0.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) total: i64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) completed: i64,
    /// Of an answer to a prompt: its next piece.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) response: String,
    /// The same of what is thought aloud.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) thinking: String,
    /// Tokens of the whole answer, in its last line.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) eval_count: i64,
    #[serde(default)]
    error: Value,
}

/// `POST /api/pull` and `POST /api/push`.
#[derive(Debug, Serialize)]
pub(super) struct TransferRequest<'a> {
    pub(super) model: &'a str,
    pub(super) insecure: bool,
    pub(super) stream: bool,
}

/// `POST /api/create`.
#[derive(Debug, Default, Serialize)]
pub(super) struct CreateRequest<'a> {
    pub(super) model: &'a str,
    /// Relative names to digests.
    pub(super) files: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) adapters: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quantize: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) template: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(super) license: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameters: Option<&'a Map<String, Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) messages: Vec<Message<'a>>,
    pub(super) stream: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    pub(super) role: &'a str,
    pub(super) content: &'a str,
}

// === impl Line ===

impl Line {
    /// The progress text; empty when there is none.
    pub(super) fn status(&self) -> &str {
        self.status.as_str().unwrap_or_default()
    }

    /// The error that ends the stream. An empty one is one too.
    pub(super) fn error(&self) -> Option<String> {
        match &self.error {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

/// null is what absence is.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
