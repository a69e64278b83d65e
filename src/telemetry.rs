//! The log, metrics and traces. Everybody may tell them something; they know nobody.

use std::{error::Error, io::IsTerminal as _};

use tracing_subscriber::{EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub mod metrics;
pub mod trace;
mod traced;

/// An error with all its causes, for one line of the log. No Display of ours repeats its source.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a dyn Error);

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One object a line, for collectors.
    Json,
}

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the log filter cannot be read")]
pub struct InvalidFilter(#[from] tracing_subscriber::filter::ParseError);

/// Sends the log to standard error, and spans to where [`trace::start`] said. Once a process; a second call changes nothing.
pub fn init(format: Format, filter: &str) -> Result<(), InvalidFilter> {
    let hidden = format!("{}=off", trace::TARGET).parse()?;
    let filter = EnvFilter::try_new(filter)?.add_directive(hidden);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let lines = match format {
        Format::Text => lines.with_filter(filter).boxed(),
        Format::Json => lines
            .json()
            .flatten_event(true)
            .map_event_format(traced::Traced)
            .with_filter(filter)
            .boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(lines);
    #[cfg(feature = "otlp")]
    let subscriber = subscriber.with(trace::layer());
    let _already = subscriber.try_init().is_err();
    Ok(())
}

// === impl Chain ===

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_tells_each_cause_once() {
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(Chain(&error).to_string(), "outer: inner");
    }
}
