//! The task of one instance: starts its process, waits with it, and sees it end. It owns the process, and ends with it.

use std::{io, os::unix::process::ExitStatusExt as _, process::ExitStatus, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, Span};

use super::{
    RunnerLimits, Shared, args,
    child::Child,
    evict,
    http::{self, Slots},
    instance::{Ask, Instance, State},
    port, process, program,
    pulse::Pulse,
    ready::{self, Failed},
    reason,
    table::Ended,
};
use crate::{
    backend::{Error, Kind},
    telemetry::metrics,
};

/// From SIGTERM to SIGKILL where nobody waits for an answer.
const CANCEL: Duration = Duration::from_millis(300);
/// So often is an engine that drains asked whether it is done.
const DRAINING: Duration = Duration::from_millis(50);
/// So often, at least and at most, is an engine asked whether it is in use.
const LOOK: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(50));

/// How a running engine came to its end.
enum Left {
    /// It ended by itself.
    Ended(io::Result<ExitStatus>),
    /// It is to leave.
    Asked,
    /// It neither answers nor works.
    Hung,
}

/// Runs an instance to its end, and then takes it out of the table. Its start belongs to `load`; a span that stayed open as long
/// as the model is in memory would be told of when nobody looks for it any more.
pub(super) async fn keep(shared: Arc<Shared>, instance: Arc<Instance>, load: Span) {
    let gone = run(&shared, &instance, load).await;
    shared.table().forget(&instance);
    instance.live().pid = None;
    instance.enter(State::Gone(gone));
    shared.departures.send_modify(|count| *count += 1);
}

async fn run(shared: &Shared, instance: &Instance, load: Span) -> Error {
    let started = async {
        let child = start(shared, instance).await?;
        tracing::info!(
            model = %instance.subject.name, pid = child.pid, bytes = instance.resident(), "the model is in memory"
        );
        Ok(child)
    };
    let mut child = match started.instrument(load).await {
        Ok(child) => child,
        Err(error) => return error,
    };
    metrics::runner_started();
    match serve(shared, instance, &mut child).await {
        Left::Ended(ended) => died(shared, instance, &child, ended, None),
        Left::Asked => stop(shared, instance, &mut child, true).await,
        Left::Hung => {
            let limits = shared.settings.limits;
            tracing::error!(
                model = %instance.subject.name, pid = child.pid, seconds = limits.stall.as_secs_f32(),
                "the engine neither answers nor works: it is ended"
            );
            instance.enter(State::Draining);
            let ended = end(instance, &mut child, &limits).await;
            died(shared, instance, &child, ended, Some(limits.stall))
        }
    }
}

/// A process that answers, or none.
async fn start(shared: &Shared, instance: &Instance) -> Result<Child, Error> {
    evict::admit(shared, instance).await?;
    let settings = &shared.settings;
    let program = program::find(settings.program.as_deref())?;
    let http = shared.http()?;
    let mut ports = port::candidates(settings).peekable();
    while let Some(port) = ports.next() {
        let args = args::arguments(&instance.subject, &instance.launch, settings, port);
        let command = args::command(&program, settings, args);
        let mut child = Child::start(command)
            .await
            .map_err(|error| Error::new(Kind::Internal, "the engine's process cannot be started").because(error))?;
        instance.live().pid = Some(child.pid);
        match ready::ready(&mut child, instance, http, settings).await {
            Ok(answers) => {
                instance.answered(answers);
                return Ok(child);
            }
            Err(Failed::Ended(Ok(status))) => {
                let lines = child.ring.lines();
                if !port::taken(&lines) {
                    return Err(reason::of_load(&instance.subject.name, status, &lines));
                }
                if ports.peek().is_none() {
                    let text = "no port is free for the engine: widen the range of ports, or unload a model";
                    return Err(Error::new(Kind::Busy(None), text));
                }
            }
            Err(Failed::Ended(Err(error))) => return Err(lost(error)),
            Err(Failed::Stop(error)) => {
                stop(shared, instance, &mut child, false).await;
                return Err(error);
            }
        }
    }
    Err(Error::new(Kind::Internal, "the range of ports is empty"))
}

