use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use model_control::{
    backend::{Backend as _, Cancelled, Kind},
    gguf::{Header, TensorKind},
    model::{ChatMessage, Digest, Event, ImportOptions, ModelCapability, Phase},
    source::Source,
};

use crate::support::{Scene, adapter, builder, model};

#[tokio::test]
async fn a_file_becomes_a_listed_model() {
    let scene = Scene::new();
    let bytes = model(1);
    let before = fs::metadata(scene.folder.path()).unwrap().dev();
    let (events, done) = scene.follow(scene.spec("Tiny", &bytes)).await;
    let done = done.unwrap();
    assert!(done.changed);
    let provenance = done.provenance.unwrap();
    assert_eq!(provenance.stored_digest, Digest::of(&bytes));
    assert_eq!(provenance.sources[0].digest, Digest::of(&bytes));
    assert_eq!(provenance.sources[0].file_name, "model.gguf");

    let info = scene.inspect("tiny").await.unwrap();
    assert_eq!(info.name.to_string(), "Tiny:latest");
    assert_eq!((info.format.as_str(), info.family.as_str()), ("gguf", "llama"));
    assert_eq!(info.families, ["llama"]);
    assert_eq!(info.parameter_count, Some(64 * 16 + 64));
    assert_eq!(
        (info.parameter_size.as_str(), info.quantization_level.as_str()),
        ("1K", "F16")
    );
    assert_eq!((info.context_length, info.embedding_length), (Some(512), Some(64)));
    assert_eq!(info.capabilities, [ModelCapability::Completion]);
    let manifest = fs::read(scene.manifest("Tiny:latest")).unwrap();
    assert_eq!(info.digest, Digest::of(&manifest));
    assert_eq!(scene.engine.list().await.unwrap(), [info]);
    assert_eq!(fs::read(scene.blob(&Digest::of(&bytes))).unwrap(), bytes);
    scene.assert_clean();

    let source = scene.folder.path().join("model.gguf");
    assert_eq!(fs::read(&source).unwrap(), bytes, "the caller's file is as it was");
    assert_eq!(fs::metadata(&source).unwrap().nlink(), 1);
    assert_eq!(fs::metadata(&source).unwrap().dev(), before);
    assert_phases(&events, &["parsing", "uploading", "writing"]);
    let last = events.iter().rev().find_map(|event| match event {
        Event::Layer(layer) => Some(layer.clone()),
        _ => None,
    });
    let last = last.unwrap();
    assert_eq!(
        (last.completed_bytes, last.total_bytes),
        (bytes.len() as u64, Some(bytes.len() as u64))
    );
    assert!(events.contains(&Event::Total(bytes.len() as u64)));
}

fn assert_phases(events: &[Event], wanted: &[&str]) {
    let phases: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Entered(phase) => Some(phase.name()),
            _ => None,
        })
        .collect();
    assert_eq!(phases, wanted);
}

#[tokio::test]
async fn the_same_again_is_nothing_to_do() {
    let scene = Scene::new();
    let bytes = model(1);
    let first = scene.made("a", &bytes).await;
    for replace in [false, true] {
        let mut spec = scene.spec("A", &bytes);
        spec.replace = replace;
        let (events, done) = scene.follow(spec).await;
        let done = done.unwrap();
        assert!(!done.changed);
        assert_eq!(done.provenance.unwrap().sources[0].digest, Digest::of(&bytes));
        assert_phases(&events, &["parsing", "hashing"]);
    }
    assert_eq!(scene.inspect("a").await.unwrap(), first);
    assert_eq!(scene.names().await, ["a:latest"]);
}

#[tokio::test]
async fn other_content_takes_a_name_only_when_asked() {
    let scene = Scene::new();
    let first = scene.made("a", &model(1)).await;
    let old = scene.weights("a:latest");
    // The same size, another size, another option.
    let larger = builder(1).tensor("c", &[32], TensorKind::F32, &[0; 128]).finish();
    let mut with_system = scene.spec("a", &model(1));
    with_system.options.system = Some("be kind".to_owned());
    for spec in [scene.spec("a", &model(2)), scene.spec("a", &larger), with_system] {
        assert_eq!(scene.create(spec).await.unwrap_err().kind, Kind::Exists);
    }
    assert_eq!(scene.inspect("a").await.unwrap(), first);

    let mut spec = scene.spec("A", &model(2));
    spec.replace = true;
    assert!(scene.create(spec).await.unwrap().changed);
    let second = scene.inspect("a").await.unwrap();
    assert_eq!(second.name.to_string(), "a:latest", "the spelling on disk stays");
    assert_ne!(second.digest, first.digest);
    assert!(!scene.blob(&old).exists(), "blobs that nobody needs go");
    assert!(scene.blob(&scene.weights("a:latest")).exists());
    scene.assert_clean();
}

