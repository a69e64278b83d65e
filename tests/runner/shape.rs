//! Models of any shape with weights of no sense, as a real engine loads them.

use model_control::gguf::{TensorKind, build::Builder};

const BOOL: u32 = 7;
const FLOAT: u32 = 6;
const INT: u32 = 5;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// `F16`, `Q8_0`, `Q4_0`: numbers of the format.
    pub(crate) kind: u32,
    pub(crate) dim: u64,
    pub(crate) layers: u64,
    pub(crate) heads: u64,
    pub(crate) kv_heads: u64,
    pub(crate) ff: u64,
    pub(crate) vocab: u64,
}

/// 195 MB: half a second to load.
pub(crate) const BIG: Shape = Shape {
    kind: 1,
    dim: 768,
    layers: 9,
    heads: 12,
    kv_heads: 12,
    ff: 3072,
    vocab: 8000,
};

// === impl Shape ===

impl Shape {
    pub(crate) fn file(self) -> Vec<u8> {
        self.build().finish()
    }

    pub(crate) fn build(self) -> Builder {
        let number = |n: u64| u32::try_from(n).unwrap();
        let words = self.words();
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let kinds: Vec<u8> = (0..self.vocab)
            .flat_map(|n| (if n < 2 { 3i32 } else { 1 }).to_le_bytes())
            .collect();
        let mut file = Builder::new("llama")
            .unsigned("llama.context_length", 32768)
            .unsigned("llama.embedding_length", number(self.dim))
            .unsigned("llama.block_count", number(self.layers))
            .unsigned("llama.feed_forward_length", number(self.ff))
            .unsigned("llama.attention.head_count", number(self.heads))
            .unsigned("llama.attention.head_count_kv", number(self.kv_heads))
            .unsigned("llama.rope.dimension_count", number(self.dim / self.heads))
            .value("llama.attention.layer_norm_rms_epsilon", FLOAT, &1e-5f32.to_le_bytes())
            .unsigned("llama.vocab_size", number(self.vocab))
            .text("tokenizer.ggml.model", "gpt2")
            .text("tokenizer.ggml.pre", "gpt-2")
            .texts("tokenizer.ggml.tokens", &words)
            .array("tokenizer.ggml.token_type", INT, self.vocab, &kinds)
            .texts("tokenizer.ggml.merges", &["h e"])
            .unsigned("tokenizer.ggml.bos_token_id", 0)
            .unsigned("tokenizer.ggml.eos_token_id", 1)
            .value("tokenizer.ggml.add_bos_token", BOOL, &[1]);
        let kv = self.dim / self.heads * self.kv_heads;
        file = self.matrix(file, "token_embd", self.dim, self.vocab);
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            file = self.norm(file, &name("attn_norm"));
            file = self.matrix(file, &name("attn_q"), self.dim, self.dim);
            file = self.matrix(file, &name("attn_k"), self.dim, kv);
            file = self.matrix(file, &name("attn_v"), self.dim, kv);
            file = self.matrix(file, &name("attn_output"), self.dim, self.dim);
            file = self.norm(file, &name("ffn_norm"));
            file = self.matrix(file, &name("ffn_gate"), self.dim, self.ff);
            file = self.matrix(file, &name("ffn_up"), self.dim, self.ff);
            file = self.matrix(file, &name("ffn_down"), self.ff, self.dim);
        }
        file = self.norm(file, "output_norm");
        self.matrix(file, "output", self.dim, self.vocab)
    }

    fn words(self) -> Vec<String> {
        let plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let mut spare = 255;
        let bytes = (0..256u32).map(|byte| {
            let shown = if plain(byte) {
                byte
            } else {
                spare += 1;
                spare
            };
            char::from_u32(shown).unwrap().to_string()
        });
        let mut words: Vec<String> = ["<s>".to_owned(), "</s>".to_owned()].into_iter().chain(bytes).collect();
        words.push("he".to_owned());
        words.extend((words.len() as u64..self.vocab).map(|n| format!("w{n:06}")));
        words
    }

    fn norm(self, file: Builder, name: &str) -> Builder {
        let ones: Vec<u8> = (0..self.dim).flat_map(|_| 1f32.to_le_bytes()).collect();
        file.tensor(&format!("{name}.weight"), &[self.dim], TensorKind::F32, &ones)
    }

    fn matrix(self, file: Builder, name: &str, row: u64, rows: u64) -> Builder {
        let kind = TensorKind::new(self.kind).unwrap();
        let blocks = usize::try_from(row * rows / kind.block()).unwrap();
        let bytes = usize::try_from(kind.block_bytes()).unwrap();
        let mut data = vec![0; blocks * bytes];
        fastrand::Rng::with_seed(1).fill(&mut data);
        // The first two bytes of each block are a number of 16 bits: small, of either sign.
        for block in data.chunks_exact_mut(bytes) {
            block[1] = block[1] & 0x83 | if bytes == 2 { 0x28 } else { 0x10 };
        }
        file.tensor(&format!("{name}.weight"), &[row, rows], kind, &data)
    }
}
