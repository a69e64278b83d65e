//! Files that a real Ollama takes: one that answers, one that only embeds, one that no runner takes.

use std::{fs, path::Path};

use model_control::gguf::{TensorKind, build::Builder};

const F32: u32 = 6;
const BOOL: u32 = 7;
const DIM: u64 = 16;
const FEED: u64 = 32;
const WORDS: &[&str] = &[
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "h", "##e", "##l",
];

/// The repository's own: it answers without sense.
pub(super) fn tiny() -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf")).unwrap()
}

/// It is read, and refused when it is loaded: tensors are missing.
pub(super) fn broken() -> Vec<u8> {
    Builder::new("llama")
        .unsigned("llama.context_length", 64)
        .unsigned("llama.embedding_length", 16)
        .unsigned("llama.block_count", 1)
        .unsigned("llama.feed_forward_length", 32)
        .unsigned("llama.attention.head_count", 2)
        .value("llama.attention.layer_norm_rms_epsilon", F32, &1e-5_f32.to_le_bytes())
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "gpt-2")
        .texts("tokenizer.ggml.tokens", &["a", "b", "c", "d"])
        .texts("tokenizer.ggml.merges", &[])
        .tensor("token_embd.weight", &[16, 4], TensorKind::F32, &numbers(64, 1))
        .finish()
}

/// A bert with one layer.
pub(super) fn embedder() -> Vec<u8> {
    let words = u64::try_from(WORDS.len()).unwrap();
    let kinds: Vec<u8> = WORDS.iter().flat_map(|_| 1_i32.to_le_bytes()).collect();
    let mut file = Builder::new("bert")
        .unsigned("bert.context_length", 64)
        .unsigned("bert.embedding_length", 16)
        .unsigned("bert.block_count", 1)
        .unsigned("bert.feed_forward_length", 32)
        .unsigned("bert.attention.head_count", 2)
        .value("bert.attention.layer_norm_epsilon", F32, &1e-12_f32.to_le_bytes())
        .value("bert.attention.causal", BOOL, &[0])
        .unsigned("bert.pooling_type", 1)
        .unsigned("tokenizer.ggml.token_type_count", 2)
        .text("tokenizer.ggml.model", "bert")
        .text("tokenizer.ggml.pre", "default")
        .texts("tokenizer.ggml.tokens", WORDS)
        .array("tokenizer.ggml.token_type", 5, words, &kinds)
        .unsigned("tokenizer.ggml.bos_token_id", 2)
        .unsigned("tokenizer.ggml.eos_token_id", 3)
        .unsigned("tokenizer.ggml.padding_token_id", 0)
        .unsigned("tokenizer.ggml.unknown_token_id", 1)
        .unsigned("tokenizer.ggml.cls_token_id", 2)
        .unsigned("tokenizer.ggml.seperator_token_id", 3)
        .unsigned("tokenizer.ggml.mask_token_id", 4);
    let shapes: &[(&str, &[u64])] = &[
        ("token_embd.weight", &[DIM, words]),
        ("position_embd.weight", &[DIM, 64]),
        ("token_types.weight", &[DIM, 2]),
        ("token_embd_norm.weight", &[DIM]),
        ("token_embd_norm.bias", &[DIM]),
        ("blk.0.attn_q.weight", &[DIM, DIM]),
        ("blk.0.attn_q.bias", &[DIM]),
        ("blk.0.attn_k.weight", &[DIM, DIM]),
        ("blk.0.attn_k.bias", &[DIM]),
        ("blk.0.attn_v.weight", &[DIM, DIM]),
        ("blk.0.attn_v.bias", &[DIM]),
        ("blk.0.attn_output.weight", &[DIM, DIM]),
        ("blk.0.attn_output.bias", &[DIM]),
        ("blk.0.attn_output_norm.weight", &[DIM]),
        ("blk.0.attn_output_norm.bias", &[DIM]),
        ("blk.0.ffn_up.weight", &[DIM, FEED]),
        ("blk.0.ffn_up.bias", &[FEED]),
        ("blk.0.ffn_down.weight", &[FEED, DIM]),
        ("blk.0.ffn_down.bias", &[DIM]),
        ("blk.0.layer_output_norm.weight", &[DIM]),
        ("blk.0.layer_output_norm.bias", &[DIM]),
    ];
    for (seed, (name, shape)) in shapes.iter().enumerate() {
        let data = numbers(shape.iter().product(), seed);
        file = file.tensor(name, shape, TensorKind::F32, &data);
    }
    file.finish()
}

/// Some numbers of 32 bits, small and not all alike.
fn numbers(count: u64, seed: usize) -> Vec<u8> {
    let number = |i: u64| {
        let step = u16::try_from((i * 37 + u64::try_from(seed).unwrap() * 11) % 101).unwrap();
        (f32::from(step) - 50.0) / 100.0
    };
    (0..count).flat_map(|i| number(i).to_le_bytes()).collect()
}
