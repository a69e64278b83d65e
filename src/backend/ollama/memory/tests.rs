use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    thread,
};

use super::*;
use crate::source::stamp;

const HOUR: i128 = 3_600_000_000_000;

fn now() -> i128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i128::try_from(now.as_nanos()).unwrap()
}

/// The stamp of an imagined file that has not changed for an hour.
fn old(ino: u64) -> Stamp {
    Stamp {
        dev: 1,
        ino,
        size: 3,
        mtime_ns: now() - HOUR,
        ctime_ns: now() - HOUR,
    }
}

fn digest(number: u64) -> Digest {
    Digest::of(&number.to_le_bytes())
}

fn made(number: u64, sources: usize) -> Made {
    Made {
        manifest: digest(number),
        recipe: digest(number + 1),
        sources: vec![digest(number + 2); sources],
        stored: digest(number + 3),
        provenance: None,
    }
}

fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn what_was_wrong_is_forgotten_for_good() {
    let base = tempfile::tempdir().unwrap();
    let memory = Memory::open(base.path());
    let (wrong, right) = (old(1), old(2));
    memory.put_all([(wrong, digest(1)), (right, digest(2))], SystemTime::now());
    assert!(memory.forget(&wrong) && !memory.forget(&wrong));
    for memory in [memory, Memory::open(base.path())] {
        assert_eq!((memory.get(&wrong), memory.get(&right)), (None, Some(digest(2))));
    }
}

#[test]
fn what_is_put_is_known_again_after_a_restart() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("state/deep");
    let memory = Memory::open(&folder);
    let (a, b) = (old(1), old(2));
    assert_eq!(memory.get(&a), None);
    memory.put_all([(a, digest(1)), (b, digest(2))], SystemTime::now());
    memory.note_made("http://h:1", &name("m"), made(7, 2));
    for memory in [memory.clone(), Memory::open(&folder)] {
        assert_eq!((memory.get(&a), memory.get(&b)), (Some(digest(1)), Some(digest(2))));
        assert_eq!(memory.made("http://h:1", &name("library/M:Latest")), Some(made(7, 2)));
        assert_eq!(memory.made("http://h:2", &name("m")), None);
        assert_eq!(memory.made("http://h:1", &name("m:x")), None);
    }
    // Each of the five tells another file.
    for other in [
        Stamp { dev: 2, ..a },
        Stamp { ino: 9, ..a },
        Stamp { size: 4, ..a },
        Stamp {
            mtime_ns: a.mtime_ns + 1,
            ..a
        },
        Stamp {
            ctime_ns: a.ctime_ns - 1,
            ..a
        },
    ] {
        assert_eq!(memory.get(&other), None);
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("digests.json"))), (0o700, 0o600));
    assert_eq!(entries(&folder), ["digests.json"]);
    memory.put(&a, digest(5), SystemTime::now());
    assert_eq!(Memory::open(&folder).get(&a), Some(digest(5)));
}

#[test]
fn a_file_that_changed_just_before_it_was_read_is_not_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::open(folder.path());
    let path = folder.path().join("model");
    fs::write(&path, "one").unwrap();
    let file = File::open(&path).unwrap();
    let fresh = stamp(&file).unwrap();
    let at = |ns: i128| UNIX_EPOCH + Duration::from_nanos(u64::try_from(ns).unwrap());
    // Whatever the time of its change: a restored modification time hides nothing.
    file.set_modified(at(now() - HOUR)).unwrap();
    for stamp in [
        fresh,
        stamp(&file).unwrap(),
        Stamp {
            mtime_ns: now() + HOUR,
            ..old(1)
        },
        Stamp {
            ctime_ns: now() + HOUR,
            ..old(1)
        },
        Stamp {
            ctime_ns: now() - 1_500_000_000,
            ..old(1)
        },
        Stamp {
            mtime_ns: i128::MAX,
            ..old(1)
        },
    ] {
        memory.put(&stamp, digest(1), SystemTime::now());
        assert_eq!(memory.get(&stamp), None, "{stamp:?}");
    }
    assert_eq!(entries(folder.path()), ["model"], "nothing was saved");
    // What counts is when the reading began, not when it ended.
    let read = Stamp {
        ctime_ns: now() - 60_000_000_000,
        ..old(1)
    };
    memory.put(&read, digest(1), at(read.ctime_ns + 1_900_000_000));
    assert_eq!(memory.get(&read), None);
    memory.put(&read, digest(1), at(read.ctime_ns + 2_100_000_000));
    assert_eq!(memory.get(&read), Some(digest(1)));
}

