//! A llama of random weights: one GGUF, or eight files of safetensors, as published models are.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use model_control::gguf::{TensorKind, build::Builder};
use serde_json::{Map, Value, json};

const SHARDS: u64 = 8;
const DIM: u64 = 1024;
const FEED: u64 = 4096;
const WORDS: u64 = 320;
/// Bytes of a layer: its norms are less than the rest of the division.
const LAYER: u64 = 32 << 20;

/// A tensor: its name and shape.
type Tensor = (String, Vec<u64>);

/// Of `mib` MiB, and a little.
pub(crate) fn gguf(path: &Path, mib: u64) {
    const F32: u32 = 6;
    let layers = ((mib << 20) / LAYER).max(1);
    let number = |number: u64| u32::try_from(number).unwrap();
    let words: Vec<_> = (0..WORDS).map(|id| format!("w{id:06}")).collect();
    let mut builder = Builder::new("llama")
        .unsigned("general.file_type", 1)
        .unsigned("llama.context_length", 512)
        .unsigned("llama.embedding_length", number(DIM))
        .unsigned("llama.block_count", number(layers))
        .unsigned("llama.feed_forward_length", number(FEED))
        .unsigned("llama.attention.head_count", 16)
        .unsigned("llama.attention.head_count_kv", 16)
        .unsigned("llama.rope.dimension_count", 64)
        .value("llama.attention.layer_norm_rms_epsilon", F32, &1e-5_f32.to_le_bytes())
        .unsigned("llama.vocab_size", number(WORDS))
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", "gpt-2")
        .texts(
            "tokenizer.ggml.tokens",
            &words.iter().map(String::as_str).collect::<Vec<_>>(),
        )
        .texts("tokenizer.ggml.merges", &["w w"])
        .unsigned("tokenizer.ggml.bos_token_id", 0)
        .unsigned("tokenizer.ggml.eos_token_id", 1);
    let mut tensors = vec![("token_embd.weight".to_owned(), vec![WORDS, DIM])];
    for layer in 0..layers {
        tensors.extend(layer_of(layer).into_iter().map(|(name, shape)| (in_gguf(&name), shape)));
    }
    tensors.push(("output_norm.weight".to_owned(), vec![DIM]));
    tensors.push(("output.weight".to_owned(), vec![WORDS, DIM]));
    let mut at = 0;
    for (name, mut shape) in tensors {
        let (kind, bytes) = if shape.len() == 1 {
            (TensorKind::F32, 4)
        } else {
            (TensorKind::F16, 2)
        };
        shape.reverse();
        builder = builder.tensor(&name, &shape, kind, &[]).at(at);
        at += bytes * shape.iter().product::<u64>();
    }
    let mut file = File::create(path).unwrap();
    file.write_all(&builder.finish()).unwrap();
    numbers(file, at, &mut fastrand::Rng::with_seed(1));
}

/// Of `mib` MiB together, and a little.
pub(crate) fn shards(folder: &Path, mib: u64) {
    fs::create_dir(folder).unwrap();
    let layers = ((mib << 20) / LAYER).max(SHARDS);
    let config = json!({
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float16", "hidden_size": DIM,
        "intermediate_size": FEED, "num_hidden_layers": layers, "num_attention_heads": 16, "num_key_value_heads": 16,
        "head_dim": 64, "hidden_act": "silu", "vocab_size": WORDS, "max_position_embeddings": 512,
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "bos_token_id": 0, "eos_token_id": 1,
        "tie_word_embeddings": false, "attention_bias": false, "mlp_bias": false,
    });
    let words: Map<_, _> = (0..WORDS).map(|id| (format!("w{id:06}"), id.into())).collect();
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let special = |id: u64| {
        json!({
            "id": id, "content": format!("w{id:06}"), "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    };
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [special(0), special(1)], "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": words, "merges": []},
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();

    let mut random = fastrand::Rng::with_seed(1);
    for shard in 0..SHARDS {
        let mut tensors: Vec<Tensor> = Vec::new();
        for layer in (0..layers).filter(|layer| layer * SHARDS / layers == shard) {
            tensors.extend(layer_of(layer));
        }
        if shard == 0 {
            tensors.push(("model.embed_tokens.weight".to_owned(), vec![WORDS, DIM]));
        }
        if shard == SHARDS - 1 {
            tensors.push(("model.norm.weight".to_owned(), vec![DIM]));
            tensors.push(("lm_head.weight".to_owned(), vec![WORDS, DIM]));
        }
        let name = format!("model-{:05}-of-{SHARDS:05}.safetensors", shard + 1);
        weights(&folder.join(name), &tensors, &mut random);
    }
}

fn layer_of(layer: u64) -> Vec<Tensor> {
    let square = [
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
    ];
    let square = square.iter().map(|name| (*name, vec![DIM, DIM]));
    let feed = [
        ("mlp.gate_proj", vec![FEED, DIM]),
        ("mlp.up_proj", vec![FEED, DIM]),
        ("mlp.down_proj", vec![DIM, FEED]),
        ("input_layernorm", vec![DIM]),
        ("post_attention_layernorm", vec![DIM]),
    ];
    let named = |(name, shape)| (format!("model.layers.{layer}.{name}.weight"), shape);
    square.chain(feed).map(named).collect()
}

fn in_gguf(name: &str) -> String {
    [
        ("model.layers", "blk"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("post_attention_layernorm", "ffn_norm"),
        ("input_layernorm", "attn_norm"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (ours, theirs)| name.replace(ours, theirs))
}

fn weights(path: &Path, tensors: &[Tensor], random: &mut fastrand::Rng) {
    let (mut header, mut at) = (Map::<String, Value>::new(), 0);
    for (name, shape) in tensors {
        let end = at + 2 * shape.iter().product::<u64>();
        header.insert(
            name.clone(),
            json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]}),
        );
        at = end;
    }
    let mut header = serde_json::to_vec(&header).unwrap();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    numbers(file, at, random);
}

/// Random numbers, none of them infinite or none at all, whether they are read as F16 or F32.
fn numbers(mut file: File, mut left: u64, random: &mut fastrand::Rng) {
    let mut block = vec![0_u8; 1 << 20];
    while left > 0 {
        random.fill(&mut block);
        block.iter_mut().skip(1).step_by(2).for_each(|byte| *byte &= 0xbf);
        let count = left.min(block.len() as u64);
        file.write_all(&block[..usize::try_from(count).unwrap()]).unwrap();
        left -= count;
    }
    file.sync_all().unwrap();
}
