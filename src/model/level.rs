//! How ready a model is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How ready a model is. Each level includes the ones before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Level {
    /// The engine lists the model with a digest.
    #[default]
    OnDisk,
    /// The model is in memory.
    Loaded,
    /// The model has produced a token (or an embedding) since it was loaded.
    Warm,
}

/// A word that names no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a level is `on-disk`, `loaded` or `warm`")]
pub struct InvalidLevel;

// === impl Level ===

impl Level {
    /// As people spell it in flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnDisk => "on-disk",
            Self::Loaded => "loaded",
            Self::Warm => "warm",
        }
    }
}

impl FromStr for Level {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, InvalidLevel> {
        [Self::OnDisk, Self::Loaded, Self::Warm]
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or(InvalidLevel)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
