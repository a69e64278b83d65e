//! What is kept in memory, by the configuration and by pins: whoever loaded it, across restarts and reloads, and told of
//! everywhere alike.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/llama.rs"]
mod llama;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/service.rs"]
mod service;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use model_control::grpc::proto::{
    health::{HealthCheckRequest, health_client::HealthClient},
    v1::{self, ensure_ready_response, load_response, model_control_client::ModelControlClient},
};
use serde_json::{Value, json};
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

/// A service with `tiny` on disk, and a real `llama-server`.
struct Scene {
    home: Home,
    server: PathBuf,
    service: Service,
    channel: Channel,
    client: ModelControlClient<Channel>,
}

impl Scene {
    /// `flags` are those of the model. None without `llama-server`.
    async fn start(flags: &[&str]) -> Option<Self> {
        let server = llama::program("llama-server")?;
        let home = Home::new();
        let entry = entry(&home, "one", flags);
        fs::write(home.path("configs.yaml"), json!([entry]).to_string()).unwrap();
        Some(Self::on(home, server).await)
    }

    async fn on(home: Home, server: PathBuf) -> Self {
        let mut command = home.command(Path::new(env!("CARGO_BIN_EXE_model-control")));
        command.arg("--llama-server").arg(&server);
        let service = Service::start(command);
        let channel = service.channel().await;
        Self {
            client: ModelControlClient::new(channel.clone()),
            home,
            server,
            service,
            channel,
        }
    }

    /// Another service in the place of this one.
    async fn again(self, end: impl FnOnce(Service)) -> Self {
        end(self.service);
        Self::on(self.home, self.server).await
    }

    /// Puts the file in the old one's place, and waits until it is in force.
    async fn reload(&mut self, entries: &[Value]) {
        let before = self.described().await.configuration.unwrap();
        fs::write(self.home.path("new"), json!(entries).to_string()).unwrap();
        fs::rename(self.home.path("new"), self.home.path("configs.yaml")).unwrap();
        let mut looks = interval(Duration::from_millis(20));
        let taken = async {
            while self.described().await.configuration.unwrap().digest == before.digest {
                looks.tick().await;
            }
        };
        timeout(LONG, taken).await.expect("the configuration is taken");
    }

    async fn described(&self) -> v1::DescribeResponse {
        let mut client = self.client.clone();
        let described = client.describe(v1::DescribeRequest::default()).await;
        described.unwrap().into_inner()
    }

    /// Waits until the one model in memory is as it should be.
    async fn running(&self, so: impl Fn(&v1::RunningModel) -> bool) -> v1::RunningModel {
        let (mut client, mut last) = (self.client.clone(), None);
        let runs = async {
            let mut looks = interval(Duration::from_millis(20));
            loop {
                looks.tick().await;
                let answer = client.list_running(v1::ListRunningRequest::default()).await.unwrap();
                if let [running] = &answer.into_inner().running[..] {
                    if running.state() == v1::running_model::State::Ready && so(running) {
                        return running.clone();
                    }
                    last = Some(running.clone());
                }
            }
        };
        let found = timeout(LONG, runs).await.ok();
        found.unwrap_or_else(|| panic!("it does not come so far: {last:#?}"))
    }

    async fn load(&self, request: v1::LoadRequest) -> v1::LoadResult {
        let mut stream = self.client.clone().load(request).await.unwrap().into_inner();
        loop {
            let message = timeout(LONG, stream.message()).await.unwrap().unwrap().unwrap();
            if let Some(load_response::Event::Result(result)) = message.event {
                return result;
            }
        }
    }

    async fn ensure(&self, request: v1::EnsureReadyRequest) -> Streaming<v1::EnsureReadyResponse> {
        let asked = self.client.clone();
        let answer = timeout(LONG, async move { asked.clone().ensure_ready(request).await }).await;
        answer.unwrap().unwrap().into_inner()
    }

    async fn operations(&self) -> usize {
        let mut client = v1::operations_client::OperationsClient::new(self.channel.clone());
        let listed = client.list(v1::OperationsListRequest::default()).await.unwrap();
        listed.into_inner().operations.len()
    }

