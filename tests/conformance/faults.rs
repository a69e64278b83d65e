//! What goes wrong in the life of a model: it cannot be loaded, it is gone, somebody removes it meanwhile.

use std::fs;

use super::{
    calls,
    case::cases,
    killed::{await_stopped, unload},
    life::{delete, load, model, of, running},
    models,
    support::{Code, soon, v1},
    world::{Engine, Ground, Kind, World, tiny},
};

cases![faults =>
    a_broken_model_says_the_engines_reason [Load],
    an_unknown_architecture_says_the_engines_reason [Load, Child],
    a_model_that_others_removed_is_not_found [Load],
    a_load_whose_model_is_removed_ends [Load],
    a_context_beyond_memory_is_refused_with_figures [Load, Child],
    what_is_not_loaded_is_unloaded_with_success [Load],
    a_configured_model_is_removed_only_by_force [Manage],
];

/// It is told, and nothing is changed by it.
async fn assert_not_loadable(world: &World, name: &str, words: &str) {
    let status = load(world, model(name)).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "MODEL_NOT_LOADABLE")
    );
    assert!(status.message().contains(words), "{}", status.message());
    let folder = world.ground.home.path("").display().to_string();
    for path in [folder.as_str(), "/blobs/", "sha256-"] {
        assert!(!status.message().contains(path), "{}", status.message());
    }
    assert_eq!(running(world).await, []);
    assert_eq!(world.ground.runners(), [0; 0]);
    assert_eq!(world.listed(name).await.unwrap().level(), v1::Level::OnDisk);
}

async fn a_broken_model_says_the_engines_reason(ground: Ground) {
    let world = ground.start().await;
    world.create("broken", &models::broken()).await.unwrap();
    world.create("m", &tiny(0)).await.unwrap();
    assert_not_loadable(&world, "broken", "tensor 'output_norm.weight' not found").await;
    // It stands in nobody's way.
    load(&world, model("m")).await.unwrap();
}

async fn an_unknown_architecture_says_the_engines_reason(ground: Ground) {
    let world = ground.start().await;
    let mut bytes = tiny(0);
    let at = bytes.windows(5).position(|window| window == b"llama").unwrap();
    bytes[at + 4] = b'x';
    world.create("unknown", &bytes).await.unwrap();
    assert_not_loadable(&world, "unknown", "unknown model architecture: 'llamx'").await;
}

async fn a_model_that_others_removed_is_not_found(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    let made = world.create("blobless", &tiny(1)).await.unwrap();
    if let Engine::Ollama(server) = &world.ground.engine {
        let asked = server.ask("DELETE", "/api/delete", r#"{"model":"m"}"#);
        assert_eq!(asked.unwrap().0, 200);
    } else {
        let manifests = world.ground.home.store("manifests/registry.ollama.ai/library");
        fs::remove_file(manifests.join("m/latest")).unwrap();
    }
    let status = load(&world, model("m")).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "MODEL_NOT_FOUND"));

    // Its weights alone.
    let blob = made.provenance.unwrap().stored_digest.replace(':', "-");
    fs::remove_file(world.ground.blobs().join(blob)).unwrap();
    let status = load(&world, model("blobless")).await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "MODEL_NOT_FOUND"));
    assert_eq!((running(&world).await, world.ground.runners()), (vec![], vec![]));
}

async fn a_load_whose_model_is_removed_ends(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    let remove = async {
        await_stopped(&world.ground).await;
        let status = delete(&world, of("m")).await.unwrap_err();
        assert_eq!(
            calls::told(&status),
            calls::is(Code::FailedPrecondition, "MODEL_IN_USE")
        );
        let removing = v1::DeleteRequest {
            unload: true,
            ..of("m")
        };
        delete(&world, removing).await.unwrap();
    };
    let (loaded, ()) = tokio::join!(load(&world, model("m")), remove);
    // It may have been there a moment before it was stopped.
    if let Err(status) = loaded {
        assert_eq!(calls::told(&status), calls::is(Code::Cancelled, "OPERATION_CANCELLED"));
    }
    assert_eq!((world.list().await, running(&world).await), (vec![], vec![]));
    if world.ground.kind == Kind::Embedded {
        assert_eq!(world.ground.runners(), [0; 0]);
    }
}

async fn a_context_beyond_memory_is_refused_with_figures(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    let wide = v1::LoadRequest {
        load_options: Some(v1::LoadOptions {
            context_length: Some(1 << 30),
            engine_options: None,
        }),
        ..model("m")
    };
    let status = load(&world, wide).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::ResourceExhausted, "ENGINE_OUT_OF_MEMORY")
    );
    assert!(status.message().contains("needs about 26"), "{}", status.message());
    assert_eq!((running(&world).await, world.ground.runners()), (vec![], vec![]));
    load(&world, model("m")).await.unwrap();
}

async fn what_is_not_loaded_is_unloaded_with_success(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    assert_eq!(unload(&world, "m").await.unwrap().freed_bytes, 0);
    let status = unload(&world, "none").await.unwrap_err();
    assert_eq!(calls::told(&status), calls::is(Code::NotFound, "MODEL_NOT_FOUND"));
}

async fn a_configured_model_is_removed_only_by_force(ground: Ground) {
    let path = ground.put("kept.gguf", &tiny(0));
    // Nobody brings it back before it is asked for.
    let flags = [
        "--model=kept".to_owned(),
        format!("--model-path={}", path.display()),
        "--ensure=on-demand".to_owned(),
    ];
    let world = ground.start_with(&flags).await;
    calls::ensured(&mut world.client.clone(), calls::ensure("kept"))
        .await
        .unwrap();
    let status = delete(&world, of("kept")).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "MODEL_CONFIGURED")
    );
    assert_eq!(world.list().await.len(), 1);
    let forced = v1::DeleteRequest {
        force: true,
        ..of("kept")
    };
    let freed = delete(&world, forced).await.unwrap().result.unwrap().freed_bytes;
    assert!(freed > 100_000, "{freed}");
    // It is wanted still: sooner or later it is there again.
    let again = calls::ensured(&mut world.client.clone(), calls::ensure("kept")).await;
    again.unwrap();
    soon(async { while world.listed("kept").await.is_none() {} }).await;
}
