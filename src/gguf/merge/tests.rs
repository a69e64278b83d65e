//! Merging gives back the tensors of the file that was split.

use proptest::{collection::vec, prelude::*};

use super::{MergeError, Merged, Piece, plan};
use crate::gguf::{Header, TensorKind, Value, build::Builder};

fn headers(files: &[Vec<u8>]) -> Vec<Header> {
    files
        .iter()
        .map(|file| Header::read(&file[..], file.len() as u64).unwrap())
        .collect()
}

fn write(merged: &Merged, files: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in &merged.pieces {
        match piece {
            Piece::Bytes(bytes) => out.extend(bytes),
            &Piece::Range { part, start, len } => {
                let start = usize::try_from(start).unwrap();
                out.extend(&files[part][start..start + usize::try_from(len).unwrap()]);
            }
        }
    }
    assert_eq!(out.len() as u64, merged.size);
    out
}

/// Names, shapes, kinds and data in the order of the table.
fn tensors(file: &[u8]) -> Vec<(String, Vec<u64>, TensorKind, Vec<u8>)> {
    let header = Header::read(file, file.len() as u64).unwrap();
    let data = |offset: u64, size: u64| {
        let start = usize::try_from(header.data_offset + offset).unwrap();
        file[start..start + usize::try_from(size).unwrap()].to_vec()
    };
    header
        .tensors
        .iter()
        .map(|t| (t.name.clone(), t.shape.clone(), t.kind, data(t.offset, t.size)))
        .collect()
}

fn values(file: &[u8]) -> Vec<(String, Value)> {
    let header = Header::read(file, file.len() as u64).unwrap();
    header
        .metadata
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect()
}

fn model(sizes: &[u8], alignment: Option<u32>) -> Builder {
    let mut builder = Builder::new("llama")
        .texts("tokenizer.ggml.tokens", &["a", "b"])
        .text("general.name", "tiny");
    if let Some(alignment) = alignment {
        builder = builder.alignment(alignment);
    }
    for (index, &size) in sizes.iter().enumerate() {
        let data = vec![u8::try_from(index % 250).unwrap() + 1; usize::from(size) * 2];
        builder = builder.tensor(&format!("t{index}"), &[u64::from(size)], TensorKind::F16, &data);
    }
    builder
}

fn two_parts() -> Vec<Vec<u8>> {
    model(&[3, 16, 5], None).split(&[2, 1])
}

fn refused(parts: &[Vec<u8>], expected: &str) {
    assert_eq!(plan(&headers(parts)).unwrap_err().to_string(), expected);
}

#[test]
fn a_merged_file_is_the_file_that_was_split() {
    let whole = model(&[3, 16, 5], None);
    for counts in [&[2, 1][..], &[1, 1, 1], &[0, 3], &[0, 1, 2], &[3, 0]] {
        let parts = whole.split(counts);
        let merged = write(&plan(&headers(&parts)).unwrap(), &parts);
        assert_eq!(merged, whole.finish(), "{counts:?}");
    }
}

#[test]
fn the_data_of_a_part_is_one_range() {
    let sizes: Vec<u8> = (1..100).collect();
    let parts = model(&sizes, None).split(&[60, 39]);
    let ranges = |piece: &&Piece| matches!(piece, Piece::Range { .. });
    // The metadata and two parts.
    assert_eq!(plan(&headers(&parts)).unwrap().pieces.iter().filter(ranges).count(), 3);
}

#[test]
fn old_versions_become_version_3_and_sums_of_tensors_may_be_missing() {
    let one = |builder: Builder, number: u16, name: &str| {
        let builder = builder
            .version(2)
            .value("split.no", 2, &number.to_le_bytes())
            .value("split.count", 2, &[2, 0]);
        builder
            .text("general.name", "n")
            .tensor(name, &[1], TensorKind::F32, &[7; 4])
            .finish()
    };
    let parts = [one(Builder::new("llama"), 0, "a"), one(Builder::empty(), 1, "b")];
    let merged = write(&plan(&headers(&parts)).unwrap(), &parts);
    let header = Header::read(&merged[..], merged.len() as u64).unwrap();
    assert_eq!((header.version, header.split(), header.metadata.len()), (3, None, 2));
    assert_eq!(tensors(&merged).len(), 2);
}

#[test]
fn data_in_another_order_than_the_table_is_copied_one_by_one() {
    let first = Builder::new("llama")
        .part(0, 2, 3)
        .tensor("a", &[1], TensorKind::F32, &[2; 4])
        .at(32)
        .tensor("b", &[1], TensorKind::F32, &[1; 4])
        .at(0)
        .finish();
    let parts = [
        first,
        Builder::empty()
            .part(1, 2, 3)
            .tensor("c", &[1], TensorKind::F32, &[3; 4])
            .finish(),
    ];
    let merged = write(&plan(&headers(&parts)).unwrap(), &parts);
    let data: Vec<u8> = tensors(&merged).into_iter().map(|(_, _, _, data)| data[0]).collect();
    assert_eq!(data, [1, 2, 3]);
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let parts = two_parts();
    let other = model(&[3, 16, 5], None).split(&[1, 1, 1]);
    let named = |name: &str, number, tensors| {
        Builder::new("llama")
            .part(number, 2, tensors)
            .tensor(name, &[1], TensorKind::F32, &[0; 4])
    };
    refused(&[], "0 parts were given; from 1 to 1024 are accepted");
    refused(&parts[..1], "part 1 belongs to a split file of 2 parts, not of 1");
    refused(
        &[parts[0].clone(), other[1].clone()],
        "part 2 belongs to a split file of 3 parts, not of 2",
    );
    refused(&[parts[1].clone(), parts[0].clone()], "part 1 says it is part 2");
    refused(
        &[parts[0].clone(), parts[0].clone()],
        "part 1 says that all parts have 3 tensors; they have 4",
    );
    refused(
        &[parts[0].clone(), model(&[1], None).finish()],
        "part 2 has no split.no, or no split.count above 1: it is not part of a split file",
    );
    refused(
        &[named("a", 0, 2).finish(), named("a", 1, 2).finish()],
        "the tensor \"a\" is in more than one part",
    );
    refused(
        &[named("a", 0, 2).finish(), named("b", 1, 2).alignment(64).finish()],
        "part 2 has the alignment 64, the first has 32",
    );
    let many = vec![headers(&parts).remove(0); 1025];
    assert_eq!(plan(&many), Err(MergeError::Parts { count: 1025 }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tensors_survive_any_split(
        sizes in vec(1_u8..100, 0..30), ends in vec(0_usize..31, 1..6), power in proptest::option::of(0_u32..9),
    ) {
        let whole = model(&sizes, power.map(|power| 1 << power));
        let mut ends: Vec<usize> = ends.into_iter().map(|end| end.min(sizes.len())).collect();
        ends.sort_unstable();
        ends.push(sizes.len());
        let counts: Vec<usize> = ends.iter().scan(0, |from, &end| Some(end - std::mem::replace(from, end))).collect();
        let parts = whole.split(&counts);
        let merged = write(&plan(&headers(&parts)).unwrap(), &parts);
        prop_assert_eq!(tensors(&merged), tensors(&whole.finish()));
        prop_assert_eq!(values(&merged), values(&whole.finish()));
    }
}
