//! Model names: `host/namespace/model:tag` with Ollama's defaults. The only place that knows the rules.
//!
//! Two spellings that differ in case name the same model (registries and file systems disagree, engines fold), so equality,
//! order and hash are those of the folded form, while the spelling is kept for display and for paths on disk.

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

const DEFAULT_HOST: &str = "registry.ollama.ai";
const DEFAULT_NAMESPACE: &str = "library";
const DEFAULT_TAG: &str = "latest";

/// Bytes of a host; the other parts hold [`MAX_PART`].
const MAX_HOST: usize = 350;
const MAX_PART: usize = 80;

/// A valid model name, all four parts present. Equality ignores case.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName {
    host: String,
    namespace: String,
    model: String,
    tag: String,
}

/// Why a text is no model name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing was given.
    #[error("the model name is empty")]
    Empty,
    /// A separator promises a part that is not there.
    #[error("the {0} of the model name is empty")]
    MissingPart(Part),
    /// A part is longer than engines store.
    #[error("the {part} of the model name is longer than {limit} bytes")]
    TooLong {
        /// The part.
        part: Part,
        /// Its limit in bytes.
        limit: usize,
    },
    /// A part has a character that engines refuse.
    #[error(
        "the {part} of the model name has {character:?}: letters, digits, `_`, `-`{more} are allowed, and the first must be a letter, a digit or `_`",
        more = part.more()
    )]
    Character {
        /// The part.
        part: Part,
        /// The first character that is not allowed.
        character: char,
    },
    /// More slashes than host, namespace and model need.
    #[error("the model name has too many parts: `host/namespace/model:tag` is the whole of it")]
    TooManyParts,
    /// A digest in the name.
    #[error("a model name takes no `@digest`: give the digest in its own field")]
    Digest,
}

/// A part of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The registry.
    Host,
    /// The owner.
    Namespace,
    /// The model.
    Model,
    /// The variant.
    Tag,
}

// === impl ModelName ===

impl ModelName {
    /// The name made of four parts as they lie on disk.
    pub fn from_parts(host: &str, namespace: &str, model: &str, tag: &str) -> Result<Self, InvalidName> {
        check(Part::Host, host)?;
        check(Part::Namespace, namespace)?;
        check(Part::Model, model)?;
        check(Part::Tag, tag)?;
        Ok(Self {
            host: host.to_owned(),
            namespace: namespace.to_owned(),
            model: model.to_owned(),
            tag: tag.to_owned(),
        })
    }

    /// The registry's host, with its port when it has one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The parts in the order of the path on disk: host, namespace, model, tag.
    pub fn parts(&self) -> [&str; 4] {
        [&self.host, &self.namespace, &self.model, &self.tag]
    }

    /// Full form, which is unique within a backend: `registry.ollama.ai/library/llama3:latest`.
    pub fn canonical(&self) -> String {
        format!("{}/{}/{}:{}", self.host, self.namespace, self.model, self.tag)
    }

    /// Why this name must not be given to a new model, when it must not: Ollama reads these tags as a place, not as a tag,
    /// and could then neither show nor remove the model.
    pub fn reserved(&self) -> Option<&'static str> {
        let tag = self.tag.to_ascii_lowercase();
        (tag == "local" || tag == "cloud" || tag.ends_with("-cloud"))
            .then_some("the tags `local`, `cloud` and `…-cloud` say where a model runs: choose another tag")
    }

    fn folded(&self) -> impl Iterator<Item = u8> + '_ {
        self.parts()
            .into_iter()
            .flat_map(|part| part.bytes().map(|b| b.to_ascii_lowercase()).chain([0]))
    }
}

impl FromStr for ModelName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.contains('@') {
            return Err(InvalidName::Digest);
        }
        // A scheme is what people paste; whether plain http is used is not the name's to say.
        let rest = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(text);
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, tag),
            _ => (rest, DEFAULT_TAG),
        };
        let (rest, model) = match rest.rsplit_once('/') {
            Some((rest, model)) => (Some(rest), model),
            None => (None, rest),
        };
        let (rest, namespace) = match rest.map(|rest| rest.rsplit_once('/').ok_or(rest)) {
            Some(Ok((rest, namespace))) => (Some(rest), namespace),
            Some(Err(namespace)) => (None, namespace),
            None => (None, DEFAULT_NAMESPACE),
        };
        let host = rest.unwrap_or(DEFAULT_HOST);
        if host.contains('/') {
            return Err(InvalidName::TooManyParts);
        }
        Self::from_parts(host, namespace, model, tag)
    }
}

impl TryFrom<String> for ModelName {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.canonical()
    }
}

impl fmt::Display for ModelName {
    /// Short form, as a person types it: default host and namespace left out, the tag always there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.host.eq_ignore_ascii_case(DEFAULT_HOST) {
            write!(f, "{}/{}/", self.host, self.namespace)?;
        } else if !self.namespace.eq_ignore_ascii_case(DEFAULT_NAMESPACE) {
            write!(f, "{}/", self.namespace)?;
        }
        write!(f, "{}:{}", self.model, self.tag)
    }
}

impl fmt::Debug for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl PartialEq for ModelName {
    fn eq(&self, other: &Self) -> bool {
        self.folded().eq(other.folded())
    }
}

impl Eq for ModelName {}

impl PartialOrd for ModelName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ModelName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded().cmp(other.folded())
    }
}

impl Hash for ModelName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.folded() {
            state.write_u8(byte);
        }
    }
}

// === impl Part ===

impl Part {
    fn limit(self) -> usize {
        if self == Self::Host { MAX_HOST } else { MAX_PART }
    }

    /// What the part may have beyond letters, digits, `_` and `-`, in words for the error.
    fn more(self) -> &'static str {
        match self {
            Self::Host => ", `.` and `:`",
            Self::Namespace => "",
            Self::Model | Self::Tag => " and `.`",
        }
    }

    fn allows(self, character: char) -> bool {
        match character {
            '_' | '-' => true,
            '.' => self != Self::Namespace,
            ':' => self == Self::Host,
            other => other.is_ascii_alphanumeric(),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Namespace => "namespace",
            Self::Model => "model",
            Self::Tag => "tag",
        })
    }
}

fn check(part: Part, text: &str) -> Result<(), InvalidName> {
    let first = text.chars().next().ok_or(InvalidName::MissingPart(part))?;
    if text.len() > part.limit() {
        return Err(InvalidName::TooLong {
            part,
            limit: part.limit(),
        });
    }
    if !(first.is_ascii_alphanumeric() || first == '_') {
        return Err(InvalidName::Character { part, character: first });
    }
    match text.chars().find(|&c| !part.allows(c)) {
        Some(character) => Err(InvalidName::Character { part, character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
