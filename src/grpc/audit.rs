//! One line of the log a mutating call: who, what, which model, and how it ended.
//!
//! A call that might have changed something and found nothing to do has changed nothing: it is told of where reading calls
//! are, at DEBUG. Control planes ask tens of thousands of times a second whether a model is ready; a line for each would hide
//! the others and cost more than the answer.

use std::{net::SocketAddr, time::Instant};

use tonic::Request;

use super::{auth::Refused, call::Caller, status};
use crate::model::Failure;

/// A call that will be told about, once. A caller that leaves before the end is told about too.
#[derive(Debug)]
pub(super) struct Audit {
    rpc: &'static str,
    caller: Option<Caller>,
    backend: String,
    model: String,
    operation: Option<uuid::Uuid>,
    began: Instant,
    told: bool,
}

/// What a call may have changed.
#[derive(Debug, Clone, Copy)]
enum Change {
    None,
    Possible,
}

/// Text of a caller's in the log: no longer than a name may be.
const MAX_TEXT: usize = 640;

/// A call that ended before its message was read: an audit line when it would have changed something.
pub(super) fn refused(path: &str, address: SocketAddr, refused: &Refused) {
    let method = path.rsplit_once('.').map_or(path, |(_, method)| method);
    let method = method.strip_prefix("ModelControl/").unwrap_or(method).replace('/', ".");
    let method = &method[..method.floor_char_boundary(MAX_TEXT)];
    let (outcome, reason) = (status::word(&refused.failure), refused.failure.reason.text());
    let (name, reason) = (refused.name.as_deref(), &*reason);
    if refused.control {
        tracing::info!(
            audit = true,
            rpc.method = method,
            client.address = %address,
            client.name = name,
            reason,
            "call ended: {outcome}"
        );
    } else {
        tracing::debug!(rpc.method = method, client.address = %address, client.name = name, reason, "call refused");
    }
}

// === impl Audit ===

impl Audit {
    /// A call begins. Backend and model are as the caller wrote them.
    pub(super) fn begin<T>(rpc: &'static str, request: &Request<T>, backend: &str, model: &str) -> Self {
        let text = |text: &str| text[..text.floor_char_boundary(MAX_TEXT)].to_owned();
        Self {
            rpc,
            caller: request.extensions().get::<Caller>().cloned(),
            backend: text(backend),
            model: text(model),
            operation: None,
            began: Instant::now(),
            told: false,
        }
    }

    /// The call follows this operation.
    pub(super) fn operation(&mut self, id: uuid::Uuid) {
        self.operation = Some(id);
    }

    /// The call ends, and all was as it is wanted.
    pub(super) fn end_unchanged(&mut self) {
        self.tell("Ok", None, Change::None);
    }

    /// The call ends.
    pub(super) fn end(&mut self, failure: Option<&Failure>) {
        let (outcome, reason) = match failure {
            None => ("Ok".to_owned(), None),
            Some(failure) => (status::word(failure), Some(failure.reason.text())),
        };
        self.tell(&outcome, reason.as_deref(), Change::Possible);
    }

    fn tell(&mut self, outcome: &str, reason: Option<&str>, change: Change) {
        /// A level is a part of the line's place in the code.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    audit = true,
                    rpc.method = self.rpc,
                    client.address = self
                        .caller
                        .as_ref()
                        .map(|caller| tracing::field::display(caller.address)),
                    client.name = self.caller.as_ref().and_then(|caller| caller.name.as_deref()),
                    backend.name = self.backend,
                    model.name = self.model,
                    operation.id = self.operation.map(tracing::field::display),
                    duration_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    reason,
                    "call ended: {outcome}"
                )
            };
        }
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        match change {
            Change::None => line!(debug),
            Change::Possible => line!(info),
        }
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.tell("the caller left, or its deadline passed", None, Change::Possible);
    }
}
