//! A store that is full, read-only, or another process's too.

use std::fs;

use super::{
    calls,
    double::Answer,
    hub::{config, gguf, half},
    small_disk::{MIB, disk, fill, free, make_read_only, make_writable, on_a_small_disk},
    support::*,
    world::{Ways, World},
};
use model_control::model::Digest;

/// What the store keeps free beside the content.
const MARGIN: u64 = MIB;

async fn on(disk: &Path) -> World {
    let ways = Ways {
        store: Some(disk.join("store")),
        ..Ways::default()
    };
    World::with(ways).await.with_stock().await
}

/// What a status says of bytes: needed, and free.
fn bytes(status: &Status) -> (u64, u64) {
    let number = |key: &str| calls::metadata(status, key).parse().unwrap();
    (number("needBytes"), number("haveBytes"))
}

#[test]
fn a_model_larger_than_the_disk_is_refused_before_a_byte_is_asked_for() {
    on_a_small_disk("disk::inside_larger", "size=16m");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_larger() {
    let Some(disk) = disk() else { return };
    let world = on(&disk).await;
    let file = gguf(1, 8 << 10);
    world.hub.put("m", &file);
    fill(&disk, 6 * MIB);
    let asked = world.hub.requests("/blobs/");
    let status = world.fails("m", Code::ResourceExhausted, "DISK_FULL").await;
    // The configuration is there, from the other model.
    assert_eq!(bytes(&status), (file.len() as u64 + MARGIN, free(&disk)));
    assert_eq!(world.hub.requests("/blobs/"), asked);
    assert!(!config().is_empty());
    fs::remove_file(disk.join("other")).unwrap();
    world.mends("m").await;
    world.service.stop().await;
}

#[test]
fn a_disk_that_becomes_full_on_the_way_is_told_and_left_as_it_was() {
    on_a_small_disk("disk::inside_overtaken", "size=16m");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_overtaken() {
    let Some(disk) = disk() else { return };
    let world = on(&disk).await;
    let file = gguf(1, 2 << 10);
    world.hub.put("m", &file);
    let (stored, listed) = (world.stored(), world.list().await);
    let (stream, gate, _) = world.half_way(&file, world.request("m")).await;
    fill(&disk, 0);
    world.hub.good();
    gate.open();
    let status = calls::pulled(stream).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::ResourceExhausted, "DISK_FULL"),
        "{status:?}"
    );
    let (need, have) = bytes(&status);
    assert!(
        need > have && need <= file.len() as u64,
        "{need} of {} needed, {have} free",
        file.len()
    );
    world.assert_whole(&stored, &listed).await;
    fs::remove_file(disk.join("other")).unwrap();
    world.mends("m").await;
    world.service.stop().await;
}

#[test]
fn a_store_that_cannot_be_written_is_told_and_left_as_it_was() {
    on_a_small_disk("disk::inside_read_only", "size=16m");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_read_only() {
    let Some(disk) = disk() else { return };
    let world = on(&disk).await;
    let store = &world.store;
    make_read_only(store);
    let status = world.fails("m", Code::Internal, "INTERNAL").await;
    assert!(
        status.message().contains("the store of backend `") && status.message().contains("read-only"),
        "{status:?}"
    );
    make_writable(store);
    world.mends("m").await;
    world.service.stop().await;
}

/// Another process takes the partial file away while it grows.
#[tokio::test(flavor = "multi_thread")]
async fn a_partial_file_that_goes_once_is_fetched_again() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let (stream, gate, _) = world.half_way(&file, world.request("m")).await;
    fs::remove_file(world.partial(&Digest::of(&file))).unwrap();
    world.hub.good();
    gate.open();
    assert!(calls::pulled(stream).await.unwrap().changed);
    let operation = super::leaving::ended(&world).await;
    let progress = operation.progress.unwrap();
    assert_eq!(progress.attempt, 2);
    assert!(progress.engine_text.contains("removed"), "{:?}", progress.engine_text);
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_file_that_goes_again_and_again_is_an_error() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let (digest, content) = (Digest::of(&file), file.clone());
    let path = world.partial(&digest);
    world.hub.script(move |seen| {
        if !seen.path.ends_with(digest.as_str()) {
            return None;
        }
        // It is there when its blob is asked for.
        let _gone_already = fs::remove_file(&path).is_err();
        let open = super::hub::Gate::new();
        open.open();
        Some(half(seen, &content, &open))
    });
    let status = world.fails("m", Code::Internal, "INTERNAL").await;
    assert!(status.message().contains("another process removes"), "{status:?}");
    world.mends("m").await;
    world.service.stop().await;
}

/// Or the whole store.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_goes_on_the_way_is_no_hang() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let (stream, gate, _) = world.half_way(&file, world.request("m")).await;
    fs::remove_dir_all(&world.store).unwrap();
    gate.open();
    world.hub.script(|_| Some(Answer::new(404)));
    let status = calls::pulled(stream).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);
    world.service.stop().await;
}
