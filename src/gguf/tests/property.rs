//! Any bytes are read or refused, at a bounded cost, and what is read keeps its promises.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{Sparse, model};
use crate::gguf::{Header, merge};

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Reads and, if that goes well, checks what [`Header`] promises.
fn check(bytes: &[u8], size: u64) {
    let file = Sparse::new(bytes, size);
    let result = Header::read(&file, size);
    // A window may be read again for each string that is longer than it.
    assert!(file.read.get() <= 2 * size.min(crate::gguf::limits::MAX_HEADER) + 64 * 1024);
    let Ok(header) = result else { return };
    let mut spans: Vec<_> = header
        .tensors
        .iter()
        .map(|tensor| (tensor.offset, tensor.offset + tensor.size))
        .collect();
    spans.sort_unstable();
    assert!(
        spans
            .iter()
            .all(|&(start, end)| start < end && header.data_offset + end <= size)
    );
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert!(header.alignment.is_power_of_two());
    assert!(
        header
            .metadata
            .iter()
            .all(|entry| entry.span.start < entry.span.end && entry.span.end <= size)
    );
    let (_, _, _) = (header.kind(), header.split(), header.parameter_count());
    drop(merge::plan(&[header]));
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..512)) {
        check(&bytes, bytes.len() as u64);
    }

    #[test]
    fn any_bytes_behind_a_right_beginning(
        tensors in 0_u64..4, entries in 0_u64..4, rest in vec(prop_oneof![Just(0_u8), 0..13_u8, any::<u8>()], 0..512),
    ) {
        let head = [b"GGUF\x03\0\0\0".to_vec(), tensors.to_le_bytes().to_vec(), entries.to_le_bytes().to_vec()].concat();
        let bytes = [head, rest].concat();
        check(&bytes, bytes.len() as u64);
    }

    #[test]
    fn any_change_of_a_model(
        changes in vec((any::<Index>(), any::<u8>()), 1..6), cut in any::<Index>(), whole in any::<bool>(), more in 0_u64..1 << 20,
    ) {
        let mut file = model().finish();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if !whole {
            file.truncate(cut.index(file.len()));
        }
        let size = file.len() as u64;
        check(&file, size);
        check(&file, size + more);
    }

    #[test]
    fn any_number_in_any_place(at in any::<Index>(), power in 0_u32..64, less in any::<bool>()) {
        let mut file = model().finish();
        let number = (1_u64 << power).wrapping_sub(u64::from(less));
        let at = at.index(file.len() - 8);
        file[at..at + 8].copy_from_slice(&number.to_le_bytes());
        let size = file.len() as u64;
        check(&file, size);
        check(&file, 1 << 40);
    }
}
