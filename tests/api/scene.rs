//! A service on a store of its own, with a folder of files that callers may name, and what must hold after a refusal.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicU8, Ordering},
};

use model_control::{
    backend::Backend,
    gguf::{TensorKind, build::Builder},
};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::support::*;

pub(crate) use crate::soon::until;

/// What a file outside the roots is called. No answer may name it.
pub(crate) const SECRET: &str = "secret";

/// A running service with its files.
pub(crate) struct Scene {
    pub(crate) client: ModelControlClient<Channel>,
    pub(crate) service: Service,
    /// Holds the root, what lies beside it, and the store.
    base: tempfile::TempDir,
    store: PathBuf,
}

/// Where a scene keeps what.
pub(crate) struct Places {
    pub(crate) base: tempfile::TempDir,
    pub(crate) store: PathBuf,
    /// What callers may name.
    pub(crate) roots: Vec<PathBuf>,
}

/// Everything a caller learns from a refusal, without the operation's id.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    code: Code,
    message: String,
    metadata: BTreeMap<String, String>,
    rest: String,
}

/// A model of a few kilobytes; `seed` makes its content another.
pub(crate) fn model(seed: u8) -> Vec<u8> {
    builder().tensor("a", &[512], TensorKind::F32, &[seed; 2048]).finish()
}

/// A model without tensors yet.
pub(crate) fn builder() -> Builder {
    Builder::new("llama").unsigned("llama.context_length", 512)
}

/// An adapter for it.
pub(crate) fn adapter() -> Vec<u8> {
    Builder::new("llama")
        .text("general.type", "adapter")
        .tensor("a.lora_a", &[32], TensorKind::F32, &[1; 128])
        .finish()
}

/// A model in `parts` parts, written beside one another: the first one's path, which stands for all.
pub(crate) fn split(folder: &Path, parts: u16) -> PathBuf {
    let mut whole = builder();
    for number in 0..parts {
        whole = whole.tensor(&format!("t{number}"), &[32], TensorKind::F32, &[1; 128]);
    }
    for (index, part) in whole.split(&vec![1; parts.into()]).iter().enumerate() {
        fs::write(folder.join(format!("m-{:05}-of-{parts:05}.gguf", index + 1)), part).unwrap();
    }
    folder.join(format!("m-00001-of-{parts:05}.gguf"))
}

/// Writes a model of this many bytes of weights, which take no room.
pub(crate) fn sparse(path: &Path, weights: u64) -> u64 {
    let header = builder().raw_tensor(b"big", &[weights], 24, &[]).finish();
    fs::write(path, &header).unwrap();
    let size = header.len() as u64 + weights;
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(size)
        .unwrap();
    size
}

/// What a status says.
pub(crate) fn answer(status: &Status) -> Answer {
    let details = status.get_error_details();
    let info = details.error_info().expect("every status has one");
    assert_eq!(info.domain, "modelcontrol.ichat");
    let mut metadata: BTreeMap<_, _> = info.metadata.clone().into_iter().collect();
    metadata.remove("operationId");
    metadata.insert("the reason".to_owned(), info.reason.clone());
    let mut rest: ErrorDetails = details.clone();
    rest.set_error_info("", "", std::collections::HashMap::<String, String>::new());
    Answer {
        code: status.code(),
        message: status.message().to_owned(),
        metadata,
        rest: format!("{rest:?}"),
    }
}

/// Clients refuse large trailers.
pub(crate) fn assert_bounded(status: &Status) {
    assert!(status.message().len() <= 1024, "{}", status.message().len());
    assert!(status.details().len() <= 4096, "{}", status.details().len());
}

/// The fields that a status complains of.
pub(crate) fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let request = details.bad_request().expect("a BadRequest");
    let fields = request.field_violations.iter().map(|violation| violation.field.clone());
    fields.collect()
}

// === impl Places ===

