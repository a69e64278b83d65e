//! What another process left, and what another process does meanwhile.

use std::os::unix::fs::FileExt as _;

use tokio::runtime::Runtime;

use super::{super::record, *};

const SIZE: usize = 100_000;

/// As a process leaves it that had these ranges.
fn leave(scene: &Scene, remote: &Double, ranges: &[(usize, usize)], validator: &str) {
    let file = fs::File::create(scene.partial(remote)).unwrap();
    let mut durable = ranges::Ranges::default();
    for &(start, end) in ranges {
        file.write_all_at(&remote.content[start..end], start as u64).unwrap();
        durable.insert(start as u64..end as u64);
    }
    let record = record::write(&remote.blob(), &durable, Some(validator)).unwrap();
    fs::write(scene.record(remote), record).unwrap();
}

#[tokio::test]
async fn only_what_is_missing_is_fetched() {
    for ranges in [
        &[(0, 50_000)][..],
        &[(1, 2), (4096, 30_000), (99_999, 100_000)],
        &[(0, 100_000)],
        &[(0, 99_999)],
    ] {
        let (scene, remote) = (Scene::new(), Double::good(SIZE));
        leave(&scene, &remote, ranges, "\"v\"");
        let there: usize = ranges.iter().map(|(start, end)| end - start).sum();
        assert_eq!(scene.downloads.needed_room(&remote.blob()), (SIZE - there) as u64);
        assert!(scene.run(&remote).await.unwrap());
        assert_eq!(remote.sent(), (SIZE - there) as u64);
    }
}

#[tokio::test]
async fn of_a_registry_that_passes_over_ranges_only_the_rest_is_kept() {
    let (scene, remote) = (Scene::new(), Double::new(SIZE, [], Act::Whole));
    leave(&scene, &remote, &[(10, 20), (30_000, 60_000)], "\"v\"");
    scene.run(&remote).await.unwrap();
}

#[tokio::test]
async fn a_record_that_lies_costs_one_more_attempt() {
    let (scene, remote) = (Scene::new(), Double::good(SIZE));
    leave(&scene, &remote, &[(0, 50_000)], "\"v\"");
    let file = fs::OpenOptions::new().write(true).open(scene.partial(&remote)).unwrap();
    file.write_all_at(&[!remote.content[70]], 70).unwrap();
    let mut download = scene.fetch(&remote);
    assert!(within(download.ended()).await.unwrap());
    scene.check(&remote, true);
    let state = download.state();
    assert_eq!((state.attempt, state.completed), (1, SIZE as u64));
    assert!(state.text.unwrap().contains("damaged"));
    // And when what comes is wrong as well, there is no third.
    let remote = Double::new(SIZE + 1, [], Act::Wrong);
    leave(&scene, &remote, &[(0, 50_000)], "\"v\"");
    assert_eq!(scene.run(&remote).await.unwrap_err().kind, Kind::DigestMismatch);
}

#[tokio::test]
async fn another_validator_than_recorded_starts_over() {
    let (scene, remote) = (Scene::new(), Double::good(SIZE));
    leave(&scene, &remote, &[(0, 50_000)], "\"old\"");
    scene.run(&remote).await.unwrap();
    assert!(remote.sent() >= SIZE as u64);
}

#[tokio::test]
async fn what_is_no_partial_file_of_ours_is_replaced() {
    let (scene, remote) = (Scene::new(), Double::good(SIZE));
    let foreign = scene.store.layout().root().join("foreign");
    fs::write(&foreign, b"foreign").unwrap();
    std::os::unix::fs::symlink(&foreign, scene.partial(&remote)).unwrap();
    scene.run(&remote).await.unwrap();
    assert_eq!(fs::read(&foreign).unwrap(), b"foreign");
    // Longer than the blob.
    let remote = Double::good(SIZE + 1);
    fs::write(scene.partial(&remote), vec![1; SIZE * 2]).unwrap();
    scene.run(&remote).await.unwrap();
    let remote = Double::good(SIZE + 2);
    fs::create_dir(scene.partial(&remote)).unwrap();
    assert_eq!(scene.run(&remote).await.unwrap_err().kind, Kind::Internal);
}

