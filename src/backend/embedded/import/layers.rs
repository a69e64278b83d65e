//! The small layers: what the options add to the model's files, in the bytes that Ollama would store.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::super::store::manifest::Kind;
use crate::{
    backend::{self, Error},
    model::ImportOptions,
};

/// Bytes of one text: a template, a licence, all parameters, all messages.
const MAX_TEXT: usize = 1 << 20;
/// Licence texts of one model.
const MAX_LICENSES: usize = 64;

/// A layer that lies in memory.
pub(super) type Small = (Kind, Vec<u8>);

/// The layers of the options, in Ollama's order. A text that is set and empty makes none.
pub(super) fn of(options: &ImportOptions) -> Result<Vec<Small>, Error> {
    if options.license.len() > MAX_LICENSES {
        return Err(invalid(&format!("`license` has more than {MAX_LICENSES} texts")));
    }
    let mut layers = Vec::new();
    let mut add = |kind, name: &str, bytes: Vec<u8>| {
        if bytes.len() > MAX_TEXT {
            return Err(invalid(&format!("`{name}` is longer than {MAX_TEXT} bytes")));
        }
        if !bytes.is_empty() {
            layers.push((kind, bytes));
        }
        Ok(())
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default().into_bytes();
    add(Kind::Template, "template", text(&options.template))?;
    add(Kind::System, "system", text(&options.system))?;
    for license in &options.license {
        add(Kind::License, "license", license.clone().into_bytes())?;
    }
    if !options.parameters.is_empty() {
        let parameters = options
            .parameters
            .iter()
            .map(|(key, value)| Ok((key, parameter(key, value)?)))
            .collect::<Result<BTreeMap<_, _>, Error>>()?;
        add(Kind::Params, "parameters", json(&parameters)?)?;
    }
    if !options.messages.is_empty() {
        add(Kind::Messages, "messages", json(&options.messages)?)?;
    }
    Ok(layers)
}

/// Engines know scalars and lists of them.
fn parameter(key: &str, value: &Value) -> Result<Value, Error> {
    match value {
        Value::Bool(_) | Value::String(_) => Ok(value.clone()),
        Value::Number(number) => Ok(Value::Number(whole(number))),
        Value::Array(items) if !items.iter().any(Value::is_array) => {
            let items = items.iter().map(|item| parameter(key, item));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        _ => Err(invalid(&format!(
            "parameter `{}` is neither a number, a text, a truth value nor a list of them",
            key.escape_debug()
        ))),
    }
}

/// Transports that know only floating-point numbers bring `128.0` for 128, which engines read as another kind of number.
fn whole(number: &Number) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXACT => {
            // In range and whole: nothing is cut.
            #[allow(clippy::cast_possible_truncation)]
            let integer = float as i64;
            Number::from(integer)
        }
        _ => number.clone(),
    }
}

/// As Ollama writes it, so that the same content has the same digest: a line, with what HTML would read escaped.
fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    let text = serde_json::to_string(value)
        .map_err(|error| Error::new(backend::Kind::Internal, "an option could not be written").because(error))?;
    let mut out = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            // They occur in strings only.
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            other => out.push(other),
        }
    }
    out.push('\n');
    Ok(out.into_bytes())
}

fn invalid(problem: &str) -> Error {
    Error::new(backend::Kind::FileInvalid, format!("import options: {problem}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{ChatMessage, Digest};

    fn parameters(value: Value) -> ImportOptions {
        let Value::Object(parameters) = value else {
            panic!("an object")
        };
        ImportOptions {
            parameters,
            ..ImportOptions::default()
        }
    }

    #[test]
    fn layers_are_the_ones_that_ollama_stores() {
        let options = ImportOptions {
            template: Some("{{ .System }}|{{ .Prompt }}".to_owned()),
            system: Some("S".to_owned()),
            license: vec!["L".to_owned()],
            ..parameters(json!({"stop": ["a", "b"], "num_ctx": 128.0}))
        };
        let layers = of(&options).unwrap();
        let short: Vec<_> = layers
            .iter()
            .map(|(_, bytes)| Digest::of(bytes).short().to_owned())
            .collect();
        assert_eq!(short, ["db498f645eb2", "8de0b3c47f11", "72dfcfb0c470", "04717f97653c"]);
        assert_eq!(
            layers.iter().map(|layer| layer.0).collect::<Vec<_>>(),
            [Kind::Template, Kind::System, Kind::License, Kind::Params]
        );
    }

    #[test]
    fn empty_texts_make_no_layer_and_messages_are_a_list() {
        let options = ImportOptions {
            template: Some(String::new()),
            messages: vec![ChatMessage {
                role: "user".to_owned(),
                content: "<hi>".to_owned(),
            }],
            ..ImportOptions::default()
        };
        let [(Kind::Messages, bytes)] = &of(&options).unwrap()[..] else {
            panic!("one layer")
        };
        assert_eq!(bytes, b"[{\"role\":\"user\",\"content\":\"\\u003chi\\u003e\"}]\n");
    }

    #[test]
    fn what_engines_cannot_read_is_refused() {
        for value in [
            json!({"a": null}),
            json!({"a": {}}),
            json!({"a": [[1]]}),
            json!({"a": [{}]}),
        ] {
            assert!(of(&parameters(value)).is_err());
        }
        let long = ImportOptions {
            system: Some("x".repeat(MAX_TEXT + 1)),
            ..ImportOptions::default()
        };
        assert_eq!(of(&long).unwrap_err().kind, backend::Kind::FileInvalid);
        assert!(of(&parameters(json!({"a": 0.5, "b": -3, "c": 1e300}))).is_ok());
    }
}
