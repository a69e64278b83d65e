//! From an operation's value that changes to a caller's stream: complete snapshots at a bearable pace, then the end, once.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::BoxStream};
use tokio::{
    sync::watch,
    time::{Instant, timeout, timeout_at},
};
use tonic::{Response, Status};
use uuid::Uuid;

use super::{audit::Audit, encode, proto::v1, status};
use crate::{
    manager::{Ensured, ModelEnded, ModelStatus, ModelSubscription, Outcome},
    model::{Failure, Reason, Snapshot},
};

/// Who is neither refused nor at an operation by then waits for other work, and is told so.
const PATIENCE: Duration = Duration::from_secs(2);
/// At most four snapshots a second a caller; a change of phase is told at once.
const SPACING: Duration = Duration::from_millis(250);
/// The first snapshot waits so long for the end.
const FIRST: Duration = Duration::from_millis(5);
/// At least every ten seconds something, for proxies cut what is silent.
const HEARTBEAT: Duration = Duration::from_secs(9);

/// A stream of responses.
pub(super) type Responses<T> = BoxStream<'static, Result<T, Status>>;

/// A response of a long RPC.
pub(super) trait Follow: Sized + Send + 'static {
    /// A snapshot.
    fn progress(progress: v1::Progress) -> Self;
    /// What came of it.
    fn result(backend: &str, outcome: &Outcome) -> Self;
}

/// Paces one reader of an operation.
#[derive(Debug)]
pub(super) struct Pace {
    status: watch::Receiver<ModelStatus>,
    /// The last snapshot told, and when.
    told: Option<(Instant, Arc<Snapshot>)>,
}

/// What a reader is told next.
#[derive(Debug)]
pub(super) enum Told {
    /// A snapshot.
    Progress(Arc<Snapshot>),
    /// The end. Nothing comes after it.
    Ended(Arc<ModelEnded>),
    /// The operation is gone without an end: the service broke off.
    Gone,
}

/// One caller of a long RPC.
struct Following {
    /// The caller's place: dropping it is leaving.
    _subscription: ModelSubscription,
    pace: Pace,
    telling: Telling,
}

/// What one caller is told, and what the log is told of the call.
struct Telling {
    id: Uuid,
    joined: bool,
    backend: String,
    audit: Audit,
}

/// One caller of a long RPC whose operation is not there yet.
struct Waiting {
    start: BoxFuture<'static, Result<Ensured, Failure>>,
    since: SystemTime,
    told: bool,
    audit: Audit,
    backend: String,
}

/// How far a caller has come.
enum Stage {
    Waiting(Waiting),
    Following(Following),
    /// The last message was sent.
    Over,
}

/// Starts or joins an operation and follows it. What is refused within a moment is refused before the stream begins; who has
/// to wait for other work on the model is told so meanwhile, and leaves the queue by leaving.
pub(super) async fn follow<T: Follow>(
    start: impl Future<Output = Result<Ensured, Failure>> + Send + 'static,
    backend: String,
    mut audit: Audit,
) -> Result<Response<Responses<T>>, Status> {
    let mut start = start.boxed();
    let stage = match timeout(PATIENCE, &mut start).await {
        Ok(Ok(Ensured::Told(outcome))) => {
            audit.end_unchanged();
            return Ok(Response::new(once(T::result(&backend, &outcome))));
        }
        Ok(Ok(Ensured::Following(subscription))) => Stage::Following(Following::new(subscription, audit, backend)),
        Ok(Err(failure)) => {
            audit.end(Some(&failure));
            return Err(status::of(&failure));
        }
        Err(_) => Stage::Waiting(Waiting {
            start,
            since: SystemTime::now(),
            told: false,
            audit,
            backend,
        }),
    };
    Ok(Response::new(futures::stream::unfold(stage, next).boxed()))
}

fn once<T: Send + 'static>(item: T) -> Responses<T> {
    futures::stream::iter([Ok(item)]).boxed()
}

async fn next<T: Follow>(stage: Stage) -> Option<(Result<T, Status>, Stage)> {
    let following = match stage {
        Stage::Following(following) => following,
        Stage::Waiting(mut waiting) => {
            let patience = if waiting.told { HEARTBEAT } else { Duration::ZERO };
            match timeout(patience, &mut waiting.start).await {
                Ok(Ok(Ensured::Following(subscription))) => {
                    Following::new(subscription, waiting.audit, waiting.backend)
                }
                Ok(Ok(Ensured::Told(outcome))) => {
                    waiting.audit.end_unchanged();
                    return Some((Ok(T::result(&waiting.backend, &outcome)), Stage::Over));
                }
                Ok(Err(failure)) => {
                    waiting.audit.end(Some(&failure));
                    return Some((Err(status::of(&failure)), Stage::Over));
                }
                Err(_) => {
                    waiting.told = true;
                    let told = T::progress(encode::waiting(waiting.since));
                    return Some((Ok(told), Stage::Waiting(waiting)));
                }
            }
        }
        Stage::Over => return None,
    };
    Some(following.next().await)
}

