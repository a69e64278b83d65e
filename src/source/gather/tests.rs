use std::{fs, path::PathBuf};

use super::*;
use crate::source::Roots;

/// A root with these files, each with its own name as content; a name that ends in `/` is a folder.
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
        for file in files {
            let path = root.join(file);
            if file.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, path.file_name().unwrap().to_str().unwrap()).unwrap();
            }
        }
        let roots = Roots::new(std::slice::from_ref(&root)).unwrap();
        Self {
            _base: base,
            root,
            roots,
        }
    }

    fn located(&self, path: &str) -> Located {
        self.roots.open(self.root.join(path).to_str().unwrap()).unwrap()
    }

    fn model(&self, path: &str) -> Result<String, String> {
        told(gather_model(self.located(path)))
    }

    fn adapter(&self, path: &str) -> Result<String, String> {
        told(gather_adapter(self.located(path)))
    }
}

fn told(answer: Result<Source, Error>) -> Result<String, String> {
    let names = |files: Vec<Opened>| {
        files
            .into_iter()
            .map(|file| file.file_name)
            .collect::<Vec<_>>()
            .join(" ")
    };
    match answer {
        Ok(Source::Gguf(files)) => Ok(format!("gguf: {}", names(files))),
        Ok(Source::Safetensors(bundle)) => Ok(format!("safetensors: {}", names(bundle.weights))),
        Err(error) => Err(error.to_string()),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with answers")]
fn ok(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn err(text: &str) -> Result<String, String> {
    Err(text.to_owned())
}

#[test]
fn a_file_is_a_gguf_unless_its_name_says_otherwise() {
    let fixture = Fixture::new(&[
        "m.gguf",
        "sha256-00",
        "w.safetensors",
        "config.json",
        "W/W.SafeTensors",
        "W/config.json",
    ]);
    assert_eq!(fixture.model("m.gguf"), ok("gguf: m.gguf"));
    assert_eq!(fixture.model("sha256-00"), ok("gguf: sha256-00"));
    assert_eq!(fixture.model("w.safetensors"), ok("safetensors: w.safetensors"));
    assert_eq!(fixture.model("W/W.SafeTensors"), ok("safetensors: W.SafeTensors"));
    assert_eq!(fixture.adapter("m.gguf"), ok("gguf: m.gguf"));
}

#[test]
fn the_first_part_of_a_split_stands_for_all() {
    let parts = [
        "m-00001-of-00003.gguf",
        "m-00002-of-00003.gguf",
        "m-00003-of-00003.gguf",
    ];
    let fixture = Fixture::new(&parts);
    let all = ok(&format!("gguf: {}", parts.join(" ")));
    assert_eq!(fixture.model(parts[0]), all);
    assert_eq!(fixture.model(""), all, "a folder with nothing but one split");
    let not_first = "is not the first part of its model: name `m-00001-of-00003.gguf`";
    assert_eq!(fixture.model(parts[2]), Err(format!("`{}` {not_first}", parts[2])));

    fs::remove_file(fixture.root.join(parts[1])).unwrap();
    let lacks = "lacks its part `m-00002-of-00003.gguf`";
    assert_eq!(fixture.model(parts[0]), Err(format!("`{}` {lacks}", parts[0])));
    assert_eq!(fixture.model(""), Err(format!("`models` {lacks}")));
    // The parts of the named one only; what else lies there does not matter then.
    fs::write(fixture.root.join(parts[1]), "again").unwrap();
    fs::write(fixture.root.join("other.gguf"), "other").unwrap();
    assert_eq!(fixture.model(parts[0]), all);
}

#[cfg(target_os = "linux")]
#[test]
fn parts_are_opened_as_confined_as_the_first() {
    use std::os::unix::fs::symlink;

    use crate::source::{Refusal, open_unconfined};

    let fixture = Fixture::new(&["blobs/one", "blobs/two", "snapshot/x/"]);
    let link = |name: &str, target: &str| symlink(target, fixture.root.join("snapshot/x").join(name)).unwrap();
    link("m-00001-of-00002.gguf", "../../blobs/one");
    link("m-00002-of-00002.gguf", "../../blobs/two");
    let all = ok("gguf: m-00001-of-00002.gguf m-00002-of-00002.gguf");
    assert_eq!(fixture.model("snapshot/x"), all);
    assert_eq!(fixture.model("snapshot/x/m-00001-of-00002.gguf"), all);

    fs::write(fixture.root.join("../secret"), "outside").unwrap();
    fs::remove_file(fixture.root.join("snapshot/x/m-00002-of-00002.gguf")).unwrap();
    link("m-00002-of-00002.gguf", "../../../secret");
    for path in ["snapshot/x", "snapshot/x/m-00001-of-00002.gguf"] {
        let refused = gather_model(fixture.located(path)).unwrap_err();
        assert!(
            matches!(refused, Error::NotAllowed(Refusal::Outside)),
            "{path}: {refused}"
        );
    }
    // For the operator, links lead anywhere.
    let unconfined = open_unconfined(&fixture.root.join("snapshot/x")).unwrap();
    assert_eq!(told(gather_model(unconfined)), all);
}

#[test]
fn a_folder_has_exactly_one_model() {
    let fixture = Fixture::new(&[
        "one/m.gguf",
        "one/README.md",
        "one/w.safetensors",
        "one/sub.gguf/",
        "one/._m.gguf",
    ]);
    assert_eq!(fixture.model("one"), ok("gguf: m.gguf"));
    assert_eq!(fixture.adapter("one"), ok("gguf: m.gguf"));

    let fixture = Fixture::new(&["none/config.json", "empty/"]);
    assert_eq!(fixture.model("none"), err("`none` has no GGUF and no safetensors file"));
    assert_eq!(
        fixture.model("empty"),
        err("`empty` has no GGUF and no safetensors file")
    );

    let fixture = Fixture::new(&["b.gguf", "a.gguf"]);
    let several = "`models` has several GGUF files: name one of `a.gguf`, `b.gguf`";
    assert_eq!(fixture.model(""), err(several));
    assert_eq!(fixture.adapter(""), err(several));
    let fixture = Fixture::new(&["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "n.gguf"]);
    assert!(fixture.model("").unwrap_err().contains("several GGUF files"));
    let names: Vec<_> = (0..9).map(|n| format!("{n}.gguf")).collect();
    let fixture = Fixture::new(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let told = fixture.model("").unwrap_err();
    assert!(told.ends_with("`3.gguf`, `4.gguf` and 4 more"), "{told}");
}

#[test]
fn empty_files_and_odd_ones_are_named() {
    let fixture = Fixture::new(&["e/", "m-00001-of-00002.gguf", "m-00002-of-00002.gguf/"]);
    fs::write(fixture.root.join("e/m.gguf"), "").unwrap();
    assert_eq!(fixture.model("e"), err("`m.gguf` is empty"));
    assert_eq!(fixture.model("e/m.gguf"), err("`m.gguf` is empty"));
    assert_eq!(fixture.adapter("e/m.gguf"), err("`m.gguf` is empty"));
    let folder = "`m-00002-of-00002.gguf` is a folder: only regular files are read";
    assert_eq!(fixture.model("m-00001-of-00002.gguf"), err(folder));
}

#[test]
fn an_import_is_bounded() {
    let fixture = Fixture::new(&["m-00001-of-00513.gguf", "full/"]);
    assert_eq!(
        fixture.model("m-00001-of-00513.gguf"),
        err("`m-00001-of-00513.gguf` has more than 512 parts")
    );
    for n in 0..10_000 {
        fs::write(fixture.root.join(format!("full/{n}")), "").unwrap();
    }
    assert_eq!(fixture.model("full"), err("`full` has no GGUF and no safetensors file"));
    fs::write(fixture.root.join("full/one-more"), "").unwrap();
    assert_eq!(
        fixture.model("full"),
        err("`full` has more than 10000 entries: name a file")
    );
}
