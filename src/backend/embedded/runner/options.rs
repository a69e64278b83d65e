//! What a caller may say of how a model runs: names and values that are checked, and the engine's flags for them.
//!
//! The list is closed. `llama-server` has flags that write files, run programs and load others' code; none of them may come
//! from a request. Ollama's names are taken where they mean the same.

use serde_json::Value;

use super::{
    RunnerSettings,
    fit::{Run, Shape},
    subject::Subject,
};
use crate::{
    backend::{Error, Kind},
    model::LoadOptions,
};

const FIELD: &str = "load_options.engine_options";
/// Bytes of a value.
const MAX_VALUE: usize = 32;
/// Tokens of a physical batch, where nothing is said.
const BATCH: u64 = 512;
/// An embedding's text must fit into one batch: so much where a model makes nothing else.
const EMBEDDING_BATCH: u64 = 2048;

/// Names of requests, and the engine's flags.
const KNOWN: &[(&str, &str, Sort)] = &[
    ("num_thread", "--threads", Sort::Count),
    ("threads", "--threads", Sort::Count),
    ("threads_batch", "--threads-batch", Sort::Count),
    ("num_gpu", "--gpu-layers", Sort::Whole),
    ("gpu_layers", "--gpu-layers", Sort::Whole),
    ("num_batch", "--batch-size", Sort::Count),
    ("batch_size", "--batch-size", Sort::Count),
    ("ubatch_size", "--ubatch-size", Sort::Count),
    ("parallel", "--parallel", Sort::Count),
    ("flash_attn", "--flash-attn", Sort::Word),
    ("cache_type_k", "--cache-type-k", Sort::Word),
    ("cache_type_v", "--cache-type-v", Sort::Word),
    ("pooling", "--pooling", Sort::Word),
    ("rope_scaling", "--rope-scaling", Sort::Word),
    ("rope_freq_base", "--rope-freq-base", Sort::Number),
    ("rope_freq_scale", "--rope-freq-scale", Sort::Number),
];

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// 1 or more.
    Count,
    /// 0 or more, or -1.
    Whole,
    /// Positive.
    Number,
    /// Letters, digits, `_`.
    Word,
}

/// How a model is to run, decided.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Launch {
    /// Tokens.
    pub(super) context: u32,
    /// Flags with their values, in the order of the list.
    pub(super) flags: Vec<(&'static str, String)>,
    /// As it was asked for, with the context that was chosen.
    pub(super) told: LoadOptions,
}

// === impl Launch ===

impl Launch {
    /// The request's word comes before the model's own, and that before the operator's.
    pub(super) fn decide(subject: &Subject, options: &LoadOptions, settings: &RunnerSettings) -> Result<Self, Error> {
        let context = options
            .context_length
            .or_else(|| number(options.engine_options.get("num_ctx")))
            .or_else(|| number(subject.params.get("num_ctx")))
            .unwrap_or_else(|| {
                let trained = subject.shape.trained.and_then(|trained| u32::try_from(trained).ok());
                settings.context_length.min(trained.unwrap_or(u32::MAX))
            })
            .max(1);
        let mut flags = Vec::new();
        for (name, value) in &options.engine_options {
            if name == "num_ctx" {
                number(Some(value)).ok_or_else(|| refused(name, "takes a whole number from 1"))?;
                continue;
            }
            let Some((_, flag, sort)) = KNOWN.iter().find(|(known, ..)| known == name) else {
                let known: Vec<_> = KNOWN.iter().map(|(known, ..)| *known).collect();
                return Err(refused(
                    name,
                    &format!("is not known here; these are: num_ctx, {}", known.join(", ")),
                ));
            };
            flags.push((*flag, sort.read(value).ok_or_else(|| refused(name, sort.takes()))?));
        }
        flags.sort();
        let mut told = options.clone();
        told.context_length = Some(context);
        Ok(Self { context, flags, told })
    }

    pub(super) fn flag(&self, name: &str) -> Option<&str> {
        self.flags
            .iter()
            .find(|(flag, _)| *flag == name)
            .map(|(_, value)| value.as_str())
    }

    /// Tokens of a physical batch: what was asked for, or for a model that only embeds as much as fits its context.
    pub(super) fn batch(&self, completes: bool) -> u64 {
        let asked = self.flag("--ubatch-size").and_then(|value| value.parse().ok());
        asked.unwrap_or(if completes {
            BATCH
        } else {
            EMBEDDING_BATCH.min(self.context.into())
        })
    }

    pub(super) fn run(&self, completes: bool) -> Run {
        let width = |flag| match self.flag(flag) {
            Some("f32") => 128,
            Some("q8_0") => 34,
            Some("q5_0") => 22,
            Some("q5_1") => 24,
            Some("q4_1") => 20,
            Some("q4_0" | "iq4_nl") => 18,
            _ => 64,
        };
        Run {
            context: self.context.into(),
            batch: self.batch(completes),
            key_width: width("--cache-type-k"),
            value_width: width("--cache-type-v"),
        }
    }

