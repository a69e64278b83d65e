//! An entry's words to flags: `--flag=value`, `--flag value`, `--flag`. Holds the table of flags.

use std::collections::BTreeMap;

use super::{file::Word, problem::Problem};

/// Similarity of two names from which one may be meant for the other.
const ALIKE: f64 = 0.75;

/// A flag of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) scope: Scope,
    pub(super) takes: Takes,
}

/// Whose flag it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Entry,
    /// Begins a model.
    Model,
    /// Belongs to the model before it.
    OfModel,
    /// Known, but without a meaning for this framework; why.
    None(&'static str),
}

/// What follows a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    Value,
    /// A value, and the flag may come again.
    Values,
    /// Nothing, or `=true` or `=false`.
    Nothing,
}

/// A flag as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) flag: Flag,
    /// `true` or `false` for a flag that takes nothing.
    pub(super) value: String,
    pub(super) line: u64,
}

/// Flags of one entry or of one model, by name.
#[derive(Debug, Default)]
pub(super) struct Bag(BTreeMap<&'static str, Vec<Given>>);

const fn flag(name: &'static str, scope: Scope, takes: Takes) -> Flag {
    Flag { name, scope, takes }
}

/// The flags of a framework.
#[derive(Debug)]
pub(super) struct Table {
    framework: &'static str,
    /// Beside those of every framework.
    own: &'static [Flag],
}

/// What an entry of framework `embedded` may be given.
pub(super) const EMBEDDED: Table = Table {
    framework: "embedded",
    own: &[
        flag("--store", Scope::Entry, Takes::Value),
        flag("--threads", Scope::Entry, Takes::Value),
        flag("--gpu-layers", Scope::Entry, Takes::Value),
        flag("--engine-arg", Scope::Entry, Takes::Values),
        flag(
            "--host",
            Scope::None("the embedded engine is in this program and has no host"),
            Takes::Value,
        ),
    ],
};

/// What an entry of framework `ollama` may be given.
pub(super) const OLLAMA: Table = Table {
    framework: "ollama",
    own: &[
        flag("--host", Scope::Entry, Takes::Value),
        flag("--header-file", Scope::Entry, Takes::Value),
        flag("--store", Scope::None("an Ollama keeps its own models"), Takes::Value),
    ],
};

/// What every framework takes.
const COMMON: [Flag; 11] = [
    flag("--advertise", Scope::Entry, Takes::Value),
    flag("--model", Scope::Model, Takes::Values),
    flag("--model-path", Scope::OfModel, Takes::Value),
    flag("--adapter-path", Scope::OfModel, Takes::Values),
    flag("--level", Scope::OfModel, Takes::Value),
    flag("--digest", Scope::OfModel, Takes::Value),
    flag("--quantize", Scope::OfModel, Takes::Value),
    flag("--ensure", Scope::OfModel, Takes::Value),
    flag("--insecure", Scope::OfModel, Takes::Nothing),
    flag("--keep-alive", Scope::OfModel, Takes::Value),
    flag("--context-length", Scope::OfModel, Takes::Value),
];

// === impl Table ===

impl Table {
    pub(super) fn framework(&self) -> &'static str {
        self.framework
    }

    /// The names of the flags that mean something here.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        let all = self.own.iter().chain(&COMMON);
        all.filter(|flag| !matches!(flag.scope, Scope::None(_)))
            .map(|flag| flag.name)
    }
}

/// Reads words as flags of `table`. What is wrong with one hides no other.
pub(super) fn flags(words: &[Word], table: &Table) -> (Vec<Given>, Vec<Problem>) {
    let mut all = Vec::new();
    let mut problems = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let (name, attached) = match word.text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word.text.as_str(), None),
        };
        let is_value = |next: &Word| !next.text.starts_with("--");
        let flag = match find(name, table) {
            Ok(flag) => flag,
            Err(message) => {
                problems.push(Problem::at(word.line, message));
                // What is not known to be a flag may have had a value.
                if name.starts_with("--") && attached.is_none() {
                    let _value = words.next_if(|next| is_value(next));
                }
                continue;
            }
        };
        let value = match (flag.takes, attached) {
            (Takes::Nothing, None) => Some("true"),
            (_, Some(value)) => Some(value),
            (Takes::Value | Takes::Values, None) => words.next_if(|next| is_value(next)).map(|next| next.text.as_str()),
        };
        let message = match (flag.scope, value) {
            (Scope::None(why), _) => {
                format!(
                    "`{}` does not apply to framework `{}`: {why}",
                    flag.name, table.framework
                )
            }
            (_, None | Some("")) => format!("`{0}` needs a value: `{0}=…`", flag.name),
            (_, Some(value)) if flag.takes == Takes::Nothing && value != "true" && value != "false" => {
                format!("`{0}` is `{0}`, `{0}=true` or `{0}=false`", flag.name)
            }
            (_, Some(value)) => {
                all.push(Given {
                    flag,
                    value: value.to_owned(),
                    line: word.line,
                });
                continue;
            }
        };
        problems.push(Problem::at(word.line, message));
    }
    (all, problems)
}

/// The flag of this name. The error names no value, which may be a secret.
fn find(name: &str, table: &Table) -> Result<Flag, String> {
    let all = || table.own.iter().chain(&COMMON);
    if let Some(flag) = all().find(|flag| flag.name == name) {
        return Ok(*flag);
    }
    if !name.starts_with("--") {
        return Err(
            "has a word that is no flag: flags are written `--flag=value`, or `--flag` and its value as the next item"
                .to_owned(),
        );
    }
    if let Some((name, _)) = name.split_once(char::is_whitespace) {
        return Err(format!(
            "`{name}` is followed by a space: write `{name}=…`, or its value as the next item"
        ));
    }
    let likeness = |known: &str| strsim::jaro_winkler(name.trim_start_matches('-'), known.trim_start_matches('-'));
    let nearest = table
        .names()
        .map(|known| (likeness(known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness >= ALIKE);
    Err(if let Some((_, nearest)) = nearest {
        format!("unknown flag `{name}`: did you mean `{nearest}`?")
    } else {
        let names: Vec<_> = table.names().collect();
        format!("unknown flag `{name}`: known are {}", names.join(", "))
    })
}

// === impl Bag ===

impl Bag {
    /// Adds a flag, unless it may come only once and has come before.
    pub(super) fn add(&mut self, given: Given, problems: &mut Vec<Problem>) {
        let same = self.0.entry(given.flag.name).or_default();
        match same.first() {
            Some(first) if given.flag.takes != Takes::Values => {
                let message = format!("`{}` was given already, in line {}", given.flag.name, first.line);
                problems.push(Problem::at(given.line, message));
            }
            _ => same.push(given),
        }
    }

    /// The flag of this name.
    pub(super) fn one(&self, name: &str) -> Option<&Given> {
        self.0.get(name)?.first()
    }

    /// All flags of this name.
    pub(super) fn all(&self, name: &str) -> &[Given] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests;
