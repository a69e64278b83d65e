//! The proxy that all requests go through, where there is one: its name in words, and which faults are its own.
//!
//! An operator who reads that a registry does not answer looks at the registry. So what a proxy does wrong is said of the
//! proxy, as far as it can be told: a tunnel that is not made is the proxy's fault; of an answer on plain http only some
//! statuses are.

use std::{error, time::Duration};

use http::StatusCode;
use reqwest::Url;

use super::{
    fault::Place,
    remote::{Fault, Retry},
};
use crate::backend::{Error, Kind, registries::Origin};

/// How the HTTP client's errors of tunnels begin; their type is private.
const TUNNEL: &str = "tunnel error: ";
const WANTS_USER: &str = "tunnel error: proxy authorization required";

/// A proxy, without its user and password.
#[derive(Debug, Clone)]
pub(super) struct Proxy(Origin);

// === impl Proxy ===

impl Proxy {
    /// Nothing for what is no URL of one. With what the HTTP client needs, which knows user and password.
    pub(super) fn read(url: &str) -> Option<(Self, reqwest::Proxy)> {
        let url = Url::parse(url).ok()?;
        let shown = Origin::of(&url)?;
        Some((Self(shown), reqwest::Proxy::all(url).ok()?))
    }

    /// A request that failed at the proxy. Nothing when it failed behind it.
    pub(super) fn failed(&self, place: &Place<'_>, error: &reqwest::Error) -> Option<Fault> {
        if !error.is_connect() {
            return None;
        }
        let tunnel = chain(error).find_map(|error| {
            let text = error.to_string();
            text.starts_with(TUNNEL).then_some((text, error.source()))
        });
        let certificate = || chain(error).any(<dyn error::Error>::is::<rustls::Error>);
        let (retry, says) = match tunnel {
            Some((text, _)) if text == WANTS_USER => return Some(self.wants_user()),
            Some((_, Some(_))) if certificate() => (
                Retry::Never,
                "has no certificate that is trusted: the operator may name its authority with `--registry-ca-file`"
                    .to_owned(),
            ),
            Some((_, Some(_))) => (Retry::Soon, "cannot be connected".to_owned()),
            Some(_) => (Retry::Soon, format!("refuses to connect us to {place}")),
            None if error.is_timeout() => (Retry::Soon, format!("did not connect us to {place} in time")),
            // What is asked for in plain http is asked of the proxy itself.
            None if place.at.plain_http => (Retry::Soon, "cannot be connected".to_owned()),
            None => return None,
        };
        Some(self.fault(retry, &says))
    }

    /// A status in plain http that is the proxy's own, or may be.
    pub(super) fn answered(&self, place: &Place<'_>, status: StatusCode) -> Option<Fault> {
        if !place.at.plain_http {
            return None;
        }
        match status {
            StatusCode::PROXY_AUTHENTICATION_REQUIRED => Some(self.wants_user()),
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                let says = format!("answered {} in the place of {place}", status.as_u16());
                Some(self.fault(Retry::Soon, &says))
            }
            _ => None,
        }
    }

    /// Nothing came in time.
    pub(super) fn silent(&self, place: &Place<'_>, after: Duration) -> Fault {
        let says = format!("brought no answer of {place} within {:.1} s", after.as_secs_f32());
        self.fault(Retry::Soon, &says)
    }

    fn wants_user(&self) -> Fault {
        let says =
            "wants a user and a password: the operator may put them into `--proxy`, or mend those that are there";
        self.fault(Retry::Never, says)
    }

    fn fault(&self, retry: Retry, says: &str) -> Fault {
        let error = Error::new(Kind::RegistryUnreachable, format!("the proxy `{}` {says}", self.0));
        Fault { error, retry }
    }
}

fn chain<'a>(error: &'a (dyn error::Error + 'static)) -> impl Iterator<Item = &'a (dyn error::Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        // An I/O error shows its inner error, not as its source.
        match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn error::Error + 'static)),
            None => error.source(),
        }
    })
}
