//! The service is killed in the middle of a create, at moments spread over all of it; then it starts again.
//!
//! The moments are seen, not timed: phases in the caller's stream, and what lies in the store.
//! `MODEL_CONTROL_TEST_KILLED_MIB` makes the file larger (64 by default); `--nocapture` shows what each kill left.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/service.rs"]
mod service;
#[path = "support/soon.rs"]
mod soon;

use std::{
    env, fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use model_control::{
    grpc::proto::v1::{
        CreateFromPathRequest, CreateFromPathResponse, ListRequest, Progress, create_from_path_response::Event,
        model_control_client::ModelControlClient,
    },
    model::Digest,
};
use tokio::task::JoinHandle;
use tonic::{Streaming, transport::Channel};

use self::service::{Home, Service};
use self::soon::{LONG, soon};

const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");

/// When the service is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// The stream tells the phase.
    Phase(&'static str),
    /// The temporary file has so many hundredths of its bytes.
    Stored(u64),
    /// The model's file has its final name.
    Published,
    /// The manifest has its name.
    Committed,
}

const MOMENTS: [Moment; 11] = [
    Moment::Phase("parsing"),
    Moment::Phase("uploading"),
    Moment::Stored(0),
    Moment::Stored(20),
    Moment::Stored(40),
    Moment::Stored(60),
    Moment::Stored(80),
    Moment::Stored(100),
    Moment::Phase("writing"),
    Moment::Published,
    Moment::Committed,
];

/// What a kill left in the store.
struct Left {
    /// The caller had its result.
    answered: bool,
    /// Bytes of each temporary file.
    temporary: Vec<u64>,
    blobs: usize,
}

/// Ends the look at the store, also when the test fails meanwhile: the runtime's end waits for that thread.
#[derive(Default)]
struct Ended(Arc<AtomicBool>);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_create_leaves_whole_models_only() {
    let mib = env::var("MODEL_CONTROL_TEST_KILLED_MIB").map_or(64, |mib| mib.parse().unwrap());
    let home = Home::new();
    let source = home.write_model("big.gguf", mib);
    let digest = Digest::of(&fs::read(&source).unwrap());
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf"),
        home.model("tiny.gguf"),
    )
    .unwrap();

    let mut interrupted = 0;
    for moment in MOMENTS {
        fs::remove_dir_all(home.store("")).ok();
        let service = home.start(Path::new(PROGRAM));
        create(&home, &service, "kept", "tiny.gguf").await.unwrap();
        let left = killed(&home, service, moment, fs::metadata(&source).unwrap().len()).await;
        // The store by itself: with the journal the create would go on at once.
        fs::remove_file(home.path("state/operations.journal")).unwrap();

        let service = home.start(Path::new(PROGRAM));
        let listed = list(&service).await;
        let removed = service.said.iter().filter(|line| line.contains("removed")).count();
        eprintln!(
            "{moment:?}: answered {}, left {:?} temporary bytes and {} blobs; the next start removed {removed} files and \
             listed {listed:?}",
            left.answered, left.temporary, left.blobs
        );
        assert_eq!(temporary(&home), [0; 0], "{moment:?}");
        assert_eq!(listed[0], "kept:latest", "{moment:?}");
        match listed.len() {
            1 => interrupted += 1,
            _ => assert_eq!(listed[1..], ["new:latest"], "{moment:?}"),
        }
        assert!(
            !left.answered || listed.len() == 2,
            "{moment:?}: what was answered is there"
        );
        if listed.len() == 2 {
            assert_stored(&home, &digest);
        }

        // Asked again it is made, or found made.
        create(&home, &service, "new", "big.gguf").await.unwrap();
        assert_eq!(list(&service).await, ["kept:latest", "new:latest"], "{moment:?}");
        assert_stored(&home, &digest);
        assert_eq!(temporary(&home), [0; 0], "{moment:?}");
    }
    assert!(
        interrupted >= 3,
        "{interrupted} of {} creates were interrupted",
        MOMENTS.len()
    );
}

// === impl Moment ===