    async fn health(&self, name: &str) -> i32 {
        let request = HealthCheckRequest { service: name.into() };
        let checked = HealthClient::new(self.channel.clone()).check(request).await;
        checked.unwrap().into_inner().status
    }
}

/// An entry with `tiny` on the usual store.
fn entry(home: &Home, name: &str, flags: &[&str]) -> Value {
    let store = format!("--store={}", home.store("").display());
    let path = format!("--model-path={}", llama::tiny().display());
    let argv = [&store, "--model=tiny", &path].into_iter().chain(flags.iter().copied());
    json!({ "name": name, "framework": "embedded", "backend_argv": argv.collect::<Vec<_>>() })
}

fn tiny() -> v1::EnsureReadyRequest {
    v1::EnsureReadyRequest {
        model: "tiny".into(),
        ..v1::EnsureReadyRequest::default()
    }
}

fn load() -> v1::LoadRequest {
    v1::LoadRequest {
        model: "tiny".into(),
        ..v1::LoadRequest::default()
    }
}

async fn progress(stream: &mut Streaming<v1::EnsureReadyResponse>) -> v1::Progress {
    let message = timeout(LONG, stream.message()).await.unwrap().unwrap().unwrap();
    match message.event.unwrap() {
        ensure_ready_response::Event::Progress(progress) => progress,
        ensure_ready_response::Event::Result(result) => panic!("{result:?}"),
    }
}

