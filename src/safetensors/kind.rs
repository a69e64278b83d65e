//! Kinds of elements.

use std::fmt;

/// How the elements of a tensor are stored. All that the format has: which of them an engine converts is its own to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the format's")]
pub enum ElementKind {
    Bool,
    F4,
    F6E2m3,
    F6E3m2,
    U8,
    I8,
    F8E5m2,
    F8E4m3,
    F8E8m0,
    I16,
    U16,
    F16,
    Bf16,
    I32,
    U32,
    F32,
    C64,
    F64,
    I64,
    U64,
}

/// Each with the format's name and its width in bits.
const ALL: [(ElementKind, &str, u64); 20] = [
    (ElementKind::Bool, "BOOL", 8),
    (ElementKind::F4, "F4", 4),
    (ElementKind::F6E2m3, "F6_E2M3", 6),
    (ElementKind::F6E3m2, "F6_E3M2", 6),
    (ElementKind::U8, "U8", 8),
    (ElementKind::I8, "I8", 8),
    (ElementKind::F8E5m2, "F8_E5M2", 8),
    (ElementKind::F8E4m3, "F8_E4M3", 8),
    (ElementKind::F8E8m0, "F8_E8M0", 8),
    (ElementKind::I16, "I16", 16),
    (ElementKind::U16, "U16", 16),
    (ElementKind::F16, "F16", 16),
    (ElementKind::Bf16, "BF16", 16),
    (ElementKind::I32, "I32", 32),
    (ElementKind::U32, "U32", 32),
    (ElementKind::F32, "F32", 32),
    (ElementKind::C64, "C64", 64),
    (ElementKind::F64, "F64", 64),
    (ElementKind::I64, "I64", 64),
    (ElementKind::U64, "U64", 64),
];

// === impl ElementKind ===

impl ElementKind {
    pub(super) fn of(dtype: &str) -> Option<Self> {
        ALL.iter().find(|(_, name, _)| *name == dtype).map(|&(kind, ..)| kind)
    }

    /// Bytes of so many elements; none when they overflow or do not fill their last byte.
    pub(super) fn bytes(self, elements: u64) -> Option<u64> {
        let bits = u128::from(elements) * u128::from(self.row().2);
        bits.is_multiple_of(8).then(|| u64::try_from(bits / 8).ok()).flatten()
    }

    /// Such as `BF16`.
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    fn row(self) -> (Self, &'static str, u64) {
        ALL[self as usize]
    }
}

impl fmt::Display for ElementKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_row() {
        for (kind, name, bits) in ALL {
            assert_eq!((kind.row(), ElementKind::of(name)), ((kind, name, bits), Some(kind)));
        }
        assert_eq!(ElementKind::F4.bytes(3), None);
        assert_eq!(ElementKind::F6E2m3.bytes(4), Some(3));
        assert_eq!(ElementKind::F64.bytes(u64::MAX), None);
    }
}
