use std::fs::File;

use super::{
    super::{
        blobs,
        manifest::{Kind, Layer},
    },
    *,
};

struct Scene {
    _folder: tempfile::TempDir,
    layout: Layout,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path().join("store"));
        layout.create().unwrap();
        Self {
            _folder: folder,
            layout,
        }
    }

    fn blob(&self, content: &[u8], hours: u64) -> Digest {
        let digest = Digest::of(content);
        blobs::put(&self.layout, &digest, content).unwrap();
        age(&self.layout.blob(&digest), hours);
        digest
    }

    fn model(&self, name: &str, digests: &[&Digest]) -> ModelName {
        let name: ModelName = name.parse().unwrap();
        let layers: Vec<_> = digests
            .iter()
            .map(|digest| Layer::new(Kind::Model, (*digest).clone(), 1))
            .collect();
        let manifest = Manifest::new(Layer::config(Digest::of(b"config"), 1), layers);
        blobs::commit(&self.layout, &name, &manifest.write().unwrap()).unwrap();
        name
    }

    fn has(&self, digest: &Digest) -> bool {
        self.layout.blob(digest).exists()
    }
}

fn age(path: &Path, hours: u64) {
    let time = SystemTime::now() - Duration::from_secs(hours * 3600);
    File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn old_unused_blobs_and_our_temporary_files_go() {
    let scene = Scene::new();
    let (used, unused, young) = (scene.blob(b"a", 2), scene.blob(b"b", 2), scene.blob(b"c", 0));
    scene.model("m", &[&used]);
    fs::write(scene.layout.temporary().join("1-1"), b"half").unwrap();
    at_open(&scene.layout);
    assert!(scene.has(&used) && !scene.has(&unused) && scene.has(&young));
    assert_eq!(fs::read_dir(scene.layout.temporary()).unwrap().count(), 0);
}

#[test]
fn nothing_goes_while_a_manifest_cannot_be_read() {
    let scene = Scene::new();
    let unused = scene.blob(b"b", 2);
    let name = scene.model("m", &[]);
    for content in [&b"{"[..], b"", b"{}", b"[1]"] {
        fs::write(scene.layout.manifest(&name), content).unwrap();
        at_open(&scene.layout);
        self::unused(&scene.layout, [unused.clone()], &Pins::default());
        assert!(scene.has(&unused));
    }
    fs::remove_file(scene.layout.manifest(&name)).unwrap();
    // Not manifests: too high, too deep, of no name.
    fs::write(scene.layout.manifests().join("x"), b"{").unwrap();
    let model = scene.layout.manifest(&name).parent().unwrap().to_owned();
    fs::create_dir(model.join("deep")).unwrap();
    fs::write(model.join("deep/er"), b"{").unwrap();
    fs::write(model.join(".DS_Store"), b"{").unwrap();
    at_open(&scene.layout);
    assert!(!scene.has(&unused));
}

#[test]
fn nothing_goes_while_another_process_downloads() {
    let scene = Scene::new();
    let unused = scene.blob(b"b", 2);
    let partial = scene.layout.blobs().join("sha256-x-partial-0");
    fs::write(&partial, b"half").unwrap();
    at_open(&scene.layout);
    assert!(scene.has(&unused));
    age(&partial, 2);
    at_open(&scene.layout);
    assert!(!scene.has(&unused));
    assert!(partial.exists(), "partial files of others are theirs");
}

#[test]
fn what_a_running_create_needs_stays() {
    let scene = Scene::new();
    let (pinned, shared, alone) = (scene.blob(b"a", 2), scene.blob(b"b", 2), scene.blob(b"c", 0));
    scene.model("m", &[&shared]);
    let pins = Pins::default();
    let mut pin = pins.begin();
    pin.pin(&pinned);
    let candidates = [pinned.clone(), shared.clone(), alone.clone(), Digest::of(b"absent")];
    unused(&scene.layout, candidates, &pins);
    assert!(scene.has(&pinned) && scene.has(&shared) && !scene.has(&alone));
}

#[test]
fn partial_files_stay_for_a_week_unless_they_are_of_no_use() {
    let scene = Scene::new();
    let make = |content: &[u8], hours: u64| {
        let digest = Digest::of(content);
        for path in [scene.layout.partial(&digest), scene.layout.record(&digest)] {
            fs::write(&path, b"x").unwrap();
            age(&path, hours);
        }
        digest
    };
    let (young, old, done, alone) = (make(b"a", 167), make(b"b", 169), make(b"c", 0), make(b"d", 0));
    scene.blob(b"c", 0);
    fs::remove_file(scene.layout.partial(&alone)).unwrap();
    // The record's own age says nothing.
    age(&scene.layout.record(&young), 1000);
    at_open(&scene.layout);
    let there = |digest| {
        (
            scene.layout.partial(digest).exists(),
            scene.layout.record(digest).exists(),
        )
    };
    assert_eq!(there(&young), (true, true));
    for gone in [&old, &done, &alone] {
        assert_eq!(there(gone), (false, false));
    }
}

/// The clock was wrong when the files were written, or is now.
#[test]
fn a_clock_that_jumps_costs_a_resume_at_most() {
    let scene = Scene::new();
    let (used, unused) = (scene.blob(b"used", 0), scene.blob(b"unused", 0));
    scene.model("m", &[&used]);
    let partial = Digest::of(b"half");
    let (file, record) = (scene.layout.partial(&partial), scene.layout.record(&partial));
    let later = SystemTime::now() + Duration::from_hours(50 * 365 * 24);
    let stamp = |time| {
        for path in [&file, &record] {
            fs::write(path, b"x").unwrap();
        }
        let blobs = [&used, &unused].map(|digest| scene.layout.blob(digest));
        for path in [&file, &record].into_iter().chain(&blobs) {
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
    };
    // Written by a clock that was ahead: of no age, and kept.
    stamp(later);
    at_open(&scene.layout);
    assert!(file.exists() && record.exists());
    assert!(scene.has(&used) && scene.has(&unused));
    // Written before the clock was set: what a manifest names stays whatever its age.
    stamp(SystemTime::UNIX_EPOCH);
    at_open(&scene.layout);
    assert!(!file.exists() && !record.exists());
    assert!(scene.has(&used) && !scene.has(&unused));
}
