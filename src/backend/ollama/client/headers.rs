//! The file of headers: read whole or not at all, for half a token would be sent as one.

use std::{fs::File, io::Read as _, path::Path};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Bytes of the file.
const MAX: usize = 64 << 10;

/// The headers of this file, or in words why it cannot be used, with nothing of its content. Blocks.
pub(super) fn read(path: &Path) -> Result<HeaderMap, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX as u64 + 1).read_to_string(&mut text));
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if text.len() > MAX {
        return Err(format!("is longer than {} KiB", MAX >> 10));
    }
    parse(&text).map_err(str::to_owned)
}

/// One `Name: value` a line; empty lines and those that begin with `#` say nothing.
fn parse(text: &str) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once(':').ok_or("has a line that is not `Name: value`")?;
        let name: HeaderName = name
            .trim()
            .parse()
            .map_err(|_| "has a line whose name is none of a header")?;
        let value: Result<HeaderValue, _> = value.trim().parse();
        let mut value = value.map_err(|_| "has a line whose value is none of a header")?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_file_has_one_header_a_line() {
        let text = "# for the proxy\nAuthorization: Bearer a:b\n\n X-Team :  models \n";
        let headers = parse(text).unwrap();
        assert_eq!(headers["authorization"], "Bearer a:b");
        assert_eq!(headers["x-team"], "models");
        assert!(headers["authorization"].is_sensitive());
        for bad in ["no colon", "a b: c", "a: \u{1}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
