use std::{fs, os::unix::fs::FileExt as _, sync::Arc};

use super::*;
use crate::{
    backend::{Next, call},
    gguf::{TensorKind, build::Builder},
    model::{Event, ImportOptions},
    source::Opened,
};

struct Scene {
    folder: tempfile::TempDir,
    store: Arc<Store>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().join("store")).unwrap());
        Self { folder, store }
    }

    fn spec(&self, files: &[Vec<u8>]) -> CreateSpec {
        let opened = files.iter().enumerate().map(|(index, bytes)| {
            let file_name = format!("m-{:05}-of-{:05}.gguf", index + 1, files.len());
            let path = self.folder.path().join(&file_name);
            fs::write(&path, bytes).unwrap();
            let file = Arc::new(fs::File::open(path).unwrap());
            Opened { file_name, file }
        });
        CreateSpec {
            digest: None,
            name: "m".parse().unwrap(),
            source: Source::Gguf(opened.collect()),
            adapters: Vec::new(),
            options: ImportOptions::default(),
            replace: false,
        }
    }

    fn temporary(&self) -> usize {
        fs::read_dir(self.store.layout().temporary()).unwrap().count()
    }

    /// Runs `job` where the engine runs it.
    async fn run(
        &self,
        job: impl FnOnce(&Store, &Reporter) -> Result<Done, Error> + Send + 'static,
    ) -> (Vec<Event>, Result<Done, Error>) {
        let store = Arc::clone(&self.store);
        let mut call = call::blocking(move |reporter| job(&store, &reporter));
        let mut events = Vec::new();
        loop {
            match call.next().await {
                Next::Event(event) => events.push(event),
                Next::Ended(ended) => return (events, ended),
            }
        }
    }
}

/// Larger than a chunk, and no multiple of any buffer.
fn model() -> Builder {
    let data: Vec<u8> = (0..9_000_032_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    Builder::new("llama")
        .tensor("a", &[4_500_016], TensorKind::F16, &data)
        .tensor("b", &[32], TensorKind::F32, &[9; 128])
        .tensor("c", &[32], TensorKind::F32, &[8; 128])
}

#[tokio::test]
async fn every_means_stores_the_same() {
    let whole = model().finish();
    for files in [vec![whole.clone()], model().split(&[1, 2])] {
        for (share, kernel) in [(true, true), (false, true), (false, false)] {
            let scene = Scene::new();
            let spec = scene.spec(&files);
            let parts: Vec<_> = files.iter().map(|file| Digest::of(file)).collect();
            let alone = files.len() == 1;
            let whole = whole.clone();
            let job = move |store: &Store, reporter: &Reporter| {
                let inputs = Input::all(&spec)?;
                let stored = copy::store(store, &inputs[0], Means { share, kernel }, reporter)?;
                let mut bytes = vec![0; usize::try_from(inputs[0].size).unwrap()];
                stored.temporary.file().read_exact_at(&mut bytes, 0).unwrap();
                assert_eq!(stored.digest, Digest::of(&bytes));
                assert_eq!(stored.sources, parts);
                assert!(!alone || bytes == whole);
                let planned = hash::planned(&inputs[0], reporter, |_| ())?;
                assert_eq!(planned, stored.digest, "what is planned is what is stored");
                Ok(Done::default())
            };
            let (events, ended) = scene.run(job).await;
            ended.unwrap();
            assert_eq!(scene.temporary(), 0);
            // Each file is told to be complete, and never more than that.
            for file in &files {
                let size = file.len() as u64;
                assert!(events.iter().any(
                    |event| matches!(event, Event::Layer(layer) if layer.total_bytes == Some(size) && layer.completed_bytes == size)
                ));
            }
        }
    }
}

#[tokio::test]
async fn a_file_that_becomes_shorter_is_said_to_have_changed() {
    for kernel in [true, false] {
        let scene = Scene::new();
        let spec = scene.spec(&[model().finish()]);
        let path = scene.folder.path().join("m-00001-of-00001.gguf");
        let job = move |store: &Store, reporter: &Reporter| {
            let inputs = Input::all(&spec)?;
            fs::OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(1_000_000)
                .unwrap();
            copy::store(store, &inputs[0], Means { share: false, kernel }, reporter)?;
            Ok(Done::default())
        };
        let error = scene.run(job).await.1.unwrap_err();
        assert_eq!(error.kind, Kind::SourceNotUsable, "{}", error.message);
        assert_eq!(scene.temporary(), 0);
    }
}

/// Another process prunes between the blobs and the manifest, once and for ever.
#[tokio::test]
async fn a_blob_that_vanishes_starts_it_over_once() {
    for times in [1, 2] {
        let scene = Scene::new();
        let spec = scene.spec(&[model().finish()]);
        let job = move |store: &Store, reporter: &Reporter| {
            let mut prunes = times;
            run_with(store, &spec, reporter, |layout| {
                if prunes > 0 {
                    prunes -= 1;
                    for blob in fs::read_dir(layout.blobs()).unwrap() {
                        fs::remove_file(blob.unwrap().path()).unwrap();
                    }
                }
            })
        };
        let (events, ended) = scene.run(job).await;
        assert!(events.iter().any(|event| matches!(event, Event::Restarted(_))));
        assert_eq!(ended.is_ok(), times == 1);
        let found = scene.store.find(&"m".parse().unwrap()).unwrap();
        assert_eq!(found.is_some(), times == 1);
        if times == 2 {
            assert_eq!(ended.unwrap_err().kind, Kind::StoreUnusable);
            assert!(
                scene.store.present(&"m".parse().unwrap()).is_none(),
                "the manifest is taken back"
            );
        }
        assert_eq!(scene.temporary(), 0);
    }
}

#[test]
fn a_full_disk_is_told_as_one() {
    let scene = Scene::new();
    let full = || io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
    let error = scene.store.write_failed("write", u64::MAX, full());
    assert!(matches!(error.kind, Kind::DiskFull { need: u64::MAX, have } if have > 0));
    assert!(matches!(store::failed("write", full()).kind, Kind::DiskFull { .. }));
    let quota = io::Error::from_raw_os_error(rustix::io::Errno::DQUOT.raw_os_error());
    assert!(matches!(
        scene.store.write_failed("write", 7, quota).kind,
        Kind::DiskFull { .. }
    ));
    assert_eq!(
        store::failed("write", io::ErrorKind::PermissionDenied.into()).kind,
        Kind::StoreUnusable
    );
}
