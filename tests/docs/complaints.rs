//! The messages of WARN and ERROR, out of the sources: what an operator may find in the log.

use std::{fs, path::Path};

const CALLS: [&str; 4] = ["tracing::warn!(", "tracing::error!(", " warn!(", " error!("];

/// Each file with each of its messages, cut before the first variable.
pub(crate) fn all() -> Vec<(String, String)> {
    let mut found = Vec::new();
    folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    found
}

fn folder(path: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            folder(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path
                .strip_prefix(env!("CARGO_MANIFEST_DIR"))
                .unwrap()
                .display()
                .to_string();
            let text = fs::read_to_string(&path).unwrap();
            for call in CALLS {
                for (at, _) in text.match_indices(call) {
                    found.push((name.clone(), message(&text[at + call.len()..])));
                }
            }
        }
    }
}

/// The last text of the call's arguments; texts before it are values. One that is a variable only is told by its source.
fn message(rest: &str) -> String {
    let (mut depth, mut last, mut chars) = (1, String::new(), rest.chars());
    while let Some(c) = chars.next() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => {
                last.clear();
                while let Some(c) = chars.next().filter(|c| *c != '"') {
                    if c == '\\' {
                        chars.next();
                    }
                    last.push(c);
                }
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    let pieces = last.split(['{', '}']).step_by(2);
    pieces
        .max_by_key(|piece| piece.len())
        .unwrap_or_default()
        .trim()
        .to_owned()
}
