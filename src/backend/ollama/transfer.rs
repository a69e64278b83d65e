//! What a pull and a push have in common: one at a time, followed to its last line, and begun again where Ollama was still
//! stopping the one before.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};

use super::{
    client::Client,
    error::Doing,
    events::Reader,
    wire::{TransferRequest, Version},
};
use crate::{
    backend::{Error, call::TaskReporter, turns::Turns},
    model::{Event, ModelName},
};

/// From a closed connection until Ollama has let go of its blob: it notices within milliseconds, unless it is starved.
const SETTLE: Duration = Duration::from_secs(1);
/// For Ollama's answer that shows it is not: as long as a probe may take.
const SETTLE_ANSWER: Duration = Duration::from_secs(10);
/// A cancelled transfer sleeps up to 32 s before it is gone; who joins it meanwhile is told that it was cancelled.
const TRIES: u32 = 8;
/// Before the second try, doubled before each further one up to the last: 60 s in all.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(16);

/// What is asked of Ollama.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer<'a> {
    pub(super) doing: Doing,
    pub(super) path: &'static str,
    pub(super) name: &'a ModelName,
    pub(super) insecure: bool,
}

/// The one turn, and what must happen before it is given on.
pub(super) struct Turn {
    client: Client,
    /// Present until it is given on.
    permit: Option<OwnedSemaphorePermit>,
    /// A request is open on Ollama's side.
    asked: bool,
}

// === impl Transfer ===

impl Transfer<'_> {
    /// All of it, with the tries that it takes.
    pub(super) async fn run(self, client: &Client, turn: &mut Turn, reporter: &TaskReporter) -> Result<(), Error> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            turn.asked = true;
            let ended = self.follow(client, reporter).await;
            turn.asked = false;
            match ended {
                Err((_, true)) if attempt < TRIES => {
                    let reason = "Ollama was still stopping an earlier transfer of the same content";
                    reporter.report(Event::Restarted(reason.to_owned())).await;
                    sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                Err((error, _)) => return Err(error),
                Ok(()) => break,
            }
        }
        Ok(())
    }

    /// One request to its last line. With its error, whether Ollama was still busy with an earlier one.
    async fn follow(self, client: &Client, reporter: &TaskReporter) -> Result<(), (Error, bool)> {
        let model = self.name.to_string();
        let ask = TransferRequest {
            model: &model,
            insecure: self.insecure,
            stream: true,
        };
        let begun = client.stream(self.doing, self.path, &ask).await;
        let mut stream = begun.map_err(|error| (error, false))?;
        let mut reader = Reader::default();
        while let Some(line) = stream.next().await.map_err(|error| (error, stream.canceled))? {
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
