//! From what is and what is wanted to the steps between them. Pure; the table is its tests.

use crate::model::{Digest, Level, ModelInfo, Plan, Step};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Where the model comes from when it is not there.
    pub(super) origin: Origin,
    /// The manifest it must have.
    pub(super) digest: Option<Digest>,
    /// How ready it must be.
    pub(super) level: Level,
}

/// Where a model comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The registry's host.
    Registry(String),
    /// The file's name.
    Path(String),
    /// It must be there.
    Present,
}

/// No steps lead there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Impossible {
    /// What is there has another digest than the pinned one, and nothing could bring the pinned one.
    PinMismatch {
        /// What is there.
        present: Digest,
    },
    /// It is not there, and is not to be brought.
    NotFound,
}

/// The steps that bring the model to its level. A path never replaces what is there.
pub(super) fn plan(present: Option<&ModelInfo>, wanted: &Wanted) -> Result<Plan, Impossible> {
    let mut steps = Vec::new();
    let right = present.is_some_and(|model| wanted.digest.as_ref().is_none_or(|pin| *pin == model.digest));
    if !right {
        steps.push(match (&wanted.origin, present) {
            (Origin::Registry(host), _) => Step::Pull { source: host.clone() },
            (Origin::Path(file_name), None) => Step::Create {
                file_name: file_name.clone(),
            },
            (Origin::Path(_) | Origin::Present, Some(model)) => {
                return Err(Impossible::PinMismatch {
                    present: model.digest.clone(),
                });
            }
            (Origin::Present, None) => return Err(Impossible::NotFound),
        });
        steps.push(Step::Verify {
            digest: wanted.digest.clone(),
        });
    }
    if wanted.level > Level::OnDisk {
        steps.push(Step::Load { level: wanted.level });
    }
    Ok(Plan {
        steps,
        download_bytes: None,
        disk_bytes: None,
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn model(content: &str) -> ModelInfo {
        ModelInfo {
            name: "m".parse().unwrap(),
            digest: Digest::of(content.as_bytes()),
            size_bytes: 1,
            modify_time: SystemTime::UNIX_EPOCH,
            format: String::new(),
            family: String::new(),
            families: vec![],
            parameter_count: None,
            parameter_size: String::new(),
            quantization_level: String::new(),
            context_length: None,
            embedding_length: None,
            capabilities: vec![],
        }
    }

    #[test]
    fn the_table() {
        let (a, b) = (model("a"), model("b"));
        let registry = || Origin::Registry("r".to_owned());
        let path = || Origin::Path("f.gguf".to_owned());
        let pull = || Step::Pull { source: "r".to_owned() };
        let create = || Step::Create {
            file_name: "f.gguf".to_owned(),
        };
        let verify = |pin: Option<&ModelInfo>| Step::Verify {
            digest: pin.map(|m| m.digest.clone()),
        };
        for (present, origin, pin, level, expected) in [
            (Some(&a), registry(), None, Level::OnDisk, Ok(vec![])),
            (Some(&a), registry(), Some(&a), Level::OnDisk, Ok(vec![])),
            (Some(&a), path(), None, Level::OnDisk, Ok(vec![])),
            (Some(&a), path(), Some(&a), Level::OnDisk, Ok(vec![])),
            (None, registry(), None, Level::OnDisk, Ok(vec![pull(), verify(None)])),
            (
                None,
                registry(),
                Some(&a),
                Level::OnDisk,
                Ok(vec![pull(), verify(Some(&a))]),
            ),
            (None, path(), None, Level::OnDisk, Ok(vec![create(), verify(None)])),
            (
                None,
                path(),
                Some(&a),
                Level::OnDisk,
                Ok(vec![create(), verify(Some(&a))]),
            ),
            (
                Some(&a),
                registry(),
                Some(&b),
                Level::OnDisk,
                Ok(vec![pull(), verify(Some(&b))]),
            ),
            (
                Some(&a),
                path(),
                Some(&b),
                Level::OnDisk,
                Err(Impossible::PinMismatch {
                    present: a.digest.clone(),
                }),
            ),
            (None, Origin::Present, None, Level::Loaded, Err(Impossible::NotFound)),
            (
                Some(&a),
                Origin::Present,
                None,
                Level::Loaded,
                Ok(vec![Step::Load { level: Level::Loaded }]),
            ),
            (
                Some(&a),
                registry(),
                None,
                Level::Warm,
                Ok(vec![Step::Load { level: Level::Warm }]),
            ),
        ] {
            let wanted = Wanted {
                origin,
                digest: pin.map(|m| m.digest.clone()),
                level,
            };
            assert_eq!(
                plan(present, &wanted).map(|plan| plan.steps),
                expected,
                "{present:?} {wanted:?}"
            );
        }
    }
}
