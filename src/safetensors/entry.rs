//! One tensor's description.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    ElementKind, Error, Tensor,
    error::shown,
    limits::MAX_DIMENSIONS,
    state::{Place, State},
};

/// The fields of a tensor, as the format spells them.
pub(super) const FIELDS: [&str; 3] = [DTYPE, SHAPE, DATA_OFFSETS];

const DTYPE: &str = "dtype";
const SHAPE: &str = "shape";
const DATA_OFFSETS: &str = "data_offsets";

/// The tensor of this name.
pub(super) struct Entry<'a> {
    pub(super) name: String,
    pub(super) state: &'a State,
}

/// Whole numbers, at most so many.
struct Numbers<'a> {
    max: usize,
    more: Error,
    state: &'a State,
}

/// What was found of a tensor.
#[derive(Default)]
struct Found {
    dtype: Option<String>,
    shape: Option<Vec<u64>>,
    offsets: Option<Vec<u64>>,
}

// === impl Entry ===

impl Entry<'_> {
    fn shown(&self) -> String {
        shown(&self.name)
    }

    fn expect(&self, field: &'static str, wanted: &'static str) {
        let name = self.name.clone();
        self.state.at(Place::Field { name, field, wanted });
    }

    fn range(&self) -> Error {
        Error::Field {
            name: self.shown(),
            field: DATA_OFFSETS,
            wanted: "two whole numbers",
        }
    }

    fn field<'de, A: MapAccess<'de>>(&self, key: &str, map: &mut A, found: &mut Found) -> Result<(), A::Error> {
        let numbers = |max, more| Numbers {
            max,
            more,
            state: self.state,
        };
        let (field, twice) = match key {
            DTYPE => {
                self.expect(DTYPE, "a text");
                (DTYPE, found.dtype.replace(map.next_value()?).is_some())
            }
            SHAPE => {
                self.expect(SHAPE, "a list of whole numbers, none negative");
                let more = Error::Dimensions { name: self.shown() };
                let shape = map.next_value_seed(numbers(MAX_DIMENSIONS, more))?;
                (SHAPE, found.shape.replace(shape).is_some())
            }
            DATA_OFFSETS => {
                self.expect(DATA_OFFSETS, "two whole numbers, none negative");
                let offsets = map.next_value_seed(numbers(2, self.range()))?;
                (DATA_OFFSETS, found.offsets.replace(offsets).is_some())
            }
            unknown => {
                return Err(self.state.fail(Error::UnknownField {
                    name: self.shown(),
                    field: shown(unknown),
                }));
            }
        };
        if twice {
            let name = self.shown();
            return Err(self.state.fail(Error::DuplicateField { name, field }));
        }
        self.state.at(Place::Tensor(self.name.clone()));
        Ok(())
    }

    /// Everything that one tensor alone can contradict.
    fn checked(self, found: Found) -> Result<Tensor, Error> {
        let missing = |field| Error::Missing {
            name: self.shown(),
            field,
        };
        let dtype = found.dtype.ok_or_else(|| missing(DTYPE))?;
        let shape = found.shape.ok_or_else(|| missing(SHAPE))?;
        let offsets = found.offsets.ok_or_else(|| missing(DATA_OFFSETS))?;
        let kind = ElementKind::of(&dtype).ok_or_else(|| Error::UnknownKind {
            name: self.shown(),
            dtype: shown(&dtype),
        })?;
        let &[begin, end] = offsets.as_slice() else {
            return Err(self.range());
        };
        let given = end.checked_sub(begin).ok_or_else(|| Error::Reversed {
            name: self.shown(),
            begin,
            end,
        })?;
        // Overflow counts also where another dimension is 0: readers multiply in the order of the shape.
        let elements = shape.iter().try_fold(1_u64, |all, &length| all.checked_mul(length));
        let needed = elements
            .and_then(|elements| kind.bytes(elements))
            .ok_or_else(|| Error::TensorTooLarge { name: self.shown() })?;
        if given != needed {
            return Err(Error::Length {
                name: self.shown(),
                kind,
                given,
                needed,
            });
        }
        Ok(Tensor {
            name: self.name,
            kind,
            shape,
            span: begin..end,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Entry<'_> {
    type Value = Tensor;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Tensor, D::Error> {
        self.state.at(Place::Tensor(self.name.clone()));
        parser.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = Tensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tensor, A::Error> {
        let (state, mut found) = (self.state, Found::default());
        while let Some(key) = map.next_key::<String>()? {
            self.field(&key, &mut map, &mut found)?;
        }
        self.checked(found).map_err(|error| state.fail(error))
    }
}

// === impl Numbers ===

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Vec<u64>, D::Error> {
        parser.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whole numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element()? {
            if numbers.len() == self.max {
                return Err(self.state.fail(self.more));
            }
            numbers.push(number);
        }
        Ok(numbers)
    }
}
