//! Redirects by hand.
//!
//! A redirect may lead to any public https host, or to a listed one. It never leads from https to http, and credentials
//! never follow to another scheme, host or port, nor come back from there.

use http::{HeaderMap, header};
use reqwest::{Response, Url};

use super::{
    fault::{self, Place},
    remote::Fault,
    wire::{Ask, Wire},
};
use crate::backend::registries::Origin;

/// Hubs need one, or two.
const MAX_HOPS: usize = 5;
/// Bytes of a signed URL.
const MAX_URL: usize = 16 << 10;

/// Sends the request, and again wherever it is sent. The answer is no redirect; the origin is whose answer it is.
pub(super) async fn follow(wire: &Wire, mut ask: Ask, registry: &Origin) -> Result<(Response, Origin), Fault> {
    let mut at = ask.origin().unwrap_or_else(|| registry.clone());
    for _ in 0..=MAX_HOPS {
        let place = Place { registry, at: &at };
        let response = wire.send(&ask, &place).await?;
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok((response, at));
        }
        if !ask.only_asks() {
            return Err(fault::protocol(
                &place,
                "redirects what is sent to it, which is not followed",
            ));
        }
        let target = target(&ask.url, response.headers())
            .ok_or_else(|| fault::protocol(&place, "redirects without saying where to"))?;
        let next = Origin::of(&target).ok_or_else(|| fault::protocol(&place, "redirects to what is no web address"))?;
        if next.plain_http && !at.plain_http {
            return Err(fault::downgrade(&place));
        }
        if next != at {
            ask.authorization = None;
        }
        ask.url = target;
        at = next;
    }
    let place = Place { registry, at: registry };
    Err(fault::protocol(
        &place,
        format_args!("redirects more than {MAX_HOPS} times"),
    ))
}

pub(super) fn target(from: &Url, headers: &HeaderMap) -> Option<Url> {
    let location = headers.get(header::LOCATION)?;
    let location = str::from_utf8(location.as_bytes())
        .ok()
        .filter(|text| text.len() <= MAX_URL)?;
    let mut target = from.join(location).ok()?;
    target.set_fragment(None);
    // Credentials in a URL are another's, and would be sent as ours.
    target.set_username("").ok()?;
    target.set_password(None).ok()?;
    Some(target)
}
