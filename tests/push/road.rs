//! The road to a registry: it takes a request whole before it passes it on, as a proxy that buffers does, counts what it
//! brought, and can break in the middle of a request.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// A road. Dropping it closes it.
pub(super) struct Road {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

#[derive(Default)]
struct State {
    /// What was passed on: the method, the path without its query, the bytes of the body.
    passed: Vec<(String, String, usize)>,
    /// How the next chunks fare.
    faults: Vec<Fault>,
    /// Chunks that hang now.
    hanging: usize,
}

/// What happens to a chunk on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The connection breaks in the middle of it, and none of it arrives.
    Break,
    /// The half of it arrives, and the connection breaks on both sides.
    Half,
    /// None of it arrives, and nothing comes back.
    Hang,
}

// === impl Road ===

impl Road {
    pub(super) async fn to(registry: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            // Its connections end with it.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(walk(stream, registry, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            state,
            task: task.abort_handle(),
        }
    }

    /// Of the next chunks, in this order.
    pub(super) fn faults(&self, faults: &[Fault]) {
        self.state.lock().unwrap().faults = faults.to_vec();
    }

    /// Chunks whose callers wait for ever.
    pub(super) fn hanging(&self) -> usize {
        self.state.lock().unwrap().hanging
    }

    /// What was passed on since this was asked last.
    pub(super) fn passed(&self) -> Vec<(String, String, usize)> {
        std::mem::take(&mut self.state.lock().unwrap().passed)
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn walk(caller: TcpStream, behind: SocketAddr, state: Arc<Mutex<State>>) -> Option<()> {
    let (from_caller, mut to_caller) = caller.into_split();
    let mut from_caller = BufReader::new(from_caller);
    let (mut from_registry, mut to_registry) = TcpStream::connect(behind).await.ok()?.into_split();
    let asking = async {
        loop {
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") {
                let start = head.len();
                if from_caller.read_line(&mut head).await.ok()? == 0 {
                    return None::<()>;
                }
                let line = head[start..].to_ascii_lowercase();
                if let Some(told) = line.strip_prefix("content-length: ") {
                    length = told.trim().parse().unwrap();
                }
            }
            let mut words = head.split([' ', '?']);
            let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
            let chunk = method == "PATCH";
            let fault = {
                let mut state = state.lock().unwrap();
                let faulty = chunk && !state.faults.is_empty();
                if faulty { state.faults.remove(0) } else { Fault::None }
            };
            if fault == Fault::Hang {
                state.lock().unwrap().hanging += 1;
                // Until the caller leaves.
                let _rest = from_caller.read_to_end(&mut Vec::new()).await.is_ok();
                state.lock().unwrap().hanging -= 1;
                return None;
            }
            let takes = if fault == Fault::None { length } else { length / 2 };
            let mut body = vec![0; takes];
            from_caller.read_exact(&mut body).await.ok()?;
            if fault != Fault::Break {
                to_registry.write_all(head.as_bytes()).await.ok()?;
                to_registry.write_all(&body).await.ok()?;
                state.lock().unwrap().passed.push((method, path, takes));
            }
            if fault != Fault::None {
                return None;
            }
        }
    };
    let answering = async { tokio::io::copy(&mut from_registry, &mut to_caller).await.ok().map(drop) };
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}
