//! A service with its store and its registry, and what must hold after a pull that failed.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use model_control::{
    backend::embedded::{Pulling, RegistrySettings},
    model::Digest,
};
use tonic::Streaming;

use super::{
    calls::{self, Client, Operations},
    double::{Answer, Seen},
    hub::{self, Gate, Hub, gguf},
    support::*,
};

pub(crate) use crate::soon::until;

/// A pull's stream.
pub(crate) type Stream = Streaming<v1::PullResponse>;

/// A service, its store and its registry.
pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) service: Service,
    pub(crate) client: Client,
    pub(crate) operations: Operations,
    /// How the service is started again.
    pulling: Pulling,
    /// The host of the registry.
    pub(crate) host: String,
    pub(crate) insecure: bool,
    pub(crate) store: PathBuf,
    _base: tempfile::TempDir,
}

/// How a world differs from the usual one.
pub(crate) struct Ways {
    pub(crate) allow: Vec<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) store: Option<PathBuf>,
    /// How the host is named.
    pub(crate) host: Option<String>,
    /// How long the first byte of an answer may take.
    pub(crate) first_byte: Duration,
    pub(crate) tune: fn(&mut Pulling),
}

const PARTIAL: &str = ".model-control/partial";
/// Of one blob.
pub(crate) const CONNECTIONS: usize = 4;

/// What a store holds, by path from its folder.
pub(crate) type Stored = BTreeMap<PathBuf, Vec<u8>>;

/// The progress of a message.
pub(crate) fn progress(message: v1::PullResponse) -> v1::Progress {
    match message.event {
        Some(v1::pull_response::Event::Progress(progress)) => progress,
        other => panic!("no progress but {other:?}"),
    }
}

/// The layers of a snapshot, once they are known.
pub(crate) fn layers(progress: &v1::Progress) -> Option<&[v1::progress::Layer]> {
    match &progress.phase {
        Some(v1::progress::Phase::Downloading(downloading)) => Some(&downloading.layers),
        _ => None,
    }
}

/// Reads on to a snapshot that is so.
pub(crate) async fn seen(stream: &mut Stream, mut so: impl FnMut(&v1::Progress) -> bool) -> v1::Progress {
    loop {
        let message = soon(stream.message()).await.unwrap().expect("it goes on");
        let progress = progress(message);
        if so(&progress) {
            return progress;
        }
    }
}

// === impl Ways ===

impl Default for Ways {
    fn default() -> Self {
        Self {
            allow: vec![],
            ca_file: None,
            store: None,
            host: None,
            first_byte: LONG,
            tune: |_| {},
        }
    }
}

