//! The checks, in the order of the file.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{
    Error, Header, ReadAt, Tensor,
    entry::{Entry, FIELDS},
    error::shown,
    limits::{MAX_HEADER, MAX_NAME, MAX_NAMES, MAX_TENSORS, MIN_HEADER},
    state::{Place, State},
    text::{Text, fill},
};

/// Bytes of the header's length.
const LENGTH: u64 = 8;
/// The name that is no tensor's.
const METADATA: &str = "__metadata__";

/// The top object. What is wrong goes to the state, for the parser carries texts only.
struct Tensors<'a>(&'a State);
/// The object of the file's own metadata.
struct Metadata<'a>(&'a State);

pub(super) fn header(file: &(impl ReadAt + ?Sized), file_size: u64) -> Result<Header, Error> {
    if file_size == 0 {
        return Err(Error::Empty);
    }
    if file_size < LENGTH {
        return Err(Error::TooShort { file_size });
    }
    let mut first = [0; 8];
    fill(file, &mut first, 0)?;
    let len = u64::from_le_bytes(first);
    if !(MIN_HEADER..=MAX_HEADER).contains(&len) {
        return Err(other(first).unwrap_or(Error::HeaderLength { len }));
    }
    let data_offset = LENGTH + len;
    if data_offset > file_size {
        return Err(other(first).unwrap_or(Error::HeaderBeyondFile { len, file_size }));
    }
    let state = State::default();
    let mut parser = serde_json::Deserializer::from_reader(Text::new(file, LENGTH, data_offset, &state));
    let parsed = Tensors(&state)
        .deserialize(&mut parser)
        .and_then(|tensors| parser.end().map(|()| tensors));
    let tensors = parsed.map_err(|error| state.error(&error))?;
    if tensors.is_empty() {
        return Err(Error::NoTensors);
    }
    places(&tensors, file_size - data_offset)?;
    Ok(Header {
        tensors,
        data_offset,
        file_size,
    })
}

/// Kinds of files that are found under the name of this one.
fn other(first: [u8; 8]) -> Option<Error> {
    match &first {
        b"version " => Some(Error::LfsPointer),
        [b'G', b'G', b'U', b'F', ..] => Some(Error::OtherFormat { format: "GGUF" }),
        [b'P', b'K', 3, 4, ..] => Some(Error::OtherFormat {
            format: "PyTorch (zip)",
        }),
        _ => None,
    }
}

/// No name twice, nothing outside of the file, nothing shared.
fn places(tensors: &[Tensor], data_size: u64) -> Result<(), Error> {
    let mut names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::DuplicateTensor { name: shown(pair[0]) });
    }
    if let Some(tensor) = tensors.iter().find(|tensor| tensor.span.end > data_size) {
        return Err(Error::OutsideFile {
            name: shown(&tensor.name),
            end: tensor.span.end,
            data_size,
        });
    }
    let mut spans: Vec<_> = tensors.iter().filter(|tensor| !tensor.span.is_empty()).collect();
    spans.sort_unstable_by_key(|tensor| tensor.span.start);
    let shared = spans.windows(2).find(|pair| pair[0].span.end > pair[1].span.start);
    shared.map_or(Ok(()), |pair| {
        Err(Error::Overlap {
            first: shown(&pair[0].name),
            second: shown(&pair[1].name),
        })
    })
}

// === impl Tensors ===

impl<'de> DeserializeSeed<'de> for Tensors<'_> {
    type Value = Vec<Tensor>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Tensors<'_> {
    type Value = Vec<Tensor>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let state = self.0;
        let (mut tensors, mut names, mut metadata) = (Vec::new(), 0, false);
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                if std::mem::replace(&mut metadata, true) {
                    return Err(state.fail(Error::DuplicateTensor { name }));
                }
                state.at(Place::Metadata);
                map.next_value_seed(Metadata(state))?;
            } else {
                if name.is_empty() || name.len() > MAX_NAME {
                    let (at, len) = (state.read.get(), name.len());
                    return Err(state.fail(Error::NameLength { at, len }));
                }
                names += name.len();
                if names > MAX_NAMES {
                    return Err(state.fail(Error::NamesTooLong));
                }
                if tensors.len() == MAX_TENSORS {
                    return Err(state.fail(Error::TooManyTensors));
                }
                tensors.push(map.next_value_seed(Entry { name, state })?);
            }
            state.at(Place::Top);
        }
        Ok(tensors)
    }
}

// === impl Metadata ===

impl<'de> DeserializeSeed<'de> for Metadata<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Metadata<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            // Read as a tensor's field, it makes a tensor of the metadata.
            if FIELDS.iter().any(|field| field.eq_ignore_ascii_case(&key)) {
                return Err(self.0.fail(Error::Metadata { key: shown(&key) }));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
