//! Sends files to Ollama's blobs: asked for first, so that nothing is sent twice.
//!
//! Ollama takes a blob whole or not at all, and hashes it as it comes. Of a file, [`AHEAD`] pieces are in memory at most.

use std::{io, os::unix::fs::FileExt as _, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::Body;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{client::Client, memory::Memory};
use crate::{
    backend::{Error, Kind, call::TaskReporter, files::File},
    model::{Digest, Event, Layer, Phase},
};

/// Bytes of a piece.
const PIECE: usize = 512 << 10;
/// Pieces of a file that are read before they are sent.
const AHEAD: usize = 4;
/// Files at a time: each takes Ollama a core for its hash.
const AT_A_TIME: usize = 4;
/// From our last byte until Ollama has written what lay in the connection's buffers, a few MiB.
const DRAIN: Duration = Duration::from_secs(2);

/// Bytes with which a disk is tried: a full one has not so many, and what is tried takes them from everybody for a moment.
const ROOM: u64 = 64 << 20;
/// For that, on a slow road.
const TRY: Duration = Duration::from_mins(1);

/// What is known of Ollama's disk.
#[derive(Debug)]
pub(super) enum Room {
    /// It had room for as much as was asked for.
    Enough,
    /// It has some. Whether it has enough was not tried.
    Some,
    /// It has none: the failure that says so.
    None(Error),
}

/// A file and what it is known by.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub(super) source: File,
    pub(super) digest: Digest,
}

/// Sends what Ollama does not have. Dropping the future ends it.
///
/// A [`Kind::DigestMismatch`] says that what was remembered of a file was wrong, and is forgotten: read again it has another
/// digest.
pub(super) async fn all(
    client: &Client,
    memory: &Memory,
    blobs: &[Blob],
    reporter: &TaskReporter,
) -> Result<(), Error> {
    let layers = blobs.iter().map(|blob| blob.layer(0)).collect();
    reporter.report(Event::Entered(Phase::Uploading(layers))).await;
    // Collected: a closure over borrows in a stream is not `Send` in the compiler's eyes.
    let sends: Vec<_> = blobs.iter().map(|blob| one(client, memory, blob, reporter)).collect();
    stream::iter(sends)
        .buffer_unordered(AT_A_TIME)
        .try_collect::<()>()
        .await
}

/// Whether Ollama's disk has room for so many bytes more. They are sent, up to a bound; one is missing, and so Ollama removes
/// them.
pub(super) async fn room(client: &Client, wanted: u64, reporter: &TaskReporter) -> Room {
    let len = wanted.min(ROOM);
    let zeros = Bytes::from(vec![0; PIECE]);
    let alive = reporter.clone();
    let pieces = stream::unfold(len, move |left| {
        let (zeros, reporter) = (zeros.clone(), alive.clone());
        async move {
            reporter.count(Event::Alive);
            let piece = zeros.slice(..usize::try_from(left).unwrap_or(PIECE).min(PIECE));
            let rest = left - piece.len() as u64;
            let piece = if piece.is_empty() {
                // What the connection still holds may be what finds no room. Then it breaks in place of the last byte.
                sleep(DRAIN).await;
                Err(io::Error::from(io::ErrorKind::Interrupted))
            } else {
                Ok(piece)
            };
            Some((piece, rest))
        }
    });
    let path = format!("/api/blobs/{}", Digest::of(b"the room of a disk"));
    let sent = timeout(TRY, client.send(&path, Body::wrap_stream(pieces), len + 1));
    match reporter.unless_stopped(async { Ok(sent.await) }).await {
        Ok(Ok(Err(error))) if matches!(error.kind, Kind::DiskFull { .. }) => Room::None(error),
        Ok(Ok(_refused)) if len == wanted => Room::Enough,
        _ => Room::Some,
    }
}

async fn one(client: &Client, memory: &Memory, blob: &Blob, reporter: &TaskReporter) -> Result<(), Error> {
    let path = format!("/api/blobs/{}", blob.digest);
    if !client.head(&path).await? {
        let sent = client.send(&path, blob.body(reporter), blob.source.size()).await;
        match sent {
            Ok(()) => {}
            // Another client was quicker: Ollama answers at once and takes no more of it.
            Err(Error {
                kind: Kind::Unreachable,
                ..
            }) if client.head(&path).await.unwrap_or(false) => {}
            Err(error) if error.kind == Kind::DigestMismatch => {
                let (memory, stamp) = (memory.clone(), blob.source.stamp);
                let forgetting = tokio::task::spawn_blocking(move || memory.forget(&stamp));
                let remembered = forgetting.await.unwrap_or_default();
                let changed = blob.source.changed();
                return Err(if remembered {
                    Error::new(Kind::DigestMismatch, changed.message)
                } else {
                    changed
                });
            }
            Err(error) => return Err(error),
        }
    }
    reporter.report(Event::Layer(blob.layer(blob.source.size()))).await;
    Ok(())
}

// === impl Blob ===

impl Blob {
    fn layer(&self, completed: u64) -> Layer {
        Layer {
            digest: self.digest.to_string(),
            completed_bytes: completed,
            total_bytes: Some(self.source.size()),
            file_name: self.source.name.clone(),
        }
    }

    /// Read on a thread that ends with the body. Exactly as long as the file was when it was hashed.
    fn body(&self, reporter: &TaskReporter) -> Body {
        let (pieces, sent) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
        let (blob, reporter) = (self.clone(), reporter.clone());
        tokio::task::spawn_blocking(move || {
            let (mut at, size) = (0, blob.source.size());
            while at < size {
                let want = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
                let mut piece = vec![0; want];
                let read = blob
                    .source
                    .opened
                    .read_exact_at(&mut piece, at)
                    .map(|()| Bytes::from(piece));
                let failed = read.is_err();
                if pieces.blocking_send(read).is_err() || failed {
                    return;
                }
                at += want as u64;
                reporter.count(Event::Layer(blob.layer(at)));
            }
        });
        Body::wrap_stream(ReceiverStream::new(sent))
    }
}
