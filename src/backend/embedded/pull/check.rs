//! Whether the engine can read what came: a model that it would not list is not stored as one.

use super::super::store::{
    self, Store, layout,
    manifest::{Config, Kind as LayerKind, Layer, MAX_CONFIG, Manifest},
};
use crate::{
    backend::{Error, Kind},
    gguf::Header,
};

/// Fails when the store would not list a model of this manifest. All its blobs are there.
pub(super) fn readable(store: &Store, manifest: &Manifest) -> Result<(), Error> {
    let layout = store.layout();
    let config = layout::read_regular(&layout.blob(&manifest.config.digest), MAX_CONFIG);
    let config = config.map_err(|error| store::failed("read what it stored", error))?;
    let config = Config::read(&config)
        .map_err(|error| invalid("the registry's configuration of the model cannot be read").because(error))?;
    if config.model_format == "safetensors" {
        return Ok(());
    }
    let Some(model) = manifest.of(LayerKind::Model).last() else {
        return Err(invalid(
            "the registry's manifest has no model layer: the name stands for something that is no model",
        ));
    };
    let files = std::iter::once(model).chain(manifest.of(LayerKind::Projector));
    files.into_iter().try_for_each(|layer| header(store, layer))
}

fn header(store: &Store, layer: &Layer) -> Result<(), Error> {
    let read = layout::open_regular(&store.layout().blob(&layer.digest));
    let (file, metadata) = read.map_err(|error| store::failed("read what it stored", error))?;
    match Header::read(&file, metadata.len()) {
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(&format!("the registry's model file cannot be used: {error}")).because(error)),
    }
}

fn invalid(message: &str) -> Error {
    Error::new(Kind::FileInvalid, message)
}
