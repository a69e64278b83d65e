//! Lines of the log that tell which trace they belong to.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Puts `trace_id` and `span_id` before the fields of a line in JSON, when what it tells of is traced.
///
/// They are no fields of the spans that the log shows: a line may stand in a span that it does not.
#[derive(Debug)]
pub(super) struct Traced<F>(pub(super) F);

// === impl Traced ===

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        #[cfg(feature = "otlp")]
        if let Some((trace, span)) = super::trace::ids() {
            let mut line = String::new();
            self.0.format_event(context, Writer::new(&mut line), event)?;
            let Some(fields) = line.strip_prefix('{') else {
                return writer.write_str(&line);
            };
            return write!(writer, r#"{{"trace_id":"{trace}","span_id":"{span}",{fields}"#);
        }
        self.0.format_event(context, writer.by_ref(), event)
    }
}
