//! The checks of a header, in the order of the file.
//!
//! Counts are believed only as far as the rest of the file could hold them, and nothing is allocated by a claim: vectors grow
//! with what was read. Duplicates and overlaps are found by sorting indices, which no choice of names can slow down.

use super::{
    ElementKind, Entry, Error, Header, Place, ReadAt, Tensor, TensorKind, Value,
    error::shown,
    kind::ARRAY,
    limits::{
        DEFAULT_ALIGNMENT, MAX_ALIGNMENT, MAX_ARRAY, MAX_DIMENSIONS, MAX_ENTRIES, MAX_KEY, MAX_STRING, MAX_TENSOR_NAME,
        MAX_TENSORS, MAX_TEXT, MIN_ENTRY, MIN_TENSOR,
    },
    window::{Stop, Window},
};

struct Parser<'a, F: ?Sized> {
    window: Window<'a, F>,
    /// Bytes of text that may still be kept.
    text: u64,
}

pub(super) fn header(file: &(impl ReadAt + ?Sized), file_size: u64) -> Result<Header, Error> {
    let mut parser = Parser {
        window: Window::new(file, file_size),
        text: MAX_TEXT,
    };
    let version = parser.version()?;
    let (tensor_count, entry_count) = parser.counts()?;
    let metadata = parser.metadata(entry_count)?;
    let alignment = alignment(&metadata)?;
    let tensors = parser.tensors(tensor_count)?;
    // As llama.cpp has it: without tensors there is no data to be aligned, and the file may end here.
    let end = parser.window.position();
    let data_offset = if tensors.is_empty() {
        end
    } else {
        end.next_multiple_of(alignment)
    };
    let header = Header {
        version,
        alignment,
        metadata,
        tensors,
        data_offset,
        file_size,
    };
    header.check_placement()?;
    Ok(header)
}

// === impl Parser ===

