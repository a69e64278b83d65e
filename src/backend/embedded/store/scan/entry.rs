//! One manifest file: what it says, and whether the model is whole.

use std::{io, os::fd::AsFd, sync::Arc};

use super::{
    super::{
        facts::{Template, parameter_size},
        layout,
        manifest::{Config, Kind, MAX_CONFIG, MAX_MANIFEST, Manifest},
        stamp::{Sort, Stamp},
    },
    Walk,
};
use crate::model::{Digest, ModelInfo, ModelName};

/// Bytes of a template that are searched for what the model can do.
const MAX_TEMPLATE: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Entry {
    name: Option<Known>,
    /// From the namespace's folder.
    path: String,
    seen: Option<Stamp>,
    /// The stamp seen tells of every change since.
    settled: bool,
    manifest: Option<Arc<(Digest, Manifest)>>,
    /// The blobs as they were when `info` was made.
    blobs: Vec<Stamp>,
    info: Option<Arc<ModelInfo>>,
    /// The table's generation when `info` was last found right.
    judged: Option<u64>,
    /// What was told to the log last, so that it is told once a change.
    complaint: Option<String>,
    shadowed: bool,
}

#[derive(Debug)]
struct Known {
    name: ModelName,
    folded: Arc<str>,
}

// === impl Entry ===

impl Entry {
    /// The model and its folded name, if it is whole.
    pub(super) fn look(
        &mut self,
        walk: &mut Walk<'_>,
        namespace: impl AsFd,
        parts: [&str; 4],
    ) -> Option<(Arc<str>, Arc<ModelInfo>)> {
        if self.path.is_empty() {
            self.path = format!("{}/{}", parts[2], parts[3]);
        }
        let stamp = match Stamp::at(namespace, self.path.as_str()) {
            // A folder, deeper than manifests lie.
            Ok(stamp) if stamp.sort == Sort::Folder => return None,
            Ok(stamp) => stamp,
            // Removed since its name was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => return self.complain(parts, &error.to_string()),
        };
        if self.seen != Some(stamp) {
            // Another file: what was said of the last one is no longer said.
            self.complaint = None;
            self.shadowed = false;
        }
        match self.judge(walk, stamp, parts) {
            Ok(found) => Some(found),
            Err(problem) => self.complain(parts, &problem),
        }
    }

    /// Another spelling of this name has been listed.
    pub(super) fn shadow(&mut self, parts: [&str; 4]) {
        if !self.shadowed {
            self.shadowed = true;
            tracing::warn!(
                model = parts.join("/"),
                "a model of the store is not listed: another spelling of its name is"
            );
        }
    }

    fn complain<T>(&mut self, parts: [&str; 4], problem: &str) -> Option<T> {
        if self.complaint.as_deref() != Some(problem) {
            let model = parts.join("/");
            tracing::warn!(
                model = model.escape_debug().to_string(),
                problem,
                "a model of the store is not listed"
            );
            self.complaint = Some(problem.to_owned());
        }
        None
    }

    fn judge(
        &mut self,
        walk: &mut Walk<'_>,
        stamp: Stamp,
        parts: [&str; 4],
    ) -> Result<(Arc<str>, Arc<ModelInfo>), String> {
        let known = match &mut self.name {
            Some(known) => known,
            unknown => unknown.insert(Known::new(parts)?),
        };
        let folded = Arc::clone(&known.folded);
        if !(self.settled && self.seen == Some(stamp)) {
            self.judged = None;
            self.settled = false;
            self.seen = Some(stamp);
            let manifest = read(walk, parts, stamp)?;
            if self.manifest.as_deref() != Some(&manifest) {
                self.info = None;
                self.manifest = Some(Arc::new(manifest));
            }
            self.settled = stamp.settled(walk.now);
        }
        let manifest = Arc::clone(self.manifest.as_ref().ok_or("it could not be read")?);
        if walk.fresh {
            for layer in manifest.1.blobs() {
                walk.table.recheck(walk.layout, &layer.digest);
            }
        }
        if let Some(info) = &self.info
            && self.judged == Some(walk.table.generation())
        {
            return Ok((folded, Arc::clone(info)));
        }
        self.judged = None;
        let blobs = whole(walk, &manifest.1)?;
        let made = match &self.info {
            Some(info) if self.blobs == blobs && info.modify_time == stamp.modified() => Arc::clone(info),
            _ => Arc::new(describe(walk, &known.name, &manifest, stamp)?),
        };
        self.blobs = blobs;
        self.info = Some(Arc::clone(&made));
        self.judged = Some(walk.table.generation());
        self.complaint = None;
        Ok((folded, made))
    }
}

