//! The import graph is the architecture: these tests fail when it is broken.
//!
//! What is checked: which room names which (the table in `src/lib.rs`), that it is one above it, that no engine names
//! another, where the transport and the HTTP client may be named, and how long files are. Source is read as text, so code that is compiled for another system counts too.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "architecture/scan.rs"]
mod scan;
#[path = "architecture/self_test.rs"]
mod self_test;

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Who may name whom, as `src/lib.rs` tells it: each room's prefixes of paths. `*` is all.
const ALLOWED: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("gguf", &[]),
    ("ndjson", &[]),
    ("safetensors", &[]),
    ("source", &[]),
    ("backend", &["model", "gguf", "ndjson", "safetensors", "source"]),
    ("operation", &[]),
    ("config", &["model"]),
    ("engines", &["backend", "config", "model"]),
    (
        "manager",
        &["backend", "config", "engines", "model", "operation", "source"],
    ),
    ("readiness", &["backend", "config", "engines", "model"]),
    (
        "grpc",
        &["config::access", "manager", "model", "operation", "readiness"],
    ),
    ("cli", &["grpc::proto"]),
    ("telemetry", &[]),
    ("app", &["*"]),
];

/// The engines of `backend`, which know nothing of each other.
const ENGINES: &[&str] = &["embedded", "ollama", "scripted"];

/// What everybody may name.
const FOR_ALL: &str = "telemetry";
/// What tests may name wherever they stand: it makes the files that they need.
const FOR_TESTS: &str = "gguf::build";

/// Rooms that speak the transport.
const TRANSPORT: &[&str] = &["grpc", "cli", "app"];
/// The files that know status codes: one gives them, one reads them back.
const CODES: &[&str] = &["src/grpc/status.rs", "src/cli/errors.rs"];

/// Lines of the longest file, tests included; of the middle one of `src`; of `main.rs`.
const LONGEST: usize = 500;
const MEDIAN: usize = 150;
const LONGEST_MAIN: usize = 50;

/// One source file.
struct File {
    /// From the repository's root: `src/model/name.rs`.
    path: String,
    text: String,
}

#[test]
fn rooms_use_only_what_the_map_allows() {
    none(sources().iter().flat_map(|file| edges(&file.path, &file.text)));
}

#[test]
fn the_map_leads_upwards_only() {
    none(downward(ALLOWED).into_iter());
}

#[test]
fn engines_do_not_name_each_other() {
    none(
        sources()
            .iter()
            .flat_map(|file| between_engines(&file.path, &file.text)),
    );
}