#[test]
fn what_cannot_be_believed_is_ignored_and_replaced() {
    let good = {
        let folder = tempfile::tempdir().unwrap();
        Memory::open(folder.path()).put(&old(1), digest(1), SystemTime::now());
        fs::read_to_string(folder.path().join("digests.json")).unwrap()
    };
    for bad in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        good[..good.len() / 2].to_owned(),
        good.replace("\"version\":1", "\"version\":2"),
        good.replace("model-control", "another"),
        good.replace("sha256:", "sha512:"),
        good.replace("\"size\":3", "\"size\":-3"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("digests.json");
        fs::write(&path, &bad).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let memory = Memory::open(folder.path());
        assert!(memory.0.tables.lock().unwrap().files.oldest_first().is_empty(), "{bad}");
        memory.put(&old(2), digest(2), SystemTime::now());
        assert_eq!(
            Memory::open(folder.path()).get(&old(2)),
            None,
            "stamps of another moment differ"
        );
        assert_eq!(
            Memory::open(folder.path())
                .0
                .tables
                .lock()
                .unwrap()
                .files
                .oldest_first()
                .len(),
            1
        );
    }
    // One that others can write, a link, a folder.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digests.json");
    let known = |folder: &Path| Memory::open(folder).0.tables.lock().unwrap().files.oldest_first().len();
    fs::write(&path, &good).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(known(folder.path()), 1);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
    assert_eq!(known(folder.path()), 0);
    fs::rename(&path, folder.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert_eq!(known(folder.path()), 0);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let memory = Memory::open(folder.path());
    let stamp = old(1);
    memory.put(&stamp, digest(1), SystemTime::now());
    assert_eq!(memory.get(&stamp), Some(digest(1)), "it goes on in memory");
    assert!(*memory.0.saving.lock().unwrap(), "and was told");
    assert_eq!(entries(folder.path()).len(), 2, "without leaving anything");
}

#[test]
fn a_folder_that_cannot_be_made_costs_nothing_but_time() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let memory = Memory::open(&folder.path().join("file/state"));
    let stamp = old(1);
    memory.put(&stamp, digest(1), SystemTime::now());
    memory.note_made("e", &name("m"), made(1, 1));
    assert_eq!(memory.get(&stamp), Some(digest(1)));
    assert_eq!(memory.made("e", &name("m")), Some(made(1, 1)));
}

#[test]
fn it_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::open(folder.path());
    let stamps: Vec<_> = (0..5000).map(old).collect();
    memory.put_all(
        stamps[..4096].iter().map(|stamp| (*stamp, digest(stamp.ino))),
        SystemTime::now(),
    );
    assert_eq!(memory.get(&stamps[0]), Some(digest(0)));
    memory.put_all(
        stamps[4096..].iter().map(|stamp| (*stamp, digest(stamp.ino))),
        SystemTime::now(),
    );
    assert_eq!(memory.get(&stamps[0]), Some(digest(0)), "it was used");
    assert_eq!(memory.get(&stamps[1]), None);
    assert_eq!(
        Memory::open(folder.path())
            .0
            .tables
            .lock()
            .unwrap()
            .files
            .oldest_first()
            .len(),
        4096
    );

    for index in 0..20 {
        memory.note_made("e", &name(&format!("m{index}")), made(index, 2000));
    }
    assert_eq!(memory.made("e", &name("m3")), None);
    assert_eq!(memory.made("e", &name("m4")), Some(made(4, 2000)));
    memory.note_made("e", &name("huge"), made(1, MAX_SOURCES + 1));
    assert_eq!(memory.made("e", &name("huge")), None);
    let size = fs::metadata(folder.path().join("digests.json")).unwrap().len();
    assert!(size < 8 << 20, "{size}");
}

#[test]
fn temporary_files_that_were_left_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in [
        "digests.json.new-1-1-x",
        "digests.json.new-2-1-x",
        "digests.json.old",
        "other",
    ] {
        let file = File::create(path(name)).unwrap();
        if name != "digests.json.new-2-1-x" {
            file.set_modified(SystemTime::now() - Duration::from_hours(2)).unwrap();
        }
    }
    Memory::open(folder.path());
    assert!(!path("digests.json.new-1-1-x").exists());
    assert_eq!(entries(folder.path()).len(), 3);
}

#[test]
fn many_writers_leave_a_whole_file() {
    let folder = tempfile::tempdir().unwrap();
    let stamps: Vec<_> = (0..8).map(old).collect();
    // Two of each share a memory; the two memories are as two processes.
    let memories = [Memory::open(folder.path()), Memory::open(folder.path())];
    thread::scope(|scope| {
        for (index, stamp) in stamps.iter().enumerate() {
            let memory = memories[index % 2].clone();
            scope.spawn(move || {
                for round in 0..3 {
                    memory.put(stamp, digest(round), SystemTime::now());
                    let known = Memory::open(folder_of(&memory));
                    assert!(!known.0.tables.lock().unwrap().files.oldest_first().is_empty());
                }
            });
        }
    });
    // In one process nothing is lost; of two, the last one wins.
    for (index, stamp) in stamps.iter().enumerate() {
        assert_eq!(memories[index % 2].get(stamp), Some(digest(2)));
    }
    let known = Memory::open(folder.path())
        .0
        .tables
        .lock()
        .unwrap()
        .files
        .oldest_first();
    assert_eq!(known.len(), 4);
    assert!(known.iter().all(|(_, value)| *value == digest(2)));
    assert_eq!(entries(folder.path()), ["digests.json"]);
}

fn folder_of(memory: &Memory) -> &Path {
    &memory.0.folder
}
