//! An engine's words as callers may read them: short, on one line, without paths of its machine or secrets of URLs.

/// Characters of a text that are told.
const MAX: usize = 300;

/// The text without absolute paths (their last part stays), user information and queries of URLs, and control characters.
pub(super) fn told(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        push_word(&mut out, word);
        if out.len() > 4 * MAX {
            break;
        }
    }
    let out: String = out
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    match out.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", &out[..end]),
        None => out,
    }
}

/// A word may hold several paths: `a:/b/c,/d/e`.
fn push_word(out: &mut String, word: &str) {
    let mut rest = word;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        if let Some(url) = url(rest) {
            push_url(out, url);
            rest = &rest[url.len()..];
            before = url.chars().last();
            continue;
        }
        let begins = before.is_none_or(|before: char| !before.is_alphanumeric() && !"._-/~".contains(before));
        if c == '/' && begins && rest.len() > 1 {
            let end = rest.find(ends).unwrap_or(rest.len());
            let path = &rest[..end];
            out.push_str(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
            rest = &rest[end..];
            before = Some('a');
            continue;
        }
        out.push(c);
        before = Some(c);
        rest = &rest[c.len_utf8()..];
    }
}

fn url(text: &str) -> Option<&str> {
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| text.starts_with(scheme))?;
    let end = text[scheme.len()..]
        .find(|c: char| "\"'<>,;()\\".contains(c))
        .map_or(text.len(), |end| end + scheme.len());
    Some(&text[..end])
}

/// Scheme, host and path.
fn push_url(out: &mut String, url: &str) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return;
    };
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    out.push_str(scheme);
    out.push_str("://");
    out.push_str(host);
    out.push_str(path);
}

fn ends(c: char) -> bool {
    "\"'<>,;:()[]{}|".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_secrets_are_taken_out() {
        for (said, shown) in [
            ("file does not exist", "file does not exist"),
            (
                "open /models-dir/blobs/sha256-11: no such file or directory",
                "open sha256-11: no such file or directory",
            ),
            (
                "not found (checked: /a/b/llama-quantize, /c/llama-quantize)",
                "not found (checked: llama-quantize, llama-quantize)",
            ),
            ("FROM \"/x/y\":/z/w.gguf", "FROM \"y\":w.gguf"),
            (
                "Get \"https://u:p@host:5000/v2/library/m/manifests/latest?sig=secret\": EOF",
                "Get \"https://host:5000/v2/library/m/manifests/latest\": EOF",
            ),
            (
                "127.0.0.1:5000/library/tiny: digest is empty",
                "127.0.0.1:5000/library/tiny: digest is empty",
            ),
            ("either / or", "either / or"),
            ("a\u{7}b\nc", "a\u{fffd}b c"),
            ("=/root/.ollama/models/", "=models"),
        ] {
            assert_eq!(told(said), shown, "{said}");
        }
        assert!(told(&"x y ".repeat(1000)).chars().count() <= MAX + 1);
        assert_eq!(told(""), "");
    }
}
