//! Who may make a call: decided by its method, before a byte of its message is read.
//!
//! A caller shows a token (`authorization: Bearer …`) or, on a connection with one, its certificate. A token that is shown
//! decides, also beside a certificate: a wrong one is never passed over. Whoever is refused is told the reason, and nothing
//! about which credentials there are.
//!
//! Rejected: an interceptor of tonic on each service. A service that forgets it would be open; here a method that nobody
//! has sorted needs `control`.

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use self::need::{Need, need};
pub(super) use self::tokens::Tokens;
use super::{Credentials, tls::ClientCertificate};
use crate::{
    config::access::Scopes,
    model::{Failure, Reason},
};

mod need;
mod tokens;

/// A call that may not be made.
#[derive(Debug)]
pub(super) struct Refused {
    /// Whose, when that is known.
    pub(super) name: Option<String>,
    pub(super) failure: Box<Failure>,
    /// The method changes something.
    pub(super) control: bool,
}

// === impl Credentials ===

impl Credentials {
    /// The caller's name, when the call may be made; none where no credentials are wanted. The headers are free of
    /// credentials afterwards: no handler sees them, and none can pass them on.
    pub(super) fn admit(
        &self,
        path: &str,
        headers: &mut HeaderMap,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Option<String>, Refused> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let (first, more) = (shown.next().cloned(), shown.next().is_some());
        headers.remove(AUTHORIZATION);
        let (tokens, tls) = (self.tokens(), self.tls().filter(|tls| tls.asks_clients()));
        let need = need(path);
        if need == Need::Nothing || (tokens.is_none() && tls.is_none()) {
            return Ok(None);
        }
        let refused = |name, reason, message: &str| Refused {
            name,
            failure: Box::new(Failure::new(reason, message)),
            control: need == Need::Control,
        };
        let (name, scopes) = match (tokens, first, tls, certificate) {
            (Some(tokens), Some(header), _, _) => match bearer(&header).filter(|_| !more) {
                Some(token) => tokens.find(token).map(|(name, scopes)| (name.to_owned(), scopes)),
                None => None,
            }
            .ok_or_else(|| {
                refused(
                    None,
                    Reason::CredentialsInvalid,
                    "the credentials of this call are wrong",
                )
            })?,
            (_, _, Some(tls), Some(certificate)) if tls.accepts(certificate) => self.certified(certificate),
            (_, _, Some(_), Some(certificate)) => {
                let name = certificate.names.first().to_owned();
                let message = "the certificate of this connection is not accepted any more";
                return Err(refused(Some(name), Reason::CredentialsInvalid, message));
            }
            _ => {
                let message = "this call needs credentials and has none";
                return Err(refused(None, Reason::CredentialsMissing, message));
            }
        };
        let lacking = match need {
            Need::Control if !scopes.control => "control",
            Need::Read if !scopes.read => "read",
            _ => return Ok(Some(name)),
        };
        let message = format!("this call needs the scope `{lacking}`, which `{name}` does not have");
        let mut refused = refused(Some(name.clone()), Reason::NotAllowed, &message);
        let variables = [("scope", lacking), ("caller", &name)];
        let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
        refused.failure.metadata.extend(variables);
        Err(refused)
    }

    /// Name and scopes of a client's certificate. Where it has several names, the one that is listed, and all that they may.
    fn certified(&self, certificate: &ClientCertificate) -> (String, Scopes) {
        let names = &certificate.names;
        if self.client_scopes.is_empty() {
            return (names.first().to_owned(), Scopes::ALL);
        }
        let mut listed = self.client_scopes.iter().filter(|one| names.have(&one.name));
        match listed.next() {
            Some(first) => {
                let scopes = listed.fold(first.scopes, |all, one| all.or(one.scopes));
                (first.name.clone(), scopes)
            }
            None => (names.first().to_owned(), Scopes::default()),
        }
    }
}

/// The token of a header's value.
fn bearer(header: &HeaderValue) -> Option<&str> {
    let (scheme, token) = header.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_read_from_its_header() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("BEARER abc", Some("abc")),
            ("Bearer", None),
            ("Bearerabc", None),
            ("Basic abc", None),
            ("", None),
        ] {
            assert_eq!(bearer(&HeaderValue::from_static(header)), token, "{header}");
        }
        assert_eq!(bearer(&HeaderValue::from_bytes(b"Bearer \xff").unwrap()), None);
    }
}
