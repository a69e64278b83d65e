//! The documents tell the truth: every reason and every complaint of the log is in them, and every command works.
//!
//! | file | holds |
//! |---|---|
//! | `page` | the commands of a page, out of its fences |
//! | `sandbox` | a machine for a page: its folder, its ports, what runs in the background |
//! | `shape` | what two outputs have in common, whatever the digits |
//! | `complaints` | the messages of WARN and ERROR, out of the sources |
//!
//! A page's commands stand in fences of `console` after `$ `, each continued after `> `; lines below are what it prints,
//! `…` stands for any lines. Words behind `console`: `ollama`, `llama` and `registry` are what the fence needs (without it
//! it is skipped, and fails where `CI` is set), `fails` that the commands fail, `by=FILE` that each is run by that file
//! instead (or one of several), which says so word for word, `shown` that nobody runs it here. Commands that serve run in the background until the page starts another of
//! their kind. The ports that the pages name are others here, which nobody has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "docs/complaints.rs"]
mod complaints;
#[path = "support/missing.rs"]
mod missing;
#[path = "docs/page.rs"]
mod page;
#[path = "docs/sandbox.rs"]
mod sandbox;
#[path = "docs/shape.rs"]
mod shape;

use std::{fs, path::Path};

use model_control::model::Reason;

use self::{
    page::{Block, Step},
    sandbox::Sandbox,
};

fn read(page: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap()
}

/// Runs a page from its first command to its last.
fn replay(page: &str) {
    let mut sandbox = Sandbox::new();
    for block in page::blocks(page, &read(page)) {
        match block {
            Block::Elsewhere { by, steps } => {
                let files: Vec<_> = by.iter().map(|file| read(file)).collect();
                for Step { line, command, .. } in steps {
                    let run = files.iter().any(|file| page::runs(file, &command));
                    assert!(
                        run,
                        "{page}:{line}: {by:?} has neither `{command}` nor a line `# shown: {command}`"
                    );
                }
            }
            Block::Here { needs, fails, steps } => {
                if needs.iter().all(|need| sandbox.has(page, need)) {
                    for step in steps {
                        sandbox.run(page, &step, fails);
                    }
                }
            }
        }
    }
}

#[test]
fn every_reason_is_documented() {
    let page = read("docs/status-codes.md");
    let missing: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| format!("`{}`", reason.text()))
        .filter(|reason| !page.contains(reason))
        .collect();
    assert!(missing.is_empty(), "docs/status-codes.md lacks {missing:?}");
}

#[test]
fn every_complaint_of_the_log_is_documented() {
    let page = read("docs/operations.md");
    let found = complaints::all();
    assert!(found.len() > 30, "the sources were not understood: {found:?}");
    let missing: Vec<_> = found
        .iter()
        .filter(|(_, message)| !page.contains(message.as_str()))
        .collect();
    assert!(missing.is_empty(), "docs/operations.md lacks {missing:#?}");
}

/// The pages that have commands. Each is a test of its own, so that they run beside each other.
const PAGES: [&str; 6] = [
    "README.md",
    "docs/guide.md",
    "docs/operations.md",
    "CONTRIBUTING.md",
    "examples/README.md",
    "helm/model-control/README.md",
];

#[test]
fn the_commands_of_the_readme_work() {
    replay(PAGES[0]);
}

#[test]
fn the_commands_of_the_guide_work() {
    replay(PAGES[1]);
}

#[test]
fn the_commands_for_operators_work() {
    replay(PAGES[2]);
}

#[test]
fn the_commands_of_the_other_pages_are_those_that_other_files_run() {
    PAGES[3..].iter().for_each(|page| replay(page));
}

#[test]
fn a_file_runs_what_it_has_word_for_word() {
    let file = "#!/bin/sh\n# cargo doc\n  cargo test --locked | tee\n  # shown: just release /folder\n";
    for (command, run) in [
        ("cargo test", true),
        ("cargo doc", false),
        ("cargo test --all", false),
        ("just release /folder", true),
        ("just release", false),
    ] {
        assert_eq!(page::runs(file, command), run, "{command}");
    }
}

#[test]
fn no_page_with_commands_is_forgotten() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["", "docs", "docs/adr", "examples", "helm/model-control", "tools/models"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let page = path.strip_prefix(root).unwrap().display().to_string();
            if path.extension().is_some_and(|end| end == "md") && !PAGES.contains(&page.as_str()) {
                assert!(
                    page::blocks(&page, &read(&page)).is_empty(),
                    "{page} has commands: put it into PAGES"
                );
            }
        }
    }
}
