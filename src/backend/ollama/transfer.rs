//! What a pull and a push have in common: one at a time, followed to its last line, begun again where Ollama was still
//! stopping the one before, and left when that harms nobody.
//!
//! A connection that closes between Ollama's preparing of a blob and the start of its transfer ends Ollama's process: it
//! stops a transfer that there is not yet (`release` in its `download.go` and `upload.go`). How long that moment is depends on
//! its scheduler; a busy machine was seen to meet it. So a transfer is left at a line that shows a blob on its way, with more
//! to come than came since the line before: Ollama says one each 60 ms. Where no line comes, for a slow registry, it is left
//! after [`LEAVE`] all the same.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};

use super::{
    Shared,
    client::Client,
    error::Doing,
    events::Reader,
    stream::Last,
    wire::{Line, TransferRequest, Version},
};
use crate::{
    backend::{
        Call, Done, Error, Kind,
        call::{self, TaskReporter},
        turns::Turns,
    },
    model::{Event, ModelName},
};

/// From a closed connection until Ollama has let go of its blob: it notices within milliseconds, unless it is starved.
const SETTLE: Duration = Duration::from_secs(1);
/// For Ollama's answer that shows it is not: as long as a probe may take.
const SETTLE_ANSWER: Duration = Duration::from_secs(10);
/// For a good moment to leave: less than what a task has that is no longer wanted.
const LEAVE: Duration = Duration::from_millis(800);
/// A cancelled transfer sleeps up to 32 s before it is gone; who joins it meanwhile is told that it was cancelled.
const TRIES: u32 = 8;
/// Before the second try, doubled before each further one up to the last: 60 s in all.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(16);

/// Transfers of one Ollama, those to it or those from it: one at a time.
#[derive(Debug)]
pub(super) struct OneAtATime {
    shared: Arc<Shared>,
    turns: Arc<Turns>,
}

/// What is asked of Ollama.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub(super) doing: Doing,
    pub(super) path: &'static str,
    pub(super) name: &'a ModelName,
    pub(super) insecure: bool,
}

/// Where a transfer is, by the last line of a blob.
#[derive(Debug, Default)]
struct Way {
    digest: String,
    completed: i64,
}

/// The one turn, and what must happen before it is given on.
pub(super) struct Turn {
    client: Client,
    /// Present until it is given on.
    permit: Option<OwnedSemaphorePermit>,
    /// A request is open on Ollama's side.
    asked: bool,
}

// === impl OneAtATime ===

impl OneAtATime {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            turns: Arc::new(Turns::new(1)),
        }
    }

    /// Begins a task that waits for its [`Turn`] itself.
    pub(super) fn start<F>(&self, run: impl FnOnce(Arc<Shared>, Arc<Turns>, TaskReporter) -> F) -> Box<dyn Call>
    where
        F: Future<Output = Result<Done, Error>> + Send + 'static,
    {
        let (shared, turns) = (Arc::clone(&self.shared), Arc::clone(&self.turns));
        call::task(|reporter| run(shared, turns, reporter))
    }
}

// === impl Transfer ===

