//! One blob from the store to a registry: looked for, mounted, or sent in chunks.
//!
//! ```text
//! look      HEAD of the blob: most of a model is there already
//! begin     POST, which mounts the blob from another repository of the registry when one is known to have had it
//! send      PATCH of a chunk; its answer says where the next one goes
//! ask       GET of the upload after a fault: it goes on with what the registry has
//! finish    PUT with the digest
//! ```
//!
//! A registry that lost the upload gets a new one, a few times. Docker's own registry loses it whenever a connection breaks in
//! the middle of a chunk (it refuses what it holds itself then), and goes on where one broke between two; so a chunk is
//! small beside a model and large beside a round trip.
//!
//! The digest is taken of what is read to be sent, once for each upload. An upload whose bytes are others than their digest
//! says is abandoned, never finished.
//!
//! | file | holds |
//! |---|---|
//! | `session` | the requests of an upload, one try each |
//! | `location` | where a registry may have its uploads |
//! | `chunk` | a part of a file as a body, its digest and its progress |

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::sleep;

use self::{
    chunk::Source,
    session::{Answer, Open},
};
use super::{
    auth::Scope,
    client::Registry,
    fault::Place,
    remote::Fault,
    transfer::{Limits, tries::Tries},
};
use crate::{
    backend::{
        Error, Kind,
        embedded::store::{self, layout, manifest::Layer},
    },
    model::ModelName,
};

mod chunk;
mod location;
mod session;

/// Uploads of one blob that are begun, the first one included.
const SESSIONS: u32 = 5;
/// Bytes of the smallest chunk, where a registry takes no large ones.
const SMALLEST: u64 = 256 << 10;
/// From the last chunk to the registry's word that it has the blob: it may read all of it again.
const FINISH: Duration = Duration::from_mins(5);
/// For an upload that is abandoned to be told so: a cancelled push has a second.
const ABANDON: Duration = Duration::from_millis(800);

/// What is to be sent.
pub(crate) struct Wanted {
    pub(crate) name: ModelName,
    pub(crate) insecure: bool,
    pub(crate) layer: Layer,
    /// Where its bytes lie.
    pub(crate) path: PathBuf,
    /// A repository of the same registry that may have it: `namespace/model`.
    pub(crate) from: Option<String>,
    /// Is told how many bytes are on their way, in no order.
    pub(crate) told: Box<dyn Fn(u64) + Send + Sync>,
}

/// One blob on its way.
pub(crate) struct Upload {
    registry: Registry,
    scope: Scope,
    wanted: Wanted,
    limits: Limits,
    /// Bytes that the registry said it has, those that it was sent twice counted twice.
    acknowledged: AtomicU64,
    /// The upload that the registry holds open.
    open: Mutex<Option<Open>>,
}

/// How the blob came to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    There,
    Mounted,
    Whole,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy)]
enum Step {
    Look,
    Begin,
    Send,
    /// After a fault while a chunk was sent.
    Ask,
    Finish,
    /// After a fault while it was finished: it may be.
    LookAgain,
}

/// What a step led to.
enum Came {
    Next(Step),
    Ended(Sent),
}

/// The open file of an upload, and its chunks.
struct Sending {
    /// Nothing before it is needed: most blobs are there.
    source: Option<Arc<Source>>,
    /// Bytes of the next one: fewer after a fault, for a proxy that takes no large ones may just close the connection.
    chunk: u64,
    /// Bytes of the largest one.
    most: u64,
    /// Mounting is tried once: a registry that refuses it, or fails at it, takes the bytes.
    mount_tried: bool,
    /// Uploads that the registry began.
    sessions: u32,
    /// Why the last upload was lost.
    lost: Option<Fault>,
}

// === impl Registry ===

impl Registry {
    /// An upload of this blob; asks nothing yet. Fails when the model's registry may not be asked.
    pub(crate) fn upload(&self, wanted: Wanted, limits: &Limits) -> Result<Upload, Error> {
        let scope = self.scope(&wanted.name, wanted.insecure).map_err(|fault| fault.error)?;
        Ok(Upload {
            registry: self.clone(),
            scope: scope.pushing(),
            wanted,
            limits: limits.clone().sound(),
            acknowledged: AtomicU64::new(0),
            open: Mutex::default(),
        })
    }
}

