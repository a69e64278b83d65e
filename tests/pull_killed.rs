//! The service is killed again and again in the middle of a pull from a real registry; the model comes whole all the same,
//! and next to nothing is fetched twice.
//!
//! `MODEL_CONTROL_TEST_KILLED_MIB` makes the file larger (192 by default); `--nocapture` shows what each kill cost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/registry.rs"]
mod registry;
#[path = "support/service.rs"]
mod service;

use std::{env, fs, path::Path, sync::atomic::Ordering, time::Duration};

use model_control::{
    grpc::proto::v1::{
        ListRequest, PullRequest, PullResponse, model_control_client::ModelControlClient, pull_response::Event,
    },
    model::Digest,
};
use tonic::Streaming;

use self::{
    registry::{Front, Registry, Relay},
    service::{Home, Service},
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");
const KILLS: u64 = 10;
/// No step takes longer: the test fails then.
const LONG: Duration = Duration::from_mins(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pull_goes_on_where_it_was() {
    let Some(registry) = Registry::start() else { return };
    let relay = Relay::to(&registry, None).await;
    let front = Front::before(&registry, relay.address).await;
    let mib = env::var("MODEL_CONTROL_TEST_KILLED_MIB").map_or(192, |mib| mib.parse().unwrap());
    let home = Home::new();
    let source = home.write_model("big.gguf", mib);
    let (size, digest) = (
        fs::metadata(&source).unwrap().len(),
        Digest::of(&fs::read(&source).unwrap()),
    );
    let manifest = registry.push("library/big", "latest", &[("model", &source)]).await;
    fs::remove_file(&source).unwrap();

    let (mut before, mut kept) = (0, 0);
    for kill in 0..KILLS {
        let service = start(&home, &front, &relay);
        let mut stream = begin(&service, &front).await;
        // Moments spread over what is left, wherever the last kill left it.
        let moment = kept + (size - kept) * (kill + 1) / (KILLS + 1);
        let seen = follow(&mut stream, moment).await;
        service.kill();
        let sent = relay.sent.load(Ordering::Relaxed);
        eprintln!(
            "kill {kill}: at {seen} of {size} bytes; it had fetched {} and had {kept} before",
            sent - before
        );
        assert!(seen < size, "the moment was missed");
        (before, kept) = (sent, seen);
    }
    let service = start(&home, &front, &relay);
    let mut stream = begin(&service, &front).await;
    follow(&mut stream, u64::MAX).await;
    let listed = client(&service).await.list(ListRequest::default()).await.unwrap();
    assert_eq!(listed.into_inner().models[0].digest, manifest.to_string());
    let stored = fs::read(home.store(&format!("blobs/sha256-{}", digest.hex()))).unwrap();
    assert_eq!(Digest::of(&stored), digest);
    assert_eq!(fs::read_dir(home.store(".model-control/partial")).unwrap().count(), 0);
    let again = relay.sent.load(Ordering::Relaxed) as f64 / size as f64 - 1.0;
    eprintln!("{KILLS} kills cost {:.1} % of the blob", again * 100.0);
}

fn start(home: &Home, front: &Front, relay: &Relay) -> Service {
    let mut command = home.command(Path::new(PROGRAM));
    command.arg(format!("--allow-registry=http://{}", front.address));
    command.arg(format!("--allow-registry=http://localhost:{}", relay.address.port()));
    Service::start(command)
}

async fn client(service: &Service) -> ModelControlClient<tonic::transport::Channel> {
    ModelControlClient::new(service.channel().await)
}

async fn begin(service: &Service, front: &Front) -> Streaming<PullResponse> {
    let request = PullRequest {
        model: format!("{}/library/big", front.address),
        insecure: true,
        ..Default::default()
    };
    client(service).await.pull(request).await.unwrap().into_inner()
}

/// Until so many bytes are told, or to the end.
async fn follow(stream: &mut Streaming<PullResponse>, moment: u64) -> u64 {
    loop {
        let message = tokio::time::timeout(LONG, stream.message())
            .await
            .expect("in time")
            .unwrap();
        match message.unwrap().event.unwrap() {
            Event::Progress(progress) => {
                let completed = u64::try_from(progress.completed_bytes).unwrap();
                if completed >= moment {
                    return completed;
                }
            }
            Event::Result(_) => return u64::MAX,
        }
    }
}
