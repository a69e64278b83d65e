//! Why a path cannot be used. Messages carry names that the caller sent or that lie beside them, never a path.

use std::{fmt, io};

use rustix::io::Errno;

/// Names that a message lists before it only counts.
const NAMES: usize = 5;
/// Bytes of one name in a message: more than a file has, so only what cannot be opened is cut.
const NAME: usize = 300;

/// Why there is nothing to read at a path.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path may not be looked at, whether it exists or not.
    #[error("{0}")]
    NotAllowed(Refusal),
    /// The path depends on a working folder.
    #[error("the path must be absolute")]
    NotAbsolute,
    /// The path has a NUL character, which no file system holds.
    #[error("the path has a NUL character")]
    Nul,
    /// Nothing lies there.
    #[error("there is no `{name}`")]
    NotFound {
        /// The last part of the path.
        name: String,
    },
    /// Something lies there that cannot be imported.
    #[error("`{name}` {reason}")]
    NotUsable {
        /// The file or folder, without its folder.
        name: String,
        /// Why.
        reason: Unusable,
    },
    /// The file system failed.
    #[error("`{name}` could not be read")]
    Read {
        /// The file or folder, without its folder.
        name: String,
        /// For the log.
        #[source]
        source: io::Error,
    },
}

/// Why a path may not be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It lies under no root, or a link leads out of it.
    #[error("the path is not under a model root of this service")]
    Outside,
    /// It has `..`, which could lead out of a root.
    #[error("the path has `..`: give it without")]
    ParentFolder,
    /// The operator has allowed no paths.
    #[error("this service reads no paths of callers: its operator must give --model-root")]
    NoRoots,
}

/// Why what lies at a path cannot be imported. Reads on after the name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// A named pipe.
    #[error("is a named pipe: only regular files are read")]
    Fifo,
    /// A device.
    #[error("is a device: only regular files are read")]
    Device,
    /// A socket.
    #[error("is a socket: only regular files are read")]
    Socket,
    /// A folder where a file must be.
    #[error("is a folder: only regular files are read")]
    Folder,
    /// Nothing in it.
    #[error("is empty")]
    Empty,
    /// The service may not read it.
    #[error("may not be read by this service: permission denied")]
    Permission,
    /// Links that go round, too many of them, or one into the kernel's own tables.
    #[error("leads through too many links, or through one that is no link of a file system")]
    Links,
    /// This system offers no safe way to follow links.
    #[error("is or lies behind a symbolic link, which this system cannot follow safely: give the path without links")]
    LinkRefused,
    /// A part of the path is longer than the file system holds.
    #[error("is longer than a file name may be")]
    NameTooLong,
    /// It was moved again and again while it was opened.
    #[error("was changed while it was opened: try again")]
    Changing,
    /// A folder too large to look through.
    #[error("has more than {limit} entries: name a file")]
    TooManyEntries {
        /// Entries that are looked through.
        limit: usize,
    },
    /// A folder without a model.
    #[error("has no GGUF and no safetensors file")]
    NoModel,
    /// Weights that run code when they are read, which no engine here does.
    #[error("holds PyTorch weights (`{file}`), which are not read: convert them to safetensors or GGUF")]
    PyTorch {
        /// One of them.
        file: String,
    },
    /// Weights that nobody can tell the model of.
    #[error("lacks `{file}`, which says what the safetensors files are: put it beside them")]
    NoConfig {
        /// The file that is missing.
        file: &'static str,
    },
    /// An adapter where a model must be.
    #[error("holds an adapter (`adapter_config.json`): give it as an adapter, and its base model as the path")]
    AdapterAsModel,
    /// A part of a model that was named as if it were the whole.
    #[error("is one of several safetensors files in its folder: name the folder")]
    OneOfSeveral,
    /// A file beside the weights that no converter reads.
    #[error("is larger than {limit} bytes, which no file beside the weights may be")]
    TooLarge {
        /// Bytes of one such file.
        limit: u64,
    },
    /// A folder that is more than a model.
    #[error("has more than {limit} files beside its weights")]
    TooManyCompanions {
        /// Such files of one import.
        limit: usize,
    },
    /// A file name that engines on other systems cannot store.
    #[error(
        "has a name that not every system can hold (not UTF-8, or with control characters, `:` or `\\`): rename it"
    )]
    OddName,
    /// A folder with several models.
    #[error("has several GGUF files: name one of {}", Few(names))]
    SeveralGgufs {
        /// All of them, sorted.
        names: Vec<String>,
    },
    /// A part of a split model is not there.
    #[error("lacks its part `{part}`")]
    MissingPart {
        /// The part's file name.
        part: String,
    },
    /// Another than the first part of a split model.
    #[error("is not the first part of its model: name `{first}`")]
    NotFirstPart {
        /// The first part's file name.
        first: String,
    },
    /// More files than one import may hold open.
    #[error("has more than {limit} parts")]
    TooManyParts {
        /// Files of one import.
        limit: usize,
    },
}

/// The first few of many names.
struct Few<'a>(&'a [String]);

// === impl Error ===

impl Error {
    pub(super) fn unusable(name: &str, reason: Unusable) -> Self {
        let name = cut(name);
        Self::NotUsable { name, reason }
    }

    /// What a refused opening of `name` means.
    pub(super) fn opening(name: &str, errno: Errno) -> Self {
        let reason = match errno {
            // The kernel's word for a link that leads out of where it must stay.
            Errno::XDEV => return Self::NotAllowed(Refusal::Outside),
            // A file where the path wants a folder: nothing can lie below it.
            Errno::NOENT | Errno::NOTDIR => return Self::NotFound { name: cut(name) },
            Errno::ACCESS | Errno::PERM => Unusable::Permission,
            Errno::LOOP => Unusable::Links,
            Errno::NAMETOOLONG => Unusable::NameTooLong,
            Errno::AGAIN => Unusable::Changing,
            // A socket cannot be opened; nor can the node of a device that is not there, which is rarer.
            Errno::NXIO | Errno::OPNOTSUPP => Unusable::Socket,
            Errno::NODEV => Unusable::Device,
            errno => return Self::reading(name, errno.into()),
        };
        Self::unusable(name, reason)
    }

    pub(super) fn reading(name: &str, source: io::Error) -> Self {
        let name = cut(name);
        Self::Read { name, source }
    }
}

/// So that the reason is told after it.
fn cut(name: &str) -> String {
    let end = name.floor_char_boundary(NAME);
    let more = if end < name.len() { "…" } else { "" };
    format!("{}{more}", &name[..end])
}

// === impl Few ===

impl fmt::Display for Few<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, name) in self.0.iter().take(NAMES).enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}`{name}`")?;
        }
        match self.0.len().saturating_sub(NAMES) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
