//! What would bring a model to its level.

use serde::{Deserialize, Serialize};

use super::{Digest, Level, stored};

/// What EnsureReady would do, or did. No steps: it is so already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In order.
    pub steps: Vec<Step>,
    /// When it is known.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub download_bytes: Option<u64>,
    /// When it is known.
    #[serde(default, skip_serializing_if = "stored::unset")]
    pub disk_bytes: Option<u64>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Pull from this registry.
    Pull {
        /// The registry's host.
        source: String,
    },
    /// Create from the path that was asked for.
    Create {
        /// Without its folder.
        file_name: String,
    },
    /// Look again: the engine must list the model with this digest, or with any.
    Verify {
        /// The pinned one.
        digest: Option<Digest>,
    },
    /// Load up to the level.
    Load {
        /// Above [`Level::OnDisk`].
        level: Level,
    },
}

// === impl Plan ===

impl Plan {
    /// Whether something of it stores content.
    pub fn brings(&self) -> bool {
        let brings = |step: &Step| matches!(step, Step::Pull { .. } | Step::Create { .. });
        self.steps.iter().any(brings)
    }
}
