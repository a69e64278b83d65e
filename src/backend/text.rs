//! An engine's words as callers may read them: short, on one line, without paths of its machine or secrets of URLs.
//!
//! A path ends where no engine's sentence goes on within one: at a colon, a comma, a quote. Blanks are part of it as long as a
//! folder follows, for disks are called `My Disk` and Windows has `Program Files (x86)`; so of a sentence that goes on with
//! another slash some words are lost. Rejected: a path that ends at a blank, which told the folders behind it.

/// Characters of a text that are told.
const MAX: usize = 300;
/// Characters of a text that are read.
const LONGEST: usize = 16 << 10;
/// What ends a path.
const ENDS: &[char] = &['"', '\'', '<', '>', ',', ';', ':', '|'];
/// What ends its last part as well.
const BRACKETS: &[char] = &['(', ')', '[', ']', '{', '}', ' '];
const SEPARATORS: &[char] = &['/', '\\'];
/// Words with a slash that are in no path.
const WORDS: &[&str] = &["i/o", "and/or", "n/a"];

/// The text without absolute paths (their last part stays), user information and queries of URLs, and control characters.
pub(super) fn told(text: &str) -> String {
    let text: String = text.chars().take(LONGEST).collect();
    let words: Vec<_> = text.split_whitespace().collect();
    let mut out = String::new();
    push(&mut out, &words.join(" "));
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
fn push(out: &mut String, text: &str) {
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next()
        && out.len() <= 4 * MAX
    {
        if let Some(url) = url(rest) {
            push_url(out, url);
            rest = &rest[url.len()..];
            before = url.chars().last();
            continue;
        }
        let begins = before.is_none_or(|before: char| !before.is_alphanumeric() && !"._-/~".contains(before));
        if begins && let Some(path) = path(rest) {
            out.push_str(
                path.trim_end_matches(SEPARATORS)
                    .rsplit(SEPARATORS)
                    .next()
                    .unwrap_or_default(),
            );
            rest = &rest[path.len()..];
            before = Some('a');
            continue;
        }
        out.push(c);
        before = Some(c);
        rest = &rest[c.len_utf8()..];
    }
}

/// The absolute path with which the text begins.
fn path(text: &str) -> Option<&str> {
    let root = match text.as_bytes() {
        [b'/', next, ..] if *next != b' ' => 1,
        [drive, b':', b'\\', ..] if drive.is_ascii_alphabetic() => 3,
        [b'\\', b'\\', next, ..] if next.is_ascii_alphanumeric() => 2,
        _ => return None,
    };
    let end = text[root..].find(ENDS).map_or(text.len(), |end| end + root);
    // Folders: the words up to the last one with a separator, where no other path begins.
    let (mut folders, mut at) = (root, 0);
    for word in text[..end].split(' ') {
        if at > 0 && word.starts_with(SEPARATORS) {
            break;
        }
        let separator = word.rfind(SEPARATORS);
        if let Some(last) = separator.filter(|_| !WORDS.contains(&word.to_ascii_lowercase().as_str())) {
            folders = folders.max(at + last + 1);
        }
        at += word.len() + 1;
    }
    let rest = &text[folders..end];
    Some(&text[..folders + rest.find(BRACKETS).unwrap_or(rest.len())])
}

fn url(text: &str) -> Option<&str> {
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| text.starts_with(scheme))?;
    let end = text[scheme.len()..]
        .find(|c: char| " \"'<>,;()\\".contains(c))
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
            (
                "open /Volumes/My Disk/models/blobs/sha256-11: no such file or directory",
                "open sha256-11: no such file or directory",
            ),
            (
                "write /Volumes/My Big Disk (1)/models/My Model: no space left on device",
                "write My Model: no space left on device",
            ),
            (
                r"open C:\Users\bob\.ollama\models\blobs\sha256-11: The system cannot find the file specified.",
                "open sha256-11: The system cannot find the file specified.",
            ),
            (
                r#"exec: "C:\\Program Files (x86)\\Ollama\\llama-server.exe": file does not exist"#,
                r#"exec: "llama-server.exe": file does not exist"#,
            ),
            (
                r"not found (checked: C:\Program Files\Ollama\llama-quantize.exe, \\nas\a b\llama-quantize.exe)",
                "not found (checked: llama-quantize.exe, llama-quantize.exe)",
            ),
            ("open c:/Users/bob b/models/x: no", "open c:x: no"),
            ("rename /a b/c/d /e f/g/h: no", "rename d h: no"),
            ("rename /a/b /c/d: no", "rename b d: no"),
            (
                "/models/a.gguf: I/O error, and/or less",
                "a.gguf: I/O error, and/or less",
            ),
            (
                "reading /models/a.gguf failed with an I/O error",
                "reading a.gguf failed with an I/O error",
            ),
            ("GET https://u:p@h/a b /c/d", "GET https://h/a b d"),
            ("/", "/"),
            (r"C:\", "C:"),
            ("/é ü/ö/ä: x", "ä: x"),
        ] {
            assert_eq!(told(said), shown, "{said}");
        }
        assert!(told(&"x y ".repeat(1000)).chars().count() <= MAX + 1);
        assert_eq!(told(""), "");
    }
}
