//! The list of registries that a model's name may name.

use super::{origin::Origin, settings::AllowedHost};
use crate::{
    backend::{Error, Kind},
    model::ModelName,
};

/// The registries that names may name, for engines that fetch by themselves: where they are redirected is out of our reach.
#[derive(Debug, Clone, Default)]
pub struct AllowList(pub Vec<AllowedHost>);

// === impl AllowList ===

impl AllowList {
    /// Fails unless the model's registry is listed for the scheme that is meant.
    pub fn check(&self, name: &ModelName, insecure: bool) -> Result<(), Error> {
        named(&self.0, name, insecure).map(drop)
    }
}

/// The registry that a model names. The caller's `insecure` and the operator's list must both say plain http.
pub(super) fn named(allow: &[AllowedHost], name: &ModelName, insecure: bool) -> Result<Origin, Error> {
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
