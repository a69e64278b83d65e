use std::{fs, sync::Arc};

use super::*;
use crate::{
    backend::Kind,
    gguf::{TensorKind, build::Builder},
    model::ImportOptions,
    source::{Bundle, open_unconfined},
};

const CONFIG: &[u8] = br#"{"architectures":["LlamaForCausalLM"],"x":{"architectures":7}}"#;

struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Opened {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        Opened {
            file_name: name.to_owned(),
            file: Arc::new(fs::File::open(path).unwrap()),
        }
    }

    fn gguf(&self, files: &[(&str, Vec<u8>)]) -> Source {
        Source::Gguf(files.iter().map(|(name, bytes)| self.put(name, bytes)).collect())
    }

    fn bundle(&self, weights: &[(&str, Vec<u8>)], companions: &[(&str, &[u8])]) -> Source {
        Source::Safetensors(Bundle {
            weights: weights.iter().map(|(name, bytes)| self.put(name, bytes)).collect(),
            companions: companions.iter().map(|(name, bytes)| self.put(name, bytes)).collect(),
        })
    }
}

fn builder(architecture: &str) -> Builder {
    Builder::new(architecture).tensor("a", &[1], TensorKind::F32, &[0; 4])
}

fn weights(tensor: &str) -> Vec<u8> {
    sized(
        &format!(r#"{{"{tensor}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}}"#),
        8,
    )
}

fn sized(header: &str, data: usize) -> Vec<u8> {
    let len = header.len() as u64;
    [&len.to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat()
}

fn check(source: Source, adapters: Vec<Source>) -> Result<Vec<String>, String> {
    let spec = CreateSpec {
        name: "m".parse().unwrap(),
        source,
        adapters,
        options: ImportOptions::default(),
        digest: None,
        replace: false,
    };
    let files = Files::check(&spec).map_err(|error| {
        assert_eq!(error.kind, Kind::FileInvalid, "{error}");
        error.message
    })?;
    assert!(
        files
            .all()
            .all(|file| file.size() > 0 && file.source.opened.metadata().unwrap().len() == file.size())
    );
    Ok(files.all().map(|file| file.name.clone()).collect())
}

#[track_caller]
fn refused(answer: Result<Vec<String>, String>, words: &str) {
    let told = answer.unwrap_err();
    assert!(told.contains(words), "{told}");
}

#[test]
fn ggufs_are_sent_under_names_that_ollama_knows() {
    let scene = Scene::new();
    let one = scene.gguf(&[("sha256-00", builder("llama").finish())]);
    assert_eq!(check(one, Vec::new()).unwrap(), ["sha256-00.gguf"]);
    let parts = builder("llama")
        .tensor("b", &[1], TensorKind::F32, &[0; 4])
        .split(&[1, 1]);
    let names = ["a:b-00001-of-00002.gguf", "a:b-00002-of-00002.gguf"];
    let split =
        |order: [usize; 2]| scene.gguf(&[(names[0], parts[order[0]].clone()), (names[1], parts[order[1]].clone())]);
    let sent = ["a_b-00001-of-00002.gguf", "a_b-00002-of-00002.gguf"];
    assert_eq!(check(split([0, 1]), Vec::new()).unwrap(), sent);
    refused(check(split([1, 0]), Vec::new()), "part 1 says it is part 2");
    let unnamed = scene.gguf(&[("one.gguf", parts[0].clone()), ("two.gguf", parts[1].clone())]);
    refused(check(unnamed, Vec::new()), "must be named");
    refused(
        check(scene.gguf(&[(names[0], parts[0].clone())]), Vec::new()),
        "must lie beside it",
    );
    let two = scene.gguf(&[
        ("one.gguf", builder("llama").finish()),
        ("two.gguf", builder("llama").finish()),
    ]);
    refused(check(two, Vec::new()), "not part of a split file");
    refused(
        check(scene.gguf(&[("x.gguf", b"GGUF".to_vec())]), Vec::new()),
        "`x.gguf`: the file ends",
    );
    refused(check(scene.gguf(&[]), Vec::new()), "no model file");
}

#[test]
fn models_adapters_and_projectors_are_told_apart() {
    let scene = Scene::new();
    let model = || scene.gguf(&[("m.gguf", builder("llama").finish())]);
    let adapter = |architecture| builder(architecture).text("general.type", "adapter").finish();
    let lora = || scene.gguf(&[("lora.gguf", adapter("llama"))]);
    assert_eq!(check(model(), vec![lora()]).unwrap(), ["m.gguf", "lora.gguf"]);
    refused(check(lora(), Vec::new()), "is an adapter, and a model is needed");
    refused(check(model(), vec![model()]), "is a whole model, and an adapter");
    refused(
        check(scene.gguf(&[("p.gguf", builder("clip").finish())]), Vec::new()),
        "the projector",
    );
    let other = scene.gguf(&[("q.gguf", adapter("qwen2"))]);
    refused(
        check(model(), vec![other]),
        "for the architecture `qwen2`, the model has `llama`",
    );
    refused(
        check(model(), vec![lora(), lora()]),
        "2 adapters were given, and Ollama takes one",
    );
    let empty = Builder::new("llama").text("general.type", "adapter").finish();
    refused(
        check(model(), vec![scene.gguf(&[("e.gguf", empty)])]),
        "`e.gguf` has no tensors",
    );
    let nameless = scene.gguf(&[(
        "n.gguf",
        Builder::empty().tensor("a", &[1], TensorKind::F32, &[0; 4]).finish(),
    )]);
    refused(check(nameless, Vec::new()), "names no architecture");

    let folder = |config| {
        scene.bundle(
            &[("adapter_model.safetensors", weights("a"))],
            &[("adapter_config.json", config)],
        )
    };
    let sent = ["m.gguf", "adapter_model.safetensors", "adapter_config.json"];
    assert_eq!(check(model(), vec![folder(b"{}")]).unwrap(), sent);
    refused(
        check(model(), vec![folder(b"[]")]),
        "`adapter_config.json` is no JSON object",
    );
    refused(
        check(model(), vec![folder(b"{\"a\":}")]),
        "`adapter_config.json` is not valid JSON at line 1",
    );
}

#[test]
fn a_safetensors_model_is_checked_whole() {
    let scene = Scene::new();
    let good = scene.bundle(
        &[
            ("model-00001-of-00002.safetensors", weights("a")),
            ("model-00002-of-00002.SafeTensors", weights("b")),
            ("sub/model.safetensors", weights("a")),
        ],
        &[("config.json", CONFIG), ("sub/config.json", b"{}"), ("empty.json", b"")],
    );
    assert_eq!(
        check(good, Vec::new()).unwrap(),
        [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "sub/model.safetensors",
            "config.json",
            "sub/config.json"
        ]
    );
    let one = |name: &str, bytes: Vec<u8>| scene.bundle(&[(name, bytes)], &[("config.json", CONFIG)]);
    refused(
        check(one("model-00001-of-00003.safetensors", weights("a")), Vec::new()),
        "`model-00002-of-00003.safetensors` is not among",
    );
    refused(
        check(
            one("m.safetensors", b"\xff\xff\xff\xff\xff\xff\xff\xff".to_vec()),
            Vec::new(),
        ),
        "`m.safetensors`: not a safetensors file",
    );
    refused(
        check(
            one("sub/m.safetensors", sized(r#"{"t":{"dtype":"F32","shape":[2]}}"#, 8)),
            Vec::new(),
        ),
        "`sub/m.safetensors`: the tensor \"t\" has no `data_offsets`",
    );
    // Small ones that converters pass over unread are none of our business.
    let unread = |bytes: usize| {
        sized(
            &format!(r#"{{"p":{{"dtype":"I8","shape":[{bytes}],"data_offsets":[0,{bytes}]}}}}"#),
            bytes,
        )
    };
    assert!(check(one("m.safetensors", unread(4096)), Vec::new()).is_ok());
    refused(
        check(one("m.safetensors", unread((16 << 20) + 1)), Vec::new()),
        "as I8, which Ollama does not convert",
    );
    let twice = scene.bundle(
        &[("a.safetensors", weights("t")), ("b.safetensors", weights("t"))],
        &[("config.json", CONFIG)],
    );
    refused(
        check(twice, Vec::new()),
        "`a.safetensors` and `b.safetensors` have a tensor of the same name",
    );
    let same = scene.bundle(
        &[("a.safetensors", weights("t")), ("a.SafeTensors", weights("u"))],
        &[("config.json", CONFIG)],
    );
    refused(check(same, Vec::new()), "two files would be sent as `a.safetensors`");
    refused(
        check(scene.bundle(&[("m.safetensors", weights("a"))], &[]), Vec::new()),
        "`config.json` is not among",
    );
}

#[test]
fn a_configuration_must_name_an_architecture() {
    let scene = Scene::new();
    for (config, words) in [
        (&b""[..], "is no JSON object"),
        (b"[\"LlamaForCausalLM\"]", "is no JSON object"),
        (b"{", "is not valid JSON at line 1"),
        (b"{} {}", "is not valid JSON at line 1, column 4"),
        (b"{}", "names no architecture"),
        (b"{\"architectures\":null}", "names no architecture"),
        (b"{\"architectures\":[]}", "names no architecture"),
        (b"{\"architectures\":[\"\"]}", "names no architecture"),
        (b"{\"architectures\":[7]}", "is not as expected at line 1"),
        (b"{\"architectures\":\"x\"}", "is not as expected at line 1"),
        (b"\xef\xbb\xbf{}", "is no JSON object"),
    ] {
        let source = scene.bundle(&[("m.safetensors", weights("a"))], &[("config.json", config)]);
        refused(check(source, Vec::new()), words);
    }
    let long = [b"{\"a\":\"", vec![b'x'; 1 << 20].as_slice(), b"\"}"].concat();
    let source = scene.bundle(&[("m.safetensors", weights("a"))], &[("config.json", &long)]);
    refused(check(source, Vec::new()), "has more than 1048576 bytes");
    let deep = [b"{\"a\":".to_vec(), vec![b'['; 1 << 19]].concat();
    let source = scene.bundle(&[("m.safetensors", weights("a"))], &[("config.json", &deep)]);
    refused(check(source, Vec::new()), "is not valid JSON");
}

#[test]
fn a_folder_becomes_what_is_sent() {
    let scene = Scene::new();
    scene.put("m/model.safetensors", &weights("a"));
    scene.put("m/config.json", CONFIG);
    scene.put("m/tokenizer.json", b"{}");
    let source = crate::source::gather_model(open_unconfined(&scene.0.path().join("m")).unwrap()).unwrap();
    assert_eq!(
        check(source, Vec::new()).unwrap(),
        ["model.safetensors", "config.json", "tokenizer.json"]
    );
}
