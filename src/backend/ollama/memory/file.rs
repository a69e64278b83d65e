//! The file in the state directory.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::{FileKey, Made, ModelKey};
use crate::{backend::state_file::StateFile, model::Digest};

const FILE: StateFile = StateFile {
    name: "digests.json",
    format: "model-control digests",
    version: 1,
    // Several times what the bounds of the tables allow.
    max_size: 32 << 20,
};

pub(super) type Content = (Vec<(FileKey, Digest)>, Vec<(ModelKey, Made)>);

/// Each list begins with what was used longest ago.
#[derive(Serialize, Deserialize)]
struct Document {
    files: Vec<Known<FileKey, Digest>>,
    made: Vec<Known<ModelKey, Made>>,
}

#[derive(Serialize, Deserialize)]
struct Known<K, V> {
    key: K,
    value: V,
}

/// What the folder's file holds; nothing where there is none that can be believed.
pub(super) fn load(folder: &Path) -> Content {
    match FILE.load::<Document>(folder) {
        Ok(document) => {
            let files = document.files.into_iter().map(|known| (known.key, known.value));
            let made = document.made.into_iter().map(|known| (known.key, known.value));
            (files.collect(), made.collect())
        }
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(%error, "remembered digests are not used: files are hashed anew");
            }
            Content::default()
        }
    }
}

/// Replaces the folder's file.
pub(super) fn save(folder: &Path, files: Vec<(FileKey, Digest)>, made: Vec<(ModelKey, Made)>) -> io::Result<()> {
    let document = Document {
        files: files.into_iter().map(|(key, value)| Known { key, value }).collect(),
        made: made.into_iter().map(|(key, value)| Known { key, value }).collect(),
    };
    FILE.save(folder, document)
}
