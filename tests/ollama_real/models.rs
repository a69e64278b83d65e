//! Models as files: a small one that loads, a large one, and safetensors that convert.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::Path,
};

use model_control::gguf::{TensorKind, build::Builder};
use serde_json::{Map, Value, json};

const SPECIAL: [&str; 2] = ["<|bos|>", "<|eos|>"];
const FLOAT: u32 = 6;

/// The repository's own model with another last weight: really loadable, and another content for each seed.
pub(crate) fn tiny(seed: u8) -> Vec<u8> {
    let mut bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf")).unwrap();
    *bytes.last_mut().unwrap() ^= seed;
    bytes
}

/// Bytes that are no model; a pull does not look.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// GPT-2's stand-ins for the 256 bytes, behind the special words.
fn words() -> Vec<String> {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut spare = 256;
    let bytes = (0..256).map(|byte| {
        let code = if printable(byte) {
            byte
        } else {
            spare += 1;
            spare - 1
        };
        char::from_u32(code).unwrap().to_string()
    });
    SPECIAL.iter().map(|&word| word.to_owned()).chain(bytes).collect()
}

/// Writes an F16 llama of `layers` layers, 14 MB each and 12 MB beside: one that llama-quantize takes seconds for.
pub(crate) fn write_large(path: &Path, layers: u32, seed: u64) {
    const DIM: u64 = 768;
    const FF: u64 = 3072;
    const VOCABULARY: u64 = 4096;
    let mut shapes = vec![
        ("token_embd.weight".to_owned(), vec![DIM, VOCABULARY]),
        ("output_norm.weight".to_owned(), vec![DIM]),
        ("output.weight".to_owned(), vec![DIM, VOCABULARY]),
    ];
    for layer in 0..layers {
        for (name, shape) in [
            ("attn_norm", vec![DIM]),
            ("attn_q", vec![DIM, DIM]),
            ("attn_k", vec![DIM, DIM]),
            ("attn_v", vec![DIM, DIM]),
            ("attn_output", vec![DIM, DIM]),
            ("ffn_norm", vec![DIM]),
            ("ffn_gate", vec![DIM, FF]),
            ("ffn_up", vec![DIM, FF]),
            ("ffn_down", vec![FF, DIM]),
        ] {
            shapes.push((format!("blk.{layer}.{name}.weight"), shape));
        }
    }
    let mut vocabulary = words();
    let named = vocabulary.len();
    vocabulary.extend((named..usize::try_from(VOCABULARY).unwrap()).map(|index| format!("w{index:06}")));
    let vocabulary: Vec<&str> = vocabulary.iter().map(String::as_str).collect();
    let float = |builder: Builder, key: &str, value: f32| builder.value(key, FLOAT, &value.to_le_bytes());
    let mut builder = Builder::new("llama")
        .unsigned("general.file_type", 1)
        .unsigned("llama.context_length", 512)
        .unsigned("llama.embedding_length", 768)
        .unsigned("llama.block_count", layers)
        .unsigned("llama.feed_forward_length", 3072)
        .unsigned("llama.attention.head_count", 12)
        .unsigned("llama.attention.head_count_kv", 12)
        .unsigned("llama.rope.dimension_count", 64)
        .unsigned("llama.vocab_size", 4096)
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "gpt-2")
        .texts("tokenizer.ggml.tokens", &vocabulary)
        .texts("tokenizer.ggml.merges", &["h e", "l l"])
        .unsigned("tokenizer.ggml.bos_token_id", 0)
        .unsigned("tokenizer.ggml.eos_token_id", 1);
    builder = float(builder, "llama.attention.layer_norm_rms_epsilon", 1e-5);
    builder = float(builder, "llama.rope.freq_base", 10000.0);
    let mut offset = 0;
    for (name, shape) in &shapes {
        let (kind, width) = if shape.len() == 1 {
            (TensorKind::F32, 4)
        } else {
            (TensorKind::F16, 2)
        };
        builder = builder.tensor(name, shape, kind, &[]).at(offset);
        offset += shape.iter().product::<u64>() * width;
    }
    let mut file = BufWriter::new(File::create(path).unwrap());
    file.write_all(&builder.finish()).unwrap();
    // Small numbers, none of them infinite, as F16 and as F32.
    let mut random = fastrand::Rng::with_seed(seed);
    let mut block: Vec<u8> = Vec::with_capacity(1 << 20);
    for _ in 0..(1 << 19) {
        block.extend_from_slice(&((random.u16(..) & 0x83ff) | 0x2400).to_le_bytes());
    }
    let mut left = usize::try_from(offset).unwrap();
    while left > 0 {
        let piece = left.min(block.len());
        file.write_all(&block[..piece]).unwrap();
        left -= piece;
        // No block is like another.
        block[0] ^= random.u8(..);
    }
    file.into_inner().unwrap().sync_all().unwrap();
}

/// A safetensors file: its header, and its data.
pub(crate) fn safetensors(header: &str, data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.resize(bytes.len() + data, 0);
    bytes
}

/// The tensors of a llama that Ollama converts: names, and shape, in F32.
fn tensors() -> Vec<(String, Vec<usize>)> {
    let vocabulary = words().len();
    let mut all = vec![
        ("lm_head.weight".to_owned(), vec![vocabulary, 64]),
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, 64]),
        ("model.norm.weight".to_owned(), vec![64]),
    ];
    for (name, shape) in [
        ("input_layernorm", vec![64]),
        ("self_attn.q_proj", vec![64, 64]),
        ("self_attn.k_proj", vec![64, 64]),
        ("self_attn.v_proj", vec![64, 64]),
        ("self_attn.o_proj", vec![64, 64]),
        ("post_attention_layernorm", vec![64]),
        ("mlp.gate_proj", vec![128, 64]),
        ("mlp.up_proj", vec![128, 64]),
        ("mlp.down_proj", vec![64, 128]),
    ] {
        all.push((format!("model.layers.0.{name}.weight"), shape));
    }
    all
}

/// The header of such a model, and the bytes of its data.
pub(crate) fn llama_header() -> (Map<String, Value>, usize) {
    let (mut header, mut at) = (Map::new(), 0);
    for (name, shape) in tensors() {
        let end = at + shape.iter().product::<usize>() * 4;
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    (header, at)
}

/// What lies beside the weights.
pub(crate) fn llama_companions() -> [(&'static str, Vec<u8>); 2] {
    let vocabulary: Map<_, _> = words()
        .into_iter()
        .enumerate()
        .map(|(index, word)| (word, json!(index)))
        .collect();
    let size = vocabulary.len();
    let special = |(id, text): (usize, &&str)| {
        json!({
            "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        })
    };
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32", "hidden_size": 64,
        "intermediate_size": 128, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 4,
        "head_dim": 16, "hidden_act": "silu", "vocab_size": size, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "bos_token_id": 0, "eos_token_id": 1,
        "tie_word_embeddings": false,
    });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": SPECIAL.iter().enumerate().map(special).collect::<Vec<_>>(),
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary,
            "merges": ["h e", "l l"],
        },
    });
    [
        ("config.json", config.to_string().into_bytes()),
        ("tokenizer.json", tokenizer.to_string().into_bytes()),
    ]
}
