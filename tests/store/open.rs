use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime},
};

use model_control::backend::{
    Backend as _,
    embedded::{Embedded, OpenError},
};

use crate::support::{Scene, model};

#[test]
fn one_process_has_a_store() {
    let scene = Scene::new();
    let error = Embedded::open(scene.path("")).unwrap_err();
    let OpenError::Locked { pid, .. } = &error else {
        panic!("{error:?}");
    };
    assert_eq!(*pid, Some(std::process::id()));
    assert!(
        error.to_string().contains(&format!("(pid {})", std::process::id())),
        "{error}"
    );
}

#[test]
fn folders_are_made_as_ollama_makes_them() {
    let scene = Scene::new();
    let mode = |path| fs::metadata(scene.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(".model-control"), 0o700);
    assert_eq!(mode("blobs") & 0o700, 0o700);
    assert_eq!(mode("manifests") & 0o700, 0o700);
    let file = scene.path("").join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Embedded::open(file), Err(OpenError::Io { .. })));
}

/// Each state in which a killed process may leave a store.
#[tokio::test]
async fn what_a_killed_process_left_is_cleared_and_nothing_whole_is_lost() {
    let scene = Scene::new();
    let whole = scene.made("whole", &model(1)).await;
    let Scene { folder, engine } = scene;
    drop(engine);
    let store = folder.path().join("store");
    // Killed while it copied.
    fs::write(store.join(".model-control/tmp/1-0"), &model(2)[..500]).unwrap();
    // Killed when blobs were there and the manifest was not: kept for an hour, then removed.
    let blob = |name: &str, age: u64| {
        let path = store.join("blobs").join(format!("sha256-{name}"));
        fs::write(&path, "orphan").unwrap();
        let time = SystemTime::now() - Duration::from_secs(age);
        File::open(&path).unwrap().set_modified(time).unwrap();
        path
    };
    let (young, old) = (blob(&"a".repeat(64), 60), blob(&"b".repeat(64), 7200));
    // Killed between the folders of a name and its manifest.
    fs::create_dir_all(store.join("manifests/registry.ollama.ai/library/half")).unwrap();

    let scene = Scene {
        engine: Embedded::open(store).unwrap(),
        folder,
    };
    assert_eq!(scene.engine.list().await.unwrap(), [whole]);
    scene.assert_clean();
    assert!(young.exists());
    assert!(!old.exists());
    scene.made("half", &model(2)).await;
    assert_eq!(scene.names().await, ["half:latest", "whole:latest"]);
}
