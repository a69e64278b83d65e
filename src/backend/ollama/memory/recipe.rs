//! What a model was made from and how, as one digest: two creates of the same recipe make the same model.

use std::fmt::Write as _;

use serde_json::Value;

use crate::model::{Digest, ImportOptions};

/// Of files by the names under which they are sent (they say what is what), and of the options. Where the adapters lay is not
/// part of it: what they hold is.
pub(in crate::backend::ollama) fn of<'a>(
    files: impl IntoIterator<Item = (&'a str, &'a Digest)>,
    adapters: impl IntoIterator<Item = (&'a str, &'a Digest)>,
    options: &ImportOptions,
) -> Digest {
    fn listed<'a>(files: impl IntoIterator<Item = (&'a str, &'a Digest)>) -> Value {
        let pairs = files
            .into_iter()
            .map(|(name, digest)| (name.to_owned(), digest.as_str().into()));
        Value::Object(pairs.collect())
    }
    let options = ImportOptions {
        adapter_paths: Vec::new(),
        ..options.clone()
    };
    let recipe = serde_json::json!({
        "version": 1,
        "files": listed(files),
        "adapters": listed(adapters),
        // Plain data: it always has a form.
        "options": serde_json::to_value(options).unwrap_or_default(),
    });
    let mut text = String::new();
    canonical(&recipe, &mut text);
    Digest::of(text.as_bytes())
}

/// JSON without spaces, keys in order, whatever order they were given in.
fn canonical(value: &Value, out: &mut String) {
    let separate = |first: &mut bool, out: &mut String| {
        if !std::mem::replace(first, false) {
            out.push(',');
        }
    };
    let mut first = true;
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_unstable_by_key(|(key, _)| *key);
            out.push('{');
            for (key, value) in pairs {
                separate(&mut first, out);
                // Writing to a String cannot fail.
                let _infallible = write!(out, "{}:", Value::from(key.as_str()));
                canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(list) => {
            out.push('[');
            for value in list {
                separate(&mut first, out);
                canonical(value, out);
            }
            out.push(']');
        }
        plain => {
            let _infallible = write!(out, "{plain}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_its_files_and_options_and_nothing_else() {
        let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
        let options = |json: &str| ImportOptions {
            parameters: serde_json::from_str(json).unwrap(),
            ..ImportOptions::default()
        };
        let one = of(
            [("a", &a), ("b", &b)],
            [],
            &options(r#"{"x":1,"y":[{"p":1,"q":"\""}]}"#),
        );
        let same = of(
            [("b", &b), ("a", &a)],
            [],
            &options(r#"{"y":[{"q":"\"","p":1}],"x":1}"#),
        );
        assert_eq!(one, same);
        let plain = ImportOptions::default();
        let moved = ImportOptions {
            adapter_paths: vec!["/elsewhere".to_owned()],
            ..plain.clone()
        };
        let base = of([("a", &a)], [("b", &b)], &plain);
        assert_eq!(base, of([("a", &a)], [("b", &b)], &moved));
        let empty = ImportOptions {
            system: Some(String::new()),
            ..plain.clone()
        };
        for other in [
            of([("a", &a), ("b", &b)], [], &plain),
            of([("a", &b)], [("b", &a)], &plain),
            of([("c", &a)], [("b", &b)], &plain),
            of([("a", &a)], [("b", &b)], &empty),
            of([("a", &a)], [("b", &b)], &options(r#"{"x":1}"#)),
        ] {
            assert_ne!(base, other);
        }
        let mut text = String::new();
        canonical(&serde_json::json!({"b":[1,null,"\""],"a":{}}), &mut text);
        assert_eq!(text, r#"{"a":{},"b":[1,null,"\""]}"#);
    }
}
