//! What a model file's header tells a reader of lists, and how Ollama words it.

use super::manifest::{Config, Layer};
use crate::{
    gguf::{FileKind, Header, Value},
    model::ModelCapability,
};

/// What is kept of a header: a few hundred bytes, where the header itself may have megabytes of vocabulary.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) family: String,
    pub(crate) file_type: String,
    pub(crate) parameter_count: u64,
    context_length: Option<u64>,
    embedding_length: Option<u64>,
    embedding: bool,
    vision: bool,
    audio: bool,
    template: Template,
}

/// What a chat template shows that a model can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Template {
    tools: bool,
    thinking: bool,
    insert: bool,
}

/// The configuration of a model that is made from a file with this header: the same for a create and for a plain pull.
pub(crate) fn configuration(header: &Header, layers: &[Layer]) -> Result<Vec<u8>, serde_json::Error> {
    let facts = Facts::of(header);
    let size = parameter_size(facts.parameter_count);
    Config::gguf(&facts.family, size, &facts.file_type, layers).write()
}

// === impl Facts ===

impl Facts {
    pub(crate) fn of(header: &Header) -> Self {
        let own = |key: &str| header.own(key).and_then(Value::unsigned);
        let template = header.text("tokenizer.chat_template").unwrap_or_default();
        let projects = header.kind() == FileKind::Projector;
        let has = |key| matches!(header.get(key), Some(Value::Bool(true)));
        let hears = has("clip.has_audio_encoder");
        Self {
            // Ollama's word where the file has none.
            family: header.architecture().unwrap_or("unknown").to_owned(),
            file_type: header.file_type().unwrap_or("unknown").to_owned(),
            parameter_count: header.parameter_count(),
            context_length: own("context_length"),
            embedding_length: own("embedding_length"),
            embedding: header.own("pooling_type").is_some(),
            // Projectors of before the keys were there are for images.
            vision: own("vision.block_count").is_some() || (projects && (has("clip.has_vision_encoder") || !hears)),
            audio: own("audio.block_count").is_some() || (projects && hears),
            template: Template::read(template),
        }
    }

    /// With the facts of a projector's file.
    pub(crate) fn project(&mut self, projector: &Self) {
        self.audio |= projector.audio;
        self.vision |= projector.vision;
    }

    pub(crate) fn context_length(&self) -> Option<u64> {
        self.context_length
    }

    pub(crate) fn embedding_length(&self) -> Option<u64> {
        self.embedding_length
    }

    /// `layer` is the model's template layer, which stands for the file's own template where it is there.
    pub(crate) fn capabilities(&self, layer: Option<Template>) -> Vec<ModelCapability> {
        let template = layer.unwrap_or(self.template);
        let all = [
            (!self.embedding, ModelCapability::Completion),
            (self.embedding, ModelCapability::Embedding),
            (template.tools, ModelCapability::Tools),
            (template.insert, ModelCapability::Insert),
            (self.vision, ModelCapability::Vision),
            (self.audio, ModelCapability::Audio),
            (template.thinking, ModelCapability::Thinking),
        ];
        all.into_iter().filter_map(|(has, what)| has.then_some(what)).collect()
    }
}

// === impl Template ===

impl Template {
    /// By the words that templates must use for it: Go's in layers, Jinja's in files.
    pub(crate) fn read(text: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        Self {
            tools: has(&["tools", ".Tools"]),
            thinking: has(&["<think>", ".Thinking", "enable_thinking"]),
            insert: has(&[".Suffix"]),
        }
    }
}

/// The number of parameters as Ollama words it: `7.2B`, `8B`, `1.48M`, `115K`, `12`.
pub(crate) fn parameter_size(count: u64) -> String {
    const THOUSAND: u64 = 1_000;
    const MILLION: u64 = THOUSAND * THOUSAND;
    const BILLION: u64 = MILLION * THOUSAND;
    let of = |unit: u64| count as f64 / unit as f64;
    match count {
        BILLION.. if count.is_multiple_of(BILLION) => format!("{}B", count / BILLION),
        BILLION.. => format!("{:.1}B", of(BILLION)),
        MILLION.. if count.is_multiple_of(MILLION) => format!("{}M", count / MILLION),
        MILLION.. => format!("{:.2}M", of(MILLION)),
        THOUSAND.. => format!("{:.0}K", of(THOUSAND)),
        _ => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        ModelCapability::{Completion, Insert, Thinking, Tools, Vision},
        *,
    };

    #[test]
    fn parameters_are_worded_as_ollama_does() {
        for (count, text) in [
            (12, "12"),
            (79_232, "79K"),
            (115_008, "115K"),
            (1_479_936, "1.48M"),
            (97_237_248, "97.24M"),
            (7_000_000, "7M"),
            (8_030_261_312, "8.0B"),
            (8_000_000_000, "8B"),
        ] {
            assert_eq!(parameter_size(count), text);
        }
    }

    #[test]
    fn a_template_layer_stands_for_the_files_own() {
        let facts = Facts {
            template: Template::read("{% if tools %}<think>"),
            vision: true,
            ..Facts::default()
        };
        assert_eq!(facts.capabilities(None), [Completion, Tools, Vision, Thinking]);
        let layer = Template::read("{{ .Prompt }}{{ .Suffix }}");
        assert_eq!(facts.capabilities(Some(layer)), [Completion, Insert, Vision]);
        let embedding = Facts {
            embedding: true,
            ..Facts::default()
        };
        assert_eq!(embedding.capabilities(None), [ModelCapability::Embedding]);
    }
}
