//! Where an Ollama is: the grammar of its own `OLLAMA_HOST`, so that a value can be carried over.
//!
//! Where Ollama's programs disagree on a value, or take one and then do something else (a port out of range, user
//! information), it is a problem here.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Where Ollama listens unless it is told otherwise.
const PORT: u16 = 11434;

/// An Ollama's address, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Host {
    /// With TLS.
    pub https: bool,
    /// A name in lower case, an IPv4 address, or an IPv6 address in brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
    /// Before the paths of the API: empty, or `/…` without a slash at its end.
    pub path: String,
}

/// A text that is no address of an Ollama.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHost {
    /// Another scheme than http and https.
    #[error("an Ollama is reached by `http://` or `https://`, not `{0}://`")]
    Scheme(String),
    /// User and password.
    #[error("an address is told to callers and must have no user information: credentials go to `--header-file`")]
    User,
    /// A port that is none.
    #[error("the port must be 1 to 65535")]
    Port,
    /// A query or a fragment, a blank, a name that is none.
    #[error("an address is `host`, `host:port` or `http://host:port`, as in OLLAMA_HOST")]
    Malformed,
}

// === impl Host ===

impl Host {
    /// What two addresses have in common that lead to the same Ollama.
    pub fn id(&self) -> String {
        let host = if self.host == "localhost" {
            "127.0.0.1"
        } else {
            &self.host
        };
        format!("{}:{}{}", host, self.port, self.path)
    }
}

impl Default for Host {
    fn default() -> Self {
        Self {
            https: false,
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: PORT,
            path: String::new(),
        }
    }
}

impl FromStr for Host {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let text = text.trim().trim_matches(['"', '\'']).trim();
        let (https, port, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, 80, rest),
            Some(("https", rest)) => (true, 443, rest),
            Some((scheme, _)) => return Err(InvalidHost::Scheme(scheme.chars().take(16).collect())),
            None if text == "ollama.com" => (true, 443, text),
            None => (false, PORT, text),
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, path.trim_matches('/')),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(InvalidHost::User);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
        if !path.chars().all(allowed) || path.split('/').any(|part| part == "." || part == "..") {
            return Err(InvalidHost::Malformed);
        }
        let (host, port) = split(authority, port)?;
        Ok(Self {
            https,
            host: normalised(host)?,
            port,
            path: if path.is_empty() {
                String::new()
            } else {
                format!("/{path}")
            },
        })
    }
}

impl fmt::Display for Host {
    /// As a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}{}", self.host, self.port, self.path)
    }
}

/// Host and port. A bare IPv6 address has no port.
fn split(authority: &str, default: u16) -> Result<(&str, u16), InvalidHost> {
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Ok((authority, default));
    }
    match authority.rsplit_once(':') {
        Some((host, _)) if host.starts_with('[') && !host.ends_with(']') => Ok((authority, default)),
        Some((host, "")) => Ok((host, default)),
        Some((host, port)) => match port.parse() {
            Ok(0) | Err(_) => Err(InvalidHost::Port),
            Ok(port) => Ok((host, port)),
        },
        None => Ok((authority, default)),
    }
}

/// An address that means all of a machine's is reached at its loopback one, as Ollama's own client does.
fn normalised(host: &str) -> Result<String, InvalidHost> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bare.unwrap_or(host).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) if bare.is_none() => Ok(if address.is_unspecified() {
            Ipv4Addr::LOCALHOST.to_string()
        } else {
            address.to_string()
        }),
        Ok(IpAddr::V6(address)) if address.is_unspecified() => Ok(format!("[{}]", Ipv6Addr::LOCALHOST)),
        Ok(IpAddr::V6(address)) => Ok(format!("[{address}]")),
        Err(_) if host.is_empty() => Ok(Ipv4Addr::LOCALHOST.to_string()),
        Err(_) if bare.is_none() && is_name(host) => Ok(host.to_ascii_lowercase()),
        _ => Err(InvalidHost::Malformed),
    }
}

fn is_name(host: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    let part = |part: &str| !part.is_empty() && part.len() <= 63 && part.bytes().all(allowed);
    host.len() <= 253 && host.strip_suffix('.').unwrap_or(host).split('.').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_that_of_ollama_host() {
        for (text, url) in [
            ("", "http://127.0.0.1:11434"),
            ("1.2.3.4", "http://1.2.3.4:11434"),
            (":1234", "http://127.0.0.1:1234"),
            ("1.2.3.4:1234", "http://1.2.3.4:1234"),
            ("http://1.2.3.4", "http://1.2.3.4:80"),
            ("https://1.2.3.4", "https://1.2.3.4:443"),
            ("https://1.2.3.4:5", "https://1.2.3.4:5"),
            ("example.com", "http://example.com:11434"),
            ("example.com/", "http://example.com:11434"),
            ("example.com:1/path", "http://example.com:1/path"),
            ("example.com/path/", "http://example.com:11434/path"),
            ("https://example.com/p", "https://example.com:443/p"),
            ("ollama.com", "https://ollama.com:443"),
            ("http://ollama.com", "http://ollama.com:80"),
            ("[::1]", "http://[::1]:11434"),
            ("::1", "http://[::1]:11434"),
            ("[::1]:5", "http://[::1]:5"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            ("[::]:7", "http://[::1]:7"),
            ("1.2.3.4:", "http://1.2.3.4:11434"),
            (" 1.2.3.4 ", "http://1.2.3.4:11434"),
            ("\"1.2.3.4\"", "http://1.2.3.4:11434"),
            ("'1.2.3.4'", "http://1.2.3.4:11434"),
            ("EXAMPLE.com", "http://example.com:11434"),
            ("http://ollama.default.svc:11434/", "http://ollama.default.svc:11434"),
        ] {
            assert_eq!(
                text.parse::<Host>().map(|host| host.to_string()),
                Ok(url.to_owned()),
                "{text:?}"
            );
        }
        assert_eq!(Host::default().to_string(), "http://127.0.0.1:11434");
    }

    #[test]
    fn what_programs_disagree_on_is_refused() {
        for (text, error) in [
            ("ftp://x", InvalidHost::Scheme("ftp".to_owned())),
            ("http://u:p@h:1", InvalidHost::User),
            ("1.2.3.4:66000", InvalidHost::Port),
            ("1.2.3.4:0", InvalidHost::Port),
            (":-1", InvalidHost::Port),
            ("http://h:80/a?b=c", InvalidHost::Malformed),
            ("http://h/../x", InvalidHost::Malformed),
            ("a b", InvalidHost::Malformed),
            ("[1.2.3.4]", InvalidHost::Malformed),
            ("[::1", InvalidHost::Malformed),
            ("a..b", InvalidHost::Malformed),
        ] {
            assert_eq!(text.parse::<Host>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn two_spellings_of_one_ollama_have_one_id() {
        let id = |text: &str| text.parse::<Host>().unwrap().id();
        assert_eq!(id("localhost"), id("http://127.0.0.1:11434"));
        assert_eq!(id("0.0.0.0"), id("127.0.0.1"));
        assert_ne!(id("[::1]"), id("127.0.0.1"));
        assert_ne!(id("a/x"), id("a/y"));
    }
}
