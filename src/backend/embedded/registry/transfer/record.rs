//! What of a partial file is durable: a small file beside it.
//!
//! It is written after the bytes that it names are synced, in one step. What cannot be read, or does not fit the blob, is
//! as good as nothing. That it may still lie (a disk that lost what it promised) is why the whole file is hashed again.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{
    super::super::store::layout::{self, Layout},
    Blob,
    ranges::Ranges,
};
use crate::model::Digest;

/// Bytes of the longest record that is read.
const MAX_RECORD: u64 = 64 << 10;
/// Ranges that are recorded; further ones are fetched again.
const MAX_RANGES: usize = 1024;
/// Bytes of the longest validator that is kept.
const MAX_VALIDATOR: usize = 1024;

/// What was there before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resume {
    pub(super) durable: Ranges,
    pub(super) validator: Option<String>,
}

/// The file's content.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    version: u32,
    digest: Digest,
    size: u64,
    validator: Option<String>,
    /// First byte, and the one after the last.
    durable: Vec<(u64, u64)>,
}

const VERSION: u32 = 1;

// === impl Resume ===

impl Resume {
    /// What the record of `blob` says; nothing when there is none, or none that can be believed. Blocks.
    pub(super) fn read(layout: &Layout, blob: &Blob) -> Self {
        Self::parse(layout, blob).unwrap_or_default()
    }

    fn parse(layout: &Layout, blob: &Blob) -> Option<Self> {
        let length = std::fs::symlink_metadata(layout.partial(&blob.digest)).ok()?.len();
        let bytes = layout::read_regular(&layout.record(&blob.digest), MAX_RECORD).ok()?;
        let record: Record = serde_json::from_slice(&bytes).ok()?;
        let fits = (record.version, &record.digest, record.size) == (VERSION, &blob.digest, blob.size);
        if !fits || record.durable.len() > MAX_RANGES {
            return None;
        }
        let mut durable = Ranges::default();
        for (start, end) in record.durable {
            if start >= end || (start < durable.end()) {
                return None;
            }
            durable.insert(start..end);
        }
        let validator = record.validator.filter(|validator| validator.len() <= MAX_VALIDATOR);
        (durable.end() <= blob.size.min(length)).then_some(Self { durable, validator })
    }
}

/// The bytes of a record.
pub(super) fn write(blob: &Blob, durable: &Ranges, validator: Option<&str>) -> serde_json::Result<Vec<u8>> {
    let pair = |range: &Range<u64>| (range.start, range.end);
    serde_json::to_vec(&Record {
        version: VERSION,
        digest: blob.digest.clone(),
        size: blob.size,
        validator: validator
            .filter(|validator| validator.len() <= MAX_VALIDATOR)
            .map(str::to_owned),
        durable: durable.iter().take(MAX_RANGES).map(pair).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_a_record_that_fits_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::at(folder.path().join("store"));
        layout.create().unwrap();
        let digest = Digest::of(b"x");
        let blob = Blob { digest, size: 100 };
        let mut durable = Ranges::default();
        durable.insert(0..10);
        durable.insert(50..60);
        let good = String::from_utf8(write(&blob, &durable, Some("\"v\"")).unwrap()).unwrap();
        fs::write(layout.record(&blob.digest), &good).unwrap();
        assert_eq!(
            Resume::read(&layout, &blob),
            Resume::default(),
            "no file, nothing durable"
        );
        fs::write(layout.partial(&blob.digest), [0; 60]).unwrap();
        let validator = Some("\"v\"".to_owned());
        assert_eq!(Resume::read(&layout, &blob), Resume { durable, validator });
        let other = Blob {
            size: 101,
            ..blob.clone()
        };
        assert_eq!(Resume::read(&layout, &other), Resume::default());
        for (from, to) in [
            ("[0,10]", "[0,0]"),
            ("[0,10]", "[0,51]"),
            ("[0,10]", "[-1,10]"),
            ("[0,10]", "[10,0]"),
            ("[50,60]", "[50,61]"),
            ("[50,60]", "[50,18446744073709551616]"),
            ("[50,60]", "[50,18446744073709551615]"),
            ("\"version\":1", "\"version\":2"),
            ("sha256:2", "sha256:3"),
            ("{", ""),
            ("}", ""),
            ("{", "{\"new\":1,"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            fs::write(layout.record(&blob.digest), bad).unwrap();
            assert_eq!(Resume::read(&layout, &blob), Resume::default(), "{from} → {to}");
        }
        fs::write(layout.record(&blob.digest), good + &" ".repeat(1 << 16)).unwrap();
        assert_eq!(Resume::read(&layout, &blob), Resume::default(), "too long");
    }
}
