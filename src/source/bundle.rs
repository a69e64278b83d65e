//! Chooses the files of a safetensors model or adapter: its weights, and what a converter needs beside them.
//!
//! The rule is that of Ollama's own client, so that a folder means the same to both:
//!
//! | what | files |
//! |---|---|
//! | weights of a model | `model*.safetensors` here and one folder below; without any, `consolidated*.safetensors`; else all `*.safetensors` |
//! | beside a model's | `*.json` here and one folder below, `chat_template.jinja`, `tokenizer.model` here, else one folder below |
//! | weights of an adapter | `adapter_model*.safetensors`; without any, all `*.safetensors` |
//! | beside an adapter's | `adapter_config.json` |
//!
//! The last group of weights is ours: engines read it, and a person who names such a folder means it. Left out are hidden
//! files, folders behind links, and companions that are empty (engines take them for proof that this is no model) or whose
//! names not every system can hold.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use super::{
    Bundle, Opened,
    error::{Error, Unusable},
    gather::{MAX_PARTS, SAFETENSORS, has_extension, not_empty},
    located::{Folder, Located, Lone, MAX_ENTRIES, Names, Place},
};

/// Files beside the weights of one import. Published models have about a dozen.
const MAX_COMPANIONS: usize = 256;
/// Bytes of one of them. The largest tokenizers have about 35 MB.
const MAX_COMPANION: u64 = 64 << 20;

/// What the files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Model,
    Adapter,
}

/// A folder and its files.
struct Shelf {
    /// Of a folder below the named one.
    prefix: Option<String>,
    place: Place,
    files: Vec<OsString>,
}

/// The files of the model or adapter in `folder`, whose entries are `names`.
pub(super) fn of_folder(folder: &Folder, names: Names, purpose: Purpose) -> Result<Bundle, Error> {
    let shelves = shelves(&folder.name, &folder.place, names, purpose)?;
    let weights = weights(&shelves, purpose);
    if weights.is_empty() {
        let pytorch = shelves[0].files.iter().find(|name| is_pytorch(name));
        let reason = pytorch.map_or(Unusable::NoModel, |name| Unusable::PyTorch {
            file: name.to_string_lossy().into_owned(),
        });
        return Err(Error::unusable(&folder.name, reason));
    }
    if weights.len() > MAX_PARTS {
        return Err(Error::unusable(
            &folder.name,
            Unusable::TooManyParts { limit: MAX_PARTS },
        ));
    }
    required(&folder.name, &shelves[0], purpose)?;
    let open = |(shelf, name): (&Shelf, &OsString)| {
        if plain(name).is_none() {
            return Err(Error::unusable(&name.to_string_lossy(), Unusable::OddName));
        }
        shelf.open(name).and_then(not_empty)
    };
    Ok(Bundle {
        weights: weights.into_iter().map(open).collect::<Result<_, _>>()?,
        companions: companions(&folder.name, &shelves, purpose)?,
    })
}

/// A weights file that was named alone stands for its folder when it has all the weights of it.
pub(super) fn of_file(lone: Lone, purpose: Purpose) -> Result<Bundle, Error> {
    let opened = not_empty(lone.opened)?;
    let name = opened.file_name.clone();
    let Located::Folder(folder) = lone.siblings.locate(name.clone())? else {
        return Err(Error::unusable(&name, Unusable::Changing));
    };
    let names = folder.names()?;
    if names
        .files
        .iter()
        .filter(|name| has_extension(name, SAFETENSORS))
        .count()
        > 1
    {
        return Err(Error::unusable(&name, Unusable::OneOfSeveral));
    }
    let shelves = shelves(&name, &folder.place, names, purpose)?;
    required(&name, &shelves[0], purpose)?;
    if plain(OsStr::new(&name)).is_none() {
        return Err(Error::unusable(&name, Unusable::OddName));
    }
    Ok(Bundle {
        weights: vec![opened],
        companions: companions(&name, &shelves, purpose)?,
    })
}

/// The named folder first, then those one below it.
fn shelves(name: &str, place: &Place, names: Names, purpose: Purpose) -> Result<Vec<Shelf>, Error> {
    let mut budget = MAX_ENTRIES;
    let mut shelves = vec![Shelf {
        prefix: None,
        place: place.clone(),
        files: names.files,
    }];
    let below = if purpose == Purpose::Model {
        names.folders
    } else {
        Vec::new()
    };
    for folder in below {
        let Some(prefix) = plain(&folder) else { continue };
        let opened = match place.child(&folder).locate(prefix.to_owned()) {
            Ok(Located::Folder(opened)) => opened,
            // Some file systems do not tell what an entry is. What cannot be opened is none of ours.
            Ok(Located::File(_)) | Err(Error::NotUsable { .. } | Error::NotFound { .. }) => continue,
            Err(error) => return Err(error),
        };
        let files = match opened.names_within(&mut budget) {
            Ok(names) => names.files,
            Err(Error::NotUsable { reason, .. }) => return Err(Error::unusable(name, reason)),
            Err(error) => return Err(error),
        };
        shelves.push(Shelf {
            prefix: Some(prefix.to_owned()),
            place: opened.place,
            files,
        });
    }
    Ok(shelves)
}

