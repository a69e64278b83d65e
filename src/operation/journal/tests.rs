use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime},
};

use tokio::time::timeout;
use uuid::Uuid;

use super::{
    file::{JournalFile, NAME},
    line::{MAX_LINE, Read, lines},
    *,
};

const BOUNDS: Bounds = Bounds {
    ended: 100,
    ended_for: Duration::from_hours(1),
    compact: 4 << 10,
    file: 1 << 20,
    retry: Duration::from_millis(20),
};

type Told = (Kind, u128, String);

fn line(kind: Kind, id: u128, payload: &str) -> Line {
    Line::new(kind, Uuid::from_u128(id), SystemTime::now(), payload).unwrap()
}

fn open(folder: &Path) -> (JournalFile, Vec<Told>, (usize, usize)) {
    let (file, held) = JournalFile::open(folder, BOUNDS).unwrap();
    let records = held.records().map(|(kind, id, payload)| {
        let payload = String::from_utf8(payload.to_vec()).unwrap();
        (kind, id.as_u128(), payload)
    });
    let records = records.collect();
    (file, records, (held.broken, held.newer))
}

fn written(folder: &Path, lines: &[Line]) {
    let (mut file, ..) = open(folder);
    file.append(lines).unwrap();
}

fn append_raw(folder: &Path, bytes: &[u8]) {
    let mut all = fs::read(folder.join(NAME)).unwrap();
    all.extend_from_slice(bytes);
    fs::write(folder.join(NAME), all).unwrap();
}

fn of(kind: Kind, id: u128, payload: &str) -> Told {
    (kind, id, payload.to_owned())
}

#[test]
fn the_last_record_counts_and_nothing_after_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let begun = |id, payload| line(Kind::Begun, id, payload);
    let all = [
        begun(2, "a"),
        begun(1, "b"),
        begun(2, "c"),
        line(Kind::Ended, 1, "d"),
        begun(1, "e"),
        begun(3, "f"),
        line(Kind::Gone, 3, ""),
    ];
    written(folder.path(), &all);
    let (_, records, broken) = open(folder.path());
    assert_eq!(records, [of(Kind::Ended, 1, "d"), of(Kind::Begun, 2, "c")]);
    assert_eq!(broken, (0, 0));
    let mode = fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Cut at each byte: what was whole is there, and the next line is whole too.
#[test]
fn a_torn_end_costs_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let kept = line(Kind::Begun, 1, "kept");
    let torn = line(Kind::Begun, 2, "torn");
    for length in 0..torn.text.len() {
        fs::remove_file(folder.path().join(NAME)).ok();
        written(folder.path(), std::slice::from_ref(&kept));
        append_raw(folder.path(), &torn.text.as_bytes()[..length]);
        let (mut file, records, (broken, _)) = open(folder.path());
        assert_eq!(records, [of(Kind::Begun, 1, "kept")]);
        assert_eq!(broken, usize::from(length > 0));
        file.append(&[line(Kind::Begun, 3, "next")]).unwrap();
        drop(file);
        let (_, records, broken) = open(folder.path());
        assert_eq!(records, [of(Kind::Begun, 1, "kept"), of(Kind::Begun, 3, "next")]);
        assert_eq!(broken, (0, 0));
    }
}

/// Each byte turned: at most the lines that it touches are lost, and none is misread.
#[test]
fn a_turned_byte_costs_its_record() {
    let folder = tempfile::tempdir().unwrap();
    let all = [1, 2, 3].map(|id| line(Kind::Begun, id, "payload"));
    written(folder.path(), &all);
    let whole = fs::read(folder.path().join(NAME)).unwrap();
    for at in 0..whole.len() {
        for turned in [0x01, 0x80, whole[at] ^ b'\n'] {
            let mut bytes = whole.clone();
            bytes[at] ^= turned;
            fs::write(folder.path().join(NAME), &bytes).unwrap();
            let (_, records, _) = open(folder.path());
            assert!(records.len() >= if whole[at] == b'\n' { 1 } else { 2 }, "{at} {turned}");
            assert!(
                records.iter().all(|(kind, id, payload)| {
                    *kind == Kind::Begun && (1..=3).contains(id) && payload == "payload"
                })
            );
        }
    }
}

#[test]
fn what_is_too_long_or_newer_or_no_text_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), &[line(Kind::Begun, 1, "a")]);
    append_raw(folder.path(), b"2 anything at all\n12345678 x y\n");
    append_raw(folder.path(), &vec![b'x'; MAX_LINE + 10]);
    append_raw(folder.path(), b"\n\xff\xfe\n\n0 x\n1\n");
    let body = format!("z {} 0 later", Uuid::nil());
    append_raw(
        folder.path(),
        format!("1 {:08x} {body}\n", crc32fast::hash(body.as_bytes())).as_bytes(),
    );
    append_raw(folder.path(), line(Kind::Begun, 2, "b").text.as_bytes());
    // Larger than the bound of these tests' files.
    let bounds = Bounds {
        file: 8 << 20,
        ..BOUNDS
    };
    let (_, held) = JournalFile::open(folder.path(), bounds).unwrap();
    assert_eq!(held.records().len(), 2);
    assert_eq!((held.broken, held.newer), (5, 3));
    let payload = "x".repeat(MAX_LINE);
    assert_eq!(Line::new(Kind::Begun, Uuid::nil(), SystemTime::now(), &payload), None);
    assert_eq!(Line::new(Kind::Begun, Uuid::nil(), SystemTime::now(), "a\nb"), None);
}

