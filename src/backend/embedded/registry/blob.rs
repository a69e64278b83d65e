//! A range of a blob, one try.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::Response;
use tokio::time::timeout;

use super::{
    client::{MAX_ERROR, Registry, Shared, identity},
    fault::{self, Place, Thing},
    remote::{Fault, Opened, Remote},
    wire::Use,
};
use crate::{
    backend::{Error, Kind, embedded::store::manifest::Layer, registries::Origin},
    model::ModelName,
};

/// Bytes of a validator that is kept.
const MAX_VALIDATOR: usize = 256;

/// A blob at its registry.
#[derive(Debug)]
struct Blob {
    registry: Registry,
    name: ModelName,
    layer: Layer,
    insecure: bool,
}

// === impl Registry ===

impl Registry {
    /// A blob that a manifest of this model names. Asks nothing yet.
    pub(crate) fn blob(&self, name: &ModelName, layer: &Layer, insecure: bool) -> Arc<dyn Remote> {
        Arc::new(Blob {
            registry: self.clone(),
            name: name.clone(),
            layer: layer.clone(),
            insecure,
        })
    }
}

// === impl Blob ===

impl Blob {
    /// Where the body begins and the total that was told, from the head of the answer.
    fn place_in_blob(&self, range: &Range<u64>, response: &Response, place: &Place<'_>) -> Result<Told, Fault> {
        let headers = response.headers();
        let told = match response.status() {
            StatusCode::OK => Told {
                start: 0,
                total: response
                    .content_length()
                    .filter(|_| headers.contains_key(header::CONTENT_LENGTH)),
            },
            StatusCode::PARTIAL_CONTENT => {
                let (told, end) = content_range(headers)
                    .ok_or_else(|| fault::protocol(place, "answered with a range that cannot be read"))?;
                // A shorter answer is the registry's right.
                if told.start != range.start || end > range.end {
                    let asked = format_args!(
                        "answered with the bytes {}-{end} of a blob where {range:?} were asked for",
                        told.start
                    );
                    return Err(fault::protocol(place, asked));
                }
                told
            }
            status => {
                let thing = Thing::Blob(self.layer.digest.short());
                return Err(fault::status(place, thing, status, headers, None));
            }
        };
        self.check_total(told.total, place)?;
        Ok(told)
    }

    fn check_total(&self, total: Option<u64>, place: &Place<'_>) -> Result<(), Fault> {
        match total {
            Some(total) if total != self.layer.size => Err(fault::protocol(
                place,
                format_args!(
                    "has a blob {} of {total} bytes where the manifest says {}",
                    self.layer.digest.short(),
                    self.layer.size
                ),
            )),
            _ => Ok(()),
        }
    }

    /// What a status that carries no bytes of the blob means.
    async fn refusal(&self, response: Response, place: &Place<'_>) -> Fault {
        let (status, headers) = (response.status(), response.headers().clone());
        // Its length may be that of the whole blob, which never comes: the body of a 416 is not read.
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            let total = headers.get(header::CONTENT_RANGE).and_then(unsatisfied);
            let message = format!(
                "{place} does not have the range of the blob {}",
                self.layer.digest.short()
            );
            let fault = Fault::soon(Error::new(Kind::Protocol, message));
            return self.check_total(total, place).err().unwrap_or(fault);
        }
        let wire = &self.registry.shared.wire;
        let (body, _) = wire.excerpt(response, MAX_ERROR, place).await.unwrap_or_default();
        let thing = Thing::Blob(self.layer.digest.short());
        fault::status(place, thing, status, &headers, fault::quote(&body).as_deref())
    }

    /// The body from its first byte on, which is waited for.
    async fn body(
        &self,
        response: Response,
        registry: Origin,
        at: Origin,
    ) -> Result<BoxStream<'static, Result<Bytes, Fault>>, Fault> {
        let first_byte = self.registry.shared.wire.timeouts.first_byte;
        let mut body = response.bytes_stream().map(move |chunk| {
            chunk.map_err(|error| {
                let place = Place {
                    registry: &registry,
                    at: &at,
                };
                fault::connection(&place, error)
            })
        });
        let first = timeout(first_byte, body.next()).await.map_err(|_elapsed| {
            let message = format!("the blob {} did not begin to arrive", self.layer.digest.short());
            Fault::soon(Error::new(Kind::RegistryUnreachable, message))
        })?;
        let first = first.transpose()?;
        Ok(stream::iter(first.map(Ok)).chain(body).boxed())
    }
}

