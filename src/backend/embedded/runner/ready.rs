//! From a started process to an engine that answers. Bounded by lack of progress, not by time: a large model on a slow disk
//! takes what it takes.

use std::{process::ExitStatus, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};

use super::{
    RunnerSettings,
    child::Child,
    http::{Http, Remote},
    instance::{Ask, Instance, State},
    port, process, reason,
};
use crate::backend::{Error, Kind};

/// So often is looked for progress, and is an engine asked that listens before it has loaded.
const LOOK: Duration = Duration::from_millis(50);

/// An engine that answers.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) remote: Remote,
    pub(super) endpoint: String,
    /// As the engine tells it.
    pub(super) context: Option<u64>,
}

/// Why it does not.
#[derive(Debug)]
pub(super) enum Failed {
    /// It ended by itself.
    Ended(std::io::Result<ExitStatus>),
    /// It runs and must not: nobody wants it, or this.
    Stop(Error),
}

/// Waits until the engine answers.
pub(super) async fn ready(
    child: &mut Child,
    instance: &Instance,
    http: &Http,
    settings: &RunnerSettings,
) -> Result<Answers, Failed> {
    let mut heard = child.ring.heard();
    let mut asked = instance.asked();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut remote: Option<(Remote, String)> = None;
    let (mut last, mut since) = (None, Instant::now());
    let pid = child.pid;
    loop {
        let look = tokio::select! {
            ended = child.ended() => return Err(Failed::Ended(ended)),
            () = unwanted(&mut asked) => return Err(Failed::Stop(instance.interrupted())),
            _ = heard.changed() => false,
            _ = look.tick() => true,
        };
        let now = *heard.borrow_and_update();
        if now.loading {
            instance.enter(State::Loading);
        }
        if let (None, Some(port)) = (&remote, now.port) {
            let at = port::own(settings.listen, port);
            let engine = http.engine(at, settings.key_file.as_deref()).map_err(Failed::Stop)?;
            remote = Some((engine, port::endpoint(settings, at)));
        } else if !look {
            continue;
        }
        if let Some((engine, endpoint)) = &remote {
            // An end in the middle of the question is seen in the next turn.
            let context = tokio::select! {
                ended = child.ended() => return Err(Failed::Ended(ended)),
                () = unwanted(&mut asked) => return Err(Failed::Stop(instance.interrupted())),
                context = answers(engine) => context,
            };
            if let Some(context) = context {
                return Ok(Answers {
                    remote: engine.clone(),
                    endpoint: endpoint.clone(),
                    context,
                });
            }
        }
        let work = process::work(pid);
        instance.progressed(work.map_or(0, |work| work.resident));
        if last != Some((work, now.lines)) {
            (last, since) = (Some((work, now.lines)), Instant::now());
        } else if since.elapsed() >= settings.limits.stall {
            return Err(Failed::Stop(stalled(instance, child, settings)));
        }
    }
}

/// The engine's own word that it is ready, and what it says of itself.
async fn answers(engine: &Remote) -> Option<Option<u64>> {
    if !engine.healthy().await {
        return None;
    }
    match engine.context().await {
        Ok(context) => Some(context),
        Err(error) if error.kind == Kind::Unreachable => None,
        // A version that does not tell.
        Err(_) => Some(None),
    }
}

/// Ready once somebody asks for its end. The sender lives as long as the instance.
async fn unwanted(asked: &mut watch::Receiver<Ask>) {
    let _gone = asked.wait_for(|&ask| ask > Ask::Stay).await.is_err();
}

fn stalled(instance: &Instance, child: &Child, settings: &RunnerSettings) -> Error {
    let lines = reason::last(&child.ring.lines());
    let text = format!(
        "the engine of model `{}` made no progress for {} s while it loaded; it said last: {}",
        instance.subject.name,
        settings.limits.stall.as_secs_f32(),
        lines.last().map_or("nothing", String::as_str)
    );
    Error::new(Kind::Stalled, text)
}
