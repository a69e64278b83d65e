//! Finds in Rust source which paths it names, without a compiler: words, `::` and braces are enough for that.
//!
//! A real parser would be a dependency for one test; a search with regular expressions would see comments and texts, and
//! would miss groups, `super::super` and modules inside a file.

/// A word, `::`, or one other character; comments, texts and characters are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// One path that a file names, from the crate's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Its segments: `crate::gguf::build::Gguf` is `gguf`, `build`, `Gguf`. A glob is `*`.
    pub(crate) path: Vec<String>,
    /// It stands in a module that is compiled for tests only.
    pub(crate) test: bool,
    pub(crate) line: usize,
}

struct Scanner<'a> {
    tokens: &'a [Token],
    at: usize,
}

/// Splits source into tokens.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let start = at;
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => text_end(&chars, at + 1),
            'r' | 'b' | 'c' if raw_text(&chars, at).is_some() => raw_text(&chars, at).unwrap_or(at + 1),
            'b' | 'c' if chars.get(at + 1) == Some(&'"') => text_end(&chars, at + 2),
            '\'' => character_end(&chars, at),
            ':' if chars.get(at + 1) == Some(&':') => {
                tokens.push(Token {
                    text: "::".to_owned(),
                    line,
                });
                at + 2
            }
            c if c.is_alphanumeric() || c == '_' => {
                let end = (at..chars.len())
                    .find(|&i| !(chars[i].is_alphanumeric() || chars[i] == '_'))
                    .unwrap_or(chars.len());
                tokens.push(Token {
                    text: chars[at..end].iter().collect(),
                    line,
                });
                end
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token {
                        text: c.to_string(),
                        line,
                    });
                }
                at + 1
            }
        };
        at = end.clamp(start + 1, chars.len());
        line += chars[start..at].iter().filter(|&&c| c == '\n').count();
    }
    tokens
}

/// All paths into the crate that `source`, the module at `module` (`["model", "name"]`), names.
///
/// Only the program calls the library `model_control`; in the library that word is a module's.
pub(crate) fn paths(source: &str, module: &[String], test: bool) -> Vec<Named> {
    let tokens = tokens(source);
    let mut scanner = Scanner { tokens: &tokens, at: 0 };
    // One scope a brace; a module's scope has its own path.
    let mut scopes = vec![(module.to_vec(), test)];
    let mut test_next = false;
    let mut found = Vec::new();
    while let Some(token) = scanner.peek(0) {
        let (here, in_test) = scopes.last().cloned().unwrap_or_else(|| (module.to_vec(), test));
        match token {
            "#" if scanner.follows(&["#", "[", "cfg", "(", "test", ")", "]"]) => {
                test_next = true;
                scanner.at += 7;
            }
            "mod" if scanner.peek(2) == Some("{") => {
                let mut inner = here;
                inner.push(scanner.peek(1).unwrap_or_default().to_owned());
                scopes.push((inner, in_test || test_next));
                test_next = false;
                scanner.at += 3;
            }
            "{" => {
                scopes.push((here, in_test || test_next));
                test_next = false;
                scanner.at += 1;
            }
            "}" => {
                if scopes.len() > 1 {
                    scopes.pop();
                }
                scanner.at += 1;
            }
            "crate" | "model_control" | "super" | "self"
                if scanner.begins_path() && (token != "model_control" || module.is_empty()) =>
            {
                let line = scanner.tokens[scanner.at].line;
                let base = if matches!(token, "super" | "self") {
                    here
                } else {
                    Vec::new()
                };
                let skip = usize::from(!matches!(token, "super" | "self")) * 2;
                scanner.at += skip;
                let mut leaves = Vec::new();
                scanner.leaves(&base, &mut leaves);
                let test = in_test || test_next;
                found.extend(leaves.into_iter().map(|path| Named { path, test, line }));
            }
            ";" => {
                test_next = false;
                scanner.at += 1;
            }
            _ => scanner.at += 1,
        }
    }
    found
}

// === impl Scanner ===

impl<'a> Scanner<'a> {
    fn peek(&self, ahead: usize) -> Option<&'a str> {
        self.tokens.get(self.at + ahead).map(|token| token.text.as_str())
    }

    fn follows(&self, wanted: &[&str]) -> bool {
        wanted.iter().enumerate().all(|(i, text)| self.peek(i) == Some(text))
    }

    /// The word here begins a path: it is no middle of one, and more follows.
    fn begins_path(&self) -> bool {
        let middle = self.at > 0 && self.tokens[self.at - 1].text == "::";
        !middle && self.peek(1) == Some("::")
    }

    /// Reads a path or a tree of them, and adds each leaf as a path from the root.
    fn leaves(&mut self, base: &[String], into: &mut Vec<Vec<String>>) {
        let mut path = base.to_vec();
        loop {
            match self.peek(0) {
                Some("{") => {
                    self.at += 1;
                    while let Some(token) = self.peek(0).filter(|&token| token != "}") {
                        if token == "as" {
                            self.at += 2;
                        } else if token == "," {
                            self.at += 1;
                        } else {
                            let before = self.at;
                            self.leaves(&path, into);
                            // Whatever it is, go on behind it.
                            self.at = self.at.max(before + 1);
                        }
                    }
                    self.at += 1;
                    return;
                }
                Some("super") => {
                    path.pop();
                }
                Some("self") => {}
                Some(segment) if segment == "*" || is_word(segment) => path.push(segment.to_owned()),
                _ => break,
            }
            self.at += 1;
            if self.peek(0) != Some("::") {
                break;
            }
            self.at += 1;
        }
        into.push(path);
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn line_end(chars: &[char], at: usize) -> usize {
    (at..chars.len()).find(|&i| chars[i] == '\n').unwrap_or(chars.len())
}

fn comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0_usize, at);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn text_end(chars: &[char], from: usize) -> usize {
    let mut i = from;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// The end of `r"…"`, `r#"…"#`, `br"…"`; `None` when none begins here.
fn raw_text(chars: &[char], at: usize) -> Option<usize> {
    let r = if chars[at] == 'r' { at } else { at + 1 };
    let quote = (r + 1..chars.len()).find(|&i| chars[i] != '#')?;
    if chars.get(r) != Some(&'r') || chars[quote] != '"' {
        return None;
    }
    let hashes = quote - r - 1;
    let closed = |&i: &usize| chars[i] == '"' && chars[i + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    Some(
        (quote + 1..chars.len())
            .find(closed)
            .map_or(chars.len(), |i| i + 1 + hashes),
    )
}

/// The end of a character; of a lifetime only the mark, its name is a word like others.
fn character_end(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        // `'\''` ends at the mark after the escaped one.
        return (at + 3..chars.len())
            .find(|&i| chars[i] == '\'')
            .map_or(chars.len(), |i| i + 1);
    }
    if chars.get(at + 2) == Some(&'\'') {
        at + 3
    } else {
        at + 1
    }
}
