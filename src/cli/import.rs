//! The flags of an import: how a model is made from its files.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use prost_types::{ListValue, Struct, Value, value::Kind};

use super::exit::Stop;
use crate::grpc::proto::v1::{ChatMessage, ImportOptions};

/// Bytes of a text that is read from a file here; a server takes no larger message anyway.
const MAX_TEXT: u64 = 1 << 20;

/// The largest integer that the API's numbers (doubles) hold exactly.
const MAX_INTEGER: u64 = 1 << 53;

/// How a model is made from its files. What is left out stays as the files say.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Import options")]
pub(super) struct ImportArgs {
    /// The prompt template; empty: none
    #[arg(long, value_name = "TEXT")]
    template: Option<String>,

    /// Read the prompt template from a file of this machine
    #[arg(long, value_name = "FILE", conflicts_with = "template")]
    template_file: Option<PathBuf>,

    /// The system prompt; empty: none
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,

    /// Read the system prompt from a file of this machine
    #[arg(long, value_name = "FILE", conflicts_with = "system")]
    system_file: Option<PathBuf>,

    /// A licence text; may be repeated
    #[arg(long, value_name = "TEXT")]
    license: Vec<String>,

    /// Read a licence text from a file of this machine; may be repeated
    #[arg(long, value_name = "FILE")]
    license_file: Vec<PathBuf>,

    /// An engine parameter, `temperature=0.7`; the value is a JSON number, boolean or string, else taken as text. May
    /// be repeated; the same name again makes a list
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_parameter)]
    parameter: Vec<(String, Value)>,

    /// A turn of the conversation that the model starts with, `user=Hello`; may be repeated
    #[arg(long, value_name = "ROLE=TEXT", value_parser = parse_message)]
    message: Vec<ChatMessage>,

    /// Quantize the weights, `Q4_K_M`
    #[arg(long, value_name = "TYPE")]
    quantize: Option<String>,

    /// A LoRA adapter on the server's machine; relative to the working folder. May be repeated
    #[arg(long, value_name = "PATH")]
    adapter_path: Vec<PathBuf>,
}

// === impl ImportArgs ===

impl ImportArgs {
    /// Nothing when no flag was given: the server's own configuration then holds.
    pub(super) fn options(self) -> Result<Option<ImportOptions>, Stop> {
        let mut license = self.license;
        for file in &self.license_file {
            license.push(read_text(file)?);
        }
        let options = ImportOptions {
            adapter_paths: self
                .adapter_path
                .iter()
                .map(|path| server_path(path))
                .collect::<Result<_, _>>()?,
            quantize: self.quantize.unwrap_or_default(),
            template: text_or_file(self.template, self.template_file.as_deref())?,
            system: text_or_file(self.system, self.system_file.as_deref())?,
            license,
            parameters: parameters(self.parameter),
            messages: self.message,
        };
        Ok((options != ImportOptions::default()).then_some(options))
    }
}

/// A path for the server: absolute, because the server has another working folder.
///
/// Leading `..` are taken off the working folder, which has no links in it; the rest is left to the server, where the
/// links are.
pub(super) fn server_path(path: &Path) -> Result<String, Stop> {
    if path.as_os_str().is_empty() {
        return Err(Stop::Usage("the path is empty".to_owned()));
    }
    let absolute = if path.is_absolute() {
        path.to_owned()
    } else {
        let mut folder = std::env::current_dir()
            .map_err(|error| Stop::Usage(format!("the working folder is unknown, give an absolute path: {error}")))?;
        let mut rest = path;
        loop {
            if let Ok(inner) = rest.strip_prefix("..") {
                folder.pop();
                rest = inner;
            } else if let Ok(inner) = rest.strip_prefix(".") {
                rest = inner;
            } else {
                break;
            }
        }
        if !rest.as_os_str().is_empty() {
            folder.push(rest);
        }
        folder
    };
    let text = absolute
        .to_str()
        .ok_or_else(|| Stop::Usage("the path is not UTF-8".to_owned()))?;
    Ok(text.to_owned())
}

fn text_or_file(text: Option<String>, file: Option<&Path>) -> Result<Option<String>, Stop> {
    match (text, file) {
        (None, Some(file)) => read_text(file).map(Some),
        (text, _) => Ok(text),
    }
}

fn read_text(path: &Path) -> Result<String, Stop> {
    let shown = path.display();
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_TEXT + 1).read_to_string(&mut text));
    match read {
        Ok(bytes) if bytes as u64 > MAX_TEXT => Err(Stop::Usage(format!("{shown} is larger than 1 MiB"))),
        Ok(_) => Ok(text),
        Err(error) => Err(Stop::Usage(format!("cannot read {shown}: {error}"))),
    }
}

fn parse_parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("want NAME=VALUE")?;
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    let kind = match serde_json::from_str(value) {
        Ok(serde_json::Value::Number(number)) => {
            let integer = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            if integer.is_some_and(|integer| integer > MAX_INTEGER) {
                return Err("integers beyond 2^53 would lose digits".to_owned());
            }
            Kind::NumberValue(number.as_f64().ok_or("not a number that can be sent")?)
        }
        Ok(serde_json::Value::Bool(value)) => Kind::BoolValue(value),
        Ok(serde_json::Value::String(value)) => Kind::StringValue(value),
        Ok(serde_json::Value::Null | serde_json::Value::Array(_) | serde_json::Value::Object(_)) => {
            return Err("want a number, a boolean or a text; repeat the flag for a list".to_owned());
        }
        Err(_) => Kind::StringValue(value.to_owned()),
    };
    Ok((name.to_owned(), Value { kind: Some(kind) }))
}

fn parse_message(text: &str) -> Result<ChatMessage, String> {
    let (role, content) = text.split_once('=').ok_or("want ROLE=TEXT")?;
    if role.is_empty() {
        return Err("the role is empty".to_owned());
    }
    Ok(ChatMessage {
        role: role.to_owned(),
        content: content.to_owned(),
    })
}

fn parameters(given: Vec<(String, Value)>) -> Option<Struct> {
    let mut all = Struct::default();
    for (name, value) in given {
        let Some(before) = all.fields.remove(&name) else {
            all.fields.insert(name, value);
            continue;
        };
        let values = match before.kind {
            Some(Kind::ListValue(mut list)) => {
                list.values.push(value);
                list.values
            }
            kind => vec![Value { kind }, value],
        };
        let list = Kind::ListValue(ListValue { values });
        all.fields.insert(name, Value { kind: Some(list) });
    }
    (!all.fields.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests;
