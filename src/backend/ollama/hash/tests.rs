use std::{fs, path::Path, sync::Arc, time::Duration};

use super::*;
use crate::{
    backend::{Call, Cancelled, Done, Next, call},
    source::Opened,
};

struct Scene {
    folder: tempfile::TempDir,
    memory: Memory,
    /// How long before the reading everything was written.
    age: Duration,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::open(&folder.path().join("state"));
        let age = Duration::ZERO;
        Self { folder, memory, age }
    }

    fn path(&self, index: usize) -> std::path::PathBuf {
        self.folder.path().join(format!("{index}.gguf"))
    }

    /// Files of these sizes, of zeros.
    fn files(&self, sizes: &[u64]) -> Files {
        let file = |(index, &size): (usize, &u64)| {
            let path = self.path(index);
            fs::File::create(&path).unwrap().set_len(size).unwrap();
            upload(&path)
        };
        Files {
            files: sizes.iter().enumerate().map(file).collect(),
            adapters: Vec::new(),
        }
    }

    fn hashing(&self, files: Files) -> (Box<dyn Call>, Arc<Mutex<Vec<Digest>>>) {
        let (memory, digests) = (self.memory.clone(), Arc::new(Mutex::new(Vec::new())));
        let (out, began) = (Arc::clone(&digests), SystemTime::now() + self.age);
        let call = call::blocking(move |reporter| {
            *out.lock().unwrap() = all_from(&files, &memory, &reporter, began)?;
            Ok(Done::default())
        });
        (call, digests)
    }

    async fn run(&self, files: Files) -> (Vec<Event>, Result<Vec<Digest>, Error>) {
        let (mut call, digests) = self.hashing(files);
        let mut events = Vec::new();
        loop {
            match call.next().await {
                Next::Event(event) => events.push(event),
                Next::Ended(ended) => return (events, ended.map(|_| digests.lock().unwrap().clone())),
            }
        }
    }
}

fn upload(path: &Path) -> UploadFile {
    let opened = Opened {
        file_name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        file: Arc::new(fs::File::open(path).unwrap()),
    };
    UploadFile {
        name: opened.file_name.clone(),
        source: File::new(&opened).unwrap(),
    }
}

#[tokio::test]
async fn digests_come_in_the_order_of_the_files() {
    let scene = Scene::new();
    let sizes = [3 << 20, 1, (17 << 20) + 5, 4096, (1 << 20) + 1];
    let (events, digests) = scene.run(scene.files(&sizes)).await;
    let expected: Vec<_> = sizes
        .iter()
        .map(|&size| Digest::of(&vec![0; usize::try_from(size).unwrap()]))
        .collect();
    assert_eq!(digests.unwrap(), expected);
    let names = (0..5).map(|index| format!("{index}.gguf")).collect();
    assert_eq!(events[0], Event::Entered(Phase::Hashing(names)));
    let total = sizes.iter().sum();
    assert_eq!(events[1], Event::Total(total));
    let bytes: Vec<_> = events[2..]
        .iter()
        .map(|event| {
            if let Event::Bytes(bytes) = event {
                *bytes
            } else {
                panic!("{event:?}")
            }
        })
        .collect();
    assert!(bytes.len() > 2 && bytes.is_sorted(), "{bytes:?}");
    assert_eq!(bytes.last(), Some(&total));
}

#[tokio::test]
async fn what_has_not_changed_is_not_read_again() {
    let mut scene = Scene::new();
    let sizes = [1000, 2000];
    let first = scene.run(scene.files(&sizes)).await.1.unwrap();
    // Too fresh to be remembered.
    let again = |scene: &Scene| Files {
        files: vec![upload(&scene.path(0)), upload(&scene.path(1))],
        adapters: Vec::new(),
    };
    let (events, _) = scene.run(again(&scene)).await;
    assert_eq!(events[1], Event::Total(3000));
    scene.age = Duration::from_secs(10);
    let (events, _) = scene.run(again(&scene)).await;
    assert_eq!(events[1], Event::Total(3000));
    let (events, digests) = scene.run(again(&scene)).await;
    assert_eq!((events.len(), digests.unwrap()), (0, first));
    // One that changed is read, alone.
    fs::write(scene.path(1), "other").unwrap();
    let (events, digests) = scene.run(again(&scene)).await;
    assert_eq!(events[0], Event::Entered(Phase::Hashing(vec!["1.gguf".to_owned()])));
    assert_eq!(digests.unwrap()[1], Digest::of(b"other"));
    // One that was known and changed after it was checked is not sent.
    let files = again(&scene);
    fs::write(scene.path(0), "changed").unwrap();
    let error = scene.run(files).await.1.unwrap_err();
    assert_eq!(error.kind, Kind::SourceNotUsable);
    assert!(error.message.starts_with("`0.gguf` changed"), "{}", error.message);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_fails_and_is_not_remembered() {
    let mut scene = Scene::new();
    scene.age = Duration::from_secs(10);
    for change in [1_u64 << 30, 1] {
        let files = scene.files(&[256 << 20, 5]);
        let (mut call, _) = scene.hashing(files);
        let error = loop {
            match call.next().await {
                Next::Event(Event::Bytes(_)) => {
                    fs::File::options()
                        .write(true)
                        .open(scene.path(0))
                        .unwrap()
                        .set_len(change)
                        .unwrap();
                }
                Next::Event(_) => {}
                Next::Ended(ended) => break ended.unwrap_err(),
            }
        };
        assert_eq!(error.kind, Kind::SourceNotUsable);
        assert!(error.message.starts_with("`0.gguf` changed"), "{}", error.message);
        assert_eq!(scene.memory.get(&upload(&scene.path(0)).source.stamp), None);
    }
}

#[tokio::test]
async fn hashing_stops_when_it_is_not_wanted() {
    let scene = Scene::new();
    // More than could be read in the time of a test.
    let (mut call, _) = scene.hashing(scene.files(&[1 << 40, 1 << 40, 1 << 40]));
    while !matches!(call.next().await, Next::Event(Event::Bytes(_))) {}
    assert!(matches!(call.cancel().await, Cancelled::Stopped));
}
