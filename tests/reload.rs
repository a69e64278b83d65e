//! The file of backends changes while the service runs: it is taken whole or refused whole, and nobody is disturbed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/llama.rs"]
mod llama;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/service.rs"]
mod service;

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use model_control::{
    backend::embedded::Embedded,
    grpc::proto::{
        health::{HealthCheckRequest, HealthCheckResponse, health_client::HealthClient},
        v1::{
            CreateFromPathRequest, DescribeRequest, DescribeResponse, ListRunningRequest, LoadRequest,
            OperationsCancelRequest, PullRequest, RunningModel, create_from_path_response::Event, load_response,
            model_control_client::ModelControlClient, operations_client::OperationsClient, pull_response,
        },
    },
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::{interval, timeout};
use tonic::{Streaming, transport::Channel};

use self::service::{Home, Service};

const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");
/// No step takes longer: the test fails then.
const LONG: Duration = Duration::from_mins(1);

const SERVING: i32 = 1;
const UNKNOWN: i32 = 3;

type Client = ModelControlClient<Channel>;

/// A folder of configurations, and the service on one of them.
struct Scene {
    home: Home,
    service: Service,
    channel: Channel,
}

impl Scene {
    async fn start() -> Self {
        Self::on(Home::new()).await
    }

    async fn on(home: Home) -> Self {
        let service = Service::start(home.command(Path::new(PROGRAM)));
        let channel = service.channel().await;
        Self { home, service, channel }
    }

    fn client(&self) -> Client {
        ModelControlClient::new(self.channel.clone())
    }

    /// An entry with a store of its own.
    fn entry(&self, name: &str, flags: &[String]) -> Value {
        let store = format!("--store={}", self.home.path(&format!("store-{name}")).display());
        let argv = [&[store][..], flags].concat();
        json!({ "name": name, "framework": "embedded", "backend_argv": argv })
    }

    /// The entry that `Home` begins with.
    fn one(&self) -> Value {
        let store = format!("--store={}", self.home.store("").display());
        json!({ "name": "one", "framework": "embedded", "backend_argv": [store] })
    }

    /// Puts the text in the file's place at once, as careful writers do.
    fn write(&self, text: &str) {
        let new = self.home.path("configs.yaml.new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.home.path("configs.yaml")).unwrap();
    }

    async fn watch(&self, name: &str) -> Streaming<HealthCheckResponse> {
        let request = HealthCheckRequest { service: name.into() };
        let mut client = HealthClient::new(self.channel.clone());
        client.watch(request).await.unwrap().into_inner()
    }

    /// Asks until it is so.
    async fn described(&self, so: impl Fn(&DescribeResponse) -> bool) -> DescribeResponse {
        let (mut looks, mut last) = (interval(Duration::from_millis(20)), None);
        let asked = async {
            loop {
                looks.tick().await;
                let described = self.client().describe(DescribeRequest::default()).await.unwrap();
                if so(described.get_ref()) {
                    return described.into_inner();
                }
                last = Some(described);
            }
        };
        let asked = timeout(LONG, asked).await.ok();
        asked.unwrap_or_else(|| panic!("it does not come so far: {last:#?}"))
    }

    async fn running(&self) -> Vec<RunningModel> {
        let request = ListRunningRequest::default();
        self.client().list_running(request).await.unwrap().into_inner().running
    }

    fn hangup(&self) {
        kill_process(Pid::from_raw(self.service.pid().cast_signed()).unwrap(), Signal::HUP).unwrap();
    }
}

/// Reads until the status comes, which it must.
async fn until(watch: &mut Streaming<HealthCheckResponse>, status: i32) {
    let reached = async { while watch.message().await.unwrap().unwrap().status != status {} };
    timeout(LONG, reached).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_entry_is_made_ready_and_one_that_goes_is_unknown() {
    let scene = Scene::start().await;
    let mut two = scene.watch("backends/two").await;
    let mut model = scene.watch("backends/two/models/tiny").await;
    until(&mut two, UNKNOWN).await;
    until(&mut model, UNKNOWN).await;
    let flags = [
        "--model=tiny".into(),
        format!("--model-path={}", llama::tiny().display()),
    ];
    scene.write(&json!([scene.one(), scene.entry("two", &flags)]).to_string());
    until(&mut two, SERVING).await;
    until(&mut model, SERVING).await;

    scene.write(&json!([scene.one()]).to_string());
    until(&mut two, UNKNOWN).await;
    until(&mut model, UNKNOWN).await;
    // Nobody has its store any more.
    let store = scene.home.path("store-two");
    let free = async {
        let mut looks = interval(Duration::from_millis(20));
        while Embedded::open(store.clone()).is_err() {
            looks.tick().await;
        }
    };
    timeout(LONG, free).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_map_is_taken_when_its_links_change() {
    let home = Home::new();
    let text = fs::read_to_string(home.path("configs.yaml")).unwrap();
    for version in ["v1", "v2"] {
        fs::create_dir(home.path(version)).unwrap();
    }
    fs::write(home.path("v1/configs.yaml"), text).unwrap();
    fs::remove_file(home.path("configs.yaml")).unwrap();
    symlink("v1", home.path("..data")).unwrap();
    symlink("..data/configs.yaml", home.path("configs.yaml")).unwrap();

    let scene = Scene::on(home).await;
    let before = scene.described(|_| true).await.configuration.unwrap();
    let new = json!([scene.one(), scene.entry("two", &[])]).to_string();
    fs::write(scene.home.path("v2/configs.yaml"), new).unwrap();
    symlink("v2", scene.home.path("..data_new")).unwrap();
    fs::rename(scene.home.path("..data_new"), scene.home.path("..data")).unwrap();
    let described = scene.described(|described| described.backends.len() == 2).await;
    assert_ne!(described.configuration.unwrap().digest, before.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_is_refused_whole_and_told_until_it_is_right() {
    let scene = Scene::start().await;
    let before = scene.described(|_| true).await.configuration.unwrap();
    assert_eq!(before.last_failure, None);
    let wrong = scene.entry("two", &["--modle=tiny".into()]);
    scene.write(&json!([scene.entry("three", &[]), wrong, { "name": "-" }]).to_string());
    let refused = |described: &DescribeResponse| described.configuration.as_ref().unwrap().last_failure.is_some();
    let described = scene.described(refused).await;
    assert_eq!(described.backends.len(), 1, "nothing of it was taken");
    let configuration = described.configuration.unwrap();
    assert_eq!(
        (&configuration.digest, configuration.load_time),
        (&before.digest, before.load_time)
    );
    let failure = configuration.last_failure.unwrap();
    assert!(configuration.last_failure_time.is_some());
    assert_eq!(failure.reason, "REQUEST_INVALID");
    let told = format!("{failure:?}");
    assert!(told.contains("--model"), "{told}");
    assert!(told.contains("configs.yaml:1 two"), "{told}");
    assert!(!told.contains(scene.home.path("").to_str().unwrap()), "{told}");

    // As it was: nothing has to be done, and the failure is over.
    scene.write(&json!([scene.one()]).to_string());
    let right = scene
        .described(|described| !refused(described))
        .await
        .configuration
        .unwrap();
    assert_eq!(right.digest, before.digest);

    // A file that is gone is no wish for the configuration of no file.
    fs::remove_file(scene.home.path("configs.yaml")).unwrap();
    scene.hangup();
    let described = scene.described(refused).await;
    assert_eq!(described.backends[0].name, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reloads_at_once() {
    let scene = Scene::start().await;
    let before = scene.described(|_| true).await.configuration.unwrap();
    scene.hangup();
    let again = |described: &DescribeResponse| described.configuration.as_ref().unwrap().load_time != before.load_time;
    let described = scene.described(again).await;
    assert_eq!(described.configuration.unwrap().digest, before.digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_goes_on_with_what_it_began_with() {
    let scene = Scene::start().await;
    scene.home.write_model("large.gguf", 256);
    let request = CreateFromPathRequest {
        model: "large".into(),
        path: scene.home.model("large.gguf").to_str().unwrap().to_owned(),
        ..CreateFromPathRequest::default()
    };
    let mut stream = scene.client().create_from_path(request).await.unwrap().into_inner();
    let mut one = scene.watch("backends/one").await;
    until(&mut one, SERVING).await;
    scene.write(&json!([scene.entry("two", &[])]).to_string());
    scene.hangup();
    until(&mut one, UNKNOWN).await;
    let ended = async {
        loop {
            if let Event::Result(result) = stream.message().await.unwrap().unwrap().event.unwrap() {
                return result;
            }
        }
    };
    let result = timeout(LONG, ended).await.unwrap();
    assert_eq!(result.model.unwrap().name, "large:latest");
}

/// An entry that is taken out by mistake and put back, while a pull holds its store.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_still_being_left_is_taken_back_as_soon_as_it_is_free() {
    // It takes connections, and says nothing.
    let registry = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = registry.local_addr().unwrap();
    let home = Home::new();
    let mut command = home.command(Path::new(PROGRAM));
    command.arg(format!("--allow-registry=http://{host}"));
    let service = Service::start(command);
    let channel = service.channel().await;
    let scene = Scene { home, service, channel };
    let pull = PullRequest {
        model: format!("{host}/library/m:latest"),
        insecure: true,
        ..PullRequest::default()
    };
    let mut pulling = scene.client().pull(pull).await.unwrap().into_inner();
    let first = timeout(LONG, pulling.message()).await.unwrap().unwrap().unwrap();
    let Some(pull_response::Event::Progress(progress)) = first.event else {
        panic!("{first:?}");
    };
    let mut one = scene.watch("backends/one").await;
    until(&mut one, SERVING).await;
    scene.write(&json!([scene.entry("two", &[])]).to_string());
    scene.hangup();
    until(&mut one, UNKNOWN).await;
    scene.write(&json!([scene.one()]).to_string());
    scene.hangup();
    let refused = |described: &DescribeResponse| described.configuration.as_ref().unwrap().last_failure.is_some();
    scene.described(refused).await;

    let mut operations = OperationsClient::new(scene.channel.clone());
    let cancel = OperationsCancelRequest {
        operation_id: progress.operation_id,
    };
    operations.cancel(cancel).await.unwrap();
    until(&mut one, SERVING).await;
    let described = scene.described(|described| !refused(described)).await;
    assert_eq!(described.backends.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_in_memory_stays_there_until_its_backend_goes() {
    if llama::program("llama-server").is_none() {
        return;
    }
    let home = Home::new();
    let mut command = home.command(Path::new(PROGRAM));
    command
        .arg("--llama-server")
        .arg(llama::program("llama-server").unwrap());
    let service = Service::start(command);
    let channel = service.channel().await;
    let scene = Scene { home, service, channel };
    let path = format!("--model-path={}", llama::tiny().display());
    let model = |flags: &[&str]| {
        let all = ["--model=tiny", &path].into_iter().chain(flags.iter().copied());
        scene.entry("two", &all.map(str::to_owned).collect::<Vec<_>>())
    };
    let mut tiny = scene.watch("backends/two/models/tiny").await;
    scene.write(&json!([model(&["--level=loaded"])]).to_string());
    until(&mut tiny, SERVING).await;
    let before = scene.running().await;
    assert!(before[0].pinned);

    // Wanted on disk only, it may go, but nobody takes it out of memory.
    scene.write(&json!([scene.one(), model(&["--context-length=256"])]).to_string());
    scene.described(|described| described.backends.len() == 2).await;
    let now = scene.running().await;
    assert_eq!(now[0].endpoint, before[0].endpoint, "the very same process");
    assert!(!now[0].pinned);
    let request = LoadRequest {
        backend: "two".into(),
        model: "tiny".into(),
        ..LoadRequest::default()
    };
    let mut loaded = scene.client().load(request).await.unwrap().into_inner();
    let result = loop {
        let message = timeout(LONG, loaded.message()).await.unwrap().unwrap().unwrap();
        if let Some(load_response::Event::Result(result)) = message.event {
            break result;
        }
    };
    assert!(!result.changed);

    scene.write(&json!([scene.one()]).to_string());
    until(&mut tiny, UNKNOWN).await;
    let gone = async {
        let mut looks = interval(Duration::from_millis(20));
        while tokio::net::TcpStream::connect(before[0].endpoint.trim_start_matches("http://"))
            .await
            .is_ok()
        {
            looks.tick().await;
        }
    };
    timeout(LONG, gone).await.unwrap();
}
