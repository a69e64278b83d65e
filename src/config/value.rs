//! Durations and sizes as people write them: `500ms`, `30s`, `2m`, `1h`; `64KiB`, `4MiB`. A number without its unit is
//! refused: half of those who leave it out mean another one.

use std::{fmt, time::Duration};

/// A text that is no duration or size, or lies out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// No duration.
    #[error("a duration is a number and its unit: `500ms`, `30s`, `2m` or `1h`")]
    Duration,
    /// No size.
    #[error("a size is a number and its unit: `4096B`, `64KiB` or `4MiB`")]
    Size,
    /// Out of the range that is documented with the flag.
    #[error("must be from {least} to {most}")]
    Range {
        /// The least.
        least: String,
        /// The most.
        most: String,
    },
}

/// A duration, written with the largest unit that holds it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Human(pub Duration);

/// A size in bytes, written with the largest unit that holds it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

const DURATIONS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const SIZES: [(&str, u64); 3] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20)];

/// Reads a duration in a range, both ends allowed.
pub fn duration(
    least: Duration,
    most: Duration,
) -> impl Fn(&str) -> Result<Duration, InvalidValue> + Clone + Send + Sync + 'static {
    move |text| {
        let milliseconds = number_and_unit(text, &DURATIONS).ok_or(InvalidValue::Duration)?;
        let value = Duration::from_millis(milliseconds);
        in_range(value, least, most, |value| Human(value).to_string())
    }
}

/// Reads a size in a range, both ends allowed.
pub fn size(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, InvalidValue> + Clone + Send + Sync + 'static {
    move |text| {
        let bytes = number_and_unit(text, &SIZES).ok_or(InvalidValue::Size)?;
        // What no memory could hold is out of range whatever the range.
        let value = usize::try_from(bytes).unwrap_or(usize::MAX);
        in_range(value, least, most, |value| Size(value).to_string())
    }
}

fn number_and_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn in_range<T: PartialOrd + Copy>(value: T, least: T, most: T, show: impl Fn(T) -> String) -> Result<T, InvalidValue> {
    if value < least || value > most {
        return Err(InvalidValue::Range {
            least: show(least),
            most: show(most),
        });
    }
    Ok(value)
}

fn with_unit(f: &mut fmt::Formatter<'_>, number: u128, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| number.is_multiple_of(u128::from(*factor));
    match units.iter().rev().find(fits) {
        Some((unit, factor)) if number > 0 => write!(f, "{}{unit}", number / u128::from(*factor)),
        // Nothing of any unit: the one that people expect.
        _ => write!(f, "0{}", units[1].0),
    }
}

// === impl Human ===

impl fmt::Display for Human {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_unit(f, self.0.as_millis(), &DURATIONS)
    }
}

// === impl Size ===

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        with_unit(f, self.0 as u128, &SIZES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_ranges() {
        let read = duration(Duration::from_millis(500), Duration::from_hours(2));
        for (text, milliseconds) in [("500ms", 500), ("30s", 30_000), ("2m", 120_000), ("1h", 3_600_000)] {
            let value = read(text).unwrap();
            assert_eq!(value, Duration::from_millis(milliseconds));
            assert_eq!(Human(value).to_string(), text);
        }
        assert_eq!(Human(Duration::from_secs(90)).to_string(), "90s");
        assert_eq!(Human(Duration::ZERO).to_string(), "0s");
        for bad in [
            "",
            "30",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "1d",
            "1S",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(read(bad), Err(InvalidValue::Duration), "{bad}");
        }
        for outside in ["499ms", "0s", "7201s"] {
            assert_eq!(read(outside).unwrap_err().to_string(), "must be from 500ms to 2h");
        }
    }

    #[test]
    fn sizes_have_units_and_ranges() {
        let read = size(4096, 64 << 20);
        for (text, bytes, shown) in [
            ("4096B", 4096, "4KiB"),
            ("64KiB", 65_536, "64KiB"),
            ("4MiB", 4 << 20, "4MiB"),
        ] {
            let value = read(text).unwrap();
            assert_eq!(value, bytes);
            assert_eq!(Size(value).to_string(), shown);
        }
        for bad in ["", "4", "4MB", "4mib", "4 MiB", "-4MiB", "4GiB"] {
            assert_eq!(read(bad), Err(InvalidValue::Size), "{bad}");
        }
        assert_eq!(read("1KiB").unwrap_err().to_string(), "must be from 4KiB to 64MiB");
    }
}
