//! One pull at a time an Ollama, whatever the model.
//!
//! Two pulls that meet at a blob can end its process: one that joined while the other still asked for the blob's size waits
//! for ever, and the process dies when it leaves. So a pull begins when the one before it is over on Ollama's side as well,
//! and a pull that was left is given [`SETTLE`] for that. Other clients of the same Ollama are out of our reach.
//!
//! Ollama stops a pull when its connection closes, and keeps what it has.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::OwnedSemaphorePermit,
    time::{sleep, timeout},
};

use super::{
    Shared,
    client::Client,
    error::Doing,
    events::Reader,
    list,
    wire::{PullRequest, Version},
};
use crate::{
    backend::{
        Call, Done, Error, Kind, PullSpec,
        call::{self, TaskReporter},
        turns::Turns,
    },
    model::{Event, Phase},
};

/// From a closed connection until Ollama has let go of its blob: it notices within milliseconds, unless it is starved.
const SETTLE: Duration = Duration::from_secs(1);
/// For Ollama's answer that shows it is not: as long as a probe may take.
const SETTLE_ANSWER: Duration = Duration::from_secs(10);
/// A cancelled download sleeps up to 32 s before it is gone; who joins it meanwhile is told that it was cancelled.
const TRIES: u32 = 8;
/// Before the second try, doubled before each further one up to the last: 60 s in all.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(16);

/// The pulls of one Ollama.
#[derive(Debug)]
pub(super) struct Pulls {
    shared: Arc<Shared>,
    turns: Arc<Turns>,
}

/// The one turn, and what must happen before it is given on.
struct Turn {
    client: Client,
    /// Present until it is given on.
    permit: Option<OwnedSemaphorePermit>,
    /// A request is open on Ollama's side.
    asked: bool,
}

// === impl Pulls ===

impl Pulls {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            turns: Arc::new(Turns::new(1)),
        }
    }

    /// Begins a pull.
    pub(super) fn start(&self, spec: PullSpec) -> Box<dyn Call> {
        let (shared, turns) = (Arc::clone(&self.shared), Arc::clone(&self.turns));
        call::task(|reporter| async move {
            let whole = run(&shared, &turns, &spec, &reporter);
            reporter.unless_stopped(whole).await
        })
    }
}

async fn run(shared: &Shared, turns: &Turns, spec: &PullSpec, reporter: &TaskReporter) -> Result<Done, Error> {
    let client = &shared.client;
    // A create that was cancelled is still being made, and would replace what comes.
    let _held = shared.names.hold(&spec.name).await;
    let permit = turns.take(reporter).await;
    let mut turn = Turn {
        client: client.clone(),
        permit,
        asked: false,
    };
    reporter.report(Event::Entered(Phase::Resolving)).await;
    let before = list::find(shared, &spec.name).await?.map(|model| model.digest.clone());
    let mut pause = FIRST_PAUSE;
    for attempt in 1.. {
        turn.asked = true;
        let ended = follow(client, spec, reporter).await;
        turn.asked = false;
        match ended {
            Err((_, true)) if attempt < TRIES => {
                let reason = "Ollama was still stopping an earlier pull of the same content";
                reporter.report(Event::Restarted(reason.to_owned())).await;
                sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            Err((error, _)) => return Err(error),
            Ok(()) => break,
        }
    }
    let after = list::find(shared, &spec.name).await?.map(|model| model.digest.clone());
    Ok(Done {
        changed: after != before,
        provenance: None,
    })
}

/// One request to its last line. With its error, whether Ollama was still busy with an earlier pull.
async fn follow(client: &Client, spec: &PullSpec, reporter: &TaskReporter) -> Result<(), (Error, bool)> {
    let model = spec.name.to_string();
    let ask = PullRequest {
        model: &model,
        insecure: spec.insecure,
        stream: true,
    };
    let begun = client.stream(Doing::Pulling, "/api/pull", &ask).await;
    let mut stream = begun.map_err(|error| (error, false))?;
    let mut reader = Reader::default();
    while let Some(line) = stream
        .next()
        .await
        .map_err(|error| (named(error, &model), stream.canceled))?
    {
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

/// Ollama's words for what is nowhere have no name in them.
fn named(error: Error, model: &str) -> Error {
    match error.kind {
        Kind::NotFound => Error {
            message: format!("`{model}` cannot be pulled: {}", error.message),
            ..error
        },
        _ => error,
    }
}

// === impl Turn ===

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
                "a pull was left: the next may begin"
            );
            drop(permit);
        });
    }
}
