use super::*;
use crate::config::file::RawFile;

fn folders() -> Folders {
    Folders {
        working: "/work".into(),
        data: Some("/data".into()),
        state: Some("/state".into()),
    }
}

fn read_with(text: &str, folders: &Folders) -> Result<Vec<Entry>, Vec<String>> {
    let file = RawFile::parse(text.as_bytes()).unwrap();
    assert_eq!(file.problems, []);
    let mut reader = Reader::new(Path::new("/etc/model-control"), folders);
    let entries = file
        .entries
        .into_iter()
        .filter_map(|entry| reader.entry(entry))
        .collect();
    let told: Vec<_> = reader
        .problems
        .iter()
        .map(|p| format!("{}: {p}", p.line.unwrap()))
        .collect();
    if told.is_empty() { Ok(entries) } else { Err(told) }
}

fn read(text: &str) -> Result<Vec<Entry>, Vec<String>> {
    read_with(text, &folders())
}

/// An embedded entry called `e` with these words in line 3.
fn embedded(words: &str) -> Result<Entry, Vec<String>> {
    let text = format!("- name: e\n  framework: embedded\n  backend_argv: [{words}]\n");
    read(&text).map(|mut entries| entries.remove(0))
}

fn told(words: &str) -> Vec<String> {
    embedded(words).unwrap_err()
}

#[test]
fn an_entry_with_nothing_has_the_default_store() {
    let entry = embedded("").unwrap();
    assert_eq!(entry.name, "e");
    let store = PathBuf::from("/data/model-control/models");
    assert_eq!(
        entry.framework,
        Framework::Embedded {
            store,
            run: Run::default()
        }
    );
    assert!(entry.desired.is_empty() && entry.advertise.is_none());
}

#[test]
fn flags_of_a_model_bind_to_the_model_before_them() {
    let digest = format!("sha256:{}", "0a".repeat(32));
    let entry = embedded(&format!(
        "--store=s, --advertise=http://gpu:8080/v1, --model=llama3, --model-path=../m.gguf, --digest={digest}, \
         --adapter-path=a.gguf, --adapter-path, /b.gguf, --quantize=q4_k_m, --level=on-disk, \
         --model, hf.co/o/r:Q8_0, --insecure, --ensure=on-demand"
    ))
    .unwrap();
    let store = PathBuf::from("/etc/model-control/s");
    assert_eq!(
        entry.framework,
        Framework::Embedded {
            store,
            run: Run::default()
        }
    );
    assert_eq!(entry.advertise.as_deref(), Some("http://gpu:8080/v1"));
    let [first, second] = &entry.desired[..] else {
        panic!("{entry:?}");
    };
    assert_eq!(first.name.to_string(), "llama3:latest");
    assert_eq!(first.path.as_deref(), Some(Path::new("/etc/model-control/../m.gguf")));
    assert_eq!(first.digest.as_ref().unwrap().as_str(), digest);
    assert_eq!(first.options.adapter_paths, ["/etc/model-control/a.gguf", "/b.gguf"]);
    assert_eq!(first.options.quantize.as_deref(), Some("Q4_K_M"));
    assert_eq!(
        (first.level, first.insecure, first.ensure),
        (Level::OnDisk, false, Ensure::Startup)
    );
    assert_eq!(second.name.to_string(), "hf.co/o/r:Q8_0");
    assert_eq!((second.insecure, second.ensure), (true, Ensure::OnDemand));
    assert!(second.path.is_none() && second.digest.is_none());
}

#[test]
fn a_framework_that_is_not_known_is_not_read_further() {
    let entries = read(
        "- name: s\n  framework: sglang\n  backend_argv: [--model=llama3, --host=http://u:p@h, --what]\n\
         - name: v\n  framework: vllm\n  backend_argv: {not: even a sequence}\n",
    )
    .unwrap();
    assert_eq!(entries[0].framework, Framework::Unsupported("sglang".to_owned()));
    assert_eq!(entries[1].framework, Framework::Unsupported("vllm".to_owned()));
    assert!(entries.iter().all(|entry| entry.desired.is_empty()));
    assert!(!format!("{entries:?}").contains("u:p"));
}

