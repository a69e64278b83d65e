//! What is read, and the table of hostile files with the error that each gets.

use std::{
    cell::Cell,
    io::{self, Write},
};

use super::{
    ElementKind, Error, FileKind, Header, ReadAt, TensorKind, Value,
    build::{Builder, number},
    limits::MAX_HEADER,
};

mod hostile;
mod property;

/// A file of any size: these bytes, then zeros. Counts what is read of it.
struct Sparse<'a> {
    bytes: &'a [u8],
    size: u64,
    read: Cell<u64>,
}

impl<'a> Sparse<'a> {
    fn new(bytes: &'a [u8], size: u64) -> Self {
        Self {
            bytes,
            size,
            read: Cell::new(0),
        }
    }
}

impl ReadAt for Sparse<'_> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(self.size.saturating_sub(offset)).unwrap();
        let count = rest.min(buf.len());
        buf[..count].fill(0);
        self.bytes.read_at(&mut buf[..count], offset)?;
        self.read.set(self.read.get() + count as u64);
        Ok(count)
    }
}

fn read(file: &[u8]) -> Result<Header, Error> {
    Header::read(file, file.len() as u64)
}

fn model() -> Builder {
    Builder::new("llama")
        .text("general.name", "tiny")
        .unsigned("general.file_type", 7)
        .unsigned("llama.context_length", 512)
        .value("llama.signed", number::I32, &(-1_i32).to_le_bytes())
        .value("tokenizer.ggml.add_bos_token", number::BOOL, &[1])
        .texts("tokenizer.ggml.tokens", &["a", "", "ccc"])
        .array("tokenizer.ggml.scores", number::U32, 3, &[7; 12])
        .tensor("token_embd.weight", &[32, 3], TensorKind::Q8_0, &[1; 34 * 3])
        .tensor("output_norm.weight", &[5], TensorKind::F32, &[2; 20])
        .tensor("scale", &[], TensorKind::F16, &[3; 2])
}

#[test]
fn a_model_is_read_whole() {
    for version in [2, 3] {
        let file = model().version(version).finish();
        let header = read(&file).unwrap();
        assert_eq!(
            (header.version, header.alignment, header.file_size),
            (version, 32, file.len() as u64)
        );
        assert_eq!(header.architecture(), Some("llama"));
        assert_eq!(header.text("general.name"), Some("tiny"));
        assert_eq!(header.file_type(), Some("Q8_0"));
        assert_eq!(header.own("context_length").and_then(Value::unsigned), Some(512));
        assert_eq!(header.get("llama.signed"), Some(&Value::I32(-1)));
        assert_eq!(header.unsigned("llama.signed"), None);
        assert_eq!(header.get("tokenizer.ggml.add_bos_token"), Some(&Value::Bool(true)));
        let tokens = Value::Array {
            kind: ElementKind::String,
            len: 3,
        };
        assert_eq!(header.get("tokenizer.ggml.tokens"), Some(&tokens));
        assert_eq!(header.parameter_count(), 96 + 5 + 1);
        assert_eq!((header.kind(), header.split()), (FileKind::Model, None));
        for (tensor, byte) in header.tensors.iter().zip([1, 2, 3]) {
            let start = usize::try_from(header.data_offset + tensor.offset).unwrap();
            let size = usize::try_from(tensor.size).unwrap();
            assert!(
                file[start..start + size].iter().all(|&found| found == byte),
                "{tensor:?}"
            );
        }
    }
}

#[test]
fn spans_hold_key_kind_and_value() {
    let file = model().finish();
    let header = read(&file).unwrap();
    let span = header.metadata[2].span.clone();
    let span = usize::try_from(span.start).unwrap()..usize::try_from(span.end).unwrap();
    let expected = [
        &17_u64.to_le_bytes()[..],
        b"general.file_type",
        &4_u32.to_le_bytes(),
        &7_u32.to_le_bytes(),
    ]
    .concat();
    assert_eq!(file[span], expected);
    assert!(
        header
            .metadata
            .windows(2)
            .all(|pair| pair[0].span.end == pair[1].span.start)
    );
}

