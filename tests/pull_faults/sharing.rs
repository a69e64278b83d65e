//! Pulls beside each other.

use serde_json::json;

use super::{
    calls,
    double::Answer,
    hub::{Gate, MODEL, asked, gguf, layer, manifest},
    leaving::newest,
    support::*,
    world::{Ways, World, layers, progress, seen, until},
};
use model_control::model::Digest;

const CALLERS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_ask_the_registry_once() {
    let (world, file) = (World::new().await, gguf(1, 200));
    world.hub.put("m", &file);
    let gate = Gate::new();
    let closed = gate.closed();
    world.hub.script(move |seen| {
        let wait = *closed.borrow() && seen.path.contains("/manifests/");
        let bytes = manifest(&[layer(MODEL, &gguf(1, 200))]).to_string();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", bytes.len());
        wait.then(|| Answer::raw(head).then_after(closed.clone(), bytes))
    });
    let mut callers = Vec::new();
    let mut ids = std::collections::HashSet::new();
    for number in 0..CALLERS {
        let mut stream = world.begin(world.request("m")).await;
        let first = progress(soon(stream.message()).await.unwrap().unwrap());
        assert_eq!(first.joined, number > 0);
        ids.insert(first.operation_id);
        callers.push(stream);
    }
    assert_eq!(ids.len(), 1);
    gate.open();
    for stream in callers {
        assert!(calls::pulled(stream).await.unwrap().changed);
    }
    assert_eq!(world.hub.requests("/manifests/"), 1);
    // Each byte once.
    let mut ranges: Vec<_> = world.hub.asked(&Digest::of(&file));
    ranges.sort_by_key(asked);
    let end = ranges
        .iter()
        .map(|seen| asked(seen).unwrap())
        .fold(0, |at, (start, end)| {
            assert_eq!(start, at);
            end
        });
    assert_eq!(end, file.len());
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_two_models_share_is_fetched_once() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    world.hub.put_blob(b"be brief");
    let layers_of_it = [
        layer(MODEL, &file),
        layer("application/vnd.ollama.image.system", b"be brief"),
    ];
    let other = manifest(&layers_of_it).to_string();
    world.hub.put_manifest("other", other.as_bytes());
    let (one, gate, came) = world.half_way(&file, world.request("m")).await;
    let mut two = world.begin(world.request("other")).await;
    let digest = Digest::of(&file).to_string();
    let at = seen(&mut two, |progress| {
        let of_it = |layer: &&v1::progress::Layer| layer.digest == digest;
        let layer = layers(progress).and_then(|layers| layers.iter().find(of_it));
        layer.is_some_and(|layer| layer.completed_bytes > 0)
    });
    assert!(at.await.completed_bytes >= i64::try_from(came).unwrap());
    gate.open();
    for stream in [one, two] {
        assert!(calls::pulled(stream).await.unwrap().changed);
    }
    assert_eq!(world.hub.asked_bytes(&Digest::of(&file)), file.len());
    assert_eq!(world.list().await.len(), 3);
    world.service.stop().await;
}

/// Who began it leaves; who joined it has it all the same, with what came.
#[tokio::test(flavor = "multi_thread")]
async fn a_shared_blob_outlives_the_pull_that_began_it() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    world.hub.put("other", &file);
    let request = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..world.request("m")
    };
    let (one, gate, _) = world.half_way(&file, request).await;
    let id = newest(&world).await;
    let mut two = world.begin(world.request("other")).await;
    seen(&mut two, |progress| progress.completed_bytes > 1000).await;
    drop(one);
    let watch = calls::watch(&mut world.operations.clone(), &id).await.unwrap();
    assert_eq!(
        calls::ended(watch).await.unwrap().state(),
        v1::operation::State::Cancelled
    );
    assert_eq!(world.hub.double.held(), super::world::CONNECTIONS);
    gate.open();
    assert!(calls::pulled(two).await.unwrap().changed);
    assert_eq!(world.hub.asked_bytes(&Digest::of(&file)), file.len());
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_content_of_the_same_name_conflicts() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let (stream, gate, _) = world.half_way(&file, world.request("m")).await;
    let request = v1::PullRequest {
        digest: Digest::of(b"another").to_string(),
        ..world.request("m")
    };
    let status = world.pull(request).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::Aborted, "OPERATION_CONFLICT"));
    assert_eq!(calls::metadata(&status, "operationId"), newest(&world).await);
    gate.open();
    assert!(calls::pulled(stream).await.unwrap().changed);
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_pulls_than_may_run_wait_for_their_turn() {
    let ways = Ways {
        tune: |pulling| pulling.at_a_time = 1,
        ..Ways::default()
    };
    let (world, file) = (World::with(ways).await.with_stock().await, gguf(1, 200));
    world.hub.put("next", &gguf(2, 4));
    let (one, gate, _) = world.half_way(&file, world.request("m")).await;
    let asked = world.hub.requests("/manifests/");
    let mut two = world.begin(world.request("next")).await;
    let queued = |progress: &v1::Progress| matches!(progress.phase, Some(v1::progress::Phase::Queued(_)));
    seen(&mut two, queued).await;
    assert_eq!(world.hub.requests("/manifests/"), asked, "it has not begun");
    gate.open();
    for stream in [one, two] {
        assert!(calls::pulled(stream).await.unwrap().changed);
    }
    world.service.stop().await;
}

/// One that waits for its turn can be cancelled, and does not take another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_waits_can_be_cancelled() {
    let ways = Ways {
        tune: |pulling| pulling.at_a_time = 1,
        ..Ways::default()
    };
    let (world, file) = (World::with(ways).await.with_stock().await, gguf(1, 200));
    world.hub.put("next", &gguf(2, 4));
    let (one, gate, _) = world.half_way(&file, world.request("m")).await;
    let mut two = world.begin(world.request("next")).await;
    let id = progress(soon(two.message()).await.unwrap().unwrap()).operation_id;
    calls::cancel(&mut world.operations.clone(), &id).await.unwrap();
    let status = calls::pulled(two).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::Cancelled, "OPERATION_CANCELLED"));
    gate.open();
    assert!(calls::pulled(one).await.unwrap().changed);
    world.mends("next").await;
    world.service.stop().await;
}

/// The registry of the pull that was first does not have the blob; the other's does.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_failed_elsewhere_is_fetched_from_the_own_registry() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    world.hub.put("other", &file);
    let digest = Digest::of(&file);
    let gate = Gate::new();
    let (closed, path) = (gate.closed(), format!("/library/m/blobs/{digest}"));
    world.hub.script(move |seen| {
        let missing = json!({"errors": [{"message": "gone"}]}).to_string();
        let head = format!("HTTP/1.1 404 Told\r\ncontent-length: {}\r\n\r\n", missing.len());
        let of_it = seen.path.ends_with(&path);
        of_it.then(|| Answer::raw("").then_after(closed.clone(), head + &missing))
    });
    let one = world.begin(world.request("m")).await;
    until(|| world.hub.double.held() == 1).await;
    let mut two = world.begin(world.request("other")).await;
    seen(&mut two, |progress| layers(progress).is_some()).await;
    gate.open();
    let status = calls::pulled(one).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "MODEL_NOT_FOUND"));
    assert!(calls::pulled(two).await.unwrap().changed);
    world.service.stop().await;
}
