//! What the API's callers must have, and what proves who we are: read from files, and again when they change.
//!
//! Two parts that change apart: the certificate with its key and the authorities of clients, and the tokens. Each is read
//! and checked whole before it takes the place of the former one; a file that is half written or wrong leaves the former one
//! in force, which is said once a change. New handshakes and the next calls see what is in force; what is open goes on.
//!
//! Files are read again every few seconds rather than watched: a secret of Kubernetes changes by a link two folders up, and
//! some file systems tell nobody. They are small, so they are compared by content and mode, not by time.
//!
//! | file | holds |
//! |---|---|
//! | `files` | bounded reads of small files, and whether they changed |
//! | `../tls` | certificates, keys and authorities |
//! | `../auth` | tokens, scopes, and who may make a call |

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::files::Fingerprint;
use super::{auth::Tokens, tls::Tls};
use crate::{
    config::access::{Access, ClientScopes},
    telemetry::metrics,
};

mod files;

pub(super) use self::files::{Content, Files};

/// Between two looks at the files.
const POLL: Duration = Duration::from_secs(3);
/// Between two warnings about one certificate.
const DAY: Duration = Duration::from_hours(24);
/// From then on an operator is warned.
const SOON: Duration = Duration::from_hours(24 * 14);

/// What is in force.
#[derive(Debug)]
pub struct Credentials {
    pub(super) client_scopes: Vec<ClientScopes>,
    tls: Option<Kept<Tls>>,
    tokens: Option<Kept<Tokens>>,
}

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableFile {
    /// Which.
    pub file: PathBuf,
    /// The token's name, or `#2` for the second entry when it has none that can be told.
    pub entry: Option<String>,
    /// What is wrong and the way out. Never what the file holds.
    pub message: String,
}

/// Files that cannot be used. Displayed one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableFiles(pub Vec<UnusableFile>);

/// Something that is read from files, and what they were when that was last tried.
struct Kept<T> {
    files: Files,
    seen: Mutex<Fingerprint>,
    current: ArcSwap<T>,
}

/// What can be made of the bytes of files.
pub(super) trait FromFiles: Sized {
    /// In words: `the tokens`.
    const WHAT: &'static str;

    /// Of the files' contents, in their order.
    fn read(files: &Files, contents: &[Content]) -> Result<Self, UnusableFile>;

    /// Told when it comes into force.
    fn tell(&self);
}

// === impl Credentials ===

impl Credentials {
    /// Reads all files. Blocks for as long as small files take to be read. Fails with everything that is wrong.
    pub fn load(access: &Access) -> Result<Self, UnusableFiles> {
        let mut wrong = Vec::new();
        let mut keep = |problem| wrong.push(problem);
        let tls = access.tls.as_ref().map(|tls| {
            let paths = [Some(&tls.cert), Some(&tls.key), tls.client_ca.as_ref()];
            // Whoever may come with a token instead is let through the handshake without a certificate.
            let files = Files::new(paths.into_iter().flatten().cloned(), access.token_file.is_some());
            Kept::open(files).map_err(&mut keep).ok()
        });
        let tokens = access.token_file.as_ref().map(|path| {
            let files = Files::new([path.clone()], false);
            Kept::open(files).map_err(&mut keep).ok()
        });
        if !wrong.is_empty() {
            return Err(UnusableFiles(wrong));
        }
        Ok(Self {
            client_scopes: access.client_scopes.clone(),
            tls: tls.flatten(),
            tokens: tokens.flatten(),
        })
    }

    /// Reads files that changed now rather than at the next look. True when something new is in force.
    pub async fn reload(self: &Arc<Self>) -> bool {
        let this = Arc::clone(self);
        // A read that broke off by a panic has changed nothing.
        tokio::task::spawn_blocking(move || this.look()).await.unwrap_or(false)
    }

