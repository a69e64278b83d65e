//! Creates that Ollama cannot stop: left by their callers, killed with it, and asked for again.

use std::{fs, time::Duration};

use model_control::grpc::proto::v1;
use rustix::process::{Pid, Signal};
use tonic::Streaming;

use super::{
    calls,
    models::{tiny, write_large},
    support::{Code, create, created, soon},
    world::{NOT_SERVING, SERVING, World, assert_clean, until},
};

type Creating = Streaming<v1::CreateFromPathResponse>;

/// A create that takes Ollama seconds, as far as Ollama's part of it.
async fn begun(world: &World, model: &str, layers: u32) -> (Creating, String, v1::CreateFromPathRequest) {
    let path = world.home.model("large.gguf");
    write_large(&path, layers, 1);
    let options = v1::ImportOptions {
        quantize: "Q4_K_M".into(),
        ..Default::default()
    };
    let request = v1::CreateFromPathRequest {
        import_options: Some(options),
        ..create(model, &path)
    };
    let mut stream = soon(world.client.clone().create_from_path(request.clone()))
        .await
        .unwrap()
        .into_inner();
    loop {
        let message = soon(stream.message()).await.unwrap().unwrap();
        let Some(v1::create_from_path_response::Event::Progress(progress)) = message.event else {
            panic!("it was quicker than its watcher")
        };
        // Ollama's own word, after which it is silent.
        if progress.engine_text == "parsing GGUF" {
            return (stream, progress.operation_id, request);
        }
    }
}

async fn result(mut stream: Creating) -> Result<v1::CreateFromPathResult, tonic::Status> {
    while let Some(message) = soon(stream.message()).await? {
        if let Some(v1::create_from_path_response::Event::Result(result)) = message.event {
            return Ok(result);
        }
    }
    panic!("no result")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_create_goes_on_and_the_next_of_its_name_wins() {
    let Some(mut world) = World::new().await else { return };
    let (stream, id, _) = begun(&world, "m", 4).await;
    let cancelled = world.cancel(&id).await;
    assert_eq!(cancelled.state(), v1::operation::State::Cancelled);
    assert!(
        cancelled.continues.contains("Ollama cannot stop making `m"),
        "{cancelled:?}"
    );
    let status = result(stream).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::Cancelled, "OPERATION_CANCELLED"));
    assert!(world.list().await.is_empty());
    // It waits for the first one's end, or would be replaced by it.
    let path = world.put("small.gguf", &tiny(0));
    let request = v1::CreateFromPathRequest {
        replace: true,
        ..create("m", &path)
    };
    let made = created(&mut world.client.clone(), request).await.unwrap();
    assert!(made.changed);
    assert_eq!(
        world.server.asked("POST", "/api/create"),
        2,
        "the first came to its end"
    );
    let listed = world.list().await;
    assert_eq!((listed.len(), &listed[0].digest), (1, &made.model.unwrap().digest));
    assert_eq!(listed[0].quantization_level, "Q8_0");
    world.lives();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_create_ends_in_its_model() {
    let Some(mut world) = World::new().await else { return };
    let (stream, id, request) = begun(&world, "m", 4).await;
    world.cancel(&id).await;
    drop(stream);
    // Health is told of what is listed.
    world.health("backends/one/models/m", SERVING).await;
    assert_eq!(world.list().await[0].quantization_level, "Q4_K_M");
    // It is known as what was asked for.
    assert!(!created(&mut world.client.clone(), request).await.unwrap().changed);
    world.lives();
}

/// Nobody asked for an end: it goes on, and whoever comes joins it.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_caller_is_gone_goes_on() {
    let Some(mut world) = World::new().await else { return };
    let (stream, id, request) = begun(&world, "m", 3).await;
    drop(stream);
    let made = created(&mut world.client.clone(), request).await.unwrap();
    assert_eq!(made.model.unwrap().digest, world.list().await[0].digest);
    let operation = calls::get(&mut world.operations.clone(), &id).await.unwrap();
    assert_eq!(operation.state(), v1::operation::State::Succeeded);
    assert_eq!(world.server.asked("POST", "/api/create"), 1);
    world.lives();
}

/// As a system does that has no memory left.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_helper_is_killed_may_be_asked_for_again() {
    let Some(mut world) = World::new().await else { return };
    let (stream, _, request) = begun(&world, "m", 4).await;
    kill_helper(&world).await;
    let status = result(stream).await.unwrap_err();
    assert_clean(&status, &world);
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Aborted, "INTERRUPTED"),
        "{status:?}"
    );
    assert!(status.message().contains("llama-quantize was killed"), "{status:?}");
    assert!(world.list().await.is_empty());
    assert!(created(&mut world.client.clone(), request).await.unwrap().changed);
    world.lives();
}

/// The llama-quantize that works in this Ollama's models.
async fn kill_helper(world: &World) {
    let models = world.server.models().display().to_string();
    until(|| {
        let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let entry = entry.ok()?;
            let line = fs::read(entry.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line);
            let of_it = line.contains("llama-quantize") && line.contains(&models);
            of_it.then(|| entry.file_name().to_str()?.parse::<i32>().ok()).flatten()
        });
        let pids: Vec<_> = pids.filter_map(Pid::from_raw).collect();
        for pid in &pids {
            rustix::process::kill_process(*pid, Signal::KILL).ok();
        }
        !pids.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_whose_ollama_is_killed_ends_with_a_reason() {
    let Some(mut world) = World::new().await else { return };
    world.health("backends/one", SERVING).await;
    let (stream, id, request) = begun(&world, "m", 9).await;
    world.server.kill();
    let status = tokio::time::timeout(Duration::from_secs(5), result(stream))
        .await
        .expect("at once")
        .unwrap_err();
    assert_clean(&status, &world);
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Aborted, "INTERRUPTED"),
        "{status:?}"
    );
    let operation = calls::get(&mut world.operations.clone(), &id).await.unwrap();
    assert_eq!(calls::failure(&operation).reason, "INTERRUPTED");
    world.health("backends/one", NOT_SERVING).await;
    world.server.restart();
    world.health("backends/one", SERVING).await;
    assert!(world.list().await.is_empty());
    assert!(created(&mut world.client.clone(), request).await.unwrap().changed);
    world.lives();
}
