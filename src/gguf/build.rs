//! Makes tiny GGUF files, whole, split or hostile, for tests. No part of the program uses it.
//!
//! ```
//! use model_control::gguf::{Header, TensorKind, build::Builder};
//!
//! let file = Builder::new("llama").unsigned("llama.context_length", 512).tensor("a", &[2], TensorKind::F32, &[0; 8]).finish();
//! assert_eq!(Header::read(&file[..], file.len() as u64)?.parameter_count(), 2);
//! # Ok::<(), model_control::gguf::Error>(())
//! ```

use super::{TensorKind, kind::ARRAY, limits::DEFAULT_ALIGNMENT};

/// Numbers of kinds of values in the format.
pub mod number {
    #![allow(missing_docs, reason = "the names say all")]
    pub const U8: u32 = 0;
    pub const U16: u32 = 2;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const U64: u32 = 10;
}

/// A file to be. Everything is written as given: nothing is checked.
#[derive(Debug, Clone)]
pub struct Builder {
    magic: [u8; 4],
    version: u32,
    alignment: u64,
    counts: Option<(u64, u64)>,
    metadata: Vec<(String, Vec<u8>)>,
    tensors: Vec<Tensor>,
}

#[derive(Debug, Clone)]
struct Tensor {
    name: Vec<u8>,
    shape: Vec<u64>,
    kind: u32,
    data: Vec<u8>,
    offset: Option<u64>,
}

// === impl Builder ===

impl Builder {
    /// A file of this architecture.
    pub fn new(architecture: &str) -> Self {
        Self::empty().text("general.architecture", architecture)
    }

    /// A file without metadata.
    pub fn empty() -> Self {
        let (metadata, tensors) = (Vec::new(), Vec::new());
        Self {
            magic: *b"GGUF",
            version: 3,
            alignment: DEFAULT_ALIGNMENT,
            counts: None,
            metadata,
            tensors,
        }
    }

    /// Other first bytes.
    #[must_use]
    pub fn magic(mut self, magic: [u8; 4]) -> Self {
        self.magic = magic;
        self
    }

    /// Another version than 3.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = version;
        self
    }

    /// Claims so many tensors and metadata entries, whatever there are.
    #[must_use]
    pub fn counts(mut self, tensors: u64, metadata: u64) -> Self {
        self.counts = Some((tensors, metadata));
        self
    }

    /// States an alignment and keeps it.
    #[must_use]
    pub fn alignment(mut self, alignment: u32) -> Self {
        self.alignment = u64::from(alignment).max(1);
        self.unsigned("general.alignment", alignment)
    }

    /// A text.
    #[must_use]
    pub fn text(self, key: &str, text: &str) -> Self {
        let value = string(text.as_bytes());
        self.value(key, number::STRING, &value)
    }

    /// A number of 32 bits.
    #[must_use]
    pub fn unsigned(self, key: &str, value: u32) -> Self {
        self.value(key, number::U32, &value.to_le_bytes())
    }

    /// An array of texts.
    #[must_use]
    pub fn texts(self, key: &str, texts: &[&str]) -> Self {
        let elements: Vec<u8> = texts.iter().flat_map(|text| string(text.as_bytes())).collect();
        self.array(key, number::STRING, texts.len() as u64, &elements)
    }

    /// An array that claims this kind and length, with these bytes as its elements.
    #[must_use]
    pub fn array(self, key: &str, kind: u32, len: u64, elements: &[u8]) -> Self {
        let value = [&kind.to_le_bytes()[..], &len.to_le_bytes(), elements].concat();
        self.value(key, ARRAY, &value)
    }

    /// Any kind, with these bytes as its value.
    #[must_use]
    pub fn value(mut self, key: &str, kind: u32, bytes: &[u8]) -> Self {
        self.metadata
            .push((key.to_owned(), [&kind.to_le_bytes()[..], bytes].concat()));
        self
    }

    /// A tensor behind the others.
    #[must_use]
    pub fn tensor(self, name: &str, shape: &[u64], kind: TensorKind, data: &[u8]) -> Self {
        self.raw_tensor(name.as_bytes(), shape, kind.number(), data)
    }

    /// A tensor of any kind and name.
    #[must_use]
    pub fn raw_tensor(mut self, name: &[u8], shape: &[u64], kind: u32, data: &[u8]) -> Self {
        let (name, shape, data) = (name.to_vec(), shape.to_vec(), data.to_vec());
        self.tensors.push(Tensor {
            name,
            shape,
            kind,
            data,
            offset: None,
        });
        self
    }

    /// Claims another offset for the last tensor. Its data stays where it is.
    #[must_use]
    pub fn at(mut self, offset: u64) -> Self {
        if let Some(tensor) = self.tensors.last_mut() {
            tensor.offset = Some(offset);
        }
        self
    }

    /// The file's bytes.
    pub fn finish(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        let (tensors, metadata) = self
            .counts
            .unwrap_or((self.tensors.len() as u64, self.metadata.len() as u64));
        out.extend(tensors.to_le_bytes());
        out.extend(metadata.to_le_bytes());
        for (key, value) in &self.metadata {
            out.extend(string(key.as_bytes()));
            out.extend(value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            out.extend(string(&tensor.name));
            out.extend(u32::try_from(tensor.shape.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend(tensor.shape.iter().flat_map(|length| length.to_le_bytes()));
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(data.len() as u64).to_le_bytes());
            data.extend(&tensor.data);
            self.pad(&mut data);
        }
        if !self.tensors.is_empty() {
            self.pad(&mut out);
        }
        out.extend(data);
        out
    }

    /// The files of a split one: so many tensors in each part, all metadata in the first.
    pub fn split(&self, tensors: &[usize]) -> Vec<Vec<u8>> {
        let mut rest = self.tensors.iter();
        let part = |(number, &count): (usize, &usize)| {
            let mut part = if number == 0 { self.clone() } else { Self::empty() };
            part.tensors = rest.by_ref().take(count).cloned().collect();
            part.part(number, tensors.len(), self.tensors.len()).finish()
        };
        tensors.iter().enumerate().map(part).collect()
    }

    /// Adds what part `number`, from 0, of a split file says of itself.
    #[must_use]
    pub fn part(self, number: usize, count: usize, tensors: usize) -> Self {
        let short = |value: usize| u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
        self.value("split.no", number::U16, &short(number))
            .value("split.count", number::U16, &short(count))
            .value(
                "split.tensors.count",
                number::I32,
                &i32::try_from(tensors).unwrap_or(i32::MAX).to_le_bytes(),
            )
    }

    fn pad(&self, bytes: &mut Vec<u8>) {
        while !(bytes.len() as u64).is_multiple_of(self.alignment) {
            bytes.push(0);
        }
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u64).to_le_bytes(), bytes].concat()
}
