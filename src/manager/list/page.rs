//! Orders and page tokens.
//!
//! A token is the key of the last model of a page, so that a page begins after it wherever models came or went. It is
//! opaque to callers, and checked as all that arrives is.

use std::{
    cmp::Ordering,
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::ListedModel;

/// Longer than any token of ours: two full names and numbers.
const MAX_TOKEN: usize = 8192;

/// What a list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    by: By,
    descending: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum By {
    Name,
    ModifyTime,
    SizeBytes,
}

/// Where a model stands: no two are equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    modify: Duration,
    size: u64,
    /// Folded, as names compare.
    name: String,
    backend: String,
}

/// A page begins after its key.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Token {
    order: Order,
    key: Key,
}

#[derive(Debug, thiserror::Error)]
#[error("is `name`, `modify_time` or `size_bytes`, with ` desc` for the other direction")]
pub(super) struct InvalidOrder;

#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidToken {
    #[error("is not a token of this service")]
    Malformed,
    #[error("belongs to a list of another order")]
    OtherOrder,
}

// === impl Order ===

impl Order {
    pub(super) fn compare(self, a: &Key, b: &Key) -> Ordering {
        let by = match self.by {
            By::Name => Ordering::Equal,
            By::ModifyTime => a.modify.cmp(&b.modify),
            By::SizeBytes => a.size.cmp(&b.size),
        };
        let order = by
            .then_with(|| a.name.cmp(&b.name))
            .then_with(|| a.backend.cmp(&b.backend));
        if self.descending { order.reverse() } else { order }
    }
}

impl FromStr for Order {
    type Err = InvalidOrder;

    fn from_str(text: &str) -> Result<Self, InvalidOrder> {
        let (by, descending) = match text.strip_suffix(" desc") {
            Some(by) => (by, true),
            None => (text, false),
        };
        let by = match by {
            "" if !descending => By::Name,
            "name" => By::Name,
            "modify_time" => By::ModifyTime,
            "size_bytes" => By::SizeBytes,
            _ => return Err(InvalidOrder),
        };
        Ok(Self { by, descending })
    }
}

// === impl Key ===

impl Key {
    pub(super) fn of(model: &ListedModel) -> Self {
        Self {
            modify: since_epoch(model.info.modify_time),
            size: model.info.size_bytes,
            name: model.info.name.canonical().to_ascii_lowercase(),
            backend: model.backend.clone(),
        }
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

// === impl Token ===

impl Token {
    pub(super) fn encode(order: Order, key: &Key) -> String {
        let token = Self {
            order,
            key: key.clone(),
        };
        // Plain values always serialise.
        let bytes = serde_json::to_vec(&token).unwrap_or_default();
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        bytes
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect()
    }

    /// The key to begin after; none for the first page.
    pub(super) fn decode(text: &str, order: Order) -> Result<Option<Key>, InvalidToken> {
        if text.is_empty() {
            return Ok(None);
        }
        if text.len() > MAX_TOKEN || !text.is_ascii() || !text.len().is_multiple_of(2) {
            return Err(InvalidToken::Malformed);
        }
        let digits = (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16));
        let bytes: Vec<u8> = digits.collect::<Result<_, _>>().map_err(|_| InvalidToken::Malformed)?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|_| InvalidToken::Malformed)?;
        if token.order != order {
            return Err(InvalidToken::OtherOrder);
        }
        Ok(Some(token.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key {
            modify: Duration::from_secs(1),
            size: 1,
            name: name.to_owned(),
            backend: "b".to_owned(),
        }
    }

    #[test]
    fn tokens_come_back_and_nothing_else_does() {
        let order: Order = "size_bytes desc".parse().unwrap();
        let token = Token::encode(order, &key("a"));
        assert_eq!(Token::decode(&token, order).unwrap(), Some(key("a")));
        assert!(matches!(
            Token::decode(&token, "name".parse().unwrap()),
            Err(InvalidToken::OtherOrder)
        ));
        for bad in ["x", "00", "zz", "7b7d", &"0".repeat(MAX_TOKEN + 2), "é"] {
            assert!(
                matches!(Token::decode(bad, order), Err(InvalidToken::Malformed)),
                "{bad}"
            );
        }
    }

    #[test]
    fn orders_are_total() {
        for (text, first) in [
            ("", "a"),
            ("name desc", "b"),
            ("modify_time", "a"),
            ("size_bytes desc", "b"),
        ] {
            let order: Order = text.parse().unwrap();
            let mut keys = [key("b"), key("a")];
            keys.sort_by(|a, b| order.compare(a, b));
            assert_eq!(keys[0].name, first, "{text}");
        }
        for bad in ["size", "name asc", " desc", "name  desc"] {
            assert!(bad.parse::<Order>().is_err(), "{bad}");
        }
    }
}
