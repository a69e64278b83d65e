//! From what Ollama says of errors to what it means: the only reader of these texts.
//!
//! An error is a line of a stream whose HTTP status was 200, or the body of another status; both end here. The texts are
//! Ollama's own and no API: what no row of the table knows becomes [`Kind::Protocol`], with the text. Paths of Ollama's
//! machine and user information are taken out of every text that leaves.

use http::StatusCode;

use self::life::{LOADING, MANAGING, PUSHING};
use crate::backend::{Error, Kind, text::told};

mod life;
mod registry;

/// What was being done: the same words mean another thing for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// A short question.
    Asking,
    Pulling,
    Creating,
    Uploading,
    Pushing,
    /// Shows, removes, copies.
    Managing,
    /// Brings into memory, asks what is there, takes out of it.
    Loading,
}

/// A row: what is looked for in the text, what it means, and what callers are told before the text itself.
type Row = (&'static [&'static str], Meaning, &'static str);

/// Kinds without their variables.
#[derive(Debug, Clone, Copy)]
enum Meaning {
    NotFound,
    FileInvalid,
    Quantize,
    Template,
    License,
    MissingPart,
    RegistryUnreachable,
    RegistryBusy,
    RegistryCredentials,
    DiskFull,
    DigestMismatch,
    Interrupted,
    Busy,
    NotLoadable,
    OutOfMemory,
    EngineOptions,
    NameInvalid,
    Stalled,
    Protocol,
}

/// Of models for Apple's runtime, on a machine without it. Names and URLs may hold the bare word.
const MLX: &str = "requires mlx";
const MLX_RUNTIME: &str = "mlx runtime";

/// Of all routes that take a name.
const NAMES: Row = (
    &["invalid model name", "use either :local or :cloud", "unqualified name"],
    Meaning::NameInvalid,
    "Ollama does not take the name",
);

/// Of all routes.
const ANY: &[Row] = &[
    (
        &["no space left on device", "disk quota exceeded"],
        Meaning::DiskFull,
        "the disk of Ollama's models has no room",
    ),
    (&["server busy"], Meaning::Busy, "Ollama has too much to do"),
];

/// In the order in which they are looked for: what is more particular comes first.
const PULLING: &[Row] = &[
    (
        &["context canceled"],
        Meaning::Interrupted,
        "Ollama stopped the pull by itself: ask again",
    ),
    (
        &["digest mismatch"],
        Meaning::DigestMismatch,
        "the registry sent other bytes than its digest says",
    ),
    (
        &[MLX, MLX_RUNTIME, "newer version of ollama"],
        Meaning::MissingPart,
        "this Ollama cannot run the model",
    ),
    NAMES,
    (
        &["realm host", "unauthorized", "id_ed25519"],
        Meaning::RegistryCredentials,
        "the registry refuses Ollama",
    ),
    (
        &["file does not exist"],
        Meaning::NotFound,
        "the registry has no such model",
    ),
    (
        &[
            "max retries exceeded",
            "no such host",
            "connection refused",
            "connection reset",
            "dial tcp",
            "x509",
            "tls:",
            "timeout",
            "context deadline exceeded",
            "eof",
            "no location header",
            "server gave http response to https client",
        ],
        Meaning::RegistryUnreachable,
        "the registry does not serve Ollama",
    ),
    (
        &[
            "invalid character",
            "cannot unmarshal",
            "digest is empty",
            "invalid digest format",
        ],
        Meaning::Protocol,
        "the registry answered what is no manifest",
    ),
];

const CREATING: &[Row] = &[
    (
        &[
            "binary not found",
            "llama-quantize unavailable",
            "executable file not found",
        ],
        Meaning::MissingPart,
        "Ollama lacks its program llama-quantize: install a whole Ollama",
    ),
    (
        &[MLX, MLX_RUNTIME],
        Meaning::MissingPart,
        "this Ollama cannot make the model",
    ),
    NAMES,
    (
        &["unsupported quantization type", "quantization is only supported"],
        Meaning::Quantize,
        "Ollama cannot quantize to that",
    ),
    (
        &["template error", "template:"],
        Meaning::Template,
        "the template is wrong",
    ),
    (
        &["go value of type []string", "license type"],
        Meaning::License,
        "Ollama does not take the licence",
    ),
    (
        &["blobs/sha256-"],
        Meaning::Interrupted,
        "a file that had been sent to Ollama was removed there while the model was made: ask again",
    ),
    (
        &["signal: killed"],
        Meaning::Interrupted,
        "llama-quantize was killed on Ollama's machine, which may lack memory: ask again",
    ),
    (
        &[HELPER_FAILED],
        Meaning::FileInvalid,
        "llama-quantize refuses the file; its reason stands in Ollama's log",
    ),
    (
        &[
            "gguf",
            "shards",
            "split.",
            "filename count",
            "filename index",
            "unknown type",
            "architecture",
            "tokenizer",
            "tensor",
            "data type",
            "config.json",
            "invalid type",
            "invalid array type",
            "eof",
            "no base model",
            "adapter",
            "duplicate",
            "safetensors",
            "invalid character",
        ],
        Meaning::FileInvalid,
        "Ollama refuses the file",
    ),
];

const UPLOADING: &[Row] = &[(
    &["digest mismatch"],
    Meaning::DigestMismatch,
    "what reached Ollama is not what was sent",
)];

/// Its program that copies and quantizes failed, which says why in Ollama's log alone.
const HELPER_FAILED: &str = "llama-quantize failed";

