//! A llama of random weights in eight files of safetensors, as published models are.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use serde_json::{Map, Value, json};

const SHARDS: u64 = 8;
const DIM: u64 = 1024;
const FEED: u64 = 4096;
const WORDS: u64 = 320;
/// Bytes of a layer: its norms are less than the rest of the division.
const LAYER: u64 = 32 << 20;

/// A tensor: its name and shape.
type Tensor = (String, Vec<u64>);

/// Of `mib` MiB together, and a little.
pub(crate) fn write(folder: &Path, mib: u64) {
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
    let mut block = vec![0; 1 << 20];
    let mut left = at;
    while left > 0 {
        random.fill(&mut block);
        let count = left.min(block.len() as u64);
        file.write_all(&block[..usize::try_from(count).unwrap()]).unwrap();
        left -= count;
    }
    file.sync_all().unwrap();
}