// === impl Known ===

impl Known {
    fn new([host, namespace, model, tag]: [&str; 4]) -> Result<Self, String> {
        let name = ModelName::from_parts(host, namespace, model, tag).map_err(|error| error.to_string())?;
        let folded = name.canonical().to_ascii_lowercase().into();
        Ok(Self { name, folded })
    }
}

fn read(walk: &Walk<'_>, parts: [&str; 4], stamp: Stamp) -> Result<(Digest, Manifest), String> {
    if stamp.sort != Sort::File {
        return Err("its manifest is not a regular file".to_owned());
    }
    let bytes = layout::read_regular(&walk.manifest(parts), MAX_MANIFEST)
        .map_err(|error| format!("its manifest cannot be read: {error}"))?;
    let manifest = Manifest::read(&bytes).map_err(|error| format!("its manifest is broken: {error}"))?;
    Ok((Digest::of(&bytes), manifest))
}

/// The stamps of all blobs of a model, each there with its size.
fn whole(walk: &Walk<'_>, manifest: &Manifest) -> Result<Vec<Stamp>, String> {
    manifest
        .blobs()
        .map(|layer| match walk.table.get(&layer.digest) {
            Some(stamp) if stamp.size == layer.size => Ok(*stamp),
            Some(stamp) => Err(format!(
                "its blob {} has {} bytes, not {}",
                layer.digest.short(),
                stamp.size,
                layer.size
            )),
            None => Err(format!("its blob {} is missing", layer.digest.short())),
        })
        .collect()
}

fn describe(
    walk: &mut Walk<'_>,
    name: &ModelName,
    (digest, manifest): &(Digest, Manifest),
    stamp: Stamp,
) -> Result<ModelInfo, String> {
    let blob = |digest: &Digest, limit| layout::read_regular(&walk.layout.blob(digest), limit);
    let config = blob(&manifest.config.digest, MAX_CONFIG)
        .and_then(|bytes| Config::read(&bytes).map_err(io::Error::from))
        .map_err(|error| format!("its configuration cannot be read: {error}"))?;
    let mut info = ModelInfo {
        name: name.clone(),
        digest: digest.clone(),
        size_bytes: manifest.size(),
        modify_time: stamp.modified(),
        format: config.model_format,
        family: config.model_family,
        families: config.model_families,
        parameter_count: None,
        parameter_size: config.model_type,
        quantization_level: config.file_type,
        context_length: None,
        embedding_length: None,
        capabilities: Vec::new(),
    };
    // Tensors lie in blobs of their own: the configuration is all there is to read.
    if info.format == "safetensors" {
        return Ok(info);
    }
    // Of several, engines take the last.
    let model = manifest.of(Kind::Model).last().ok_or("it has no model layer")?;
    let template = match manifest.of(Kind::Template).last() {
        Some(layer) => {
            let bytes =
                blob(&layer.digest, MAX_TEMPLATE).map_err(|error| format!("its template cannot be read: {error}"))?;
            Some(Template::read(&String::from_utf8_lossy(&bytes)))
        }
        None => None,
    };
    let mut facts = (*facts(walk, &model.digest)?).clone();
    for projector in manifest.of(Kind::Projector) {
        facts.project(&*self::facts(walk, &projector.digest)?);
    }
    let missing = |text: &mut String, known: &str| {
        if text.is_empty() {
            known.clone_into(text);
        }
    };
    missing(&mut info.format, "gguf");
    // The file's own word, where it has one: the configuration was made from it.
    facts.family.clone_into(&mut info.family);
    if info.families.is_empty() {
        info.families.push(facts.family.clone());
    }
    missing(&mut info.parameter_size, &parameter_size(facts.parameter_count));
    missing(&mut info.quantization_level, &facts.file_type);
    info.parameter_count = Some(facts.parameter_count);
    info.context_length = facts.context_length();
    info.embedding_length = facts.embedding_length();
    info.capabilities = facts.capabilities(template);
    Ok(info)
}

fn facts(walk: &mut Walk<'_>, digest: &Digest) -> Result<Arc<super::super::facts::Facts>, String> {
    let stamp = *walk.table.get(digest).ok_or("its blob has gone")?;
    walk.headers
        .facts(walk.layout, digest, stamp)
        .map_err(|error| format!("its model file cannot be read: {error}"))
}
