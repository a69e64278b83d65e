//! How much memory there is: of the machine, and of the cgroup (version 2) that we are in with our children.
//!
//! Pages of files count as free, for the kernel gives them back. Those of models in memory must stay, so whoever asks takes
//! the weights of what is loaded off.

use std::{fs, path::Path};

use super::process::kib;

/// What can be had, in bytes. `None`: the system does not tell, and nothing is refused for it.
pub(super) fn available() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| kib(&text, "MemAvailable:"));
    let group = fs::read_to_string("/proc/self/cgroup")
        .ok()
        .and_then(|text| unified(&text).and_then(|group| within(Path::new("/sys/fs/cgroup"), group)));
    machine.into_iter().chain(group).min()
}

/// The path of our group of version 2.
fn unified(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/"))
}

/// The least that the group and those above it leave; nothing when none has a limit.
fn within(root: &Path, group: &str) -> Option<u64> {
    let folder = root.join(group);
    folder
        .ancestors()
        .take_while(|folder| folder.starts_with(root))
        .filter_map(left)
        .min()
}

fn left(folder: &Path) -> Option<u64> {
    let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
    // `max` is no number: no limit.
    let limit = number("memory.max")?;
    let used = number("memory.current")?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let of = |key: &str| {
        let find = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.parse::<u64>().ok();
        stat.lines().find_map(find).unwrap_or(0)
    };
    // Files in memory alone cannot be given back.
    let files = of("file").saturating_sub(of("shmem"));
    Some(limit.saturating_sub(used.saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_group_counts() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        let write = |folder: &Path, max: &str, current: &str| {
            fs::write(folder.join("memory.max"), max).unwrap();
            fs::write(folder.join("memory.current"), current).unwrap();
        };
        write(&inner, "max\n", "10\n");
        assert_eq!(within(root.path(), "a/b"), None);
        write(&root.path().join("a"), "1000\n", "600\n");
        fs::write(
            root.path().join("a/memory.stat"),
            "anon 100\nfile 500\nfile_mapped 3\nshmem 200\n",
        )
        .unwrap();
        assert_eq!(within(root.path(), "a/b"), Some(700));
        write(&inner, "50\n", "60\n");
        assert_eq!(within(root.path(), "a/b"), Some(0));
    }

    #[test]
    fn our_group_is_the_one_of_version_2() {
        assert_eq!(unified("4:memory:/x\n0::/y/z\n"), Some("y/z"));
        assert_eq!(unified("4:memory:/x\n"), None);
    }

    #[test]
    fn this_machine_has_some() {
        assert!(available().unwrap() > 1 << 20);
    }
}
