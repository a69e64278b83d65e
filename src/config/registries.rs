//! Which registries may be asked, how they are reached, and how much is fetched at a time.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::Args;

use super::{Folders, Problem, value::size};

/// Asked when nothing else is allowed: Ollama's hub, and the hub of GGUF files.
const DEFAULT_HOSTS: [&str; 2] = ["registry.ollama.ai", "hf.co"];

/// Flags on registries and pulls.
#[derive(Debug, Clone, Args)]
pub struct RegistryArgs {
    /// Host of a registry that may be asked, `host` or `host:port`; `http://host:port` where plain http is meant. May be
    /// repeated; in the environment, separated by commas [default: registry.ollama.ai and hf.co].
    #[arg(
        long = "allow-registry",
        value_name = "HOST",
        env = "MODEL_CONTROL_ALLOW_REGISTRY",
        value_delimiter = ','
    )]
    pub allow_registries: Vec<RegistryHost>,

    /// File of credentials for registries, in the form of Docker's config.json with `auths`. Read again when it changes
    /// [default: none].
    #[arg(long, value_name = "FILE", env = "MODEL_CONTROL_REGISTRY_AUTH_FILE")]
    pub registry_auth_file: Option<PathBuf>,

    /// File of PEM certificates of authorities that registries may have theirs from, beside the system's [default: none].
    #[arg(long, value_name = "FILE", env = "MODEL_CONTROL_REGISTRY_CA_FILE")]
    pub registry_ca_file: Option<PathBuf>,

    // No parser: its error would repeat the value, which may hold a password.
    /// Proxy for all that goes to registries, `http://[user:password@]host:port`. The variables of the environment that
    /// other programs read are passed over [default: none].
    #[arg(long, value_name = "URL", env = "MODEL_CONTROL_PROXY", hide_env_values = true)]
    pub proxy: Option<String>,

    /// Pulls at a time on one engine, 1 to 64. Further ones wait.
    #[arg(long, value_name = "COUNT", env = "MODEL_CONTROL_MAX_CONCURRENT_PULLS", default_value = "8",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub max_concurrent_pulls: u32,

    /// Connections to a registry at a time for one blob, 1 to 64.
    #[arg(long, value_name = "COUNT", env = "MODEL_CONTROL_PULL_CONNECTIONS", default_value = "24",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    pub pull_connections: u32,

    /// What one request to a registry asks of a blob at most, 1MiB to 1024MiB.
    #[arg(long, value_name = "SIZE", env = "MODEL_CONTROL_PULL_PART_SIZE", default_value = "16MiB",
          value_parser = size(1 << 20, 1 << 30))]
    pub pull_part_size: usize,
}

/// What the server may fetch from where, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registries {
    /// Hosts that may be asked.
    pub allow: Vec<RegistryHost>,
    /// Credentials. Absolute.
    pub auth_file: Option<PathBuf>,
    /// Authorities beside the system's. Absolute.
    pub ca_file: Option<PathBuf>,
    /// Between us and all registries.
    pub proxy: Option<Proxy>,
    /// Pulls at a time on one engine.
    pub max_concurrent_pulls: usize,
    /// Connections at a time for one blob.
    pub pull_connections: usize,
    /// Bytes of a blob that one request asks for.
    pub pull_part_bytes: u64,
}

/// A registry's host, as a model name spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryHost {
    /// `host` or `host:port`, in lower case.
    pub host: String,
    /// Asked in plain http.
    pub plain_http: bool,
}

/// A proxy's URL. Shown without user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Proxy(String);

/// A text that names no host of a registry.
#[derive(Debug, thiserror::Error)]
#[error("a registry is `host` or `host:port`, or `http://host:port` where plain http is meant: no path, no user")]
pub struct InvalidHost;

pub(super) fn resolve(args: &RegistryArgs, folders: &Folders, problems: &mut Vec<Problem>) -> Registries {
    let allow = if args.allow_registries.is_empty() {
        DEFAULT_HOSTS.iter().filter_map(|host| host.parse().ok()).collect()
    } else {
        args.allow_registries.clone()
    };
    let proxy = args.proxy.as_deref().and_then(|text| {
        let proxy = Proxy::read(text);
        if proxy.is_none() {
            problems.push(Problem::of_flags("--proxy: is no URL of the form http://host:port"));
        }
        proxy
    });
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(|path| folders.working.join(path));
    Registries {
        allow,
        auth_file: absolute(&args.registry_auth_file),
        ca_file: absolute(&args.registry_ca_file),
        proxy,
        max_concurrent_pulls: args.max_concurrent_pulls as usize,
        pull_connections: args.pull_connections as usize,
        pull_part_bytes: args.pull_part_size as u64,
    }
}

// === impl RegistryHost ===

impl FromStr for RegistryHost {
    type Err = InvalidHost;

    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let (host, plain_http) = match text.strip_prefix("http://") {
            Some(host) => (host, true),
            None => (text.strip_prefix("https://").unwrap_or(text), false),
        };
        let uri: http::uri::Authority = host.parse().map_err(|_| InvalidHost)?;
        if host.contains('@') || uri.host().is_empty() || (host.contains(':') && uri.port_u16().is_none()) {
            return Err(InvalidHost);
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            plain_http,
        })
    }
}

impl fmt::Display for RegistryHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.plain_http { "http://" } else { "" };
        write!(f, "{scheme}{}", self.host)
    }
}

// === impl Proxy ===

impl Proxy {
    fn read(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let http = matches!(uri.scheme_str(), Some("http" | "https"));
        let bare = matches!(
            uri.path_and_query().map(http::uri::PathAndQuery::as_str),
            None | Some("/")
        );
        (http && bare && !uri.host()?.is_empty()).then(|| Self(text.to_owned()))
    }

    /// With user and password: for the client only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.split_once("://"), self.0.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => write!(f, "{scheme}://[redacted]@{host}"),
            _ => f.write_str(&self.0),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_as_names_spell_them() {
        for (text, host, plain_http) in [
            ("registry.ollama.ai", "registry.ollama.ai", false),
            ("https://Example.org:5000", "example.org:5000", false),
            ("http://127.0.0.1:5000", "127.0.0.1:5000", true),
            ("http://[::1]:5000", "[::1]:5000", true),
        ] {
            let read: RegistryHost = text.parse().unwrap();
            assert_eq!((read.host.as_str(), read.plain_http), (host, plain_http), "{text}");
        }
        for bad in [
            "",
            "http://",
            "a/b",
            "user@host",
            "host:",
            "host:port",
            "host:99999",
            "a b",
            "ftp://host",
        ] {
            assert!(bad.parse::<RegistryHost>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_proxy_does_not_show_its_password() {
        let proxy = Proxy::read("http://user:p@ss@proxy:3128");
        assert!(proxy.is_none() || !format!("{proxy:?}").contains("ss@"));
        let proxy = Proxy::read("http://user:secret@proxy:3128").unwrap();
        assert_eq!(format!("{proxy} {proxy:?}").matches("secret").count(), 0);
        assert_eq!(proxy.to_string(), "http://[redacted]@proxy:3128");
        assert_eq!(proxy.reveal(), "http://user:secret@proxy:3128");
        assert_eq!(
            Proxy::read("http://proxy:3128/").unwrap().to_string(),
            "http://proxy:3128/"
        );
        for bad in ["proxy:3128", "socks5://proxy:1", "http://", "http://proxy:1/path", ""] {
            assert!(Proxy::read(bad).is_none(), "{bad}");
        }
    }
}
