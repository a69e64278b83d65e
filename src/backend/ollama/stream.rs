//! The lines of long work.

use std::sync::Arc;

use reqwest::Response;

use super::{
    error::{self, Doing, cause},
    wire::Line,
};
use crate::{
    backend::{Error, Kind},
    ndjson::Lines,
};

/// Bytes of a line. Ollama's own client takes as much.
const MAX_LINE: usize = 8 << 20;

/// The lines of one answer. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Stream {
    response: Response,
    lines: Lines,
    doing: Doing,
    url: Arc<str>,
    ended: bool,
    pub(super) last: Last,
}

/// Ollama's last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// None that was heard: the work may go on.
    Unheard,
    /// The work is over on its side.
    Over,
    /// Over, for Ollama stopped work that nobody here had stopped.
    Canceled,
    /// Over, for Ollama's own program failed, and Ollama does not say why.
    HelperFailed,
}

// === impl Stream ===

impl Stream {
    pub(super) fn new(response: Response, doing: Doing, url: Arc<str>) -> Self {
        Self {
            response,
            lines: Lines::new(MAX_LINE),
            doing,
            url,
            ended: false,
            last: Last::Unheard,
        }
    }

    /// The next line of progress; none at the end. A line that is an error is one here. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<Line>, Error> {
        loop {
            match self.lines.next_line() {
                Ok(Some(line)) => {
                    let line = line.to_vec();
                    return self.line(&line).map(Some);
                }
                Ok(None) if self.ended => {
                    self.last = Last::Over;
                    return Ok(None);
                }
                Ok(None) => {}
                Err(too_long) => {
                    let message = format!("{} sent a line of more than {} MiB", self.url, too_long.0 >> 20);
                    return Err(Error::new(Kind::Protocol, message));
                }
            }
            match self.response.chunk().await {
                Ok(Some(piece)) => self.lines.push(&piece),
                Ok(None) => {
                    self.ended = true;
                    // A last line may lack its end.
                    self.lines.push(b"\n");
                }
                Err(broken) => return Err(self.broken(broken)),
            }
        }
    }

    /// The stream ended without the line that it must end with.
    pub(super) fn cut_short(&self) -> Error {
        let message = format!("{} ended the work without saying that it is done: ask again", self.url);
        Error::new(Kind::Interrupted, message)
    }

    fn line(&mut self, line: &[u8]) -> Result<Line, Error> {
        let line: Line = serde_json::from_slice(line).map_err(|source| {
            let message = format!("{} sent what no Ollama says", self.url);
            Error::new(Kind::Protocol, message).because(source)
        })?;
        match line.error() {
            Some(text) => {
                self.last = if error::is_canceled(&text) {
                    Last::Canceled
                } else if error::is_of_helper(&text) {
                    Last::HelperFailed
                } else {
                    Last::Over
                };
                Err(error::said(self.doing, &text))
            }
            None => Ok(line),
        }
    }

    fn broken(&self, error: reqwest::Error) -> Error {
        let why = cause(&error);
        let message = format!(
            "{} broke off in the middle of the work (it was stopped or restarted): ask again{why}",
            self.url
        );
        Error::new(Kind::Interrupted, message).because(error.without_url())
    }
}
