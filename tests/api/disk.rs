//! A disk without room, for real: see `small_disk`.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use tonic_types::StatusExt as _;

use super::{
    held,
    scene::{Places, Scene, model, sparse, split},
    small_disk::{MIB, disk, fill, free, make_read_only, make_writable, on_a_small_disk},
    support::*,
};

/// What the store keeps free beside the content.
const MARGIN: u64 = MIB;

fn places(disk: &Path) -> Places {
    Places {
        store: disk.join("store"),
        ..Places::new()
    }
}

/// What a status says of bytes: needed, and free.
fn bytes(status: &Status) -> (u64, u64) {
    let details = status.get_error_details();
    let metadata = &details.error_info().unwrap().metadata;
    let number = |key: &str| metadata[key].parse().unwrap();
    (number("needBytes"), number("haveBytes"))
}

#[test]
fn a_model_larger_than_the_disk_is_refused_before_a_byte_is_stored() {
    on_a_small_disk("disk::inside_larger", "size=16m");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_larger() {
    let Some(disk) = disk() else { return };
    let mut scene = Scene::at(places(&disk)).await;
    let path = scene.root("large.gguf");
    let size = sparse(&path, 8 * MIB);
    fill(&disk, size);
    let status = scene
        .refused(create("m", &path), Code::ResourceExhausted, "DISK_FULL")
        .await;
    assert_eq!(bytes(&status), (size + MARGIN, free(&disk)));
    fs::remove_file(disk.join("other")).unwrap();
    assert!(created(&mut scene.client, create("m", &path)).await.unwrap().changed);
    scene.alive().await;
}

#[test]
fn a_disk_that_becomes_full_during_the_copy_is_told_and_left_as_it_was() {
    on_a_small_disk("disk::inside_copy", "size=80m");
}

/// Another process takes the room that was promised: who is faster decides, so it is tried until it was that one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_copy() {
    let Some(disk) = disk() else { return };
    let mut scene = Scene::at(places(&disk)).await;
    let mut path = scene.root("large.gguf");
    let size = sparse(&path, 64 * MIB);
    let start = Instant::now();
    loop {
        assert!(start.elapsed() < 2 * LONG, "the copy was never overtaken");
        let (done, temporary) = (Arc::new(AtomicBool::new(false)), disk.join("store/.model-control/tmp"));
        let other = {
            let (done, disk) = (Arc::clone(&done), disk.clone());
            std::thread::spawn(move || {
                let begun = || {
                    let mut entries = fs::read_dir(&temporary).unwrap();
                    entries.any(|entry| entry.is_ok_and(|entry| entry.metadata().is_ok_and(|file| file.len() > 0)))
                };
                while !begun() && !done.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                fill(&disk, 0);
            })
        };
        let answer = created(&mut scene.client, create("m", &path)).await;
        done.store(true, Ordering::Relaxed);
        other.join().unwrap();
        let Err(status) = answer else {
            // The copy was faster: begin again with an empty store.
            scene.service.stop().await;
            fs::remove_file(disk.join("other")).unwrap();
            fs::remove_dir_all(disk.join("store")).unwrap();
            scene = Scene::at(places(&disk)).await;
            path = scene.root("large.gguf");
            sparse(&path, 64 * MIB);
            continue;
        };
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::ResourceExhausted, "DISK_FULL"),
            "{status:?}"
        );
        let (need, have) = bytes(&status);
        assert!(need > have && need <= size, "{need} of {size} needed, {have} free");
        break;
    }
    scene.assert_clean(&std::collections::BTreeMap::new(), &[]).await;
    fs::remove_file(disk.join("other")).unwrap();
    assert!(created(&mut scene.client, create("m", &path)).await.unwrap().changed);
    scene.alive().await;
}

#[test]
fn a_disk_that_becomes_full_after_the_copy_is_told_and_left_as_it_was() {
    on_a_small_disk("disk::inside_after", "size=16m");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_after() {
    let Some(disk) = disk() else { return };
    let places = places(&disk);
    let path = split(&places.roots[0], held::PARTS);
    let (mut scene, hold) = held::at(places).await;
    let mut stream = held::standing(&mut scene, create("m", &path)).await;
    fill(&disk, 0);
    assert_eq!(free(&disk), 0);
    hold.release();
    let status = loop {
        match soon(stream.message()).await {
            Ok(message) => assert!(message.is_some(), "it succeeded"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::ResourceExhausted, "DISK_FULL"),
        "{status:?}"
    );
    let (need, have) = bytes(&status);
    assert!(need > 0 && have == 0, "{need} needed, {have} free");
    scene.assert_clean(&std::collections::BTreeMap::new(), &[]).await;
    fs::remove_file(disk.join("other")).unwrap();
    assert!(created(&mut scene.client, create("m", &path)).await.unwrap().changed);
    scene.alive().await;
}

#[test]
fn a_disk_that_takes_no_more_files_fails_at_every_step_alike() {
    on_a_small_disk("disk::inside_steps", "size=16m,nr_inodes=64");
}

/// Each file and folder that a create makes is once the one for which there is no room.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_steps() {
    let Some(disk) = disk() else { return };
    let mut scene = Scene::at(places(&disk)).await;
    let path = scene.put("good.gguf", &model(1));
    let other = disk.join("other");
    fs::create_dir(&other).unwrap();
    let left = || rustix::fs::statvfs(&disk).unwrap().f_ffree;
    let mut refused = 0;
    for room in 0.. {
        // Folders of the name stay, which hold nothing: so each round has its own.
        let name = format!("u{room}/m");
        fs::remove_dir_all(&other).unwrap();
        fs::create_dir(&other).unwrap();
        let spare = left().checked_sub(room).expect("fewer steps than the disk has files");
        for number in 0..spare {
            fs::write(other.join(number.to_string()), "").unwrap();
        }
        assert_eq!(left(), room);
        let (stored, listed) = (scene.stored(), scene.list().await);
        match created(&mut scene.client, create(&name, &path)).await {
            Ok(result) => {
                assert!(result.changed);
                break;
            }
            Err(status) => {
                assert_eq!(
                    (status.code(), &*reason(&status)),
                    (Code::ResourceExhausted, "DISK_FULL"),
                    "{room}: {status:?}"
                );
                // Of bytes there are enough.
                let details = status.get_error_details();
                assert!(
                    !details.error_info().unwrap().metadata.contains_key("needBytes"),
                    "{status:?}"
                );
                refused += 1;
            }
        }
        scene.assert_clean(&stored, &listed).await;
    }
    // The model, its configuration, its manifest and the folders of that.
    assert!(refused >= 5, "{refused}");
    fs::remove_dir_all(&other).unwrap();
    scene.alive().await;
}

#[test]
fn a_store_that_cannot_be_written_is_told_and_left_as_it_was() {
    on_a_small_disk("disk::inside_read_only", "size=16m");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_read_only() {
    let Some(disk) = disk() else { return };
    let mut scene = Scene::at(places(&disk)).await;
    let path = scene.put("good.gguf", &model(1));
    let store = disk.join("store");
    make_read_only(&store);
    let status = scene.refused(create("m", &path), Code::Internal, "INTERNAL").await;
    let message = status.message();
    assert!(
        message.contains("the store of backend `") && message.contains("read-only"),
        "{message}"
    );
    assert!(!message.contains(store.to_str().unwrap()), "{message}");
    make_writable(&store);
    assert!(created(&mut scene.client, create("m", &path)).await.unwrap().changed);
    scene.alive().await;
}