#[tokio::test]
async fn what_another_model_needs_stays_when_one_is_replaced() {
    let scene = Scene::new();
    scene.made("a", &model(1)).await;
    scene.made("b", &model(1)).await;
    let shared = scene.weights("a:latest");
    let mut spec = scene.spec("a", &model(2));
    spec.replace = true;
    scene.create(spec).await.unwrap();
    assert!(scene.blob(&shared).exists());
    assert_eq!(scene.names().await, ["a:latest", "b:latest"]);
    // Only the options change: the weights that are there are used.
    let mut spec = scene.spec("b", &model(1));
    spec.replace = true;
    spec.options.system = Some("be kind".to_owned());
    let (events, done) = scene.follow(spec).await;
    assert!(done.unwrap().changed);
    assert_phases(&events, &["parsing", "hashing", "uploading", "writing"]);
    assert_eq!(scene.weights("b:latest"), shared);
}

#[tokio::test]
async fn nothing_is_replaced_away_beside_an_unreadable_manifest() {
    let scene = Scene::new();
    scene.made("a", &model(1)).await;
    scene.made("b", &model(3)).await;
    fs::write(scene.manifest("b:latest"), "{").unwrap();
    let old = scene.weights("a:latest");
    let mut spec = scene.spec("a", &model(2));
    spec.replace = true;
    scene.create(spec).await.unwrap();
    assert!(scene.blob(&old).exists(), "nobody knows what the broken manifest names");
}

#[tokio::test]
async fn options_become_layers() {
    let scene = Scene::new();
    let mut spec = scene.spec("full", &model(1));
    spec.adapters = vec![scene.source("adapter.gguf", &adapter("llama"))];
    spec.options = ImportOptions {
        template: Some("{{ .Tools }}{{ .Suffix }}{{ .Thinking }}".to_owned()),
        system: Some("S".to_owned()),
        license: vec!["L".to_owned(), "M".to_owned()],
        parameters: serde_json::from_str(r#"{"stop":["a","b"],"num_ctx":128}"#).unwrap(),
        messages: vec![ChatMessage {
            role: "user".to_owned(),
            content: "hi".to_owned(),
        }],
        quantize: Some("f16".to_owned()),
        ..ImportOptions::default()
    };
    let (events, done) = scene.follow(spec).await;
    let provenance = done.unwrap().provenance.unwrap();
    assert_eq!(provenance.sources.len(), 2);
    assert_eq!(provenance.sources[1].digest, Digest::of(&adapter("llama")));
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::Entered(Phase::Uploading(layers)) if layers.len() == 2))
    );
    let text = fs::read_to_string(scene.manifest("full:latest")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let kinds: Vec<_> = layers
        .iter()
        .map(|layer| layer["mediaType"].as_str().unwrap().rsplit('.').next().unwrap())
        .collect();
    let wanted = [
        "model", "adapter", "template", "system", "license", "license", "params", "messages",
    ];
    assert_eq!(kinds, wanted);
    let info = scene.inspect("full").await.unwrap();
    assert_eq!(
        info.capabilities,
        [
            ModelCapability::Completion,
            ModelCapability::Tools,
            ModelCapability::Insert,
            ModelCapability::Thinking
        ]
    );
    let size: u64 = layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert_eq!(info.size_bytes, size + manifest["config"]["size"].as_u64().unwrap());
}

