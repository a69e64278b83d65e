//! Standard output and error.
//!
//! Results go to the one, everything else to the other. A closed standard output ends the word quietly; a closed
//! standard error ends nothing.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
};

use super::{Output, exit::Stop, json};

/// Where a word prints.
pub(super) struct Console {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    /// Whether a bar may be drawn.
    pub(super) err_is_terminal: bool,
    output: Output,
}

// === impl Console ===

impl Console {
    /// The process's own.
    pub(super) fn standard(output: Output) -> Self {
        let err = io::stderr();
        Self {
            out: Box::new(io::stdout().lock()),
            err_is_terminal: err.is_terminal(),
            // Not locked: a bar draws there as well, from its own thread.
            err: Box::new(err),
            output,
        }
    }

    #[cfg(test)]
    pub(super) fn new(out: Box<dyn Write>, err: Box<dyn Write>, output: Output) -> Self {
        Self {
            out,
            err,
            err_is_terminal: false,
            output,
        }
    }

    /// One line or several, on standard output.
    pub(super) fn line(&mut self, text: impl fmt::Display) -> Result<(), Stop> {
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    /// A message as JSON, on one line, seen at once by whoever reads.
    pub(super) fn json<M: prost::Message>(&mut self, name: &str, message: &M) -> Result<(), Stop> {
        let text = json::render(name, message)?;
        writeln!(self.out, "{text}")?;
        self.flush()
    }

    /// A result: the message when programs read, else what `text` makes of it.
    pub(super) fn result<M: prost::Message>(
        &mut self,
        name: &str,
        message: &M,
        text: impl FnOnce(&M) -> String,
    ) -> Result<(), Stop> {
        match self.output {
            Output::Json => self.json(name, message),
            Output::Table => self.line(text(message)),
        }
    }

    /// A line for the person, on standard error.
    pub(super) fn note(&mut self, text: impl fmt::Display) {
        // Nobody is left to tell when this fails.
        let _unheard = writeln!(self.err, "{text}").is_err();
    }

    pub(super) fn flush(&mut self) -> Result<(), Stop> {
        self.out.flush()?;
        Ok(())
    }
}
