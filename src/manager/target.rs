//! How ready a model is to be made. Callers who join work on a model may want more than it was begun for.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::model::{KeepAlive, Level, LoadOptions};

/// What one caller wants of a model that is on disk.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Aim {
    /// How ready.
    pub(super) level: Level,
    /// How it is to run.
    pub(super) options: LoadOptions,
    /// How long it stays in memory.
    pub(super) keep_alive: KeepAlive,
    /// It is kept in memory until it is unloaded.
    pub(super) pin: bool,
}

/// The aim of a running operation. Shared by it and by those who join it.
#[derive(Debug)]
pub struct Target(Mutex<Open>);

#[derive(Debug)]
struct Open {
    aim: Aim,
    /// What was reached is the end: nobody raises it any more.
    closed: bool,
}

// === impl Target ===

impl Target {
    pub(super) fn new(aim: Aim) -> Self {
        Self(Mutex::new(Open { aim, closed: false }))
    }

    /// The aim as it is now.
    pub(super) fn aim(&self) -> Aim {
        self.lock().aim.clone()
    }

    /// Takes in what another caller wants; false when it is too late. Of options that differ the later ones win.
    pub(super) fn raise(&self, other: &Self) -> bool {
        let other = other.aim();
        let mut open = self.lock();
        if open.closed {
            return false;
        }
        let aim = &mut open.aim;
        if other.level > Level::OnDisk {
            aim.options = other.options;
            aim.keep_alive = aim.keep_alive.longer(other.keep_alive);
        }
        aim.level = aim.level.max(other.level);
        aim.pin |= other.pin;
        true
    }

    /// Ends it when nobody wants more than was reached; else what is wanted now.
    pub(super) fn close(&self, reached: &Aim) -> Result<(), Aim> {
        let mut open = self.lock();
        if open.aim.level == Level::OnDisk || open.aim == *reached {
            open.closed = true;
            return Ok(());
        }
        Err(open.aim.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn aim(level: Level) -> Aim {
        Aim {
            level,
            ..Aim::default()
        }
    }

    #[test]
    fn who_joins_in_time_raises_the_aim_and_who_is_late_does_not() {
        let target = Target::new(aim(Level::OnDisk));
        let warm = Aim {
            keep_alive: KeepAlive::For(Duration::from_secs(1)),
            pin: true,
            ..aim(Level::Warm)
        };
        assert!(target.raise(&Target::new(warm.clone())));
        assert!(target.raise(&Target::new(aim(Level::OnDisk))));
        assert_eq!(target.close(&aim(Level::OnDisk)), Err(warm.clone()));
        assert_eq!(target.close(&warm), Ok(()));
        assert!(!target.raise(&Target::new(aim(Level::Warm))));
    }
}
