//! Finds `llama-server`.

use std::{
    env,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::backend::{Error, Kind};

const NAME: &str = "llama-server";

/// The configured program, or the first on the PATH. Looks at a few files.
pub(super) fn find(configured: Option<&Path>) -> Result<PathBuf, Error> {
    if let Some(program) = configured {
        return runs(program).then(|| program.to_owned()).ok_or_else(|| {
            missing("the configured `llama-server` is not there, or may not be run: correct --llama-server")
        });
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(NAME))
        .find(|program| runs(program))
        .ok_or_else(|| {
            missing(
                "models are run by `llama-server` of llama.cpp, which is not on the PATH: install llama.cpp, or name the \
                 program with --llama-server",
            )
        })
}

fn runs(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn missing(message: &str) -> Error {
    Error::new(Kind::MissingPart, message)
}
