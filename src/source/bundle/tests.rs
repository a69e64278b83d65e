use std::{fs, os::unix::fs::symlink, path::PathBuf};

use crate::source::{Error, Opened, Roots, Source, gather_adapter, gather_model, open_unconfined};

/// A root with these files, each with its own name as content; a name that ends in `/` is a folder, one in `!` is empty.
struct Fixture {
    _base: tempfile::TempDir,
    root: PathBuf,
    roots: Roots,
}

impl Fixture {
    fn new(files: &[&str]) -> Self {
        let base = tempfile::tempdir().unwrap();
        let root = base.path().join("models");
        fs::create_dir(&root).unwrap();
        let roots = Roots::new(std::slice::from_ref(&root)).unwrap();
        let fixture = Self {
            _base: base,
            root,
            roots,
        };
        for file in files {
            fixture.put(file);
        }
        fixture
    }

    fn put(&self, file: &str) {
        let path = self.root.join(file.trim_end_matches('!'));
        if file.ends_with('/') {
            return fs::create_dir_all(path).unwrap();
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, if file.ends_with('!') { "" } else { file }).unwrap();
    }

    fn model(&self, path: &str) -> Result<String, String> {
        told(gather_model(
            self.roots.open(self.root.join(path).to_str().unwrap()).unwrap(),
        ))
    }

    fn adapter(&self, path: &str) -> Result<String, String> {
        told(gather_adapter(
            self.roots.open(self.root.join(path).to_str().unwrap()).unwrap(),
        ))
    }
}

fn told(answer: Result<Source, Error>) -> Result<String, String> {
    let names = |files: &[Opened]| {
        let names: Vec<_> = files.iter().map(|file| file.file_name.as_str()).collect();
        names.join(" ")
    };
    match answer {
        Ok(Source::Safetensors(bundle)) => {
            assert!(
                bundle
                    .weights
                    .iter()
                    .all(|file| file.file.metadata().unwrap().len() > 0)
            );
            assert!(
                bundle
                    .companions
                    .iter()
                    .all(|file| file.file.metadata().unwrap().len() > 0)
            );
            Ok(format!("{} + {}", names(&bundle.weights), names(&bundle.companions)))
        }
        Ok(Source::Gguf(files)) => Ok(format!("gguf {}", names(&files))),
        Err(error) => Err(error.to_string()),
    }
}

#[track_caller]
fn gives(answer: &Result<String, String>, wanted: &str) {
    assert_eq!(answer.as_deref(), Ok(wanted));
}

#[track_caller]
fn fails(answer: &Result<String, String>, words: &str) {
    let told = answer.as_ref().unwrap_err();
    assert!(told.contains(words), "{told}");
}

#[test]
fn a_model_is_what_ollamas_own_client_sends() {
    let fixture = Fixture::new(&[
        "m/model-00001-of-00002.safetensors",
        "m/model-00002-of-00002.safetensors",
        "m/model.safetensors.index.json",
        "m/config.json",
        "m/tokenizer.json",
        "m/tokenizer.model",
        "m/chat_template.jinja",
        "m/README.md",
        "m/consolidated.safetensors",
        "m/optimizer.safetensors",
        "m/pytorch_model.bin",
        "m/empty.json!",
        "m/.hidden.json",
        "m/folder.json/x",
        "m/sub/config.json",
        "m/sub/model.safetensors",
        "m/sub/other.safetensors",
        "m/sub/tokenizer.model",
        "m/sub/chat_template.jinja",
        "m/sub/deeper/config.json",
        "m/.git/config.json",
    ]);
    gives(
        &fixture.model("m"),
        "model-00001-of-00002.safetensors model-00002-of-00002.safetensors sub/model.safetensors \
         + chat_template.jinja config.json model.safetensors.index.json tokenizer.json tokenizer.model sub/config.json",
    );
    let unconfined = open_unconfined(&fixture.root.join("m")).unwrap();
    assert_eq!(told(gather_model(unconfined)), fixture.model("m"));

    let fixture = Fixture::new(&[
        "m/consolidated.00.safetensors",
        "m/params.json",
        "m/config.json",
        "m/other.safetensors",
        "m/original/tokenizer.model",
        "m/original/consolidated.safetensors",
    ]);
    gives(
        &fixture.model("m"),
        "consolidated.00.safetensors + config.json params.json original/tokenizer.model",
    );
    let fixture = Fixture::new(&["m/llama.safetensors", "m/config.json", "m/sub/model.safetensors"]);
    gives(&fixture.model("m"), "llama.safetensors + config.json");
}

#[test]
fn an_adapter_is_its_weights_and_its_configuration() {
    let fixture = Fixture::new(&[
        "a/adapter_config.json",
        "a/adapter_model.safetensors",
        "a/tokenizer.json",
        "a/other.safetensors",
        "a/sub/adapter_model.safetensors",
    ]);
    gives(&fixture.adapter("a"), "adapter_model.safetensors + adapter_config.json");
    fails(&fixture.model("a"), "give it as an adapter");
    let fixture = Fixture::new(&["a/adapter_config.json", "a/lora.safetensors", "a/config.json"]);
    gives(&fixture.adapter("a"), "lora.safetensors + adapter_config.json");
    gives(
        &fixture.adapter("a/lora.safetensors"),
        "lora.safetensors + adapter_config.json",
    );
    let fixture = Fixture::new(&["a/lora.safetensors", "a/config.json"]);
    fails(&fixture.adapter("a"), "`a` lacks `adapter_config.json`");
    let fixture = Fixture::new(&["a/adapter_config.json", "a/adapter_model.bin"]);
    fails(&fixture.adapter("a"), "PyTorch weights (`adapter_model.bin`)");
}