/// Until it is to leave, or has ended by itself: how.
async fn serve(shared: &Shared, instance: &Instance, child: &mut Child) -> Left {
    let mut asked = instance.asked();
    let mut before: Option<Slots> = None;
    let mut pulse = Pulse::new(&shared.settings.limits);
    loop {
        let patience = instance.patience(shared.settings.keep_alive);
        let next = patience.map_or(LOOK.0, |patience| (patience / 4).clamp(LOOK.1, LOOK.0));
        tokio::select! {
            ended = child.ended() => return Left::Ended(ended),
            _ = asked.wait_for(|&ask| ask > Ask::Stay) => return Left::Asked,
            () = instance.rearmed.notified() => continue,
            () = sleep(next.min(pulse.between())) => {}
        }
        let seen = tokio::select! {
            ended = child.ended() => return Left::Ended(ended),
            _ = asked.wait_for(|&ask| ask > Ask::Stay) => return Left::Asked,
            seen = timeout(pulse.between(), ask(instance)) => seen,
        };
        let seen = seen.unwrap_or_else(|_| Err(http::silence()));
        // A version that does not tell of its slots answers all the same.
        let answers = !matches!(&seen, Err(error) if error.kind == Kind::Unreachable);
        if pulse.is_hung(answers, process::work(child.pid)) {
            return Left::Hung;
        }
        let seen = seen.ok();
        // One that does not answer is at work.
        let works = seen.as_ref().is_none_or(|seen| seen.worked_since(before.as_ref()));
        if works {
            instance.live().used = std::time::Instant::now();
        }
        before = seen.or(before);
        let idle = instance.live().used.elapsed();
        let patience = instance.patience(shared.settings.keep_alive);
        if patience.is_some_and(|patience| idle >= patience) {
            tracing::info!(model = %instance.subject.name, "the model was not used, and leaves memory");
            instance.ask(Ask::Drain);
        }
    }
}

/// Its slots; nothing when it does not answer.
pub(super) async fn look(instance: &Instance) -> Option<Slots> {
    ask(instance).await.ok()
}

async fn ask(instance: &Instance) -> Result<Slots, Error> {
    let remote = instance.live().remote.clone();
    let remote = remote.ok_or_else(|| Error::new(Kind::Unreachable, "the engine does not listen yet"))?;
    remote.slots().await
}

/// Ends it, and returns when it has ended, however long that takes.
async fn stop(shared: &Shared, instance: &Instance, child: &mut Child, drains: bool) -> Error {
    let mut limits = shared.settings.limits;
    if !drains {
        // It has nothing to finish, and heeds no SIGTERM while it reads weights.
        limits.terminate = limits.terminate.min(CANCEL);
    }
    instance.enter(State::Draining);
    if drains && !drained(instance, child, limits.drain).await {
        tracing::warn!(model = %instance.subject.name, "requests were running when the model left memory");
    }
    match end(instance, child, &limits).await {
        Ok(_) => instance.interrupted(),
        Err(error) => lost(error),
    }
}

/// Ends the process, and waits until the kernel lets it.
async fn end(instance: &Instance, child: &mut Child, limits: &RunnerLimits) -> io::Result<ExitStatus> {
    if let Some(ended) = child.terminate(limits).await {
        return ended;
    }
    tracing::error!(model = %instance.subject.name, pid = child.pid, "the engine does not end, although it was killed");
    instance.enter(State::Stuck);
    child.ended().await
}

/// Waits until nothing runs; false when something did to the last.
async fn drained(instance: &Instance, child: &mut Child, bound: Duration) -> bool {
    let (mut asked, deadline) = (instance.asked(), Instant::now() + bound);
    let idle = async {
        loop {
            match timeout(deadline.saturating_duration_since(Instant::now()), look(instance)).await {
                Ok(Some(slots)) if !slots.busy => return true,
                Ok(_) if Instant::now() < deadline => sleep(DRAINING).await,
                _ => return false,
            }
        }
    };
    tokio::select! {
        idle = idle => idle,
        _ = asked.wait_for(|&ask| ask == Ask::Stop) => false,
        _ = child.ended() => true,
    }
}

/// It ended, and nobody had asked for it; or it was `hung` for this long.
fn died(
    shared: &Shared,
    instance: &Instance,
    child: &Child,
    ended: io::Result<ExitStatus>,
    hung: Option<Duration>,
) -> Error {
    let status = match ended {
        Ok(status) => status,
        Err(error) => {
            return lost(error);
        }
    };
    let last_lines = reason::last(&child.ring.lines());
    let ending = reason::ending(status.code(), status.signal());
    tracing::warn!(
        model = %instance.subject.name, pid = child.pid, ending, ?last_lines, "the engine ended by itself"
    );
    metrics::runner_died();
    shared.table().died(instance, &Ended::new(status, last_lines, hung));
    let text = format!("the engine of model `{}` ended with {ending}", instance.subject.name);
    Error::new(Kind::Interrupted, text)
}

fn lost(error: io::Error) -> Error {
    Error::new(Kind::Internal, "the engine's process cannot be waited for").because(error)
}
