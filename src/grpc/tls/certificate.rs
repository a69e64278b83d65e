//! What a certificate says of itself: its names, its dates. Whether to believe it is for the handshake.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Names that are kept of one certificate.
const MAX_NAMES: usize = 32;
/// Bytes of one.
const MAX_NAME: usize = 256;

/// The names of a certificate: its DNS names and URIs, of one without those its common name. At least one.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Names(Vec<Name>);

#[derive(Debug, PartialEq, Eq)]
struct Name {
    text: String,
    /// Compared without regard to case.
    dns: bool,
}

/// When it is valid, and its number.
pub(super) struct Dates {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// In hexadecimal, byte for byte.
    pub(super) serial: String,
}

/// None of bytes that are no certificate.
pub(super) fn dates(der: &[u8]) -> Option<Dates> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    // Before 1970 there were none.
    let time = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0));
    Some(Dates {
        not_before: time(validity.not_before.timestamp()),
        not_after: time(validity.not_after.timestamp()),
        serial: certificate.raw_serial_as_string(),
    })
}

// === impl Names ===

impl Names {
    pub(super) fn of(der: &[u8]) -> Self {
        let mut names = Vec::new();
        if let Ok((_, certificate)) = X509Certificate::from_der(der) {
            let alternatives = certificate.subject_alternative_name().ok().flatten();
            let alternatives = alternatives.iter().flat_map(|extension| &extension.value.general_names);
            names.extend(alternatives.filter_map(|name| match name {
                GeneralName::DNSName(text) => Name::new(text, true),
                GeneralName::URI(text) => Name::new(text, false),
                _ => None,
            }));
            names.truncate(MAX_NAMES);
            if names.is_empty() {
                let common = certificate.subject().iter_common_name();
                names.extend(common.filter_map(|name| Name::new(name.as_str().ok()?, false)).take(1));
            }
        }
        if names.is_empty() {
            names.extend(Name::new("a certificate without a name", false));
        }
        Self(names)
    }

    /// The first.
    pub(in super::super) fn first(&self) -> &str {
        self.0.first().map_or("", |name| &name.text)
    }

    /// Whether the operator's name is one of these.
    pub(in super::super) fn have(&self, wanted: &str) -> bool {
        self.0.iter().any(|name| {
            if name.dns {
                name.text.eq_ignore_ascii_case(wanted)
            } else {
                name.text == wanted
            }
        })
    }
}

// === impl Name ===

impl Name {
    /// None of a text that is empty or too long to be compared.
    fn new(text: &str, dns: bool) -> Option<Self> {
        (1..=MAX_NAME).contains(&text.len()).then(|| Self {
            text: text.to_owned(),
            dns,
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn names(alternatives: Vec<SanType>, common: Option<&str>) -> Names {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = alternatives;
        params.distinguished_name = DistinguishedName::new();
        if let Some(common) = common {
            params.distinguished_name.push(DnType::CommonName, common);
        }
        Names::of(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    #[test]
    fn alternative_names_come_before_the_common_one() {
        let dns = SanType::DnsName("Ichat.example".try_into().unwrap());
        let uri = SanType::URI("spiffe://example/Ichat".try_into().unwrap());
        let both = names(vec![dns, uri], Some("common"));
        assert_eq!(both.first(), "Ichat.example");
        assert!(both.have("ichat.example") && both.have("spiffe://example/Ichat"));
        assert!(!both.have("common") && !both.have("spiffe://example/ichat") && !both.have("example"));
        let address = SanType::IpAddress([127, 0, 0, 1].into());
        let common = names(vec![address], Some("common"));
        assert!(common.have("common") && !common.have("Common") && !common.have("127.0.0.1"));
        assert_eq!(names(vec![], None).first(), "a certificate without a name");
    }

    #[test]
    fn garbage_is_no_certificate() {
        assert!(dates(b"").is_none());
        assert!(dates(&[0x30, 0x82, 0xff, 0xff, 0]).is_none());
        assert_eq!(Names::of(b"garbage").first(), "a certificate without a name");
    }
}
