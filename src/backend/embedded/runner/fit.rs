//! How much memory a model will take: an estimate, before anything is started.
//!
//! | part | from |
//! |---|---|
//! | weights | the size of the file and of what is loaded beside it; it is mapped, so most of it is page cache |
//! | repacked | tensors that the engine copies into another order for this processor, beside the mapped ones |
//! | KV cache | layers × (key + value width of all KV heads) × context × bytes of an element |
//! | compute | activations and logits of one physical batch |
//! | program | what an engine takes without a model |
//!
//! It is meant to be a little too high: a refusal names its figures, and the operator can raise the limit; a model that does
//! not fit takes others with it. It is much too high for models whose attention keeps less than it could (sliding windows,
//! compressed keys).

use crate::gguf::{Header, Value};

/// What an engine takes without a model: 19 MiB were measured, 12 of it mapped.
const PROGRAM: u64 = 20 << 20;
/// Kinds that are repacked on common processors.
const REPACKED: &[&str] = &["Q4_0", "Q4_K", "Q2_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4"];

/// What counts of a model file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Bytes of the file.
    pub(super) file: u64,
    /// Bytes of projectors and adapters.
    pub(super) others: u64,
    /// Bytes of tensors that are copied.
    pub(super) repacked: u64,
    pub(super) layers: u64,
    /// Elements that one token keeps in one layer.
    pub(super) kept: u64,
    pub(super) width: u64,
    pub(super) inner: u64,
    pub(super) vocabulary: u64,
    /// Tokens that it was trained for.
    pub(super) trained: Option<u64>,
    /// It states how it pools embeddings.
    pub(super) pools: bool,
}

/// How it is to run, as far as memory goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Run {
    /// Tokens.
    pub(super) context: u64,
    /// Tokens of a physical batch.
    pub(super) batch: u64,
    /// Bytes of an element of keys and of values, in 32nds.
    pub(super) key_width: u64,
    pub(super) value_width: u64,
}

/// Bytes of each part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub(crate) weights: u64,
    pub(crate) repacked: u64,
    pub(crate) cache: u64,
    pub(crate) compute: u64,
    pub(crate) program: u64,
}

// === impl Shape ===

impl Shape {
    pub(super) fn of(header: &Header) -> Self {
        let own = |key: &str| header.own(key).and_then(Value::unsigned);
        let width = own("embedding_length").unwrap_or(0);
        let heads = own("attention.head_count").unwrap_or(0);
        // A number for each layer is not kept by the reader: as many as there are heads is the most.
        let kv_heads = own("attention.head_count_kv").unwrap_or(heads);
        let head = width.checked_div(heads).unwrap_or(0);
        let key = own("attention.key_length").unwrap_or(head);
        let value = own("attention.value_length").unwrap_or(head);
        let words = match header.get("tokenizer.ggml.tokens") {
            Some(Value::Array { len, .. }) => *len,
            _ => own("vocab_size").unwrap_or(0),
        };
        let repacked = header
            .tensors
            .iter()
            // The embedding is looked up, not multiplied.
            .filter(|tensor| REPACKED.contains(&tensor.kind.name()) && !tensor.name.starts_with("token_embd"))
            .fold(0u64, |sum, tensor| sum.saturating_add(tensor.size));
        Self {
            file: header.file_size,
            others: 0,
            repacked,
            layers: own("block_count").unwrap_or(0),
            kept: kv_heads.saturating_mul(key.saturating_add(value)),
            width,
            inner: own("feed_forward_length").unwrap_or(width.saturating_mul(4)),
            vocabulary: words,
            trained: own("context_length").filter(|&length| length > 0),
            pools: header.own("pooling_type").is_some(),
        }
    }

    pub(super) fn estimate(&self, run: Run) -> Estimate {
        let Self { layers, kept, .. } = self;
        // The cache is made in steps of 256 tokens.
        let tokens = run.context.checked_next_multiple_of(256).unwrap_or(u64::MAX);
        let elements = layers.saturating_mul(*kept).saturating_mul(tokens);
        let bytes = elements.saturating_mul(run.key_width + run.value_width) / 64;
        let activations = self
            .vocabulary
            .saturating_add(self.width.saturating_mul(4))
            .saturating_add(self.inner.saturating_mul(2));
        Estimate {
            weights: self.file.saturating_add(self.others),
            repacked: self.repacked,
            cache: bytes,
            compute: activations.saturating_mul(4).saturating_mul(run.batch.min(run.context)),
            program: PROGRAM,
        }
    }
}

// === impl Estimate ===

impl Estimate {
    pub(crate) fn total(&self) -> u64 {
        [self.repacked, self.cache, self.compute, self.program]
            .into_iter()
            .fold(self.weights, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gguf::{TensorKind, build::Builder};

    const RUN: Run = Run {
        context: 4096,
        batch: 512,
        key_width: 64,
        value_width: 64,
    };

    fn shape(builder: &Builder) -> Shape {
        let file = builder.finish();
        Shape::of(&Header::read(file.as_slice(), file.len() as u64).unwrap())
    }

    fn llama() -> Builder {
        Builder::new("llama")
            .unsigned("llama.block_count", 12)
            .unsigned("llama.embedding_length", 1024)
            .unsigned("llama.feed_forward_length", 2816)
            .unsigned("llama.attention.head_count", 16)
            .unsigned("llama.attention.head_count_kv", 4)
            .unsigned("llama.vocab_size", 16384)
            .tensor("a", &[32], TensorKind::F32, &[0; 128])
    }

    #[test]
    fn a_cache_is_as_large_as_an_engine_makes_it() {
        let estimate = shape(&llama()).estimate(RUN);
        // What an engine said of this shape: 50.3 MB, and 50.4 MB of compute buffers.
        assert_eq!(estimate.cache, 2 * 12 * 4 * 64 * 4096 * 2);
        assert!((50_000_000..58_000_000).contains(&estimate.compute), "{estimate:?}");
    }

    #[test]
    fn smaller_elements_take_less() {
        let run = Run { key_width: 34, ..RUN };
        let (whole, less) = (shape(&llama()).estimate(RUN), shape(&llama()).estimate(run));
        assert_eq!(less.cache, whole.cache / 64 * 49);
    }

    #[test]
    fn nonsense_is_large_and_no_overflow() {
        let shape = Shape {
            file: u64::MAX,
            layers: u64::MAX,
            kept: u64::MAX,
            ..Shape::default()
        };
        let run = Run {
            context: u64::MAX,
            ..RUN
        };
        assert_eq!(shape.estimate(run).total(), u64::MAX);
    }

    #[test]
    fn what_is_repacked_is_there_twice() {
        let q4_0 = TensorKind::new(2).unwrap();
        let file = llama().tensor("blk.0.attn_q.weight", &[32, 2], q4_0, &[0; 36]).tensor(
            "token_embd.weight",
            &[32, 2],
            q4_0,
            &[0; 36],
        );
        assert_eq!(shape(&file).estimate(RUN).repacked, 36);
    }
}