#[test]
fn a_lone_file_stands_for_its_folder() {
    let fixture = Fixture::new(&["m/model.safetensors", "m/config.json", "m/sub/tokenizer.model"]);
    let all = "model.safetensors + config.json sub/tokenizer.model";
    gives(&fixture.model("m/model.safetensors"), all);
    let unconfined = open_unconfined(&fixture.root.join("m/model.safetensors")).unwrap();
    assert_eq!(told(gather_model(unconfined)).unwrap(), all);
    fixture.put("m/model-2.SafeTensors");
    fails(
        &fixture.model("m/model.safetensors"),
        "`model.safetensors` is one of several safetensors files in its folder: name the folder",
    );
    let fixture = Fixture::new(&["m/model.safetensors"]);
    fails(
        &fixture.model("m/model.safetensors"),
        "`model.safetensors` lacks `config.json`",
    );
    fails(&fixture.model("m"), "`m` lacks `config.json`");
}

#[test]
fn what_is_not_read_says_what_to_do() {
    let fixture = Fixture::new(&[
        "p/pytorch_model-1.bin",
        "p/config.json",
        "q/consolidated.00.pth",
        "r/x.bin",
    ]);
    fails(&fixture.model("p"), "convert them to safetensors or GGUF");
    fails(&fixture.model("q"), "PyTorch weights (`consolidated.00.pth`)");
    fails(&fixture.model("q/consolidated.00.pth"), "PyTorch weights");
    fails(&fixture.model("r"), "has no GGUF and no safetensors file");
    let fixture = Fixture::new(&[
        "m/model.safetensors!",
        "m/config.json",
        "n/model.safetensors",
        "n/config.json!",
    ]);
    fails(&fixture.model("m"), "`model.safetensors` is empty");
    fails(&fixture.model("m/model.safetensors"), "`model.safetensors` is empty");
    fails(&fixture.model("n"), "`config.json` is empty");
    let fixture = Fixture::new(&[
        "m/model\\x.safetensors",
        "m/config.json",
        "n/model.safetensors",
        "n/config.json",
        "n/a:b.json",
    ]);
    fails(&fixture.model("m"), "not every system can hold");
    gives(&fixture.model("n"), "model.safetensors + config.json");
}

#[test]
fn an_import_is_bounded() {
    let fixture = Fixture::new(&["m/model.safetensors", "m/config.json", "m/sub/"]);
    let large = |path: &str| {
        let file = fs::File::create(fixture.root.join(path)).unwrap();
        file.set_len((64 << 20) + 1).unwrap();
    };
    large("m/sub/data.json");
    gives(&fixture.model("m"), "model.safetensors + config.json");
    large("m/tokenizer.json");
    fails(&fixture.model("m"), "`tokenizer.json` is larger than 67108864 bytes");
    fs::remove_file(fixture.root.join("m/tokenizer.json")).unwrap();
    for index in 0..255 {
        fixture.put(&format!("m/sub/{index}.json"));
    }
    assert!(fixture.model("m").is_ok());
    fixture.put("m/sub/last.json");
    fails(&fixture.model("m"), "`m` has more than 256 files beside its weights");

    let fixture = Fixture::new(&["m/model.safetensors", "m/config.json"]);
    for folder in ["m/one", "m/two"] {
        fs::create_dir(fixture.root.join(folder)).unwrap();
        for index in 0..5001 {
            fs::write(fixture.root.join(format!("{folder}/{index}")), "").unwrap();
        }
    }
    fails(&fixture.model("m"), "`m` has more than 10000 entries");
    let fixture = Fixture::new(&["m/config.json"]);
    for index in 0..513 {
        fixture.put(&format!("m/model-{index}.safetensors"));
    }
    fails(&fixture.model("m"), "more than 512 parts");
}

#[cfg(target_os = "linux")]
#[test]
fn no_link_leads_out() {
    let fixture = Fixture::new(&[
        "blobs/one",
        "m/snapshot/config.json",
        "elsewhere/model.safetensors",
        "elsewhere/tokenizer.model",
    ]);
    fs::write(fixture.root.join("../secret"), "outside").unwrap();
    let link = |target: &str, name: &str| symlink(target, fixture.root.join(name)).unwrap();
    link("../../blobs/one", "m/snapshot/model.safetensors");
    link("../../elsewhere", "m/snapshot/linked");
    gives(&fixture.model("m/snapshot"), "model.safetensors + config.json");
    link("../../../secret", "m/snapshot/tokenizer.json");
    fails(&fixture.model("m/snapshot"), "not under a model root");
    fails(&fixture.model("m/snapshot/model.safetensors"), "not under a model root");
    fs::remove_file(fixture.root.join("m/snapshot/tokenizer.json")).unwrap();
    link("../../blobs/none", "m/snapshot/tokenizer.json");
    fails(&fixture.model("m/snapshot"), "there is no `tokenizer.json`");
}
