//! A part of a file as a body, its digest and its progress.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt as _;
use reqwest::Body;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::Wanted;
use crate::{backend::embedded::registry::remote::Fault, model::Digest};

/// Bytes of a piece.
const PIECE: usize = 256 << 10;
/// Pieces that are read before they are sent.
const AHEAD: usize = 2;
/// From the last byte that was given to the connection to the answer: what lies in the connection's buffers has to arrive,
/// and the registry to store it.
const ANSWER: Duration = Duration::from_mins(1);

/// An open file, and the digest of what has been read of it.
#[derive(Debug)]
pub(super) struct Source {
    file: File,
    hashing: Mutex<Hashing>,
}

#[derive(Debug, Default)]
struct Hashing {
    hasher: Sha256,
    /// All before it is hashed.
    at: u64,
}

/// Follows a chunk on its way out.
pub(super) struct Watched(watch::Receiver<u64>);

// === impl Source ===

impl Source {
    pub(super) fn new(file: File) -> Self {
        Self {
            file,
            hashing: Mutex::default(),
        }
    }

    /// Bytes from the beginning that have been read.
    pub(super) fn read(&self) -> u64 {
        self.hashing.lock().unwrap_or_else(PoisonError::into_inner).at
    }

    /// Fails unless all of it was read and is what the digest says.
    pub(super) fn check(&self, wanted: &Wanted) -> Result<(), Fault> {
        let hashing = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = Digest::from_bytes(hashing.hasher.clone().finalize().into());
        if hashing.at == wanted.layer.size && digest == wanted.layer.digest {
            return Ok(());
        }
        Err(wanted.corrupt())
    }

    /// One piece. What is read a second time, as after a fault, is hashed once.
    fn piece(&self, start: u64, len: usize) -> io::Result<Bytes> {
        let mut piece = vec![0; len];
        self.file.read_exact_at(&mut piece, start)?;
        let mut hashing = self.hashing.lock().unwrap_or_else(PoisonError::into_inner);
        let known = hashing
            .at
            .checked_sub(start)
            .and_then(|known| usize::try_from(known).ok());
        if let Some(fresh) = known.and_then(|known| piece.get(known..)) {
            hashing.hasher.update(fresh);
            hashing.at += fresh.len() as u64;
        }
        Ok(Bytes::from(piece))
    }

    /// The bytes from `start` to `end`, read on a thread that ends with the body.
    pub(super) fn body(self: &Arc<Self>, start: u64, end: u64) -> (Body, Watched) {
        let (pieces, sent) = mpsc::channel::<io::Result<(u64, Bytes)>>(AHEAD);
        let (out, watched) = watch::channel(start);
        let source = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let mut at = start;
            while at < end {
                let len = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
                let piece = source.piece(at, len);
                at += len as u64;
                let failed = piece.is_err();
                if pieces.blocking_send(piece.map(|piece| (at, piece))).is_err() || failed {
                    return;
                }
            }
        });
        let stream = ReceiverStream::new(sent).map(move |piece| {
            piece.map(|(at, piece)| {
                out.send_replace(at);
                piece
            })
        });
        (Body::wrap_stream(stream), Watched(watched))
    }
}

// === impl Watched ===

impl Watched {
    /// Ends when nothing has gone out for `stall`, or no answer came to the whole: how long that was. Tells what goes out.
    pub(super) async fn stalled(mut self, stall: Duration, told: &(dyn Fn(u64) + Send + Sync)) -> Duration {
        loop {
            match timeout(stall, self.0.changed()).await {
                Ok(Ok(())) => told(*self.0.borrow_and_update()),
                Ok(Err(_all_is_out)) => {
                    sleep(ANSWER).await;
                    return ANSWER;
                }
                Err(_elapsed) => return stall,
            }
        }
    }
}