// === impl Upload ===

impl Upload {
    /// Returns when the registry has the blob. Dropping the future leaves an upload that [`abandon`](Self::abandon) ends.
    pub(crate) async fn run(&self) -> Result<Sent, Error> {
        let gained = || self.acknowledged.load(Ordering::Relaxed);
        let mut tries = Tries::new(&self.limits, 0);
        let mut sending = Sending {
            source: None,
            chunk: self.limits.part,
            most: self.limits.part,
            mount_tried: false,
            sessions: 0,
            lost: None,
        };
        let mut step = Step::Look;
        loop {
            let after = match step {
                Step::Send => Step::Ask,
                Step::Finish => Step::LookAgain,
                same => same,
            };
            step = match self.step(step, &mut sending).await {
                Ok(Came::Ended(sent)) => return Ok(sent),
                Ok(Came::Next(next)) => next,
                Err(fault) => {
                    sending.chunk = smaller(sending.chunk, 2);
                    let digest = &self.wanted.layer.digest;
                    let error = fault.error.clone();
                    let wait = tries.after(fault, gained())?;
                    tracing::debug!(%digest, ?wait, %error, "a blob's upload goes on after a fault");
                    sleep(wait).await;
                    after
                }
            };
        }
    }

    /// Tells the registry that an upload which was begun will not be finished, if there is time for that.
    pub(crate) async fn abandon(&self) {
        let open = self.open().take();
        if let Some(open) = open
            && tokio::time::timeout(ABANDON, self.delete(&open)).await.is_err()
        {
            tracing::debug!(digest = %self.wanted.layer.digest, "an upload is left to its registry");
        }
    }

    async fn step(&self, step: Step, sending: &mut Sending) -> Result<Came, Fault> {
        match step {
            Step::Look | Step::LookAgain if self.is_there().await? => {
                self.open().take();
                Ok(Came::Ended(Sent::There))
            }
            Step::Look => Ok(Came::Next(Step::Begin)),
            Step::LookAgain => Ok(Came::Next(Step::Ask)),
            Step::Begin => self.begin(sending).await,
            Step::Send => self.send(sending).await,
            Step::Ask => {
                let Some(open) = self.now() else {
                    return Ok(Came::Next(Step::Begin));
                };
                let answer = match self.status(&open).await? {
                    // It would take what was sent for ever.
                    Answer::Open(now) if now.offset < open.offset => Answer::Lost(self.forgot()),
                    answer => answer,
                };
                self.answered(answer, sending)
            }
            Step::Finish => self.finish(sending).await,
        }
    }

    async fn begin(&self, sending: &mut Sending) -> Result<Came, Fault> {
        if sending.sessions == SESSIONS {
            return Err(Fault::never(self.never_kept(sending.lost.take())));
        }
        let mounted = match &self.wanted.from {
            Some(from) if !sending.mount_tried => {
                let mounted = self.mount(from).await;
                // A registry that is busy has not looked at it yet.
                sending.mount_tried =
                    !matches!(&mounted, Err(fault) if matches!(fault.error.kind, Kind::RegistryBusy(_)));
                mounted?
            }
            _ => None,
        };
        let answer = match mounted {
            Some(Answer::Whole) => return Ok(Came::Ended(Sent::Mounted)),
            Some(answer) => answer,
            None => self.start().await?,
        };
        // Behind the answer: what never began cannot be lost.
        sending.sessions += 1;
        sending.source = Some(self.opened().await?);
        self.answered(answer, sending)
    }

    async fn send(&self, sending: &mut Sending) -> Result<Came, Fault> {
        let (Some(open), Some(source)) = (self.now(), &sending.source) else {
            return Ok(Came::Next(Step::Begin));
        };
        let end = self.wanted.layer.size.min(open.offset.saturating_add(sending.chunk));
        if open.offset == end {
            return Ok(Came::Next(Step::Finish));
        }
        let answer = self.patch(&open, end, source).await?;
        if matches!(answer, Answer::TooLarge(_)) && sending.chunk > SMALLEST {
            sending.chunk = smaller(sending.chunk, 4);
            sending.most = sending.chunk;
            return Ok(Came::Next(Step::Ask));
        }
        sending.chunk = sending.chunk.saturating_mul(2).min(sending.most);
        self.answered(answer, sending)
    }

