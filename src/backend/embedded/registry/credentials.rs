//! The file of credentials, in the form of Docker's `config.json`.
//!
//! Read are `auths` with `auth` (base64 of `user:password`), `username` and `password`, `identitytoken` and
//! `registrytoken`. Passed over is all else, `credsStore` and `credHelpers` too: they would run programs. An entry is for one
//! host and port; its key may be written as Docker writes it, `https://host/v1/`.
//!
//! The file is looked at before each use and read again when it changed, so that credentials can be rotated under a running
//! service. A file that is broken while it is written leaves the former credentials in force; one that is gone takes them
//! with it.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use serde::Deserialize;

use super::settings::SettingsError;
use crate::backend::{
    embedded::store::stamp::{Sort, Stamp},
    registries::Origin,
};

#[cfg(test)]
mod tests;

const MAX_FILE: u64 = 1 << 20;

/// The credentials of all registries.
#[derive(Debug)]
pub(super) struct Credentials {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Of the file when it was read. Nothing when that was too soon after a change to tell the next one.
    stamp: Option<Stamp>,
    table: Arc<Table>,
}

/// What the file held.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// Grows with each change: what was made with older credentials is no longer used.
    pub(super) version: u64,
    entries: HashMap<Place, Credential>,
}

/// A host, and its port when that is not the scheme's own.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place(String, Option<u16>);

/// What proves who we are.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credential {
    /// A user and a password, or an access token in its place.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, which is exchanged for tokens.
    Identity(String),
    /// A token as the registry takes it.
    Registry(String),
}

// === impl Credentials ===

impl Credentials {
    /// Reads the file. Blocks.
    pub(super) fn open(path: PathBuf) -> Result<Self, SettingsError> {
        let (stamp, bytes) = match look(&path, None) {
            Ok(Look::Changed(stamp, bytes)) => (stamp, bytes),
            Ok(Look::Same) => (None, Vec::new()),
            Err(source) => return Err(SettingsError::AuthFile { path, source }),
        };
        match Table::read(&bytes, 1) {
            Ok(table) => Ok(Self {
                path,
                state: Mutex::new(State {
                    stamp,
                    table: Arc::new(table),
                }),
            }),
            Err(why) => Err(SettingsError::Credentials { path, why }),
        }
    }

    /// What the file holds now. Blocks for as long as a small file takes to be read.
    pub(super) fn now(&self) -> Arc<Table> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let version = state.table.version + 1;
        let read = match look(&self.path, state.stamp) {
            Ok(Look::Same) => return Arc::clone(&state.table),
            Ok(Look::Changed(stamp, bytes)) => Table::read(&bytes, version).map(|table| (stamp, table)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((
                None,
                Table {
                    version,
                    ..Table::default()
                },
            )),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok((stamp, table)) => {
                state.stamp = stamp;
                if table.entries != state.table.entries {
                    tracing::info!(
                        registries = table.entries.len(),
                        "the credentials of registries changed"
                    );
                    state.table = Arc::new(table);
                }
            }
            Err(why) => tracing::warn!(
                why,
                "--registry-auth-file cannot be read: its former content stays in force"
            ),
        }
        Arc::clone(&state.table)
    }
}

enum Look {
    Same,
    Changed(Option<Stamp>, Vec<u8>),
}

fn look(path: &Path, known: Option<Stamp>) -> io::Result<Look> {
    let seen_at = SystemTime::now();
    let stamp = Stamp::of_path(path)?;
    if known == Some(stamp) {
        return Ok(Look::Same);
    }
    let bytes = read_file(path, MAX_FILE)?;
    Ok(Look::Changed(stamp.settled(seen_at).then_some(stamp), bytes))
}

/// The whole of a regular file that is no longer than `limit`.
pub(super) fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    // A pipe would be waited for.
    if Stamp::of_path(path)?.sort != Sort::File {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        let why = format!("it is larger than {} KiB", limit >> 10);
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok(bytes)
}

// === impl Table ===

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    auths: HashMap<String, Option<WireEntry>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WireEntry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Table {
    /// Errors tell nothing of the content.
    fn read(bytes: &[u8], version: u64) -> Result<Self, String> {
        let wire: Wire = serde_json::from_slice(bytes)
            .map_err(|error| format!("line {}, column {}", error.line(), error.column()))?;
        let mut entries = HashMap::new();
        for (key, entry) in wire.auths {
            // Keys with paths are other programs'.
            let Some(place) = Place::read(&key) else { continue };
            let credential = entry
                .unwrap_or_default()
                .credential()
                .map_err(|why| format!("the entry of {}: {why}", place.0))?;
            if let Some(credential) = credential {
                entries.insert(place, credential);
            }
        }
        Ok(Self { version, entries })
    }

    /// For this very place: never for another port, and on plain http only where the origin is that, which the guard admits
    /// for listed hosts only.
    pub(super) fn of(&self, origin: &Origin) -> Option<&Credential> {
        let default_port = if origin.plain_http { 80 } else { 443 };
        let exact = self.entries.get(&Place(origin.host.clone(), Some(origin.port)));
        exact.or_else(|| {
            (origin.port == default_port)
                .then(|| self.entries.get(&Place(origin.host.clone(), None)))
                .flatten()
        })
    }
}

// === impl Place ===

impl Place {
    fn read(key: &str) -> Option<Self> {
        let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
        let rest = rest.unwrap_or(key);
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(path.trim_end_matches('/'), "" | "v1" | "v2") {
            return None;
        }
        let origin = Origin::new(authority, false)?;
        // The port may be the default one, written out.
        let written = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Some(Self(origin.host, written.then_some(origin.port)))
    }
}

// === impl WireEntry ===

impl WireEntry {
    fn credential(self) -> Result<Option<Credential>, &'static str> {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = some(self.registrytoken) {
            return Ok(Some(Credential::Registry(token)));
        }
        if let Some(token) = some(self.identitytoken) {
            return Ok(Some(Credential::Identity(token)));
        }
        if let (Some(user), Some(password)) = (some(self.username), some(self.password)) {
            return Ok(Some(Credential::Password { user, password }));
        }
        let Some(auth) = some(self.auth) else { return Ok(None) };
        let text = STANDARD.decode(auth.trim()).map_err(|_| "`auth` is not base64")?;
        let text = String::from_utf8(text).map_err(|_| "`auth` is not text")?;
        // Docker pads with NUL.
        let (user, password) = text
            .trim_end_matches('\0')
            .split_once(':')
            .ok_or("`auth` is not base64 of `user:password`")?;
        Ok(Some(Credential::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        }))
    }
}

// === impl Credential ===

impl Credential {
    /// The header of a user and a password.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let Self::Password { user, password } = self else {
            return None;
        };
        secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }
}

impl fmt::Debug for Credential {
    /// The kind only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::Identity(_) => "Identity",
            Self::Registry(_) => "Registry",
        })
    }
}

/// A header that no log shows.
pub(super) fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
