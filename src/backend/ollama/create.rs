//! Makes a model from opened files.
//!
//! ```text
//! check    names, headers, configurations: what Ollama would die of is refused here
//! hash     all files at once; digests of files that have not changed since are remembered
//! present  the same content under that name is nothing to do; other content stays unless it is to be replaced
//! send     the blobs that Ollama does not have
//! make     from here on Ollama cannot stop, and goes on whoever listens
//! ```
//!
//! Ollama makes no model of a create whose client leaves, and keeps its half of it. So the request is followed to its end by
//! a task of its own, however early callers leave.

use std::{sync::Arc, time::Duration, time::SystemTime};

use serde_json::{Map, Value};
use tokio::time::timeout;

use super::{
    Shared,
    error::Doing,
    events::Reader,
    files::{Files, UploadFile},
    hash, list,
    memory::{Made, recipe},
    recent::Changes,
    stream::Last,
    upload::{self, Blob, Room},
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
    /// By the names under which they are sent.
    files: Vec<(String, Blob)>,
    adapters: Vec<(String, Blob)>,
    /// What is there under the name.
    before: Option<Arc<ModelInfo>>,
}

/// Refuses what no work could change.
pub(super) fn refuse(options: &ImportOptions) -> Result<(), Error> {
    if options.template.as_deref() == Some("") {
        let message = "Ollama takes the template from the file when it is given none: leave it unset, or give one";
        return Err(Error::new(Kind::OptionInvalid("import_options.template"), message));
    }
    Ok(())
}

/// Does the whole of it.
pub(super) async fn run(
    shared: Arc<Shared>,
    spec: CreateSpec,
    reporter: TaskReporter,
    point: PointOfNoReturn,
) -> Result<Done, Error> {
    let spec = Arc::new(spec);
    // What was cancelled earlier goes on in Ollama, and would replace what is made now.
    let _changes = Changes(&shared.recent);
    let _held = shared.held(&spec.name, &reporter).await?;
    reporter.report(Event::Entered(Phase::Parsing)).await;
    let mut again = true;
    let job = loop {
        let job = reporter.unless_stopped(Job::prepare(&shared, &spec, &reporter)).await?;
        if let Some(done) = job.present()? {
            return Ok(done);
        }
        match reporter.unless_stopped(job.send()).await {
            Ok(()) => break job,
            Err(error) if error.kind == Kind::DigestMismatch => {
                if !std::mem::take(&mut again) {
                    return Err(Error::new(Kind::SourceNotUsable, error.message));
                }
                let reason = "what was remembered of a file was wrong: the files are read again";
                reporter.report(Event::Restarted(reason.to_owned())).await;
            }
            Err(error) => return Err(error),
        }
    };
    point.pass(format!(
        "Ollama cannot stop making `{}` any more: it will be listed when that is done",
        spec.name
    ));
    let layers = job.make().await?;
    job.done(&layers).await
}

// === impl Job ===

impl<'a> Job<'a> {
    /// Checks and hashes the files, and looks what is there.
    async fn prepare(shared: &'a Shared, spec: &'a Arc<CreateSpec>, reporter: &'a TaskReporter) -> Result<Self, Error> {
        let hashing = {
            let (spec, memory, reporter) = (Arc::clone(spec), shared.memory.clone(), reporter.blocking());
            tokio::task::spawn_blocking(move || {
                let files = Files::check(&spec)?;
                let digests = hash::all(&files, &memory, &reporter)?;
                Ok((files, digests))
            })
        };
        let (files, digests) = hashing.await.unwrap_or_else(|error| {
            Err(Error::new(Kind::Internal, "the files could not be read by a fault of this service").because(error))
        })?;
        let blob = |(file, digest): (&UploadFile, Digest)| {
            let source = file.source.clone();
            (file.name.clone(), Blob { source, digest })
        };
        let mut blobs: Vec<_> = files.all().zip(digests).map(blob).collect();
        let adapters = blobs.split_off(files.files.len());
        Ok(Self {
            before: list::find(shared, &spec.name).await?,
            shared,
            spec,
            reporter,
            files: blobs,
            adapters,
        })
    }

    /// The end, when the model is there already; a failure when other content is, and is to stay.
    fn present(&self) -> Result<Option<Done>, Error> {
        let Some(before) = &self.before else { return Ok(None) };
        let made = self.shared.memory.made(self.shared.client.url(), &self.spec.name);
        let same = made.filter(|made| made.manifest == before.digest && made.recipe == self.recipe());
        match same {
            Some(made) => Ok(Some(Done {
                changed: false,
                provenance: Some(made.provenance.unwrap_or_else(|| self.provenance(made.stored))),
                ..Done::default()
            })),
            None if self.spec.replace => Ok(None),
            None => {
                let message = format!(
                    "`{}` is there, and was not made of these files and options by this service: give `replace` to make it anew",
                    before.name
                );
                Err(Error::new(Kind::Exists, message))
            }
        }
    }

    async fn send(&self) -> Result<(), Error> {
        let mut blobs: Vec<Blob> = Vec::new();
        for (_, blob) in self.files.iter().chain(&self.adapters) {
            if blobs.iter().all(|known| known.digest != blob.digest) {
                blobs.push(blob.clone());
            }
        }
        upload::all(&self.shared.client, &self.shared.memory, &blobs, self.reporter).await
    }

