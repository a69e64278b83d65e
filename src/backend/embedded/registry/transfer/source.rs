//! Opening a range of the blob at its registry, and whether what is opened is what was asked for.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until, timeout};

use super::{
    super::remote::{Fault, Opened, Remote, Retry},
    Halt, Restart,
};
use crate::backend::{Error, Kind};

/// One blob at its registry, during one attempt.
#[derive(Debug)]
pub(super) struct Source {
    remote: Arc<dyn Remote>,
    size: u64,
    /// For one answer.
    patience: Duration,
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    /// What names the registry's state of the blob; the first answer tells.
    validator: Option<String>,
    /// Whether validators are looked at. Registries behind several hosts may give one each: after one change the digest
    /// alone decides.
    steady: bool,
    /// Nobody asks before (Retry-After).
    closed_until: Option<Instant>,
}

/// Why a request did not bring all that it was for.
#[derive(Debug)]
pub(super) enum Trouble {
    Fault(Fault),
    Halt(Halt),
}

// === impl Source ===

impl Source {
    pub(super) fn new(
        remote: Arc<dyn Remote>,
        size: u64,
        patience: Duration,
        validator: Option<String>,
        steady: bool,
    ) -> Self {
        let known = Mutex::new(Known {
            validator,
            steady,
            closed_until: None,
        });
        Self {
            remote,
            size,
            patience,
            known,
        }
    }

    fn known<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What to send with a record.
    pub(super) fn validator(&self) -> Option<String> {
        self.known(|known| known.validator.clone())
    }

    /// Waits while the registry wants no questions.
    pub(super) async fn admitted(&self) {
        while let Some(until) = self.known(|known| known.closed_until.filter(|until| *until > Instant::now())) {
            sleep_until(until).await;
        }
    }

    /// Remembers what a fault says for everybody.
    pub(super) fn learn(&self, fault: &Fault) {
        if let Retry::After(wait) = fault.retry
            // One that is too far away ends the download anyway.
            && let Some(until) = Instant::now().checked_add(wait)
        {
            self.known(|known| known.closed_until = known.closed_until.max(Some(until)));
        }
    }

    /// Opens `range`. The body begins there, or at 0 where the registry passes over ranges.
    pub(super) async fn open(&self, range: Range<u64>) -> Result<Opened, Trouble> {
        let sent = self.known(|known| known.validator.clone().filter(|_| known.steady));
        let opened = timeout(self.patience, self.remote.open(range.clone(), sent.as_deref()))
            .await
            .map_err(|_| Trouble::stalled())??;
        if let Some(total) = opened.total.filter(|total| *total != self.size) {
            let size = self.size;
            return Err(Trouble::protocol(format!(
                "the registry gives a blob of {total} bytes where the manifest says {size}"
            )));
        }
        if opened.start != range.start && opened.start != 0 {
            let (at, asked) = (opened.start, range.start);
            return Err(Trouble::protocol(format!(
                "the registry gives bytes from {at} on where {asked} was asked for"
            )));
        }
        self.compare(sent.as_deref(), &range, &opened)?;
        Ok(opened)
    }

    fn compare(&self, sent: Option<&str>, range: &Range<u64>, opened: &Opened) -> Result<(), Trouble> {
        let changed = match (sent, opened.validator.as_deref()) {
            (Some(sent), Some(got)) => sent != got,
            // The whole blob in place of a range: that is how a change is told.
            (Some(_), None) => opened.start != range.start,
            (None, _) => false,
        };
        if changed {
            return Err(Trouble::Halt(Halt::Over(Restart::Changed)));
        }
        self.known(|known| {
            if known.steady && known.validator.is_none() {
                known.validator.clone_from(&opened.validator);
            }
        });
        Ok(())
    }
}

// === impl Trouble ===

impl Trouble {
    pub(super) fn stalled() -> Self {
        Fault::soon(Error::new(Kind::RegistryUnreachable, "the registry stopped sending")).into()
    }

    pub(super) fn early() -> Self {
        let message = "the registry ended a blob before its end";
        Fault::soon(Error::new(Kind::RegistryUnreachable, message)).into()
    }

    fn protocol(message: String) -> Self {
        // Perhaps one bad host of many.
        Fault::soon(Error::new(Kind::Protocol, message)).into()
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Halt> for Trouble {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}
