//! The manifest that a plain OCI manifest becomes: the one that a create from the same file would make.

use super::super::store::{
    self, Store, facts, layout,
    manifest::{Layer, Manifest},
};
use crate::{
    backend::{Error, Kind},
    gguf::Header,
    model::Digest,
};

/// A manifest of ours and the configuration that it names.
pub(super) struct Made {
    pub(super) manifest: Manifest,
    pub(super) bytes: Vec<u8>,
    pub(super) digest: Digest,
    pub(super) config: Vec<u8>,
}

/// From the stored file. The same file gives the same manifest.
pub(super) fn of(store: &Store, model: Layer) -> Result<Made, Error> {
    let read = layout::open_regular(&store.layout().blob(&model.digest));
    let (file, metadata) = read.map_err(|error| store::failed("read what it stored", error))?;
    let header = Header::read(&file, metadata.len()).map_err(|error| {
        let message = format!("the registry's model file cannot be used: {error}");
        Error::new(Kind::FileInvalid, message).because(error)
    })?;
    let layers = vec![model];
    let failed = |error: serde_json::Error| store::failed("write the manifest", error.into());
    let config = facts::configuration(&header, &layers).map_err(failed)?;
    let manifest = Manifest::new(Layer::config(Digest::of(&config), config.len() as u64), layers);
    let bytes = manifest.write().map_err(failed)?;
    Ok(Made {
        digest: Digest::of(&bytes),
        manifest,
        bytes,
        config,
    })
}