#[async_trait]
impl Remote for Blob {
    async fn open(&self, range: Range<u64>, validator: Option<&str>) -> Result<Opened, Fault> {
        let Shared { wire, auth } = &*self.registry.shared;
        let scope = self.registry.scope(&self.name, self.insecure)?;
        let mut ask = scope.ask(Use::Bulk, "blobs", self.layer.digest.as_str())?;
        if let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) {
            ask.headers
                .insert(header::RANGE, text(&format!("bytes={}-{last}", range.start)));
            if let Some(validator) = validator.and_then(|validator| HeaderValue::from_str(validator).ok()) {
                ask.headers.insert(header::IF_RANGE, validator);
            }
        }
        let (response, at) = auth.send(wire, &ask, &scope).await?;
        let place = Place {
            registry: &scope.registry,
            at: &at,
        };
        if !matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
            return Err(self.refusal(response, &place).await);
        }
        identity(response.headers(), &place)?;
        let told = self.place_in_blob(&range, &response, &place)?;
        let validator = strong(response.headers());
        Ok(Opened {
            start: told.start,
            total: told.total,
            validator,
            body: self.body(response, scope.registry.clone(), at.clone()).await?,
        })
    }
}

/// What the head of an answer says of the body's place in the blob.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    start: u64,
    total: Option<u64>,
}

/// `bytes 0-9/100`, and the end of it, exclusive.
fn content_range(headers: &HeaderMap) -> Option<(Told, u64)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (start, last) = range.split_once('-')?;
    let (start, last) = (number(start)?, number(last)?);
    let total = match total {
        "*" => None,
        total => Some(number(total)?),
    };
    let end = last.checked_add(1)?;
    (start <= last && total.is_none_or(|total| end <= total)).then_some((Told { start, total }, end))
}

/// `bytes */100`, as a 416 says what there is.
fn unsatisfied(value: &HeaderValue) -> Option<u64> {
    number(value.to_str().ok()?.strip_prefix("bytes */")?)
}

/// Digits only: the parser of numbers takes a sign as well.
fn number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
}

/// An entity tag that stands for the very bytes.
fn strong(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::ETAG)?.to_str().ok()?;
    let quoted = tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"');
    (quoted && tag.len() <= MAX_VALIDATOR).then(|| tag.to_owned())
}

/// Of text that is digits and ASCII.
fn text(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("bytes=0-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn ranges_are_read_strictly() {
        let read = |value| {
            content_range(&headers(header::CONTENT_RANGE, value)).map(|(told, end)| (told.start, end, told.total))
        };
        assert_eq!(read("bytes 5-9/10"), Some((5, 10, Some(10))));
        assert_eq!(read("bytes 0-0/*"), Some((0, 1, None)));
        for bad in [
            "",
            "5-9/10",
            "bytes 5-9",
            "bytes 9-5/10",
            "bytes 5-10/10",
            "bytes +5-9/10",
            "bytes -9/10",
            "bytes */10",
            "bytes 0-18446744073709551615/*",
            "bytes 0-1/99999999999999999999",
            "items 5-9/10",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_strong_validators_are_kept() {
        let read = |value| strong(&headers(header::ETAG, value));
        assert_eq!(read("\"abc\""), Some("\"abc\"".to_owned()));
        for bad in ["W/\"abc\"", "abc", "\"", "\"abc"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert_eq!(read(&format!("\"{}\"", "a".repeat(MAX_VALIDATOR))), None);
    }
}