    /// Whether what runs so is what this request asks for: one that asks for nothing is content with what there is.
    pub(super) fn satisfies(&self, asked: &LoadOptions, wanted: &Self) -> bool {
        (asked.context_length.is_none() && asked.engine_options.is_empty())
            || (self.context == wanted.context && self.flags == wanted.flags)
    }
}

/// How embeddings are pooled, where neither request nor model says it.
pub(super) fn pooling(shape: &Shape, launch: &Launch) -> Option<&'static str> {
    (!shape.pools && launch.flag("--pooling").is_none()).then_some("mean")
}

fn number(value: Option<&Value>) -> Option<u32> {
    whole(value?)
        .and_then(|number| u32::try_from(number).ok())
        .filter(|&number| number > 0)
}

/// Numbers of a protobuf `Struct` are all floating.
fn whole(value: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    value.as_i64().or_else(|| {
        value
            .as_f64()
            .filter(|n| n.fract() == 0.0 && n.abs() < 1e9)
            .map(|n| n as i64)
    })
}

fn refused(name: &str, why: &str) -> Error {
    let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    Error::new(Kind::OptionInvalid(FIELD), format!("engine option `{name}` {why}"))
}

// === impl Sort ===

impl Sort {
    fn read(self, value: &Value) -> Option<String> {
        match self {
            Self::Count => whole(value).filter(|&n| n > 0).map(|n| n.to_string()),
            Self::Whole => whole(value).filter(|&n| n >= -1).map(|n| n.to_string()),
            Self::Number => value
                .as_f64()
                .filter(|n| n.is_finite() && *n > 0.0)
                .map(|n| n.to_string()),
            Self::Word => match value {
                Value::Bool(on) => Some(if *on { "on" } else { "off" }.to_owned()),
                Value::String(word) => {
                    let fits = !word.is_empty()
                        && word.len() <= MAX_VALUE
                        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                    fits.then(|| word.clone())
                }
                _ => None,
            },
        }
    }

    fn takes(self) -> &'static str {
        match self {
            Self::Count => "takes a whole number from 1",
            Self::Whole => "takes a whole number from -1",
            Self::Number => "takes a positive number",
            Self::Word => "takes a word of letters, digits and `_`",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::{super::subject::Files, *};
    use crate::model::Digest;

    fn map(pairs: &[(&str, Value)]) -> Map<String, Value> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect()
    }

    fn subject(params: &[(&str, Value)]) -> Subject {
        Subject {
            name: "a".parse().unwrap(),
            digest: Digest::of(b""),
            files: Files {
                weights: "/w".into(),
                projector: None,
                adapters: Vec::new(),
            },
            shape: Shape {
                trained: Some(2048),
                ..Shape::default()
            },
            params: map(params),
            completes: true,
        }
    }

    fn decide(subject: &Subject, context: Option<u32>, options: &[(&str, Value)]) -> Result<Launch, Error> {
        let options = LoadOptions {
            context_length: context,
            engine_options: map(options),
        };
        Launch::decide(subject, &options, &RunnerSettings::default())
    }

    #[test]
    fn the_context_is_the_nearest_word() {
        let own = subject(&[("num_ctx", json!(1024))]);
        let asked = [("num_ctx", json!(512.0))];
        assert_eq!(decide(&own, Some(256), &asked).unwrap().context, 256);
        assert_eq!(decide(&own, None, &asked).unwrap().context, 512);
        assert_eq!(decide(&own, None, &[]).unwrap().context, 1024);
        let plain = decide(&subject(&[]), None, &[]).unwrap();
        assert_eq!(plain.context, 2048);
        assert_eq!(plain.told.context_length, Some(2048));
    }

    #[test]
    fn nothing_but_what_is_known_reaches_the_engine() {
        for (name, value) in [
            ("tools", json!("all")),
            ("log-file", json!("/x")),
            ("threads", json!("-1 --tools all")),
            ("threads", json!(0)),
            ("threads", json!(1.5)),
            ("flash_attn", json!("--x")),
            ("cache_type_k", json!("")),
            ("rope_freq_base", json!(-1)),
            ("num_ctx", json!("many")),
        ] {
            let error = decide(&subject(&[]), None, &[(name, value)]).unwrap_err();
            assert_eq!(error.kind, Kind::OptionInvalid(FIELD), "{name}");
        }
        let options = [
            ("num_thread", json!(2.0)),
            ("flash_attn", json!(true)),
            ("cache_type_v", json!("q8_0")),
        ];
        let launch = decide(&subject(&[]), None, &options).unwrap();
        assert_eq!(launch.flag("--threads"), Some("2"));
        assert_eq!(launch.flag("--flash-attn"), Some("on"));
        assert_eq!(launch.run(true).value_width, 34);
    }

    #[test]
    fn who_asks_for_nothing_is_content() {
        let wide = decide(&subject(&[]), Some(2048), &[]).unwrap();
        let narrow = decide(&subject(&[]), Some(256), &[]).unwrap();
        assert!(wide.satisfies(&LoadOptions::default(), &narrow));
        assert!(!wide.satisfies(&narrow.told, &narrow));
    }
}