#[test]
fn the_last_tensor_needs_no_padding_and_trailing_bytes_are_left_alone() {
    let mut file = model().finish();
    let header = read(&file).unwrap();
    let end = header
        .tensors
        .iter()
        .map(|tensor| header.data_offset + tensor.offset + tensor.size)
        .max()
        .unwrap();
    file.truncate(usize::try_from(end).unwrap());
    read(&file).unwrap();
    file.extend([9; 100]);
    read(&file).unwrap();
}

#[test]
fn kinds_of_files_are_told_apart() {
    let one = |builder: Builder| builder.tensor("a", &[1], TensorKind::F32, &[0; 4]);
    let typed = |kind| one(Builder::new("llama").text("general.type", kind));
    for (builder, kind) in [
        (one(Builder::new("llama")), FileKind::Model),
        (one(Builder::empty()), FileKind::Model),
        (typed("model"), FileKind::Model),
        (typed("adapter"), FileKind::Adapter),
        (typed("mmproj"), FileKind::Projector),
        (typed("projector"), FileKind::Projector),
        (typed("imatrix"), FileKind::ImportanceMatrix),
        (one(Builder::new("clip")), FileKind::Projector),
        (
            one(Builder::new("clip").unsigned("clip.block_count", 1)),
            FileKind::Model,
        ),
        (Builder::new("llama"), FileKind::Vocabulary),
        (Builder::new("llama").part(0, 2, 1), FileKind::Model),
    ] {
        assert_eq!(read(&builder.finish()).unwrap().kind(), kind, "{builder:?}");
    }
}

#[test]
fn parts_are_told_from_whole_files() {
    let split = |builder: Builder| read(&builder.finish()).unwrap().split();
    let part = split(Builder::empty().part(1, 3, 7)).unwrap();
    assert_eq!((part.number, part.count, part.tensors), (1, 3, Some(7)));
    assert_eq!(
        split(Builder::empty().part(0, 0, 7)),
        None,
        "as llama-gguf-split leaves a merged file"
    );
    assert_eq!(split(Builder::empty().part(0, 1, 7)), None);
}

#[test]
fn a_file_is_read_by_position() {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&model().finish()).unwrap();
    let size = file.metadata().unwrap().len();
    assert_eq!(Header::read(&file, size).unwrap(), read(&model().finish()).unwrap());
    assert_eq!(io::Seek::stream_position(&mut file).unwrap(), size);
}

#[test]
fn interrupted_and_short_reads_go_on() {
    struct Slow<'a>(&'a [u8], Cell<bool>);
    impl ReadAt for Slow<'_> {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            if self.1.replace(!self.1.get()) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let few = buf.len().min(3);
            self.0.read_at(&mut buf[..few], offset)
        }
    }
    let file = model().text("general.description", &"long ".repeat(30_000)).finish();
    let slow = Slow(&file, Cell::new(true));
    assert_eq!(Header::read(&slow, file.len() as u64).unwrap(), read(&file).unwrap());
}

#[test]
fn large_arrays_and_the_data_are_not_read() {
    // A third entry is claimed; behind the array lie zeros, so its key is empty.
    let builder = Builder::new("llama").counts(1, 3);
    let claims = builder.array("big", number::U8, 60_000_000, &[]).finish();
    let file = Sparse::new(&claims, 1 << 50);
    assert!(matches!(
        Header::read(&file, file.size),
        Err(Error::EmptyKey { index: 2 })
    ));
    assert!(file.read.get() <= 2 * 64 * 1024, "read {}", file.read.get());
}

#[test]
fn a_hostile_claim_costs_no_more_than_the_largest_header() {
    let claims = Builder::new("llama")
        .array("many", number::STRING, 60_000_000, &[])
        .finish();
    let file = Sparse::new(&claims, 1 << 50);
    assert!(matches!(
        Header::read(&file, file.size),
        Err(Error::HeaderTooLarge { .. })
    ));
    assert!(file.read.get() <= MAX_HEADER + 64 * 1024);
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_truncated() {
    let file = model().finish();
    let error = Header::read(&file[..100], file.len() as u64).unwrap_err();
    assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
}