impl<F: ReadAt + ?Sized> Parser<'_, F> {
    fn version(&mut self) -> Result<u32, Error> {
        let magic: [u8; 4] = self.window.array().map_err(|stop| stop.at(Place::Magic))?;
        let legacy = |format| Err(Error::Legacy { format });
        match &magic {
            b"GGUF" => {}
            b"FUGG" => return Err(Error::BigEndian),
            // Their magics were numbers, so that the letters lie in reverse.
            b"lmgg" | b"ggml" => return legacy("ggml"),
            b"fmgg" | b"ggmf" => return legacy("ggmf"),
            b"tjgg" | b"ggjt" => return legacy("ggjt"),
            b"algg" | b"ggla" => return legacy("ggla"),
            other => {
                return Err(Error::NotGguf {
                    found: other.escape_ascii().to_string(),
                });
            }
        }
        match self.window.u32().map_err(|stop| stop.at(Place::Version))? {
            version @ (2 | 3) => Ok(version),
            1 => Err(Error::Version1),
            version if matches!(version.swap_bytes(), 1..=3) => Err(Error::BigEndian),
            version => Err(Error::UnknownVersion { version }),
        }
    }

    fn counts(&mut self) -> Result<(u64, u64), Error> {
        let tensors = self.window.u64().map_err(|stop| stop.at(Place::Counts))?;
        let entries = self.window.u64().map_err(|stop| stop.at(Place::Counts))?;
        if tensors > MAX_TENSORS {
            return Err(Error::TooManyTensors { count: tensors });
        }
        if entries > MAX_ENTRIES {
            return Err(Error::TooManyEntries { count: entries });
        }
        Ok((tensors, entries))
    }

    fn metadata(&mut self, count: u64) -> Result<Vec<Entry>, Error> {
        if count * MIN_ENTRY > self.window.remaining() {
            return Err(Error::Truncated {
                at: Place::Metadata(count),
            });
        }
        let entries: Vec<Entry> = (0..count).map(|index| self.entry(index)).collect::<Result<_, _>>()?;
        match repeated(&entries, |entry| &entry.key) {
            Some(entry) => Err(Error::DuplicateKey { key: shown(&entry.key) }),
            None => Ok(entries),
        }
    }

    fn entry(&mut self, index: u64) -> Result<Entry, Error> {
        let start = self.window.position();
        let key = self.string(MAX_KEY, || Place::Key(index))?;
        if key.is_empty() {
            return Err(Error::EmptyKey { index });
        }
        let value = self.value(&key)?;
        Ok(Entry {
            key,
            value,
            span: start..self.window.position(),
        })
    }

    fn value(&mut self, key: &str) -> Result<Value, Error> {
        let at = |stop: Stop| stop.at(Place::Value(shown(key)));
        let number = self.window.u32().map_err(at)?;
        if number == ARRAY {
            return self.array(key);
        }
        let kind = ElementKind::new(number).ok_or_else(|| Error::UnknownValueKind {
            key: shown(key),
            kind: number,
        })?;
        let window = &mut self.window;
        Ok(match kind {
            ElementKind::String => Value::String(self.string(MAX_STRING, || Place::Value(shown(key)))?),
            ElementKind::Bool => match window.u8().map_err(at)? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                value => return Err(Error::NotBool { key: shown(key), value }),
            },
            ElementKind::U8 => Value::U8(window.u8().map_err(at)?),
            ElementKind::I8 => Value::I8(i8::from_le_bytes(window.array().map_err(at)?)),
            ElementKind::U16 => Value::U16(u16::from_le_bytes(window.array().map_err(at)?)),
            ElementKind::I16 => Value::I16(i16::from_le_bytes(window.array().map_err(at)?)),
            ElementKind::U32 => Value::U32(window.u32().map_err(at)?),
            ElementKind::I32 => Value::I32(i32::from_le_bytes(window.array().map_err(at)?)),
            ElementKind::F32 => Value::F32(f32::from_le_bytes(window.array().map_err(at)?)),
            ElementKind::U64 => Value::U64(window.u64().map_err(at)?),
            ElementKind::I64 => Value::I64(i64::from_le_bytes(window.array().map_err(at)?)),
            ElementKind::F64 => Value::F64(f64::from_le_bytes(window.array().map_err(at)?)),
        })
    }

    fn array(&mut self, key: &str) -> Result<Value, Error> {
        let place = || Place::Value(shown(key));
        let at = |stop: Stop| stop.at(place());
        let number = self.window.u32().map_err(at)?;
        let len = self.window.u64().map_err(at)?;
        if number == ARRAY {
            return Err(Error::NestedArray { key: shown(key) });
        }
        let kind = ElementKind::new(number).ok_or_else(|| Error::UnknownValueKind {
            key: shown(key),
            kind: number,
        })?;
        if len > MAX_ARRAY {
            return Err(Error::ArrayTooLong { key: shown(key), len });
        }
        if let Some(size) = kind.size() {
            self.window.skip(len * size).map_err(at)?;
        } else {
            for _ in 0..len {
                let len = self.window.u64().map_err(at)?;
                if len > MAX_STRING {
                    return Err(Error::StringTooLong {
                        at: place(),
                        len,
                        max: MAX_STRING,
                    });
                }
                self.window.skip(len).map_err(at)?;
            }
        }
        Ok(Value::Array { kind, len })
    }

    fn tensors(&mut self, count: u64) -> Result<Vec<Tensor>, Error> {
        if count * MIN_TENSOR > self.window.remaining() {
            return Err(Error::Truncated {
                at: Place::TensorTable(count),
            });
        }
        let tensors: Vec<Tensor> = (0..count).map(|index| self.tensor(index)).collect::<Result<_, _>>()?;
        match repeated(&tensors, |tensor| &tensor.name) {
            Some(tensor) => Err(Error::DuplicateTensor {
                name: shown(&tensor.name),
            }),
            None => Ok(tensors),
        }
    }

    fn tensor(&mut self, index: u64) -> Result<Tensor, Error> {
        let name = self.string(MAX_TENSOR_NAME, || Place::TensorName(index))?;
        let at = |stop: Stop| stop.at(Place::Tensor(shown(&name)));
        // No dimensions are a scalar, as llama.cpp and Ollama read it: there is no reason to refuse what both load.
        let dimensions = self.window.u32().map_err(at)?;
        if dimensions > MAX_DIMENSIONS {
            return Err(Error::Dimensions {
                name: shown(&name),
                dimensions,
            });
        }
        let shape: Vec<u64> = (0..dimensions)
            .map(|_| self.window.u64().map_err(at))
            .collect::<Result<_, _>>()?;
        // Nobody stores nothing, and releases of llama.cpp die of a division by it.
        if shape.contains(&0) {
            return Err(Error::ZeroDimension { name: shown(&name) });
        }
        let number = self.window.u32().map_err(at)?;
        let offset = self.window.u64().map_err(at)?;
        let kind = TensorKind::new(number).ok_or_else(|| Error::UnknownTensorKind {
            name: shown(&name),
            kind: number,
        })?;
        let row = shape.first().copied().unwrap_or(1);
        if row % kind.block() != 0 {
            let (kind, block) = (kind.name(), kind.block());
            return Err(Error::PartialBlock {
                name: shown(&name),
                kind,
                row,
                block,
            });
        }
        // Engines count elements in i64.
        let elements = shape
            .iter()
            .try_fold(1_u64, |product, &length| product.checked_mul(length));
        let size = elements
            .filter(|&elements| i64::try_from(elements).is_ok())
            .and_then(|elements| (elements / kind.block()).checked_mul(kind.block_bytes()))
            .ok_or_else(|| Error::TensorTooLarge { name: shown(&name) })?;
        Ok(Tensor {
            name,
            shape,
            kind,
            offset,
            size,
        })
    }

    /// A string that is kept.
    fn string(&mut self, max: u64, place: impl Fn() -> Place) -> Result<String, Error> {
        let len = self.window.u64().map_err(|stop| stop.at(place()))?;
        if len > max {
            return Err(Error::StringTooLong { at: place(), len, max });
        }
        self.text = self
            .text
            .checked_sub(len)
            .ok_or_else(|| Error::TooMuchText { at: place() })?;
        let bytes = self.window.vec(len).map_err(|stop| stop.at(place()))?;
        String::from_utf8(bytes).map_err(|_| Error::NotUtf8 { at: place() })
    }
}

