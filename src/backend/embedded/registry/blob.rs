//! A range of a blob, one try.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;

use super::{
    client::Registry,
    remote::{Fault, Opened, Remote},
};
use crate::{backend::embedded::store::manifest::Layer, model::ModelName};

/// A blob at its registry.
#[derive(Debug)]
pub(super) struct Blob {
    registry: Registry,
    name: ModelName,
    layer: Layer,
    insecure: bool,
}

// === impl Blob ===

impl Blob {
    pub(super) fn new(registry: Registry, name: &ModelName, layer: &Layer, insecure: bool) -> Arc<Self> {
        Arc::new(Self {
            registry,
            name: name.clone(),
            layer: layer.clone(),
            insecure,
        })
    }
}

#[async_trait]
impl Remote for Blob {
    async fn open(&self, _range: Range<u64>, _validator: Option<&str>) -> Result<Opened, Fault> {
        std::future::pending().await
    }
}
