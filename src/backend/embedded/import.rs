//! Makes a model from opened files.
//!
//! ```text
//! check    headers of all files, before a byte is stored
//! hash     only when the name is there with files of the same sizes: the same content is nothing to do
//! copy     each file to a temporary one, durable, hashed as stored
//! publish  the files, the options' layers and the configuration become blobs, pinned against our own pruning
//! commit   the manifest, last; then it is looked whether all is still there
//! ```
//!
//! The caller's files are read by their descriptors, and never moved, linked or changed.

use std::{io, time::SystemTime};

use self::{
    check::Input,
    copy::{Means, Stored},
    layers::Small,
};
use super::{
    super::{CreateSpec, Done, Error, Kind, call::Reporter},
    store::{
        self, Commit, Committed, Store, blobs, facts,
        layout::{self, Layout},
        manifest::{Kind as LayerKind, Layer, Manifest},
    },
};
use crate::{
    gguf::Header,
    model::{Digest, Event, ModelName, Phase, Provenance, SourceFile},
    source::Source,
};

mod check;
mod copy;
mod hash;
mod layers;
mod progress;
mod watermark;

/// How often a create starts over when another process removes its blobs.
const ATTEMPTS: usize = 2;

/// A create whose files have been checked.
struct Job<'a> {
    store: &'a Store,
    reporter: &'a Reporter,
    /// As it is spelt on disk.
    name: ModelName,
    inputs: Vec<Input>,
    small: Vec<Small>,
    replace: bool,
    /// The manifest that must come of it.
    pin: Option<Digest>,
}

/// A file of the model that lies in the store.
struct Kept {
    layer: Layer,
    sources: Vec<Digest>,
}

/// What a look at the present model says.
enum Present {
    /// It is made of the same.
    Same(Done),
    /// It must give way, or is not there. With each input that is stored already, and the manifest that gives way.
    Other(Vec<Option<Kept>>, Option<Digest>),
}

/// Refuses what no work could change.
pub(super) fn refuse(spec: &CreateSpec) -> Result<(), Error> {
    let mut sources = std::iter::once(&spec.source).chain(&spec.adapters);
    if sources.any(|source| matches!(source, Source::Safetensors(_))) {
        return Err(check::cannot_convert());
    }
    Ok(())
}

/// Does the whole of it. Blocks; stops soon after it is no longer wanted.
pub(super) fn run(store: &Store, spec: &CreateSpec, reporter: &Reporter) -> Result<Done, Error> {
    run_with(store, spec, reporter, |_| ())
}

/// `between` comes between the blobs and the manifest: what another process may do then is what tests try.
fn run_with(
    store: &Store,
    spec: &CreateSpec,
    reporter: &Reporter,
    mut between: impl FnMut(&Layout),
) -> Result<Done, Error> {
    reporter.report(Event::Entered(Phase::Parsing));
    let job = Job {
        store,
        reporter,
        name: match store.find(&spec.name)? {
            Some(info) => info.name.clone(),
            None => store.spelling(&spec.name),
        },
        inputs: Input::all(spec)?,
        small: layers::of(&spec.options)?,
        replace: spec.replace,
        pin: spec.digest.clone(),
    };
    for _ in 0..ATTEMPTS {
        let (known, over) = match job.present()? {
            Present::Same(done) => return Ok(done),
            Present::Other(known, over) => (known, over),
        };
        if let Some(done) = job.make(known, over, &mut between)? {
            return Ok(done);
        }
        let reason = "another process removed parts of the model from the store while it was made";
        reporter.report(Event::Restarted(reason.to_owned()));
    }
    Err(Error::new(
        Kind::StoreUnusable,
        "another process removes parts of the model while it is made: the operator may stop that, or configure another \
         store",
    ))
}

// === impl Job ===

