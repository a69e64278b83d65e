//! What went wrong between two ends of TLS, in words that lead on.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError};

const CERTIFICATE: &str = "give this client's certificate: `--tls-cert-file` and `--tls-key-file`";

/// What happened and the way out, when it is TLS that failed.
pub(super) fn told(error: &(dyn Error + 'static)) -> Option<(String, &'static str)> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = error
            .downcast_ref::<rustls::Error>()
            .or_else(|| wrapped.and_then(|wrapped| wrapped.downcast_ref()));
        if let Some(found) = found {
            return Some(words(found));
        }
        // An error within an error of the system hides from `source`.
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

fn words(error: &rustls::Error) -> (String, &'static str) {
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::UnknownIssuer => (
                "the server's certificate is of an authority that is not trusted here".to_owned(),
                "name its authority: `--tls-ca-file`",
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
                format!("the server's certificate is for another name ({why})"),
                "use that name in `--server`, or say which one is right: `--tls-server-name`",
            ),
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                format!("the server's certificate has expired ({why})"),
                "its operator renews it; check this machine's clock as well",
            ),
            _ => (
                format!("the server's certificate is not accepted ({why})"),
                "check it, and `--tls-ca-file`",
            ),
        },
        rustls::Error::InvalidMessage(_) => (
            "the server does not speak TLS".to_owned(),
            "an address without TLS: `--server http://HOST:PORT`",
        ),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
            ("the server wants a client certificate".to_owned(), CERTIFICATE)
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            ("this client's certificate has expired".to_owned(), CERTIFICATE)
        }
        rustls::Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError,
        ) => (
            "the server does not accept this client's certificate".to_owned(),
            "give one of an authority that the server trusts: `--tls-cert-file` and `--tls-key-file`",
        ),
        error => (format!("TLS failed: {error}"), "check the `--tls-*` flags of both ends"),
    }
}
