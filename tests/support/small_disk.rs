//! A disk without room, for real: a small file system of the test's own.
//!
//! Such a one needs a mount, so each test runs itself again in a mount namespace, where it may mount and where what it
//! mounts ends with it. Where the system allows none of that a test says so and passes; where `CI` is set it fails, so that
//! nobody believes what was not tried.

// Each test binary that includes this file uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::missing;

/// Where the small disk is, for the test that runs on it.
const DISK: &str = "MODEL_CONTROL_TEST_SMALL_DISK";
pub(crate) const MIB: u64 = 1 << 20;
/// Mounts the small disk, and then becomes the test.
const ENTER: &str = r#"mount -t tmpfs -o "$1" model-control-test "$2" && shift 2 && exec "$@""#;

/// Runs the test of this name on a file system with these options.
pub(crate) fn on_a_small_disk(test: &str, options: &str) {
    let Some(namespace) = namespace() else {
        missing::skip(
            "this system lets tests mount nothing, so no disk can be full: give CAP_SYS_ADMIN or user namespaces",
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new("unshare")
        .args(namespace)
        .args(["--", "sh", "-c", ENTER, "sh", options])
        .arg(folder.path())
        .arg(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .env(DISK, folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("1 passed"), "{told}");
}

/// How this process may enter a namespace where it may mount.
fn namespace() -> Option<&'static [&'static str]> {
    let ways: [&[&str]; 2] = [&["--user", "--map-root-user", "--mount"], &["--mount"]];
    let folder = tempfile::tempdir().unwrap();
    ways.into_iter().find(|way| {
        let tried = Command::new("unshare")
            .args(*way)
            .args(["--", "sh", "-c", ENTER, "sh", "size=1m"])
            .arg(folder.path())
            .arg("true")
            .stdin(Stdio::null())
            .output();
        tried.is_ok_and(|output| output.status.success())
    })
}

/// The small disk; none when a person runs the inner test by itself.
pub(crate) fn disk() -> Option<PathBuf> {
    env::var_os(DISK).map(PathBuf::from)
}

/// Nobody who opens files of the folder by their paths can write any more.
pub(crate) fn make_read_only(folder: &Path) {
    mount(&["mount", "--bind", folder.to_str().unwrap()], folder);
    mount(&["mount", "-o", "remount,bind,ro"], folder);
}

/// As it was before.
pub(crate) fn make_writable(folder: &Path) {
    mount(&["umount"], folder);
}

fn mount(arguments: &[&str], folder: &Path) {
    let mounted = Command::new(arguments[0])
        .args(&arguments[1..])
        .arg(folder)
        .stdin(Stdio::null())
        .status();
    assert!(mounted.unwrap().success());
}

pub(crate) fn free(disk: &Path) -> u64 {
    let stat = rustix::fs::statvfs(disk).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// Takes room until so many bytes are left. Somebody else may take it too.
pub(crate) fn fill(disk: &Path, left: u64) {
    let mut file = fs::File::options()
        .append(true)
        .create(true)
        .open(disk.join("other"))
        .unwrap();
    while let Some(more) = free(disk).checked_sub(left).filter(|more| *more > 0) {
        let step = usize::try_from(more.min(MIB)).unwrap();
        if file.write_all(&vec![1; step]).is_err() {
            return;
        }
    }
}