    /// Reads changed files again, and warns of a certificate that expires, until `stop`.
    pub async fn keep(self: Arc<Self>, stop: CancellationToken) {
        if self.tls.is_none() && self.tokens.is_none() {
            return;
        }
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut warned: Option<Instant> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = poll.tick() => {}
            }
            let changed = self.reload().await;
            if changed || warned.is_none_or(|at| at.elapsed() >= DAY) {
                warned = Some(Instant::now());
                let expires = self.not_after().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                if let Some(seconds) = expires.and_then(|time| i64::try_from(time.as_secs()).ok()) {
                    metrics::certificate_expires("server", seconds);
                }
                if let (Some(warning), Some(tls)) = (self.expiry(), &self.tls) {
                    let not_after = httpdate::fmt_http_date(tls.current.load().not_after);
                    tracing::warn!(tls.not_after = not_after, "{warning}");
                }
            }
        }
    }

    /// When the server's certificate expires; none without TLS.
    pub fn not_after(&self) -> Option<SystemTime> {
        Some(self.tls.as_ref()?.current.load().not_after)
    }

    /// What should be known of what is in force.
    pub fn warnings(&self) -> Vec<String> {
        let paths = self.tls.as_ref().map(|tls| tls.files.paths().first());
        let file = paths
            .flatten()
            .map(|path| path.display().to_string())
            .unwrap_or_default();
        self.expiry()
            .map(|warning| format!("{file}: {warning}"))
            .into_iter()
            .collect()
    }

    fn expiry(&self) -> Option<&'static str> {
        let tls = self.tls.as_ref()?.current.load();
        let now = SystemTime::now();
        if tls.not_after <= now {
            Some("the server's certificate has expired: callers refuse it")
        } else if tls.not_before > now {
            Some("the server's certificate is not valid yet: callers refuse it")
        } else if tls.not_after <= now + SOON {
            Some("the server's certificate expires within 14 days")
        } else {
            None
        }
    }

    /// What a handshake is made with; none in plain text.
    pub(super) fn handshake(&self) -> Option<Arc<ServerConfig>> {
        Some(Arc::clone(&self.tls.as_ref()?.current.load().config))
    }

    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        Some(self.tls.as_ref()?.current.load_full())
    }

    pub(super) fn tokens(&self) -> Option<Arc<Tokens>> {
        Some(self.tokens.as_ref()?.current.load_full())
    }

    fn look(&self) -> bool {
        // Both, whatever the first says.
        let tls = self.tls.as_ref().is_some_and(Kept::look);
        self.tokens.as_ref().is_some_and(Kept::look) || tls
    }
}

// === impl Kept ===

impl<T: FromFiles> Kept<T> {
    fn open(files: Files) -> Result<Self, UnusableFile> {
        let (seen, contents) = files.settled();
        let value = T::read(&files, &contents?)?;
        Ok(Self {
            files,
            seen: Mutex::new(seen),
            current: ArcSwap::from_pointee(value),
        })
    }

    /// Takes what the files hold now, if that is new and right. One at a time: older content never follows newer.
    fn look(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, contents) = self.files.now();
        if now == *seen {
            return false;
        }
        // It changes: of files that belong together all may not have.
        drop(contents);
        let (now, contents) = self.files.settled();
        if std::mem::replace(&mut *seen, now) == *seen {
            return false;
        }
        match contents.and_then(|contents| T::read(&self.files, &contents)) {
            Ok(value) => {
                let value = Arc::new(value);
                self.current.store(Arc::clone(&value));
                value.tell();
                true
            }
            Err(problem) => {
                tracing::warn!(error = %problem, "{} changed and cannot be used: the former stay in force", T::WHAT);
                false
            }
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("current", &self.current.load())
            .finish_non_exhaustive()
    }
}

// === impl UnusableFile ===

impl UnusableFile {
    pub(super) fn new(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            entry: None,
            message: message.into(),
        }
    }
}

impl fmt::Display for UnusableFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        if let Some(entry) = &self.entry {
            write!(f, "entry `{entry}`: ")?;
        }
        f.write_str(&self.message)
    }
}

// === impl UnusableFiles ===

impl fmt::Display for UnusableFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for UnusableFiles {}
