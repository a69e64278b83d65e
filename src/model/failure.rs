//! Why something failed, as a value: what a caller is told, kept with the operation.
//!
//! A failure carries no transport's words; `grpc/status.rs` gives each [`Reason`] its code. It carries nothing internal
//! either: causes go to the log where they are handled.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::Capability;

/// Bytes of a message that leaves us; clients refuse large trailers.
const MAX_MESSAGE: usize = 1024;
/// Bytes of one text in a list that leaves us.
const MAX_TEXT: usize = 256;

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The reason, which decides the code.
    pub reason: Reason,
    /// For people: what failed, and the way out. At most 1 KiB, no server paths.
    pub message: String,
    /// The variables of the message.
    pub metadata: BTreeMap<String, String>,
    /// What is wrong with the request, field by field, or with the state of things: the first 16 of it.
    pub violations: Vec<Violation>,
    /// Further things that are wrong, which are not told of.
    #[serde(default)]
    pub more: usize,
    /// How long a caller should wait before it tries again, where a retry can help.
    pub retry_after: Option<Duration>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The request's field, `import_options.messages[2].role`, or the thing whose state is wrong. At most 256 bytes.
    pub field: String,
    /// What is wrong with it. At most 256 bytes.
    pub description: String,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// Why something failed. The texts are API: clients match on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Reason {
            $($(#[$doc])* $name,)+
            /// The engine has no such ability: `BACKEND_CANNOT_…`.
            BackendCannot(Capability),
        }

        impl Reason {
            /// Every reason but the capabilities'.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// As clients see it in `ErrorInfo.reason`.
            pub fn text(self) -> std::borrow::Cow<'static, str> {
                match self {
                    $(Self::$name => $text.into(),)+
                    Self::BackendCannot(capability) => format!("BACKEND_CANNOT_{}", capability.as_str()).into(),
                }
            }
        }
    };
}

reasons! {
    /// A field is malformed.
    RequestInvalid = "REQUEST_INVALID",
    /// The model's name is malformed or reserved.
    ModelNameInvalid = "MODEL_NAME_INVALID",
    /// A model file is broken or of a kind that is not read.
    ModelFileInvalid = "MODEL_FILE_INVALID",
    /// Nobody has the model.
    ModelNotFound = "MODEL_NOT_FOUND",
    /// No backend of that name.
    BackendNotFound = "BACKEND_NOT_FOUND",
    /// No operation of that id, or it has been forgotten.
    OperationNotFound = "OPERATION_NOT_FOUND",
    /// Nothing lies at the path.
    PathNotFound = "PATH_NOT_FOUND",
    /// The name is taken by other content.
    ModelExists = "MODEL_EXISTS",
    /// The path is outside the roots.
    PathNotAllowed = "PATH_NOT_ALLOWED",
    /// The registry is not on the list.
    RegistryNotAllowed = "REGISTRY_NOT_ALLOWED",
    /// The caller may not do this.
    NotAllowed = "NOT_ALLOWED",
    /// The caller gave no credentials.
    CredentialsMissing = "CREDENTIALS_MISSING",
    /// The caller's credentials are wrong.
    CredentialsInvalid = "CREDENTIALS_INVALID",
    /// The model is loaded.
    ModelInUse = "MODEL_IN_USE",
    /// The configuration wants the model.
    ModelConfigured = "MODEL_CONFIGURED",
    /// What lies at the path cannot be used.
    PathNotUsable = "PATH_NOT_USABLE",
    /// The digest is not the pinned one.
    DigestPinMismatch = "DIGEST_PIN_MISMATCH",
    /// A part of the engine is not installed.
    EngineMissingPart = "ENGINE_MISSING_PART",
    /// The engine cannot load the model.
    ModelNotLoadable = "MODEL_NOT_LOADABLE",
    /// The registry refused our credentials.
    RegistryCredentials = "REGISTRY_CREDENTIALS",
    /// Other work on the model is running.
    OperationConflict = "OPERATION_CONFLICT",
    /// The service or the engine stopped in the middle.
    Interrupted = "INTERRUPTED",
    /// Somebody cancelled it.
    OperationCancelled = "OPERATION_CANCELLED",
    /// The caller's deadline passed; the work goes on.
    DeadlineExceeded = "DEADLINE_EXCEEDED",
    /// The engine made no progress for too long.
    EngineStalled = "ENGINE_STALLED",
    /// The store's disk has no room.
    DiskFull = "DISK_FULL",
    /// The service runs as much as it may.
    TooManyOperations = "TOO_MANY_OPERATIONS",
    /// The engine has no memory for the model.
    EngineOutOfMemory = "ENGINE_OUT_OF_MEMORY",
    /// The message is larger than allowed.
    MessageTooLarge = "MESSAGE_TOO_LARGE",
    /// This build does not know the framework.
    FrameworkNotSupported = "FRAMEWORK_NOT_SUPPORTED",
    /// No such method, or not in this version.
    MethodUnknown = "METHOD_UNKNOWN",
    /// The engine does not answer.
    BackendUnreachable = "BACKEND_UNREACHABLE",
    /// The engine has too much to do.
    BackendBusy = "BACKEND_BUSY",
    /// The registry does not answer.
    RegistryUnreachable = "REGISTRY_UNREACHABLE",
    /// The registry has too much to do.
    RegistryBusy = "REGISTRY_BUSY",
    /// The service is shutting down.
    ShuttingDown = "SHUTTING_DOWN",
    /// Content is not what its digest says.
    DigestMismatch = "DIGEST_MISMATCH",
    /// The engine said what we cannot read.
    BackendProtocol = "BACKEND_PROTOCOL",
    /// A fault of ours.
    Internal = "INTERNAL",
}