    async fn finish(&self, sending: &mut Sending) -> Result<Came, Fault> {
        let (Some(open), Some(source)) = (self.now(), &sending.source) else {
            return Ok(Came::Next(Step::Begin));
        };
        source.check(&self.wanted)?;
        let answer = self.put(&open).await?;
        self.answered(answer, sending)
    }

    /// What an answer of the registry means for what comes next.
    fn answered(&self, answer: Answer, sending: &mut Sending) -> Result<Came, Fault> {
        match answer {
            Answer::Whole => {
                self.open().take();
                Ok(Came::Ended(Sent::Whole))
            }
            Answer::Open(open) => {
                let read = sending.source.as_ref().map_or(0, |source| source.read());
                if open.offset > read {
                    let says = format_args!(
                        "says that it has {} bytes of a blob of which {read} were sent",
                        open.offset
                    );
                    return Err(super::fault::protocol(&self.place(), says));
                }
                let offset = open.offset;
                let before = self.open().replace(open).map_or(0, |before| before.offset);
                let gained = offset.saturating_sub(before);
                self.acknowledged.fetch_add(gained, Ordering::Relaxed);
                (self.wanted.told)(offset);
                Ok(Came::Next(Step::Send))
            }
            Answer::Lost(fault) => {
                self.open().take();
                sending.lost = Some(fault);
                Ok(Came::Next(Step::Begin))
            }
            Answer::Astray(fault) | Answer::TooLarge(fault) => Err(fault),
        }
    }

    /// The blob's file, opened anew for each upload: its digest is taken from its beginning.
    async fn opened(&self) -> Result<Arc<Source>, Fault> {
        let path = self.wanted.path.clone();
        let opened = tokio::task::spawn_blocking(move || layout::open_regular(&path)).await;
        let opened = opened.map_err(|error| {
            Fault::never(Error::new(Kind::Internal, "the store failed by a fault of this service").because(error))
        })?;
        let (file, metadata) = opened.map_err(|error| Fault::never(store::failed("read a blob", error)))?;
        if metadata.len() != self.wanted.layer.size {
            return Err(self.wanted.corrupt());
        }
        Ok(Arc::new(Source::new(file)))
    }

    fn forgot(&self) -> Fault {
        let message = format!(
            "{} forgot a part of the blob {}",
            self.place(),
            self.wanted.layer.digest.short()
        );
        Fault::soon(Error::new(Kind::RegistryUnreachable, message))
    }

    /// Each upload was lost: what the registry said last.
    fn never_kept(&self, last: Option<Fault>) -> Error {
        let error = last.map(|fault| fault.error);
        let said = error.map(|error| format!(": {error}")).unwrap_or_default();
        let message = format!(
            "{} lost the upload of the blob {} {SESSIONS} times{said}",
            self.place(),
            self.wanted.layer.digest.short()
        );
        Error::new(Kind::RegistryUnreachable, message)
    }

    fn now(&self) -> Option<Open> {
        self.open().clone()
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self) -> Place<'_> {
        Place {
            registry: &self.scope.registry,
            at: &self.scope.registry,
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload")
            .field("scope", &self.scope)
            .field("layer", &self.wanted.layer)
            .finish_non_exhaustive()
    }
}

/// A chunk that may get through where this one did not.
fn smaller(chunk: u64, times: u64) -> u64 {
    chunk.min((chunk / times).max(SMALLEST))
}

// === impl Wanted ===

impl Wanted {
    /// The store's file is not what its name says.
    fn corrupt(&self) -> Fault {
        let message = format!(
            "the blob {} of the model `{}` is damaged in the store: it was not sent; pull or create the model again",
            self.layer.digest.short(),
            self.name
        );
        Fault::never(Error::new(Kind::DigestMismatch, message))
    }
}
