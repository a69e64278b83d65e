//! What may be reached: the list, literals, looked-up and connected addresses.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::{address, remote::Fault, settings::Settings};
use crate::{
    backend::registries::{self, AllowedHost, Origin},
    model::ModelName,
};

/// Decides for every request where it may go.
#[derive(Clone)]
pub(super) struct Guard {
    allow: Vec<AllowedHost>,
    /// Nobody knows then which address is connected: the proxy looks names up.
    proxied: bool,
    net: Net,
}

/// What tests put in the place of the world's names and addresses.
#[derive(Clone)]
pub(super) struct Net {
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) is_public: fn(IpAddr) -> bool,
}

/// From a name to its addresses.
#[async_trait]
pub(super) trait Lookup: Send + Sync {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// How a request may be connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The operator named the host: at any address.
    Listed,
    /// At globally routable addresses only.
    Public,
}

/// Why a request is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("it is plain http")]
    PlainHttp,
    #[error("its address is not globally routable")]
    NotPublic,
}

/// Answers the HTTP client's look-ups: what is connected is what was looked at.
pub(super) struct Resolver {
    net: Net,
    filter: bool,
}

struct System;

// === impl Guard ===

impl Guard {
    pub(super) fn new(settings: &Settings, net: Net) -> Self {
        Self {
            allow: settings.allow.clone(),
            proxied: settings.proxy.is_some(),
            net,
        }
    }

    /// The registry that a model names. The caller's `insecure` and the operator's list must both say plain http.
    pub(super) fn registry(&self, name: &ModelName, insecure: bool) -> Result<Origin, Fault> {
        registries::named(&self.allow, name, insecure).map_err(Fault::never)
    }

    /// Whether the operator named this very place, for plain http when it is that.
    pub(super) fn listed(&self, origin: &Origin) -> bool {
        let mut places = self.allow.iter().filter(|allowed| allowed.0.same_place(origin));
        places.any(|allowed| allowed.plain_http() || !origin.plain_http)
    }

    /// Whether a request may go there, and how, before anything is connected.
    pub(super) fn admit(&self, origin: &Origin) -> Result<Way, Refused> {
        if self.listed(origin) {
            return Ok(Way::Listed);
        }
        if origin.plain_http {
            return Err(Refused::PlainHttp);
        }
        let local = origin.host == "localhost" || origin.host.ends_with(".localhost");
        match origin.literal() {
            Some(address) if !(self.net.is_public)(address) => Err(Refused::NotPublic),
            None if local => Err(Refused::NotPublic),
            _ => Ok(Way::Public),
        }
    }

    /// Whether the connected address is one that the way allows.
    pub(super) fn connected(&self, way: Way, address: Option<IpAddr>) -> Result<(), Refused> {
        match address {
            Some(address) if way == Way::Public && !self.proxied && !(self.net.is_public)(address) => {
                Err(Refused::NotPublic)
            }
            _ => Ok(()),
        }
    }

    /// The look-ups of a client that is used for this way. Behind a proxy the only look-up is that of the proxy itself.
    pub(super) fn resolver(&self, way: Way) -> Resolver {
        Resolver {
            net: self.net.clone(),
            filter: way == Way::Public && !self.proxied,
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("allow", &self.allow)
            .field("proxied", &self.proxied)
            .finish_non_exhaustive()
    }
}

// === impl Net ===

impl Net {
    /// The system's look-ups and the world's addresses.
    pub(super) fn system() -> Self {
        Self {
            lookup: Arc::new(System),
            is_public: address::is_public,
        }
    }
}

#[async_trait]
impl Lookup for System {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

// === impl Resolver ===

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (net, filter) = (self.net.clone(), self.filter);
        Box::pin(async move {
            let mut found = net.lookup.addresses(name.as_str()).await?;
            let some = !found.is_empty();
            found.retain(|&address| !filter || (net.is_public)(address));
            if some && found.is_empty() {
                return Err(Refused::NotPublic.into());
            }
            // The HTTP client puts the URL's port in.
            Ok(Box::new(found.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}