// === impl Header ===

impl Header {
    fn check_placement(&self) -> Result<(), Error> {
        for tensor in &self.tensors {
            let (offset, size) = (tensor.offset, tensor.size);
            if offset % self.alignment != 0 {
                return Err(Error::Misaligned {
                    name: shown(&tensor.name),
                    offset,
                    alignment: self.alignment,
                });
            }
            let end = self
                .data_offset
                .checked_add(offset)
                .and_then(|start| start.checked_add(size));
            if end.is_none_or(|end| end > self.file_size) {
                let name = shown(&tensor.name);
                return Err(Error::OutsideFile {
                    name,
                    offset,
                    size,
                    file_size: self.file_size,
                });
            }
        }
        let mut order: Vec<&Tensor> = self.tensors.iter().collect();
        order.sort_unstable_by_key(|tensor| tensor.offset);
        for pair in order.windows(2) {
            if let [first, second] = pair
                && first.offset + first.size > second.offset
            {
                return Err(Error::Overlap {
                    first: shown(&first.name),
                    second: shown(&second.name),
                });
            }
        }
        Ok(())
    }
}

fn alignment(metadata: &[Entry]) -> Result<u64, Error> {
    match metadata
        .iter()
        .find(|entry| entry.key == "general.alignment")
        .map(|entry| &entry.value)
    {
        None => Ok(DEFAULT_ALIGNMENT),
        Some(&Value::U32(alignment)) => {
            let alignment = u64::from(alignment);
            let fits = alignment.is_power_of_two() && alignment <= MAX_ALIGNMENT;
            if fits {
                Ok(alignment)
            } else {
                Err(Error::Alignment { alignment })
            }
        }
        Some(_) => Err(Error::AlignmentKind),
    }
}

/// One of the items that share a name, if there are any.
pub(super) fn repeated<'a, T>(items: impl IntoIterator<Item = &'a T>, name: impl Fn(&T) -> &str) -> Option<&'a T> {
    let mut order: Vec<&T> = items.into_iter().collect();
    order.sort_unstable_by(|a, b| name(a).cmp(name(b)));
    order.windows(2).find_map(|pair| match pair {
        [first, second] if name(first) == name(second) => Some(*first),
        _ => None,
    })
}