#[tokio::test]
async fn a_partial_file_that_is_removed_meanwhile_never_hangs_nor_lies() {
    // After `at` bytes; each of: removed, removed with its record, cut, another in its place.
    for at in [1, 20_000, 60_000, 99_000] {
        for how in 0..4 {
            let (scene, remote) = (Scene::new(), Double::good(SIZE));
            let mut download = scene.fetch(&remote);
            within(async {
                while download.state().completed < at && download.state().ended.is_none() {
                    tokio::task::yield_now().await;
                }
            })
            .await;
            let (partial, record) = (scene.partial(&remote), scene.record(&remote));
            let _done = match how {
                0 => fs::remove_file(&partial),
                1 => fs::remove_file(&record).and(fs::remove_file(&partial)),
                2 => fs::OpenOptions::new()
                    .write(true)
                    .open(&partial)
                    .and_then(|file| file.set_len(10)),
                _ => fs::remove_file(&partial).and_then(|()| fs::write(&partial, b"other")),
            };
            let ended = within(download.ended()).await;
            if let Err(error) = &ended {
                assert!(matches!(error.kind, Kind::Internal | Kind::DigestMismatch), "{error:?}");
            }
            let there = scene.store.layout().blob(&remote.blob().digest);
            assert_eq!(ended.is_ok(), there.exists());
            // Who cuts the file that was hashed could as well cut the blob a moment later.
            let cut = how == 2;
            assert!(!there.exists() || cut || fs::read(there).unwrap() == remote.content);
        }
    }
}

#[tokio::test]
async fn a_cancel_keeps_what_came() {
    let (scene, remote) = (Scene::new(), Double::new(SIZE, [Act::Serve; 20], Act::Stall(100)));
    let scene = Scene {
        downloads: Downloads::new(
            Arc::clone(&scene.store),
            Limits {
                stall: Duration::from_mins(1),
                ..limits()
            },
        ),
        ..scene
    };
    let mut download = scene.fetch(&remote);
    while download.state().completed < 40_000 {
        within(download.changed()).await;
    }
    let cancelled = tokio::spawn(download.cancel());
    let stopped = async {
        while remote.open_bodies() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(1), stopped).await.unwrap();
    within(cancelled).await.unwrap();
    scene.check(&remote, false);
    assert_eq!(descriptors(&scene.store.layout().partials()), 0);
    let needed = scene.downloads.needed_room(&remote.blob());
    assert!(needed <= 60_000, "{needed}");
    let good = Double::good(SIZE);
    scene.run(&good).await.unwrap();
    assert_eq!(good.sent(), needed);
}

#[test]
fn a_killed_process_fetches_little_again() {
    let scene = Scene::new();
    let mut sent = 0;
    for stop in [10_000, 30_000, 55_000, 80_000] {
        let remote = Double::new(SIZE, [], Act::Stall(1500));
        let runtime = Runtime::new().unwrap();
        runtime.block_on(within(async {
            let mut download = scene.fetch(&remote);
            while download.state().completed < stop && download.state().ended.is_none() {
                download.changed().await;
            }
            // Nobody gets the chance to clean up.
            std::mem::forget(download);
        }));
        drop(runtime);
        scene.check(&remote, false);
        sent += remote.sent();
    }
    let remote = Double::good(SIZE);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(scene.run(&remote)).unwrap();
    sent += remote.sent();
    // Each time at most two records' worth and what was in hand.
    let lost = 4 * (2 * limits().record + 4 * (512 + 700) + 4 * 512);
    assert!(sent <= SIZE as u64 + lost, "{sent}");
}
