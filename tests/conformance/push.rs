//! Models that are sent to a registry.

use super::{
    calls,
    case::cases,
    support::{Code, soon, v1},
    world::{Ground, Kind, World, tiny},
};

cases![push =>
    a_pushed_model_comes_back [Manage, Push, Registry],
    a_model_is_sent_in_phases [Manage, Push, Registry],
    a_push_that_cannot_be_says_why [Manage, Push, Registry],
];

fn model(name: &str) -> v1::PushRequest {
    v1::PushRequest {
        model: name.to_owned(),
        insecure: true,
        ..Default::default()
    }
}

/// The result, and the progress that came before it.
async fn push(world: &World, request: v1::PushRequest) -> Result<(v1::PushResult, Vec<v1::Progress>), tonic::Status> {
    let mut stream = soon(world.client.clone().push(request)).await?.into_inner();
    let mut told = Vec::new();
    loop {
        match soon(stream.message()).await?.expect("a result").event {
            Some(v1::push_response::Event::Result(result)) => return Ok((result, told)),
            Some(v1::push_response::Event::Progress(progress)) => told.push(progress),
            None => {}
        }
    }
}

/// A model, and its second name, which is one at the registry.
async fn made(world: &World) -> String {
    world.create("m", &tiny(0)).await.unwrap();
    let there = world.ground.push_name("m:v1");
    let copy = v1::CopyRequest {
        source: "m".to_owned(),
        destination: there.clone(),
        ..Default::default()
    };
    soon(world.client.clone().copy(copy)).await.unwrap();
    there
}

async fn a_pushed_model_comes_back(ground: Ground) {
    let world = ground.start().await;
    let there = made(&world).await;
    let here = world.listed(&there).await.unwrap();
    let (result, _) = push(&world, model(&there)).await.unwrap();
    assert!(result.changed);
    let back = world.pull(&world.ground.name("m:v1")).await.unwrap().model.unwrap();
    assert_eq!((back.size_bytes, &back.family), (here.size_bytes, &here.family));
    if world.ground.kind == Kind::Embedded {
        // Ollama writes the manifest anew and does not tell its digest.
        assert_eq!((&result.digest, &back.digest), (&here.digest, &here.digest));
        let (again, _) = push(&world, model(&there)).await.unwrap();
        assert_eq!((again.changed, again.digest), (false, here.digest));
    } else {
        assert_eq!(result.digest, "");
    }
}

async fn a_model_is_sent_in_phases(ground: Ground) {
    let world = ground.start().await;
    let there = made(&world).await;
    let (_, told) = push(&world, model(&there)).await.unwrap();
    let mut before = (0, 0);
    for progress in &told {
        let now = (progress.attempt, progress.sequence);
        assert!(now >= before, "{told:?}");
        before = now;
    }
    let last = told.last().unwrap();
    let phases: Vec<_> = last.phases.iter().map(|phase| phase.phase.as_str()).collect();
    for phase in ["resolving", "uploading", "writing"] {
        assert!(phases.contains(&phase), "{phases:?}");
    }
}

async fn a_push_that_cannot_be_says_why(ground: Ground) {
    let world = ground.start().await;
    made(&world).await;
    let none = push(&world, model(&world.ground.push_name("none"))).await.unwrap_err();
    assert_eq!(calls::told(&none), calls::is(Code::NotFound, "MODEL_NOT_FOUND"));
    let elsewhere = "elsewhere.example/n/m";
    let copy = v1::CopyRequest {
        source: "m".to_owned(),
        destination: elsewhere.to_owned(),
        ..Default::default()
    };
    soon(world.client.clone().copy(copy)).await.unwrap();
    let refused = push(&world, model(elsewhere)).await.unwrap_err();
    let wanted = calls::is(Code::PermissionDenied, "REGISTRY_NOT_ALLOWED");
    assert_eq!(calls::told(&refused), wanted);
}