#[test]
fn the_map_in_lib_rs_is_the_one_that_is_checked() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let told: Vec<_> = lib.lines().filter_map(row).collect();
    let checked: Vec<_> = ALLOWED
        .iter()
        .map(|&(room, uses)| {
            (
                room.to_owned(),
                uses.iter().map(|&used| used.to_owned()).collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(told, checked);
}

#[test]
fn foreign_crates_stay_in_their_rooms() {
    none(sources().iter().flat_map(|file| foreign(&file.path, &file.text)));
}

#[test]
fn files_are_short() {
    let mut files = sources();
    let main = files.iter().find(|file| file.path == "src/main.rs").unwrap();
    assert!(
        main.text.lines().count() <= LONGEST_MAIN,
        "main.rs names the program's steps, no more"
    );
    let mut lengths: Vec<_> = files.iter().map(|file| file.text.lines().count()).collect();
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(median <= MEDIAN, "the median of src is {median} lines, over {MEDIAN}");
    files.extend(read("tests"));
    none(files.iter().filter_map(|file| {
        let lines = file.text.lines().count();
        (lines > LONGEST).then(|| format!("{}: {lines} lines, over {LONGEST}", file.path))
    }));
}

#[test]
fn modules_are_named_by_their_file() {
    let files = sources().into_iter().chain(read("tests"));
    none(
        files
            .filter(|file| file.path.ends_with("/mod.rs"))
            .map(|file| file.path),
    );
}

/// What of `path`'s imports the map does not allow.
fn edges(path: &str, source: &str) -> Vec<String> {
    let (module, test) = module(path);
    let Some(room) = module.first() else { return Vec::new() };
    let Some((_, uses)) = ALLOWED.iter().find(|(name, _)| name == room) else {
        return vec![format!("{path}: the map in src/lib.rs has no room `{room}`")];
    };
    let allowed = |named: &scan::Named| {
        let begins = |prefix: &str| {
            prefix.split("::").zip(&named.path).all(|(a, b)| a == b) && named.path.len() >= prefix.split("::").count()
        };
        begins(room)
            || begins(FOR_ALL)
            || (named.test && begins(FOR_TESTS))
            || uses.iter().any(|&used| used == "*" || begins(used))
    };
    scan::paths(source, &module, test)
        .into_iter()
        .filter(|named| !allowed(named))
        .map(|named| {
            format!(
                "{path}:{}: `{room}` may not use `{}`",
                named.line,
                named.path.join("::")
            )
        })
        .collect()
}

/// The edges of a map that lead to no room above their own. `*` is for the room that wires all others.
fn downward(map: &[(&str, &[&str])]) -> Vec<String> {
    let above = |at: usize, used: &str| map[..at].iter().any(|&(room, _)| used.split("::").next() == Some(room));
    let edges = map
        .iter()
        .enumerate()
        .flat_map(|(at, (room, uses))| uses.iter().map(move |&used| (at, *room, used)));
    edges
        .filter(|&(at, _, used)| used != "*" && !above(at, used))
        .map(|(_, room, used)| format!("`{used}` is not above `{room}`"))
        .collect()
}

/// What one engine names of another.
fn between_engines(path: &str, source: &str) -> Vec<String> {
    let engine = |path: &[String]| match path {
        [room, engine, ..] if room == "backend" => ENGINES.iter().find(|known| *known == engine),
        _ => None,
    };
    let (module, test) = module(path);
    let Some(own) = engine(&module) else { return Vec::new() };
    scan::paths(source, &module, test)
        .into_iter()
        .filter(|named| engine(&named.path).is_some_and(|other| other != own))
        .map(|named| format!("{path}:{}: `{own}` may not use `{}`", named.line, named.path.join("::")))
        .collect()
}

/// Foreign crates that `path` names and may not.
fn foreign(path: &str, source: &str) -> Vec<String> {
    let (module, test) = module(path);
    let room = module.first().map_or("", String::as_str);
    // Tests of the transport compare codes; they give none.
    let codes = CODES.contains(&path) || (test && TRANSPORT.contains(&room));
    let refused = |word: &str| match word {
        "Code" => !codes,
        "reqwest" => room != "backend",
        _ => word.starts_with("tonic") && !TRANSPORT.contains(&room),
    };
    scan::tokens(source)
        .into_iter()
        .filter(|token| refused(&token.text))
        .map(|token| format!("{path}:{}: `{}` has no place here", token.line, token.text))
        .collect()
}

/// The module that the file `src/a/b.rs` is, and whether it is for tests only. The roots are the empty module.
fn module(path: &str) -> (Vec<String>, bool) {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs");
    let segments: Vec<_> = match inner {
        "lib" | "main" => Vec::new(),
        _ => inner.split('/').map(str::to_owned).collect(),
    };
    let test = segments.iter().any(|segment| segment == "tests");
    (segments, test)
}

/// One row of the map: `//! | [`room`] | holds | `used`, `used` |`.
fn row(line: &str) -> Option<(String, Vec<String>)> {
    let mut cells = line.strip_prefix("//! | ")?.split('|');
    let room = cells
        .next()?
        .trim()
        .trim_matches(['[', ']'])
        .strip_prefix('`')?
        .strip_suffix('`')?;
    let uses = cells.nth(1)?.trim();
    let words = if uses == "all" {
        vec!["*".to_owned()]
    } else {
        uses.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    Some((room.to_owned(), words))
}

/// Fails with all that is wrong, not with the first of it.
fn none(wrong: impl Iterator<Item = String>) {
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn sources() -> Vec<File> {
    let files = read("src");
    assert!(files.len() > 10, "the sources were not found");
    files
}

/// All Rust files under `folder`, in order.
fn read(folder: &str) -> Vec<File> {
    let (mut folders, mut files) = (vec![root().join(folder)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                files.push(File { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
