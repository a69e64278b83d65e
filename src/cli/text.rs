//! How single values look, and how durations are typed.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;

/// Characters of one value on a terminal.
const MAX_SHOWN: usize = 2048;

/// The longest deadline that is taken.
const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// `text` as it may go to a terminal: control characters and those that turn the direction of writing are escaped, and
/// what is too long is cut.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_SHOWN && !text.chars().any(unsafe_on_terminal) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().min(MAX_SHOWN));
    for (count, c) in text.chars().enumerate() {
        if count == MAX_SHOWN {
            shown.push('…');
            break;
        }
        if unsafe_on_terminal(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Whether a character does something else than be shown: C0 and C1 controls, line separators, and the marks that
/// reorder what stands beside them.
pub(super) fn unsafe_on_terminal(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `1.2 GB`: decimal units, as disks and registries count.
pub(super) fn size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let bytes = bytes.max(0);
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    // 999.95 would be shown as 1000.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(value < 99.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// `3 minutes ago`, `in 5 seconds`; empty when there is no such time.
pub(super) fn age(then: Option<&Timestamp>, now: SystemTime) -> String {
    let Some(then) = then else { return String::new() };
    let now = Timestamp::from(now);
    let seconds = now.seconds.saturating_sub(then.seconds);
    let (number, unit) = match seconds.unsigned_abs() {
        0 => return "just now".to_owned(),
        s @ 1..60 => (s, "second"),
        s @ 60..3600 => (s / 60, "minute"),
        s @ 3600..86_400 => (s / 3600, "hour"),
        s @ 86_400..1_209_600 => (s / 86_400, "day"),
        s @ 1_209_600..5_184_000 => (s / 604_800, "week"),
        s @ 5_184_000..63_072_000 => (s / 2_592_000, "month"),
        s => (s / 31_536_000, "year"),
    };
    let plural = if number == 1 { "" } else { "s" };
    if seconds > 0 {
        format!("{number} {unit}{plural} ago")
    } else {
        format!("in {number} {unit}{plural}")
    }
}

/// `1h 2m`, `1m 40s`, `5m`, `12s`.
pub(super) fn duration(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (hours, minutes, rest) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    match (hours, minutes, rest) {
        (0, 0, _) => format!("{rest}s"),
        (0, _, 0) => format!("{minutes}m"),
        (0, ..) => format!("{minutes}m {rest}s"),
        (_, 0, _) => format!("{hours}h"),
        _ => format!("{hours}h {minutes}m"),
    }
}

/// The digits of a digest that tell it from others, as engines show them.
pub(super) fn short_digest(digest: &str) -> Cow<'_, str> {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    printable(digits.get(..12).unwrap_or(digits))
}

/// `KIND_ENSURE_READY` as people write it: `ensure-ready`.
pub(super) fn enum_word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix)
        .unwrap_or(name)
        .to_ascii_lowercase()
        .replace('_', "-")
}

/// Reads `500ms`, `30s`, `2m`, `1h`; a bare number is seconds. Up to a day.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| "want a time like `500ms`, `30s` or `2m`".to_owned())?;
    let duration = match &text[digits.len()..] {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        unit => return Err(format!("`{unit}` is no unit of time; want `ms`, `s`, `m` or `h`")),
    };
    duration
        .filter(|d| !d.is_zero() && *d <= MAX_TIMEOUT)
        .ok_or_else(|| "want more than nothing and at most a day".to_owned())
}

/// JSON without characters that could drive a terminal.
pub(super) fn harmless_json(json: String) -> String {
    use std::fmt::Write as _;
    if !json.chars().any(unsafe_on_terminal) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if unsafe_on_terminal(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _infallible = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_and_never_read_1000() {
        for (bytes, text) in [
            (-1, "0 B"),
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_234_567_890, "1.2 GB"),
            (99_940, "99.9 kB"),
            (274_302_450, "274 MB"),
            (999_499, "999 kB"),
            (999_950, "1.0 MB"),
            (i64::MAX, "9.2 EB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
    }

    #[test]
    fn ages_are_told_in_their_largest_unit() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1_000_000);
        let at = |ago: i64| Timestamp {
            seconds: 3_600_000_000 - ago,
            nanos: 0,
        };
        for (ago, text) in [
            (0, "just now"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (180, "3 minutes ago"),
            (7_300, "2 hours ago"),
            (86_400, "1 day ago"),
            (86_400 * 20, "2 weeks ago"),
            (86_400 * 90, "3 months ago"),
            (86_400 * 800, "2 years ago"),
            (-5, "in 5 seconds"),
        ] {
            assert_eq!(age(Some(&at(ago)), now), text);
        }
        assert_eq!(age(None, now), "");
        // A server may say anything.
        let absurd = Timestamp {
            seconds: i64::MIN,
            nanos: -1,
        };
        assert!(age(Some(&absurd), now).ends_with("years ago"));
    }

    #[test]
    fn nothing_that_drives_a_terminal_gets_through() {
        assert_eq!(printable("llama3:latest – größe"), "llama3:latest – größe");
        assert_eq!(
            printable("a\u{1b}[2Jb\r\n\u{9b}x\u{7f}"),
            "a\\u{1b}[2Jb\\r\\n\\u{9b}x\\u{7f}"
        );
        assert_eq!(printable("abc\u{202e}fdp"), "abc\\u{202e}fdp");
        let long = printable(&"x".repeat(1 << 20)).into_owned();
        assert_eq!(long.chars().count(), MAX_SHOWN + 1);
        assert!(long.ends_with('…'));
    }

    #[test]
    fn durations_are_shown_and_read() {
        assert_eq!(
            [-1, 12, 100, 300, 3720, 7205].map(duration),
            ["0s", "12s", "1m 40s", "5m", "1h 2m", "2h"]
        );
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_mins(2)));
        for bad in [
            "",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "3 s",
            "25h",
            "18446744073709551615h",
            "1d",
            "9é",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn enums_and_digests_are_short() {
        assert_eq!(enum_word("KIND_ENSURE_READY", "KIND_"), "ensure-ready");
        assert_eq!(short_digest("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_digest("é"), "é");
    }
}
