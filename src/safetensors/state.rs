//! Where the parser is and why it was stopped. A parser of JSON carries texts for errors; ours have a meaning.

use std::cell::{Cell, RefCell};

use serde_json::error::Category;

use super::{Error, error::shown};

/// Shared by the stream, which stops the parser, and those who make sense of what it finds.
#[derive(Default)]
pub(super) struct State {
    /// Bytes given to the parser so far.
    pub(super) read: Cell<u64>,
    place: RefCell<Place>,
    stop: Cell<Option<Error>>,
}

/// What is expected next.
#[derive(Debug, Default)]
pub(super) enum Place {
    /// The object of all tensors.
    #[default]
    Top,
    /// The file's own metadata.
    Metadata,
    /// The object of this tensor.
    Tensor(String),
    /// A field of this tensor, and what it must be.
    Field {
        name: String,
        field: &'static str,
        wanted: &'static str,
    },
}

// === impl State ===

impl State {
    pub(super) fn at(&self, place: Place) {
        self.place.replace(place);
    }

    /// Notes why; the first reason is the one that is told.
    pub(super) fn stop(&self, error: Error) {
        let first = self.stop.take();
        self.stop.set(Some(first.unwrap_or(error)));
    }

    /// Ends the parsing with this.
    pub(super) fn fail<E: serde::de::Error>(&self, error: Error) -> E {
        self.stop(error);
        E::custom("refused")
    }

    /// What the end of the parsing means.
    pub(super) fn error(&self, parser: &serde_json::Error) -> Error {
        if let Some(error) = self.stop.take() {
            return error;
        }
        if parser.classify() != Category::Data {
            return Error::NotJson { at: self.read.get() };
        }
        match self.place.take() {
            Place::Top => Error::NotAnObject,
            Place::Metadata => Error::MetadataKind,
            Place::Tensor(name) => Error::NotATensor { name: shown(&name) },
            Place::Field { name, field, wanted } => Error::Field {
                name: shown(&name),
                field,
                wanted,
            },
        }
    }
}
