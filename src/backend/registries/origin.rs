//! Scheme, host and port: what a host is when credentials and lists are compared.

use std::{fmt, net::IpAddr};

use reqwest::Url;

/// Where a request goes. The host is as the URL parser leaves it: lower case, IPv4 in dotted decimals whatever form it was
/// written in, IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    pub(crate) plain_http: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
}

// === impl Origin ===

impl Origin {
    /// Of `host[:port]`. Nothing else may stand in it.
    pub(crate) fn new(authority: &str, plain_http: bool) -> Option<Self> {
        if authority.contains(['/', '\\', '@', '?', '#', '*', '%']) || authority.chars().any(char::is_whitespace) {
            return None;
        }
        let scheme = if plain_http { "http" } else { "https" };
        Self::of(&Url::parse(&format!("{scheme}://{authority}/")).ok()?)
    }

    /// Of a URL that is http or https.
    pub(crate) fn of(url: &Url) -> Option<Self> {
        let plain_http = match url.scheme() {
            "http" => true,
            "https" => false,
            _ => return None,
        };
        Some(Self {
            plain_http,
            // A dot at the end names the same host.
            host: url.host_str()?.trim_end_matches('.').to_owned(),
            port: url.port_or_known_default()?,
        })
    }

    /// The same host and port, whatever the scheme.
    pub(crate) fn same_place(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }

    /// The address that the host is, when it is no name.
    pub(crate) fn literal(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        bare.unwrap_or(&self.host).parse().ok()
    }

    /// The URL of a path at this origin. The path begins with a slash.
    pub(crate) fn url(&self, path: &str) -> Option<Url> {
        let scheme = if self.plain_http { "http" } else { "https" };
        Url::parse(&format!("{scheme}://{}:{}{path}", self.host, self.port)).ok()
    }
}

impl fmt::Display for Origin {
    /// `host[:port]`, as model names and Docker's files write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        match (self.plain_http, self.port) {
            (true, 80) | (false, 443) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_normalised_whatever_form_they_are_written_in() {
        for text in [
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "0x7f.1",
        ] {
            let origin = Origin::new(text, false).unwrap();
            assert_eq!(origin.literal(), Some(IpAddr::from([127, 0, 0, 1])), "{text}");
        }
        let mapped = Origin::new("[::ffff:127.0.0.1]:8443", false).unwrap();
        assert_eq!(mapped.literal(), Some("::ffff:127.0.0.1".parse().unwrap()));
        assert_eq!(mapped.port, 8443);
    }

    #[test]
    fn an_authority_has_a_host_and_a_port_only() {
        for bad in [
            "",
            "a/b",
            "user@host",
            "a:b",
            "a:1:2",
            "a?b",
            "a#b",
            "a b",
            "a:70000",
            "a\\b",
        ] {
            assert_eq!(Origin::new(bad, false), None, "{bad:?}");
        }
        assert_eq!(Origin::new("HF.co", false).unwrap().to_string(), "hf.co");
        assert_eq!(Origin::new("hf.co:443", false), Origin::new("hf.co", false));
        assert_eq!(Origin::new("hf.co:443", true).unwrap().to_string(), "hf.co:443");
    }
}
