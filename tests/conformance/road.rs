//! A road to a registry that a case can close, and open again.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

use super::ollama_double::Gate;

/// Bytes that a connection for blobs brings before the gate opens.
const BEFORE_GATE: usize = 256 << 10;

/// A road to a registry on which each connection stops after some bytes until the gate opens.
pub(crate) struct Road {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

// === impl Road ===

impl Road {
    pub(crate) async fn to(registry: SocketAddr, gate: &Arc<Gate>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::clone(gate);
        let task = tokio::spawn(async move {
            // Its connections end with it.
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(walk(stream, registry, Arc::clone(&gate)));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            task: task.abort_handle(),
        }
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn walk(caller: TcpStream, registry: SocketAddr, gate: Arc<Gate>) -> Option<()> {
    let registry = TcpStream::connect(registry).await.ok()?;
    let (mut from_caller, mut to_caller) = caller.into_split();
    let (mut from_registry, mut to_registry) = registry.into_split();
    let asking = async { tokio::io::copy(&mut from_caller, &mut to_registry).await.ok().map(drop) };
    let answering = async {
        let (mut buffer, mut left) = (vec![0; 64 << 10], BEFORE_GATE);
        loop {
            if left == 0 {
                gate.opened().await;
                left = usize::MAX;
            }
            let room = buffer.len().min(left);
            let count = from_registry
                .read(&mut buffer[..room])
                .await
                .ok()
                .filter(|count| *count > 0)?;
            to_caller.write_all(&buffer[..count]).await.ok()?;
            left -= count;
        }
    };
    tokio::select! {
        ended = asking => ended,
        ended = answering => ended,
    }
}
