//! The life of a model that is there: shown, copied, loaded, kept, unloaded, removed.

use super::{
    calls,
    case::cases,
    support::{Code, soon, v1},
    world::{Ground, World, tiny},
};

cases![life =>
    a_model_is_shown [Manage],
    a_copy_is_a_second_name [Manage],
    a_model_is_removed [Manage],
    a_model_comes_into_memory_and_leaves [Load],
    a_warm_model_has_answered [Load],
    what_is_loaded_is_not_removed_by_chance [Load],
    what_cannot_be_loaded_says_why [Load],
    a_pinned_model_comes_back [Load, Outage],
];

pub(crate) fn model(name: &str) -> v1::LoadRequest {
    v1::LoadRequest {
        model: name.to_owned(),
        ..Default::default()
    }
}

pub(crate) async fn load(world: &World, request: v1::LoadRequest) -> Result<v1::LoadResult, tonic::Status> {
    let mut stream = soon(world.client.clone().load(request)).await?.into_inner();
    loop {
        match soon(stream.message()).await?.expect("a result").event {
            Some(v1::load_response::Event::Result(result)) => return Ok(result),
            Some(v1::load_response::Event::Progress(_)) | None => {}
        }
    }
}

pub(crate) async fn running(world: &World) -> Vec<v1::RunningModel> {
    let request = v1::ListRunningRequest::default();
    let answer = soon(world.client.clone().list_running(request)).await.unwrap();
    answer.into_inner().running
}

pub(crate) async fn delete(world: &World, request: v1::DeleteRequest) -> Result<v1::DeleteResponse, tonic::Status> {
    let answer = soon(world.client.clone().delete(request)).await?;
    Ok(answer.into_inner())
}

pub(crate) fn of(name: &str) -> v1::DeleteRequest {
    v1::DeleteRequest {
        model: name.to_owned(),
        ..Default::default()
    }
}

async fn a_model_is_shown(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    let show = |verbose| v1::ShowRequest {
        model: "M".to_owned(),
        verbose,
        ..Default::default()
    };
    let shown = soon(world.client.clone().show(show(false))).await.unwrap().into_inner();
    assert_eq!(shown.model.unwrap().name, "m:latest");
    let metadata = shown.metadata.unwrap().fields;
    let architecture = metadata["general.architecture"].kind.clone().unwrap();
    assert_eq!(architecture, prost_types::value::Kind::StringValue("llama".to_owned()));
    assert!(shown.template.contains("im_start"), "{}", shown.template);
    assert!(shown.tensors.is_empty());
    let shown = soon(world.client.clone().show(show(true))).await.unwrap().into_inner();
    assert!(shown.tensors.iter().any(|tensor| tensor.name == "token_embd.weight"));
    let none = v1::ShowRequest {
        model: "none".to_owned(),
        ..Default::default()
    };
    let status = soon(world.client.clone().show(none)).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "MODEL_NOT_FOUND"));
}

async fn a_copy_is_a_second_name(ground: Ground) {
    let world = ground.start().await;
    let made = world.create("m", &tiny(0)).await.unwrap().model.unwrap();
    world.create("other", &tiny(1)).await.unwrap();
    let copy = |source: &str, destination: &str, replace| v1::CopyRequest {
        source: source.to_owned(),
        destination: destination.to_owned(),
        replace,
        ..Default::default()
    };
    let copied = soon(world.client.clone().copy(copy("m", "n:v1", false))).await.unwrap();
    let model = copied.into_inner().result.unwrap().model.unwrap();
    assert_eq!((model.name.as_str(), model.digest), ("n:v1", made.digest.clone()));
    let status = soon(world.client.clone().copy(copy("m", "other", false)))
        .await
        .unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::AlreadyExists, "MODEL_EXISTS"));
    let copied = soon(world.client.clone().copy(copy("m", "other", true))).await.unwrap();
    assert_eq!(copied.into_inner().result.unwrap().model.unwrap().digest, made.digest);
    for (request, wanted) in [
        (copy("none", "x", false), (Code::NotFound, "MODEL_NOT_FOUND")),
        (copy("m", "m:latest", false), (Code::InvalidArgument, "REQUEST_INVALID")),
        (
            copy("m", "x:cloud", false),
            (Code::InvalidArgument, "MODEL_NAME_INVALID"),
        ),
    ] {
        let status = soon(world.client.clone().copy(request)).await.unwrap_err();
        assert_eq!(calls::told(&status), calls::is(wanted.0, wanted.1));
    }
}

