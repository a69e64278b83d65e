//! What ran is taken up under its id.

use std::{
    fs,
    path::{Path, PathBuf},
};

use model_control::{
    grpc::proto::v1::{
        CreateFromPathRequest, OnDisconnect, Operation, PullRequest, PullResponse, create_from_path_response,
        operation::{Outcome, State},
        pull_response::Event,
    },
    model::Digest,
};
use tonic::{Code, Streaming};

use super::{
    PROGRAM, client, get, list,
    registry::{Front, Registry, Relay},
    service::{Home, Service},
    soon, start, state, watch,
};

/// Of each connection, in bytes a second.
const RATE: u64 = 2 << 20;
const MIB: u64 = 48;

/// A model in a registry at the end of a narrow road.
struct World {
    _registry: Registry,
    relay: Relay,
    front: Front,
    home: Home,
    manifest: Digest,
    record: PathBuf,
    size: u64,
}

// === impl World ===

impl World {
    async fn new() -> Option<Self> {
        let registry = Registry::start()?;
        let relay = Relay::to(&registry, Some(RATE)).await;
        let front = Front::before(&registry, relay.address).await;
        let home = Home::new();
        let source = home.write_model("big.gguf", MIB);
        let bytes = fs::read(&source).unwrap();
        let digest = Digest::of(&bytes);
        let manifest = registry.push("library/big", "latest", &[("model", &source)]).await;
        let record = home.store(&format!(".model-control/partial/sha256-{}.json", digest.hex()));
        Some(Self {
            _registry: registry,
            relay,
            front,
            home,
            manifest,
            record,
            size: bytes.len() as u64,
        })
    }

    fn start(&self) -> Service {
        let mut command = self.home.command(Path::new(PROGRAM));
        command.arg(format!("--allow-registry=http://{}", self.front.address));
        command.arg(format!(
            "--allow-registry=http://localhost:{}",
            self.relay.address.port()
        ));
        Service::start(command)
    }

    fn request(&self) -> PullRequest {
        PullRequest {
            model: format!("{}/library/big", self.front.address),
            insecure: true,
            ..Default::default()
        }
    }

    /// Begins the pull and reads until so many hundredths are durable: the id, the last sequence, and the rest.
    async fn pull_until(
        &self,
        service: &Service,
        request: PullRequest,
        hundredths: u64,
    ) -> (String, i64, Streaming<PullResponse>) {
        let mut stream = soon(client(service).await.pull(request)).await.unwrap().into_inner();
        loop {
            let message = soon(stream.message()).await.unwrap().unwrap();
            let Event::Progress(progress) = message.event.unwrap() else {
                panic!("it is not done yet");
            };
            if durable(&self.record) >= self.size * hundredths / 100 {
                return (progress.operation_id, progress.sequence, stream);
            }
        }
    }

    /// The operation goes on in this service, and is what it was.
    async fn goes_on(&self, service: &Service, id: &str, sequence: i64, before: &Operation) {
        let running = get(service, id).await.unwrap();
        assert!(matches!(state(&running), State::Queued | State::Running), "{running:?}");
        assert_eq!(running.create_time, before.create_time);
        assert_eq!(running.kind, before.kind);
        // Who asks for the same joins it.
        let mut stream = soon(client(service).await.pull(self.request()))
            .await
            .unwrap()
            .into_inner();
        let Event::Progress(progress) = soon(stream.message()).await.unwrap().unwrap().event.unwrap() else {
            panic!("it is not done yet");
        };
        assert_eq!((progress.operation_id.as_str(), progress.joined), (id, true));
        drop(stream);
        let (told, ended) = watch(service, id, sequence).await;
        let sequences = told.iter().map(|progress| progress.sequence);
        let sequences: Vec<_> = std::iter::once(sequence).chain(sequences).collect();
        assert!(
            sequences.is_sorted_by(|a, b| a < b || (a == b && *a != sequence)),
            "{sequences:?}"
        );
        assert!(told.len() > 1);
        assert!(
            told.iter()
                .all(|progress| progress.attempt > 1 && progress.start_time == before.create_time)
        );
        assert_eq!(state(&ended), State::Succeeded, "{ended:?}");
        let Some(Outcome::Pull(result)) = ended.outcome else {
            panic!("{ended:?}");
        };
        assert!(result.changed);
        assert_eq!(result.model.unwrap().digest, self.manifest.to_string());
    }
}

