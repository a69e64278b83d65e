//! Who may call: the server's certificate, whose client certificates it takes, and its callers' tokens.
//!
//! Here are paths and rules only. What the files hold is secret, and is read where it is used.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::Args;

use super::{Folders, Origin, Problem, ServeArgs};

/// Flags on callers.
#[derive(Debug, Clone, Args)]
pub struct AccessArgs {
    /// File of the server's certificate, PEM, with those between it and its authority after it. Read again when it changes
    /// [default: none, plain text].
    #[arg(long, value_name = "FILE", env = "MODEL_CONTROL_TLS_CERT_FILE")]
    pub tls_cert_file: Option<PathBuf>,

    /// File of the certificate's private key, PEM. Read again when it changes [default: none].
    #[arg(long, value_name = "FILE", env = "MODEL_CONTROL_TLS_KEY_FILE")]
    pub tls_key_file: Option<PathBuf>,

    /// File of the authorities whose client certificates are taken, PEM. Callers then need such a certificate; with
    /// --token-file, that or a token. Read again when it changes [default: none].
    #[arg(long, value_name = "FILE", env = "MODEL_CONTROL_TLS_CLIENT_CA_FILE")]
    pub tls_client_ca_file: Option<PathBuf>,

    /// What a client certificate of this name may do, `NAME=read`, `NAME=control` or `NAME=read+control`. The name is a DNS
    /// name or URI of the certificate, of one without those its common name. May be repeated; in the environment, separated
    /// by commas. Names that are not listed may then do nothing [default: each may do all].
    #[arg(
        long,
        value_name = "NAME=SCOPES",
        env = "MODEL_CONTROL_TLS_CLIENT_SCOPES",
        value_delimiter = ','
    )]
    pub tls_client_scopes: Vec<ClientScopes>,

    /// File of the tokens of callers, YAML: a sequence of `{name, token | sha256, scopes: [read, control]}`. Not to be
    /// readable by everybody. Read again when it changes [default: none].
    #[arg(long, value_name = "FILE", env = "MODEL_CONTROL_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
}

/// Who may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Without it, the API is served in plain text.
    pub tls: Option<TlsFiles>,
    /// What client certificates may do, by name. Empty: each may do all.
    pub client_scopes: Vec<ClientScopes>,
    /// Tokens. Absolute.
    pub token_file: Option<PathBuf>,
}

/// Files of TLS. Absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those between it and its authority.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of client certificates.
    pub client_ca: Option<PathBuf>,
}

/// What a client certificate may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientScopes {
    /// As the certificate says it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
}

/// What a caller may do. Neither includes the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Look.
    pub read: bool,
    /// Change.
    pub control: bool,
}

/// A text that gives no name its scopes.
#[derive(Debug, thiserror::Error)]
#[error("want `NAME=read`, `NAME=control` or `NAME=read+control`")]
pub struct InvalidScopes;

/// Who may call, as far as the flags say it: with half a pair, there is no TLS here, and `check` says what is missing.
pub fn access(args: &ServeArgs, folders: &Folders) -> Access {
    let absolute = |path: &PathBuf| folders.working.join(path);
    let flags = &args.access;
    let tls = match (&flags.tls_cert_file, &flags.tls_key_file) {
        (Some(cert), Some(key)) => Some(TlsFiles {
            cert: absolute(cert),
            key: absolute(key),
            client_ca: flags.tls_client_ca_file.as_ref().map(absolute),
        }),
        _ => None,
    };
    Access {
        tls,
        client_scopes: flags.tls_client_scopes.clone(),
        token_file: flags.token_file.as_ref().map(absolute),
    }
}

