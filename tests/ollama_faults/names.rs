//! A create that was cancelled goes on in Ollama, which cannot stop it: what others of its name are told meanwhile.

use std::sync::Arc;

use tonic::{Code, Status, Streaming};

use super::{
    calls,
    ollama_double::{Answer, Gate, Route},
    support::{create, soon, v1},
    until, world,
    world::{World, tiny},
};

const WAITS: &str = "Ollama finishes an earlier create of this name first";

/// A create of `m` that was cancelled, and goes on until the gate opens.
async fn cancelled_create(world: &World) -> Arc<Gate> {
    let (double, gate) = (world.ground.double(), Gate::new());
    let before = double.asked(Route::Create);
    double.on(Route::Create, Answer::Late(Arc::clone(&gate), Box::new(Answer::Usual)));
    let path = world.ground.put("m.gguf", &tiny(0));
    let request = create(&world.ground.name("m"), &path);
    let mut stream = soon(world.client.clone().create_from_path(request))
        .await
        .unwrap()
        .into_inner();
    let first = soon(stream.message()).await.unwrap().unwrap();
    let Some(v1::create_from_path_response::Event::Progress(first)) = first.event else {
        panic!("no snapshot first")
    };
    until(|| double.asked(Route::Create) > before).await;
    cancel(world, &first).await;
    gate
}

async fn cancel(world: &World, progress: &v1::Progress) {
    let operation = calls::cancel(&mut world.operations.clone(), &progress.operation_id).await;
    assert_eq!(calls::failure(&operation.unwrap()).reason, "OPERATION_CANCELLED");
}

/// Reads until the waiting is told.
async fn told(stream: &mut Streaming<v1::PullResponse>, first: &v1::Progress) {
    let mut text = first.engine_text.clone();
    while text != WAITS {
        let message = soon(stream.message()).await.unwrap().expect("it waits");
        if let Some(v1::pull_response::Event::Progress(progress)) = message.event {
            text = progress.engine_text;
        }
    }
}

fn busy(status: &Status) {
    assert_eq!(
        calls::told(status),
        calls::is(Code::Unavailable, "BACKEND_BUSY"),
        "{status:?}"
    );
    assert!(status.message().contains("earlier create"), "{status:?}");
    assert!(calls::retry_delay(status).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_waits_for_it_says_so_and_can_be_cancelled() {
    let world = world().await;
    let gate = cancelled_create(&world).await;
    let request = World::request(&world.ground.name("m"));
    let (mut stream, first) = calls::pulling(&mut world.client.clone(), request.clone()).await;
    told(&mut stream, &first).await;
    cancel(&world, &first).await;
    assert_eq!(calls::pulled(stream).await.unwrap_err().code(), Code::Cancelled);

    let (mut stream, first) = calls::pulling(&mut world.client.clone(), request).await;
    told(&mut stream, &first).await;
    assert_eq!(world.ground.double().asked(Route::Pull), 0);
    gate.open();
    calls::pulled(stream).await.unwrap();
    assert_eq!(world.list().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_and_a_copy_do_not_wait_for_it() {
    let world = world().await;
    let name = world.ground.name("m");
    world.create("source", &tiny(1)).await.unwrap();
    let gate = cancelled_create(&world).await;
    let delete = v1::DeleteRequest {
        model: name.clone(),
        ..Default::default()
    };
    let copy = v1::CopyRequest {
        source: "source".to_owned(),
        destination: name.clone(),
        ..Default::default()
    };
    let (mut one, mut other) = (world.client.clone(), world.client.clone());
    busy(&soon(one.delete(delete.clone())).await.unwrap_err());
    busy(&soon(other.copy(copy.clone())).await.unwrap_err());
    gate.open();
    until(|| world.ground.double().state().models.len() == 2).await;
    soon(one.delete(delete)).await.unwrap();
    soon(other.copy(copy)).await.unwrap();
    let models = world.list().await;
    assert_eq!(models[0].digest, models[1].digest);
}