impl Transfer<'_> {
    /// All of it, with the tries that it takes.
    pub(super) async fn run(self, client: &Client, turn: &mut Turn, reporter: &TaskReporter) -> Result<(), Error> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.follow(client, turn, reporter).await {
                Err((_, true)) if attempt < TRIES => {
                    let reason = "Ollama was still stopping an earlier transfer of the same content";
                    reporter.report(Event::Restarted(reason.to_owned())).await;
                    let pausing = async {
                        sleep(pause).await;
                        Ok(())
                    };
                    reporter.unless_stopped(pausing).await?;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                Err((error, _)) => return Err(error),
                Ok(()) => break,
            }
        }
        Ok(())
    }

    /// One request to its last line. With its error, whether Ollama was still busy with an earlier one.
    async fn follow(self, client: &Client, turn: &mut Turn, reporter: &TaskReporter) -> Result<(), (Error, bool)> {
        // Who leaves has asked still, for a while, whatever made him leave.
        turn.asked = true;
        let model = self.name.to_string();
        let ask = TransferRequest {
            model: &model,
            insecure: self.insecure,
            stream: true,
        };
        let mut leave = pin!(async {
            let stopped = reporter.stopped().await;
            sleep(LEAVE).await;
            stopped
        });
        let begun = tokio::select! {
            biased;
            begun = client.stream(self.doing, self.path, &ask) => begun,
            stopped = &mut leave => Err(stopped),
        };
        let mut stream = begun.map_err(|error| {
            // It may have begun where its answer was lost.
            turn.asked = matches!(error.kind, Kind::Unreachable | Kind::Interrupted);
            (error, false)
        })?;
        let (mut reader, mut way) = (Reader::default(), Way::default());
        loop {
            let next = tokio::select! {
                biased;
                next = stream.next() => next,
                stopped = &mut leave => Err(stopped),
            };
            turn.asked = stream.last == Last::Unheard;
            let Some(line) = next.map_err(|error| (error, stream.last == Last::Canceled))? else {
                break;
            };
            if way.can_be_left(&line) && reporter.is_stopped() {
                return Err((reporter.stopped().await, false));
            }
            for event in reader.read(&line) {
                match event {
                    Event::Layer(_) | Event::Total(_) | Event::Bytes(_) => reporter.count(event),
                    event => reporter.report(event).await,
                }
            }
        }
        if reader.success {
            Ok(())
        } else {
            Err((stream.cut_short(), false))
        }
    }
}

// === impl Way ===

impl Way {
    /// Whether this line, which has come just now, says that Ollama is in the middle of a blob or past the last one.
    fn can_be_left(&mut self, line: &Line) -> bool {
        if line.digest.is_empty() {
            return matches!(
                line.status(),
                "verifying sha256 digest" | "writing manifest" | "pushing manifest"
            );
        }
        let (came, left) = (line.completed - self.completed, line.total - line.completed);
        let same = line.digest == self.digest;
        line.digest.clone_into(&mut self.digest);
        self.completed = line.completed;
        same && left > came.max(0)
    }
}

// === impl Turn ===

impl Turn {
    /// Waits for it.
    pub(super) async fn take(turns: &Arc<Turns>, client: &Client, reporter: &TaskReporter) -> Self {
        Self {
            permit: turns.take(reporter).await,
            client: client.clone(),
            asked: false,
        }
    }
}

impl Drop for Turn {
    /// A turn whose request was left is given on when Ollama has had its time and answers; the task ends at the latest after
    /// [`SETTLE`] and [`SETTLE_ANSWER`].
    fn drop(&mut self) {
        let (Some(permit), true) = (self.permit.take(), self.asked) else {
            return;
        };
        let client = self.client.clone();
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            sleep(SETTLE).await;
            let answered = timeout(SETTLE_ANSWER, client.get::<Version>("/api/version")).await;
            tracing::debug!(
                answered = answered.is_ok_and(|answer| answer.is_ok()),
                "a transfer was left: the next may begin"
            );
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_is_left_in_the_middle_of_a_blob_or_past_the_last() {
        let mut way = Way::default();
        let mut told = |status: &str, digest: &str, total: i64, completed: i64| {
            let line = serde_json::json!({"status": status, "digest": digest, "total": total, "completed": completed});
            way.can_be_left(&serde_json::from_value(line).unwrap())
        };
        assert!(!told("pulling manifest", "", 0, 0));
        assert!(!told("pulling a", "a", 100, 0), "the first line of it");
        assert!(told("pulling a", "a", 100, 0), "it stands still");
        assert!(told("pulling a", "a", 100, 40));
        assert!(!told("pulling a", "a", 100, 80), "it may be over before the next line");
        assert!(!told("pulling a", "a", 100, 100));
        assert!(!told("pulling b", "b", 100, 100), "it was there");
        assert!(
            !told("pulling c", "c", 0, 0) && !told("pulling c", "c", 0, 0),
            "another client prepares it"
        );
        assert!(!told("pulling d", "d", 100, 50));
        assert!(told("pulling d", "d", 100, 30), "some of it did not count");
        assert!(told("verifying sha256 digest", "", 0, 0));
        assert!(told("writing manifest", "", 0, 0));
        assert!(!told("retrieving manifest", "", 0, 0));
    }
}
