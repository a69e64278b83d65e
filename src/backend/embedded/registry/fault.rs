//! From statuses and failures of connections to what they mean.
//!
//! The texts are for callers: they name hosts and ways out, never URLs (signed ones are secrets), credentials or paths. What
//! a registry says of an error is quoted short and without anything that looks like a secret.

use std::{error, fmt, io, time::Duration, time::SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::{
    guard::Refused,
    remote::{Fault, Retry},
};
use crate::backend::{Error, Kind, registries::Origin};

/// Longest wait that a registry may ask for; more is taken as this.
const MAX_WAIT: Duration = Duration::from_hours(1);
/// Characters of a registry's own words.
const MAX_QUOTE: usize = 200;
/// Characters of a word; a digest has 71.
const MAX_WORD: usize = 80;

/// Who is talked to, in words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The registry that the model names.
    pub(super) registry: &'a Origin,
    /// Where the request goes: the registry, or where it sends us.
    pub(super) at: &'a Origin,
}

/// What is asked for, in words: the same status means another thing for each.
#[derive(Debug, Clone, Copy)]
pub(super) enum Thing<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    Token,
    /// A blob that is sent.
    SentBlob(&'a str),
    /// A manifest that is sent.
    SentManifest(&'a str),
}

// === impl Place ===

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.registry == self.at {
            write!(f, "registry `{}`", self.registry)
        } else {
            write!(f, "`{}`, where registry `{}` sends us,", self.at, self.registry)
        }
    }
}

// === impl Thing ===

impl fmt::Display for Thing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest(name) => write!(f, "the model `{name}`"),
            Self::Blob(digest) => write!(f, "the blob {digest}"),
            Self::Token => f.write_str("a token"),
            Self::SentBlob(digest) => write!(f, "to take the blob {digest}"),
            Self::SentManifest(name) => write!(f, "to take the model `{name}`"),
        }
    }
}

impl Thing<'_> {
    fn is_sent(&self) -> bool {
        matches!(self, Self::SentBlob(_) | Self::SentManifest(_))
    }
}

/// A place that must not be reached.
pub(super) fn refused(place: &Place<'_>, why: Refused) -> Fault {
    let message = if place.registry == place.at {
        format!("{place} is not reached: {why}")
    } else {
        format!(
            "{place} is not reached: {why}; the operator may add `--allow-registry={}{}`",
            if place.at.plain_http { "http://" } else { "" },
            place.at
        )
    };
    Fault::never(Error::new(Kind::RegistryNotAllowed, message))
}

/// A redirect from https to plain http. No list makes it good.
pub(super) fn downgrade(place: &Place<'_>) -> Fault {
    let message = format!("{place} redirects from https to plain http, which is never followed");
    Fault::never(Error::new(Kind::RegistryNotAllowed, message))
}

/// What no registry should say.
pub(super) fn protocol(place: &Place<'_>, says: impl fmt::Display) -> Fault {
    Fault::never(Error::new(Kind::Protocol, format!("{place} {says}")))
}

pub(super) fn too_long(place: &Place<'_>, limit: u64) -> Fault {
    protocol(place, format_args!("answered with more than {} KiB", limit >> 10))
}

/// The body ended before the end that was told.
pub(super) fn short(place: &Place<'_>) -> Fault {
    let message = format!("{place} ended an answer before its end");
    Fault::soon(Error::new(Kind::RegistryUnreachable, message))
}

/// Nothing came in time.
pub(super) fn silent(place: &Place<'_>, after: Duration) -> Fault {
    let message = format!("{place} did not answer within {:.1} s", after.as_secs_f32());
    Fault::soon(Error::new(Kind::RegistryUnreachable, message))
}

pub(super) fn credentials(place: &Place<'_>, says: impl fmt::Display) -> Fault {
    Fault::never(Error::new(Kind::RegistryCredentials, format!("{place} {says}")))
}

/// The connection failed, before the answer or in the middle of it.
pub(super) fn connection(place: &Place<'_>, error: reqwest::Error) -> Fault {
    let unreachable = |message: String| Error::new(Kind::RegistryUnreachable, message);
    let cause = Cause::of(&error);
    // A signed URL is a secret.
    let error = error.without_url();
    let fault = match cause {
        Cause::Refused(why) => return refused(place, why),
        Cause::Certificate(why) => Fault::never(unreachable(format!(
            "{place} has a certificate that is not trusted ({why}): the operator may name its authority with \
             `--registry-ca-file`"
        ))),
        Cause::NoTls => Fault::never(unreachable(format!(
            "{place} does not speak TLS: where plain http is meant, the operator may list it as `http://{}`",
            place.at
        ))),
        Cause::Head => Fault::never(Error::new(
            Kind::Protocol,
            format!("{place} answered what is no HTTP, or with more headers than are read"),
        )),
        Cause::Other if error.is_timeout() => Fault::soon(unreachable(format!(
            "{place} does not answer: the connection took too long"
        ))),
        Cause::Other if error.is_connect() => Fault::soon(unreachable(format!("{place} cannot be connected"))),
        Cause::Other => Fault::soon(unreachable(format!("the connection to {place} broke"))),
    };
    Fault {
        error: fault.error.because(error),
        ..fault
    }
}

