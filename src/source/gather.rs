//! Chooses the files of one import.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use super::{
    Opened, Source,
    bundle::{self, Purpose},
    error::{Error, Unusable},
    located::{Folder, Located, Lone, Names, Place},
    split::Part,
};

/// Files of one import, each of which is a descriptor. The largest models in use have two hundred.
pub(super) const MAX_PARTS: usize = 512;

const GGUF: &str = "gguf";
pub(super) const SAFETENSORS: &str = "safetensors";

/// The files of the model that lies there.
///
/// A file is a GGUF unless it is called `.safetensors`; whether it is one is for its reader to say. The first part of a
/// split GGUF stands for all of them. A folder stands for the one GGUF in it, or, without any, for its safetensors model
/// (see `bundle`).
pub fn gather_model(located: Located) -> Result<Source, Error> {
    match located {
        Located::File(lone) => match Part::of(&lone.opened.file_name) {
            Some(part) => {
                let name = lone.opened.file_name.clone();
                parts(part, &lone.siblings, &name, Some(lone.opened.clone()))
            }
            None => single(lone, Purpose::Model),
        },
        Located::Folder(folder) => {
            let names = folder.names()?;
            let ggufs = with_extension(&names.files, GGUF);
            match whole_split(&ggufs) {
                Some(part) => parts(part, &folder.place, &folder.name, None),
                None => only(&folder, names, Purpose::Model),
            }
        }
    }
}

/// The files of the adapter that lies there. As for a model, but nobody splits adapters.
pub fn gather_adapter(located: Located) -> Result<Source, Error> {
    match located {
        Located::File(lone) => single(lone, Purpose::Adapter),
        Located::Folder(folder) => {
            let names = folder.names()?;
            only(&folder, names, Purpose::Adapter)
        }
    }
}

fn single(lone: Lone, purpose: Purpose) -> Result<Source, Error> {
    let name = OsStr::new(&lone.opened.file_name);
    if has_extension(name, SAFETENSORS) {
        return bundle::of_file(lone, purpose).map(Source::Safetensors);
    }
    if has_extension(name, "pth") || has_extension(name, "pt") {
        let file = lone.opened.file_name;
        return Err(Error::unusable(&file.clone(), Unusable::PyTorch { file }));
    }
    Ok(Source::Gguf(vec![not_empty(lone.opened)?]))
}

/// The folder's only GGUF, or its safetensors.
fn only(folder: &Folder, names: Names, purpose: Purpose) -> Result<Source, Error> {
    match with_extension(&names.files, GGUF).as_slice() {
        [one] => Ok(Source::Gguf(vec![folder.place.file(one).and_then(not_empty)?])),
        [] => bundle::of_folder(folder, names, purpose).map(Source::Safetensors),
        several => {
            let names = several.iter().map(|name| name.to_string_lossy().into_owned()).collect();
            Err(Error::unusable(&folder.name, Unusable::SeveralGgufs { names }))
        }
    }
}

/// All parts in order. `named` is the one that was opened already; `name` is for the error.
fn parts(part: Part<'_>, place: &Place, name: &str, named: Option<Opened>) -> Result<Source, Error> {
    if named.is_some() && part.number != 1 {
        let first = part.name(1);
        return Err(Error::unusable(name, Unusable::NotFirstPart { first }));
    }
    bounded(name, part.count as usize)?;
    let from = if named.is_some() { 2 } else { 1 };
    let rest = (from..=part.count).map(|number| {
        let part = part.name(number);
        match place.file(OsStr::new(&part)) {
            Err(Error::NotFound { .. }) => Err(Error::unusable(name, Unusable::MissingPart { part })),
            opened => opened,
        }
    });
    let all = named.map(Ok).into_iter().chain(rest);
    all.map(|opened| opened.and_then(not_empty))
        .collect::<Result<_, _>>()
        .map(Source::Gguf)
}

/// The split of which all these are parts. One that lacks parts is one too: the answer then names what is missing.
fn whole_split<'a>(ggufs: &[&'a OsString]) -> Option<Part<'a>> {
    let mut parts = ggufs.iter().map(|name| name.to_str().and_then(Part::of));
    let first = parts.next()??;
    parts
        .all(|part| part.is_some_and(|part| part.belongs_with(first)))
        .then_some(first)
}

fn with_extension<'a>(names: &'a [OsString], extension: &str) -> Vec<&'a OsString> {
    names.iter().filter(|name| has_extension(name, extension)).collect()
}

pub(super) fn has_extension(name: &OsStr, extension: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|has| has.eq_ignore_ascii_case(extension))
}

fn bounded(name: &str, count: usize) -> Result<(), Error> {
    let limit = MAX_PARTS;
    if count > limit {
        return Err(Error::unusable(name, Unusable::TooManyParts { limit }));
    }
    Ok(())
}

pub(super) fn not_empty(opened: Opened) -> Result<Opened, Error> {
    match opened.file.metadata() {
        Ok(metadata) if metadata.len() == 0 => Err(Error::unusable(&opened.file_name, Unusable::Empty)),
        Ok(_) => Ok(opened),
        Err(source) => Err(Error::reading(&opened.file_name, source)),
    }
}

#[cfg(test)]
mod tests;
