//! What the kernel tells of a process. Files of /proc are memory: reading them waits for nothing.

use std::fs;

/// What moves while a process works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// Clock ticks of user and kernel.
    ticks: u64,
    /// Pages that came from disk.
    faults: u64,
    /// Bytes in memory.
    pub(super) resident: u64,
}

/// What a process has done so far; nothing when it has ended.
pub(super) fn work(pid: u32) -> Option<Work> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (ticks, faults) = parse_stat(&stat)?;
    Some(Work {
        ticks,
        faults,
        resident: resident(pid)?,
    })
}

/// Bytes in memory: its own, and the pages of the model's file that it maps.
pub(super) fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    kib(&status, "VmRSS:")
}

/// The number of a line `Key:   123 kB`, in bytes.
pub(super) fn kib(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// The name of the program comes second and may hold anything, so counting begins behind it.
fn parse_stat(stat: &str) -> Option<(u64, u64)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((number(11)? + number(12)?, number(9)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 77 10 40 2 13 14 15";
        assert_eq!(parse_stat(stat), Some((42, 77)));
        assert_eq!(parse_stat("12"), None);
        assert_eq!(kib("VmRSS:\t   19368 kB\n", "VmRSS:"), Some(19368 * 1024));
    }

    #[test]
    fn this_process_is_there() {
        let work = work(std::process::id()).unwrap();
        assert!(work.resident > 1 << 20);
    }
}