#[tokio::test]
async fn a_split_model_becomes_one_file() {
    let scene = Scene::new();
    let parts = builder(7).split(&[1, 1]);
    let files: Vec<_> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| scene.file(&format!("m-0000{}-of-00002.gguf", index + 1), part))
        .collect();
    let mut spec = scene.spec("split", &model(1));
    spec.source = Source::Gguf(files);
    let again = || model_control::backend::CreateSpec {
        digest: None,
        name: spec.name.clone(),
        source: spec.source.clone(),
        adapters: Vec::new(),
        options: ImportOptions::default(),
        replace: false,
    };
    let provenance = scene.create(again()).await.unwrap().provenance.unwrap();
    let digests: Vec<_> = provenance.sources.iter().map(|source| source.digest.clone()).collect();
    assert_eq!(digests, [Digest::of(&parts[0]), Digest::of(&parts[1])]);
    let stored = fs::read(scene.blob(&provenance.stored_digest)).unwrap();
    let header = Header::read(&stored[..], stored.len() as u64).unwrap();
    assert!(header.split().is_none());
    assert_eq!(header.tensors.len(), 2);
    assert_eq!(
        scene.inspect("split").await.unwrap().parameter_count,
        Some(64 * 16 + 64)
    );
    let done = scene.create(again()).await.unwrap();
    assert!(!done.changed);
    assert_eq!(done.provenance.unwrap().sources, provenance.sources);
}

/// Sparse, so that it costs nothing until it is copied.
fn large(path: &Path, megabytes: u64) {
    let size = megabytes << 20;
    let header = builder(1).raw_tensor(b"big", &[size], 24, &[]).finish();
    fs::write(path, header).unwrap();
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(size + 8192)
        .unwrap();
}

fn opened(path: &Path) -> Source {
    Source::Gguf(vec![model_control::source::Opened {
        file_name: "large.gguf".to_owned(),
        file: std::sync::Arc::new(fs::File::open(path).unwrap()),
    }])
}

#[tokio::test]
async fn a_cancelled_create_stops_and_leaves_nothing() {
    let scene = Scene::new();
    let path = scene.folder.path().join("large.gguf");
    // Long enough to be left half-way; the store asks for as much free disk before it begins.
    large(&path, 1024);
    let mut spec = scene.spec("large", &model(1));
    spec.source = opened(&path);
    let mut call = scene.engine.create(spec).await.unwrap();
    // Until bytes flow.
    loop {
        match call.next().await {
            model_control::backend::Next::Event(Event::Layer(layer)) if layer.completed_bytes > 0 => break,
            model_control::backend::Next::Event(_) => {}
            model_control::backend::Next::Ended(ended) => panic!("{ended:?}"),
        }
    }
    let start = std::time::Instant::now();
    assert!(matches!(call.cancel().await, Cancelled::Stopped));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert!(scene.names().await.is_empty());
    assert_eq!(scene.blobs(), 0);
    scene.assert_clean();
}

#[tokio::test]
async fn a_source_that_changes_is_an_error() {
    let scene = Scene::new();
    let path = scene.folder.path().join("large.gguf");
    large(&path, 256);
    let mut spec = scene.spec("large", &model(1));
    spec.source = opened(&path);
    let mut call = scene.engine.create(spec).await.unwrap();
    let mut changed = false;
    let error = loop {
        match call.next().await {
            model_control::backend::Next::Event(Event::Entered(Phase::Uploading(_))) => {
                use std::os::unix::fs::FileExt as _;
                let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.write_all_at(b"x", 128 << 20).unwrap();
                changed = true;
            }
            model_control::backend::Next::Event(_) => {}
            model_control::backend::Next::Ended(ended) => break ended.unwrap_err(),
        }
    };
    assert!(changed);
    assert_eq!(error.kind, Kind::SourceNotUsable);
    assert!(
        error.message.contains("`large.gguf` changed while it was read"),
        "{}",
        error.message
    );
    assert_eq!(scene.blobs(), 0);
    scene.assert_clean();
}

#[tokio::test]
async fn many_creates_at_once_all_end_well() {
    let scene = Scene::new();
    let specs = (0..16_u8).map(|number| scene.spec(&format!("m{number}"), &model(number % 4)));
    let specs: Vec<_> = specs.collect();
    let sources: Vec<_> = (0..4)
        .map(|number| scene.source(&format!("{number}.gguf"), &model(number)))
        .collect();
    let work = specs.into_iter().enumerate().map(|(number, mut spec)| {
        spec.source = sources[number % 4].clone();
        scene.create(spec)
    });
    for done in futures::future::join_all(work).await {
        assert!(done.unwrap().changed);
    }
    assert_eq!(scene.names().await.len(), 16);
    scene.assert_clean();
}
