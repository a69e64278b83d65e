//! One attempt at a blob: fetching, writing, hashing, recording and telling, side by side.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Blob, Halt, Limits, Restart, State, broken,
    fetch::Fetch,
    hash,
    ledger::Ledger,
    partial::{Failed, Partial},
    source::Source,
    writer,
};
use crate::backend::{Error, Kind, embedded::store::Room};

/// Between two looks at how far it has come.
const TICK: Duration = Duration::from_millis(100);

/// What one attempt works with.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) blob: &'a Blob,
    pub(super) limits: &'a Limits,
    pub(super) connections: &'a Semaphore,
    pub(super) state: &'a watch::Sender<State>,
    pub(super) unwanted: &'a CancellationToken,
    pub(super) source: Source,
    pub(super) partial: Arc<Partial>,
    pub(super) ledger: Arc<Ledger>,
    /// Blocking jobs. None outlives the attempt.
    pub(super) jobs: TaskTracker,
}

// === impl Attempt ===

impl Attempt<'_> {
    /// Fetches what is missing and publishes the blob; whether it is new. However it ends, nothing of it goes on, and what
    /// may be of use is recorded.
    pub(super) async fn run(&self) -> Result<bool, Halt> {
        let ended = tokio::select! {
            biased;
            () = self.unwanted.cancelled() => Err(Halt::Failed(unwanted())),
            ended = self.whole() => ended,
            () = self.tell() => Err(Halt::Elsewhere),
        };
        self.jobs.close();
        self.jobs.wait().await;
        self.jobs.reopen();
        self.show();
        if matches!(ended, Err(Halt::Failed(_))) && self.ledger.unrecorded() > 0 {
            // For a resume. That it failed is not what the caller has to know.
            if let Err(error) = self.record().await {
                tracing::warn!(digest = %self.blob.digest, ?error, "what came of a blob could not be recorded");
            }
        }
        ended
    }

    /// Removes the partial file: no byte of it is of use.
    pub(super) async fn discard(&self) {
        let removed = self.blocking(|partial| {
            partial.remove();
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(digest = %self.blob.digest, ?error, "a damaged partial file stays");
        }
    }

    /// The room that it did not use.
    pub(super) fn room(self) -> Option<Room> {
        Arc::into_inner(self.ledger).and_then(Ledger::into_room)
    }

    async fn whole(&self) -> Result<bool, Halt> {
        let fetched = self.fetch();
        let hashed = hash::follow(&self.partial, self.blob.size, self.ledger.marks(), &self.jobs);
        let (digest, ()) = tokio::try_join!(hashed, async {
            tokio::try_join!(fetched, self.keep_record()).map(|_| ())
        })?;
        if digest != self.blob.digest {
            return Err(Halt::Over(Restart::Mismatch(digest)));
        }
        self.blocking(Partial::publish).await
    }

    async fn fetch(&self) -> Result<(), Halt> {
        let (jobs, queue) = mpsc::channel(writer::QUEUE);
        let (partial, ledger, size) = (Arc::clone(&self.partial), Arc::clone(&self.ledger), self.blob.size);
        let mut writer = self
            .jobs
            .spawn_blocking(move || writer::write(&partial, &ledger, size, queue));
        let fetch = Fetch {
            source: &self.source,
            limits: self.limits,
            connections: self.connections,
            ledger: &self.ledger,
            writer: jobs,
            size,
        };
        let fetched = tokio::select! {
            fetched = fetch.run() => fetched,
            // Before its time: it failed.
            written = &mut writer => return Err(failed_writing(written)),
        };
        match fetched {
            Err(Halt::Elsewhere) => Err(failed_writing(writer.await)),
            other => other,
        }
    }

    /// Records what is written, again and again, until all is.
    async fn keep_record(&self) -> Result<(), Halt> {
        let (size, mut marks) = (self.blob.size, self.ledger.marks());
        loop {
            let due = |written: u64| written == size || self.ledger.unrecorded() >= self.ledger.due;
            let marks = marks.wait_for(|marks| due(marks.written)).await;
            let whole = marks.map_err(|_| Halt::Elsewhere)?.written == size;
            if whole && self.blob.size <= self.limits.record {
                // About to be a blob, or else soon fetched again.
                return self.blocking(Partial::sync).await;
            }
            if self.ledger.unrecorded() > 0 {
                self.record().await?;
            }
            if whole {
                return Ok(());
            }
        }
    }

    async fn record(&self) -> Result<(), Halt> {
        let (written, validator) = (self.ledger.snapshot(), self.source.validator());
        let bytes = written.len();
        self.blocking(move |partial| partial.record(&written, validator.as_deref()))
            .await?;
        self.ledger.recorded(bytes);
        Ok(())
    }

    async fn blocking<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Partial) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Halt> {
        let partial = Arc::clone(&self.partial);
        let done = self.jobs.spawn_blocking(move || job(&partial)).await;
        done.map_err(broken)?.map_err(|failed| match failed {
            Failed::Lost => Halt::Over(Restart::Lost),
            Failed::Error(error) => Halt::Failed(error),
        })
    }

    /// Tells how far it has come. Ends with the attempt.
    async fn tell(&self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.show();
        }
    }

    fn show(&self) {
        let written = self.ledger.written();
        self.state.send_if_modified(|state| {
            let more = written > state.completed;
            state.completed = state.completed.max(written);
            more
        });
    }
}

fn unwanted() -> Error {
    Error::new(Kind::Interrupted, "the download was stopped")
}

fn failed_writing(ended: Result<Result<(), Error>, tokio::task::JoinError>) -> Halt {
    match ended {
        Ok(Err(error)) => Halt::Failed(error),
        Err(error) => broken(error),
        Ok(Ok(())) => Halt::Elsewhere,
    }
}
