//! Connections that break on the way.

use model_control::{
    backend::{Backend as _, Cancelled, Next, PushSpec},
    model::Digest,
};

use super::{
    road::Fault,
    world::{CHUNK, World, soon, tiny},
};

/// Bytes of chunks that went to the registry for the model's file.
fn chunks(world: &World) -> usize {
    let passed = world.road.passed();
    let chunks = passed.iter().filter(|(method, ..)| method == "PATCH");
    chunks.map(|(_, _, bytes)| bytes).sum()
}

/// Docker's registry goes on where a connection broke between two chunks that it took whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_goes_on_where_its_connection_broke() {
    let Some(world) = World::start().await else { return };
    let name = world.create("team/tiny:v1").await;
    let small: u64 = world
        .blobs("one", &name)
        .iter()
        .filter(|digest| **digest != Digest::of(&tiny()))
        .map(|digest| std::fs::metadata(world.blob("one", digest)).unwrap().len())
        .sum();
    // Whichever chunks they are: none of a broken one arrives.
    world
        .road
        .faults(&[Fault::None, Fault::Break, Fault::None, Fault::Break, Fault::Break]);
    let told = world.push(&name).await;
    assert!(told.ended.unwrap().changed);
    let once = tiny().len() + usize::try_from(small).unwrap();
    assert!(tiny().len() as u64 > 2 * CHUNK, "it has chunks");
    assert_eq!(chunks(&world), once, "nothing is sent twice");
    assert_eq!(world.at_registry(&name).await.unwrap().0, world.stored("one", &name));
}

/// It refuses an upload of which it has a part of a chunk: that begins anew, and ends well.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_the_registry_gives_up_begins_anew() {
    let Some(world) = World::start().await else { return };
    let name = world.create("team/tiny:v1").await;
    world
        .road
        .faults(&[Fault::Half, Fault::None, Fault::Half, Fault::None, Fault::Half]);
    let told = world.push(&name).await;
    assert!(told.ended.unwrap().changed);
    assert!(chunks(&world) > tiny().len());
    assert_eq!(world.at_registry(&name).await.unwrap().0, world.stored("one", &name));
}

/// Neither a call that is cancelled nor one that is dropped leaves a connection, an upload, or anything under the name.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_is_left_leaves_nothing() {
    let Some(world) = World::start().await else { return };
    let name = world.create("team/tiny:v1").await;
    // All of them go at a time, so that none is just being begun.
    let blobs = world.blobs("one", &name).len();
    assert!(blobs <= 4, "{blobs}");
    for cancelled in [true, false] {
        world.road.faults(&[Fault::Hang; 4]);
        let spec = PushSpec {
            name: name.clone(),
            insecure: true,
        };
        let mut call = soon(world.engine.push(spec)).await.unwrap();
        let hangs = async {
            while world.road.hanging() < blobs {
                tokio::select! {
                    next = call.next() => assert!(matches!(next, Next::Event(_)), "{next:?}"),
                    () = tokio::task::yield_now() => {}
                }
            }
        };
        soon(hangs).await;
        if cancelled {
            assert!(matches!(soon(call.cancel()).await, Cancelled::Stopped));
        } else {
            drop(call);
        }
        let mut passed = Vec::new();
        let begun = |passed: &[(String, String, usize)], wanted: &str| {
            passed.iter().filter(|(method, ..)| method == wanted).count()
        };
        let left = async {
            loop {
                passed.extend(world.road.passed());
                if world.road.hanging() == 0 && begun(&passed, "DELETE") == begun(&passed, "POST") {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        soon(left).await;
        assert_eq!(begun(&passed, "DELETE"), blobs, "{passed:?}");
        assert!(world.at_registry(&name).await.is_none());
    }
    world.road.faults(&[]);
    assert!(world.push(&name).await.ended.unwrap().changed);
}
