//! What a header may claim at most. Each bound is far above any published model and keeps a hostile file cheap.

/// Smallest header, in bytes: an empty object.
pub const MIN_HEADER: u64 = 2;

/// Largest header, in bytes. The bound of the format's reference reader. Ollama has none, and keeps what it allocates.
pub const MAX_HEADER: u64 = 100 * 1024 * 1024;

/// Most tensors of one file. The largest mixture-of-experts models have about 70 thousand in all their files.
pub const MAX_TENSORS: usize = 131_072;

/// Longest tensor name, in bytes.
pub const MAX_NAME: usize = 1024;

/// Most bytes of tensor names together, which are kept in memory.
pub const MAX_NAMES: usize = 32 * 1024 * 1024;

/// Most dimensions of a tensor. Frameworks have at most 8 in use; engines take 4.
pub const MAX_DIMENSIONS: usize = 8;

/// Longest string of the metadata, in bytes. Some trainers store their whole configuration in one.
pub const MAX_STRING: usize = 16 * 1024 * 1024;

/// Deepest nesting. The format has three levels.
pub const MAX_DEPTH: u32 = 16;
