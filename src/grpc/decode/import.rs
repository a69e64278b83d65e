//! Import options, and between protobuf's and JSON's values.
//!
//! A message of 4 MiB holds two million values. So they are counted, a place is a list of borrowed parts of which no text is
//! made unless something is wrong there, and keys are short.

use std::fmt;

use prost_types::{Struct, Value as ProtoValue, value::Kind};
use serde_json::{Map, Number, Value};

use super::Violations;
use crate::{
    grpc::proto::v1,
    model::{ChatMessage, ImportOptions},
};

/// Many more than any model takes.
const MAX_ADAPTERS: usize = 16;
const MAX_MESSAGES: usize = 1024;
/// Values of a struct, those of its structs and lists included.
const MAX_VALUES: usize = 4096;
/// Bytes of a key.
const MAX_KEY: usize = 256;
const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];

/// Integers up to here are exact in a double.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// Where a value stands in a request.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Field(&'a str),
    Key(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

/// One struct of a request.
struct Reader<'a> {
    wrong: &'a mut Violations,
    /// Values so far.
    values: usize,
}

pub(super) fn options(wrong: &mut Violations, options: v1::ImportOptions) -> ImportOptions {
    let v1::ImportOptions {
        adapter_paths,
        quantize,
        template,
        system,
        license,
        parameters,
        messages,
    } = options;
    if adapter_paths.len() > MAX_ADAPTERS {
        wrong.add(
            "import_options.adapter_paths",
            format_args!("are more than {MAX_ADAPTERS}"),
        );
    }
    let adapter_paths = adapter_paths
        .into_iter()
        .take(MAX_ADAPTERS)
        .enumerate()
        .map(|(n, path)| {
            let field = Place::Item(&Place::Field("import_options.adapter_paths"), n);
            if path.is_empty() {
                wrong.add(field, "is empty");
            }
            wrong.path(field, path)
        });
    let adapter_paths = adapter_paths.collect();
    if !quantize.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || quantize.len() > 32 {
        wrong.add(
            "import_options.quantize",
            "is no quantization type: `Q4_K_M`, `Q8_0`, …",
        );
    }
    let parameters = parameters.map(|parameters| object(wrong, "import_options.parameters", parameters));
    if messages.len() > MAX_MESSAGES {
        wrong.add("import_options.messages", format_args!("are more than {MAX_MESSAGES}"));
    }
    let messages = messages.into_iter().take(MAX_MESSAGES).enumerate().map(|(n, message)| {
        if !ROLES.contains(&message.role.as_str()) {
            let field = format_args!("import_options.messages[{n}].role");
            wrong.add(field, "is not `system`, `user`, `assistant` or `tool`");
        }
        ChatMessage {
            role: message.role,
            content: message.content,
        }
    });
    ImportOptions {
        adapter_paths,
        quantize: Some(quantize.to_ascii_uppercase()).filter(|quantize| !quantize.is_empty()),
        template,
        system,
        license,
        messages: messages.collect(),
        parameters: parameters.unwrap_or_default(),
    }
}

pub(super) fn object(wrong: &mut Violations, field: &str, object: Struct) -> Map<String, Value> {
    let place = Place::Field(field);
    let mut reader = Reader { wrong, values: 0 };
    let map = reader.object(&place, object);
    if reader.values > MAX_VALUES {
        wrong.add(place, format_args!("has more than {MAX_VALUES} values"));
    }
    map
}

/// Engines tell `4096` from `4096.0`, protobuf does not: what is a whole number is told as one.
fn number(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() <= MAX_EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

// === impl Reader ===

impl Reader<'_> {
    fn object(&mut self, place: &Place<'_>, object: Struct) -> Map<String, Value> {
        let mut map = Map::new();
        for (key, value) in object.fields {
            if key.len() > MAX_KEY {
                let told = format_args!("has a key that is longer than {MAX_KEY} bytes");
                self.wrong.add(place, told);
            } else if let Some(value) = self.value(&Place::Key(place, &key), value) {
                map.insert(key, value);
            }
        }
        map
    }

    /// None of what is wrong, and of all that comes after too many.
    fn value(&mut self, place: &Place<'_>, value: ProtoValue) -> Option<Value> {
        self.values = self.values.saturating_add(1);
        if self.values > MAX_VALUES {
            return None;
        }
        match value.kind {
            None | Some(Kind::NullValue(_)) => {
                self.wrong.add(place, "is null: leave it out");
                None
            }
            Some(Kind::BoolValue(value)) => Some(Value::Bool(value)),
            Some(Kind::StringValue(text)) => Some(Value::String(text)),
            Some(Kind::NumberValue(number)) => {
                let read = self::number(number);
                if read.is_none() {
                    self.wrong.add(place, "is not a finite number");
                }
                read.map(Value::Number)
            }
            Some(Kind::ListValue(list)) => {
                let values = list.values.into_iter().enumerate();
                Some(
                    values
                        .filter_map(|(n, value)| self.value(&Place::Item(place, n), value))
                        .collect(),
                )
            }
            Some(Kind::StructValue(object)) => Some(Value::Object(self.object(place, object))),
        }
    }
}

// === impl Place ===

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Key(outer, key) => write!(f, "{outer}.{key}"),
            Self::Item(outer, n) => write!(f, "{outer}[{n}]"),
        }
    }
}
