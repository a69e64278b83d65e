//! Operations that callers watch, leave and cancel.

use super::{
    calls,
    case::cases,
    pull::big,
    support::{
        Code, soon,
        v1::{
            self,
            operation::{Kind, State},
        },
    },
    world::{Ground, World, tiny},
};

cases![operations =>
    a_cancelled_pull_ends_for_all_and_comes_again [Registry],
    callers_who_all_leave_end_the_work [Registry],
    a_caller_who_leaves_leaves_the_work [Registry],
    a_watcher_sees_the_end [Registry],
    what_ended_is_remembered [Create, Registry],
    an_unknown_one_is_not_found [],
];

async fn a_cancelled_pull_ends_for_all_and_comes_again(ground: Ground) {
    let world = ground.start().await;
    let file = big(&world);
    world.ground.publish("m", &[("model", &file)]).await;
    let name = world.ground.held_name("m");
    let (one, first) = calls::pulling(&mut world.client.clone(), World::request(&name)).await;
    let (two, _) = calls::pulling(&mut world.client.clone(), World::request(&name)).await;
    let ended = calls::cancel(&mut world.operations.clone(), &first.operation_id)
        .await
        .unwrap();
    assert_eq!(ended.operation_id, first.operation_id);
    for stream in [one, two] {
        let status = calls::pulled(stream).await.unwrap_err();
        assert_eq!(calls::told(&status), calls::is(Code::Cancelled, "OPERATION_CANCELLED"));
    }
    let operation = calls::get(&mut world.operations.clone(), &first.operation_id)
        .await
        .unwrap();
    assert_eq!(operation.state(), State::Cancelled);
    assert!(world.listed(&name).await.is_none());
    world.ground.gate.open();
    assert!(world.pull(&name).await.unwrap().changed);
}

async fn callers_who_all_leave_end_the_work(ground: Ground) {
    let world = ground.start().await;
    let file = big(&world);
    world.ground.publish("m", &[("model", &file)]).await;
    let name = world.ground.held_name("m");
    let request = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..World::request(&name)
    };
    let (one, first) = calls::pulling(&mut world.client.clone(), request.clone()).await;
    let (two, _) = calls::pulling(&mut world.client.clone(), request).await;
    let watch = calls::watch(&mut world.operations.clone(), &first.operation_id)
        .await
        .unwrap();
    drop(one);
    drop(two);
    let ended = calls::ended(watch).await.unwrap();
    assert_eq!(ended.state(), State::Cancelled);
    world.ground.gate.open();
    assert!(world.pull(&name).await.unwrap().changed);
}

async fn a_caller_who_leaves_leaves_the_work(ground: Ground) {
    let world = ground.start().await;
    let file = big(&world);
    world.ground.publish("m", &[("model", &file)]).await;
    let name = world.ground.held_name("m");
    let (stream, first) = calls::pulling(&mut world.client.clone(), World::request(&name)).await;
    drop(stream);
    let watch = calls::watch(&mut world.operations.clone(), &first.operation_id)
        .await
        .unwrap();
    world.ground.gate.open();
    let ended = calls::ended(watch).await.unwrap();
    assert_eq!(ended.state(), State::Succeeded);
    assert!(world.listed(&name).await.is_some());
}

async fn a_watcher_sees_the_end(ground: Ground) {
    let world = ground.start().await;
    let status = world.pull(&world.ground.name("none")).await.unwrap_err();
    let id = calls::metadata(&status, "operationId");
    let watch = calls::watch(&mut world.operations.clone(), &id).await.unwrap();
    let ended = calls::ended(watch).await.unwrap();
    assert_eq!(ended.state(), State::Failed);
    assert_eq!(calls::failure(&ended).reason, "MODEL_NOT_FOUND");
    assert_eq!(ended.kind(), v1::operation::Kind::Pull);
}

async fn what_ended_is_remembered(ground: Ground) {
    let world = ground.start().await;
    world.ground.publish("m", &[("model", &tiny(0))]).await;
    let name = world.ground.name("m");
    world.pull(&name).await.unwrap();
    world.create("c", &tiny(0)).await.unwrap();
    let listed = soon(world.operations.clone().list(v1::OperationsListRequest::default())).await;
    let operations = listed.unwrap().into_inner().operations;
    let told: Vec<_> = operations
        .iter()
        .map(|operation| (operation.kind(), operation.state()))
        .collect();
    assert_eq!(
        told,
        [(Kind::CreateFromPath, State::Succeeded), (Kind::Pull, State::Succeeded)]
    );
    assert_eq!(operations[1].canonical_name, format!("{name}:latest"));
    assert!(
        operations
            .iter()
            .all(|operation| operation.end_time.is_some() && operation.backend == "one")
    );
}

async fn an_unknown_one_is_not_found(ground: Ground) {
    let world = ground.start().await;
    let id = "01a2083a-95dc-71c1-9538-3e7b4b853bad";
    let status = calls::get(&mut world.operations.clone(), id).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "OPERATION_NOT_FOUND"));
}