// === impl World ===

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Ways::default()).await
    }

    pub(crate) async fn with(ways: Ways) -> Self {
        Self::before(Hub::start().await, ways).await
    }

    pub(crate) async fn before(hub: Hub, ways: Ways) -> Self {
        let insecure = ways.ca_file.is_none();
        let host = ways.host.unwrap_or_else(|| hub.double.host());
        let mut allow = ways.allow;
        allow.push(format!("{}{host}", if insecure { "http://" } else { "" }));
        let mut settings = RegistrySettings {
            allow: allow.iter().map(|host| host.parse().unwrap()).collect(),
            ca_file: ways.ca_file,
            ..RegistrySettings::default()
        };
        settings.timeouts.back_off = Duration::from_millis(5);
        settings.timeouts.first_byte = ways.first_byte;
        let mut pulling = Pulling::from(settings).unwrap();
        let limits = &mut pulling.limits;
        (limits.connections_per_blob, limits.part, limits.smallest_part) = (CONNECTIONS, 64 << 10, 16 << 10);
        (limits.tries, limits.first_wait, limits.longest_wait) =
            (3, Duration::from_millis(5), Duration::from_millis(20));
        (ways.tune)(&mut pulling);
        let base = tempfile::tempdir().unwrap();
        let store = ways.store.unwrap_or_else(|| base.path().join("store"));
        let service = serve(&store, &pulling).await;
        Self {
            client: service.client().await,
            operations: service.operations().await,
            hub,
            service,
            pulling,
            host,
            insecure,
            store,
            _base: base,
        }
    }

    /// The service ends, and begins again on the same store.
    pub(crate) async fn again(self) -> Self {
        let Self {
            service,
            client,
            operations,
            ..
        } = self;
        drop((client, operations));
        service.stop().await;
        let service = serve(&self.store, &self.pulling).await;
        Self {
            client: service.client().await,
            operations: service.operations().await,
            service,
            ..self
        }
    }

    pub(crate) fn name(&self, model: &str) -> String {
        format!("{}/library/{model}", self.host)
    }

    pub(crate) fn request(&self, model: &str) -> v1::PullRequest {
        v1::PullRequest {
            insecure: self.insecure,
            ..pull(&self.name(model))
        }
    }

    pub(crate) fn ensuring(&self, model: &str) -> v1::EnsureReadyRequest {
        v1::EnsureReadyRequest {
            insecure: self.insecure,
            ..calls::ensure(&self.name(model))
        }
    }

    pub(crate) async fn begin(&self, request: v1::PullRequest) -> Stream {
        soon(self.client.clone().pull(request)).await.unwrap().into_inner()
    }

    pub(crate) async fn pull(&self, request: v1::PullRequest) -> Result<v1::PullResult, Status> {
        calls::pulled(soon(self.client.clone().pull(request)).await?.into_inner()).await
    }

    pub(crate) async fn list(&self) -> Vec<v1::Model> {
        let listed = soon(self.client.clone().list(v1::ListRequest::default())).await;
        listed.unwrap().into_inner().models
    }

    /// Every file of the store.
    pub(crate) fn stored(&self) -> Stored {
        let mut files = Stored::new();
        collect(&self.store, &self.store, &mut files).unwrap();
        files
    }

    /// The file that a blob grows in.
    pub(crate) fn partial(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string().replace(':', "-");
        self.store.join(".model-control/partial").join(name)
    }

    /// The pull fails so, and the store is whole.
    pub(crate) async fn fails(&self, model: &str, code: Code, wanted: &str) -> Status {
        let (stored, listed) = (self.stored(), self.list().await);
        let status = self.pull(self.request(model)).await.expect_err(wanted);
        assert_eq!(calls::told(&status), calls::is(code, wanted), "{status:?}");
        assert!(status.message().len() <= 1024 && status.details().len() <= 4096);
        assert!(
            !format!("{status:?}").contains(self.store.to_str().unwrap()),
            "{status:?}"
        );
        self.assert_whole(&stored, &listed).await;
        status
    }

    /// Nothing has changed but for partial files, and blobs that are what their names say.
    pub(crate) async fn assert_whole(&self, before: &Stored, listed: &[v1::Model]) {
        assert_eq!(self.list().await, listed);
        let now = self.stored();
        for (path, content) in before.iter().filter(|(path, _)| !path.starts_with(PARTIAL)) {
            assert!(now.get(path) == Some(content), "{} has changed", path.display());
        }
        for (path, content) in now {
            let whole = || path == PathBuf::from("blobs").join(Digest::of(&content).to_string().replace(':', "-"));
            assert!(
                before.contains_key(&path) || path.starts_with(PARTIAL) || whole(),
                "{} is left",
                path.display()
            );
        }
    }

    /// The registry is good again, and so is the pull. Nothing is left beside the models.
    pub(crate) async fn mends(&self, model: &str) {
        self.hub.good();
        assert!(self.pull(self.request(model)).await.unwrap().changed);
        let name = self.name(model);
        let listed = self.list().await;
        let found = listed.iter().find(|listed| listed.canonical_name.starts_with(&name));
        assert!(found.is_some(), "{listed:?}");
        let partial = fs::read_dir(self.store.join(PARTIAL));
        assert_eq!(
            partial.map_or(0, Iterator::count),
            0,
            "partial files of whole blobs are left"
        );
    }

    /// A store with one model, and another one at the registry.
    pub(crate) async fn stocked() -> Self {
        Self::new().await.with_stock().await
    }

    pub(crate) async fn with_stock(self) -> Self {
        self.hub.put("before", &gguf(200, 4));
        assert!(self.pull(self.request("before")).await.unwrap().changed);
        self.hub.put("m", &gguf(1, 200));
        self
    }

    /// The registry does this, the pull of `m` fails so, and the next one is good.
    pub(crate) async fn fault(
        script: impl FnMut(&Seen) -> Option<Answer> + Send + 'static,
        code: Code,
        wanted: &str,
    ) -> Status {
        let world = Self::stocked().await;
        world.hub.script(script);
        let status = world.fails("m", code, wanted).await;
        world.mends("m").await;
        world.service.stop().await;
        status
    }

    /// Half of each range of the blob comes, and the rest waits: the gate, and how many bytes came.
    pub(crate) async fn half_way(&self, file: &[u8], request: v1::PullRequest) -> (Stream, Arc<Gate>, usize) {
        let gate = self.halves(file);
        let mut stream = self.begin(request).await;
        let came = self.held_back(&mut stream, file).await;
        (stream, gate, came)
    }

    /// From now on.
    pub(crate) fn halves(&self, file: &[u8]) -> Arc<Gate> {
        let (gate, digest) = (Gate::new(), Digest::of(file));
        let (ours, file) = (Arc::clone(&gate), file.to_vec());
        self.hub.script(move |seen| {
            let of_it = seen.path.ends_with(digest.as_str());
            of_it.then(|| hub::half(seen, &file, &ours))
        });
        gate
    }

    /// Waits until all connections wait, and this caller knows what came: so many bytes.
    pub(crate) async fn held_back(&self, stream: &mut Stream, file: &[u8]) -> usize {
        let digest = Digest::of(file);
        until(|| self.hub.double.held() == CONNECTIONS).await;
        let asked = self.hub.asked(&digest);
        let held = &asked[asked.len() - CONNECTIONS..];
        let halves = held.iter().map(|seen| hub::asked(seen).unwrap());
        let came: usize = halves.map(|(start, end)| usize::midpoint(start, end) - start).sum();
        let digest = digest.to_string();
        seen(stream, |progress| {
            let of_it = |layer: &&v1::progress::Layer| layer.digest == digest;
            let layer = layers(progress).and_then(|layers| layers.iter().find(of_it));
            layer.is_some_and(|layer| layer.completed_bytes >= i64::try_from(came).unwrap())
        })
        .await;
        came
    }
}

/// The engine of the last service lets go of the store soon after that has ended.
async fn serve(store: &Path, pulling: &Pulling) -> Service {
    let start = Instant::now();
    let engine = loop {
        match Embedded::pulling(store.to_owned(), pulling.clone()) {
            Ok(engine) => break engine,
            Err(error) => assert!(start.elapsed() < LONG, "{error}"),
        }
        tokio::task::yield_now().await;
    };
    Service::start(Arc::new(engine), None).await
}

fn collect(base: &Path, folder: &Path, files: &mut Stored) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(base, &path, files)?;
        } else {
            files.insert(path.strip_prefix(base).unwrap().to_owned(), fs::read(&path)?);
        }
    }
    Ok(())
}
