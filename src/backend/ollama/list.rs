//! Ollama's models.
//!
//! Ollama is asked each time, and reads its manifests anew for each question: what other clients did is seen. What is kept
//! is the reading of its answers: a model that is told in the same words is the same model ([`Seen`]).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Shared,
    wire::{Listed, Tags},
};
use crate::{
    backend::Error,
    model::{Digest, ModelCapability, ModelInfo, ModelName},
};

/// Models of an answer that are kept: some 10 MiB.
const MAX_SEEN: usize = 10_000;

/// The models of the last answer, by the words in which they were told. Ollama tells a list in another order each time, so
/// it is one model that is looked up, not the whole.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashMap<Box<str>, Read>>);

/// What was read of a model; none of what is no model.
type Read = Option<Arc<ModelInfo>>;

/// All models. One whose name or digest is none is left out: nothing could be done with it.
pub(super) async fn all(shared: &Shared) -> Result<Vec<Arc<ModelInfo>>, Error> {
    const PATH: &str = "/api/tags";
    let answer = shared.client.get_bytes(PATH).await?;
    let tags = serde_json::from_slice(&answer).map_err(|source| shared.client.strange(PATH, source))?;
    Ok(shared.seen.read(tags))
}

/// The model of this name, in whatever spelling. Where two differ in case only, the one that is spelt alike.
pub(super) async fn find(shared: &Shared, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
    Ok(named(name, all(shared).await?))
}

/// The same of a list.
pub(super) fn named(name: &ModelName, models: impl IntoIterator<Item = Arc<ModelInfo>>) -> Option<Arc<ModelInfo>> {
    let spelt = name.canonical();
    let models = models.into_iter().filter(|model| model.name == *name);
    models.max_by_key(|model| model.name.canonical() == spelt)
}

// === impl Seen ===

impl Seen {
    fn read(&self, tags: Tags<'_>) -> Vec<Arc<ModelInfo>> {
        let count = tags.models.len();
        let mut models = Vec::with_capacity(count);
        let mut unseen = Vec::new();
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for told in tags.models {
            match seen.get(told.get()) {
                Some(read) => models.extend(read.clone()),
                None => unseen.push(told),
            }
        }
        if unseen.is_empty() && seen.len() == count {
            return models;
        }
        // Something changed, which is rare: what is kept is never more than an answer and what came with the next.
        if seen.len() > count {
            seen.clear();
        }
        for told in unseen {
            let read = read(told.get()).map(Arc::new);
            models.extend(read.clone());
            if seen.len() < MAX_SEEN {
                seen.insert(told.get().into(), read);
            }
        }
        models
    }
}

/// None of what is told in words that no Ollama has: it hides no other model.
fn read(told: &str) -> Option<ModelInfo> {
    match serde_json::from_str(told) {
        Ok(listed) => info(listed),
        Err(error) => {
            tracing::debug!(%error, "Ollama lists what cannot be read");
            None
        }
    }
}

fn info(listed: Listed) -> Option<ModelInfo> {
    let text = if listed.model.is_empty() {
        &listed.name
    } else {
        &listed.model
    };
    let name = text.parse::<ModelName>();
    let digest = format!("sha256:{}", listed.digest.trim_start_matches("sha256:")).parse::<Digest>();
    let (Ok(name), Ok(digest)) = (name, digest) else {
        tracing::debug!(model = text, digest = listed.digest, "Ollama lists what is no model");
        return None;
    };
    let details = listed.details;
    Some(ModelInfo {
        name,
        digest,
        size_bytes: listed.size.max(0).unsigned_abs(),
        modify_time: modified(&listed.modified_at),
        format: details.format,
        family: details.family,
        families: details.families,
        parameter_count: None,
        parameter_size: details.parameter_size,
        quantization_level: details.quantization_level,
        context_length: positive(details.context_length),
        embedding_length: positive(details.embedding_length),
        capabilities: listed.capabilities.into_iter().map(capability).collect(),
    })
}

/// The epoch when it cannot be read: a model is not lost for its date.
fn modified(text: &str) -> SystemTime {
    OffsetDateTime::parse(text, &Rfc3339).map_or(SystemTime::UNIX_EPOCH, SystemTime::from)
}

