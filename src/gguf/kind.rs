//! Kinds of values, of tensors and of whole files, by their numbers in the format.

use std::fmt;

/// Kind of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say all")]
pub enum ElementKind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    U64,
    I64,
    F64,
}

/// How a tensor's elements are stored: ggml's type.
#[derive(Clone, Copy)]
pub struct TensorKind(&'static Layout);

struct Layout {
    number: u32,
    name: &'static str,
    block: u64,
    bytes: u64,
}

/// The number of arrays among the kinds of values.
pub(super) const ARRAY: u32 = 9;

/// Every type that ggml can read today. Removed ones (5, 31-33, 36-38) are refused, as engines do. 4 was removed too, but
/// Ollama's first gpt-oss files have it for what ggml numbers 39.
#[rustfmt::skip]
static LAYOUTS: [Layout; 36] = [
    layout( 0, "F32",       1,   4),
    layout( 1, "F16",       1,   2),
    layout( 2, "Q4_0",     32,  18),
    layout( 3, "Q4_1",     32,  20),
    layout( 4, "MXFP4",    32,  17),
    layout( 6, "Q5_0",     32,  22),
    layout( 7, "Q5_1",     32,  24),
    layout( 8, "Q8_0",     32,  34),
    layout( 9, "Q8_1",     32,  36),
    layout(10, "Q2_K",    256,  84),
    layout(11, "Q3_K",    256, 110),
    layout(12, "Q4_K",    256, 144),
    layout(13, "Q5_K",    256, 176),
    layout(14, "Q6_K",    256, 210),
    layout(15, "Q8_K",    256, 292),
    layout(16, "IQ2_XXS", 256,  66),
    layout(17, "IQ2_XS",  256,  74),
    layout(18, "IQ3_XXS", 256,  98),
    layout(19, "IQ1_S",   256,  50),
    layout(20, "IQ4_NL",   32,  18),
    layout(21, "IQ3_S",   256, 110),
    layout(22, "IQ2_S",   256,  82),
    layout(23, "IQ4_XS",  256, 136),
    layout(24, "I8",        1,   1),
    layout(25, "I16",       1,   2),
    layout(26, "I32",       1,   4),
    layout(27, "I64",       1,   8),
    layout(28, "F64",       1,   8),
    layout(29, "IQ1_M",   256,  56),
    layout(30, "BF16",      1,   2),
    layout(34, "TQ1_0",   256,  54),
    layout(35, "TQ2_0",   256,  66),
    layout(39, "MXFP4",    32,  17),
    layout(40, "NVFP4",    64,  36),
    layout(41, "Q1_0",    128,  18),
    layout(42, "Q2_0",     64,  18),
];

// === impl ElementKind ===

impl ElementKind {
    /// The kind with this number; none for arrays and unknown numbers.
    pub fn new(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::String,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return None,
        })
    }

    /// Bytes of one element; none for strings, each of which has its own.
    pub fn size(self) -> Option<u64> {
        match self {
            Self::U8 | Self::I8 | Self::Bool => Some(1),
            Self::U16 | Self::I16 => Some(2),
            Self::U32 | Self::I32 | Self::F32 => Some(4),
            Self::U64 | Self::I64 | Self::F64 => Some(8),
            Self::String => None,
        }
    }
}

// === impl TensorKind ===

const fn layout(number: u32, name: &'static str, block: u64, bytes: u64) -> Layout {
    Layout {
        number,
        name,
        block,
        bytes,
    }
}

impl TensorKind {
    /// 32 bits IEEE 754.
    pub const F32: Self = Self(&LAYOUTS[0]);
    /// 16 bits IEEE 754.
    pub const F16: Self = Self(&LAYOUTS[1]);
    /// Blocks of 32 elements in 34 bytes.
    pub const Q8_0: Self = Self(&LAYOUTS[7]);

    /// The kind with this number of the format.
    pub fn new(number: u32) -> Option<Self> {
        LAYOUTS.iter().find(|layout| layout.number == number).map(Self)
    }

    /// Its number in the format.
    pub fn number(self) -> u32 {
        self.0.number
    }

    /// Its name as llama.cpp and Ollama write it, such as `Q4_K`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Elements in a block; rows are whole blocks.
    pub fn block(self) -> u64 {
        self.0.block
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> u64 {
        self.0.bytes
    }
}

impl PartialEq for TensorKind {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for TensorKind {}

impl fmt::Debug for TensorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The name of `general.file_type`: what most of the tensors are, as quantisers are told it.
pub(super) fn file_type(number: u64) -> Option<&'static str> {
    Some(match number {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        // Ollama's number; llama.cpp has 38 for it.
        4 => "MXFP4",
        7 => "Q8_0",
        8 => "Q5_0",
        9 => "Q5_1",
        10 => "Q2_K",
        11 => "Q3_K_S",
        12 => "Q3_K_M",
        13 => "Q3_K_L",
        14 => "Q4_K_S",
        15 => "Q4_K_M",
        16 => "Q5_K_S",
        17 => "Q5_K_M",
        18 => "Q6_K",
        19 => "IQ2_XXS",
        20 => "IQ2_XS",
        21 => "Q2_K_S",
        22 => "IQ3_XS",
        23 => "IQ3_XXS",
        24 => "IQ1_S",
        25 => "IQ4_NL",
        26 => "IQ3_S",
        27 => "IQ3_M",
        28 => "IQ2_S",
        29 => "IQ2_M",
        30 => "IQ4_XS",
        31 => "IQ1_M",
        32 => "BF16",
        36 => "TQ1_0",
        37 => "TQ2_0",
        38 => "MXFP4_MOE",
        39 => "NVFP4",
        40 => "Q1_0",
        41 => "Q2_0",
        _ => return None,
    })
}
