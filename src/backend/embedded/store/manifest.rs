//! The manifest and the configuration of a model, as registries and Ollama write them.
//!
//! Reading is lenient: fields that we do not know are skipped, a `null` is an absent value, OCI's media types mean the same.
//! Writing is deterministic: the same content gives the same bytes, so the same digest.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::model::Digest;

/// Bytes of a manifest file that are read: about ten thousand layers.
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;
/// Bytes of a configuration that are read.
pub(crate) const MAX_CONFIG: u64 = 1 << 20;

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const OCI: &str = "application/vnd.oci.";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.ollama.image.";

/// A manifest file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    #[serde(default = "version")]
    schema_version: u32,
    #[serde(default, deserialize_with = "lenient")]
    media_type: String,
    pub(crate) config: Layer,
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) layers: Vec<Layer>,
}

/// A blob and what it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layer {
    #[serde(default, deserialize_with = "lenient")]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    /// In bytes.
    pub(crate) size: u64,
}

/// What a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Model,
    Projector,
    Adapter,
    Template,
    System,
    License,
    Params,
    Messages,
    /// One tensor of a safetensors model, or what a later version knows.
    Other,
}

/// The configuration blob.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    #[serde(deserialize_with = "lenient")]
    pub(crate) model_format: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) model_family: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) model_families: Vec<String>,
    #[serde(deserialize_with = "lenient")]
    pub(crate) model_type: String,
    #[serde(deserialize_with = "lenient")]
    pub(crate) file_type: String,
    #[serde(deserialize_with = "lenient")]
    architecture: String,
    #[serde(deserialize_with = "lenient")]
    os: String,
    #[serde(deserialize_with = "lenient")]
    rootfs: RootFs,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct RootFs {
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: String,
    #[serde(deserialize_with = "lenient")]
    diff_ids: Vec<String>,
}

fn version() -> u32 {
    2
}

fn lenient<'de, T: Default + DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

// === impl Manifest ===

impl Manifest {
    pub(crate) fn new(config: Layer, layers: Vec<Layer>) -> Self {
        Self {
            schema_version: version(),
            media_type: MANIFEST.to_owned(),
            config,
            layers,
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub(crate) fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// What registries are told that it is. One that does not say is of the type that its configuration belongs to.
    pub(crate) fn media_type(&self) -> &str {
        match self.media_type.as_str() {
            "" if self.config.media_type.starts_with(OCI) => OCI_MANIFEST,
            "" => MANIFEST,
            told => told,
        }
    }

    /// Every blob that the model needs, the configuration first.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = &Layer> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(move |layer| layer.kind() == kind)
    }

    /// A layer that is there twice counts twice, as Ollama counts.
    pub(crate) fn size(&self) -> u64 {
        self.blobs().fold(0, |sum, layer| sum.saturating_add(layer.size))
    }

    /// Whether both are made of the same content. The configuration is derived from the layers, and different writers word
    /// it differently; so do they order the kinds of layers.
    pub(crate) fn same_content(&self, other: &[Layer]) -> bool {
        let sorted = |layers: &[Layer]| {
            let mut sorted: Vec<_> = layers
                .iter()
                .map(|l| (l.media_type.clone(), l.digest.clone()))
                .collect();
            sorted.sort();
            sorted
        };
        sorted(&self.layers) == sorted(other)
    }
}

// === impl Layer ===

impl Layer {
    pub(crate) fn new(kind: Kind, digest: Digest, size: u64) -> Self {
        Self {
            media_type: format!("{LAYER}{}", kind.word()),
            digest,
            size,
        }
    }

    pub(crate) fn config(digest: Digest, size: u64) -> Self {
        Self {
            media_type: CONFIG.to_owned(),
            digest,
            size,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.media_type.strip_prefix(LAYER) {
            Some("model") => Kind::Model,
            Some("projector") => Kind::Projector,
            Some("adapter") => Kind::Adapter,
            // Models of the first registries say `prompt`.
            Some("template" | "prompt") => Kind::Template,
            Some("system") => Kind::System,
            Some("license") => Kind::License,
            Some("params") => Kind::Params,
            Some("messages") => Kind::Messages,
            _ => Kind::Other,
        }
    }
}

// === impl Kind ===

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Projector => "projector",
            Self::Adapter => "adapter",
            Self::Template => "template",
            Self::System => "system",
            Self::License => "license",
            Self::Params => "params",
            Self::Messages => "messages",
            Self::Other => "tensor",
        }
    }
}

// === impl Config ===

impl Config {
    /// Of a GGUF model. The platform is what Ollama writes everywhere; models do not depend on it.
    pub(crate) fn gguf(family: &str, parameter_size: String, file_type: &str, layers: &[Layer]) -> Self {
        Self {
            model_format: "gguf".to_owned(),
            model_family: family.to_owned(),
            model_families: vec![family.to_owned()],
            model_type: parameter_size,
            file_type: file_type.to_owned(),
            architecture: "amd64".to_owned(),
            os: "linux".to_owned(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: layers.iter().map(|layer| layer.digest.to_string()).collect(),
            },
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub(crate) fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
mod tests;
