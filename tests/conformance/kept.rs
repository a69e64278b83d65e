//! Models that stay in memory: for a time, by a pin, by the configuration, under several names.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{
    calls,
    case::cases,
    life::{load, model, running},
    support::{Code, soon, v1},
    world::{Ground, Kind, World, tiny},
};

cases![kept =>
    a_time_to_stay_is_told_and_a_pin_holds_until_it_is_taken_off [Load],
    what_is_configured_warm_answers_unasked [Load],
    names_of_the_same_content_share_its_memory [Load, Manage],
    an_alias_is_cut_over_while_others_read_it [Manage],
];

const HOUR: i64 = 3600;
const SERVING: i32 = 1;

fn copy(source: &str, replace: bool) -> v1::CopyRequest {
    v1::CopyRequest {
        source: source.to_owned(),
        destination: "live".to_owned(),
        replace,
        ..Default::default()
    }
}

async fn load_one(world: &World, request: v1::LoadRequest) -> v1::RunningModel {
    load(world, request).await.unwrap().running.unwrap()
}

async fn a_time_to_stay_is_told_and_a_pin_holds_until_it_is_taken_off(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    let hour = v1::LoadRequest {
        keep_alive: Some(prost_types::Duration {
            seconds: HOUR,
            nanos: 0,
        }),
        ..model("m")
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        .cast_signed();
    let told = load_one(&world, hour.clone()).await;
    let stays = told.expire_time.unwrap().seconds - now;
    assert!((HOUR - 60..HOUR + 60).contains(&stays), "{stays}");
    let pin = v1::LoadRequest {
        pin: true,
        ..model("m")
    };
    let told = load_one(&world, pin).await;
    assert!(told.pinned && told.expire_time.is_none(), "{told:?}");
    // Who ensures it for a while takes no pin off.
    let ensure = v1::EnsureReadyRequest {
        level: v1::Level::Loaded.into(),
        keep_alive: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..calls::ensure("m")
    };
    let ready = calls::ensured(&mut world.client.clone(), ensure).await.unwrap();
    let told = ready.model.unwrap().running.unwrap();
    assert!(told.pinned && told.expire_time.is_none(), "{told:?}");
    let told = load_one(&world, hour).await;
    assert!(!told.pinned && told.expire_time.is_some(), "{told:?}");
}

async fn what_is_configured_warm_answers_unasked(ground: Ground) {
    let path = ground.put("m.gguf", &tiny(0));
    let flags = [
        "--model=m".to_owned(),
        format!("--model-path={}", path.display()),
        "--level=warm".to_owned(),
    ];
    let world = ground.start_with(&flags).await;
    world.health("backends/one/models/m", SERVING).await;
    let [told] = &running(&world).await[..] else {
        panic!("one model runs")
    };
    assert!(told.pinned && told.expire_time.is_none(), "{told:?}");
    let canary = told.canary.as_ref().unwrap();
    assert!(
        canary.text.len() <= 256 && canary.time_to_first_token.is_some(),
        "{canary:?}"
    );
    assert!(canary.timeout.is_some_and(|timeout| timeout.seconds > 0), "{canary:?}");
    let listed = world.list().await.remove(0);
    assert_eq!(
        (listed.level(), listed.desired_level()),
        (v1::Level::Warm, v1::Level::Warm)
    );
}

async fn names_of_the_same_content_share_its_memory(ground: Ground) {
    let world = ground.start().await;
    world.create("m", &tiny(0)).await.unwrap();
    soon(world.client.clone().copy(copy("m", false))).await.unwrap();
    load(&world, model("m")).await.unwrap();
    load(&world, model("live")).await.unwrap();
    let all = running(&world).await;
    assert!(!all.is_empty());
    for told in &all {
        // One is told by its own name, the others beside it.
        let mut names: Vec<_> = told.shared_with.iter().chain([&told.canonical_name]).collect();
        names.sort();
        let wanted = ["live", "m"].map(|name| format!("registry.ollama.ai/library/{name}:latest"));
        assert!(names.into_iter().eq(&wanted), "{told:?}");
    }
    let unload = v1::UnloadRequest {
        model: "m".to_owned(),
        ..Default::default()
    };
    let gone = soon(world.client.clone().unload(unload)).await.unwrap().into_inner();
    let shared = gone.result.unwrap().shared_with;
    assert!(shared.iter().any(|name| name.ends_with("/live:latest")), "{shared:?}");
    assert_eq!(running(&world).await, []);
}

/// Readers see the old one or the new one. On Ollama that is as its own copy is, which takes the old one away first.
async fn an_alias_is_cut_over_while_others_read_it(ground: Ground) {
    let world = ground.start().await;
    let mut digests = Vec::new();
    for (seed, name) in [(0, "a"), (1, "b")] {
        digests.push(world.create(name, &tiny(seed)).await.unwrap().model.unwrap().digest);
    }
    soon(world.client.clone().copy(copy("a", false))).await.unwrap();
    let cut = async {
        for turn in 0..20 {
            let source = if turn % 2 == 0 { "b" } else { "a" };
            soon(world.client.clone().copy(copy(source, true))).await.unwrap();
        }
    };
    let read = async {
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let show = v1::ShowRequest {
                model: "live".to_owned(),
                ..Default::default()
            };
            match soon(world.client.clone().show(show)).await {
                Ok(shown) => drop(seen.insert(shown.into_inner().model.unwrap().digest)),
                Err(status) => {
                    assert_eq!(status.code(), Code::NotFound, "{status:?}");
                    assert_ne!(world.ground.kind, Kind::Embedded, "{status:?}");
                }
            }
            assert!(seen.iter().all(|digest| digests.contains(digest)), "{seen:?}");
        }
    };
    tokio::select! {
        () = cut => {}
        () = read => {}
    }
    let listed = world.listed("live").await.unwrap();
    assert_eq!(listed.digest, digests[0]);
}