fn weights(shelves: &[Shelf], purpose: Purpose) -> Vec<(&Shelf, &OsString)> {
    let prefixes: &[&str] = match purpose {
        Purpose::Model => &["model", "consolidated", ""],
        Purpose::Adapter => &["adapter_model", ""],
    };
    let here = |prefix: &&&str| shelves[0].files.iter().any(|name| is_weights(name, prefix));
    let Some(prefix) = prefixes.iter().find(here) else {
        return Vec::new();
    };
    let depth = if *prefix == "model" { shelves.len() } else { 1 };
    let files = shelves[..depth]
        .iter()
        .flat_map(|shelf| shelf.files.iter().map(move |name| (shelf, name)));
    files.filter(|(_, name)| is_weights(name, prefix)).collect()
}

/// Fails when what tells an engine what the weights are is not there.
fn required(name: &str, shelf: &Shelf, purpose: Purpose) -> Result<(), Error> {
    let has = |file: &str| shelf.files.iter().any(|name| name == file);
    let file = purpose.config();
    if has(file) {
        return Ok(());
    }
    let reason = if purpose == Purpose::Model && has(Purpose::Adapter.config()) {
        Unusable::AdapterAsModel
    } else {
        Unusable::NoConfig { file }
    };
    Err(Error::unusable(name, reason))
}

fn companions(name: &str, shelves: &[Shelf], purpose: Purpose) -> Result<Vec<Opened>, Error> {
    const TOKENIZER: &str = "tokenizer.model";
    let top = &shelves[0];
    let tokenizer_here = top.files.iter().any(|name| name == TOKENIZER);
    let wanted = |shelf: &Shelf, name: &str| match (purpose, shelf.prefix.is_none()) {
        (Purpose::Adapter, _) => name == purpose.config(),
        (Purpose::Model, true) => is_json(name) || name == "chat_template.jinja" || name == TOKENIZER,
        (Purpose::Model, false) => is_json(name) || (name == TOKENIZER && !tokenizer_here),
    };
    let mut companions = Vec::new();
    for shelf in shelves {
        for file in &shelf.files {
            if !plain(file).is_some_and(|file| wanted(shelf, file)) {
                continue;
            }
            let Some(opened) = companion(shelf, file, purpose)? else {
                continue;
            };
            if companions.len() == MAX_COMPANIONS {
                let limit = MAX_COMPANIONS;
                return Err(Error::unusable(name, Unusable::TooManyCompanions { limit }));
            }
            companions.push(opened);
        }
    }
    Ok(companions)
}

/// Nothing for what can be left out.
fn companion(shelf: &Shelf, name: &OsStr, purpose: Purpose) -> Result<Option<Opened>, Error> {
    let opened = match shelf.open(name) {
        Ok(opened) => opened,
        Err(Error::NotUsable {
            reason: Unusable::Folder,
            ..
        }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let failed = |source| Error::reading(&opened.file_name, source);
    match opened.file.metadata().map_err(failed)?.len() {
        0 if shelf.prefix.is_none() && name == purpose.config() => not_empty(opened).map(Some),
        0 => Ok(None),
        1..=MAX_COMPANION => Ok(Some(opened)),
        // No engine asks for such a file below the model's own folder.
        _ if shelf.prefix.is_some() => Ok(None),
        _ => {
            let limit = MAX_COMPANION;
            Err(Error::unusable(&opened.file_name, Unusable::TooLarge { limit }))
        }
    }
}

/// By the engine's own rule, which minds case; what fits no prefix is told by its extension alone.
fn is_weights(name: &OsStr, prefix: &str) -> bool {
    let bytes = name.as_encoded_bytes();
    let exact = bytes.starts_with(prefix.as_bytes()) && bytes.ends_with(b".safetensors");
    exact || (prefix.is_empty() && has_extension(name, SAFETENSORS))
}

fn is_json(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

fn is_pytorch(name: &OsStr) -> bool {
    let bin = |prefix: &[u8]| name.as_encoded_bytes().starts_with(prefix) && has_extension(name, "bin");
    bin(b"pytorch_model") || bin(b"adapter_model") || has_extension(name, "pth") || has_extension(name, "pt")
}

/// The name, when every system could hold it: an engine may run on another one.
fn plain(name: &OsStr) -> Option<&str> {
    let odd = |character: char| character.is_control() || matches!(character, '\\' | ':');
    name.to_str().filter(|name| !name.contains(odd))
}

// === impl Purpose ===

impl Purpose {
    /// The file that says what the weights are.
    fn config(self) -> &'static str {
        match self {
            Self::Model => "config.json",
            Self::Adapter => "adapter_config.json",
        }
    }
}

// === impl Shelf ===

impl Shelf {
    /// Opens one of the files, and calls it by its name relative to the named folder.
    fn open(&self, name: &OsStr) -> Result<Opened, Error> {
        let mut opened = self.place.file(name)?;
        if let Some(prefix) = &self.prefix {
            opened.file_name = format!("{prefix}/{}", opened.file_name);
        }
        Ok(opened)
    }
}

#[cfg(test)]
mod tests;
