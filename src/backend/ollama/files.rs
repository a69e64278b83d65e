//! The files that a create sends, checked by us first: Ollama trusts what it is sent, and dies of some of it.
//!
//! | part | holds |
//! |---|---|
//! | here | which files, under which names |
//! | `bundle` | what of a safetensors model or adapter is checked |
//! | `name` | names that Ollama takes, on whatever system it runs |
//!
//! What is only for Ollama to know (which architectures it converts, which tokenizers) is left to it: it answers in words.

use crate::{
    backend::{
        CreateSpec, Error,
        files::{self, File, Gguf, invalid},
    },
    gguf::{FileKind, Header, SplitName},
    source::{Opened, Source},
};

mod bundle;
mod name;
#[cfg(test)]
mod tests;

/// All that a create sends.
#[derive(Debug)]
pub(super) struct Files {
    /// Of the model, at least one. The names differ.
    pub(super) files: Vec<UploadFile>,
    /// Of its adapter. The names differ from each other.
    pub(super) adapters: Vec<UploadFile>,
}

/// One file to be sent.
#[derive(Debug, Clone)]
pub(super) struct UploadFile {
    /// For Ollama: relative, with `/`.
    pub(super) name: String,
    /// As it was when it was checked.
    pub(super) source: File,
}

// === impl Files ===

impl Files {
    /// Reads and checks the headers and configurations of all files. Blocks; reads the files' beginnings only.
    pub(super) fn check(spec: &CreateSpec) -> Result<Self, Error> {
        let (files, model) = one(&spec.source, FileKind::Model)?;
        let architecture = match &model {
            Some(header) => Some(files::architecture(spec.source.name(), header)?),
            None => None,
        };
        let adapters = match spec.adapters.as_slice() {
            [] => Vec::new(),
            [adapter] => {
                let (files, header) = one(adapter, FileKind::Adapter)?;
                if let (Some(header), Some(architecture)) = (header, architecture) {
                    files::fits(adapter.name(), &header, architecture)?;
                }
                files
            }
            several => {
                let count = several.len();
                return Err(invalid(format!(
                    "{count} adapters were given, and Ollama takes one a model"
                )));
            }
        };
        Ok(Self { files, adapters })
    }

    /// The model's first.
    pub(super) fn all(&self) -> impl Iterator<Item = &UploadFile> {
        self.files.iter().chain(&self.adapters)
    }
}

/// The files of a source, and the header if it is a GGUF.
fn one(source: &Source, wanted: FileKind) -> Result<(Vec<UploadFile>, Option<Header>), Error> {
    let (files, header) = match source {
        Source::Gguf(opened) => {
            let (files, header) = gguf(opened, wanted)?;
            (files, Some(header))
        }
        Source::Safetensors(bundle) => (bundle::check(bundle, wanted)?, None),
    };
    for (index, file) in files.iter().enumerate() {
        if !name::is_valid(&file.name) {
            return Err(invalid(format!(
                "`{}` has a name that Ollama does not take: rename it",
                file.name
            )));
        }
        if files[..index].iter().any(|other| other.name == file.name) {
            return Err(invalid(format!(
                "two files would be sent as `{}`: rename one",
                file.name
            )));
        }
    }
    Ok((files, header))
}

fn gguf(opened: &[Opened], wanted: FileKind) -> Result<(Vec<UploadFile>, Header), Error> {
    let Gguf { files, header, .. } = Gguf::read(opened, wanted)?;
    let first = files.first().map_or("", |file| &file.name);
    // Ollama finds the parts' order by their names, whatever their headers say.
    let names: Vec<_> = match SplitName::parse(first) {
        Some(mut split) if files.len() > 1 => {
            split.prefix = name::plain(&split.prefix);
            let numbers = 1..=u32::try_from(files.len()).unwrap_or(u32::MAX);
            numbers.map(|number| split.part(number)).collect()
        }
        None if files.len() > 1 => {
            let problem = "the parts of a split model must be named `<name>-00001-of-0000N.gguf`";
            return Err(invalid(format!("`{first}`: {problem}")));
        }
        _ => vec![name::gguf(first)],
    };
    let files = names
        .into_iter()
        .zip(files)
        .map(|(name, source)| UploadFile { name, source });
    Ok((files.collect(), header))
}

// === impl UploadFile ===

impl UploadFile {
    /// For people: as it is called on disk, without its folder.
    pub(super) fn file_name(&self) -> &str {
        &self.source.name
    }

    /// In bytes, more than 0.
    pub(super) fn size(&self) -> u64 {
        self.source.size()
    }
}
