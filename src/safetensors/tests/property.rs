//! Any bytes are read or refused, at a bounded cost, and what is read keeps its promises.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{MODEL, Sparse, file};
use crate::safetensors::{Header, limits::MAX_HEADER};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Reads and, if that goes well, checks what [`Header`] promises.
fn check(bytes: &[u8], size: u64) {
    let sparse = Sparse::new(bytes, size);
    let result = Header::read_from(&sparse, size);
    assert!(sparse.read.get() <= size.min(MAX_HEADER + 8));
    let header = match result {
        Ok(header) => header,
        Err(error) => return assert!(error.to_string().len() < 1024, "{error}"),
    };
    assert!(!header.tensors.is_empty());
    let data = size - header.data_offset;
    let mut spans: Vec<_> = header.tensors.iter().map(|tensor| tensor.span.clone()).collect();
    assert!(spans.iter().all(|span| span.start <= span.end && span.end <= data));
    spans.retain(|span| !span.is_empty());
    spans.sort_unstable_by_key(|span| span.start);
    assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
    for tensor in &header.tensors {
        let elements: u64 = tensor.shape.iter().product();
        assert_eq!(tensor.kind.bytes(elements), Some(tensor.span.end - tensor.span.start));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..512)) {
        check(&bytes, bytes.len() as u64);
    }

    #[test]
    fn any_text_behind_a_right_length(text in "[{}\\[\\]\",:0-9a-z_\\\\ -]{0,200}", data in 0_usize..64) {
        let bytes = file(&text, data);
        check(&bytes, bytes.len() as u64);
    }

    #[test]
    fn any_offsets_and_shapes(
        tensors in vec((any::<bool>(), vec(0_u64..6, 0..3), 0_u64..24, 0_u64..24), 1..4), data in 0_usize..24,
    ) {
        let entries: Vec<_> = tensors.iter().enumerate().map(|(index, (wide, shape, begin, end))| {
            let dtype = if *wide { "BF16" } else { "U8" };
            format!(r#""{index}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{begin},{end}]}}"#)
        }).collect();
        let bytes = file(&format!("{{{}}}", entries.join(",")), data);
        check(&bytes, bytes.len() as u64);
    }

    #[test]
    fn any_change_of_a_model(
        changes in vec((any::<Index>(), any::<u8>()), 1..6), cut in any::<Index>(), whole in any::<bool>(), more in 0_u64..1 << 20,
    ) {
        let mut bytes = file(MODEL, 21);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        let size = bytes.len() as u64;
        check(&bytes, size);
        check(&bytes, size + more);
    }
}
