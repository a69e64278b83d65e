//! An ordinary client of the OpenAI API: the Python package `openai`, driven by `openai_client.py`.
//!
//! `MODEL_CONTROL_TEST_OPENAI_PYTHON` names a Python that has the package. Without it a test says so and passes; where `CI` is
//! set it fails, so that a broken installation cannot hide there.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::Value;
use tokio::process::Command;

use crate::missing;

const NAMED: &str = "MODEL_CONTROL_TEST_OPENAI_PYTHON";

/// The Python; without it `None` and one line on stderr, or a failure where `CI` is set.
pub(crate) fn python() -> Option<PathBuf> {
    let found = env::var_os(NAMED).map(PathBuf::from).filter(|python| python.is_file());
    if found.is_none() {
        let what = format!("no Python with the package openai is named by {NAMED} (see CONTRIBUTING.md)");
        missing::skip(&what);
    }
    found
}

/// What the script prints for these uses of a model. It knows the endpoint and the key, and nothing else of us.
pub(crate) async fn uses(python: &Path, endpoint: &str, key: &str, model: &str, uses: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/openai_client.py");
    let output = Command::new(python)
        .arg("-B")
        .arg(script)
        .args([endpoint, model])
        .args(uses)
        .env_clear()
        .env("OPENAI_API_KEY", key)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{uses:?} of {model} at {endpoint}: {said}");
    serde_json::from_slice(&output.stdout).unwrap()
}