#[test]
fn entries_may_share_a_store() {
    let text = "- {name: a, framework: embedded, backend_argv: [--store=/s]}\n\
                - {name: b, framework: embedded, backend_argv: [--store=/s]}\n";
    let entries = read(text).unwrap();
    assert_eq!(entries[0].framework, entries[1].framework);
}

#[test]
fn every_problem_of_values_is_told() {
    for (words, message) in [
        ("--level=warm", "`--level` must come after the `--model` that it is for"),
        (
            "--model=m, --level=warm, --keep-alive=5m",
            "`--keep-alive`: a model that is configured above on-disk stays in memory: leave it out",
        ),
        (
            "--model=m, --context-length=0",
            "`--context-length`: a context is a number of tokens, 1 or more",
        ),
        (
            "--model=m, --level=high",
            "`--level`: a level is `on-disk`, `loaded` or `warm`",
        ),
        (
            "--model=m, --digest=abc",
            "`--digest`: a digest is `sha256:` and 64 hexadecimal digits",
        ),
        (
            "--model=m, --ensure=later",
            "`--ensure`: a model is made ready at `startup` or `on-demand`",
        ),
        (
            "--model=m, --quantize=4 bits",
            "`--quantize`: a type to quantize to is a word like `Q4_K_M`",
        ),
        (
            "--model=m, --ensure=startup, --ensure=startup",
            "`--ensure` was given already, in line 3",
        ),
        ("--store=a, --store=a", "`--store` was given already, in line 3"),
        (
            "--model=llama3, --model=library/LLAMA3:latest",
            "the model `LLAMA3:latest` is named twice",
        ),
        (
            "--model=a/b/c/d",
            "`--model`: the model name has too many parts: `host/namespace/model:tag` is the whole of it",
        ),
        (
            "--model=m:cloud, --model-path=/m.gguf",
            "`--model`: the tags `local`, `cloud` and `…-cloud` say where a model runs: choose another tag",
        ),
        (
            "--advertise=gpu:8080",
            "`--advertise`: an endpoint is a URL: `http://host:port`",
        ),
        (
            "--advertise=ftp://gpu",
            "`--advertise`: an endpoint is a URL: `http://host:port`",
        ),
        (
            "\"--advertise=http://me:secret@gpu\"",
            "`--advertise`: an endpoint is told to callers and must have no user information",
        ),
    ] {
        assert_eq!(told(words), [format!("3: entry `e`: {message}")], "{words}");
    }
}

#[test]
fn every_problem_of_names_and_frameworks_is_told() {
    let long = "x".repeat(64);
    let text = format!(
        "- framework: embedded\n- name: a\n- {{name: a, framework: embedded}}\n- {{name: 'a b', framework: embedded}}\n\
         - {{name: {long}, framework: vllm}}\n- {{name: f, framework: ''}}\n- {{name: '', framework: \"a\\nb\"}}\n"
    );
    let name = "`name` must be 1 to 63 letters, digits, `.`, `_` or `-`";
    let expected = [
        "1: entry `#1`: has no `name`".to_owned(),
        "2: entry `a`: has no `framework`".to_owned(),
        "3: entry `a`: the name is taken by the entry in line 2".to_owned(),
        format!("4: entry `#4`: {name}"),
        format!("5: entry `#5`: {name}"),
        "6: entry `f`: `framework` must be a word: `ollama` or `embedded`".to_owned(),
        format!("7: entry `#7`: {name}"),
        "7: entry `#7`: `framework` must be a word: `ollama` or `embedded`".to_owned(),
    ];
    assert_eq!(read(&text).unwrap_err(), expected);
}

