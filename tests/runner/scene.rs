//! A store with models, and an engine that runs them.

use std::{
    fs::{self, File},
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use model_control::{
    backend::{
        Backend as _, Call, CreateSpec, Done, Error, LoadSpec, Next,
        embedded::{Embedded, RunnerSettings},
    },
    model::{Event, ImportOptions, KeepAlive, LoadOptions, ModelName, Running, Unloaded},
    source::{Opened, Source},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{interval, timeout},
};

use crate::{llama, processes::processes};

/// For what takes milliseconds on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Scene {
    folder: TempDir,
    pub(crate) engine: Embedded,
}

/// The helper is the real program: this one is a test.
pub(crate) fn settings() -> Option<RunnerSettings> {
    Some(RunnerSettings {
        program: Some(llama::program("llama-server")?),
        helper: Some(env!("CARGO_BIN_EXE_model-control").into()),
        threads: std::num::NonZeroUsize::new(1),
        ..RunnerSettings::default()
    })
}

pub(crate) fn name(text: &str) -> ModelName {
    text.parse().unwrap()
}

pub(crate) fn spec(model: &str) -> LoadSpec {
    LoadSpec {
        name: name(model),
        options: LoadOptions {
            context_length: Some(256),
            ..LoadOptions::default()
        },
        keep_alive: KeepAlive::Default,
    }
}

// === impl Scene ===

impl Scene {
    /// With the repository's model as `tiny`.
    pub(crate) async fn new(settings: RunnerSettings) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let engine = Embedded::open(folder.path().join("store")).unwrap();
        let scene = Self {
            folder,
            engine: engine.with_runner(settings).unwrap(),
        };
        scene.create("tiny", &fs::read(llama::tiny()).unwrap()).await;
        scene
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn create(&self, model: &str, bytes: &[u8]) {
        let path = self.file("model.gguf");
        fs::write(&path, bytes).unwrap();
        let opened = Opened {
            file_name: "model.gguf".to_owned(),
            file: Arc::new(File::open(&path).unwrap()),
        };
        let spec = CreateSpec {
            digest: None,
            name: name(model),
            source: Source::Gguf(vec![opened]),
            adapters: Vec::new(),
            options: ImportOptions::default(),
            replace: false,
        };
        let call = self.engine.create(spec).await.unwrap();
        end(call).await.1.unwrap();
        fs::remove_file(path).unwrap();
    }

    pub(crate) async fn load(&self, spec: LoadSpec) -> Result<Done, Error> {
        match self.engine.load(spec).await {
            Ok(call) => end(call).await.1,
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn running(&self, model: &str) -> Option<Running> {
        let model = name(model);
        let all = self.engine.running().await.unwrap();
        all.into_iter().find(|running| running.name == model)
    }

    pub(crate) async fn endpoint(&self, model: &str) -> String {
        self.running(model).await.unwrap().endpoint.unwrap()
    }

    pub(crate) async fn unload(&self, model: &str) -> Unloaded {
        self.engine.unload(&name(model)).await.unwrap()
    }

    /// With other settings.
    pub(crate) fn reopened(self, settings: RunnerSettings) -> Self {
        let Self { folder, engine } = self;
        let engine = engine.with_runner(settings).unwrap();
        Self { folder, engine }
    }

    /// Closes the store and keeps its folder.
    pub(crate) fn into_folder(self) -> TempDir {
        self.folder
    }

    /// Engines of this scene's store that have not ended.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes(self.path())
    }

    /// All leave, and nothing is left behind.
    pub(crate) async fn close(self) {
        self.engine.stop().await;
        assert_eq!(self.engine.running().await.unwrap(), []);
        assert_eq!(self.processes(), [0; 0]);
    }
}

/// Looks until it is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let mut look = interval(Duration::from_millis(10));
    let waiting = async {
        while !is_so().await {
            look.tick().await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

pub(crate) async fn end(mut call: Box<dyn Call>) -> (Vec<Event>, Result<Done, Error>) {
    let mut events = Vec::new();
    loop {
        match call.next().await {
            Next::Event(event) => events.push(event),
            Next::Ended(result) => return (events, result),
        }
    }
}

/// One HTTP/1.0 exchange: status and body.
pub(crate) async fn post(endpoint: &str, path: &str, key: &str, body: &Value) -> (u16, String) {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.0\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