/// Whether that is all that Ollama says: the file may be wrong, or the disk full.
pub(super) fn is_of_helper(text: &str) -> bool {
    text.contains(HELPER_FAILED) && !text.contains("signal: killed")
}

/// Ollama stopped work that nobody here had stopped: the download that it joined had been left by somebody before.
pub(super) fn is_canceled(text: &str) -> bool {
    text.ends_with("context canceled")
}

pub(super) use self::life::is_embedding_only;

/// An error's text, from a line or a body.
pub(super) fn said(doing: Doing, text: &str) -> Error {
    let low = text.to_ascii_lowercase();
    let words = registry::without_urls(&low);
    let rows = match doing {
        Doing::Asking => &[][..],
        Doing::Pulling => PULLING,
        Doing::Creating => CREATING,
        Doing::Uploading => UPLOADING,
        Doing::Pushing => PUSHING,
        Doing::Managing => MANAGING,
        Doing::Loading => LOADING,
    };
    let of_status = registry::status(doing, &low);
    let row = ANY
        .iter()
        .chain(rows)
        .find(|(needles, ..)| needles.iter().any(|needle| words.contains(needle)))
        .map(|&(_, meaning, words)| (meaning, words));
    let unknown = match doing {
        // Whatever a model's own runner says, it does not run.
        Doing::Loading => (Meaning::NotLoadable, "Ollama cannot load the model"),
        _ => (Meaning::Protocol, "Ollama failed"),
    };
    let (meaning, words) = of_status.or(row).unwrap_or(unknown);
    let text = told(&life::once(text));
    let message = if text.is_empty() {
        format!("{words}, and does not say why")
    } else {
        format!("{words}: {text}")
    };
    Error::new(meaning.kind(), message)
}

/// What came with a status.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    Empty,
    /// No words of Ollama's.
    Foreign,
    /// Ollama's.
    Says(&'a str),
}

/// An answer with a status that is none of the wanted ones.
pub(super) fn answered(doing: Doing, status: StatusCode, body: Body<'_>) -> Error {
    let text = match body {
        Body::Says(text) => Some(text),
        Body::Empty | Body::Foreign => None,
    };
    match (status, text) {
        (StatusCode::UNAUTHORIZED, _) => Error::new(
            Kind::Unreachable,
            "something before it wants credentials (401): put them into the file of `--header-file`",
        ),
        (StatusCode::FORBIDDEN, None) if matches!(body, Body::Foreign) => Error::new(
            Kind::Unreachable,
            "something before it refuses the request (403): what it wants may be a header, in the file of `--header-file`",
        ),
        (StatusCode::FORBIDDEN, None) => Error::new(
            Kind::Unreachable,
            "it refuses the host name by which it is called (403): call it by its address, or let it listen on more than \
             loopback (OLLAMA_HOST)",
        ),
        (StatusCode::SERVICE_UNAVAILABLE, text) => Error::new(
            Kind::Busy(None),
            format!("Ollama has too much to do: {}", told(text.unwrap_or("503"))),
        ),
        (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, _) => Error::new(
            Kind::Unreachable,
            format!("something before it does not reach it ({})", status.as_u16()),
        ),
        (status, _) if status.is_redirection() => Error::new(
            Kind::Protocol,
            format!(
                "something that is no Ollama answers there (a redirect, {})",
                status.as_u16()
            ),
        ),
        (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, None) => Error::new(
            Kind::Protocol,
            format!("something that is no Ollama answers there ({})", status.as_u16()),
        ),
        // Paths in it are of models, and a program's absence has another status.
        (StatusCode::NOT_FOUND, Some(text)) if matches!(doing, Doing::Managing | Doing::Loading) => {
            Error::new(Kind::NotFound, format!("Ollama has no such model: {}", told(text)))
        }
        (_, Some(text)) => said(doing, text),
        (status, None) => Error::new(
            Kind::Protocol,
            format!("Ollama answered with the status {} and no reason", status.as_u16()),
        ),
    }
}

/// The deepest reason that the system gave, in its own words.
pub(super) fn cause(error: &reqwest::Error) -> String {
    let mut deepest = std::error::Error::source(error);
    while let Some(next) = deepest.and_then(std::error::Error::source) {
        deepest = Some(next);
    }
    deepest.map(|cause| format!(": {cause}")).unwrap_or_default()
}

// === impl Meaning ===

impl Meaning {
    fn kind(self) -> Kind {
        match self {
            Self::NotFound => Kind::NotFound,
            Self::FileInvalid => Kind::FileInvalid,
            Self::Quantize => Kind::OptionInvalid("import_options.quantize"),
            Self::License => Kind::OptionInvalid("import_options.license"),
            Self::Template => Kind::OptionInvalid("import_options.template"),
            Self::MissingPart => Kind::MissingPart,
            Self::RegistryUnreachable => Kind::RegistryUnreachable,
            Self::RegistryBusy => Kind::RegistryBusy(None),
            Self::RegistryCredentials => Kind::RegistryCredentials,
            Self::DiskFull => Kind::DiskFull { need: 0, have: 0 },
            Self::DigestMismatch => Kind::DigestMismatch,
            Self::Interrupted => Kind::Interrupted,
            Self::Busy => Kind::Busy(None),
            Self::NotLoadable => Kind::NotLoadable,
            Self::OutOfMemory => Kind::OutOfMemory,
            Self::EngineOptions => Kind::OptionInvalid("load_options.engine_options"),
            Self::NameInvalid => Kind::NameInvalid,
            Self::Stalled => Kind::Stalled,
            Self::Protocol => Kind::Protocol,
        }
    }
}

#[cfg(test)]
mod tests;
