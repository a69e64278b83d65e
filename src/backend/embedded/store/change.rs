//! Removes and copies models that are there.

use std::{fs, io, sync::PoisonError};

use super::{
    Store,
    blobs::{self},
    exists, failed, layout,
    manifest::Manifest,
};
use crate::{
    backend::{Error, Kind},
    model::ModelName,
};

// === impl Store ===

impl Store {
    /// Removes the manifest of a name, whole or not, and the blobs that no other needs: the bytes that came free. Readers
    /// see the model or do not; a blob that another model shares stays.
    pub(in crate::backend::embedded) fn remove(&self, name: &ModelName) -> Result<u64, Error> {
        let _one_at_a_time = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let name = self.spelling(name);
        let path = self.layout.manifest(&name);
        let Some(bytes) = self.read(&name) else {
            return match fs::symlink_metadata(&path) {
                // A folder, a device, a file of megabytes: not ours to remove.
                Ok(_) => Err(Error::new(
                    Kind::StoreUnusable,
                    format!("what lies in the place of the manifest of `{name}` is none: the operator may remove it"),
                )),
                Err(_) => Err(not_found(&name)),
            };
        };
        let removed = fs::remove_file(&path).and_then(|()| match path.parent() {
            Some(folder) => layout::sync_folder(folder),
            None => Ok(()),
        });
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(not_found(&name)),
            removed => removed.map_err(|error| failed("remove the manifest", error))?,
        }
        // Folders of nothing are as Ollama leaves them: none. One that has another model stays, for it is not empty.
        for folder in path.ancestors().skip(1).take(3) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        let Ok(manifest) = Manifest::read(&bytes) else {
            return Ok(0);
        };
        let mut layers: Vec<_> = manifest.blobs().collect();
        layers.sort_unstable_by_key(|layer| &layer.digest);
        layers.dedup_by_key(|layer| &layer.digest);
        layers.retain(|layer| blobs::present(&self.layout, &layer.digest, layer.size));
        self.remove_unused(layers.iter().map(|layer| layer.digest.clone()));
        let gone = layers
            .iter()
            .filter(|layer| !blobs::present(&self.layout, &layer.digest, layer.size));
        Ok(gone.fold(0, |sum, layer| sum.saturating_add(layer.size)))
    }

    /// Gives a whole model a second name. The manifest is put in place by a rename: readers of the destination see the old
    /// one or the new one.
    pub(in crate::backend::embedded) fn copy(
        &self,
        source: &ModelName,
        destination: &ModelName,
        replace: bool,
    ) -> Result<(), Error> {
        let model = self.find(source)?.ok_or_else(|| not_found(source))?;
        let _one_at_a_time = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = self.read(&model.name).ok_or_else(|| not_found(source))?;
        let destination = self.spelling(destination);
        let old = self.read(&destination);
        if old.is_some() && !replace {
            return Err(exists(&destination));
        }
        let need = bytes.len() as u64;
        blobs::commit(&self.layout, &destination, &bytes)
            .map_err(|error| self.write_failed("write the manifest", need, error))?;
        if let Some(old) = old.and_then(|old| Manifest::read(&old).ok()) {
            self.remove_unused(old.blobs().map(|layer| layer.digest.clone()));
        }
        Ok(())
    }
}

fn not_found(name: &ModelName) -> Error {
    Error::new(
        Kind::NotFound,
        format!("the store has no model `{name}`: pull or create it first"),
    )
}