/// Killed twice; then stopped in order.
#[tokio::test(flavor = "multi_thread")]
async fn a_pull_goes_on_under_its_id() {
    let Some(world) = World::new().await else { return };
    let mut service = world.start();
    let (id, mut sequence, stream) = world.pull_until(&service, world.request(), 10).await;
    let before = get(&service, &id).await.unwrap();
    service.kill();
    drop(stream);
    for (hundredths, kill) in [(30, true), (50, false)] {
        service = world.start();
        let (joined, next, mut stream) = world.pull_until(&service, world.request(), hundredths).await;
        assert_eq!(joined, id);
        assert!(next > sequence);
        sequence = next;
        if kill {
            service.kill();
        } else {
            service.terminate();
            // Its caller is told as ever.
            let status = loop {
                match soon(stream.message()).await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("a status is the end"),
                    Err(status) => break status,
                }
            };
            assert_eq!(status.code(), Code::Unavailable);
        }
    }
    let service = world.start();
    world.goes_on(&service, &id, sequence, &before).await;
    assert_eq!(list(&service).await.len(), 1);
    // And is done once: the next start has nothing to take up.
    service.kill();
    let service = world.start();
    assert_eq!(state(&get(&service, &id).await.unwrap()), State::Succeeded);
}

/// Nobody wants it without a caller, a person cancelled it, or nobody can do it: none of them comes back.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_wants_or_can_do_is_ended() {
    let Some(world) = World::new().await else { return };
    let service = world.start();
    let request = PullRequest {
        on_disconnect: OnDisconnect::Cancel.into(),
        ..world.request()
    };
    let (unwanted, _, stream) = world.pull_until(&service, request, 5).await;
    service.kill();
    drop(stream);

    let service = world.start();
    interrupted(&service, &unwanted, "ends when they leave").await;
    let (cancelled, _, _stream) = world.pull_until(&service, world.request(), 10).await;
    let request = model_control::grpc::proto::v1::OperationsCancelRequest {
        operation_id: cancelled.clone(),
    };
    soon(super::operations(&service).await.cancel(request)).await.unwrap();
    let (lost, _, stream) = world.pull_until(&service, world.request(), 20).await;
    service.kill();
    drop(stream);

    let store = format!("--store={}", world.home.store("").display());
    let entry = serde_json::json!([{ "name": "other", "framework": "embedded", "backend_argv": [store] }]);
    fs::write(world.home.path("configs.yaml"), entry.to_string()).unwrap();
    let service = world.start();
    assert_eq!(state(&get(&service, &cancelled).await.unwrap()), State::Cancelled);
    interrupted(&service, &lost, "`one` is not configured any more").await;
    let ids: Vec<_> = list(&service)
        .await
        .into_iter()
        .map(|operation| operation.operation_id)
        .collect();
    assert_eq!(ids, [lost, cancelled, unwanted]);
}

async fn interrupted(service: &Service, id: &str, why: &str) {
    let operation = get(service, id).await.unwrap();
    assert_eq!(state(&operation), State::Failed);
    let Some(Outcome::Failure(failure)) = operation.outcome else {
        panic!("{operation:?}");
    };
    assert_eq!(failure.reason, "INTERRUPTED");
    assert!(
        failure.message.contains(why) && failure.message.contains("ask"),
        "{}",
        failure.message
    );
}

/// At several moments, the manifest's own among them.
#[tokio::test(flavor = "multi_thread")]
async fn a_create_goes_on_under_its_id() {
    let home = Home::new();
    home.write_model("big.gguf", 48);
    for phase in ["hashing", "parsing", "uploading", "writing"] {
        let model = format!("made-{phase}");
        let service = start(&home);
        let request = CreateFromPathRequest {
            model: model.clone(),
            path: home.model("big.gguf").display().to_string(),
            ..Default::default()
        };
        let mut stream = soon(client(&service).await.create_from_path(request))
            .await
            .unwrap()
            .into_inner();
        let mut seen = None;
        while let Some(message) = soon(stream.message()).await.unwrap() {
            let create_from_path_response::Event::Progress(progress) = message.event.unwrap() else {
                break;
            };
            let there = progress.phases.iter().any(|record| record.phase == phase);
            seen = Some((progress.operation_id, progress.sequence));
            if there {
                break;
            }
        }
        let (id, sequence) = seen.unwrap();
        service.kill();
        let service = start(&home);
        let (_, ended) = watch(&service, &id, sequence).await;
        assert_eq!(state(&ended), State::Succeeded, "{phase}: {ended:?}");
        let Some(Outcome::CreateFromPath(result)) = ended.outcome else {
            panic!("{phase}");
        };
        assert_eq!(result.model.unwrap().name, format!("{model}:latest"), "{phase}");
        service.kill();
    }
}

/// None before the first record is there.
fn durable(record: &Path) -> u64 {
    let Ok(bytes) = fs::read(record) else { return 0 };
    let record: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let ranges: Vec<[u64; 2]> = serde_json::from_value(record["durable"].clone()).unwrap();
    ranges.iter().map(|[start, end]| end - start).sum()
}
