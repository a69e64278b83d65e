//! What registries do wrong.

use super::super::super::remote::Retry;
use super::{
    super::{
        ledger::Ledger,
        partial::Partial,
        writer::{Batch, Job},
    },
    *,
};

const SIZE: usize = 60_000;

#[tokio::test]
async fn a_blob_comes_in_parallel_ranges_of_which_each_is_asked_for_once() {
    let (scene, remote) = (Scene::new(), Double::good(SIZE));
    assert!(scene.run(&remote).await.unwrap());
    let mut asked = remote.asked.lock().unwrap().clone();
    assert!(asked[0].start > 0, "the first tells whether ranges are known");
    asked.sort_by_key(|range| range.start);
    let mut at = 0;
    for range in &asked {
        assert_eq!(range.start, at);
        at = range.end;
    }
    assert_eq!(at, SIZE as u64);
    assert!(asked.len() > 8 && asked.iter().all(|range| range.end - range.start <= limits().part));
    assert_eq!(remote.sent(), SIZE as u64);
    let most = remote.most_bodies.load(std::sync::atomic::Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} connections");
    assert!(!scene.run(&remote).await.unwrap(), "it is there");
}

#[tokio::test]
async fn small_and_empty_blobs_take_one_request_or_none() {
    let scene = Scene::new();
    for (size, requests) in [(0, 0), (1, 1), (2048, 1), (2049, 2)] {
        let remote = Double::good(size);
        assert!(scene.run(&remote).await.unwrap());
        assert_eq!(remote.requests(), requests, "{size}");
    }
}

#[tokio::test]
async fn a_registry_that_passes_over_ranges_is_read_as_one_stream() {
    let scene = Scene::new();
    let remote = Double::new(SIZE, [], Act::Whole);
    scene.run(&remote).await.unwrap();
    assert!(remote.requests() <= 2, "{}", remote.requests());
    // One of several hosts does; what is there by then is skipped.
    let remote = Double::new(SIZE + 1, [Act::Serve, Act::Serve, Act::Serve, Act::Serve], Act::Whole);
    scene.run(&remote).await.unwrap();
    // It breaks off again and again.
    let script = [20_000, 30_000, 30_000, 30_001, 50_000].map(Act::WholeEarly);
    let remote = Double::new(SIZE + 2, script, Act::Whole);
    scene.run(&remote).await.unwrap();
    // And gains nothing.
    let remote = Double::new(SIZE + 3, [], Act::WholeEarly(30_000));
    let error = scene.run(&remote).await.unwrap_err();
    assert_eq!(error.kind, Kind::RegistryUnreachable);
}

#[tokio::test]
async fn a_body_that_breaks_off_anywhere_is_asked_for_the_rest() {
    let scene = Scene::new();
    // Around pieces (700), batches (512), ranges (2048).
    let offsets = [0, 1, 511, 512, 513, 699, 700, 701, 1400, 2046, 2047, 2048, 2049];
    for (index, at) in offsets.into_iter().enumerate() {
        for (kind, act) in [Act::Early(at), Act::Reset(at), Act::Stall(at)].into_iter().enumerate() {
            let remote = Double::new(5000 + 10 * index + kind, [act; 3], Act::Serve);
            scene.run(&remote).await.unwrap();
            assert_eq!(remote.sent(), remote.content.len() as u64, "{act:?}: nothing twice");
        }
    }
}

#[tokio::test]
async fn what_gives_nothing_ends_in_its_own_error() {
    let soon = Act::Refuse(Retry::Soon);
    let after = |millis| Act::Refuse(Retry::After(Duration::from_millis(millis)));
    for (act, kind) in [
        (soon, Kind::RegistryBusy(None)),
        (Act::Refuse(Retry::Never), Kind::RegistryBusy(None)),
        (after(1), Kind::RegistryBusy(None)),
        (after(10_000), Kind::RegistryBusy(None)),
        (Act::Early(0), Kind::RegistryUnreachable),
        (Act::Stall(0), Kind::RegistryUnreachable),
        (Act::Empty, Kind::RegistryUnreachable),
        (Act::Total(SIZE as u64 + 1), Kind::Protocol),
        (Act::Start(1), Kind::Protocol),
        (Act::Wrong, Kind::DigestMismatch),
    ] {
        let (scene, remote) = (Scene::new(), Double::new(SIZE, [], act));
        let error = scene.run(&remote).await.unwrap_err();
        assert_eq!(error.kind, kind, "{act:?}");
        // One connection asks, and the others once it got an answer.
        let tries = if let Act::Refuse(_) = act { 4 } else { 16 };
        assert!(
            act == Act::Wrong || remote.requests() <= tries,
            "{act:?}: {}",
            remote.requests()
        );
        if act == Act::Wrong {
            assert!(!scene.partial(&remote).exists(), "nothing of it is of use");
        }
    }
}

#[tokio::test]
async fn what_passes_is_survived() {
    let after = Act::Refuse(Retry::After(Duration::from_millis(30)));
    let soon = Act::Refuse(Retry::Soon);
    for script in [
        vec![soon; 3],
        vec![after; 2],
        vec![Act::Serve, Act::Total(1), Act::Start(7), soon, Act::Empty],
        vec![Act::Early(100), soon, soon, soon, Act::Early(1), soon, soon, soon],
    ] {
        let (scene, remote) = (Scene::new(), Double::new(SIZE, script.clone(), Act::Serve));
        let begun = std::time::Instant::now();
        scene.run(&remote).await.unwrap();
        let least = script.iter().filter(|act| **act == after).count() * 30;
        assert!(
            begun.elapsed() >= Duration::from_millis(least as u64),
            "it was asked to wait"
        );
    }
}

#[tokio::test]
async fn more_than_was_asked_for_is_cut() {
    let (scene, remote) = (Scene::new(), Double::new(SIZE, [], Act::Endless));
    scene.run(&remote).await.unwrap();
    assert!(remote.sent() < 2 * SIZE as u64);
}

#[tokio::test]
async fn another_validator_starts_over_once_and_then_the_digest_decides() {
    for act in [Act::Validator("\"w\""), Act::Changed] {
        let scene = Scene::new();
        let remote = Double::new(SIZE, [Act::Serve, Act::Serve, act, act, act], Act::Serve);
        let mut download = scene.fetch(&remote);
        within(download.ended()).await.unwrap();
        let state = download.state();
        assert_eq!(state.attempt, 1, "{act:?}");
        assert!(state.text.unwrap().contains("another file"));
        scene.check(&remote, true);
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_told_as_such() {
    let (scene, remote) = (Scene::new(), Double::good(SIZE));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let partial = Partial::of(&scene.store, &remote.blob(), full);
    let ledger = Arc::new(Ledger::new(SIZE as u64, ranges::Ranges::default(), None, &limits()));
    let (jobs, queue) = tokio::sync::mpsc::channel(1);
    let mut batch = Batch::new(0);
    batch.push(bytes::Bytes::from_static(b"x"));
    jobs.send(Job::Write(batch)).await.unwrap();
    let waiting = Arc::clone(&ledger);
    let job = move || writer::write(&partial, &ledger, SIZE as u64, queue);
    let error = tokio::task::spawn_blocking(job).await.unwrap().unwrap_err();
    // The store's own disk has room: figures of it would mislead.
    assert_eq!(error.kind, Kind::DiskFull { need: 0, have: 0 });
    // Nobody waits for admission that will not come.
    within(waiting.admit(1 << 30)).await.unwrap_err();
}
