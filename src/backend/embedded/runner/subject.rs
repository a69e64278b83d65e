//! What is to be loaded: the files of a model in the store, and what its header tells of its needs.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::{
    super::store::{Store, layout, manifest::Kind as LayerKind},
    fit::Shape,
};
use crate::{
    backend::{Error, Kind},
    gguf::Header,
    model::{Digest, ModelCapability, ModelName},
};

/// Bytes of a model's parameters that are read.
const MAX_PARAMS: u64 = 256 << 10;

/// A model of the store.
#[derive(Debug, Clone)]
pub(super) struct Subject {
    /// As the store spells it.
    pub(super) name: ModelName,
    /// Of the manifest.
    pub(super) digest: Digest,
    pub(super) files: Files,
    pub(super) shape: Shape,
    /// Its own parameters, by Ollama's names.
    pub(super) params: Map<String, Value>,
    /// Continues texts; else it makes embeddings only.
    pub(super) completes: bool,
}

/// The files that are handed to the engine. Models of the same files can share a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) weights: PathBuf,
    pub(super) projector: Option<PathBuf>,
    pub(super) adapters: Vec<PathBuf>,
}

// === impl Subject ===

impl Subject {
    /// Looks the model up. Blocks.
    pub(super) fn find(store: &Store, name: &ModelName) -> Result<Self, Error> {
        let missing = || Error::new(Kind::NotFound, format!("there is no model `{name}` in the store"));
        let info = store.find(name)?.ok_or_else(missing)?;
        if info.format == "safetensors" {
            return Err(not_loadable(name, "it is safetensors, and `llama-server` reads GGUF"));
        }
        let (digest, manifest) = store.present(&info.name).ok_or_else(missing)?;
        let manifest = manifest.ok_or_else(|| not_loadable(name, "its manifest is broken"))?;
        let blob = |digest: &Digest| store.layout().blob(digest);
        let sum = |kind| {
            manifest
                .of(kind)
                .fold(0u64, |sum, layer| sum.saturating_add(layer.size))
        };
        // Of several, engines take the last.
        let weights = manifest.of(LayerKind::Model).last().map(|layer| blob(&layer.digest));
        let files = Files {
            weights: weights.ok_or_else(|| not_loadable(name, "it has no model layer"))?,
            projector: manifest
                .of(LayerKind::Projector)
                .last()
                .map(|layer| blob(&layer.digest)),
            adapters: manifest
                .of(LayerKind::Adapter)
                .map(|layer| blob(&layer.digest))
                .collect(),
        };
        let unreadable = |error: std::io::Error| {
            Error::new(
                Kind::StoreUnusable,
                format!("the file of model `{name}` cannot be read"),
            )
            .because(error)
        };
        let (file, metadata) = layout::open_regular(&files.weights).map_err(unreadable)?;
        let header = Header::read(&file, metadata.len()).map_err(|error| not_loadable(name, &error.to_string()))?;
        let mut shape = Shape::of(&header);
        shape.others = sum(LayerKind::Projector).saturating_add(sum(LayerKind::Adapter));
        let params = manifest
            .of(LayerKind::Params)
            .last()
            .and_then(|layer| layout::read_regular(&blob(&layer.digest), MAX_PARAMS).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Ok(Self {
            name: info.name.clone(),
            digest,
            files,
            shape,
            params,
            completes: info.capabilities.contains(&ModelCapability::Completion),
        })
    }
}

pub(super) fn not_loadable(name: &ModelName, why: &str) -> Error {
    Error::new(Kind::NotLoadable, format!("model `{name}` cannot be loaded: {why}"))
}
