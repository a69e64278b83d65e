use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink},
    path::{Path, PathBuf},
};

use model_control::{
    backend::{Backend as _, Kind::Unreachable},
    model::Digest,
};

use crate::support::{Scene, model};

/// By the tool: the system call differs from system to system.
fn pipe(path: &Path) {
    let status = std::process::Command::new("mkfifo").arg(path).status().unwrap();
    assert!(status.success());
}

/// What may happen to a store, and must hide nothing but what it breaks.
#[tokio::test]
async fn a_broken_model_hides_no_other() {
    type Harm = fn(manifest: &Path, blob: &Path);
    let harms: &[(&str, Harm)] = &[
        ("truncated", |manifest, _| {
            fs::write(manifest, &fs::read(manifest).unwrap()[..100]).unwrap();
        }),
        ("empty", |manifest, _| fs::write(manifest, "").unwrap()),
        ("no fields", |manifest, _| fs::write(manifest, "{}").unwrap()),
        ("wrong types", |manifest, _| {
            fs::write(manifest, r#"{"config":1,"layers":"x"}"#).unwrap();
        }),
        ("huge", |manifest, _| fs::write(manifest, vec![b' '; 5 << 20]).unwrap()),
        ("a pipe", |manifest, _| {
            fs::remove_file(manifest).unwrap();
            pipe(manifest);
        }),
        ("a folder", |manifest, _| {
            fs::remove_file(manifest).unwrap();
            fs::create_dir(manifest).unwrap();
        }),
        ("a link to nothing", |manifest, _| {
            fs::remove_file(manifest).unwrap();
            symlink("nowhere", manifest).unwrap();
        }),
        ("a link to itself", |manifest, _| {
            fs::remove_file(manifest).unwrap();
            symlink(manifest, manifest).unwrap();
        }),
        ("a device", |manifest, _| {
            fs::remove_file(manifest).unwrap();
            symlink("/dev/zero", manifest).unwrap();
        }),
        ("no blob", |_, blob| fs::remove_file(blob).unwrap()),
        ("a short blob", |_, blob| fs::write(blob, "short").unwrap()),
        ("a blob that is a folder", |_, blob| {
            fs::remove_file(blob).unwrap();
            fs::create_dir(blob).unwrap();
        }),
        ("a blob that is a pipe", |_, blob| {
            fs::remove_file(blob).unwrap();
            pipe(blob);
        }),
        ("a blob of other bytes", |_, blob| {
            let size = fs::metadata(blob).unwrap().len();
            fs::write(blob, vec![0; usize::try_from(size).unwrap()]).unwrap();
        }),
    ];
    for (what, harm) in harms {
        let scene = Scene::new();
        scene.made("broken", &model(1)).await;
        scene.made("whole", &model(2)).await;
        harm(
            &scene.manifest("broken:latest"),
            &scene.blob(&scene.weights("broken:latest")),
        );
        assert_eq!(scene.names().await, ["whole:latest"], "{what}");
        assert_eq!(scene.inspect("broken").await, None, "{what}");
        assert!(scene.inspect("whole").await.is_some(), "{what}");
        // And a create of that name repairs it, where something can be put in its place.
        let result = scene.create(scene.spec("broken", &model(1))).await;
        if what.contains("a folder") {
            result.unwrap_err();
            assert_eq!(scene.names().await, ["whole:latest"], "{what}");
        } else {
            result.unwrap();
            assert_eq!(scene.names().await, ["broken:latest", "whole:latest"], "{what}");
        }
        scene.assert_clean();
    }
}

#[tokio::test]
async fn odd_things_in_the_tree_are_passed_over() {
    let scene = Scene::new();
    scene.made("a", &model(1)).await;
    let manifests = scene.path("manifests");
    let library = manifests.join("registry.ollama.ai/library");
    fs::write(manifests.join("file"), "x").unwrap();
    fs::write(library.join("file"), "x").unwrap();
    fs::create_dir_all(library.join("deep/er/than/that")).unwrap();
    fs::create_dir_all(library.join("empty")).unwrap();
    let whole = fs::read(scene.manifest("a:latest")).unwrap();
    for bad in ["a/.hidden", "a/with space", "a/é"] {
        fs::write(library.join(bad), &whole).unwrap();
    }
    symlink("..", library.join("up")).unwrap();
    fs::write(library.join("a").join(std::ffi::OsStr::from_bytes(b"\xff")), &whole).unwrap();
    assert_eq!(scene.names().await, ["a:latest"]);
    // A link to a manifest is one, as for Ollama.
    symlink("latest", library.join("a/linked")).unwrap();
    assert_eq!(scene.names().await, ["a:latest", "a:linked"]);
}

#[tokio::test]
async fn of_two_casings_the_first_in_order_is_listed() {
    let scene = Scene::new();
    scene.made("m:q4", &model(1)).await;
    let other = scene.path("manifests/registry.ollama.ai/library/M");
    fs::create_dir(&other).unwrap();
    fs::copy(scene.manifest("m:q4"), other.join("Q4")).unwrap();
    assert_eq!(scene.names().await, ["M:Q4"]);
    assert_eq!(scene.inspect("m:q4").await.unwrap().name.to_string(), "M:Q4");
    fs::remove_file(other.join("Q4")).unwrap();
    assert_eq!(scene.names().await, ["m:q4"]);
}

#[tokio::test]
async fn what_another_process_does_is_seen() {
    let scene = Scene::new();
    scene.made("a", &model(1)).await;
    scene.made("b", &model(2)).await;
    assert_eq!(scene.names().await.len(), 2);
    // Written in place, as Ollama does, with the same size: only the times tell.
    let other = fs::read(scene.manifest("b:latest")).unwrap();
    fs::write(scene.manifest("a:latest"), &other).unwrap();
    assert_eq!(scene.inspect("a").await.unwrap().digest, Digest::of(&other));
    fs::remove_file(scene.manifest("a:latest")).unwrap();
    assert_eq!(scene.names().await, ["b:latest"]);
    fs::create_dir_all(scene.path("manifests/hf.co/u/r")).unwrap();
    fs::write(scene.path("manifests/hf.co/u/r/8b"), &other).unwrap();
    assert_eq!(scene.names().await, ["b:latest", "hf.co/u/r:8b"]);
    fs::remove_file(scene.blob(&scene.weights("b:latest"))).unwrap();
    assert!(scene.names().await.is_empty());
}

#[tokio::test]
async fn a_store_that_is_gone_is_an_error_and_not_empty() {
    let scene = Scene::new();
    scene.made("a", &model(1)).await;
    let moved: PathBuf = scene.folder.path().join("elsewhere");
    fs::rename(scene.path(""), &moved).unwrap();
    assert_eq!(scene.engine.list().await.unwrap_err().kind, Unreachable);
    assert_eq!(scene.engine.probe().await.unwrap_err().kind, Unreachable);
    fs::rename(&moved, scene.folder.path().join("store")).unwrap();
    assert_eq!(scene.names().await, ["a:latest"]);
}

/// As a real Ollama and registries write them.
#[tokio::test]
async fn models_of_others_are_listed() {
    let scene = Scene::new();
    scene.made("a", &model(1)).await;
    let weights = scene.weights("a:latest");
    let size = fs::metadata(scene.blob(&weights)).unwrap().len();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(bytes);
        fs::write(scene.blob(&digest), bytes).unwrap();
        (digest, bytes.len())
    };
    let (config, config_size) = put(br#"{"model_format":"gguf","model_family":"x","model_families":null,"model_type":"115.58K","file_type":"Q4_0","more":[1]}"#);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
            "config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{config}","size":{config_size}}},
            "layers":[{{"mediaType":"application/vnd.ollama.image.model","digest":"{weights}","size":{size},"from":"/x"}}]}}"#
    );
    fs::write(scene.path("manifests/registry.ollama.ai/library/a/oci"), manifest).unwrap();
    let info = scene.inspect("a:oci").await.unwrap();
    assert_eq!(info.families, ["llama"]);
    assert_eq!(
        (info.parameter_size.as_str(), info.quantization_level.as_str()),
        ("115.58K", "Q4_0")
    );

    let (config, config_size) = put(br#"{"model_format":"safetensors","model_family":"gemma","model_type":"1B"}"#);
    let (tensor, tensor_size) = put(b"tensor");
    let manifest = format!(
        r#"{{"config":{{"digest":"{config}","size":{config_size}}},
            "layers":[{{"mediaType":"application/vnd.ollama.image.tensor","digest":"{tensor}","size":{tensor_size}}}]}}"#
    );
    fs::write(scene.path("manifests/registry.ollama.ai/library/a/st"), manifest).unwrap();
    let info = scene.inspect("a:st").await.unwrap();
    assert_eq!((info.format.as_str(), info.family.as_str()), ("safetensors", "gemma"));
    assert_eq!(info.parameter_count, None);
}
