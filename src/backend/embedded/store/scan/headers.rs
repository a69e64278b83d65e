//! Facts of the blobs' headers, each read once.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::{
        facts::Facts,
        layout::{self, Layout},
        stamp::Stamp,
    },
    table::Table,
};
use crate::{
    gguf::{self, Header},
    model::Digest,
};

#[derive(Debug, Default)]
pub(super) struct Headers {
    known: HashMap<Digest, (Stamp, Result<Arc<Facts>, String>)>,
}

// === impl Headers ===

impl Headers {
    pub(super) fn facts(&mut self, layout: &Layout, digest: &Digest, stamp: Stamp) -> Result<Arc<Facts>, String> {
        if let Some((seen, facts)) = self.known.get(digest)
            && *seen == stamp
        {
            return facts.clone();
        }
        let (file, metadata) = layout::open_regular(&layout.blob(digest)).map_err(|error| error.to_string())?;
        let facts = match Header::read(&file, metadata.len()) {
            Ok(header) => Ok(Arc::new(Facts::of(&header))),
            // A disk that fails may work again: asked again next time.
            Err(error @ gguf::Error::Io { .. }) => return Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        self.known.insert(digest.clone(), (stamp, facts.clone()));
        facts
    }

    /// Forgets blobs that are gone.
    pub(super) fn retain(&mut self, table: &Table) {
        self.known.retain(|digest, _| table.get(digest).is_some());
    }
}
