//! One download to its end: attempts, and what each that fails means.
//!
//! | an attempt ends | then |
//! |---|---|
//! | whole, digest right | the blob is there |
//! | digest wrong, with bytes of an earlier process | once more, whole |
//! | digest wrong, all bytes fresh | DATA_LOSS; nothing is kept |
//! | the registry has another file (validator) | once more, whole; from then on the digest alone decides |
//! | another process took the partial file away | once more; the second time an error |
//! | anything else | the error; what came is kept for a resume, a full disk included: the sweep frees it after a week |

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::super::remote::Remote;
use super::{
    Blob, Halt, Restart, Shared, State, attempt::Attempt, broken, fault_of_ours, ledger::Ledger, partial::Partial,
    source::Source,
};
use crate::{
    backend::{
        Error, Kind,
        embedded::store::{Room, blobs},
    },
    model::Digest,
};

/// One download.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) blob: Blob,
    pub(super) remote: Arc<dyn Remote>,
    pub(super) room: Option<Room>,
    pub(super) state: watch::Sender<State>,
    pub(super) unwanted: CancellationToken,
}

/// What an attempt is to do otherwise than the first.
#[derive(Debug, Default)]
struct Lessons {
    /// Nothing that lies there is of use.
    over: bool,
    /// Validators change without reason.
    unsteady: bool,
    /// The partial file was lost before.
    lost: bool,
}

// === impl Task ===

impl Task {
    /// Whether the blob is new. When it returns, nothing of it goes on and no file is open.
    pub(super) async fn run(&mut self) -> Result<bool, Error> {
        let mut lessons = Lessons::default();
        loop {
            let restart = match self.attempt(&lessons).await {
                Ok(new) => return Ok(new),
                Err(Halt::Over(restart)) => restart,
                Err(Halt::Failed(error)) => return Err(error),
                Err(Halt::Stream | Halt::Elsewhere) => return Err(fault_of_ours()),
            };
            let text = lessons.learn(&restart)?;
            tracing::warn!(digest = %self.blob.digest, why = ?restart, "a download starts over");
            self.state.send_modify(|state| {
                state.attempt += 1;
                state.completed = 0;
                state.text = Some(text.to_owned());
            });
        }
    }

    async fn attempt(&mut self, lessons: &Lessons) -> Result<bool, Halt> {
        let (store, blob, over) = (Arc::clone(&self.shared.store), self.blob.clone(), lessons.over);
        let open = move || {
            let Blob { digest, size } = &blob;
            if blobs::present(store.layout(), digest, *size) {
                // Of another user's blob the age stays: no reason to fetch it.
                let _old = blobs::touch(&store.layout().blob(digest)).is_err();
                return Ok(None);
            }
            Partial::open(&store, &blob, over).map(Some)
        };
        let opened = tokio::task::spawn_blocking(open).await.map_err(broken)?;
        let Some((partial, resume)) = opened.map_err(Halt::Failed)? else {
            self.state.send_modify(|state| state.completed = self.blob.size);
            return Ok(false);
        };
        let resumed = resume.durable.len() > 0;
        let (limits, size) = (&self.shared.limits, self.blob.size);
        let attempt = Attempt {
            blob: &self.blob,
            limits,
            connections: &self.shared.connections,
            state: &self.state,
            unwanted: &self.unwanted,
            source: Source::new(
                Arc::clone(&self.remote),
                size,
                limits.no_progress,
                resume.validator,
                !lessons.unsteady,
            ),
            partial: Arc::new(partial),
            ledger: Arc::new(Ledger::new(size, resume.durable, self.room.take(), limits)),
            jobs: TaskTracker::new(),
        };
        let mut ended = attempt.run().await;
        if let Err(Halt::Over(Restart::Mismatch(got))) = &ended
            && !resumed
        {
            ended = Err(Halt::Failed(mismatch(&self.blob, got)));
            attempt.discard().await;
        }
        self.room = attempt.room();
        ended
    }
}

// === impl Lessons ===

impl Lessons {
    /// Takes note of why an attempt is to be followed by another; in words. An error when there is to be none.
    fn learn(&mut self, restart: &Restart) -> Result<&'static str, Error> {
        match restart {
            Restart::Changed => {
                (self.over, self.unsteady) = (true, true);
                Ok("the registry has another file than before: started over")
            }
            Restart::Mismatch(_) => {
                self.over = true;
                Ok("what was kept of an earlier download is damaged: started over")
            }
            Restart::Lost if self.lost => Err(Error::new(
                Kind::StoreUnusable,
                "another process removes its partial files: the operator may stop that, or configure another store",
            )),
            Restart::Lost => {
                self.lost = true;
                Ok("another process removed the partial file: started over")
            }
        }
    }
}

fn mismatch(blob: &Blob, got: &Digest) -> Error {
    let wanted = &blob.digest;
    Error::new(
        Kind::DigestMismatch,
        format!("the registry gives a blob with the digest {got} where {wanted} was asked for"),
    )
}
