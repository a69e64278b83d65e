//! The walk, called directly: where `openat2` works, nothing else would reach it.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::symlink,
};

use super::*;

fn walked(root: &Path, path: &str) -> Result<String, Error> {
    let root = rustix::fs::open(root, PASS, Mode::empty()).unwrap();
    let mut text = String::new();
    File::from(walk(root.as_fd(), Path::new(path), "it")?)
        .read_to_string(&mut text)
        .map_err(|error| Error::reading("it", error))?;
    Ok(text)
}

#[test]
fn a_walk_opens_files_and_folders() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("a/b")).unwrap();
    fs::write(root.path().join("a/b/c"), "inside").unwrap();
    assert_eq!(walked(root.path(), "a/b/c").unwrap(), "inside");
    let fd = rustix::fs::open(root.path(), PASS, Mode::empty()).unwrap();
    for folder in ["", "a", "a/b"] {
        let opened = File::from(walk(fd.as_fd(), Path::new(folder), "it").unwrap());
        assert!(opened.metadata().unwrap().is_dir(), "{folder}");
    }
}

#[test]
fn a_walk_follows_no_link_and_never_goes_up() {
    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("root");
    fs::create_dir_all(root.join("real")).unwrap();
    fs::write(root.join("real/file"), "inside").unwrap();
    fs::write(base.path().join("secret"), "outside").unwrap();
    symlink("real", root.join("folder")).unwrap();
    symlink("real/file", root.join("file")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    for link in ["folder/file", "folder", "file", "out", "dangling", "dangling/x"] {
        let refused = walked(&root, link).unwrap_err();
        let reason = Unusable::LinkRefused;
        assert!(
            matches!(&refused, Error::NotUsable { reason: r, .. } if *r == reason),
            "{link}: {refused}"
        );
    }
    for up in ["../secret", "real/../../secret", "/etc/passwd"] {
        let refused = walked(&root, up).unwrap_err();
        assert!(
            matches!(refused, Error::NotAllowed(Refusal::Outside)),
            "{up}: {refused}"
        );
    }
    for missing in ["none", "none/file", "real/none", "real/file/none"] {
        let refused = walked(&root, missing).unwrap_err();
        assert!(matches!(refused, Error::NotFound { .. }), "{missing}: {refused}");
    }
}

/// A folder and a link out of the root change places while paths through it are opened.
#[cfg(target_os = "linux")]
#[test]
fn a_walk_is_not_led_out_by_a_folder_that_becomes_a_link() {
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    let base = tempfile::tempdir().unwrap();
    let root = base.path().join("root");
    for (folder, text) in [("root/folder", "inside"), ("outside", "outside")] {
        fs::create_dir_all(base.path().join(folder)).unwrap();
        fs::write(base.path().join(folder).join("file"), text).unwrap();
    }
    symlink("../outside", root.join("link")).unwrap();
    let (folder, link) = (root.join("folder"), root.join("link"));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &folder, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..5_000 {
            if let Ok(text) = walked(&root, "folder/file") {
                assert_eq!(text, "inside");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}
