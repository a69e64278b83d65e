//! The last lines that an engine wrote, and what they tell while it starts.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::watch,
};

use super::port;

/// Bytes that are kept: some five hundred lines.
const KEPT: usize = 64 << 10;
/// Bytes of a line; the rest of a longer one is dropped.
const LINE: usize = 2 << 10;

/// The lines. Clones are the same ring.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    lines: Arc<Mutex<Lines>>,
    heard: watch::Sender<Heard>,
}

/// What a start is waiting for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Lines so far.
    pub(super) lines: u64,
    /// It has begun to read the weights.
    pub(super) loading: bool,
    /// It listens there.
    pub(super) port: Option<u16>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<String>,
    bytes: usize,
}

// === impl Ring ===

impl Ring {
    pub(super) fn new() -> Self {
        Self {
            lines: Arc::default(),
            heard: watch::Sender::default(),
        }
    }

    /// Reads to the end of the stream, whether anybody is interested or not: a full pipe would stop the engine.
    pub(super) async fn read(self, mut from: impl AsyncRead + Unpin) {
        let mut buffer = vec![0; 4 << 10];
        let mut line = Vec::new();
        loop {
            let read = match from.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            for &byte in &buffer[..read] {
                if byte == b'\n' {
                    self.push(&line);
                    line.clear();
                } else if line.len() < LINE {
                    line.push(byte);
                }
            }
        }
        if !line.is_empty() {
            self.push(&line);
        }
    }

    pub(super) fn push(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        tracing::trace!(line, "llama-server");
        let port = port::listening(&line);
        let loading = line.contains("loading model");
        {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.bytes += line.len() + 1;
            lines.kept.push_back(line);
            while lines.bytes > KEPT {
                let Some(oldest) = lines.kept.pop_front() else { break };
                lines.bytes -= oldest.len() + 1;
            }
        }
        self.heard.send_modify(|heard| {
            heard.lines += 1;
            heard.loading |= loading;
            // The first one is the engine's; what it echoes of a model or a request later is not believed.
            heard.port = heard.port.or(port);
        });
    }

    pub(super) fn heard(&self) -> watch::Receiver<Heard> {
        self.heard.subscribe()
    }

    /// All that is kept, the oldest first.
    pub(super) fn lines(&self) -> Vec<String> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_lines_are_kept_within_the_bound() {
        let ring = Ring::new();
        let mut text = Vec::new();
        for number in 0..10_000 {
            text.extend(format!("line {number}\n").into_bytes());
        }
        text.extend(vec![b'x'; 1 << 20]);
        ring.clone().read(text.as_slice()).await;
        let lines = ring.lines();
        assert!(lines.iter().map(|line| line.len() + 1).sum::<usize>() <= KEPT);
        assert_eq!(lines.last().unwrap().len(), LINE);
        assert_eq!(lines[lines.len() - 2], "line 9999");
        assert_eq!(ring.heard().borrow().lines, 10_001);
    }

    #[tokio::test]
    async fn a_start_is_heard() {
        let ring = Ring::new();
        let log = b"0.0 I srv    load_model: loading model '/a'\n0.1 I srv  llama_server: listening on http://127.0.0.1:4711\n";
        ring.clone().read(log.as_slice()).await;
        ring.push(b"listening on http://127.0.0.1:1");
        let heard = *ring.heard().borrow();
        assert!(heard.loading);
        assert_eq!(heard.port, Some(4711));
    }
}
