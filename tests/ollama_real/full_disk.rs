//! The disk of Ollama's models is full: in a pull, in an upload, and while a model is made.

use std::{fs, path::Path};

use tonic::{Code, Status};

use super::{
    calls,
    models::{noise, tiny, write_large},
    small_disk::{MIB, disk, fill, on_a_small_disk},
    world::{Ground, SERVING, World, assert_clean, there},
};

async fn on(disk: &Path) -> Option<World> {
    let world = Ground::on(&disk.join("models")).await?.start(&[]).await;
    world.health("backends/one", SERVING).await;
    Some(world)
}

fn assert_full(status: &Status, world: &World) {
    assert_clean(status, world);
    assert!(
        !status
            .message()
            .contains(super::small_disk::disk().unwrap().to_str().unwrap())
    );
    assert_eq!(
        calls::told(status),
        calls::is(Code::ResourceExhausted, "DISK_FULL"),
        "{status:?}\n{}",
        world.server.log()
    );
}

/// Room again: what others took, and what Ollama keeps of a pull that failed.
fn clear(world: &World, disk: &Path) {
    fs::remove_file(disk.join("other")).ok();
    for entry in fs::read_dir(world.server.models().join("blobs")).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains("-partial") {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_pull_that_fills_the_disk_is_told() {
    if there() {
        on_a_small_disk("full_disk::inside_pull", "size=60m");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_pull() {
    let Some(disk) = disk() else { return };
    let Some(mut world) = on(&disk).await else { return };
    world.hub.publish("large", &[("model", &noise(6, 80 << 20))]);
    world.hub.publish("small", &[("model", &tiny(0))]);
    let status = world.pull("large").await.unwrap_err();
    assert_full(&status, &world);
    // What it keeps of the first has taken all room.
    let status = world.pull("small").await.unwrap_err();
    assert_full(&status, &world);
    clear(&world, &disk);
    assert!(world.pull("small").await.unwrap().changed);
    world.lives();
}

#[test]
fn an_upload_that_fills_the_disk_is_told() {
    if there() {
        on_a_small_disk("full_disk::inside_upload", "size=60m");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_upload() {
    let Some(disk) = disk() else { return };
    let Some(mut world) = on(&disk).await else { return };
    let path = world.home.model("large.gguf");
    write_large(&path, 4, 2);
    let status = world.create("large", &path).await.unwrap_err();
    assert_full(&status, &world);
    let small = world.put("small.gguf", &tiny(0));
    assert!(world.create("small", &small).await.unwrap().changed);
    world.lives();
}

#[test]
fn a_create_that_fills_the_disk_is_told() {
    if there() {
        on_a_small_disk("full_disk::inside_create", "size=120m");
    }
}

/// There is room for the file, and none for the copy that is checked.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs on a small disk, by the test above"]
async fn inside_create() {
    let Some(disk) = disk() else { return };
    let Some(mut world) = on(&disk).await else { return };
    let path = world.home.model("large.gguf");
    write_large(&path, 1, 2);
    let size = fs::metadata(&path).unwrap().len();
    fill(&disk, size + 4 * MIB);
    let status = world.create("large", &path).await.unwrap_err();
    assert_full(&status, &world);
    // Now there is nearly enough.
    fs::remove_file(disk.join("other")).unwrap();
    fill(&disk, size - MIB);
    let status = world.create("large", &path).await.unwrap_err();
    assert_full(&status, &world);
    clear(&world, &disk);
    assert!(world.create("large", &path).await.unwrap().changed);
    world.lives();
}
