//! Reads the text of a model's parameters: a line each, the key, blanks, and the value as Go writes it.

use serde_json::{Map, Number, Value};

/// A list in Ollama also when it has one element only.
const LISTS: &[&str] = &["stop"];

/// The parameters; a key with several lines is a list in their order.
pub(super) fn read(text: &str) -> Map<String, Value> {
    let mut all = Map::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(char::is_whitespace) else {
            continue;
        };
        let value = self::value(value.trim());
        match all.get_mut(key) {
            None if LISTS.contains(&key) => {
                all.insert(key.to_owned(), Value::Array(vec![value]));
            }
            None => {
                all.insert(key.to_owned(), value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(one) => {
                let first = one.take();
                *one = Value::Array(vec![first, value]);
            }
        }
    }
    all
}

fn value(text: &str) -> Value {
    match text {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        "<nil>" => return Value::Null,
        _ => {}
    }
    if let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        return Value::String(unquoted(inner));
    }
    if let Ok(whole) = text.parse::<i64>() {
        return whole.into();
    }
    let number = text.parse::<f64>().ok().and_then(Number::from_f64);
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// Go's escapes are those of JSON and some more; what is none stays.
fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (read, len) = escape(&rest[at + 1..]).unwrap_or(('\\', 0));
        out.push(read);
        rest = &rest[at + 1 + len..];
    }
    out.push_str(rest);
    out
}

/// The character that is meant after a backslash, and the bytes that it takes.
fn escape(text: &str) -> Option<(char, usize)> {
    let hex = |digits: usize| {
        let code = u32::from_str_radix(text.get(1..=digits)?, 16).ok()?;
        Some((char::from_u32(code)?, 1 + digits))
    };
    match text.chars().next()? {
        'n' => Some(('\n', 1)),
        't' => Some(('\t', 1)),
        'r' => Some(('\r', 1)),
        'a' => Some(('\u{7}', 1)),
        'b' => Some(('\u{8}', 1)),
        'f' => Some(('\u{c}', 1)),
        'v' => Some(('\u{b}', 1)),
        same @ ('\\' | '"' | '\'') => Some((same, 1)),
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_as_go_writes_them() {
        let text = "no_such_parameter              1\nstop                           \"<|im_start|>\"\n\
                    temperature                    0.1\nstop                           \"a \\\"b\\\" \\n\\u00e9\\x07\"\n\
                    use_mmap                       true\nbig                            1e+06\nempty\n\
                    min_p                          <nil>\nodd                            \\q \n";
        let read = read(text);
        assert_eq!(
            Value::Object(read),
            json!({
                "no_such_parameter": 1, "temperature": 0.1, "use_mmap": true, "big": 1e6, "min_p": null,
                "stop": ["<|im_start|>", "a \"b\" \né\u{7}"], "odd": "\\q",
            })
        );
    }

    #[test]
    fn one_stop_is_a_list_and_broken_escapes_stay() {
        assert_eq!(Value::Object(read("stop \"x\"")), json!({"stop": ["x"]}));
        for (written, meant) in [
            ("a\\", "a\\"),
            ("\\x4", "\\x4"),
            ("\\ud800", "\\ud800"),
            ("\\é", "\\é"),
            ("\\xé1", "\\xé1"),
        ] {
            assert_eq!(unquoted(written), meant);
        }
        assert!(read("").is_empty());
    }
}