/// An answer with another status than the wanted ones. `said` are the registry's own words.
pub(super) fn status(
    place: &Place<'_>,
    thing: Thing<'_>,
    status: StatusCode,
    headers: &HeaderMap,
    said: Option<&str>,
) -> Fault {
    let said = said.map(|said| format!(" (it says: {said})")).unwrap_or_default();
    let after = retry_after(headers, SystemTime::now());
    let retry = after.map_or(Retry::Soon, Retry::After);
    let (kind, retry, message) = match status {
        // The signature of a redirect runs out; the registry signs a new one.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if place.registry != place.at => (
            Kind::RegistryCredentials,
            Retry::Soon,
            format!("{place} refuses {thing}{said}"),
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if thing.is_sent() => (
            Kind::RegistryCredentials,
            Retry::Never,
            format!(
                "{place} refuses {thing}{said}: its credentials in `--registry-auth-file` are missing or wrong, or may not \
                 push there"
            ),
        ),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => (
            Kind::RegistryCredentials,
            Retry::Never,
            format!(
                "{place} refuses {thing}{said}: it may be private or not exist, or its credentials in \
                 `--registry-auth-file` are missing or wrong"
            ),
        ),
        StatusCode::NOT_FOUND | StatusCode::GONE if thing.is_sent() => (
            Kind::NotFound,
            Retry::Never,
            format!("{place} does not know where {thing}{said}: its repository may have to be made there first"),
        ),
        StatusCode::PAYLOAD_TOO_LARGE if thing.is_sent() => (
            Kind::Protocol,
            Retry::Never,
            format!("{place}, or a proxy before it, takes no request as large as one needs {thing}{said}"),
        ),
        StatusCode::METHOD_NOT_ALLOWED if thing.is_sent() => (
            Kind::Protocol,
            Retry::Never,
            format!("{place} is not made {thing}{said}: it may be read-only"),
        ),
        StatusCode::INSUFFICIENT_STORAGE => (
            Kind::RegistryBusy(after),
            Retry::Never,
            format!("{place} has no room left{said}"),
        ),
        StatusCode::NOT_FOUND | StatusCode::GONE => (
            Kind::NotFound,
            Retry::Never,
            format!("{place} does not have {thing}{said}"),
        ),
        StatusCode::TOO_MANY_REQUESTS => (
            Kind::RegistryBusy(after),
            retry,
            format!("{place} has too much to do{said}"),
        ),
        StatusCode::SERVICE_UNAVAILABLE if after.is_some() => (
            Kind::RegistryBusy(after),
            retry,
            format!("{place} has too much to do{said}"),
        ),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => (
            Kind::RegistryUnreachable,
            retry,
            format!("{place} answered {status}{said}"),
        ),
        status if status.is_server_error() => (
            Kind::RegistryUnreachable,
            retry,
            format!("{place} failed with status {}{said}", status.as_u16()),
        ),
        status => (
            Kind::Protocol,
            Retry::Never,
            format!(
                "{place} answered the question for {thing} with status {}{said}",
                status.as_u16()
            ),
        ),
    };
    Fault {
        error: Error::new(kind, message),
        retry,
    }
}

/// When a registry wants to be asked again: seconds or a date, and no later than in an hour.
pub(super) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        date.duration_since(now).unwrap_or_default()
    };
    Some(wait.min(MAX_WAIT))
}

/// The code of the first error in a registry's JSON: `BLOB_UPLOAD_UNKNOWN`, say.
pub(super) fn code(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Said {
        errors: Vec<Item>,
    }
    #[derive(serde::Deserialize)]
    struct Item {
        code: String,
    }
    let said: Said = serde_json::from_slice(body).ok()?;
    said.errors.into_iter().next().map(|item| item.code)
}

/// A registry's own words on an error, short and harmless: the first message of its JSON, or a plain text.
pub(super) fn quote(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Said {
        Distribution { errors: Vec<Item> },
        Plain { error: String },
        Message(Item),
    }
    #[derive(serde::Deserialize)]
    struct Item {
        message: String,
    }
    let text = match serde_json::from_slice(body) {
        Ok(Said::Distribution { errors }) => errors.into_iter().next()?.message,
        Ok(Said::Plain { error: message } | Said::Message(Item { message })) => message,
        Err(_) => str::from_utf8(body)
            .ok()
            .filter(|text| !text.contains(['<', '{']))?
            .to_owned(),
    };
    let mut quote = String::new();
    let mut secret = false;
    for word in text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
    {
        let shown = match word.split_once('?') {
            _ if secret || word.chars().count() > MAX_WORD => "…",
            // What follows is the query of a URL.
            Some((before, _)) if word.contains("://") => before,
            _ => word,
        };
        secret = word.trim_end_matches(':').eq_ignore_ascii_case("bearer")
            || word.trim_end_matches(':').eq_ignore_ascii_case("basic");
        if quote.chars().count() + shown.chars().count() >= MAX_QUOTE {
            quote.push_str(" …");
            break;
        }
        if !quote.is_empty() {
            quote.push(' ');
        }
        quote.push_str(shown);
    }
    (!quote.is_empty()).then_some(quote)
}

/// What lies at the bottom of a failed request.
enum Cause {
    Refused(Refused),
    Certificate(String),
    NoTls,
    /// The answer is no HTTP, or has more headers than are read.
    Head,
    Other,
}

// === impl Cause ===

impl Cause {
    fn of(error: &reqwest::Error) -> Self {
        let mut next: Option<&(dyn error::Error + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(refused) = error.downcast_ref::<Refused>() {
                return Self::Refused(*refused);
            }
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Self::tls(tls);
            }
            if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
                return Self::Head;
            }
            // What our end of HTTP/2 does not take, a flood of headers too.
            if error.downcast_ref::<h2::Error>().is_some_and(h2::Error::is_library) {
                return Self::Head;
            }
            // An I/O error shows its inner error, not as its source.
            next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        Self::Other
    }

    fn tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(why) => Self::Certificate(why.to_string()),
            rustls::Error::InvalidMessage(_) => Self::NoTls,
            _ => Self::Other,
        }
    }
}
