//! Processes that a test's service has begun.

// Each test binary that includes this file uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// Processes whose command names a path in `folder`. One that has ended and is not waited for has no command.
pub(crate) fn processes(folder: &Path) -> Vec<u32> {
    let folder = folder.to_str().unwrap();
    let all = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &u32| *pid != std::process::id())
        .filter(|pid| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(folder))
        })
        .collect()
}

/// SIGKILL.
pub(crate) fn kill(pid: u32) {
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}
