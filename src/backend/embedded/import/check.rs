//! Files are looked at before a byte is stored: header and tensor table of each, and that they belong together.

use std::{io, sync::Arc};

use super::super::store::{manifest::Kind as Layer, stamp::Stamp};
use crate::{
    backend::{CreateSpec, Error, Kind},
    gguf::{
        self, FileKind, Header, SplitName,
        merge::{self, Merged, Piece},
    },
    model::Capability,
    source::{Opened, Source},
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

/// One file of the caller.
#[derive(Debug)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) opened: Arc<std::fs::File>,
    /// Before it was read.
    stamp: Stamp,
}

// === impl Input ===

impl Input {
    /// All files of a create, the model first.
    pub(super) fn all(spec: &CreateSpec) -> Result<Vec<Self>, Error> {
        if spec.adapters.len() > MAX_ADAPTERS {
            return Err(invalid(format!("more than {MAX_ADAPTERS} adapters")));
        }
        let (model, header) = Self::read(&spec.source, Layer::Model)?;
        let name = &spec_name(&spec.source);
        let architecture = header
            .architecture()
            .ok_or_else(|| invalid(format!("`{name}` names no architecture (general.architecture)")))?;
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
            if header.architecture() != Some(architecture) {
                return Err(invalid(format!(
                    "adapter `{}` is for the architecture `{}`, the model has `{architecture}`",
                    spec_name(adapter),
                    header.architecture().unwrap_or("unknown").escape_debug(),
                )));
            }
            inputs.push(input);
        }
        Ok(inputs)
    }

    fn read(source: &Source, layer: Layer) -> Result<(Self, Header), Error> {
        let opened = match source {
            Source::Gguf(opened) => opened,
            Source::Safetensors(_) => return Err(cannot_convert()),
        };
        let (files, mut headers): (Vec<_>, Vec<_>) = opened
            .iter()
            .map(read_header)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .unzip();
        let merged = match (files.as_slice(), headers.as_slice()) {
            ([], _) => return Err(invalid("no model file was given".to_owned())),
            ([file], [header]) => {
                lone(file, header)?;
                Merged {
                    pieces: vec![Piece::Range {
                        part: 0,
                        start: 0,
                        len: header.file_size,
                    }],
                    size: header.file_size,
                }
            }
            ([first, ..], headers) => {
                merge::plan(headers).map_err(|error| invalid(format!("`{}`: {error}", first.name)))?
            }
        };
        let header = headers.swap_remove(0);
        expect(&spec_name(source), &header, layer)?;
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
        for file in &self.files {
            let now = Stamp::of_file(&file.opened).map_err(|error| file.unreadable(error))?;
            if now != file.stamp {
                return Err(file.changed());
            }
        }
        Ok(())
    }

    /// The file that lies in the store as it is.
    pub(super) fn whole(&self) -> Option<&File> {
        match self.files.as_slice() {
            [file] => Some(file),
            _ => None,
        }
    }
}

// === impl File ===

impl File {
    pub(super) fn size(&self) -> u64 {
        self.stamp.size
    }

    pub(super) fn changed(&self) -> Error {
        Error::new(
            Kind::SourceNotUsable,
            format!(
                "`{}` changed while it was read: try again when nobody writes to it",
                self.name
            ),
        )
    }

    pub(super) fn unreadable(&self, error: io::Error) -> Error {
        unreadable(&self.name, error)
    }
}

/// What no part of this engine reads.
pub(super) fn cannot_convert() -> Error {
    Error::cannot(
        Capability::Convert,
        "it takes GGUF files; convert safetensors with llama.cpp's convert_hf_to_gguf.py, or create the model on an Ollama backend",
    )
}

fn read_header(opened: &Opened) -> Result<(File, Header), Error> {
    let name = opened.file_name.clone();
    let stamp = Stamp::of_file(&opened.file).map_err(|error| unreadable(&name, error))?;
    let header = Header::read(&*opened.file, stamp.size).map_err(|error| match error {
        gguf::Error::Io { .. } => Error::new(Kind::SourceNotUsable, format!("`{name}`: {error}")).because(error),
        error => invalid(format!("`{name}`: {error}")),
    })?;
    let file = File {
        name,
        opened: Arc::clone(&opened.file),
        stamp,
    };
    Ok((file, header))
}

/// A file that was given alone must not be a part of several.
fn lone(file: &File, header: &Header) -> Result<(), Error> {
    let Some(split) = header.split() else { return Ok(()) };
    let number = split.number.saturating_add(1);
    let missing = match SplitName::parse(&file.name) {
        Some(name) => {
            let others: Vec<_> = (1..=name.count)
                .filter(|&part| part != name.number)
                .take(3)
                .map(|part| format!("`{}`", name.part(part)))
                .collect();
            let more = if name.count > 4 { ", …" } else { "" };
            format!("{}{more} must lie beside it", others.join(", "))
        }
        None => "the parts must be named `<name>-00001-of-0000N.gguf` and lie in one folder".to_owned(),
    };
    Err(invalid(format!(
        "`{}` is part {number} of {} of a split model: {missing}",
        file.name, split.count
    )))
}

fn expect(name: &str, header: &Header, layer: Layer) -> Result<(), Error> {
    let wanted = if layer == Layer::Adapter {
        FileKind::Adapter
    } else {
        FileKind::Model
    };
    let kind = header.kind();
    if kind == wanted {
        return Ok(());
    }
    let is = match kind {
        FileKind::Model => "a whole model",
        FileKind::Adapter => "an adapter",
        FileKind::Projector => "the projector of a model",
        FileKind::Vocabulary => "a vocabulary without tensors",
        FileKind::ImportanceMatrix => "an importance matrix",
    };
    let needed = if layer == Layer::Adapter {
        "an adapter (GGUF LoRA)"
    } else {
        "a model"
    };
    Err(invalid(format!("`{name}` is {is}, and {needed} is needed here")))
}

fn spec_name(source: &Source) -> String {
    let (Source::Gguf(opened) | Source::Safetensors(opened)) = source;
    opened.first().map(|first| first.file_name.clone()).unwrap_or_default()
}

fn invalid(problem: String) -> Error {
    Error::new(Kind::FileInvalid, problem)
}

fn unreadable(name: &str, error: io::Error) -> Error {
    Error::new(
        Kind::SourceNotUsable,
        format!("`{name}` cannot be read: {}", error.kind()),
    )
    .because(error)
}