#[test]
fn a_user_without_a_data_folder_must_name_a_store() {
    let folders = Folders {
        data: None,
        ..folders()
    };
    let text = "- {name: a, framework: embedded}\n- {name: b, framework: embedded, backend_argv: [--store=/s]}\n";
    let told = read_with(text, &folders).unwrap_err();
    let message = "this user has no data folder: say with `--store` where models are kept";
    assert_eq!(told, [format!("1: entry `a`: {message}")]);
}

#[test]
fn problems_of_all_entries_are_told_together() {
    let told = read(
        "- name: a\n  framework: embedded\n  backend_argv: [--modle=x, --model=UPPER/, --level]\n\
         - name: b\n  framework: embedded\n  backend_argv: [--host=h]\n",
    )
    .unwrap_err();
    assert_eq!(told.len(), 4, "{told:?}");
}

#[test]
fn an_ollama_has_an_address() {
    let entries = read(
        "- name: a\n  framework: ollama\n  backend_argv: [\"--model=llama3\", \"--host=http://127.0.0.1:11434\"]\n\
         - {name: b, framework: ollama}\n",
    )
    .unwrap();
    assert_eq!(entries[0].framework, entries[1].framework);
    assert_eq!(entries[0].desired[0].name.to_string(), "llama3:latest");
    let problems =
        read("- {name: a, framework: ollama, backend_argv: [\"--host=http://u:p@h\", --store=/s]}\n").unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(
        format!("{problems:?}").contains("does not apply to framework `ollama`"),
        "{problems:?}"
    );
    assert!(!format!("{problems:?}").contains("u:p"), "{problems:?}");
}

#[test]
fn entries_of_one_ollama_reach_it_alike() {
    let two = |first: &str, second: &str| {
        read(&format!(
            "- {{name: a, framework: ollama, backend_argv: [{first}]}}\n\
             - {{name: b, framework: ollama, backend_argv: [{second}]}}\n"
        ))
    };
    assert_eq!(
        two(
            "--host=localhost, --header-file=h",
            "--header-file=/etc/model-control/h"
        )
        .unwrap()
        .len(),
        2
    );
    assert_eq!(two("--host=gpu, --header-file=h", "--header-file=i").unwrap().len(), 2);
    for (first, second, differs) in [
        (
            "--header-file=h",
            "--host=localhost, --header-file=i",
            "another `--header-file`",
        ),
        (
            "--host=127.0.0.1, --header-file=h",
            "--host=0.0.0.0",
            "another `--header-file`",
        ),
        (
            "--host=\"http://gpu:9\"",
            "--host=\"https://GPU:9\"",
            "another scheme in `--host`",
        ),
    ] {
        let [told] = &two(first, second).unwrap_err()[..] else {
            panic!("{first} {second}");
        };
        let expected = format!("2: entry `b`: is on the same Ollama as the entry `a`, with {differs}: ");
        assert!(told.starts_with(&expected), "{told}");
    }
    let wrong = two("--header-file=h", "--host=ftp://x").unwrap_err();
    assert_eq!(wrong.len(), 1, "what is no address contradicts none: {wrong:?}");
}

#[test]
fn how_models_are_run_belongs_to_the_store() {
    let entry =
        embedded("--threads=4, --gpu-layers=0, --engine-arg=--mlock, --engine-arg=--prio, --engine-arg=2").unwrap();
    let Framework::Embedded { run, .. } = entry.framework else {
        panic!("{:?}", entry.framework);
    };
    assert_eq!((run.threads.unwrap().get(), run.gpu_layers), (4, Some(0)));
    assert_eq!(run.args, ["--mlock", "--prio", "2"]);
    assert_eq!(told("--threads=0").len(), 1);
    assert_eq!(told("--gpu-layers=-1").len(), 1);
    let two = |flag: &str| {
        format!(
            "- name: a\n  framework: embedded\n  backend_argv: [--store=s]\n\
             - name: b\n  framework: embedded\n  backend_argv: [--store=s, {flag}]\n"
        )
    };
    assert!(read(&two("--model=m")).is_ok());
    let told = read(&two("--threads=2")).unwrap_err();
    assert!(told[0].contains("store of the entry `a`"), "{told:?}");
}
