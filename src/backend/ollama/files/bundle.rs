//! What of a safetensors model or adapter is checked before it is sent.

use std::{collections::HashMap, os::unix::fs::FileExt as _};

use serde::{Deserialize, de::IgnoredAny};

use super::{UploadFile, name};
use crate::{
    backend::{
        Error, Kind,
        files::{File, invalid},
    },
    gguf::FileKind,
    safetensors::{self, ElementKind, Header},
    source::{Bundle, Opened},
};

/// Bytes of a model's or adapter's configuration. Published ones have a few KiB.
const MAX_CONFIG: u64 = 1 << 20;

/// What Ollama converts weights from.
const READ: [ElementKind; 5] = [
    ElementKind::F32,
    ElementKind::F16,
    ElementKind::Bf16,
    ElementKind::U8,
    ElementKind::F8E4m3,
];

/// Bytes of a tensor of another kind that may be there. Its converters pass over small ones (positions, masks) unread;
/// larger ones are weights, and gigabytes would be sent for an answer that is known.
const MAX_UNREAD: u64 = 16 << 20;

/// As much of a model's configuration as Ollama needs to begin.
#[derive(Deserialize)]
struct Config {
    architectures: Option<Vec<String>>,
}

/// The files under the names that Ollama's own client gives them.
pub(super) fn check(bundle: &Bundle, wanted: FileKind) -> Result<Vec<UploadFile>, Error> {
    let (file_name, adapter) = match wanted {
        FileKind::Adapter => ("adapter_config.json", true),
        _ => ("config.json", false),
    };
    let lacks = || {
        invalid(format!(
            "`{file_name}` is not among the files: put it beside the weights"
        ))
    };
    let config = bundle.companions.iter().find(|file| file.file_name == file_name);
    config_of(config.ok_or_else(lacks)?, adapter)?;

    let mut files = Vec::new();
    let mut tensors = HashMap::new();
    for opened in &bundle.weights {
        let source = File::new(opened)?;
        let header = header(&source)?;
        // Ollama converts what lies in the model's own folder; what lies below is sent and not read.
        if !source.name.contains('/') {
            for tensor in header.tensors {
                if let Some(other) = tensors.insert(tensor.name, files.len()) {
                    let other: &UploadFile = &files[other];
                    return Err(invalid(format!(
                        "`{}` and `{}` have a tensor of the same name: they are not of one model",
                        other.source.name, source.name
                    )));
                }
            }
        }
        files.push(UploadFile {
            name: name::safetensors(&source.name),
            source,
        });
    }
    whole(&files)?;
    for opened in &bundle.companions {
        let source = File::new(opened)?;
        // An empty one makes Ollama fail at random.
        if source.size() > 0 {
            files.push(UploadFile {
                name: source.name.clone(),
                source,
            });
        }
    }
    Ok(files)
}

fn header(source: &File) -> Result<Header, Error> {
    let name = &source.name;
    let header = Header::read(&source.opened, source.size()).map_err(|error| match error {
        safetensors::Error::Io { .. } => Error::new(Kind::SourceNotUsable, format!("`{name}`: {error}")).because(error),
        error => invalid(format!("`{name}`: {error}")),
    })?;
    let unread = header
        .tensors
        .iter()
        .find(|tensor| !READ.contains(&tensor.kind) && tensor.span.end - tensor.span.start > MAX_UNREAD);
    unread.map_or(Ok(()), |tensor| {
        let shown: String = tensor.name.chars().take(64).flat_map(char::escape_debug).collect();
        Err(invalid(format!(
            "`{name}` holds the tensor \"{shown}\" as {}, which Ollama does not convert: take the model as BF16, F16 or F32",
            tensor.kind
        )))
    })?;
    Ok(header)
}

/// The configuration says what the weights are, or nothing is sent.
fn config_of(opened: &Opened, adapter: bool) -> Result<(), Error> {
    let source = File::new(opened)?;
    let name = &source.name;
    if source.size() > MAX_CONFIG {
        return Err(invalid(format!("`{name}` has more than {MAX_CONFIG} bytes")));
    }
    let mut text = vec![0; usize::try_from(source.size()).unwrap_or(0)];
    source
        .opened
        .read_exact_at(&mut text, 0)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => source.changed(),
            _ => source.unreadable(error),
        })?;
    let object = text.trim_ascii_start().starts_with(b"{");
    let bad = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        let what = if error.is_data() {
            "not as expected"
        } else {
            "not valid JSON"
        };
        invalid(format!("`{name}` is {what} at line {line}, column {column}")).because(error)
    };
    if !object {
        return Err(invalid(format!("`{name}` is no JSON object")));
    }
    if adapter {
        return serde_json::from_slice::<IgnoredAny>(&text).map(drop).map_err(bad);
    }
    let config: Config = serde_json::from_slice(&text).map_err(bad)?;
    match config.architectures.as_deref() {
        Some([first, ..]) if !first.is_empty() => Ok(()),
        _ => Err(invalid(format!(
            "`{name}` names no architecture (`architectures`): take the configuration that was published with the model"
        ))),
    }
}

/// Fails when parts are missing: Ollama would make a model of the rest, which does not load.
fn whole(files: &[UploadFile]) -> Result<(), Error> {
    for file in files {
        let Some((prefix, count)) = part(&file.name) else {
            continue;
        };
        let missing = (1..=count)
            .map(|number| format!("{prefix}-{number:05}-of-{count:05}.safetensors"))
            .find(|name| !files.iter().any(|file| file.name == *name));
        if let Some(missing) = missing {
            return Err(invalid(format!(
                "`{missing}` is not among the files: `{}` is one of {count} parts",
                file.name
            )));
        }
    }
    Ok(())
}

/// All before the numbers of a part's name, and how many there are.
fn part(name: &str) -> Option<(&str, u32)> {
    let (rest, count) = name.strip_suffix(".safetensors")?.rsplit_once("-of-")?;
    let (prefix, number) = rest.rsplit_once('-')?;
    let five = |text: &str| (text.len() == 5).then(|| text.parse::<u32>().ok()).flatten();
    let (number, count) = (five(number)?, five(count)?);
    // A count that cannot be is no count.
    (number >= 1 && number <= count && count <= 512).then_some((prefix, count))
}