/// What contradicts itself, or would leave the API open to whoever reaches it.
pub(super) fn check(args: &ServeArgs, problems: &mut Vec<Problem>) {
    let mut wrong = |message: String| problems.push(Problem::of_flags(message));
    let flags = &args.access;
    // The client's own flags stand before every word of the program; here they would be passed over.
    for (field, flag, meant) in [
        (
            "tls_ca_file",
            "--tls-ca-file",
            "; --tls-client-ca-file names the authorities of callers",
        ),
        ("tls_server_name", "--tls-server-name", ""),
    ] {
        if args.origins.of(field) == Origin::Flag {
            wrong(format!("{flag} is a flag of the client, not of the server{meant}"));
        }
    }
    match (&flags.tls_cert_file, &flags.tls_key_file) {
        (Some(_), None) => wrong("--tls-cert-file: needs --tls-key-file with its private key".to_owned()),
        (None, Some(_)) => wrong("--tls-key-file: needs --tls-cert-file with its certificate".to_owned()),
        (None, None) if flags.tls_client_ca_file.is_some() => {
            wrong("--tls-client-ca-file: needs --tls-cert-file and --tls-key-file".to_owned());
        }
        _ => {}
    }
    if !flags.tls_client_scopes.is_empty() && flags.tls_client_ca_file.is_none() {
        wrong("--tls-client-scopes: needs --tls-client-ca-file".to_owned());
    }
    for (index, one) in flags.tls_client_scopes.iter().enumerate() {
        if flags.tls_client_scopes[..index]
            .iter()
            .any(|other| other.name == one.name)
        {
            wrong(format!("--tls-client-scopes: `{}` is listed twice", one.name));
        }
    }
    let authenticated = flags.token_file.is_some() || flags.tls_client_ca_file.is_some();
    if authenticated && args.allow_unauthenticated {
        let message =
            "--allow-unauthenticated contradicts --token-file and --tls-client-ca-file: leave one of them out";
        wrong(message.to_owned());
    }
    if !super::load::is_loopback(args.listen) && !authenticated && !args.allow_unauthenticated {
        wrong(format!(
            "--listen {}: whoever reaches this address could call the service. Give --token-file, or --tls-client-ca-file, \
             listen on a loopback address, or give --allow-unauthenticated to accept that",
            args.listen
        ));
    }
}

// === impl Scopes ===

impl Scopes {
    /// All that there are.
    pub const ALL: Self = Self {
        read: true,
        control: true,
    };

    /// Adds the scope of this name; false when there is none.
    pub fn add(&mut self, name: &str) -> bool {
        match name {
            "read" => self.read = true,
            "control" => self.control = true,
            _ => return false,
        }
        true
    }

    /// What either of them may do.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            read: self.read || other.read,
            control: self.control || other.control,
        }
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.read, self.control) {
            (true, true) => "read+control",
            (true, false) => "read",
            (false, true) => "control",
            (false, false) => "nothing",
        })
    }
}

// === impl ClientScopes ===

impl FromStr for ClientScopes {
    type Err = InvalidScopes;

    fn from_str(text: &str) -> Result<Self, InvalidScopes> {
        // The last one: a URI may hold others.
        let (name, words) = text.rsplit_once('=').ok_or(InvalidScopes)?;
        let mut scopes = Scopes::default();
        if name.is_empty() || !words.split('+').all(|word| scopes.add(word)) {
            return Err(InvalidScopes);
        }
        Ok(Self {
            name: name.to_owned(),
            scopes,
        })
    }
}

impl fmt::Display for ClientScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.scopes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gets_its_scopes() {
        for (text, name, scopes) in [
            ("ichat=read", "ichat", "read"),
            ("a b=control", "a b", "control"),
            ("spiffe://x/y?a=b=control+read", "spiffe://x/y?a=b", "read+control"),
        ] {
            let read: ClientScopes = text.parse().unwrap();
            assert_eq!((read.name.as_str(), read.scopes.to_string().as_str()), (name, scopes));
        }
        for bad in [
            "",
            "ichat",
            "=read",
            "ichat=",
            "ichat=write",
            "ichat=read+",
            "ichat=read,control",
        ] {
            assert!(bad.parse::<ClientScopes>().is_err(), "{bad}");
        }
    }
}