/// Why an operation vanished.
pub(super) fn gone(id: Uuid) -> Failure {
    let message = format!("operation {id} broke off by a fault of this service");
    Failure::new(Reason::Internal, message).with("operationId", id)
}

// === impl Following ===

impl Following {
    fn new(mut subscription: ModelSubscription, mut audit: Audit, backend: String) -> Self {
        audit.operation(subscription.id());
        Self {
            pace: Pace::new(subscription.status().clone(), None),
            telling: Telling {
                id: subscription.id(),
                joined: subscription.joined(),
                backend,
                audit,
            },
            _subscription: subscription,
        }
    }

    /// What the caller is told next.
    async fn next<T: Follow>(mut self) -> (Result<T, Status>, Stage) {
        let told = self.pace.next().await;
        let goes_on = matches!(told, Told::Progress(_));
        let item = self.telling.item(told);
        let stage = if goes_on { Stage::Following(self) } else { Stage::Over };
        (item, stage)
    }
}

// === impl Telling ===

impl Telling {
    fn item<T: Follow>(&mut self, told: Told) -> Result<T, Status> {
        let ended = match told {
            Told::Progress(snapshot) => return Ok(T::progress(encode::progress(self.id, &snapshot, self.joined))),
            Told::Ended(ended) => ended,
            Told::Gone => return Err(self.failed(&gone(self.id))),
        };
        match &ended.result {
            Ok(outcome) => {
                self.audit.end(None);
                Ok(T::result(&self.backend, outcome))
            }
            // Its callers are told that the service ends, whichever they hear of first.
            Err(failure) if ended.suspended => {
                self.failed(failure);
                Err(status::shutting_down())
            }
            Err(failure) => Err(self.failed(&failure.clone().with("operationId", self.id))),
        }
    }

    fn failed(&mut self, failure: &Failure) -> Status {
        self.audit.end(Some(failure));
        status::of(failure)
    }
}

// === impl Pace ===

impl Pace {
    /// Paces a reader that knows everything up to `after`, or nothing.
    pub(super) fn new(status: watch::Receiver<ModelStatus>, after: Option<u64>) -> Self {
        let now = Arc::clone(&status.borrow().progress);
        // Who has seen the present snapshot already is told the next one.
        let told = after
            .filter(|after| now.sequence <= *after)
            .map(|_| (Instant::now(), now));
        Self { status, told }
    }

    /// What the reader is told next. Cancel-safe.
    pub(super) async fn next(&mut self) -> Told {
        loop {
            let now = self.status.borrow_and_update().clone();
            let due = match &self.told {
                None => {
                    // Most of what is there already ends at once: its end leaves with its first snapshot.
                    let ended = self.status.wait_for(|status| status.ended.is_some());
                    let _soon = tokio::time::timeout(FIRST, ended).await.is_ok();
                    let now = self.status.borrow().clone();
                    return self.tell(&now.progress);
                }
                Some((at, last)) if last.sequence == now.progress.sequence => {
                    if let Some(ended) = now.ended {
                        return Told::Ended(ended);
                    }
                    *at + HEARTBEAT
                }
                // The last snapshot before the end is told too, and so is each phase at once.
                Some((_, last)) if now.ended.is_some() || last.phases != now.progress.phases => {
                    return self.tell(&now.progress);
                }
                Some((at, _)) => *at + SPACING,
            };
            match timeout_at(due, self.status.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return self.vanished(),
                Err(_) => return self.tell(&now.progress),
            }
        }
    }

    /// As it is now.
    pub(super) fn status(&self) -> ModelStatus {
        self.status.borrow().clone()
    }

    fn tell(&mut self, snapshot: &Arc<Snapshot>) -> Told {
        self.told = Some((Instant::now(), Arc::clone(snapshot)));
        Told::Progress(Arc::clone(snapshot))
    }

    /// The sender is gone: what it left is the end, if it left one.
    fn vanished(&mut self) -> Told {
        let ended = self.status.borrow().ended.clone();
        ended.map_or(Told::Gone, Told::Ended)
    }
}

#[cfg(test)]
mod tests;
