//! Reloads the file of backends: at a signal, and when it has changed.
//!
//! The file is looked at once a second rather than watched: it may be a link that is put elsewhere (as Kubernetes does with
//! a mounted map), lie on a network, or come and go while somebody edits it, and a file of at most 1 MiB whose stamp is
//! compared costs nothing. A change counts when two looks in a row have seen the same, so that a half-written file is not
//! taken. Flags and environment stay as they were at the start. A configuration is taken whole or refused whole.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::keepers::Keepers;
use crate::{
    config::{self, Config, Errors, Source},
    engines::{self, BuildError, Setup},
    grpc::Credentials,
    model::{Digest, Failure, Reason},
    telemetry::Chain,
};

/// Between two looks at the file.
const LOOK: Duration = Duration::from_secs(1);
/// Between two tries of a file whose engines could not be set up: a store may still be left by work of before.
const RETRY: Duration = Duration::from_secs(5);

/// What a reload needs.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) source: Source,
    /// Asked for by a signal.
    pub(super) asked: Arc<Notify>,
    /// They look for themselves whether their files have changed; a signal makes them look at once.
    pub(super) credentials: Arc<Credentials>,
    pub(super) keepers: Keepers,
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("the configuration is wrong")]
    Config(#[from] Errors),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the file is gone")]
    Gone,
    #[error("it could not be read by a fault of this service")]
    Fault(#[from] tokio::task::JoinError),
}

/// What tells whether a file is still the one it was: of what it leads to, for it may be a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

// === impl Reload ===

impl Reload {
    /// Reloads whenever it is due, until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let file = self.source.file();
        let (mut known, mut last) = (None, None);
        // What was refused for now, and when it is tried again.
        let mut later: Option<(String, Instant)> = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.asked.notified() => {
                    tracing::info!("a reload of the configuration was asked for");
                    later = self.reload(false, None).await;
                    // What is wrong with them has been logged.
                    let _right = self.credentials.reload().await;
                }
                _ = looks.tick() => {
                    let now = Stamp::of(&file);
                    let changed = now.is_some() && now != known && now == last;
                    let due = later.as_ref().is_some_and(|(_, due)| *due <= Instant::now());
                    if changed || due {
                        // The first one is what the service started with, or as good as that.
                        let told = later.take().filter(|_| !changed).map(|(told, _)| told);
                        later = self.reload(true, told).await;
                        known = now;
                    }
                    last = now;
                }
            }
        }
    }

    /// Takes the file as it is now. `quiet`: the same content is not worth a word, and what was `told` before is not told
    /// again. Gives what is to be tried again, and when.
    async fn reload(&mut self, quiet: bool, told: Option<String>) -> Option<(String, Instant)> {
        let manager = self.keepers.manager.clone();
        let before = manager.setup();
        match load(self.source.clone(), Arc::clone(&before), quiet).await {
            Ok(None) => {
                if manager.reloads().last_failure.is_some() {
                    tracing::info!("the configuration is again the one in force");
                    manager.restored();
                }
            }
            Ok(Some((config, setup))) => {
                let setup = Arc::new(setup);
                tracing::info!(
                    config.digest = %setup.digest, config.digest_before = %before.digest, backends = setup.entries.len(),
                    "the configuration was reloaded"
                );
                for warning in config::warnings(&config) {
                    tracing::warn!("{warning}");
                }
                // Health first knows the names, then callers may meet them.
                self.keepers.publisher.replace(&setup);
                manager.replace(&setup);
                self.keepers.apply(&setup);
            }
            Err(refused) => {
                let why = Chain(&refused).to_string();
                if told.is_none_or(|told| told != why) {
                    tracing::error!(
                        error = why,
                        "the configuration was not reloaded: the one of before stays in force"
                    );
                    manager.refused(refused.told());
                }
                if matches!(refused, Refused::Build(_)) {
                    return Some((why, Instant::now() + RETRY));
                }
            }
        }
        None
    }
}

/// The configuration and its engines; none when `quiet` and the file is the one in force. Reads files and opens stores, so
/// on a thread of its own.
async fn load(source: Source, before: Arc<Setup>, quiet: bool) -> Result<Option<(Config, Setup)>, Refused> {
    let work = move || {
        let config = source.load()?;
        if quiet && config.digest == before.digest {
            return Ok(None);
        }
        // Without a file a service has one engine of its own, which nobody wants who had a file.
        if config.file.is_none() && before.digest != Digest::of(b"") {
            return Err(Refused::Gone);
        }
        let setup = engines::rebuild(&config, &before)?;
        Ok(Some((config, setup)))
    };
    tokio::task::spawn_blocking(work).await?
}

// === impl Stamp ===

impl Stamp {
    /// None while it is not there.
    fn of(path: &Path) -> Option<Self> {
        let of = fs::metadata(path).ok()?;
        Some(Self {
            device: of.dev(),
            inode: of.ino(),
            size: of.size(),
            modified: (of.mtime(), of.mtime_nsec()),
            changed: (of.ctime(), of.ctime_nsec()),
        })
    }
}

// === impl Refused ===

impl Refused {
    /// For callers: without the folders of this machine, which the log has.
    fn told(&self) -> Failure {
        let why = match self {
            Self::Config(Errors(problems)) => {
                let told = problems
                    .iter()
                    .map(|problem| format!("{}: {}", problem.place(), problem.message));
                told.collect::<Vec<_>>().join("; ")
            }
            other => format!("{other}: see the log"),
        };
        let message = format!("the configuration was not reloaded, the one of before stays in force: {why}");
        Failure::new(Reason::RequestInvalid, message)
    }
}
