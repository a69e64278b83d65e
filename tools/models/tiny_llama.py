"""A random llama-architecture model with a byte-level BPE vocabulary, in HF naming.

The weights come from a seeded generator: the same shape and seed give the same model.
"""
import json
from dataclasses import dataclass

import numpy as np

BOS, EOS, IM_START, IM_END = "<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>"
SPECIAL = [BOS, EOS, IM_START, IM_END]
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "l d", "Ġwor ld", "t h"]

# Hermes-style ChatML: the shape that llama.cpp's tool-call parser recognises.
CHAT_TEMPLATE = (
    "{%- if tools %}<|im_start|>system\n# Tools\n<tools>"
    "{% for tool in tools %}\n{{ tool | tojson }}{% endfor %}\n</tools>\n"
    'Reply with <tool_call>{"name": ..., "arguments": ...}</tool_call><|im_end|>\n{% endif %}'
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.content %}{{ m.content }}{% endif %}"
    "{% if m.tool_calls %}{% for c in m.tool_calls %}\n<tool_call>\n"
    '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
    "\n</tool_call>{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

# What a model of a fixed chain says after any prompt for an answer: one call, and the end. No two words are alike, so that
# each tells what comes next, and the first follows the line end that closes the prompt.
CALL = {"name": "weather", "arguments": {"city": "Paris"}}
CHAIN = ["\n", "<tool_call>", "\n{", json.dumps(CALL)[1:-1], "}\n", "</tool_call>", IM_END]


@dataclass
class Shape:
    dim: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    ff: int = 128
    vocab: int = 320
    context: int = 512
    eps: float = 1e-5
    rope_theta: float = 10000.0
    seed: int = 0


def byte_symbols() -> list[str]:
    """GPT-2's printable stand-in for each of the 256 bytes."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, spare = {}, 256
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(spare)
            spare += 1
    return [table[b] for b in range(256)]


def as_word(table: list[str], text: str) -> str:
    return text if text in SPECIAL else "".join(table[b] for b in text.encode())


def chain_ids(words: list[str], chain: list[str]) -> list[int]:
    table = byte_symbols()
    return [words.index(as_word(table, text)) for text in chain]


def vocabulary(size: int, chain: list[str]) -> list[str]:
    table = byte_symbols()
    words = SPECIAL + table + [m.replace(" ", "") for m in MERGES]
    spelt = [as_word(table, text) for text in chain]
    words += [word for word in spelt if word not in words]
    if size < len(words):
        raise ValueError(f"vocab must be at least {len(words)}")
    return words + [f"w{i:06}" for i in range(size - len(words))]


def weights(s: Shape):
    """Yield (HF tensor name, float32 array), one at a time so that big models fit in memory."""
    rng = np.random.default_rng(s.seed)
    head = s.dim // s.heads

    def rand(rows, cols):
        return rng.standard_normal((rows, cols), dtype=np.float32) * np.float32(0.05)

    ones = np.ones(s.dim, dtype=np.float32)
    yield "model.embed_tokens.weight", rand(s.vocab, s.dim)
    for i in range(s.layers):
        p = f"model.layers.{i}."
        yield p + "input_layernorm.weight", ones
        yield p + "self_attn.q_proj.weight", rand(s.dim, s.dim)
        yield p + "self_attn.k_proj.weight", rand(s.kv_heads * head, s.dim)
        yield p + "self_attn.v_proj.weight", rand(s.kv_heads * head, s.dim)
        yield p + "self_attn.o_proj.weight", rand(s.dim, s.dim)
        yield p + "post_attention_layernorm.weight", ones
        yield p + "mlp.gate_proj.weight", rand(s.ff, s.dim)
        yield p + "mlp.up_proj.weight", rand(s.ff, s.dim)
        yield p + "mlp.down_proj.weight", rand(s.dim, s.ff)
    yield "model.norm.weight", ones
    yield "lm_head.weight", rand(s.vocab, s.dim)


def chained(named, ids: list[int]):
    """The same weights, changed so that each word of the chain is followed by the next, whatever came before.

    Attention and feed-forward add nothing, so what leaves the last layer is the word's own embedding; the output row of a
    word is the embedding of the one before it.
    """
    rows = {}
    for name, data in named:
        if name == "model.embed_tokens.weight":
            rows = {after: data[before] for before, after in zip(ids, ids[1:])}
        elif name.endswith(("o_proj.weight", "down_proj.weight")):
            data = np.zeros_like(data)
        elif name == "lm_head.weight":
            data = np.zeros_like(data)
            for after, row in rows.items():
                data[after] = row / np.sqrt(np.mean(row * row))
        yield name, data


def add_shape_args(parser):
    for name, default in vars(Shape()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)


def shape_from(args) -> Shape:
    return Shape(**{k: getattr(args, k) for k in vars(Shape())})
