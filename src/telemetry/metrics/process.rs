//! What the system tells of this process, by the names that all Prometheus clients use.

use std::fs;

/// What the process has taken. None where the system does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// In memory.
    pub resident_bytes: Option<u64>,
    /// Open now.
    pub open_fds: Option<u64>,
    /// That may be open.
    pub max_fds: Option<u64>,
}

// === impl Process ===

impl Process {
    /// As it is now. Reads what the kernel has in memory: it does not block.
    pub fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = status.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .trim()
                .strip_suffix(" kB")?
                .parse::<u64>()
                .ok()
        });
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            resident_bytes: kib.map(|kib| kib << 10),
            // Less the one that this look opens.
            open_fds: fs::read_dir("/proc/self/fd")
                .ok()
                .map(|fds| (fds.count() as u64).saturating_sub(1)),
            max_fds: files.and_then(|line| line.split_whitespace().next()?.parse().ok()),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_of_this_process() {
        let before = Process::now();
        let file = fs::File::open("/proc/self/status").unwrap();
        assert!(before.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{before:?}");
        assert!(before.open_fds.is_some_and(|fds| fds > 2), "{before:?}");
        assert!(before.max_fds > before.open_fds, "{before:?}");
        drop(file);
    }
}
