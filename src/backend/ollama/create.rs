//! Makes a model from opened files.
//!
//! ```text
//! check    names, headers, configurations: what Ollama would die of is refused here
//! hash     all files at once; digests of files that have not changed since are remembered
//! present  the same content under that name is nothing to do; other content stays unless it is to be replaced
//! send     the blobs that Ollama does not have
//! create   from here on Ollama cannot stop, and goes on whoever listens
//! ```
//!
//! Ollama makes no model of a create whose client leaves, and keeps its half of it. So the request is followed to its end by
//! a task of its own, however early callers leave.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    Shared,
    error::Doing,
    events::Reader,
    files::{Files, UploadFile},
    hash, list,
    memory::{Made, Recipe},
    upload::{self, Blob},
    wire::{CreateRequest, Message, Version},
};
use crate::{
    backend::{
        CreateSpec, Done, Error, Kind,
        call::{PointOfNoReturn, TaskReporter},
    },
    model::{Digest, Event, ImportOptions, ModelInfo, ModelName, Phase, Provenance, SourceFile},
    source::Source,
};

/// Ollama says nothing while it converts; so often it is asked whether it still runs.
const SILENCE: Duration = Duration::from_secs(30);

/// A create whose files are hashed.
struct Job<'a> {
    shared: &'a Shared,
    spec: &'a CreateSpec,
    reporter: &'a TaskReporter,
    files: Vec<Blob>,
    adapters: Vec<Blob>,
}

/// Does the whole of it.
pub(super) async fn run(
    shared: &Shared,
    spec: CreateSpec,
    reporter: &TaskReporter,
    point: &PointOfNoReturn,
) -> Result<Done, Error> {
    let spec = Arc::new(spec);
    let before = prepare(shared, &spec, reporter);
    let (job, before, _held) = match reporter.unless_stopped(before).await? {
        Prepared::There(done) => return Ok(done),
        Prepared::Ready { files, adapters, before, held } => {
            let job = Job { shared, spec: &spec, reporter, files, adapters };
            (job, before, held)
        }
    };
    reporter.unless_stopped(job.send()).await?;
    point.pass(format!(
        "Ollama cannot stop making `{}` any more: it will be there when that is done",
        spec.name
    ));
    let layers = job.make(before.as_deref()).await?;
    job.done(&before, layers).await
}
