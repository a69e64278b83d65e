//! Files are looked at before a byte is stored: header and tensor table of each, and that they belong together.

use super::super::store::manifest::Kind as Layer;
pub(super) use crate::backend::files::File;
use crate::{
    backend::{
        CreateSpec, Error,
        files::{self, Gguf, invalid},
    },
    gguf::{FileKind, Header, merge::Piece},
    model::Capability,
    source::Source,
};

/// Adapters of one model. Ollama runs models with one only.
const MAX_ADAPTERS: usize = 16;

/// One file of the store to be: one file of the caller, or the parts of a split one.
#[derive(Debug)]
pub(super) struct Input {
    /// [`Layer::Model`] or [`Layer::Adapter`].
    pub(super) layer: Layer,
    pub(super) files: Vec<File>,
    /// What the stored file consists of, in order.
    pub(super) pieces: Vec<Piece>,
    /// Of the stored file, in bytes.
    pub(super) size: u64,
}

// === impl Input ===

impl Input {
    /// All files of a create, the model first.
    pub(super) fn all(spec: &CreateSpec) -> Result<Vec<Self>, Error> {
        if spec.adapters.len() > MAX_ADAPTERS {
            return Err(invalid(format!("more than {MAX_ADAPTERS} adapters")));
        }
        let (model, header) = Self::read(&spec.source, Layer::Model)?;
        let name = spec.source.name();
        let architecture = files::architecture(name, &header)?;
        if let Some(wanted) = &spec.options.quantize {
            let stored = header.file_type().unwrap_or("unknown");
            if !stored.eq_ignore_ascii_case(wanted) {
                return Err(Error::cannot(
                    Capability::Quantize,
                    format!(
                        "`{name}` holds {stored}; quantize it to {wanted} with llama-quantize and create it from the result"
                    ),
                ));
            }
        }
        let mut inputs = vec![model];
        for adapter in &spec.adapters {
            let (input, header) = Self::read(adapter, Layer::Adapter)?;
            files::fits(adapter.name(), &header, architecture)?;
            inputs.push(input);
        }
        Ok(inputs)
    }

    fn read(source: &Source, layer: Layer) -> Result<(Self, Header), Error> {
        let opened = match source {
            Source::Gguf(opened) => opened,
            Source::Safetensors(_) => return Err(cannot_convert()),
        };
        let kind = if layer == Layer::Adapter {
            FileKind::Adapter
        } else {
            FileKind::Model
        };
        let Gguf { files, header, merged } = Gguf::read(opened, kind)?;
        let input = Self {
            layer,
            files,
            pieces: merged.pieces,
            size: merged.size,
        };
        Ok((input, header))
    }

    /// Fails if a file is not as it was before it was read.
    pub(super) fn unchanged(&self) -> Result<(), Error> {
        self.files.iter().try_for_each(File::unchanged)
    }

    /// The file that lies in the store as it is.
    pub(super) fn whole(&self) -> Option<&File> {
        match self.files.as_slice() {
            [file] => Some(file),
            _ => None,
        }
    }
}

/// What no part of this engine reads.
pub(super) fn cannot_convert() -> Error {
    Error::cannot(
        Capability::Convert,
        "it takes GGUF files; convert safetensors with llama.cpp's convert_hf_to_gguf.py, or create the model on an Ollama backend",
    )
}
