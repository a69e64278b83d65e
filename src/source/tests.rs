use std::io::Write as _;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Ends a thread that a test's scope waits for, also when an assertion fails.
#[cfg(target_os = "linux")]
pub(super) struct SetAtEnd<'a>(pub(super) &'a AtomicBool);

#[cfg(target_os = "linux")]
impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_change_shows_in_the_stamp() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, "one").unwrap();
    let file = File::open(&path).unwrap();
    let before = stamp(&file).unwrap();
    assert_eq!((before.size, stamp(&file).unwrap()), (3, before));

    let mut writer = File::options().append(true).open(&path).unwrap();
    writer.write_all(b"two").unwrap();
    assert_ne!(stamp(&file).unwrap(), before);

    // The same bytes and the same modification time do not hide that another file took the name.
    let other = folder.path().join("other.gguf");
    std::fs::copy(&path, &other).unwrap();
    let copy = File::options().write(true).open(&other).unwrap();
    copy.set_modified(file.metadata().unwrap().modified().unwrap()).unwrap();
    assert_ne!(stamp(&copy).unwrap(), stamp(&file).unwrap());
}
