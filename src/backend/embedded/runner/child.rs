//! One process: started, listened to, signalled and waited for by one owner, so that no signal ever goes to another process
//! that got its number.

use std::{io, process::ExitStatus, time::Duration};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    process::{self, Command},
    task::JoinSet,
    time::timeout,
};

use super::{RunnerLimits, ring::Ring, spawn::spawn};

/// For the last lines of a process that has ended: its pipes close with it.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A process and what it says. Dropping it kills.
#[derive(Debug)]
pub(super) struct Child {
    process: process::Child,
    pub(super) pid: u32,
    pub(super) ring: Ring,
    /// They end with the pipes.
    readers: JoinSet<()>,
}

// === impl Child ===

impl Child {
    pub(super) async fn start(command: Command) -> io::Result<Self> {
        let mut process = spawn(command).await?;
        let ring = Ring::new();
        let mut readers = JoinSet::new();
        if let Some(out) = process.stdout.take() {
            readers.spawn(ring.clone().read(out));
        }
        if let Some(err) = process.stderr.take() {
            readers.spawn(ring.clone().read(err));
        }
        let pid = process.id().ok_or_else(|| io::Error::other("it ended at once"))?;
        Ok(Self {
            process,
            pid,
            ring,
            readers,
        })
    }

    /// Its end, with all that it said before. Cancel-safe.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.process.wait().await?;
        let readers = &mut self.readers;
        // Something that it left may hold the pipes open.
        let _held = timeout(LAST_LINES, async { while readers.join_next().await.is_some() {} })
            .await
            .is_err();
        Ok(status)
    }

    /// SIGTERM, and SIGKILL if that is not enough; its end, or nothing when the kernel does not let it end.
    pub(super) async fn terminate(&mut self, limits: &RunnerLimits) -> Option<io::Result<ExitStatus>> {
        for (signal, bound) in [(Signal::TERM, limits.terminate), (Signal::KILL, limits.reap)] {
            self.signal(signal);
            if let Ok(ended) = timeout(bound, self.ended()).await {
                return Some(ended);
            }
        }
        None
    }

    /// Its whole group: it leads one. Not after its end was seen, when the number may be another's.
    fn signal(&self, signal: Signal) {
        let alive = self.process.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        if let Some(group) = alive {
            // It may have ended, unseen.
            let _ended = kill_process_group(group, signal).is_err();
        }
    }
}