impl Places {
    /// One root beside a good model that lies out of reach.
    pub(crate) fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("root")).unwrap();
        fs::write(base.path().join(format!("{SECRET}.gguf")), model(99)).unwrap();
        Self {
            store: base.path().join("store"),
            roots: vec![base.path().join("root")],
            base,
        }
    }
}

// === impl Scene ===

impl Scene {
    pub(crate) async fn new() -> Self {
        Self::at(Places::new()).await
    }

    pub(crate) async fn at(places: Places) -> Self {
        let engine = Arc::new(Embedded::open(places.store.clone()).unwrap());
        Self::with(places, engine).await
    }

    /// With an engine that has its store at the usual place.
    pub(crate) async fn with(places: Places, engine: Arc<dyn Backend>) -> Self {
        let Places { base, store, roots } = places;
        let mut plan = Plan::new(engine);
        plan.settings.model_roots = roots;
        let service = plan.start().await;
        Self {
            client: service.client().await,
            service,
            base,
            store,
        }
    }

    /// What lies beside the root.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.base.path().join(name)
    }

    /// What lies in the root.
    pub(crate) fn root(&self, name: &str) -> PathBuf {
        self.base.path().join("root").join(name)
    }

    /// Writes a file into the root.
    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.root(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Makes a link in the root.
    pub(crate) fn link(&self, target: impl AsRef<Path>, name: &str) -> PathBuf {
        let link = self.root(name);
        std::os::unix::fs::symlink(target, &link).unwrap();
        link
    }

    /// The sizes of the files that are being made.
    pub(crate) fn unfinished(&self) -> Vec<u64> {
        let entries = fs::read_dir(self.store.join(".model-control/tmp")).unwrap();
        // One that has gone meanwhile is not being made.
        let sizes = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()));
        sizes.collect()
    }

    /// Every file of the store that holds content, with its own.
    pub(crate) fn stored(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        for folder in ["blobs", "manifests"] {
            collect(&self.store.join(folder), &mut files).unwrap();
        }
        files
    }

    pub(crate) async fn list(&mut self) -> Vec<v1::Model> {
        let listed = soon(self.client.list(v1::ListRequest::default())).await.unwrap();
        listed.into_inner().models
    }

    /// The request is refused in the form of the contract, and the store is as it was.
    pub(crate) async fn refused(&mut self, request: v1::CreateFromPathRequest, code: Code, wanted: &str) -> Status {
        let told = format!("{:?} {:?}", request.path, request.import_options);
        let (stored, listed) = (self.stored(), self.list().await);
        let status = created(&mut self.client, request).await.expect_err(&told);
        assert_eq!((status.code(), &*reason(&status)), (code, wanted), "{told}: {status:?}");
        let details = String::from_utf8_lossy(status.details());
        for hidden in [self.base.path().to_str().unwrap(), SECRET] {
            assert!(!status.message().contains(hidden), "{told}: {status:?}");
            assert!(!details.contains(hidden), "{told}: {status:?}");
        }
        assert_bounded(&status);
        self.assert_clean(&stored, &listed).await;
        status
    }

    /// Nothing half-written is left.
    pub(crate) async fn assert_clean(&mut self, stored: &BTreeMap<PathBuf, Vec<u8>>, listed: &[v1::Model]) {
        assert_eq!(self.unfinished(), [0; 0]);
        assert!(self.stored() == *stored, "the store is as it was");
        assert_eq!(self.list().await, listed);
    }

    /// The service still does its work.
    pub(crate) async fn alive(mut self) {
        static NEXT: AtomicU8 = AtomicU8::new(100);
        let seed = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = self.put("alive.gguf", &model(seed));
        let result = created(&mut self.client, create("alive", &path)).await.unwrap();
        assert!(result.changed);
        assert_eq!(result.model.unwrap().parameter_count, Some(512));
        assert_eq!(self.unfinished(), [0; 0]);
        self.service.stop().await;
    }
}

fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.insert(path.clone(), fs::read(&path)?);
        }
    }
    Ok(())
}