async fn result(mut stream: Streaming<v1::EnsureReadyResponse>) -> v1::EnsureReadyResult {
    loop {
        let message = timeout(LONG, stream.message()).await.unwrap().unwrap().unwrap();
        if let Some(ensure_ready_response::Event::Result(result)) = message.event {
            return result;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_pins_whoever_loads_it() {
    let Some(scene) = Scene::start(&["--level=warm", "--context-length=256"]).await else {
        return;
    };
    let first = scene
        .running(|running| running.pinned && running.canary.is_some())
        .await;
    assert_eq!(first.expire_time, None);
    assert_eq!(first.context_length, 256);
    // Loaded without a pin, and for a while only.
    let options = v1::LoadOptions {
        context_length: Some(256),
        ..v1::LoadOptions::default()
    };
    let request = v1::LoadRequest {
        load_options: Some(options),
        keep_alive: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..load()
    };
    let loaded = scene.load(request).await;
    assert!(!loaded.changed);
    let running = loaded.running.unwrap();
    assert!(running.pinned);
    assert_eq!(running.expire_time, None);

    // It is ready: asked again and again, nothing is done.
    let before = scene.operations().await;
    for _ in 0..10 {
        let result = result(scene.ensure(tiny()).await).await;
        assert!(!result.changed && result.plan.unwrap().steps.is_empty());
        let model = result.model.unwrap();
        assert_eq!(
            (model.level(), model.desired_level()),
            (v1::Level::Warm, v1::Level::Warm)
        );
    }
    assert_eq!(scene.operations().await, before);
    assert_eq!(
        scene.running(|_| true).await.endpoint,
        first.endpoint,
        "the very same process"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_configuration_wants_no_more_may_leave() {
    let Some(mut scene) = Scene::start(&["--level=loaded"]).await else {
        return;
    };
    let before = scene
        .running(|running| running.pinned && running.expire_time.is_none())
        .await;
    let entries = [entry(&scene.home, "one", &[])];
    scene.reload(&entries).await;
    let now = scene
        .running(|running| !running.pinned && running.expire_time.is_some())
        .await;
    assert_eq!(now.endpoint, before.endpoint, "the very same process");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_stays_with_its_engine_when_the_entry_has_another_name() {
    let Some(mut scene) = Scene::start(&[]).await else {
        return;
    };
    let pinned = v1::EnsureReadyRequest { pin: true, ..tiny() };
    let result = result(scene.ensure(pinned).await).await;
    assert_eq!(result.model.unwrap().desired_level(), v1::Level::Loaded);
    let entries = [entry(&scene.home, "another", &[])];
    scene.reload(&entries).await;
    let [process] = processes(&scene.home.store("blobs"))[..] else {
        panic!("one process runs the model");
    };
    let before = scene.running(|_| true).await;
    kill(process);
    let back = scene.running(|running| running.endpoint != before.endpoint).await;
    assert!(back.pinned);
    assert_eq!(back.backend, "another");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_model_is_wanted_at_its_level_and_told_so() {
    let Some(scene) = Scene::start(&[]).await else { return };
    let name = "backends/one/models/tiny";
    result(scene.ensure(tiny()).await).await;
    let request = v1::LoadRequest { pin: true, ..load() };
    scene.load(request).await;
    let mut client = scene.client.clone();
    let listed = client.list(v1::ListRequest::default()).await.unwrap().into_inner();
    let shown = v1::ShowRequest {
        model: "tiny".into(),
        ..v1::ShowRequest::default()
    };
    let shown = client.show(shown).await.unwrap().into_inner().model.unwrap();
    for model in [&listed.models[0], &shown] {
        assert_eq!(
            (model.level(), model.desired_level()),
            (v1::Level::Loaded, v1::Level::Loaded)
        );
        assert!(model.running.as_ref().unwrap().pinned);
    }

    // It ends whenever it is started: the model is below the level that it is kept at.
    let mut watch = HealthClient::new(scene.channel.clone())
        .watch(HealthCheckRequest { service: name.into() })
        .await
        .unwrap()
        .into_inner();
    let serves = async { while watch.message().await.unwrap().unwrap().status != SERVING {} };
    timeout(LONG, serves).await.expect("it is told that it serves");
    let falls = async {
        let mut looks = interval(Duration::from_millis(10));
        loop {
            tokio::select! {
                told = watch.message() => if told.unwrap().unwrap().status == NOT_SERVING { return },
                _ = looks.tick() => processes(&scene.home.store("blobs")).into_iter().for_each(kill),
            }
        }
    };
    timeout(LONG, falls).await.expect("it is told that it does not serve");
    assert_eq!(
        scene.health("backends/one").await,
        SERVING,
        "on disk is all that is configured"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_configured_for_all_entries_of_its_engine() {
    let Some(mut scene) = Scene::start(&[]).await else {
        return;
    };
    result(scene.ensure(tiny()).await).await;
    let store = format!("--store={}", scene.home.store("").display());
    let first = json!({ "name": "first", "framework": "embedded", "backend_argv": [store] });
    let entries = [first, entry(&scene.home, "one", &[])];
    scene.reload(&entries).await;
    let request = v1::DeleteRequest {
        backend: "first".into(),
        model: "tiny".into(),
        ..v1::DeleteRequest::default()
    };
    let status = scene.client.delete(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(
        status.get_error_details().error_info().unwrap().reason,
        "MODEL_CONFIGURED"
    );
}

/// Each try may cost another model its memory.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_engine_refuses_is_loaded_later_and_later() {
    let Some(server) = llama::program("llama-server") else {
        return;
    };
    let home = Home::new();
    let mut bytes = fs::read(llama::tiny()).unwrap();
    let at = bytes.windows(5).position(|window| window == b"llama").unwrap();
    bytes[at + 4] = b'x';
    let path = home.model("unknown.gguf");
    fs::write(&path, bytes).unwrap();
    let argv = [
        format!("--store={}", home.store("").display()),
        "--model=unknown".to_owned(),
        format!("--model-path={}", path.display()),
        "--level=loaded".to_owned(),
    ];
    let entry = json!([{ "name": "one", "framework": "embedded", "backend_argv": argv }]);
    fs::write(home.path("configs.yaml"), entry.to_string()).unwrap();
    let scene = Scene::on(home, server).await;
    let mut tries: Vec<prost_types::Timestamp> = Vec::new();
    let told = async {
        let mut looks = interval(Duration::from_millis(20));
        while tries.len() < 3 {
            looks.tick().await;
            let backend = scene.described().await.backends.remove(0);
            let desired = &backend.desired[0];
            if let (Some(failure), Some(next)) = (&desired.failure, desired.next_attempt_time) {
                assert!(failure.message.contains("unknown model architecture"), "{failure:?}");
                assert_eq!(failure.reason, "MODEL_NOT_LOADABLE");
                // The backend's own failure is that of its model, once the engine lists it.
                assert!(backend.failure.is_none_or(|told| told.reason == failure.reason));
                if tries.last() != Some(&next) {
                    tries.push(next);
                }
            }
        }
    };
    timeout(LONG, told).await.expect("it is tried again and again");
    let waits: Vec<_> = tries.windows(2).map(|pair| pair[1].seconds - pair[0].seconds).collect();
    assert!(waits[0] >= 2 && waits[1] > waits[0], "{tries:?}");
}

/// A `llama-server` that waits at a gate before it begins.
fn gated(home: &Home, server: &Path) -> (PathBuf, PathBuf) {
    let (gate, script) = (home.path("gate"), home.path("gated"));
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &gate,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let text = format!(
        "#!/bin/sh\nread -r _ < {}\nexec {} \"$@\"\n",
        gate.display(),
        server.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    (script, gate)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_beside_a_load_shares_it_or_is_told_to_wait() {
    let Some(server) = llama::program("llama-server") else {
        return;
    };
    let home = Home::new();
    fs::write(home.path("configs.yaml"), json!([entry(&home, "one", &[])]).to_string()).unwrap();
    let (script, gate) = gated(&home, &server);
    let scene = Scene::on(home, script).await;
    let digest = result(scene.ensure(tiny()).await).await.model.unwrap().digest;

    let mut first = scene.client.clone().load(load()).await.unwrap().into_inner();
    let id = loop {
        let message = timeout(LONG, first.message()).await.unwrap().unwrap().unwrap();
        if let Some(load_response::Event::Progress(progress)) = message.event
            && progress.phases.last().unwrap().phase == "loading"
        {
            break progress.operation_id;
        }
    };
    // On disk it is already.
    let on_disk = v1::EnsureReadyRequest {
        level: v1::Level::OnDisk.into(),
        ..tiny()
    };
    assert!(!result(scene.ensure(on_disk).await).await.changed);
    // In memory it comes.
    let loaded = v1::EnsureReadyRequest {
        level: v1::Level::Loaded.into(),
        ..tiny()
    };
    let mut joined = scene.ensure(loaded.clone()).await;
    let told = progress(&mut joined).await;
    assert_eq!((told.operation_id, told.joined), (id, true));
    // Of this digest: that is looked for when the load has ended.
    let of_digest = v1::EnsureReadyRequest { digest, ..loaded };
    let mut waiting = scene.ensure(of_digest).await;
    let told = progress(&mut waiting).await;
    assert_eq!((&*told.operation_id, told.sequence), ("", 0));
    assert_eq!(told.phases[0].phase, "queued");

    let open = tokio::task::spawn_blocking(move || fs::OpenOptions::new().write(true).open(gate)?.write_all(b"\n"));
    open.await.unwrap().unwrap();
    for stream in [joined, waiting] {
        assert_eq!(result(stream).await.model.unwrap().level(), v1::Level::Loaded);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_outlives_the_service_until_it_is_taken_off() {
    let Some(scene) = Scene::start(&[]).await else { return };
    let ensure = v1::EnsureReadyRequest {
        level: v1::Level::Warm.into(),
        pin: true,
        ..tiny()
    };
    result(scene.ensure(ensure).await).await;
    // As soon as it was told it holds, whatever happens.
    let scene = scene.again(Service::kill).await;
    scene.running(|running| running.pinned).await;
    let mut scene = scene.again(Service::terminate).await;
    scene.running(|running| running.pinned).await;
    let unload = v1::UnloadRequest {
        model: "tiny".into(),
        ..v1::UnloadRequest::default()
    };
    scene.client.unload(unload).await.unwrap();
    scene.service.kill();
    let state = fs::read_to_string(scene.home.path("state").join("pins.json")).unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["pins"], json!([]));
}
