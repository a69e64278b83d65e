//! What the engine has.

use super::{
    case::cases,
    support::{Code, reason, soon, v1},
    world::{Ground, tiny},
};

cases![list =>
    none [],
    one_has_all_that_is_known [Create],
    several_are_in_order [Create],
    pages_follow_one_another [Create],
    what_is_no_page_is_refused [],
    what_is_pulled_is_listed_by_its_whole_name [Registry],
];

async fn none(ground: Ground) {
    let world = ground.start().await;
    let listed = soon(world.client.clone().list(v1::ListRequest::default())).await;
    assert_eq!(listed.unwrap().into_inner(), v1::ListResponse::default());
}

async fn one_has_all_that_is_known(ground: Ground) {
    let world = ground.start().await;
    let created = world.create("one", &tiny(0)).await.unwrap().model.unwrap();
    let model = world.list().await.pop().unwrap();
    assert_eq!(model.backend, "one");
    assert_eq!(model.name, "one:latest");
    assert_eq!(model.canonical_name, "registry.ollama.ai/library/one:latest");
    assert!(
        model.digest.starts_with("sha256:") && model.digest.len() == 71,
        "{model:?}"
    );
    assert!(model.size_bytes > 100_000, "{model:?}");
    assert!(model.modify_time.is_some());
    assert_eq!((model.format.as_str(), model.family.as_str()), ("gguf", "llama"));
    assert_eq!(model.families, ["llama"]);
    assert_eq!(model.context_length, Some(512));
    assert_eq!(model.embedding_length, Some(64));
    assert!(model.parameter_size.ends_with('K'), "{model:?}");
    assert!(!model.quantization_level.is_empty());
    assert_eq!(model.level(), v1::Level::OnDisk);
    assert_eq!(model.digest, created.digest, "a create tells what is listed");
}

async fn several_are_in_order(ground: Ground) {
    let world = ground.start().await;
    for (index, name) in ["b", "c", "a"].into_iter().enumerate() {
        world.create(name, &tiny(u8::try_from(index).unwrap())).await.unwrap();
    }
    let names: Vec<_> = world.list().await.into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["a:latest", "b:latest", "c:latest"]);
    let request = v1::ListRequest {
        order_by: "name desc".into(),
        ..Default::default()
    };
    let listed = soon(world.client.clone().list(request)).await.unwrap().into_inner();
    let names: Vec<_> = listed.models.into_iter().map(|model| model.name).collect();
    assert_eq!(names, ["c:latest", "b:latest", "a:latest"]);
}

async fn pages_follow_one_another(ground: Ground) {
    let world = ground.start().await;
    for name in ["a", "b", "c", "d", "e"] {
        world.create(name, &tiny(0)).await.unwrap();
    }
    let (mut pages, mut token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListRequest {
            page_size: 2,
            page_token: token,
            ..Default::default()
        };
        let page = soon(world.client.clone().list(request)).await.unwrap().into_inner();
        let names: Vec<_> = page.models.iter().map(|model| model.name[..1].to_owned()).collect();
        pages.push(names.concat());
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, ["ab", "cd", "e"]);
}

async fn what_is_no_page_is_refused(ground: Ground) {
    let world = ground.start().await;
    for (page_token, order_by) in [("x", ""), ("", "colour")] {
        let request = v1::ListRequest {
            page_token: page_token.into(),
            order_by: order_by.into(),
            ..Default::default()
        };
        let status = soon(world.client.clone().list(request)).await.unwrap_err();
        assert_eq!(
            (status.code(), &*reason(&status)),
            (Code::InvalidArgument, "REQUEST_INVALID")
        );
    }
    let request = v1::ListRequest {
        backend: "two".into(),
        ..Default::default()
    };
    let status = soon(world.client.clone().list(request)).await.unwrap_err();
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::NotFound, "BACKEND_NOT_FOUND")
    );
}

async fn what_is_pulled_is_listed_by_its_whole_name(ground: Ground) {
    let world = ground.start().await;
    let digest = world.ground.publish("m:v1", &[("model", &tiny(0))]).await;
    let name = world.ground.name("m:v1");
    world.pull(&name).await.unwrap();
    let model = world.list().await.pop().unwrap();
    assert_eq!((&model.name, &model.canonical_name), (&name, &name));
    assert_eq!(model.digest, digest);
}