impl Job<'_> {
    /// Compares with the model of that name, reading the files only if nothing cheaper tells a difference.
    fn present(&self) -> Result<Present, Error> {
        let present = self.store.present(&self.name);
        let over = present.as_ref().map(|(digest, _)| digest.clone());
        let unknown = || {
            let known = self.inputs.iter().map(|_| None).collect();
            Present::Other(known, over.clone())
        };
        // What is not whole holds no name.
        let whole = self.store.find(&self.name)?.map(|info| info.digest.clone());
        let Some((digest, Some(manifest))) = present else {
            return Ok(unknown());
        };
        if whole != Some(digest) {
            return Ok(unknown());
        }
        let large = |layer: &&Layer| matches!(layer.kind(), LayerKind::Model | LayerKind::Adapter);
        let mut sizes: Vec<_> = manifest
            .layers
            .iter()
            .filter(large)
            .map(|l| (l.media_type.clone(), l.size))
            .collect();
        let mut wanted: Vec<_> = self
            .inputs
            .iter()
            // The digest says nothing yet.
            .map(|input| Layer::new(input.layer, Digest::of(b""), input.size))
            .map(|layer| (layer.media_type, layer.size))
            .collect();
        sizes.sort();
        wanted.sort();
        let mut rest: Vec<_> = manifest.layers.iter().filter(|layer| !large(layer)).cloned().collect();
        let mut small: Vec<_> = self.small.iter().map(small_layer).collect();
        rest.sort();
        small.sort();
        let same_sizes = sizes == wanted;
        let alike = same_sizes && rest == small;
        if !self.replace && !alike {
            return Err(store::exists(&self.name));
        }
        if !same_sizes {
            return Ok(unknown());
        }
        let kept = self.hash()?;
        let mut layers: Vec<_> = kept.iter().map(|kept| kept.layer.clone()).collect();
        layers.extend(self.small.iter().map(small_layer));
        if manifest.same_content(&layers) {
            let kept = self.with_sources(kept)?;
            return Ok(Present::Same(self.done(false, &kept)));
        }
        if !self.replace {
            return Err(store::exists(&self.name));
        }
        let known = self.with_sources(kept)?.into_iter().map(|kept| {
            let there = manifest.layers.contains(&kept.layer);
            there.then_some(kept)
        });
        Ok(Present::Other(known.collect(), over))
    }

    /// The layers that the files would become.
    fn hash(&self) -> Result<Vec<Kept>, Error> {
        let names = self
            .inputs
            .iter()
            .flat_map(|input| &input.files)
            .map(|file| file.name.clone());
        self.reporter.report(Event::Entered(Phase::Hashing(names.collect())));
        self.reporter
            .report(Event::Total(self.inputs.iter().map(|input| input.size).sum()));
        let mut done = 0;
        let mut kept = Vec::new();
        for input in &self.inputs {
            let digest = hash::planned(input, self.reporter, |bytes| {
                done += bytes;
                self.reporter.count(Event::Bytes(done));
            })?;
            input.unchanged()?;
            kept.push(Kept {
                sources: input.whole().map(|_| digest.clone()).into_iter().collect(),
                layer: Layer::new(input.layer, digest, input.size),
            });
        }
        self.reporter.report(Event::Bytes(done));
        Ok(kept)
    }

    /// With the digests of the parts, which a merged file does not tell.
    fn with_sources(&self, mut kept: Vec<Kept>) -> Result<Vec<Kept>, Error> {
        for (kept, input) in kept.iter_mut().zip(&self.inputs) {
            if kept.sources.is_empty() {
                kept.sources = hash::files(input, self.reporter)?;
            }
        }
        Ok(kept)
    }

    /// Stores it all; nothing when another process removed parts of it meanwhile.
    fn make(
        &self,
        known: Vec<Option<Kept>>,
        over: Option<Digest>,
        between: &mut dyn FnMut(&Layout),
    ) -> Result<Option<Done>, Error> {
        let layers = self.inputs.iter().flat_map(progress::layers).collect();
        self.reporter.report(Event::Entered(Phase::Uploading(layers)));
        let total = self
            .inputs
            .iter()
            .flat_map(|input| &input.files)
            .map(check::File::size)
            .sum();
        self.reporter.report(Event::Total(total));
        let mut files = Vec::new();
        for (input, known) in self.inputs.iter().zip(known) {
            files.push(match known {
                Some(kept) => (kept, None),
                None => self.copy(input)?,
            });
        }
        // Blobs that are new, and that nobody else can want if this fails.
        let mut fresh = Vec::new();
        let made = self.publish(files, over, &mut fresh, between);
        if !matches!(made, Ok(Some(_))) {
            self.store.remove_unused(fresh);
        }
        made
    }

    fn copy(&self, input: &Input) -> Result<(Kept, Option<Stored>), Error> {
        let means = Means {
            share: true,
            kernel: true,
        };
        let stored = copy::store(self.store, input, means, self.reporter)?;
        input.unchanged()?;
        let kept = Kept {
            layer: Layer::new(input.layer, stored.digest.clone(), input.size),
            sources: stored.sources.clone(),
        };
        Ok((kept, Some(stored)))
    }

    fn publish(
        &self,
        files: Vec<(Kept, Option<Stored>)>,
        over: Option<Digest>,
        fresh: &mut Vec<Digest>,
        between: &mut dyn FnMut(&Layout),
    ) -> Result<Option<Done>, Error> {
        let layout = self.store.layout();
        let failed = |error| store::failed("store a blob", error);
        self.reporter.check()?;
        self.reporter.report(Event::Entered(Phase::Writing));
        let mut pins = self.store.pins();
        let mut kept = Vec::new();
        for (file, stored) in files {
            let Layer { digest, size, .. } = &file.layer;
            pins.pin(digest);
            let new = match stored {
                Some(stored) => blobs::publish(layout, stored.temporary, digest, *size).map_err(failed)?,
                // It is part of the model that gives way; if it has gone since, that is found at the end.
                None => false,
            };
            if new {
                fresh.push(digest.clone());
            }
            kept.push(file);
        }
        let mut put = |digest: &Digest, bytes: &[u8]| {
            pins.pin(digest);
            let need = bytes.len() as u64;
            let put = blobs::put(layout, digest, bytes);
            if put.map_err(|error| self.store.write_failed("store a blob", need, error))? {
                fresh.push(digest.clone());
            }
            Ok::<_, Error>(())
        };
        let mut layers: Vec<_> = kept.iter().map(|kept| kept.layer.clone()).collect();
        for small in &self.small {
            let layer = small_layer(small);
            put(&layer.digest, &small.1)?;
            layers.push(layer);
        }
        let Some(config) = self.configuration(&layers)? else {
            return Ok(None);
        };
        let digest = Digest::of(&config);
        put(&digest, &config)?;
        self.reporter.check()?;
        let manifest = Manifest::new(Layer::config(digest, config.len() as u64), layers);
        let bytes = manifest
            .write()
            .map_err(|error| store::failed("write the manifest", error.into()))?;
        self.check_pin(&bytes)?;
        between(layout);
        let committed = self.store.commit(&Commit {
            name: &self.name,
            manifest: &manifest,
            bytes: &bytes,
            replace: self.replace,
            over,
        })?;
        drop(pins);
        Ok(match committed {
            Committed::Whole => Some(self.done(true, &kept)),
            Committed::BlobVanished => None,
        })
    }

    /// Nothing is replaced by what was not asked for.
    fn check_pin(&self, manifest: &[u8]) -> Result<(), Error> {
        let Some(pin) = &self.pin else { return Ok(()) };
        let made = Digest::of(manifest);
        if made == *pin {
            return Ok(());
        }
        let message =
            format!("the files make a model with the digest {made}, and {pin} is pinned: nothing was written");
        Err(Error::new(Kind::PinMismatch, message))
    }

    /// From the stored bytes; nothing when another process removed them.
    fn configuration(&self, layers: &[Layer]) -> Result<Option<Vec<u8>>, Error> {
        let model = layers.first().map(|layer| self.store.layout().blob(&layer.digest));
        let (file, metadata) = match layout::open_regular(&model.unwrap_or_default()) {
            Ok(opened) => opened,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(store::failed("read what it stored", error)),
        };
        let header = Header::read(&file, metadata.len()).map_err(|error| {
            Error::new(Kind::Internal, format!("the stored file is not what was read: {error}")).because(error)
        })?;
        facts::configuration(&header, layers)
            .map(Some)
            .map_err(|error| store::failed("write the configuration", error.into()))
    }

    fn done(&self, changed: bool, kept: &[Kept]) -> Done {
        let files = self.inputs.iter().flat_map(|input| &input.files);
        let digests = kept.iter().flat_map(|kept| &kept.sources);
        let sources = files.zip(digests).map(|(file, digest)| SourceFile {
            file_name: file.name.clone(),
            digest: digest.clone(),
            size_bytes: file.size(),
        });
        let provenance = kept.first().map(|model| Provenance {
            sources: sources.collect(),
            stored_digest: model.layer.digest.clone(),
            create_time: SystemTime::now(),
            converted: false,
            quantized: false,
        });
        Done { changed, provenance }
    }
}

fn small_layer((kind, bytes): &Small) -> Layer {
    Layer::new(*kind, Digest::of(bytes), bytes.len() as u64)
}

#[cfg(test)]
mod tests;
