//! One open body: its bytes into batches, cut to what was asked for, watched for stalls.

use std::{pin::pin, time::Duration};

use bytes::{Buf as _, Bytes};
use futures::{StreamExt as _, stream::BoxStream};
use tokio::{
    task::coop::consume_budget,
    time::{Instant, timeout_at},
};

use super::{
    super::remote::{Fault, Opened},
    Halt,
    fetch::Fetch,
    source::Trouble,
    writer::{Batch, Job},
};

/// A batch is written when it is so old, however small: a slow connection shows progress, and loses little.
const FLUSH: Duration = Duration::from_millis(500);

/// Reads one body.
pub(super) struct Reader<'a> {
    fetch: &'a Fetch<'a>,
    stream: BoxStream<'static, Result<Bytes, Fault>>,
    /// What has come and is not dealt with.
    rest: Bytes,
    /// Where it begins.
    position: u64,
    /// When the last byte came.
    heard: Instant,
    batch: Batch,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// The bytes are wanted from `at` on.
    pub(super) fn new(fetch: &'a Fetch<'a>, opened: Opened, at: u64) -> Self {
        Self {
            fetch,
            stream: opened.body,
            rest: Bytes::new(),
            position: opened.start,
            heard: Instant::now(),
            batch: Batch::new(at),
        }
    }

    /// Hands to the writer what is missing before `end`, and reads no further.
    pub(super) async fn read(&mut self, end: u64) -> Result<(), Trouble> {
        while let Some(missing) = self.fetch.ledger.missing(self.batch.end(), end) {
            if missing.start != self.batch.end() {
                self.hand_over(missing.start).await?;
            }
            while self.batch.end() < missing.end {
                if self.rest.is_empty() {
                    self.more().await?;
                }
                let skipped = length(&self.rest, self.batch.end().saturating_sub(self.position));
                self.rest.advance(skipped);
                self.position += skipped as u64;
                let space = (self.fetch.limits.batch - self.batch.len()) as u64;
                let taken = length(&self.rest, space.min(missing.end - self.batch.end()));
                self.take(taken);
                let full = !self.batch.takes_more(self.fetch.limits.batch);
                if full || (self.batch.len() > 0 && self.batch.since().elapsed() >= FLUSH) {
                    self.hand_over(self.batch.end()).await?;
                }
            }
            // It counts as missing until it is written.
            let next = self.batch.end();
            self.hand_over(next).await?;
        }
        Ok(())
    }

    /// Hands over what is left; where the next request would go on.
    pub(super) async fn finish(mut self) -> Result<u64, Halt> {
        let end = self.batch.end();
        self.hand_over(end).await?;
        Ok(end)
    }

    fn take(&mut self, bytes: usize) {
        if bytes > 0 {
            self.batch.push(self.rest.split_to(bytes));
            self.position += bytes as u64;
        }
    }

    /// Hands the batch over and begins another one.
    async fn hand_over(&mut self, next: u64) -> Result<(), Halt> {
        let batch = std::mem::replace(&mut self.batch, Batch::new(next));
        if batch.len() == 0 {
            return Ok(());
        }
        self.fetch
            .ledger
            .admit(batch.len())
            .await
            .map_err(|_| Halt::Elsewhere)?;
        let sent = self.fetch.writer.send(Job::Write(batch)).await;
        // While it waited for the disk the registry was not listened to.
        self.heard = Instant::now();
        sent.map_err(|_| Halt::Elsewhere)
    }

    /// Waits for bytes.
    async fn more(&mut self) -> Result<(), Trouble> {
        while self.rest.is_empty() {
            // A body that is always ready must not have the thread for itself.
            consume_budget().await;
            let stalled = self.heard + self.fetch.limits.stall;
            let flush = (self.batch.len() > 0).then(|| self.batch.since() + FLUSH);
            let next = pin!(self.stream.next());
            match timeout_at(flush.map_or(stalled, |flush| flush.min(stalled)), next).await {
                Ok(Some(bytes)) => self.rest = bytes?,
                Ok(None) => return Err(Trouble::early()),
                Err(_) => {}
            }
            if !self.rest.is_empty() {
                self.heard = Instant::now();
            } else if Instant::now() >= stalled {
                return Err(Trouble::stalled());
            } else if flush.is_some_and(|flush| Instant::now() >= flush) {
                self.hand_over(self.batch.end()).await?;
            }
        }
        Ok(())
    }
}

/// How many of `bytes` make up at most `wanted`.
fn length(bytes: &Bytes, wanted: u64) -> usize {
    usize::try_from(wanted).map_or(bytes.len(), |wanted| wanted.min(bytes.len()))
}
