//! The tables of what came with memory and pushes.

use super::{MLX, MLX_RUNTIME, Meaning, NAMES, Row};
use crate::backend::{Error, Kind};

/// Of a load that was meant for a model which only embeds.
const EMBEDDING_ONLY: &str = "does not support generate";

pub(super) const MANAGING: &[Row] = &[
    NAMES,
    (&["is invalid"], Meaning::NameInvalid, "Ollama does not take the name"),
    (
        &["invalid file magic", "exceeds file size", "eof", "gguf"],
        Meaning::FileInvalid,
        "the model's file in Ollama is broken",
    ),
];

pub(super) const LOADING: &[Row] = &[
    (
        &["llama-server binary not found", "executable file not found"],
        Meaning::MissingPart,
        "Ollama lacks its program llama-server: install a whole Ollama",
    ),
    (
        &[
            MLX,
            MLX_RUNTIME,
            "may be incompatible with your version",
            "no longer compatible",
        ],
        Meaning::MissingPart,
        "this Ollama cannot run the model",
    ),
    // Ollama's own list of such texts, and how its scheduler puts it.
    (
        &[
            "out of memory",
            "out-of-memory",
            "out of device memory",
            "malloc failed",
            "failed to allocate",
            "unable to allocate",
            "allocation failed",
            "not enough memory",
            "insufficient memory",
            "erroroutofmemory",
            "out_of_device_memory",
            "more system memory",
            "required memory",
        ],
        Meaning::OutOfMemory,
        "Ollama has no memory for the model",
    ),
    (
        &["must be of type", "must be of an array"],
        Meaning::EngineOptions,
        "Ollama does not take an option",
    ),
    NAMES,
    (
        &["timed out waiting for llama-server"],
        Meaning::Stalled,
        "the model made no progress on its way into memory",
    ),
    (
        &["process has terminated: signal: killed"],
        Meaning::Interrupted,
        "the model's process was killed while it was loaded; the system does that when memory runs out",
    ),
    (
        &[
            "request canceled",
            "context canceled",
            "unexpectedly stopped",
            "error was encountered while running",
            "do embedding request",
            "health resp:",
        ],
        Meaning::Interrupted,
        "the model's process ended in the middle: ask again",
    ),
];

pub(super) const PUSHING: &[Row] = &[
    (
        &["context canceled"],
        Meaning::Interrupted,
        "Ollama stopped the push by itself: ask again",
    ),
    (
        &["manifest_blob_unknown", "blob_unknown", "blob unknown"],
        Meaning::Protocol,
        "Ollama did not send all layers and believes that it did, as it can after a push to another name: restart Ollama, \
         then push again",
    ),
    NAMES,
    // Before what it is: a file that is not there.
    (
        &["id_ed25519"],
        Meaning::RegistryCredentials,
        "the registry refuses Ollama",
    ),
    (
        &["blobs/sha256-"],
        Meaning::FileInvalid,
        "a file of the model is missing in Ollama: make or pull it again",
    ),
    (
        &["no such file or directory"],
        Meaning::NotFound,
        "Ollama has no such model",
    ),
    (
        &["realm host", "unauthorized", "status 401", "status 403", "denied"],
        Meaning::RegistryCredentials,
        "the registry refuses Ollama",
    ),
    (
        &["status 429"],
        Meaning::RegistryBusy,
        "the registry has too much to do",
    ),
    (
        &[
            "max retries exceeded",
            "no such host",
            "connection refused",
            "connection reset",
            "broken pipe",
            "dial tcp",
            "x509",
            "tls:",
            "timeout",
            "context deadline exceeded",
            "eof",
            "server gave http response to https client",
        ],
        Meaning::RegistryUnreachable,
        "the registry does not serve Ollama",
    ),
    (
        &["file does not exist"],
        Meaning::Protocol,
        "the registry takes no model of that name",
    ),
];

/// The model answers to embed alone.
pub(in super::super) fn is_embedding_only(error: &Error) -> bool {
    error.kind == Kind::NotLoadable && error.message.contains(EMBEDDING_ONLY)
}

/// A reason that is given twice, in two lines, once.
pub(super) fn once(text: &str) -> String {
    let mut kept = String::new();
    for line in text.lines() {
        if !kept.contains(line.trim()) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

#[cfg(test)]
mod tests;
