//! The header that says what is wanted (`WWW-Authenticate`, RFC 9110 11.6.1).

use http::{HeaderMap, header};

/// Bytes of one header, and challenges of an answer, that are read.
const MAX_HEADER: usize = 8 << 10;
const MAX_CHALLENGES: usize = 8;

/// One way to prove who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    /// In lower case.
    pub(super) scheme: String,
    /// Names in lower case.
    parameters: Vec<(String, String)>,
}

// === impl Challenge ===

impl Challenge {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }
}

/// All challenges of an answer. What cannot be read is left out: the rest may do.
pub(super) fn read(headers: &HeaderMap) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for value in headers.get_all(header::WWW_AUTHENTICATE) {
        if let Some(text) = value.to_str().ok().filter(|text| text.len() <= MAX_HEADER) {
            parse(text, &mut challenges);
        }
    }
    challenges.truncate(MAX_CHALLENGES);
    challenges
}

/// A comma stands between challenges and between parameters; a word without `=` after it begins a challenge.
fn parse(text: &str, challenges: &mut Vec<Challenge>) {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            return;
        }
        let after = after.trim_start_matches([' ', '\t']);
        match after.strip_prefix('=') {
            Some(after) if !after.starts_with('=') => {
                let Some((value, after)) = value(after.trim_start_matches([' ', '\t'])) else {
                    return;
                };
                // A parameter of nothing is a header that cannot be read.
                let Some(challenge) = challenges.last_mut() else { return };
                challenge.parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            _ => {
                challenges.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: Vec::new(),
                });
                rest = after;
            }
        }
    }
}

fn token(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    text.split_at(end)
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Registries leave quotes out where they should not.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(texts: &[&str]) -> Vec<Challenge> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(header::WWW_AUTHENTICATE, text.parse().unwrap());
        }
        read(&headers)
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let read = read_text(&[
            r#"Bearer realm="https://auth.example/token?a=b,c",service="registry",scope="repository:a/b:pull,push""#,
            r#"Basic realm="a \"quoted\" realm", Negotiate, bearer realm = https://b.example/t , service=x"#,
        ]);
        let shown: Vec<_> = read.iter().map(|c| (c.scheme.as_str(), c.get("realm"))).collect();
        assert_eq!(
            shown,
            [
                ("bearer", Some("https://auth.example/token?a=b,c")),
                ("basic", Some(r#"a "quoted" realm"#)),
                ("negotiate", None),
                ("bearer", Some("https://b.example/t")),
            ]
        );
        assert_eq!(read[0].get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(read[3].get("service"), Some("x"));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for bad in ["", "=", "realm=\"a\"", "\"", ",,,", "\u{1}"] {
            let mut challenges = Vec::new();
            parse(bad, &mut challenges);
            assert_eq!(challenges, [], "{bad:?}");
        }
        assert_eq!(read_text(&[r#"Bearer realm="never closed"#])[0].get("realm"), None);
        assert_eq!(read_text(&[r#"Bearer realm="\"#])[0].get("realm"), None);
        let many = "Basic, ".repeat(900);
        assert_eq!(read_text(&[&many]).len(), MAX_CHALLENGES);
        assert_eq!(read_text(&[&"Basic, ".repeat(2000)]), []);
    }
}