impl Moment {
    fn told(self, progress: &Progress) -> bool {
        let Self::Phase(phase) = self else { return false };
        progress.phases.iter().any(|record| record.phase == phase)
    }

    /// Waits until it can be seen in the store, or until the guard goes. Looks without a pause, for some moments are short.
    fn watch(self, home: &Home, size: u64) -> (JoinHandle<()>, Ended) {
        let (blobs, temporary) = (home.store("blobs"), home.store(".model-control/tmp"));
        let manifest = home.store("manifests/registry.ollama.ai/library/new/latest");
        let reached = move || match self {
            // Seen in the stream, by nobody here.
            Self::Phase(_) => true,
            Self::Stored(hundredths) => {
                let wanted = (size * hundredths / 100).max(1);
                sizes(&temporary).into_iter().any(|size| size >= wanted)
            }
            Self::Published => sizes(&blobs).contains(&size),
            Self::Committed => manifest.exists(),
        };
        let ended = Ended::default();
        let (flag, began) = (Arc::clone(&ended.0), Instant::now());
        let seen = tokio::task::spawn_blocking(move || {
            while !flag.load(Ordering::Relaxed) && !reached() {
                assert!(began.elapsed() < LONG, "never: {self:?}");
                std::thread::yield_now();
            }
        });
        (seen, ended)
    }
}

// === impl Ended ===

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Begins the create and kills the service at the moment, or at its end if the moment was missed.
async fn killed(home: &Home, service: Service, moment: Moment, size: u64) -> Left {
    let mut stream = begin(home, &service, "new", "big.gguf").await;
    let (mut seen, ended) = moment.watch(home, size);
    let in_store = !matches!(moment, Moment::Phase(_));
    let mut answered = false;
    loop {
        let message = tokio::select! {
            looked = &mut seen, if in_store => {
                looked.unwrap();
                break;
            }
            message = soon(stream.message()) => message.unwrap(),
        };
        match message.unwrap().event.unwrap() {
            Event::Progress(progress) if !moment.told(&progress) => {}
            Event::Progress(_) => break,
            Event::Result(_) => {
                answered = true;
                break;
            }
        }
    }
    service.kill();
    drop(ended);
    if !seen.is_finished() {
        seen.await.unwrap();
    }
    Left {
        answered,
        temporary: temporary(home),
        blobs: sizes(&home.store("blobs")).len(),
    }
}

async fn begin(home: &Home, service: &Service, model: &str, file: &str) -> Streaming<CreateFromPathResponse> {
    let request = CreateFromPathRequest {
        model: model.to_owned(),
        path: home.model(file).display().to_string(),
        ..Default::default()
    };
    let mut client = ModelControlClient::<Channel>::new(service.channel().await);
    soon(client.create_from_path(request)).await.unwrap().into_inner()
}

/// To the end.
async fn create(home: &Home, service: &Service, model: &str, file: &str) -> Option<()> {
    let mut stream = begin(home, service, model, file).await;
    let mut last = None;
    while let Some(message) = soon(stream.message()).await.unwrap() {
        last = message.event;
    }
    matches!(last, Some(Event::Result(_))).then_some(())
}

/// The listed names, in order.
async fn list(service: &Service) -> Vec<String> {
    let mut client = ModelControlClient::new(service.channel().await);
    let listed = soon(client.list(ListRequest::default())).await.unwrap().into_inner();
    listed.models.into_iter().map(|model| model.name).collect()
}

/// The model's file is in the store with every byte.
fn assert_stored(home: &Home, digest: &Digest) {
    let bytes = fs::read(home.store("blobs").join(format!("sha256-{}", digest.hex()))).unwrap();
    assert_eq!(Digest::of(&bytes), *digest);
}

fn temporary(home: &Home) -> Vec<u64> {
    sizes(&home.store(".model-control/tmp"))
}

/// Of the files in a folder. What vanishes meanwhile does not count.
fn sizes(folder: &Path) -> Vec<u64> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let size = |entry: std::io::Result<fs::DirEntry>| Some(entry.ok()?.metadata().ok()?.len());
    entries.filter_map(size).collect()
}
