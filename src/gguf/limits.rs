//! What a header may claim at most. Each bound is far above any published model and keeps a hostile file cheap.

/// Longest string value or array element, in bytes. Ollama's own limit.
pub const MAX_STRING: u64 = 16 * 1024 * 1024;

/// Longest metadata key, in bytes. The format's own limit.
pub const MAX_KEY: u64 = 65_535;

/// Longest tensor name, in bytes. The format says 64, some forks of llama.cpp take 127; whether a name suits the engine
/// is for the engine to say, here it only bounds memory.
pub const MAX_TENSOR_NAME: u64 = 256;

/// Most elements of one array. Ollama's own limit; the largest vocabularies have about 300 thousand tokens.
pub const MAX_ARRAY: u64 = 67_108_864;

/// Most dimensions of a tensor. ggml has room for no more.
pub const MAX_DIMENSIONS: u32 = 4;

/// Largest `general.alignment`, in bytes: sixteen memory pages. Files in use have 32.
pub const MAX_ALIGNMENT: u64 = 65_536;

/// Most metadata entries. Models have under a hundred.
pub const MAX_ENTRIES: u64 = 65_536;

/// Most tensors. The largest mixture-of-experts models with every expert stored apart have about 70 thousand.
pub const MAX_TENSORS: u64 = 131_072;

/// Largest header, from the magic to the end of the tensor table, in bytes. A vocabulary of 300 thousand tokens with its
/// merges takes about 20 MB; this bounds the time a file of many gigabytes can take.
pub const MAX_HEADER: u64 = 256 * 1024 * 1024;

/// Most bytes of keys, string values and tensor names together, which are kept in memory: two longest strings.
pub const MAX_TEXT: u64 = 2 * MAX_STRING;

/// Most parts of a split file. The largest published ones have about fifty.
pub const MAX_PARTS: usize = 1024;

/// Alignment of a file that states none, in bytes.
pub const DEFAULT_ALIGNMENT: u64 = 32;

/// Smallest metadata entry: key length, a key of one byte, kind, a value of one byte.
pub(super) const MIN_ENTRY: u64 = 8 + 1 + 4 + 1;

/// Smallest tensor entry: name length, an empty name, no dimensions, kind, offset.
pub(super) const MIN_TENSOR: u64 = 8 + 4 + 4 + 8;
