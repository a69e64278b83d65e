use std::{fs, time::Duration};

use super::{
    super::{
        blobs,
        manifest::{Config, Kind, Layer, Manifest},
    },
    *,
};
use crate::{
    gguf::{TensorKind, build::Builder},
    model::Digest,
};

struct Scene {
    _folder: tempfile::TempDir,
    layout: Layout,
    scan: Scan,
}

impl Scene {
    fn new(models: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path().join("store"));
        layout.create().unwrap();
        let scan = Scan::default();
        let scene = Self {
            _folder: folder,
            layout,
            scan,
        };
        let file = Builder::new("llama")
            .tensor("a", &[32], TensorKind::F32, &[0; 128])
            .finish();
        let layers = vec![scene.blob(Kind::Model, &file)];
        let config = Config::gguf("llama", "32".to_owned(), "F32", &layers).write().unwrap();
        let config = Layer::config(scene.blob(Kind::Other, &config).digest, config.len() as u64);
        let manifest = Manifest::new(config, layers).write().unwrap();
        for number in 0..models {
            let name = format!("m{number}").parse().unwrap();
            blobs::commit(&scene.layout, &name, &manifest).unwrap();
        }
        scene
    }

    fn blob(&self, kind: Kind, bytes: &[u8]) -> Layer {
        let digest = Digest::of(bytes);
        blobs::put(&self.layout, &digest, bytes).unwrap();
        Layer::new(kind, digest, bytes.len() as u64)
    }

    fn all(&mut self) -> Vec<Arc<ModelInfo>> {
        self.scan.all(&self.layout).unwrap()
    }

    /// Lists as if the clock were `later`, so that what is new now has settled.
    fn later(&mut self, later: Duration) -> Vec<Arc<ModelInfo>> {
        self.scan.walk(&self.layout, None, SystemTime::now() + later).unwrap()
    }
}

#[test]
fn what_has_settled_is_not_read_again_and_what_is_new_is() {
    let mut scene = Scene::new(3);
    let first = scene.later(Duration::from_secs(10));
    let second = scene.all();
    assert!(
        first.iter().zip(&second).all(|(a, b)| Arc::ptr_eq(a, b)),
        "from the cache"
    );
    let path = scene.layout.manifest(&"m1".parse().unwrap());
    fs::write(&path, "{").unwrap();
    assert_eq!(scene.all().len(), 2);
    fs::remove_file(&path).unwrap();
    fs::remove_dir(path.parent().unwrap()).unwrap();
    assert_eq!(scene.all().len(), 2);
    fs::remove_dir_all(scene.layout.manifests().join("registry.ollama.ai")).unwrap();
    assert_eq!(scene.all().len(), 0);
}

#[test]
fn a_blob_cut_in_place_is_seen_at_once_by_name() {
    let mut scene = Scene::new(1);
    let name: ModelName = "m0".parse().unwrap();
    assert_eq!(scene.later(Duration::from_secs(10)).len(), 1);
    for blob in fs::read_dir(scene.layout.blobs()).unwrap() {
        fs::write(blob.unwrap().path(), "cut").unwrap();
    }
    assert!(scene.scan.find(&scene.layout, &name).unwrap().is_none());
    assert_eq!(scene.all().len(), 0, "what was found by name is known to the list");
}
