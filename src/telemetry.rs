//! The log, metrics and traces. Everybody may tell them something; they know nobody.

use std::{error::Error, io::IsTerminal as _};

use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

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
pub enum InvalidFilter {
    /// It is no list of levels and of targets with theirs.
    #[error("the log filter cannot be read")]
    Unreadable(#[from] tracing_subscriber::filter::ParseError),
    /// It would be taken for a target, and hide all else.
    #[error(
        "`{0}` is no level of the log: it is `error`, `warn`, `info`, `debug`, `trace` or `off`, or `TARGET=LEVEL`"
    )]
    Level(String),
}

/// Sends the log to standard error, and spans to where [`trace::start`] said. Once a process; a second call changes nothing.
pub fn init(format: Format, filter: &str) -> Result<(), InvalidFilter> {
    // By level and target alone: filters of spans and fields would bring an engine of regular expressions.
    let filter = self::filter(filter)?.with_target(trace::TARGET, LevelFilter::OFF);
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

/// The filter of the log that a text says, `info,model_control::grpc=debug`.
pub fn filter(text: &str) -> Result<Targets, InvalidFilter> {
    let mut words = text.split(',').map(str::trim).filter(|word| !word.contains('='));
    match words.find(|word| !word.is_empty() && word.parse::<LevelFilter>().is_err()) {
        Some(word) => Err(InvalidFilter::Level(word.to_owned())),
        None => Ok(text.parse()?),
    }
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
    fn a_filter_is_of_levels_and_targets_with_theirs() {
        let filter = filter("info,model_control::grpc=debug").unwrap();
        assert!(filter.would_enable("model_control::grpc::call", &tracing::Level::DEBUG));
        assert!(!filter.would_enable("model_control::manager", &tracing::Level::DEBUG));
        assert!(filter.would_enable("model_control::manager", &tracing::Level::INFO));
        let wrong = self::filter("inof").unwrap_err();
        assert!(wrong.to_string().contains("`inof` is no level"), "{wrong}");
        assert!(self::filter("info,x=loud").is_err());
    }

    #[test]
    fn a_chain_tells_each_cause_once() {
        let error = Outer(std::io::Error::other("inner"));
        assert_eq!(Chain(&error).to_string(), "outer: inner");
    }
}