    /// Follows the request to its last line, whoever listens. Ends when Ollama ends it, or when the connection breaks.
    async fn make(&self) -> Result<Vec<String>, Error> {
        let client = &self.shared.client;
        let name = self.name().to_string();
        let mut stream = client
            .stream(Doing::Creating, "/api/create", &self.request(&name))
            .await?;
        let mut reader = Reader::default();
        loop {
            let Ok(line) = timeout(SILENCE, stream.next()).await else {
                if client.get::<Version>("/api/version").await.is_ok() {
                    self.reporter.report(Event::Alive).await;
                }
                continue;
            };
            let line = match line {
                Err(error) if stream.last == Last::HelperFailed => return Err(self.without_reason(error).await),
                line => line?,
            };
            let Some(line) = line else { break };
            for event in reader.read(&line) {
                match event {
                    Event::Total(_) | Event::Bytes(_) => self.reporter.count(event),
                    event => self.reporter.report(event).await,
                }
            }
        }
        if reader.success {
            Ok(reader.layers)
        } else {
            Err(stream.cut_short())
        }
    }

    /// Ollama does not tell a full disk from a wrong file when its program fails: the disk is tried. Where that leaves both
    /// possible, both are told.
    async fn without_reason(&self, error: Error) -> Error {
        if self.reporter.is_stopped() {
            return error;
        }
        self.reporter
            .report(Event::Text("looking whether Ollama's disk has room".to_owned()))
            .await;
        let size = self.files.iter().map(|(_, blob)| blob.source.size()).sum();
        match upload::room(&self.shared.client, size, self.reporter).await {
            Room::None(full) => full,
            Room::Enough => error,
            Room::Some => Error {
                message: format!(
                    "llama-quantize failed: the file is wrong, or Ollama's disk had no room for a second copy of it ({} MiB); \
                     which it was stands in Ollama's log",
                    size >> 20
                ),
                ..error
            },
        }
    }

    async fn done(&self, layers: &[String]) -> Result<Done, Error> {
        let after = list::find(self.shared, &self.spec.name).await?;
        let stored = layers.first().and_then(|hex| format!("sha256:{hex}").parse().ok());
        let sources: Vec<_> = self.files.iter().map(|(_, blob)| blob.digest.clone()).collect();
        let stored = stored.or(sources.first().cloned()).unwrap_or_else(|| Digest::of(b""));
        let provenance = self.provenance(stored.clone());
        if let Some(model) = &after {
            let made = Made {
                manifest: model.digest.clone(),
                recipe: self.recipe(),
                sources,
                stored,
                provenance: Some(provenance.clone()),
            };
            let (memory, url, name) = (
                self.shared.memory.clone(),
                self.shared.client.url().to_owned(),
                self.spec.name.clone(),
            );
            // What cannot be remembered costs time, nothing else.
            let _told = tokio::task::spawn_blocking(move || memory.note_made(&url, &name, made))
                .await
                .is_ok();
        }
        let digest = |model: &Option<Arc<ModelInfo>>| model.as_ref().map(|model| model.digest.clone());
        Ok(Done {
            changed: digest(&self.before) != digest(&after),
            provenance: Some(provenance),
            ..Done::default()
        })
    }

    /// As Ollama spells it already, or as it was asked for.
    fn name(&self) -> &ModelName {
        self.before.as_ref().map_or(&self.spec.name, |model| &model.name)
    }

    fn request<'b>(&'b self, name: &'b str) -> CreateRequest<'b> {
        let options = &self.spec.options;
        let message = |message: &'b crate::model::ChatMessage| Message {
            role: &message.role,
            content: &message.content,
        };
        CreateRequest {
            model: name,
            files: digests(&self.files),
            adapters: digests(&self.adapters),
            quantize: options.quantize.as_deref(),
            template: options.template.as_deref(),
            system: options.system.as_deref(),
            license: &options.license,
            parameters: (!options.parameters.is_empty()).then_some(&options.parameters),
            messages: options.messages.iter().map(message).collect(),
            stream: true,
        }
    }

    /// What a lone GGUF is called says nothing of what becomes of it.
    fn recipe(&self) -> Digest {
        let files: Vec<_> = match (&self.spec.source, &self.files[..]) {
            (Source::Gguf(_), [(_, only)]) => vec![("model.gguf", &only.digest)],
            (_, files) => named(files).collect(),
        };
        recipe::of(files, named(&self.adapters), &self.spec.options)
    }

    fn provenance(&self, stored_digest: Digest) -> Provenance {
        let source = |(_, blob): &(String, Blob)| SourceFile {
            file_name: blob.source.name.clone(),
            digest: blob.digest.clone(),
            size_bytes: blob.source.size(),
        };
        Provenance {
            sources: self.files.iter().chain(&self.adapters).map(source).collect(),
            stored_digest,
            create_time: SystemTime::now(),
            converted: matches!(self.spec.source, Source::Safetensors(_)),
            quantized: self.spec.options.quantize.is_some(),
        }
    }
}

fn named(blobs: &[(String, Blob)]) -> impl Iterator<Item = (&str, &Digest)> {
    blobs.iter().map(|(name, blob)| (name.as_str(), &blob.digest))
}

fn digests(blobs: &[(String, Blob)]) -> Map<String, Value> {
    named(blobs)
        .map(|(name, digest)| (name.to_owned(), digest.as_str().into()))
        .collect()
}
