//! What the configuration wants of an Ollama that others use too.

use std::fs;

use model_control::grpc::proto::v1;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::time::timeout;

use super::{
    models::tiny,
    support::{LONG, soon},
    world::{NOT_SERVING, SERVING, World, until},
};

/// Puts one entry, for the model `m` and with these flags, in force.
async fn configure(world: &World, flags: &[&str]) {
    let host = format!("--host={}", world.server.url());
    let path = format!("--model-path={}", world.home.model("m.gguf").display());
    let argv: Vec<_> = [&host, "--model=m", &path]
        .into_iter()
        .chain(flags.iter().copied())
        .collect();
    let entry = json!([{"name": "one", "framework": "ollama", "backend_argv": argv}]);
    fs::write(world.home.path("configs.yaml"), entry.to_string()).unwrap();
    kill_process(Pid::from_raw(world.service.pid().cast_signed()).unwrap(), Signal::HUP).unwrap();
    let taken = async {
        while world.described().await.desired.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, taken).await.expect("the configuration is taken");
}

/// Waits until the one model in memory is as it should be.
async fn runs(world: &World, so: impl Fn(&v1::RunningModel) -> bool) {
    let runs = async {
        loop {
            let request = v1::ListRunningRequest { backend: "one".into() };
            let answer = soon(world.client.clone().list_running(request)).await.unwrap();
            if answer.into_inner().running.first().is_some_and(&so) {
                return;
            }
        }
    };
    timeout(LONG, runs).await.expect("in time");
}

impl World {
    async fn described(&self) -> v1::Backend {
        let request = v1::DescribeRequest { backend: "one".into() };
        let described = soon(self.client.clone().describe(request)).await.unwrap();
        described.into_inner().backends.remove(0)
    }

    /// Another client gives `m` the content of `other`.
    fn exchange(&self) {
        let asked = self
            .server
            .ask("POST", "/api/copy", r#"{"source":"other","destination":"m"}"#);
        assert_eq!(asked.unwrap().0, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_client_loaded_or_shortens_stays_as_it_is_configured() {
    let Some(mut world) = World::new().await else { return };
    let path = world.put("m.gguf", &tiny(0));
    world.create("m", &path).await.unwrap();
    let loads = |keep: &str| {
        world
            .server
            .post("/api/generate", &json!({"model": "m", "keep_alive": keep}))
            .unwrap()
    };
    loads("5m");
    configure(&world, &["--level=loaded"]).await;
    let stays = |running: &v1::RunningModel| running.pinned && running.expire_time.is_none();
    runs(&world, stays).await;
    loads("1m");
    runs(&world, stays).await;
    world.health("backends/one/models/m", SERVING).await;
    world.lives();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_another_client_exchanged_is_told_in_the_log() {
    let Some(mut world) = World::new().await else { return };
    for (seed, name) in [(0, "m"), (1, "other")] {
        let path = world.put(&format!("{name}.gguf"), &tiny(seed));
        world.create(name, &path).await.unwrap();
    }
    configure(&world, &[]).await;
    world.health("backends/one/models/m", SERVING).await;
    let before = world.described().await.desired[0].current_digest.clone();
    world.exchange();
    let line = "another client of the engine changed a configured model";
    until(|| world.service.heard(line)).await;
    assert!(world.service.heard(&before));
    world.lives();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_with_another_digest_than_the_configured_one_does_not_serve_and_both_are_named() {
    let Some(mut world) = World::new().await else { return };
    let mut digests = Vec::new();
    for (seed, name) in [(0, "m"), (1, "other")] {
        let path = world.put(&format!("{name}.gguf"), &tiny(seed));
        digests.push(world.create(name, &path).await.unwrap().model.unwrap().digest);
    }
    configure(&world, &[&format!("--digest={}", digests[0])]).await;
    world.health("backends/one/models/m", SERVING).await;
    world.exchange();
    world.health("backends/one/models/m", NOT_SERVING).await;
    let told = async {
        loop {
            if let Some(failure) = world.described().await.desired.remove(0).failure {
                return failure;
            }
        }
    };
    let failure = timeout(LONG, told).await.expect("it is told");
    assert_eq!(failure.reason, "DIGEST_PIN_MISMATCH");
    for digest in &digests {
        assert!(failure.message.contains(digest), "{failure:?}");
    }
    assert_eq!(world.described().await.desired[0].current_digest, digests[1]);
    world.lives();
}
