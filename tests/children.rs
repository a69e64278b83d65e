//! The processes that run models, as callers see them: when one ends by itself, and when there is nothing to run them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/llama.rs"]
mod llama;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/service.rs"]
mod service;

use std::{fs, path::Path, time::Duration};

use model_control::grpc::proto::{
    health::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient},
    v1::{self, model_control_client::ModelControlClient},
};
use serde_json::json;
use tokio::time::{interval, timeout};
use tonic::{Code, Streaming, transport::Channel};
use tonic_types::StatusExt as _;

use self::{
    processes::{kill, processes},
    service::{Home, Service},
};

/// No step takes longer: the test fails then.
const LONG: Duration = Duration::from_mins(1);
const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

/// A service that keeps `tiny` in memory. It probes once an hour: what it sees sooner it has seen by itself.
struct Scene {
    home: Home,
    _service: Service,
    channel: Channel,
    client: ModelControlClient<Channel>,
    model: Streaming<HealthCheckResponse>,
}

async fn watch(channel: &Channel) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest {
        service: "backends/one/models/tiny".into(),
    };
    let watch = HealthClient::new(channel.clone()).watch(request).await;
    watch.unwrap().into_inner()
}

impl Scene {
    /// None without `llama-server`.
    async fn start() -> Option<Self> {
        let server = llama::program("llama-server")?;
        let home = Home::new();
        let flags = [
            format!("--store={}", home.store("").display()),
            "--model=tiny".to_owned(),
            format!("--model-path={}", llama::tiny().display()),
            "--level=loaded".to_owned(),
        ];
        let entry = json!([{ "name": "one", "framework": "embedded", "backend_argv": flags }]);
        fs::write(home.path("configs.yaml"), entry.to_string()).unwrap();
        let mut command = home.command(Path::new(env!("CARGO_BIN_EXE_model-control")));
        command.arg("--llama-server").arg(server);
        let service = Service::start(command);
        let channel = service.channel().await;
        Some(Self {
            home,
            _service: service,
            client: ModelControlClient::new(channel.clone()),
            model: watch(&channel).await,
            channel,
        })
    }

    /// The one process that runs the model. One that becomes another program has no command for a moment.
    async fn process(&self) -> u32 {
        let one = async {
            let mut looks = interval(Duration::from_millis(10));
            loop {
                looks.tick().await;
                if let [process] = processes(&self.home.store("blobs"))[..] {
                    return process;
                }
            }
        };
        timeout(LONG, one).await.expect("one process runs the model")
    }

    async fn next(&mut self) -> i32 {
        let Ok(next) = timeout(LONG, self.model.message()).await else {
            panic!("the status of the model does not change: {:#?}", self.desired().await);
        };
        next.unwrap().expect("the stream stays open").status
    }

    async fn until(&mut self, status: i32) {
        while self.next().await != status {}
    }

    async fn desired(&mut self) -> v1::DesiredModel {
        let answer = self.client.describe(v1::DescribeRequest::default()).await.unwrap();
        answer.into_inner().backends[0].desired[0].clone()
    }

    async fn listed(&mut self) -> v1::Model {
        let answer = self.client.list(v1::ListRequest::default()).await.unwrap();
        answer.into_inner().models[0].clone()
    }

    /// Waits until another process runs the model. It comes back so fast that a watcher may see no change at all.
    async fn back(&mut self, before: u32) {
        let there = async {
            let mut looks = interval(Duration::from_millis(10));
            loop {
                looks.tick().await;
                let all = processes(&self.home.store("blobs"));
                if all.len() == 1 && all[0] != before && self.desired().await.reached_level() == v1::Level::Loaded {
                    return;
                }
            }
        };
        timeout(LONG, there).await.unwrap();
        self.model = watch(&self.channel).await;
        assert_eq!(self.next().await, SERVING);
    }

