//! What callers are told on the way.

use std::collections::HashMap;

use super::{
    calls,
    hub::{config, gguf},
    support::*,
    world::{World, layers, seen, until},
};
use model_control::model::Digest;

fn bytes(size: usize) -> i64 {
    i64::try_from(size).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_is_known_before_the_first_byte() {
    let (world, file) = (World::new().await, gguf(1, 200));
    world.hub.put("m", &file);
    // Not even the configuration comes.
    world.hub.script(|seen| {
        let blob = seen.path.contains("/blobs/");
        blob.then(|| super::double::Answer::raw("").then_hang())
    });
    let mut stream = world.begin(world.request("m")).await;
    let told = seen(&mut stream, |progress| layers(progress).is_some()).await;
    assert_eq!(told.total_bytes, Some(bytes(file.len() + config().len())));
    assert_eq!(told.completed_bytes, 0);
    let sizes: HashMap<_, _> = layers(&told)
        .unwrap()
        .iter()
        .map(|layer| (layer.digest.clone(), layer.total_bytes))
        .collect();
    let expected = [&config(), &file].map(|blob| (Digest::of(blob).to_string(), Some(bytes(blob.len()))));
    assert_eq!(sizes, HashMap::from(expected));
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_runs_forward_to_the_end() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let gate = world.halves(&file);
    let mut stream = world.begin(world.request("m")).await;
    let came = world.held_back(&mut stream, &file).await;
    gate.open();
    let (mut last, mut most) = (0, HashMap::new());
    let mut phases = vec![];
    loop {
        let message = soon(stream.message()).await.unwrap().unwrap();
        let Some(v1::pull_response::Event::Progress(progress)) = message.event else {
            break;
        };
        assert_eq!(progress.attempt, 1);
        assert!(progress.sequence >= last);
        last = progress.sequence;
        phases = progress.phases.iter().map(|record| record.phase.clone()).collect();
        for layer in layers(&progress).unwrap_or_default() {
            let before = most.insert(layer.digest.clone(), layer.completed_bytes);
            assert!(before.unwrap_or(0) <= layer.completed_bytes);
            assert!(layer.completed_bytes <= layer.total_bytes.unwrap());
        }
        assert!(progress.completed_bytes <= progress.total_bytes.unwrap_or(i64::MAX));
    }
    assert_eq!(
        phases,
        ["queued", "resolving", "downloading", "parsing", "writing", "verifying"]
    );
    let model = most.get(Digest::of(&file).as_str());
    assert!(model.is_none_or(|completed| *completed >= bytes(came)));
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_pull_begins_where_the_last_one_ended() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let request = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..world.request("m")
    };
    let (stream, _gate, came) = world.half_way(&file, request.clone()).await;
    drop(stream);
    super::leaving::ended(&world).await;
    until(|| world.hub.double.held() == 0).await;
    // Nothing more comes, and what is there is shown from the start: it is none of the rate's.
    world.hub.script(|seen| {
        let blob = seen.path.contains("/blobs/");
        blob.then(|| super::double::Answer::raw("").then_hang())
    });
    let mut stream = world.begin(request).await;
    let told = seen(&mut stream, |progress| layers(progress).is_some()).await;
    assert_eq!(told.completed_bytes, bytes(came + config().len()));
    assert_eq!(told.total_bytes, Some(bytes(file.len() + config().len())));
    drop(stream);
    super::leaving::ended(&world).await;
    world.mends("m").await;
    world.service.stop().await;
}

/// What was kept is damaged: the first attempt ends with a wrong digest, and the second one begins at nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_starts_over_says_so() {
    let (world, file) = (World::stocked().await, gguf(1, 200));
    let request = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..world.request("m")
    };
    let (stream, _gate, _) = world.half_way(&file, request.clone()).await;
    drop(stream);
    super::leaving::ended(&world).await;
    world.hub.good();
    let path = world.partial(&Digest::of(&file));
    let size = std::fs::metadata(&path).unwrap().len();
    std::fs::write(&path, vec![9; usize::try_from(size).unwrap()]).unwrap();
    let id = {
        let mut stream = world.begin(world.request("m")).await;
        let first = seen(&mut stream, |_| true).await;
        assert!(calls::pulled(stream).await.unwrap().changed);
        first.operation_id
    };
    let operation = calls::get(&mut world.operations.clone(), &id).await.unwrap();
    let progress = operation.progress.unwrap();
    assert_eq!(progress.attempt, 2);
    let attempts: Vec<_> = progress
        .phases
        .iter()
        .map(|record| (record.phase.as_str(), record.attempt))
        .collect();
    assert_eq!(
        attempts,
        [
            ("queued", 1),
            ("resolving", 1),
            ("downloading", 1),
            ("resolving", 2),
            ("downloading", 2),
            ("parsing", 2),
            ("writing", 2),
            ("verifying", 2)
        ]
    );
    assert!(progress.engine_text.contains("damaged"), "{:?}", progress.engine_text);
    world.service.stop().await;
}
