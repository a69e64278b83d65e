//! The strict reading of manifests that come from outside.
//!
//! A manifest with a layer of Ollama's media types (`application/vnd.ollama.image.*`) is a model as Ollama stores it,
//! whatever else it carries: layers of unknown types are kept and not interpreted.
//!
//! Any other manifest must carry exactly one GGUF, which is a layer
//! - of the media type `application/vnd.docker.ai.gguf.v3` (Docker Model Runner; also without `.v3`), `application/gguf` or
//!   `application/x-gguf`, or
//! - whose annotation `org.opencontainers.image.title` ends in `.gguf`, as `oras push` writes it for any media type.
//!
//! A projector (`application/vnd.docker.ai.mmproj`) is a GGUF too, so a manifest with both is refused rather than read half.
//! Licences and other layers beside the GGUF are passed over.
//!
//! What is no such model is [`Kind::FileInvalid`] with what it is instead; what is no manifest, or one that no registry
//! should give, is [`Kind::Protocol`].

use std::{collections::HashMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

use crate::{
    backend::{
        Kind,
        embedded::store::manifest::{MAX_MANIFEST, Manifest},
    },
    model::Digest,
};

/// Layers of a manifest. Tensor models have about a thousand.
const MAX_LAYERS: usize = 8192;
const OLLAMA: &str = "application/vnd.ollama.image.";
const GGUF: [&str; 5] = [
    "application/vnd.docker.ai.gguf.v3",
    "application/vnd.docker.ai.gguf",
    "application/gguf",
    "application/x-gguf",
    "application/vnd.docker.ai.mmproj",
];
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// What a manifest describes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Document {
    /// A model as Ollama stores it. Its bytes are stored as they came.
    Ollama(Manifest),
    /// A plain OCI manifest with one GGUF: a manifest is to be made for it.
    Plain {
        /// The GGUF's blob.
        digest: Digest,
        /// In bytes.
        size: u64,
        /// What the layer calls the file, when it does. To be shown, never to be used as a path.
        title: Option<String>,
    },
}

/// Why a manifest is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("it is larger than 4 MiB")]
    TooLong,
    #[error("it is HTML")]
    Html,
    #[error("it is no JSON of a manifest (line {line}, column {column})")]
    Malformed { line: usize, column: usize },
    #[error("it has more than {MAX_LAYERS} layers")]
    TooManyLayers,
    #[error("it has no configuration")]
    NoConfig,
    #[error("it has no layers")]
    NoLayers,
    #[error("the sizes of its layers exceed what can be counted")]
    Sizes,
    #[error("it gives the blob {0} two sizes")]
    TwoSizes(Digest),
    #[error("it is of the first version, which names no sizes")]
    FirstVersion,
    #[error(
        "it is a list of manifests for several platforms, not a model: name one of them by its digest or its own tag"
    )]
    Index,
    #[error("it is of the type `{0}`, not a model")]
    NoModel(String),
    #[error("it holds {0} GGUF files: only models of one file are read from plain manifests")]
    ManyFiles(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    schema_version: Option<u32>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Object<WireLayer>>,
    layers: Option<Layers>,
    manifests: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireLayer {
    media_type: Option<String>,
    digest: Digest,
    size: u64,
    annotations: Option<Annotations>,
}

#[derive(Deserialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.image.title")]
    title: Option<String>,
}

/// What is written as an object. A derived reader takes an array of the fields' values as well, and Ollama does not.
struct Object<T>(T);

/// No more of them than are read.
enum Layers {
    All(Vec<WireLayer>),
    TooMany,
}

// === impl Document ===

impl Document {
    /// Reads a manifest. Takes no more memory than a small multiple of the bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Invalid> {
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_MANIFEST {
            return Err(Invalid::TooLong);
        }
        let malformed = |error: serde_json::Error| match bytes.trim_ascii_start().first() {
            Some(b'<') => Invalid::Html,
            _ => Invalid::Malformed {
                line: error.line(),
                column: error.column(),
            },
        };
        let Object::<Wire>(wire) = serde_json::from_slice(bytes).map_err(malformed)?;
        let media_type = wire.media_type.as_deref().unwrap_or_default();
        if wire.manifests.is_some() || INDEXES.contains(&media_type) {
            return Err(Invalid::Index);
        }
        if wire.schema_version == Some(1) {
            return Err(Invalid::FirstVersion);
        }
        let layers = match wire.layers {
            Some(Layers::TooMany) => return Err(Invalid::TooManyLayers),
            Some(Layers::All(layers)) if !layers.is_empty() => layers,
            _ => return Err(Invalid::NoLayers),
        };
        let Object(config) = wire.config.ok_or(Invalid::NoConfig)?;
        check_sizes(&config, &layers)?;
        if layers.iter().any(|layer| layer.media_type().starts_with(OLLAMA)) {
            return Manifest::read(bytes).map(Self::Ollama).map_err(malformed);
        }
        let mut files = layers.iter().filter(|layer| layer.is_gguf());
        match (files.next(), files.count()) {
            (Some(file), 0) => Ok(Self::Plain {
                digest: file.digest.clone(),
                size: file.size,
                title: file.title().map(short),
            }),
            (Some(_), more) => Err(Invalid::ManyFiles(more + 1)),
            (None, _) => {
                let kind = wire.artifact_type.as_deref().unwrap_or_default();
                let kind = if kind.is_empty() { config.media_type() } else { kind };
                Err(Invalid::NoModel(short(kind)))
            }
        }
    }
}

/// The API counts in signed 64 bits, so that is the bound.
fn check_sizes(config: &WireLayer, layers: &[WireLayer]) -> Result<(), Invalid> {
    let mut sizes = HashMap::with_capacity(layers.len() + 1);
    let mut sum = 0_u64;
    for layer in std::iter::once(config).chain(layers) {
        sum = sum.checked_add(layer.size).ok_or(Invalid::Sizes)?;
        if *sizes.entry(&layer.digest).or_insert(layer.size) != layer.size {
            return Err(Invalid::TwoSizes(layer.digest.clone()));
        }
    }
    i64::try_from(sum).map(|_| ()).map_err(|_| Invalid::Sizes)
}

fn short(text: &str) -> String {
    let text = if text.is_empty() { "unknown" } else { text };
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

// === impl Invalid ===

impl Invalid {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Index | Self::NoModel(_) | Self::ManyFiles(_) => Kind::FileInvalid,
            _ => Kind::Protocol,
        }
    }
}

// === impl WireLayer ===

impl WireLayer {
    fn media_type(&self) -> &str {
        self.media_type.as_deref().unwrap_or_default()
    }

    fn title(&self) -> Option<&str> {
        self.annotations.as_ref()?.title.as_deref()
    }

    fn is_gguf(&self) -> bool {
        let by_title = |title: &str| title.to_ascii_lowercase().ends_with(".gguf");
        GGUF.contains(&self.media_type()) || self.title().is_some_and(by_title)
    }
}

// === impl Object ===

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ByName<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ByName(PhantomData))
    }
}

// === impl Layers ===

impl<'de> Deserialize<'de> for Layers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;

        impl<'de> Visitor<'de> for Bounded {
            type Value = Layers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("layers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Layers, A::Error> {
                let mut layers = Vec::new();
                while let Some(Object(layer)) = sequence.next_element()? {
                    if layers.len() == MAX_LAYERS {
                        while sequence.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(Layers::TooMany);
                    }
                    layers.push(layer);
                }
                Ok(Layers::All(layers))
            }
        }

        deserializer.deserialize_seq(Bounded)
    }
}

#[cfg(test)]
mod tests;