    /// Kills the process, and waits until its end is told with a time of the next try.
    async fn kill_again(&mut self) -> (v1::Failure, Option<prost_types::Timestamp>) {
        kill(self.process().await);
        assert_eq!(self.next().await, NOT_SERVING);
        let told = async {
            let mut looks = interval(Duration::from_millis(10));
            loop {
                looks.tick().await;
                let desired = self.desired().await;
                if let Some(failure) = desired.failure {
                    return (failure, desired.next_attempt_time);
                }
            }
        };
        timeout(LONG, told).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ends_again_and_again_waits_longer_each_time_and_says_why() {
    let Some(mut scene) = Scene::start().await else { return };
    scene.until(SERVING).await;
    // The first time it comes back at once.
    let before = scene.process().await;
    kill(before);
    scene.back(before).await;

    let (failure, next) = scene.kill_again().await;
    assert_eq!(failure.reason, "MODEL_NOT_LOADABLE");
    assert!(failure.message.contains("ended 2 times"), "{}", failure.message);
    assert!(failure.message.contains("signal 9"), "{}", failure.message);
    let listed = scene.listed().await;
    assert_eq!(
        (listed.failure.as_ref(), listed.next_attempt_time),
        (Some(&failure), next)
    );
    assert_eq!(listed.level(), v1::Level::OnDisk);
    assert_eq!(listed.desired_level(), v1::Level::Loaded);

    // Once: health does not flap.
    assert_eq!(scene.next().await, SERVING);
    assert_eq!(scene.listed().await.failure, None);
    let (failure, later) = scene.kill_again().await;
    assert!(failure.message.contains("ended 3 times"), "{}", failure.message);
    assert!(later.unwrap().seconds > next.unwrap().seconds);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_it_need_not_wait_and_an_unload_forgets_the_past() {
    let Some(mut scene) = Scene::start().await else { return };
    scene.until(SERVING).await;
    let before = scene.process().await;
    kill(before);
    scene.back(before).await;
    scene.kill_again().await;
    let load = v1::LoadRequest {
        model: "tiny".into(),
        pin: true,
        ..v1::LoadRequest::default()
    };
    let mut loading = scene.client.load(load).await.unwrap().into_inner();
    while timeout(LONG, loading.message()).await.unwrap().unwrap().is_some() {}
    assert_eq!(scene.next().await, SERVING);

    let before = scene.process().await;
    let unload = v1::UnloadRequest {
        model: "tiny".into(),
        ..v1::UnloadRequest::default()
    };
    scene.client.unload(unload).await.unwrap();
    // Configured, it comes back.
    scene.back(before).await;
    let before = scene.process().await;
    kill(before);
    scene.back(before).await;
    assert_eq!(scene.desired().await.failure, None, "as the first time");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_llama_server_a_load_says_what_to_install_and_the_rest_works() {
    let home = Home::new();
    // Its environment has no PATH.
    let service = Service::start(home.command(Path::new(env!("CARGO_BIN_EXE_model-control"))));
    let mut client = ModelControlClient::new(service.channel().await);
    fs::copy(llama::tiny(), home.model("tiny.gguf")).unwrap();
    let create = v1::CreateFromPathRequest {
        model: "tiny".into(),
        path: home.model("tiny.gguf").to_str().unwrap().into(),
        ..v1::CreateFromPathRequest::default()
    };
    let mut created = client.create_from_path(create).await.unwrap().into_inner();
    while timeout(LONG, created.message()).await.unwrap().unwrap().is_some() {}

    let load = v1::LoadRequest {
        model: "tiny".into(),
        ..v1::LoadRequest::default()
    };
    let status = client.load(load).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, "ENGINE_MISSING_PART");
    assert!(status.message().contains("install llama.cpp"), "{}", status.message());
    let described = client.describe(v1::DescribeRequest::default()).await.unwrap();
    let can = described.into_inner().backends[0].capabilities.clone();
    assert!(!can.contains(&v1::BackendCapability::Load.into()));
    assert!(can.contains(&v1::BackendCapability::Unload.into()));
}
