//! Follows what an engine does for an operation: reports it, bounds its silence, stops it when it is told to.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

use super::{
    Outcome, error,
    work::{ModelReporter, ModelWork},
};
use crate::{
    backend::{Call, Cancelled, Done, Error, Kind, Next},
    model::{Event, Failure, ModelName, Phase, Snapshot},
    operation::End,
    telemetry::metrics,
};

/// An engine may be silent this long: reading and checking a model of hundreds of gigabytes takes minutes without a word.
const STALL: Duration = Duration::from_mins(15);

/// An engine may take this long to say what it has of a name: a disk that has to wake up takes seconds.
pub(super) const QUESTION: Duration = Duration::from_mins(1);

/// How a step ends when it does not succeed.
#[derive(Debug)]
pub(super) enum Stop {
    Failed(Failure),
    Stopped { continues: Option<String> },
}

/// Which model on which backend, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct At<'a> {
    /// The entry's name.
    pub(super) entry: &'a str,
    pub(super) name: &'a ModelName,
}

/// Where a job reports to, and since when.
#[derive(Debug)]
pub(super) struct Progress {
    reporter: ModelReporter,
    /// The entry's name.
    backend: String,
    start: Instant,
    /// Of an operation that was taken up again.
    before: Duration,
}

/// How the operation ends, told to the log.
pub(super) fn end(ended: Result<Outcome, Stop>) -> End<ModelWork> {
    match ended {
        Ok(outcome) => {
            tracing::info!(changed = outcome.changed, "operation succeeded");
            End::Done(outcome)
        }
        Err(Stop::Failed(failure)) => {
            tracing::warn!(reason = %failure.reason.text(), error = %failure, "operation failed");
            End::Failed(failure)
        }
        Err(Stop::Stopped { continues }) => {
            tracing::info!(continues, "operation stopped");
            End::Stopped { continues }
        }
    }
}

// === impl At ===

impl At<'_> {
    /// An engine's failure, for callers; its cause goes to the log.
    pub(super) fn failed(self, error: &Error) -> Failure {
        if let Some(source) = &error.source {
            let chain = crate::telemetry::Chain(&**source);
            tracing::warn!(backend.name = self.entry, error = %error, cause = %chain, "engine call failed");
        }
        error::backend(error, self.entry, self.name)
    }

    /// A question that has its answer within `limit`.
    pub(super) async fn within<T>(
        self,
        limit: Duration,
        question: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Failure> {
        let answered = tokio::time::timeout(limit, question).await.unwrap_or_else(|_elapsed| {
            let seconds = limit.as_secs();
            let message = format!("backend `{}` did not answer within {seconds} s", self.entry);
            Err(Error::new(Kind::Stalled, message))
        });
        answered.map_err(|error| self.failed(&error))
    }
}

// === impl Progress ===

impl Progress {
    /// Of a job that begins now.
    pub(super) fn begin(reporter: ModelReporter, backend: &str) -> Self {
        reporter.running();
        let before = reporter.look(|snapshot| snapshot.elapsed);
        Self {
            reporter,
            backend: backend.to_owned(),
            start: Instant::now(),
            before,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.report(Event::Entered(phase));
        // What the engine said of its own work says nothing of ours; why it was begun anew is still to be read.
        if self.reporter.look(|snapshot| snapshot.attempt == 1) {
            self.report(Event::Text(String::new()));
        }
    }

    pub(super) fn report(&self, event: Event) {
        let (at, before) = (self.before + self.start.elapsed(), self.bytes());
        if let Event::Entered(phase) = &event
            && self.reporter.look(|snapshot| snapshot.phase.name() != phase.name())
        {
            tracing::info!(phase = phase.name(), "operation entered a phase");
        }
        self.reporter.report(|snapshot: Snapshot| snapshot.fold(event, at));
        let (phase, began, bytes) = self.bytes();
        // What a phase begins with was there already.
        if began == before.1 && bytes > before.2 {
            metrics::operation_bytes(&self.backend, phase, bytes - before.2);
        }
    }

    fn bytes(&self) -> (&'static str, Option<SystemTime>, u64) {
        self.reporter.look(|snapshot| {
            let began = snapshot.phases.last().map(|phase| phase.start_time);
            (snapshot.phase.name(), began, snapshot.completed_bytes)
        })
    }

    /// A question to the engine, given up when the operation is told to stop: an engine that hangs holds up no cancel.
    pub(super) async fn unless_stopped<T>(
        &self,
        question: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Stop> {
        tokio::select! {
            biased;
            answer = question => answer.map_err(Stop::from),
            _why = self.reporter.stopped() => Err(Stop::Stopped { continues: None }),
        }
    }

    /// Follows long work to its end, until it is told to stop, or until nothing has changed for too long.
    pub(super) async fn follow(&self, at: At<'_>, mut call: Box<dyn Call>) -> Result<Done, Stop> {
        let mut moved = (Instant::now(), self.mark());
        loop {
            tokio::select! {
                next = call.next() => match next {
                    Next::Event(event) => {
                        let alive = event == Event::Alive;
                        self.report(event);
                        let mark = self.mark();
                        if alive || mark != moved.1 {
                            moved = (Instant::now(), mark);
                        }
                    }
                    Next::Ended(ended) => return ended.map_err(|error| at.failed(&error).into()),
                },
                _why = self.reporter.stopped() => {
                    return match call.cancel().await {
                        Cancelled::Stopped => Err(Stop::Stopped { continues: None }),
                        Cancelled::GoesOn(what) => Err(Stop::Stopped { continues: Some(what) }),
                        Cancelled::Ended(ended) => ended.map_err(|error| at.failed(&error).into()),
                    };
                }
                () = tokio::time::sleep_until(moved.0 + STALL) => {
                    if let Cancelled::Ended(Ok(done)) = call.cancel().await {
                        return Ok(done);
                    }
                    let minutes = STALL.as_secs() / 60;
                    let message = format!("backend `{}` made no progress for {minutes} minutes", at.entry);
                    return Err(at.failed(&Error::new(Kind::Stalled, message)).into());
                }
            }
        }
    }

    /// What counts as progress: a phase, an attempt or bytes; not a repeated line. Who waits its turn says [`Event::Alive`].
    fn mark(&self) -> (Option<SystemTime>, u32, u64) {
        self.reporter.look(|snapshot| {
            (
                snapshot.phases.last().map(|phase| phase.start_time),
                snapshot.attempt,
                snapshot.completed_bytes,
            )
        })
    }
}

// === impl Stop ===

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

#[cfg(test)]
mod tests;