async fn a_model_is_removed(ground: Ground) {
    let path = ground.home.model("m.gguf");
    std::fs::write(&path, tiny(0)).unwrap();
    let flags = ["--model=kept".to_owned(), format!("--model-path={}", path.display())];
    let world = ground.start_with(&flags).await;
    world.create("m", &tiny(0)).await.unwrap();
    world.create("n", &tiny(1)).await.unwrap();
    delete(&world, of("m")).await.unwrap();
    assert!(world.list().await.iter().all(|model| model.name != "m:latest"));
    assert!(world.list().await.iter().any(|model| model.name == "n:latest"));
    let status = delete(&world, of("m")).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "MODEL_NOT_FOUND"));
    let missing = v1::DeleteRequest {
        allow_missing: true,
        ..of("m")
    };
    assert_eq!(delete(&world, missing).await.unwrap().result.unwrap().freed_bytes, 0);
    let status = delete(&world, of("kept")).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "MODEL_CONFIGURED")
    );
}

async fn a_model_comes_into_memory_and_leaves(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    assert_eq!(running(&world).await, []);
    let loaded = load(&world, model("m")).await.unwrap();
    assert!(loaded.changed);
    let told = loaded.running.unwrap();
    assert_eq!(
        (told.name.as_str(), told.state()),
        ("m:latest", v1::running_model::State::Ready)
    );
    assert!(
        told.size_bytes > 0 && told.endpoint.starts_with("http://127.0.0.1:"),
        "{told:?}"
    );
    assert!(!load(&world, model("m")).await.unwrap().changed);
    let [one] = &running(&world).await[..] else {
        panic!("one model runs")
    };
    assert_eq!((one.name.as_str(), &one.endpoint), ("m:latest", &told.endpoint));
    assert_eq!(world.list().await[0].level(), v1::Level::Loaded);
    let unload = v1::UnloadRequest {
        model: "m".to_owned(),
        ..Default::default()
    };
    let gone = soon(world.client.clone().unload(unload.clone()))
        .await
        .unwrap()
        .into_inner();
    assert!(gone.result.unwrap().freed_bytes > 0);
    assert_eq!(running(&world).await, []);
    let again = soon(world.client.clone().unload(unload)).await.unwrap().into_inner();
    assert_eq!(again.result.unwrap().freed_bytes, 0, "nothing to do is success");
}

async fn a_warm_model_has_answered(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    let request = v1::EnsureReadyRequest {
        level: v1::Level::Warm.into(),
        ..calls::ensure("m")
    };
    let ready = calls::ensured(&mut world.client.clone(), request.clone())
        .await
        .unwrap();
    let told = ready.model.unwrap();
    assert_eq!(told.level(), v1::Level::Warm);
    let canary = told.running.unwrap().canary.unwrap();
    assert!(canary.time_to_first_token.is_some() && canary.check_time.is_some());
    assert_eq!(world.list().await[0].level(), v1::Level::Warm);
    // What is ready is not asked again: the plan is empty, and the evidence is the old one.
    let ready = calls::ensured(&mut world.client.clone(), request).await.unwrap();
    assert!(!ready.changed);
    assert_eq!(ready.plan.unwrap().steps, []);
    let again = ready.model.unwrap().running.unwrap().canary.unwrap();
    assert_eq!(again, canary);
}

async fn what_is_loaded_is_not_removed_by_chance(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    // In whatever case it is named.
    let warm = v1::LoadRequest {
        level: v1::Level::Warm.into(),
        ..model("M")
    };
    load(&world, warm).await.unwrap();
    for name in ["m", "M"] {
        let status = delete(&world, of(name)).await.unwrap_err();
        assert_eq!(
            calls::told(&status),
            calls::is(Code::FailedPrecondition, "MODEL_IN_USE")
        );
    }
    assert_eq!(running(&world).await.len(), 1);
    let unloading = v1::DeleteRequest {
        unload: true,
        ..of("M")
    };
    delete(&world, unloading).await.unwrap();
    assert_eq!((world.list().await, running(&world).await), (vec![], vec![]));
}

async fn what_cannot_be_loaded_says_why(ground: Ground) {
    let world = ground.start().await;
    let status = load(&world, model("none")).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "MODEL_NOT_FOUND"));
    let on_disk = v1::LoadRequest {
        level: v1::Level::OnDisk.into(),
        ..model("m")
    };
    let status = load(&world, on_disk).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::InvalidArgument, "REQUEST_INVALID")
    );
}

async fn a_pinned_model_comes_back(ground: Ground) {
    let mut world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    let pinned = v1::LoadRequest {
        pin: true,
        ..model("m")
    };
    let told = load(&world, pinned).await.unwrap().running.unwrap();
    assert!(told.pinned && told.expire_time.is_none(), "{told:?}");
    world.ground.down().await;
    world.ground.up().await;
    loop {
        // Bounded by the patience of the test: the service loads it by itself.
        let request = v1::ListRunningRequest::default();
        let answer = soon(world.client.clone().list_running(request)).await;
        if answer.is_ok_and(|answer| answer.into_inner().running.iter().any(|model| model.pinned)) {
            break;
        }
        tokio::task::yield_now().await;
    }
}
