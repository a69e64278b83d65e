//! Where a registry may have its uploads: with itself, or on a host that the operator listed, and never on plain http when it
//! is on https.
//!
//! A redirect of a reader may go to any public host, for what comes is checked by its digest. What is sent may be private: it
//! goes where the operator said.

use http::HeaderMap;
use reqwest::Url;

use super::super::{
    fault::{self, Place},
    guard::Guard,
    redirect,
    remote::Fault,
};
use crate::backend::{Error, Kind, registries::Origin};

/// The upload's next place. The answer came from `from`.
pub(super) fn next(from: &Url, headers: &HeaderMap, registry: &Origin, guard: &Guard) -> Result<Url, Fault> {
    let place = Place { registry, at: registry };
    let target = redirect::target(from, headers)
        .ok_or_else(|| fault::protocol(&place, "does not say where the blob is to be sent"))?;
    let origin =
        Origin::of(&target).ok_or_else(|| fault::protocol(&place, "has blobs sent to what is no web address"))?;
    if origin.plain_http && !registry.plain_http {
        return Err(fault::downgrade(&place));
    }
    if origin != *registry && !guard.listed(&origin) {
        let scheme = if origin.plain_http { "http://" } else { "" };
        let message = format!(
            "{place} has blobs sent to `{origin}`, which is not on the list of registries: nothing was sent there; the \
             operator may add `--allow-registry={scheme}{origin}`"
        );
        return Err(Fault::never(Error::new(Kind::RegistryNotAllowed, message)));
    }
    Ok(target)
}
