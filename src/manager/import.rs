//! Opens what an import reads, before anything is stored.

use super::{
    Manager, error,
    task::{From, Path, Task},
};
use crate::{
    backend::CreateSpec,
    model::{Failure, ImportOptions, Reason},
    source::{self, Roots, Source},
};

/// The files of an import, opened.
pub(super) async fn open(
    manager: &Manager,
    task: &Task,
    path: &Path,
    options: &ImportOptions,
    replace: bool,
) -> Result<CreateSpec, Failure> {
    let roots = std::sync::Arc::clone(&manager.shared.roots);
    let (path, adapters) = (path.clone(), options.adapter_paths.clone());
    let opened = tokio::task::spawn_blocking(move || open_all(&roots, &path, &adapters)).await;
    let (source, adapters) = opened
        .map_err(|_| {
            Failure::new(
                Reason::Internal,
                "opening the files broke off by a fault of this service",
            )
        })?
        .map_err(|error| error::source(&error, &task.entry.name, &task.name))?;
    Ok(CreateSpec {
        name: task.name.clone(),
        source,
        adapters,
        options: options.clone(),
        digest: task.digest.clone(),
        replace,
    })
}

// === impl Task ===

impl Task {
    /// Fails when the files of an import cannot be opened now. They are opened again when they are read: what they are by
    /// then is what counts.
    pub(super) async fn try_open(&self, manager: &Manager) -> Result<(), Failure> {
        let From::Path { path, options, replace } = &self.from else {
            return Ok(());
        };
        open(manager, self, path, options, *replace).await.map(drop)
    }
}

/// Adapters follow the rules of the path they come with.
fn open_all(roots: &Roots, path: &Path, adapters: &[String]) -> Result<(Source, Vec<Source>), source::Error> {
    let locate = |path: &Path| match path {
        Path::Caller(path) => roots.open(path),
        Path::Operator(path) => source::open_unconfined(path),
    };
    let model = source::gather_model(locate(path)?)?;
    let adapters = adapters.iter().map(|adapter| {
        let adapter = match path {
            Path::Caller(_) => Path::Caller(adapter.clone()),
            Path::Operator(_) => Path::Operator(adapter.into()),
        };
        source::gather_adapter(locate(&adapter)?)
    });
    Ok((model, adapters.collect::<Result<_, _>>()?))
}
