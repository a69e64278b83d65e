//! The registries that a model's name may name, whichever engine asks them.
//!
//! | file | holds |
//! |---|---|
//! | `origin` | scheme, host and port: what a host is when credentials and lists are compared |

use std::{fmt, str::FromStr};

use super::{Error, Kind};
use crate::model::ModelName;

mod origin;

pub(crate) use self::origin::Origin;

/// A registry that names may name: `host[:port]`, or `http://host[:port]` where plain http is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost(pub(crate) Origin);

/// A text that is no registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a registry is `host[:port]`, or `http://host[:port]` where plain http is meant")]
pub struct InvalidHost;

/// The registries that names may name, for engines that fetch by themselves: where they are redirected is out of our reach.
#[derive(Debug, Clone, Default)]
pub struct AllowList(pub Vec<AllowedHost>);

// === impl AllowedHost ===

impl AllowedHost {
    /// Whether plain http is meant.
    pub fn plain_http(&self) -> bool {
        self.0.plain_http
    }
}

impl FromStr for AllowedHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let (authority, plain_http) = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (rest, true),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (rest, false),
            Some(_) => return Err(InvalidHost),
            None => (text, false),
        };
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        Origin::new(authority, plain_http).map(Self).ok_or(InvalidHost)
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.0.plain_http { "http://" } else { "" };
        write!(f, "{scheme}{}", self.0)
    }
}

// === impl AllowList ===

impl AllowList {
    /// Fails unless the model's registry is listed for the scheme that is meant.
    pub fn check(&self, name: &ModelName, insecure: bool) -> Result<(), Error> {
        named(&self.0, name, insecure).map(drop)
    }
}

/// The registry that a model names. The caller's `insecure` and the operator's list must both say plain http.
pub(crate) fn named(allow: &[AllowedHost], name: &ModelName, insecure: bool) -> Result<Origin, Error> {
    let host = name.host();
    // Names carry no scheme: a host without a port stands for the port of the scheme that is listed.
    let named = |allowed: &&AllowedHost| Origin::new(host, allowed.plain_http()).as_ref() == Some(&allowed.0);
    let listed: Vec<_> = allow.iter().filter(named).collect();
    if let Some(found) = listed.iter().find(|allowed| allowed.plain_http() == insecure) {
        return Ok(found.0.clone());
    }
    let way_out = match (insecure, listed.is_empty()) {
        (true, _) => format!("is not listed for plain http: the operator may add `--allow-registry=http://{host}`"),
        (false, true) => {
            format!("is not on the list of registries: the operator may add `--allow-registry={host}`")
        }
        (false, false) => "is listed for plain http only: ask with `insecure`".to_owned(),
    };
    let message = format!("registry `{host}` {way_out}");
    Err(Error::new(Kind::RegistryNotAllowed, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_written_with_or_without_its_scheme() {
        for (text, plain_http, shown) in [
            ("registry.ollama.ai", false, "registry.ollama.ai"),
            ("https://HF.co/", false, "hf.co"),
            ("http://127.0.0.1:5000", true, "http://127.0.0.1:5000"),
            ("http://[::1]:80", true, "http://[::1]"),
        ] {
            let host: AllowedHost = text.parse().unwrap();
            assert_eq!((host.plain_http(), host.to_string().as_str()), (plain_http, shown));
        }
        for bad in ["", "ftp://a", "http://", "https://a/v2", "*.example.org", "a@b"] {
            assert_eq!(bad.parse::<AllowedHost>(), Err(InvalidHost), "{bad:?}");
        }
    }
}
