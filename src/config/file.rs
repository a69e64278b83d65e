//! The file's bytes to entries with their lines. Knows YAML and no flag.
//!
//! The file belongs to several programs, so it is read into a tree first: a value of an unexpected kind is then a problem
//! of one entry, told together with all others, and keys of other programs are passed over whatever they hold. Scalars
//! keep the text that was written: `4096`, `1.0` and `on` are those words, not what YAML makes of them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{
    Spanned, UserMessageFormatter,
    options::{DuplicateKeyPolicy, NonFiniteFloatPolicy},
};

use super::problem::Problem;

/// Bytes of the file.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// Values of the file, those that aliases repeat included. Fifty times what a large installation writes.
const MAX_NODES: usize = 50_000;

/// An entry of the file.
#[derive(Debug)]
pub(super) struct RawEntry {
    /// Where it begins, from 1.
    pub(super) line: u64,
    /// From 1.
    pub(super) number: usize,
    pub(super) name: Field,
    pub(super) framework: Field,
    /// The words of `backend_argv`.
    pub(super) argv: Vec<Word>,
    /// What is wrong with `backend_argv`. Counts only when the framework is known: else it is another program's.
    pub(super) argv_problems: Vec<Problem>,
}

/// A key of an entry that must be a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Field {
    Absent,
    /// It is, but no text. Reported already.
    Wrong,
    Is(Word),
}

/// A scalar as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    /// From 1.
    pub(super) line: u64,
}

/// The file, read as far as it can be.
#[derive(Debug)]
pub(super) struct RawFile {
    pub(super) entries: Vec<RawEntry>,
    /// What is wrong with the entries' shapes.
    pub(super) problems: Vec<Problem>,
}

#[derive(Debug)]
enum Node {
    Null,
    /// A string, with its quotes and escapes undone.
    Text(String),
    /// A scalar of another kind. Its text is taken from the file.
    Plain,
    Sequence(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<Node>, Spanned<Node>)>),
}

struct NodeVisitor;

// === impl RawFile ===

impl RawFile {
    /// Fails when the file as a whole cannot be read.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        if bytes.len() > MAX_BYTES {
            return Err(Problem::of_flags("is larger than 1 MiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let before = bytes.iter().take(error.valid_up_to());
            let line = before.filter(|&&byte| byte == b'\n').count() as u64 + 1;
            Problem::at(line, "is not UTF-8 text")
        })?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let root = parse_yaml(text)?;
        let items = match root.value {
            Node::Sequence(items) if !items.is_empty() => items,
            Node::Sequence(_) | Node::Null => {
                let message = "has no entries: write one, or run without a file for one embedded backend";
                return Err(Problem::of_flags(message));
            }
            _ => {
                let message = "must be a sequence of entries: `- name: …`, `framework: …`, `backend_argv: […]`";
                return Err(Problem::at(line(&root), message));
            }
        };
        let mut problems = Vec::new();
        let entries = items
            .into_iter()
            .enumerate()
            .filter_map(|(index, item)| RawEntry::read(text, index + 1, &item, &mut problems))
            .collect();
        Ok(Self { entries, problems })
    }
}

fn parse_yaml(text: &str) -> Result<Spanned<Node>, Problem> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_recorded_anchor_events: 4 * MAX_NODES,
            max_documents: 2,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
        duplicate_keys: DuplicateKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let told = error.without_snippet().render_with_formatter(&UserMessageFormatter);
        // The line stands before the message already.
        let told = told.split_once(" at line ").map_or(told.as_str(), |(told, _)| told);
        Problem {
            line: error.location().map(|location| location.line()),
            ..Problem::of_flags(format!("cannot be read as YAML: {told}"))
        }
    })
}

// === impl RawEntry ===

impl RawEntry {
    fn read(text: &str, number: usize, item: &Spanned<Node>, problems: &mut Vec<Problem>) -> Option<Self> {
        let label = format!("#{number}");
        let Node::Map(pairs) = &item.value else {
            let message = "must be a map with `name`, `framework` and `backend_argv`";
            problems.push(Problem::at(line(item), message).of_entry(&label));
            return None;
        };
        let mut entry = Self {
            line: line(item),
            number,
            name: Field::Absent,
            framework: Field::Absent,
            argv: Vec::new(),
            argv_problems: Vec::new(),
        };
        let mut field = |key: &str, value: &Spanned<Node>| {
            Word::of(text, value).map_or_else(
                || {
                    problems.push(Problem::at(line(value), format!("`{key}` must be a text")).of_entry(&label));
                    Field::Wrong
                },
                Field::Is,
            )
        };
        for (key, value) in pairs {
            match &key.value {
                Node::Text(key) if key == "name" => entry.name = field(key, value),
                Node::Text(key) if key == "framework" => entry.framework = field(key, value),
                Node::Text(key) if key == "backend_argv" => entry.read_argv(text, value),
                // Of other programs.
                _ => {}
            }
        }
        Some(entry)
    }

    fn read_argv(&mut self, text: &str, argv: &Spanned<Node>) {
        let items = match &argv.value {
            // A key with nothing behind it.
            Node::Null => return,
            Node::Sequence(items) => items,
            _ => {
                let message = "`backend_argv` must be a sequence of flags: `[\"--model=llama3\"]`";
                return self.argv_problems.push(Problem::at(line(argv), message));
            }
        };
        for item in items {
            match Word::of(text, item) {
                Some(word) => self.argv.push(word),
                None => self.argv_problems.push(Problem::at(
                    line(item),
                    "each item of `backend_argv` must be a text: `\"--model=llama3\"`",
                )),
            }
        }
    }
}

// === impl Word ===

impl Word {
    fn of(text: &str, node: &Spanned<Node>) -> Option<Self> {
        let line = line(node);
        match &node.value {
            Node::Text(text) => Some(Self {
                text: text.clone(),
                line,
            }),
            Node::Plain => {
                let span = node.defined.span();
                let start = usize::try_from(span.byte_offset()?).ok()?;
                let length = usize::try_from(span.byte_len()?).ok()?;
                let written = text.get(start..start.checked_add(length)?)?.trim();
                Some(Self {
                    text: written.to_owned(),
                    line,
                })
            }
            Node::Null | Node::Sequence(_) | Node::Map(_) => None,
        }
    }
}

fn line(node: &Spanned<Node>) -> u64 {
    node.referenced.line()
}

// === impl Node ===

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

// === impl NodeVisitor ===

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Plain)
    }

    fn visit_bytes<E>(self, _: &[u8]) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Node::Sequence(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            all.push(pair);
        }
        Ok(Node::Map(all))
    }
}

#[cfg(test)]
mod tests;
