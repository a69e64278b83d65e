//! Ollama's models.
//!
//! Nothing is kept between two questions: Ollama reads its manifests anew for each, and so what other clients did is seen.

use std::{sync::Arc, time::SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    client::Client,
    wire::{Listed, Tags},
};
use crate::{
    backend::Error,
    model::{Digest, ModelCapability, ModelInfo, ModelName},
};

/// All models. One whose name or digest is none is left out: nothing could be done with it.
pub(super) async fn all(client: &Client) -> Result<Vec<Arc<ModelInfo>>, Error> {
    let tags: Tags = client.get("/api/tags").await?;
    Ok(tags.models.into_iter().filter_map(info).map(Arc::new).collect())
}

/// The model of this name, in whatever spelling. Where two differ in case only, the one that is spelt alike.
pub(super) async fn find(client: &Client, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
    Ok(named(name, all(client).await?))
}

/// The same of a list.
pub(super) fn named(name: &ModelName, models: impl IntoIterator<Item = Arc<ModelInfo>>) -> Option<Arc<ModelInfo>> {
    let spelt = name.canonical();
    let models = models.into_iter().filter(|model| model.name == *name);
    models.max_by_key(|model| model.name.canonical() == spelt)
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
        let tags: Tags = serde_json::from_str(json).unwrap();
        tags.models.into_iter().filter_map(info).collect()
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
            {{"name":"old","digest":"sha256:{hex}","size":-1,"modified_at":"yesterday"}}]}}"#
        );
        let [model] = &parsed(&json)[..] else { panic!() };
        assert_eq!((model.name.to_string().as_str(), model.size_bytes), ("old:latest", 0));
        assert_eq!(model.modify_time, SystemTime::UNIX_EPOCH);
        assert!(parsed(r#"{"models":null}"#).is_empty());
    }
}
