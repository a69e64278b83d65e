//! A long stream from its call to its result: progress on standard error, or every message as JSON on standard output.

use std::{future::Future, time::Instant};

use prost::Message;
use tonic::{Response, Status, Streaming};

use super::{
    Context,
    errors::{Fault, is_plain_id},
    exit::Stop,
    progress::Display,
    text,
};
use crate::grpc::proto::v1::{self, Progress};

/// One message of a long stream.
pub(super) trait Event: Message {
    /// The message's full name.
    const NAME: &'static str;
    /// What comes last.
    type Result;

    /// Nothing for an event that this version does not know.
    fn step(self) -> Option<Step<Self::Result>>;
}

/// What a message of a long stream holds.
pub(super) enum Step<R> {
    /// How far it is.
    Progress(Box<Progress>),
    /// The result, last and once.
    Result(R),
}

/// What becomes of the work when the person leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnLeave {
    /// It goes on.
    GoesOn,
    /// The server cancels it unless somebody else waits for it.
    CancelledIfLast,
    /// There is none.
    Nothing,
}

/// Follows the stream of `call` to its result, and says in a line what that is.
pub(super) async fn tell<E: Event>(
    cx: &mut Context,
    call: impl Future<Output = Result<Response<Streaming<E>>, Status>>,
    on_leave: OnLeave,
    told: impl FnOnce(&E::Result) -> String,
) -> Result<(), Stop> {
    let result = follow(cx, call, on_leave).await?;
    if cx.json() {
        return Ok(());
    }
    cx.console.line(told(&result))
}

/// Follows the stream of `call` to its result.
///
/// The result has been printed already when programs read.
pub(super) async fn follow<E: Event>(
    cx: &mut Context,
    call: impl Future<Output = Result<Response<Streaming<E>>, Status>>,
    on_leave: OnLeave,
) -> Result<E::Result, Stop> {
    let mut stream = tokio::select! {
        biased;
        _left = &mut cx.interrupt => return Err(left(cx, None, on_leave)),
        answered = call => answered?.into_inner(),
    };
    let mut display = Display::new(&cx.console, cx.json());
    let mut id: Option<String> = None;
    loop {
        let message = tokio::select! {
            // The person goes first, however much the server says.
            biased;
            _left = &mut cx.interrupt => {
                display.clear();
                return Err(left(cx, id.as_deref(), on_leave));
            }
            message = stream.message() => message,
        };
        let ended = match message {
            Ok(Some(message)) => {
                if cx.json() {
                    cx.console.json(E::NAME, &message)?;
                }
                match message.step() {
                    Some(Step::Progress(progress)) => {
                        display.show(&mut cx.console, &progress, Instant::now());
                        if !progress.operation_id.is_empty() {
                            id = Some(progress.operation_id);
                        }
                        continue;
                    }
                    Some(Step::Result(result)) => Ok(result),
                    None => continue,
                }
            }
            Ok(None) => Err(Fault::protocol("the stream ended without its result")),
            Err(status) => Err(Fault::from(&status)),
        };
        display.clear();
        return ended.map_err(|fault| fault.following(id.as_deref()).into());
    }
}

fn left(cx: &Context, id: Option<&str>, on_leave: OnLeave) -> Stop {
    if on_leave == OnLeave::Nothing {
        return Stop::Interrupted(vec!["interrupted".to_owned()]);
    }
    let what = id.map_or_else(
        || "what was asked for".to_owned(),
        |id| format!("operation {}", text::printable(id)),
    );
    let mut lines = vec![match on_leave {
        OnLeave::CancelledIfLast => format!("interrupted: {what} is cancelled unless somebody else waits for it"),
        _ => format!("interrupted: {what} goes on in the server"),
    }];
    match id.filter(|id| is_plain_id(id)) {
        Some(id) => {
            lines.push(format!(
                "  follow it: {}",
                cx.command(&format!("operations watch {id}"))
            ));
            lines.push(format!(
                "  cancel it: {}",
                cx.command(&format!("operations cancel {id}"))
            ));
        }
        None => lines.push(format!("  find it: {}", cx.command("operations list"))),
    }
    Stop::Interrupted(lines)
}

macro_rules! events {
    ($($message:ident, $event:ident, $variant:ident => $result:ident;)+) => {$(
        impl Event for v1::$message {
            const NAME: &'static str = concat!("ichat.modelcontrol.v1.", stringify!($message));
            type Result = v1::$result;

            fn step(self) -> Option<Step<Self::Result>> {
                Some(match self.event? {
                    v1::$event::Event::Progress(progress) => Step::Progress(Box::new(progress)),
                    v1::$event::Event::$variant(result) => Step::Result(result),
                })
            }
        }
    )+};
}

events! {
    EnsureReadyResponse, ensure_ready_response, Result => EnsureReadyResult;
    PullResponse, pull_response, Result => PullResult;
    CreateFromPathResponse, create_from_path_response, Result => CreateFromPathResult;
    OperationsWatchResponse, operations_watch_response, Operation => Operation;
}