#[test]
fn the_file_stays_small_and_keeps_what_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut file, ..) = open(folder.path());
    let payload = "x".repeat(100);
    file.append(&[line(Kind::Begun, 7, "runs all the time")]).unwrap();
    for id in 100..5000 {
        file.append(&[line(Kind::Begun, id, &payload), line(Kind::Ended, id, &payload)])
            .unwrap();
        if file.wasteful() {
            file.compact().unwrap();
        }
        assert!(fs::metadata(folder.path().join(NAME)).unwrap().len() <= 64 << 10);
    }
    drop(file);
    let (_, records, _) = open(folder.path());
    let ids: Vec<_> = records.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(ids, (4900..5000).chain([7]).collect::<Vec<_>>());
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        2,
        "the journal and its lock"
    );
}

#[test]
fn what_ended_long_ago_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let old = SystemTime::now() - BOUNDS.ended_for - Duration::from_secs(1);
    let old = |kind, id| Line::new(kind, Uuid::from_u128(id), old, "old").unwrap();
    written(
        folder.path(),
        &[old(Kind::Ended, 1), old(Kind::Begun, 2), line(Kind::Ended, 3, "new")],
    );
    let (_, records, _) = open(folder.path());
    assert_eq!(records, [of(Kind::Ended, 3, "new"), of(Kind::Begun, 2, "old")]);
}

#[test]
fn a_second_service_is_told_who_has_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let first = JournalFile::open(folder.path(), BOUNDS).unwrap();
    let error = JournalFile::open(folder.path(), BOUNDS).unwrap_err().to_string();
    assert!(error.contains(&format!("(process {})", std::process::id())), "{error}");
    assert!(error.contains("--state-dir"), "{error}");
    drop(first);
    open(folder.path());
}

#[test]
fn what_others_can_write_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    written(folder.path(), &[line(Kind::Begun, 1, "a")]);
    let path = folder.path().join(NAME);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
    JournalFile::open(folder.path(), BOUNDS).unwrap_err();
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    JournalFile::open(folder.path(), BOUNDS).unwrap_err();
}

#[test]
fn any_bytes_are_read_to_their_end() {
    fastrand::seed(7);
    for _ in 0..2000 {
        let bytes: Vec<u8> = (0..fastrand::usize(..200))
            .map(|_| b" 1be\n\xffa0"[fastrand::usize(..8)])
            .collect();
        let all: Vec<_> = lines(&bytes).collect();
        assert_eq!(all.iter().map(|(_, line)| line.len()).sum::<usize>(), bytes.len());
        assert!(all.iter().all(|(_, line)| !matches!(Read::of(line), Read::Record(_))));
    }
}

async fn opened(opening: Opening) -> Option<usize> {
    let first = timeout(Duration::from_mins(1), opening.first).await;
    first.unwrap().unwrap().map(|held| held.records().len())
}

#[tokio::test]
async fn what_is_acknowledged_is_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, opening) = Journal::open(folder.path(), BOUNDS);
    assert_eq!(opened(opening).await, Some(0));
    for id in 0..50 {
        journal.write(line(Kind::Begun, id, "a")).await;
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert!(text.contains(&Uuid::from_u128(id).to_string()), "{id}");
    }
    // A handle that is dropped gives the folder back too.
    journal.push(line(Kind::Ended, 3, "b"));
    journal.close().await;
    journal.write(line(Kind::Begun, 99, "late")).await;
    let (_, records, _) = open(folder.path());
    assert_eq!(records.len(), 50);
    assert_eq!(records[0], of(Kind::Ended, 3, "b"));
}

#[tokio::test]
async fn the_successor_takes_over_when_the_lock_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let (mut predecessor, ..) = open(folder.path());
    predecessor.append(&[line(Kind::Begun, 1, "left")]).unwrap();
    let (journal, opening) = Journal::open(folder.path(), BOUNDS);
    assert!(timeout(PATIENCE * 60, opening.first).await.unwrap().unwrap().is_none());
    // Nobody waits for a journal that cannot be had.
    timeout(PATIENCE / 2, journal.write(line(Kind::Begun, 2, "mine")))
        .await
        .unwrap();
    drop(predecessor);
    let held = timeout(PATIENCE * 60, opening.later).await.unwrap().unwrap();
    assert_eq!(held.records().map(|(_, id, _)| id.as_u128()).collect::<Vec<_>>(), [1]);
    journal.close().await;
    let (_, records, _) = open(folder.path());
    assert_eq!(records, [of(Kind::Begun, 1, "left"), of(Kind::Begun, 2, "mine")]);
}
