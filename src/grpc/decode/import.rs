//! Import options, and between protobuf's and JSON's values.

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
const ROLES: [&str; 4] = ["system", "user", "assistant", "tool"];

/// Integers up to here are exact in a double.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

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
        wrong.add("import_options.adapter_paths", format!("are more than {MAX_ADAPTERS}"));
    }
    let adapter_paths = adapter_paths
        .into_iter()
        .take(MAX_ADAPTERS)
        .enumerate()
        .map(|(n, path)| {
            let field = format!("import_options.adapter_paths[{n}]");
            if path.is_empty() {
                wrong.add(field.clone(), "is empty");
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
        wrong.add("import_options.messages", format!("are more than {MAX_MESSAGES}"));
    }
    let messages = messages.into_iter().take(MAX_MESSAGES).enumerate().map(|(n, message)| {
        if !ROLES.contains(&message.role.as_str()) {
            let field = format!("import_options.messages[{n}].role");
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
    let mut map = Map::new();
    for (key, value) in object.fields {
        let field = format!("{field}.{key}");
        if let Some(value) = self::value(wrong, &field, value) {
            map.insert(key, value);
        }
    }
    map
}

fn value(wrong: &mut Violations, field: &str, value: ProtoValue) -> Option<Value> {
    match value.kind {
        None | Some(Kind::NullValue(_)) => {
            wrong.add(field, "is null: leave it out");
            None
        }
        Some(Kind::BoolValue(value)) => Some(Value::Bool(value)),
        Some(Kind::StringValue(text)) => Some(Value::String(text)),
        Some(Kind::NumberValue(number)) => {
            let read = self::number(number);
            if read.is_none() {
                wrong.add(field, "is not a finite number");
            }
            read.map(Value::Number)
        }
        Some(Kind::ListValue(list)) => {
            let values = list.values.into_iter().enumerate();
            Some(
                values
                    .filter_map(|(n, value)| self::value(wrong, &format!("{field}[{n}]"), value))
                    .collect(),
            )
        }
        Some(Kind::StructValue(object)) => Some(Value::Object(self::object(wrong, field, object))),
    }
}

/// Engines tell `4096` from `4096.0`, protobuf does not: what is a whole number is told as one.
fn number(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() <= MAX_EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53")]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}
