//! A registry in memory that does what a script says, one act a request.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::super::super::remote::{Fault, Opened, Retry};
use super::*;

/// What one request gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// What it asked for.
    Serve,
    /// No answer but a fault.
    Refuse(Retry),
    /// So many bytes, then the end.
    Early(u64),
    /// So many bytes, then a fault.
    Reset(u64),
    /// So many bytes, then nothing for ever.
    Stall(u64),
    /// The whole blob from 0 on.
    Whole,
    /// The whole blob from 0 on, but only so many bytes of it.
    WholeEarly(u64),
    /// Bytes that are not the blob's.
    Wrong,
    /// What it asked for, and then more without end.
    Endless,
    /// Pieces without a byte, without end.
    Empty,
    /// Another total.
    Total(u64),
    /// From another place than asked.
    Start(u64),
    /// Another validator.
    Validator(&'static str),
    /// No validator, and the whole, to an `If-Range`.
    Changed,
}

#[derive(Debug)]
pub(super) struct Double {
    pub(super) content: Vec<u8>,
    script: Mutex<VecDeque<Act>>,
    /// When the script has ended.
    then: Act,
    piece: usize,
    pub(super) asked: Mutex<Vec<Range<u64>>>,
    /// Bytes that left.
    pub(super) sent: Arc<Mutex<u64>>,
    bodies: Arc<AtomicUsize>,
    pub(super) most_bodies: AtomicUsize,
}

/// One open body.
struct Counted(Arc<AtomicUsize>);

// === impl Double ===

impl Double {
    pub(super) fn new(size: usize, script: impl IntoIterator<Item = Act>, then: Act) -> Arc<Self> {
        let mut random = fastrand::Rng::with_seed(size as u64);
        Arc::new(Self {
            content: (0..size).map(|_| random.u8(..)).collect(),
            script: Mutex::new(script.into_iter().collect()),
            then,
            piece: 700,
            asked: Mutex::default(),
            sent: Arc::default(),
            bodies: Arc::default(),
            most_bodies: AtomicUsize::default(),
        })
    }

    pub(super) fn good(size: usize) -> Arc<Self> {
        Self::new(size, [], Act::Serve)
    }

    pub(super) fn blob(&self) -> Blob {
        Blob {
            digest: Digest::of(&self.content),
            size: self.content.len() as u64,
        }
    }

    pub(super) fn open_bodies(&self) -> usize {
        self.bodies.load(Ordering::SeqCst)
    }

    pub(super) fn sent(&self) -> u64 {
        *self.sent.lock().unwrap()
    }

    pub(super) fn requests(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn slice(&self, range: Range<u64>) -> Bytes {
        let at = |at: u64| usize::try_from(at).unwrap().min(self.content.len());
        Bytes::copy_from_slice(&self.content[at(range.start)..at(range.end)])
    }
}

pub(super) fn error(kind: Kind) -> Error {
    Error::new(kind, "of the test")
}

#[async_trait]
impl Remote for Double {
    async fn open(&self, range: Range<u64>, validator: Option<&str>) -> Result<Opened, Fault> {
        assert!(
            range.start < range.end && range.end <= self.content.len() as u64,
            "{range:?}"
        );
        self.asked.lock().unwrap().push(range.clone());
        let act = self.script.lock().unwrap().pop_front().unwrap_or(self.then);
        tokio::task::yield_now().await;
        let (size, start) = (self.content.len() as u64, range.start);
        let cut = |start: u64, bytes: u64| self.slice(start..range.end.min(start.saturating_add(bytes)));
        let (mut total, mut first, mut name) = (Some(size), start, Some("\"v\""));
        let mut ending = stream::empty().boxed();
        let bytes = match act {
            Act::Refuse(retry) => {
                let error = error(Kind::RegistryBusy(None));
                return Err(Fault { error, retry });
            }
            Act::Serve => self.slice(range.clone()),
            Act::Early(bytes) => cut(start, bytes),
            Act::Reset(bytes) => {
                ending = stream::iter([Err(Fault::soon(error(Kind::RegistryUnreachable)))]).boxed();
                cut(start, bytes)
            }
            Act::Stall(bytes) => {
                ending = stream::pending().boxed();
                cut(start, bytes)
            }
            Act::Whole => {
                first = 0;
                self.slice(0..size)
            }
            Act::WholeEarly(bytes) => {
                (first, total) = (0, None);
                self.slice(0..bytes)
            }
            Act::Wrong => self.slice(range.clone()).iter().map(|byte| !byte).collect(),
            Act::Endless => {
                ending = stream::repeat_with(|| Ok(Bytes::from_static(&[7; 999]))).boxed();
                self.slice(range.clone())
            }
            Act::Empty => {
                ending = stream::repeat_with(|| Ok(Bytes::new())).boxed();
                Bytes::new()
            }
            Act::Total(other) => {
                total = Some(other);
                self.slice(range.clone())
            }
            Act::Start(other) => {
                first = other;
                self.slice(range.clone())
            }
            Act::Validator(other) => {
                name = Some(other);
                self.slice(range.clone())
            }
            Act::Changed => {
                name = None;
                first = if validator.is_some() { 0 } else { start };
                self.slice(first..size)
            }
        };
        let pieces = bytes.chunks(self.piece).map(Bytes::copy_from_slice).collect::<Vec<_>>();
        let now = self.bodies.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_bodies.fetch_max(now, Ordering::SeqCst);
        let (counted, sent) = (Counted(Arc::clone(&self.bodies)), Arc::clone(&self.sent));
        let body = stream::iter(pieces.into_iter().map(Ok))
            .chain(ending)
            .map(move |piece| {
                let _open = &counted;
                if let Ok(piece) = &piece {
                    *sent.lock().unwrap() += piece.len() as u64;
                }
                piece
            });
        Ok(Opened {
            start: first,
            total,
            validator: name.map(str::to_owned),
            body: body.boxed(),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
