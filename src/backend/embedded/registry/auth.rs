//! Challenges and tokens: what a registry that answers 401 is given.
//!
//! Credentials go to the very place that they are for, scheme, host and port: a registry's to the registry and to a source
//! of tokens there, and never to one elsewhere, or a registry could have them sent where it likes. A source elsewhere may be
//! any place that a redirect may lead to, as the hub of Docker has it. It gets what the file of credentials has for that
//! very source, and is then asked for nothing but to pull the repository that the model names, or to push to it when that is
//! what we do: a registry could else have itself given a token that opens another's doors.
//!
//! | file | holds |
//! |---|---|
//! | `challenge` | the header that says what is wanted |
//! | `token` | the exchange for a token |

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderValue, StatusCode};
use reqwest::Response;
use tokio::time::Instant;

use self::challenge::Challenge;
use super::{
    credentials::{Credential, Credentials, Table, secret},
    fault::{self, Place, Thing},
    redirect,
    remote::Fault,
    settings::SettingsError,
    wire::{Ask, Wire},
};
use crate::backend::registries::Origin;

mod challenge;
mod token;

/// Repositories whose tokens are kept.
const MAX_SLOTS: usize = 256;

/// What registries have granted us.
#[derive(Debug)]
pub(super) struct Auth {
    credentials: Option<Arc<Credentials>>,
    slots: Mutex<HashMap<Scope, Slot>>,
}

/// What a token is for: one repository of one registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    pub(super) registry: Origin,
    /// `namespace/model`
    pub(super) repository: String,
    pub(super) access: Access,
}

/// What a token lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Access {
    Pull,
    /// And pull: what is there is looked at first.
    Push,
}

/// Held while a token is fetched: the ranges of a blob wait for one token instead of fetching one each.
type Slot = Arc<tokio::sync::Mutex<Option<Granted>>>;

/// What is sent as `Authorization`.
#[derive(Clone, PartialEq, Eq)]
struct Granted {
    header: HeaderValue,
    /// Nothing for what does not end.
    until: Option<Instant>,
    /// Of the credentials that it was made with.
    version: u64,
}

// === impl Auth ===

impl Auth {
    /// Reads the file of credentials. Blocks.
    pub(super) fn new(file: Option<std::path::PathBuf>) -> Result<Self, SettingsError> {
        Ok(Self {
            credentials: file.map(Credentials::open).transpose()?.map(Arc::new),
            slots: Mutex::default(),
        })
    }

    /// Sends the request with what the registry granted before, and once more when it wants something new.
    pub(super) async fn send(&self, wire: &Wire, ask: &Ask, scope: &Scope) -> Result<(Response, Origin), Fault> {
        self.granted(wire, scope, |authorization| {
            let mut ask = ask.clone();
            ask.authorization = authorization;
            redirect::follow(wire, ask, &scope.registry)
        })
        .await
    }

    /// The same for what `send` sends with what it is given.
    pub(super) async fn granted<F>(
        &self,
        wire: &Wire,
        scope: &Scope,
        send: impl Fn(Option<HeaderValue>) -> F,
    ) -> Result<(Response, Origin), Fault>
    where
        F: Future<Output = Result<(Response, Origin), Fault>>,
    {
        let table = self.table().await;
        let slot = self.slot(scope);
        let mut used = slot.lock().await.clone().filter(|granted| granted.holds(&table));
        for last in [false, true] {
            let (response, at) = send(used.as_ref().map(|granted| granted.header.clone())).await?;
            let place = Place {
                registry: &scope.registry,
                at: &at,
            };
            // Another host's 401 is no question to us.
            if response.status() != StatusCode::UNAUTHORIZED || at != scope.registry || last {
                return Ok((response, at));
            }
            let challenges = challenge::read(response.headers());
            drop(response);
            let mut held = slot.lock().await;
            let newer = held
                .clone()
                .filter(|held| held.holds(&table) && Some(held) != used.as_ref());
            let granted = match newer {
                Some(newer) => newer,
                None => self.grant(wire, &challenges, scope, &table, &place).await?,
            };
            *held = Some(granted.clone());
            used = Some(granted);
        }
        // Both rounds return above.
        let place = Place {
            registry: &scope.registry,
            at: &scope.registry,
        };
        Err(fault::protocol(&place, "asks for credentials without end"))
    }

    async fn grant(
        &self,
        wire: &Wire,
        challenges: &[Challenge],
        scope: &Scope,
        table: &Table,
        place: &Place<'_>,
    ) -> Result<Granted, Fault> {
        let credential = table.of(&scope.registry);
        let bearer = challenges.iter().find(|challenge| challenge.scheme == "bearer");
        let basic = challenges.iter().any(|challenge| challenge.scheme == "basic");
        let granted = |header: Option<HeaderValue>, until| {
            let header = header.ok_or_else(|| fault::protocol(place, "gave a token that cannot be sent"))?;
            Ok(Granted {
                header,
                until,
                version: table.version,
            })
        };
        match (bearer, credential) {
            (Some(_), Some(Credential::Registry(token))) => granted(secret(&format!("Bearer {token}")), None),
            (Some(challenge), _) => {
                let token = token::fetch(wire, challenge, scope, table).await?;
                granted(secret(&format!("Bearer {}", token.text)), Some(token.until))
            }
            (None, Some(credential @ Credential::Password { .. })) if basic => granted(credential.basic(), None),
            (None, _) if basic => Err(fault::credentials(
                place,
                "wants a user and a password: the operator may put them into `--registry-auth-file`",
            )),
            (None, _) => Err(fault::status(
                place,
                Thing::Token,
                StatusCode::UNAUTHORIZED,
                &http::HeaderMap::new(),
                None,
            )),
        }
    }

    async fn table(&self) -> Arc<Table> {
        let Some(credentials) = self.credentials.clone() else {
            return Arc::default();
        };
        // Only a panic or the end of the run time gives no answer; no credentials are the safe one then.
        tokio::task::spawn_blocking(move || credentials.now())
            .await
            .unwrap_or_default()
    }

    fn slot(&self, scope: &Scope) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_SLOTS && !slots.contains_key(scope) {
            // Those in use live on with who uses them.
            slots.clear();
        }
        Arc::clone(slots.entry(scope.clone()).or_default())
    }
}

// === impl Granted ===

impl Granted {
    fn holds(&self, table: &Table) -> bool {
        self.version == table.version && self.until.is_none_or(|until| Instant::now() < until)
    }
}

impl fmt::Debug for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Granted")
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
