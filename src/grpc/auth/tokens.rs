//! The file of tokens: a YAML sequence of `{name, token | sha256, scopes}`.
//!
//! Kept are digests, not tokens. A digest without salt is enough: tokens are random texts, not words of people. No message
//! repeats a value of the file: whatever stands in it may be a token in the wrong place.

use std::{collections::BTreeMap, fmt, path::Path};

use serde_json::Value;
use serde_saphyr::options::DuplicateKeyPolicy;
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};
use zeroize::Zeroize as _;

use crate::{
    config::access::Scopes,
    grpc::credentials::{Content, Files, FromFiles, UnusableFile},
};

/// Entries of a file, each of which every call is compared with.
const MAX_ENTRIES: usize = 1_000;
/// Bytes of a token: less can be guessed, more does not fit beside other headers.
const MIN_TOKEN: usize = 16;
const MAX_TOKEN: usize = 4_096;
/// Bytes of a name.
const MAX_NAME: usize = 63;
/// What reading such a file may cost.
const MAX_NODES: usize = 20 * MAX_ENTRIES;

/// The tokens that are taken.
pub(in super::super) struct Tokens(Vec<Token>);

struct Token {
    name: String,
    digest: [u8; 32],
    scopes: Scopes,
}

// === impl Tokens ===

impl FromFiles for Tokens {
    const WHAT: &'static str = "the file of tokens";

    fn read(files: &Files, contents: &[Content]) -> Result<Self, UnusableFile> {
        let path = files.paths().first().map_or(Path::new(""), |path| path);
        let Some(content) = contents.first() else {
            return Err(UnusableFile::new(path, "could not be read"));
        };
        if content.public {
            let message =
                "is readable by everybody: take that right away (`chmod o-r`; mode 0440 for a mounted secret)";
            return Err(UnusableFile::new(path, message));
        }
        Self::parse(&content.bytes).map_err(|(entry, message)| UnusableFile {
            entry,
            ..UnusableFile::new(path, message)
        })
    }

    fn tell(&self) {
        tracing::info!(
            tokens = self.0.len(),
            "the file of tokens changed: the next calls are compared with it"
        );
    }
}

/// Which entry, and what is wrong with it.
type Wrong = (Option<String>, String);

impl Tokens {
    fn parse(bytes: &[u8]) -> Result<Self, Wrong> {
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_nodes: MAX_NODES,
                max_events: 4 * MAX_NODES,
                max_documents: 2,
            },
            alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
            duplicate_keys: DuplicateKeyPolicy::Error,
            with_snippet: false,
        };
        let text = std::str::from_utf8(bytes).map_err(|_| (None, "is not UTF-8 text".to_owned()))?;
        let entries: Vec<BTreeMap<String, Value>> =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| {
                let line = error.location().map(|place| format!(" (line {})", place.line()));
                let message = "want a YAML sequence of `{name, token | sha256, scopes: [read, control]}`";
                (None, format!("{message}{}", line.unwrap_or_default()))
            })?;
        if entries.is_empty() || entries.len() > MAX_ENTRIES {
            return Err((None, format!("holds {} tokens: want 1 to {MAX_ENTRIES}", entries.len())));
        }
        let mut tokens: Vec<Token> = Vec::with_capacity(entries.len());
        for (index, mut entry) in entries.into_iter().enumerate() {
            let name = name(&entry);
            let label = name.clone().unwrap_or_else(|_| format!("#{}", index + 1));
            let read = name.and_then(|name| Token::read(name, &entry));
            entry.values_mut().for_each(forget);
            let token = read.map_err(|message| (Some(label.clone()), message.to_owned()))?;
            if tokens.iter().any(|other| other.name == token.name) {
                return Err((Some(label), "there are two of this name".to_owned()));
            }
            if let Some(other) = tokens.iter().find(|other| other.digest == token.digest) {
                return Err((Some(label), format!("has the same token as `{}`", other.name)));
            }
            tokens.push(token);
        }
        Ok(Self(tokens))
    }

    /// Whose token this is. Takes as long whichever it is, and whether it is one.
    pub(super) fn find(&self, token: &str) -> Option<(&str, Scopes)> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = u32::MAX;
        for (index, known) in (0_u32..).zip(&self.0) {
            found.conditional_assign(&index, known.digest.ct_eq(&digest));
        }
        let known = self.0.get(usize::try_from(found).ok()?)?;
        Some((&known.name, known.scopes))
    }
}

/// Names only.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|token| &token.name)).finish()
    }
}

// === impl Token ===

impl Token {
    fn read(name: String, entry: &BTreeMap<String, Value>) -> Result<Self, &'static str> {
        if entry
            .keys()
            .any(|key| !matches!(key.as_str(), "name" | "token" | "sha256" | "scopes"))
        {
            return Err("has a key that is not `name`, `token`, `sha256` or `scopes`");
        }
        let digest = match (entry.get("token"), entry.get("sha256")) {
            (Some(Value::String(token)), None) => {
                if !(MIN_TOKEN..=MAX_TOKEN).contains(&token.len()) {
                    return Err("`token` must have 16 to 4096 characters");
                }
                if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err("`token` must be of visible ASCII characters without spaces");
                }
                Sha256::digest(token).into()
            }
            (None, Some(Value::String(hex))) => {
                unhex(hex).ok_or("`sha256` must be the 64 hexadecimal digits of the token's SHA-256")?
            }
            (Some(_), None) | (None, Some(_)) => return Err("`token` or `sha256` must be a text: put it in quotes"),
            _ => return Err("needs either `token` or `sha256`"),
        };
        let mut scopes = Scopes::default();
        let listed = entry
            .get("scopes")
            .and_then(Value::as_array)
            .filter(|listed| !listed.is_empty());
        if !listed.is_some_and(|listed| {
            listed
                .iter()
                .all(|scope| scope.as_str().is_some_and(|scope| scopes.add(scope)))
        }) {
            return Err("`scopes` must be a sequence of `read` and `control`, at least one");
        }
        Ok(Self { name, digest, scopes })
    }
}

fn name(entry: &BTreeMap<String, Value>) -> Result<String, &'static str> {
    let name = entry.get("name").and_then(Value::as_str);
    let right = |name: &&str| {
        (1..=MAX_NAME).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-@/:".contains(&byte))
    };
    name.filter(right)
        .map(str::to_owned)
        .ok_or("`name` must be a text of 1 to 63 letters, digits and `._-@/:`")
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

/// Of whatever may have been a token.
fn forget(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(forget),
        Value::Object(values) => values.values_mut().for_each(forget),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests;
