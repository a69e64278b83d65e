//! The documents tell the whole API.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path};

use model_control::model::Reason;

#[test]
fn every_reason_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/status-codes.md");
    let page = fs::read_to_string(page).unwrap();
    let missing: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| format!("`{}`", reason.text()))
        .filter(|reason| !page.contains(reason))
        .collect();
    assert!(missing.is_empty(), "docs/status-codes.md lacks {missing:?}");
}