fn positive(number: Option<i64>) -> Option<u64> {
    number
        .and_then(|number| u64::try_from(number).ok())
        .filter(|&number| number > 0)
}

fn capability(word: String) -> ModelCapability {
    match word.as_str() {
        "completion" => ModelCapability::Completion,
        "tools" => ModelCapability::Tools,
        "insert" => ModelCapability::Insert,
        "vision" => ModelCapability::Vision,
        "embedding" => ModelCapability::Embedding,
        "thinking" => ModelCapability::Thinking,
        "image" => ModelCapability::Image,
        "audio" => ModelCapability::Audio,
        _ => ModelCapability::Other(word),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> Vec<ModelInfo> {
        let tags: Tags<'_> = serde_json::from_str(json).unwrap();
        let seen = Seen::default();
        let first = seen.read(serde_json::from_str(json).unwrap());
        assert_eq!(first, seen.read(tags), "read again");
        first.into_iter().map(|model| (*model).clone()).collect()
    }

    #[test]
    fn a_model_is_read_as_it_is_listed() {
        let hex = "1234567890abcdef".repeat(4);
        let json = format!(
            r#"{{"models":[{{"name":"Tiny:latest","model":"Tiny:latest","modified_at":"2026-11-23T01:02:03.5+01:00",
            "size":195,"digest":"{hex}","details":{{"parent_model":"","format":"gguf","family":"llama","families":null,
            "parameter_size":"115K","quantization_level":"Q8_0","context_length":512}},
            "capabilities":["completion","telepathy"],"new":1}}]}}"#
        );
        let [model] = &parsed(&json)[..] else { panic!() };
        assert_eq!(model.name.to_string(), "Tiny:latest");
        assert_eq!((model.digest.hex(), model.size_bytes), (hex.as_str(), 195));
        assert_eq!((model.context_length, model.embedding_length), (Some(512), None));
        let other = ModelCapability::Other("telepathy".to_owned());
        assert_eq!(model.capabilities, [ModelCapability::Completion, other]);
        let since = model.modify_time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(since.as_millis(), 1_795_392_123_500);
    }

    #[test]
    fn what_is_no_model_hides_no_other() {
        let hex = "0".repeat(64);
        let json = format!(
            r#"{{"models":[{{"name":"a b","digest":"{hex}"}},{{"name":"m","digest":"short"}},{{}},
            {{"name":"n","digest":"{hex}","size":"195"}},{{"name":"o","digest":"{hex}","details":7}},7,null,[],
            {{"name":"p","digest":"{hex}","details":{{"families":["llama",7]}},"capabilities":"completion"}},
            {{"name":"old","digest":"sha256:{hex}","size":-1,"modified_at":"yesterday"}}]}}"#
        );
        let [model] = &parsed(&json)[..] else { panic!() };
        assert_eq!((model.name.to_string().as_str(), model.size_bytes), ("old:latest", 0));
        assert_eq!(model.modify_time, SystemTime::UNIX_EPOCH);
        assert!(parsed(r#"{"models":null}"#).is_empty());
    }

    #[test]
    fn a_model_is_read_once_and_anew_when_it_is_told_otherwise() {
        let seen = Seen::default();
        let told =
            |model: &str, size: u32| format!(r#"{{"name":"{model}","digest":"{}","size":{size}}}"#, "0".repeat(64));
        let read = |models: &[String]| {
            let json = format!(r#"{{"models":[{}]}}"#, models.join(","));
            seen.read(serde_json::from_str(&json).unwrap())
        };
        let first = read(&[told("a", 1), told("b", 1)]);
        let second = read(&[told("b", 1), told("a", 1)]);
        assert!(Arc::ptr_eq(&first[0], &second[1]) && Arc::ptr_eq(&first[1], &second[0]));
        let changed = read(&[told("a", 2), told("b", 1)]);
        let sizes: Vec<_> = changed
            .iter()
            .map(|model| (model.name.to_string(), model.size_bytes))
            .collect();
        assert!(
            sizes.contains(&("a:latest".to_owned(), 2)) && sizes.len() == 2,
            "{sizes:?}"
        );
        for size in 0..10 {
            assert_eq!(read(&[told("a", size)]).len(), 1);
        }
        assert!(seen.0.lock().unwrap().len() <= 2, "what is told no more is forgotten");
        assert!(read(&[]).is_empty());
    }
}
