//! Why a word ends otherwise than well, and with which exit code.

use std::io;

use super::{Context, errors::Fault};

/// Done; also: the reader of our output has had enough.
pub(super) const DONE: u8 = 0;
/// Failed.
pub(super) const FAILED: u8 = 1;
/// The command line cannot be understood. The usual code, and clap's.
pub(super) const USAGE: u8 = 2;
/// Left by Ctrl-C: 128 and the signal's number, as shells count.
pub(super) const INTERRUPTED: u8 = 130;

/// As [`USAGE`], for `health`.
pub(super) const HEALTH_USAGE: u8 = 1;
const HEALTH_NO_CONNECTION: u8 = 2;
const HEALTH_CALL_FAILED: u8 = 3;
const HEALTH_NOT_SERVING: u8 = 4;

/// Why a word ends otherwise than well.
#[derive(Debug)]
pub(super) enum Stop {
    /// A flag or argument is wrong.
    Usage(String),
    /// Nobody answers at the address.
    NoConnection(Box<Fault>),
    /// The server said no, or the call broke off.
    Failed(Box<Fault>),
    /// What was asked about is not serving; it has been printed.
    NotServing,
    /// Ctrl-C; the lines say what becomes of the work.
    Interrupted(Vec<String>),
    /// The reader of our output has gone, as `head` does.
    PipeClosed,
    /// Our output cannot be written.
    Output(io::Error),
}

/// Tells of what no server has to do with. Programs read the same last line as of any failure.
fn tell_local(cx: &mut Context, message: &str, fault: fn(String) -> Fault) {
    cx.console.note(format_args!("error: {message}"));
    if cx.json() {
        cx.console.note(fault(message.to_owned()).json());
    }
}

// === impl Stop ===

impl Stop {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::PipeClosed => DONE,
            Self::NoConnection(_) | Self::Failed(_) | Self::NotServing | Self::Output(_) => FAILED,
            Self::Usage(_) => USAGE,
            Self::Interrupted(_) => INTERRUPTED,
        }
    }

    pub(super) fn health_code(&self) -> u8 {
        match self {
            Self::PipeClosed => DONE,
            Self::Usage(_) => HEALTH_USAGE,
            Self::NoConnection(_) => HEALTH_NO_CONNECTION,
            Self::Failed(_) | Self::Output(_) => HEALTH_CALL_FAILED,
            Self::NotServing => HEALTH_NOT_SERVING,
            Self::Interrupted(_) => INTERRUPTED,
        }
    }

    /// Says on standard error what the person must know.
    pub(super) fn tell(&self, cx: &mut Context) {
        match self {
            Self::Usage(message) => tell_local(cx, message, Fault::usage),
            Self::NoConnection(fault) | Self::Failed(fault) => {
                for line in fault.lines(&cx.global.server) {
                    cx.console.note(line);
                }
                if cx.json() {
                    cx.console.note(fault.json());
                }
            }
            Self::Interrupted(lines) => {
                for line in lines {
                    cx.console.note(line);
                }
            }
            Self::Output(error) => tell_local(cx, &format!("cannot write the output: {error}"), Fault::output),
            Self::NotServing | Self::PipeClosed => {}
        }
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::Output(error),
        }
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Failed(Box::new(fault))
    }
}

impl From<tonic::Status> for Stop {
    fn from(status: tonic::Status) -> Self {
        Fault::from(&status).into()
    }
}
