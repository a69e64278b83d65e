//! The table of files that are refused.

use super::{model, read};
use crate::gguf::{
    Header, Place, TensorKind,
    build::{Builder, number},
};

fn llama() -> Builder {
    Builder::new("llama")
}

fn f32(name: &str) -> Builder {
    llama().tensor(name, &[8], TensorKind::F32, &[0; 32])
}

fn shaped(shape: &[u64]) -> Builder {
    llama().tensor("t", shape, TensorKind::F32, &[0; 64])
}

#[test]
#[allow(clippy::too_many_lines, reason = "one table")]
fn hostile_files_are_refused_by_name() {
    let half = 1_u64 << 63;
    let raw = |kind, bytes: &[u8]| llama().value("k", kind, bytes).finish();
    let string = |len: u64| raw(number::STRING, &len.to_le_bytes());
    let tensor = |name: &[u8]| llama().raw_tensor(name, &[8], 0, &[0; 32]).finish();
    let pair = |first, second| {
        f32("a")
            .at(first)
            .tensor("b", &[8], TensorKind::F32, &[0; 32])
            .at(second)
            .finish()
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", vec![], "the file ends within the magic"),
        ("three bytes", b"GGU".to_vec(), "the file ends within the magic"),
        ("magic only", b"GGUF".to_vec(), "the file ends within the version"),
        (
            "no counts",
            b"GGUF\x03\0\0\0\x01".to_vec(),
            "the file ends within the numbers of tensors and metadata entries",
        ),
        (
            "text",
            b"<!DOCTYPE".to_vec(),
            r#"not a GGUF file: it begins with "<!DO""#,
        ),
        (
            "zip",
            b"PK\x03\x04rest".to_vec(),
            r#"not a GGUF file: it begins with "PK\x03\x04""#,
        ),
        (
            "ggml",
            b"lmgg\0\0\0\0".to_vec(),
            "the file has the format ggml, which came before GGUF; convert the model again",
        ),
        (
            "ggmf",
            b"fmgg\0\0\0\0".to_vec(),
            "the file has the format ggmf, which came before GGUF; convert the model again",
        ),
        (
            "ggjt",
            b"tjgg\0\0\0\0".to_vec(),
            "the file has the format ggjt, which came before GGUF; convert the model again",
        ),
        (
            "ggla",
            b"algg\0\0\0\0".to_vec(),
            "the file has the format ggla, which came before GGUF; convert the model again",
        ),
        (
            "FUGG",
            llama().magic(*b"FUGG").finish(),
            "the GGUF file is big-endian; only little-endian ones can be used",
        ),
        (
            "swapped version",
            llama().version(3_u32.swap_bytes()).finish(),
            "the GGUF file is big-endian; only little-endian ones can be used",
        ),
        (
            "version 1",
            llama().version(1).finish(),
            "the GGUF file has version 1; only versions 2 and 3 can be used: convert the model again",
        ),
        (
            "version 0",
            llama().version(0).finish(),
            "the GGUF file has the unknown version 0; only versions 2 and 3 can be used",
        ),
        (
            "version 4",
            llama().version(4).finish(),
            "the GGUF file has the unknown version 4; only versions 2 and 3 can be used",
        ),
        (
            "tensors 2^63",
            llama().counts(half, 1).finish(),
            "the GGUF file claims 9223372036854775808 tensors; at most 131072 are accepted",
        ),
        (
            "metadata 2^63",
            llama().counts(0, half).finish(),
            "the GGUF file claims 9223372036854775808 metadata entries; at most 65536 are accepted",
        ),
        (
            "metadata beyond",
            llama().counts(0, 60_000).finish(),
            "the file ends within the 60000 metadata entries",
        ),
        (
            "tensors beyond",
            llama().counts(100_000, 1).finish(),
            "the file ends within the table of 100000 tensors",
        ),
        ("empty key", llama().unsigned("", 1).finish(), "metadata key 1 is empty"),
        (
            "long key",
            llama().unsigned(&"k".repeat(65_536), 1).finish(),
            "metadata key 1 has a string of 65536 bytes; at most 65535 are accepted",
        ),
        (
            "key twice",
            llama().unsigned("a", 1).text("b", "").unsigned("a", 2).finish(),
            r#"the metadata key "a" comes twice"#,
        ),
        (
            "unknown kind",
            raw(77, &[0; 8]),
            r#"the metadata key "k" has a value of the unknown kind 77"#,
        ),
        (
            "unknown element",
            llama().array("k", 13, 1, &[0; 8]).finish(),
            r#"the metadata key "k" has a value of the unknown kind 13"#,
        ),
        (
            "nested array",
            llama().array("k", 9, 1, &[0; 32]).finish(),
            r#"the metadata key "k" has an array of arrays"#,
        ),
        (
            "array 2^63",
            llama().array("k", number::U64, half, &[0; 8]).finish(),
            r#"the metadata key "k" has an array of 9223372036854775808 elements; at most 67108864 are accepted"#,
        ),
        (
            "array past the end",
            llama().array("k", number::U64, 60_000_000, &[0; 8]).finish(),
            r#"the file ends within the value of the metadata key "k""#,
        ),
        (
            "array string past the end",
            llama().array("k", number::STRING, 1, &1000_u64.to_le_bytes()).finish(),
            r#"the file ends within the value of the metadata key "k""#,
        ),
        (
            "array string 2^63",
            llama().array("k", number::STRING, 1, &half.to_le_bytes()).finish(),
            r#"the value of the metadata key "k" has a string of 9223372036854775808 bytes; at most 16777216 are accepted"#,
        ),
        (
            "string 2^63",
            string(half),
            r#"the value of the metadata key "k" has a string of 9223372036854775808 bytes; at most 16777216 are accepted"#,
        ),
        (
            "string past the end",
            string(1000),
            r#"the file ends within the value of the metadata key "k""#,
        ),
        (
            "string not UTF-8",
            raw(number::STRING, &[1, 0, 0, 0, 0, 0, 0, 0, 0xff]),
            r#"the value of the metadata key "k" is not UTF-8"#,
        ),
        (
            "bool 2",
            raw(number::BOOL, &[2]),
            r#"the metadata key "k" has the truth value 2; only 0 and 1 are"#,
        ),
        (
            "alignment 0",
            llama().alignment(0).finish(),
            "general.alignment is 0; it must be a power of two up to 65536",
        ),
        (
            "alignment 3",
            llama().alignment(3).finish(),
            "general.alignment is 3; it must be a power of two up to 65536",
        ),
        (
            "alignment 2^17",
            llama().unsigned("general.alignment", 1 << 17).finish(),
            "general.alignment is 131072; it must be a power of two up to 65536",
        ),
        (
            "alignment as text",
            llama().text("general.alignment", "32").finish(),
            "general.alignment is not an unsigned number of 32 bits",
        ),
        (
            "five dimensions",
            shaped(&[1; 5]).finish(),
            r#"the tensor "t" has 5 dimensions; at most 4 are accepted"#,
        ),
        (
            "dimension 0",
            shaped(&[8, 0]).finish(),
            r#"the tensor "t" has a dimension of length 0"#,
        ),
        (
            "elements overflow",
            shaped(&[half, 2]).finish(),
            r#"the size of the tensor "t" overflows"#,
        ),
        (
            "elements 2^63",
            shaped(&[half]).finish(),
            r#"the size of the tensor "t" overflows"#,
        ),
        (
            "bytes overflow",
            shaped(&[half - 1]).finish(),
            r#"the size of the tensor "t" overflows"#,
        ),
        (
            "removed tensor kind",
            llama().raw_tensor(b"t", &[32], 31, &[0; 64]).finish(),
            r#"the tensor "t" has the unknown kind 31"#,
        ),
        (
            "partial block",
            llama().tensor("t", &[33, 32], TensorKind::Q8_0, &[0; 64]).finish(),
            r#"the tensor "t" has rows of 33 elements, no multiple of the 32 in a block of Q8_0"#,
        ),
        (
            "scalar of a block kind",
            llama().tensor("t", &[], TensorKind::Q8_0, &[0; 64]).finish(),
            r#"the tensor "t" has rows of 1 elements, no multiple of the 32 in a block of Q8_0"#,
        ),
        (
            "misaligned",
            f32("t").at(16).finish(),
            r#"the tensor "t" has the offset 16, no multiple of the alignment 32"#,
        ),
        (
            "past the end",
            f32("t").at(32).finish(),
            r#"the tensor "t" has 32 bytes at offset 32, which is beyond the end of the file of 160 bytes"#,
        ),
        (
            "negative offset",
            f32("t").at((-32_i64).cast_unsigned()).finish(),
            r#"the tensor "t" has 32 bytes at offset 18446744073709551584, which is beyond the end of the file of 160 bytes"#,
        ),
        ("same place", pair(0, 0), r#"the tensors "a" and "b" overlap"#),
        (
            "contained",
            llama()
                .tensor("a", &[16], TensorKind::F32, &[0; 64])
                .tensor("b", &[1], TensorKind::F32, &[0; 4])
                .at(32)
                .finish(),
            r#"the tensors "a" and "b" overlap"#,
        ),
        (
            "tensor twice",
            f32("a")
                .tensor("b", &[1], TensorKind::F32, &[0; 4])
                .tensor("a", &[1], TensorKind::F32, &[0; 4])
                .finish(),
            r#"the tensor "a" comes twice"#,
        ),
        (
            "long name",
            tensor(&[b'n'; 257]),
            "the name of tensor 0 has a string of 257 bytes; at most 256 are accepted",
        ),
        ("name not UTF-8", tensor(b"\xff"), "the name of tensor 0 is not UTF-8"),
    ];
    for (case, file, expected) in cases {
        assert_eq!(read(&file).expect_err(case).to_string(), expected, "{case}");
    }
    read(&pair(32, 0)).expect("data in another order than the table's is no overlap");
}

#[test]
fn names_in_messages_are_cut_and_escaped() {
    let key = format!("\"\n{}", "x".repeat(1000));
    let error = read(&llama().value(&key, 99, &[]).finish()).unwrap_err();
    let expected = format!(
        "the metadata key \"\\\"\\n{}…\" has a value of the unknown kind 99",
        "x".repeat(62)
    );
    assert_eq!(error.to_string(), expected);
}

#[test]
fn kept_text_is_bounded_together() {
    let long = "x".repeat(15 * 1024 * 1024);
    let builder = llama().text("a", &long).text("b", &long);
    read(&builder.finish()).unwrap();
    let error = read(&builder.text("c", &long).finish()).unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"the strings of the header exceed 33554432 bytes together within the value of the metadata key "c""#
    );
}

#[test]
fn a_file_cut_anywhere_is_refused_until_the_last_tensor_is_whole() {
    let file = model().finish();
    let header = read(&file).unwrap();
    let end = header
        .tensors
        .iter()
        .map(|tensor| header.data_offset + tensor.offset + tensor.size)
        .max()
        .unwrap();
    for len in 0..end {
        let cut = &file[..usize::try_from(len).unwrap()];
        let error = read(cut).unwrap_err().to_string();
        let said = error.starts_with("the file ends within ") || error.ends_with(&format!("the file of {len} bytes"));
        assert!(said, "{len}: {error}");
    }
}

#[test]
fn read_errors_name_what_was_being_read() {
    struct Broken;
    impl crate::gguf::ReadAt for Broken {
        fn read_at(&self, _: &mut [u8], _: u64) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    let error = Header::read(&Broken, 100).unwrap_err();
    assert!(
        matches!(&error, crate::gguf::Error::Io { at: Place::Magic, .. }),
        "{error:?}"
    );
    assert_eq!(error.to_string(), "cannot read the magic");
}
