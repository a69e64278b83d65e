//! Files of a create, looked at before a byte is stored or sent: header and tensor table of each, and that they belong
//! together. What every engine asks of them.

use std::{io, sync::Arc};

use super::{Error, Kind};
use crate::{
    gguf::{
        self, FileKind, Header, SplitName,
        merge::{self, Merged, Piece},
    },
    source::{self, Opened, Stamp},
};

/// One file of the caller.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// As [`Opened::file_name`].
    pub(super) name: String,
    pub(super) opened: Arc<std::fs::File>,
    /// Before it was read.
    pub(super) stamp: Stamp,
}

/// A GGUF model or adapter: one file, or the parts of a split one.
#[derive(Debug)]
pub(super) struct Gguf {
    /// In order.
    pub(super) files: Vec<File>,
    /// Of the first file.
    pub(super) header: Header,
    /// The one file that they are, or become.
    pub(super) merged: Merged,
}

// === impl File ===

impl File {
    /// Notes how the file is now.
    pub(super) fn new(opened: &Opened) -> Result<Self, Error> {
        let name = opened.file_name.clone();
        let stamp = source::stamp(&opened.file).map_err(|error| unreadable(&name, error))?;
        Ok(Self {
            name,
            opened: Arc::clone(&opened.file),
            stamp,
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.stamp.size
    }

    /// Fails if it is not as it was before it was read.
    pub(super) fn unchanged(&self) -> Result<(), Error> {
        let now = source::stamp(&self.opened).map_err(|error| self.unreadable(error))?;
        if now == self.stamp { Ok(()) } else { Err(self.changed()) }
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

// === impl Gguf ===

impl Gguf {
    /// Reads the headers of one file, or of all parts of a split one in order, and checks that they are what is `wanted`: a
    /// model or an adapter.
    pub(super) fn read(opened: &[Opened], wanted: FileKind) -> Result<Self, Error> {
        let (files, mut headers): (Vec<_>, Vec<_>) = opened
            .iter()
            .map(read_header)
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .unzip();
        let (merged, name) = match (files.as_slice(), headers.as_slice()) {
            ([], _) => return Err(invalid("no model file was given".to_owned())),
            ([file], [header]) => (lone(file, header)?, &file.name),
            ([first, ..], headers) => {
                let merged = merge::plan(headers).map_err(|error| invalid(format!("`{}`: {error}", first.name)))?;
                (merged, &first.name)
            }
        };
        let header = headers.swap_remove(0);
        expect(name, &header, wanted)?;
        Ok(Self { files, header, merged })
    }
}

/// The architecture of a model, without which no engine runs it.
pub(super) fn architecture<'a>(name: &str, model: &'a Header) -> Result<&'a str, Error> {
    model
        .architecture()
        .ok_or_else(|| invalid(format!("`{name}` names no architecture (general.architecture)")))
}

/// Fails when an adapter is for another architecture.
pub(super) fn fits(name: &str, adapter: &Header, architecture: &str) -> Result<(), Error> {
    if adapter.architecture() == Some(architecture) {
        return Ok(());
    }
    Err(invalid(format!(
        "adapter `{name}` is for the architecture `{}`, the model has `{architecture}`",
        adapter.architecture().unwrap_or("unknown").escape_debug(),
    )))
}

/// A file that cannot be what is asked for.
pub(super) fn invalid(problem: String) -> Error {
    Error::new(Kind::FileInvalid, problem)
}

fn read_header(opened: &Opened) -> Result<(File, Header), Error> {
    let file = File::new(opened)?;
    let name = &file.name;
    let header = Header::read(&*file.opened, file.size()).map_err(|error| match error {
        gguf::Error::Io { .. } => Error::new(Kind::SourceNotUsable, format!("`{name}`: {error}")).because(error),
        error => invalid(format!("`{name}`: {error}")),
    })?;
    Ok((file, header))
}

/// A file that was given alone must not be a part of several.
fn lone(file: &File, header: &Header) -> Result<Merged, Error> {
    let Some(split) = header.split() else {
        let whole = Piece::Range {
            part: 0,
            start: 0,
            len: header.file_size,
        };
        return Ok(Merged {
            pieces: vec![whole],
            size: header.file_size,
        });
    };
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

fn expect(name: &str, header: &Header, wanted: FileKind) -> Result<(), Error> {
    let kind = header.kind();
    // Of a split model, the first part may have none.
    if kind == wanted && wanted == FileKind::Adapter && header.tensors.is_empty() {
        return Err(invalid(format!("`{name}` has no tensors")));
    }
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
    let needed = if wanted == FileKind::Adapter {
        "an adapter (GGUF LoRA)"
    } else {
        "a model"
    };
    Err(invalid(format!("`{name}` is {is}, and {needed} is needed here")))
}

fn unreadable(name: &str, error: io::Error) -> Error {
    Error::new(
        Kind::SourceNotUsable,
        format!("`{name}` cannot be read: {}", error.kind()),
    )
    .because(error)
}
