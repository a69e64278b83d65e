//! An engine ends when this service does, however it ends.
//!
//! The kernel signals a child when the *thread* that started it ends, if the child has asked for that. So engines are started
//! from one thread that lives as long as the process (`spawn`), through this program again: it asks for the signal, sees that
//! its parent is still there, and becomes the engine.
//!
//! Rejected: asking between fork and exec, which needs unsafe code; a pipe that the engine reads, for it reads none.

use std::{
    ffi::{OsStr, OsString},
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

/// The word of the command line that makes this program the helper.
pub(super) const WORD: &str = "engine-child";
/// The engine could not be started, as shells say it.
const NOT_STARTED: u8 = 127;

/// Becomes the engine if the command line says so: `engine-child PARENT PROGRAM ARGUMENTS…`. Returns only when it does not
/// say so, or when it failed, with the exit code. To be called before anything else is done.
pub fn engine_child(args: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut args = args.into_iter().skip(1);
    if args.next().as_deref() != Some(OsStr::new(WORD)) {
        return None;
    }
    let why = become_engine(args);
    // The ring of the parent has it then; without a parent nobody has.
    let _closed = writeln!(std::io::stderr(), "E cannot start the engine: {why}").is_err();
    Some(ExitCode::from(NOT_STARTED))
}

#[cfg(target_os = "linux")]
fn become_engine(mut args: impl Iterator<Item = OsString>) -> String {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

    let parent = args.next().and_then(|text| text.to_str()?.parse().ok());
    let (Some(parent), Some(program)) = (parent.and_then(Pid::from_raw), args.next()) else {
        return "it is for this service's own use".to_owned();
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.to_string();
    }
    // It may have ended before the signal was asked for: then nobody sends it.
    if getppid() != Some(parent) {
        return "the service has ended".to_owned();
    }
    Command::new(program).args(args).exec().to_string()
}

#[cfg(not(target_os = "linux"))]
fn become_engine(args: impl Iterator<Item = OsString>) -> String {
    let mut args = args.skip(1);
    match args.next() {
        Some(program) => Command::new(program).args(args).exec().to_string(),
        None => "it is for this service's own use".to_owned(),
    }
}