// === impl Failure ===

impl Failure {
    /// Violations that are kept: who mends so many asks again anyway, and clients refuse large trailers.
    pub const MAX_VIOLATIONS: usize = 16;

    /// A failure with its message, cut to what may leave.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: cut(message.into(), MAX_MESSAGE),
            metadata: BTreeMap::new(),
            violations: Vec::new(),
            more: 0,
            retry_after: None,
        }
    }

    /// With a variable of the message.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.metadata.insert(key.to_owned(), value.to_string());
        self
    }

    /// With one more thing that is wrong. Of those that are not kept no text is made.
    #[must_use]
    pub fn violation(mut self, field: impl fmt::Display, description: impl fmt::Display) -> Self {
        if self.violations.len() < Self::MAX_VIOLATIONS {
            self.violations.push(Violation {
                field: cut(field.to_string(), MAX_TEXT),
                description: cut(description.to_string(), MAX_TEXT),
            });
        } else {
            self.more = self.more.saturating_add(1);
        }
        self
    }

    /// With advice when to try again.
    #[must_use]
    pub fn retry_after(mut self, delay: Duration) -> Self {
        self.retry_after = Some(delay);
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Cuts a text between characters, and shows that it did.
fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes - '…'.len_utf8()));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_violations_are_kept_and_the_others_counted() {
        let mut failure = Failure::new(Reason::RequestInvalid, "m");
        for n in 0..100 {
            failure = failure.violation(format_args!("f{n}"), "é".repeat(1000));
        }
        assert_eq!((failure.violations.len(), failure.more), (16, 84));
        assert_eq!(failure.violations[15].field, "f15");
        let longest = failure.violations.iter().map(|one| one.description.len()).max();
        assert!(longest <= Some(256), "{longest:?}");
        // Of a version that did not count.
        let mut json = serde_json::to_value(&failure).unwrap();
        json.as_object_mut().unwrap().remove("more");
        assert_eq!(serde_json::from_value::<Failure>(json).unwrap().more, 0);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let failure = Failure::new(Reason::Internal, "é".repeat(2000));
        assert!(failure.message.len() <= MAX_MESSAGE);
        assert!(failure.message.ends_with('…'));
    }

    #[test]
    fn reasons_are_what_error_info_takes() {
        for reason in Reason::ALL {
            let text = reason.text();
            assert!(
                text.len() <= 63 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
                "{text}"
            );
        }
        assert_eq!(
            Reason::BackendCannot(Capability::ListRunning).text(),
            "BACKEND_CANNOT_LIST_RUNNING"
        );
    }
}
