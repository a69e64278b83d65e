//! Downloads from a registry that does as it is told, into a real store.

use std::{fs, path::PathBuf, time::Duration};

use self::double::{Act, Double};
use super::*;

mod double;
mod faults;
mod property;
mod resume;
mod shared;

/// A store and its downloads.
struct Scene {
    _folder: tempfile::TempDir,
    store: Arc<Store>,
    downloads: Downloads,
}

impl Scene {
    fn new() -> Self {
        Self::with(limits())
    }

    fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path().join("store")).unwrap());
        let downloads = Downloads::new(Arc::clone(&store), limits);
        Self {
            _folder: folder,
            store,
            downloads,
        }
    }

    fn fetch(&self, remote: &Arc<Double>) -> Download {
        self.downloads.fetch(remote.blob(), Arc::clone(remote) as _, None)
    }

    async fn run(&self, remote: &Arc<Double>) -> Result<bool, Error> {
        let ended = within(self.fetch(remote).ended()).await;
        self.check(remote, ended.is_ok());
        ended
    }

    /// The store holds the right blob or none, and nothing goes on.
    fn check(&self, remote: &Double, there: bool) {
        let blob = remote.blob();
        match fs::read(self.store.layout().blob(&blob.digest)) {
            Ok(bytes) => assert!(bytes == remote.content, "a wrong blob"),
            Err(_) => assert!(!there, "no blob"),
        }
        if there {
            assert!(!self.partial(remote).exists() && !self.record(remote).exists());
        }
        assert!(self.downloads.shared.running().is_empty());
        assert_eq!(
            self.downloads.shared.connections.available_permits(),
            limits().connections
        );
        assert_eq!(fs::read_dir(self.store.layout().temporary()).unwrap().count(), 0);
        assert_eq!(remote.open_bodies(), 0, "connections are left");
    }

    fn partial(&self, remote: &Double) -> PathBuf {
        self.store.layout().partial(&remote.blob().digest)
    }

    fn record(&self, remote: &Double) -> PathBuf {
        self.store.layout().record(&remote.blob().digest)
    }
}

/// Small enough that every mechanism works on a few kilobytes.
fn limits() -> Limits {
    Limits {
        connections_per_blob: 4,
        connections: 6,
        part: 8 << 10,
        smallest_part: 2 << 10,
        batch: 512,
        record: 4 << 10,
        stall: Duration::from_millis(40),
        no_progress: Duration::from_secs(5),
        tries: 4,
        first_wait: Duration::from_millis(1),
        longest_wait: Duration::from_millis(4),
    }
}

/// Nothing here may hang.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.unwrap()
}

/// Open descriptors of this process that name a file under `folder`, where the system tells.
fn descriptors(folder: &std::path::Path) -> usize {
    let Ok(open) = fs::read_dir("/proc/self/fd") else {
        return 0;
    };
    let links = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links.filter(|link| link.starts_with(folder)).count()
}
