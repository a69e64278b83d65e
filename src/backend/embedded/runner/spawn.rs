//! The one thread that starts engines: see `orphan` for why it is one, and why it never ends.

use std::{
    io,
    sync::{
        OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
};

use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::oneshot,
};

/// Starts that wait. More wait with their senders.
const WAITING: usize = 16;

struct Job {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Starts the command from the thread that lives as long as the process.
pub(super) async fn spawn(command: Command) -> io::Result<Child> {
    let (answer, started) = oneshot::channel();
    let job = Job {
        command,
        runtime: Handle::current(),
        answer,
    };
    // The thread takes a job in a millisecond or so; sixteen at once are not a thing to wait for on a worker.
    let sent = tokio::task::spawn_blocking(move || thread()?.send(job).map_err(|_| ended())).await;
    sent.map_err(|_| ended())??;
    started.await.unwrap_or_else(|_| Err(ended()))
}

fn thread() -> io::Result<&'static SyncSender<Job>> {
    static JOBS: OnceLock<SyncSender<Job>> = OnceLock::new();
    if let Some(jobs) = JOBS.get() {
        return Ok(jobs);
    }
    let (jobs, queue) = sync_channel::<Job>(WAITING);
    std::thread::Builder::new().name("engines".to_owned()).spawn(move || {
        // Of two that are made at once one finds its sender dropped, and ends before it has started anything.
        for mut job in queue {
            let child = {
                let _runtime = job.runtime.enter();
                job.command.spawn()
            };
            // Nobody waits any more: the child is dropped, and that ends it.
            let _gone = job.answer.send(child).is_err();
        }
    })?;
    Ok(JOBS.get_or_init(|| jobs))
}

fn ended() -> io::Error {
    io::Error::other("the thread that starts engines has ended")
}
