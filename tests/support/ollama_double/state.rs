//! What the double knows: models, blobs, what its registry has, what it is told to do, and what it was asked.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use axum::http::{HeaderMap, Method};
use model_control::model::{Digest, ModelName};
use serde_json::{Value, json};

use super::{Answer, Gate};

/// What is asked, without its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Route {
    Root,
    Version,
    Tags,
    Processes,
    Pull,
    HeadBlob,
    PostBlob,
    Create,
    Show,
    Delete,
    Copy,
    /// None that the double knows.
    Other,
}

/// What is behind the port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Ollama,
    /// 503 to everything.
    Busy,
    /// Another program, which sends pages.
    Html,
    /// Connections are accepted and never read.
    Deaf,
}

#[derive(Debug, Clone)]
pub(crate) struct Layer {
    /// `model`, `template`, …
    pub(crate) kind: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    /// Of layers that are no files.
    pub(crate) text: Option<String>,
}

/// A model in the store. The manifest's digest is that of its layers.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) name: ModelName,
    pub(crate) layers: Vec<Layer>,
    /// Counts what was written; the later, the newer.
    written: u32,
}

/// A model that the registry has.
#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) layers: Vec<Layer>,
    /// The second half of the first layer comes when it opens.
    pub(crate) half_way: Option<Arc<Gate>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) mode: Mode,
    pub(crate) models: Vec<Model>,
    /// Sizes by digest.
    pub(crate) blobs: BTreeMap<String, u64>,
    pub(crate) remote: Vec<(ModelName, Remote)>,
    pub(crate) scripts: BTreeMap<Route, VecDeque<Answer>>,
    pub(crate) asked: BTreeMap<Route, usize>,
    /// Bodies of requests that change something, in order.
    pub(crate) bodies: Vec<(Route, Value)>,
    /// Headers of the last request of each.
    pub(crate) heads: BTreeMap<Route, HeaderMap>,
    pub(crate) unscripted: Vec<String>,
    pub(crate) pulls: usize,
    pub(crate) most_pulls: usize,
    /// The list tells other digests than the manifests have.
    pub(crate) lies: bool,
    /// What succeeds is not kept.
    pub(crate) forgets: bool,
    written: u32,
}

/// Of the manifest of these layers.
pub(crate) fn digest_of(layers: &[Layer]) -> Digest {
    let layers = layers.iter().map(|layer| format!("{} {}\n", layer.kind, layer.digest));
    Digest::of(layers.collect::<String>().as_bytes())
}

// === impl Route ===

impl Route {
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        match (method.as_str(), path) {
            ("GET" | "HEAD", "/") => Self::Root,
            ("GET" | "HEAD", "/api/version") => Self::Version,
            ("GET" | "HEAD", "/api/tags") => Self::Tags,
            ("GET", "/api/ps") => Self::Processes,
            ("POST", "/api/pull") => Self::Pull,
            ("POST", "/api/create") => Self::Create,
            ("POST", "/api/show") => Self::Show,
            ("DELETE", "/api/delete") => Self::Delete,
            ("POST", "/api/copy") => Self::Copy,
            ("HEAD", path) if path.starts_with("/api/blobs/") => Self::HeadBlob,
            ("POST", path) if path.starts_with("/api/blobs/") => Self::PostBlob,
            _ => Self::Other,
        }
    }
}

// === impl Layer ===

impl Layer {
    pub(crate) fn file(kind: &str, digest: Digest, size: u64) -> Self {
        Self {
            kind: kind.to_owned(),
            digest,
            size,
            text: None,
        }
    }

    pub(crate) fn text(kind: &str, text: &str) -> Self {
        Self {
            text: Some(text.to_owned()),
            ..Self::file(kind, Digest::of(text.as_bytes()), text.len() as u64)
        }
    }
}

// === impl Model ===

impl Model {
    pub(crate) fn digest(&self) -> Digest {
        digest_of(&self.layers)
    }

    fn listed(&self, lies: bool) -> Value {
        let digest = if lies { Digest::of(b"a lie") } else { self.digest() };
        let name = self.name.to_string();
        let size: u64 = self.layers.iter().map(|layer| layer.size).sum();
        json!({
            "name": name, "model": name, "size": size, "digest": digest.hex(),
            "modified_at": format!("2026-11-23T{:02}:{:02}:00.730767319Z", self.written / 60 % 24, self.written % 60),
            "details": {
                "parent_model": "", "format": "gguf", "family": "llama", "families": ["llama"],
                "parameter_size": "115.58K", "quantization_level": "F16", "context_length": 512, "embedding_length": 64,
            },
            "capabilities": ["completion"],
        })
    }
}

// === impl State ===

impl State {
    pub(crate) fn model(&self, name: &ModelName) -> Option<&Model> {
        self.models.iter().find(|model| model.name == *name)
    }

    /// Writes a manifest, in the spelling that is there if one is.
    pub(crate) fn write(&mut self, name: &ModelName, layers: Vec<Layer>) {
        if self.forgets {
            return;
        }
        self.written += 1;
        for layer in &layers {
            self.blobs.insert(layer.digest.to_string(), layer.size);
        }
        let spelled = self
            .model(name)
            .map_or_else(|| name.clone(), |model| model.name.clone());
        self.models.retain(|model| model.name != *name);
        self.models.push(Model {
            name: spelled,
            layers,
            written: self.written,
        });
    }

    /// The registry has a model from now on.
    pub(crate) fn publish(&mut self, name: &ModelName, remote: Remote) {
        self.remote.retain(|(other, _)| other != name);
        self.remote.push((name.clone(), remote));
    }

    /// As `/api/tags` tells it: the newest first.
    pub(super) fn tags(&self) -> Value {
        let models: Vec<_> = self.models.iter().rev().map(|model| model.listed(self.lies)).collect();
        json!({ "models": models })
    }
}
