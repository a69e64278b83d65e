//! The requests of an upload, one try each.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Body, Method, Response, Url};
use tokio::time::sleep;

use super::{
    super::{
        client::{DIGEST, MAX_ERROR, Shared, identity},
        fault::{self, Place, Thing},
        remote::Fault,
        wire::{Ask, Use},
    },
    FINISH, Upload,
    chunk::Source,
    location,
};
use crate::backend::registries::Origin;

/// An upload that a registry holds open.
#[derive(Clone)]
pub(super) struct Open {
    /// A secret: who knows it may add to the upload.
    pub(super) url: Url,
    /// Bytes that the registry has.
    pub(super) offset: u64,
}

/// What a registry says of an upload.
pub(super) enum Answer {
    /// It goes on.
    Open(Open),
    /// The blob is there.
    Whole,
    /// It has other bytes than those before what came: it is to be asked what it has.
    Astray(Fault),
    /// It knows no such upload, or nothing good of it.
    Lost(Fault),
    /// A chunk was larger than it takes.
    TooLarge(Fault),
}

const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

// === impl Upload ===

impl Upload {
    /// Whether the repository has the blob.
    pub(super) async fn is_there(&self) -> Result<bool, Fault> {
        let Shared { wire, auth } = &*self.registry.shared;
        let layer = &self.wanted.layer;
        let mut ask = self.scope.ask(Use::Control, "blobs", layer.digest.as_str())?;
        ask.method = Method::HEAD;
        let (response, at) = auth.send(wire, &ask, &self.scope).await?;
        let place = Place {
            at: &at,
            ..self.place()
        };
        let told = response.headers().get(header::CONTENT_LENGTH);
        let told: Option<u64> = told.and_then(|told| told.to_str().ok()?.parse().ok());
        match response.status() {
            StatusCode::OK if told.is_none_or(|told| told == layer.size) => Ok(true),
            StatusCode::OK => {
                identity(response.headers(), &place)?;
                let says = format_args!("has a blob {} of another size than ours", layer.digest.short());
                Err(fault::protocol(&place, says))
            }
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refusal(response, &place).await),
        }
    }

    /// Asks for the blob of another repository. Nothing when the registry does not do that.
    pub(super) async fn mount(&self, from: &str) -> Result<Option<Answer>, Fault> {
        let mut ask = self.first()?;
        let digest = self.wanted.layer.digest.as_str();
        ask.url
            .query_pairs_mut()
            .append_pair("mount", digest)
            .append_pair("from", from);
        let at = self.at(&ask);
        let (response, place) = self.sent(&ask, &at).await?;
        match response.status() {
            StatusCode::CREATED => Ok(Some(Answer::Whole)),
            StatusCode::ACCEPTED => self.went_on(&ask, &response, 0).map(Some),
            // It may be nobody's to read, or nothing that this registry does.
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => Ok(None),
            _ => Err(self.refusal(response, &place).await),
        }
    }

    pub(super) async fn start(&self) -> Result<Answer, Fault> {
        let ask = self.first()?;
        let at = self.at(&ask);
        let (response, place) = self.sent(&ask, &at).await?;
        match response.status() {
            StatusCode::ACCEPTED => self.went_on(&ask, &response, 0),
            _ => Err(self.refusal(response, &place).await),
        }
    }

    /// Sends the bytes from where the upload stands to `end`.
    pub(super) async fn patch(&self, open: &Open, end: u64, source: &Arc<Source>) -> Result<Answer, Fault> {
        let mut ask = Ask::get(Use::Bulk, open.url.clone());
        ask.method = Method::PATCH;
        let range = format!("{}-{}", open.offset, end.saturating_sub(1));
        ask.headers.insert(header::CONTENT_TYPE, BYTES);
        ask.headers.insert(header::CONTENT_LENGTH, (end - open.offset).into());
        // As Distribution has it: no unit before it, no total after it.
        if let Ok(range) = HeaderValue::from_str(&range) {
            ask.headers.insert(header::CONTENT_RANGE, range);
        }
        let (ask, at) = (&ask, self.at(&ask));
        let (response, place) = self
            .authorized(ask, &at, |ask, place| async move {
                let (body, watched) = source.body(open.offset, end);
                let stalled = watched.stalled(self.limits.stall, &*self.wanted.told);
                self.registry.shared.wire.exchange(&ask, body, stalled, &place).await
            })
            .await?;
        match response.status() {
            StatusCode::ACCEPTED | StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => {
                let told = range_end(response.headers());
                self.went_on(ask, &response, told.filter(|told| *told > open.offset).unwrap_or(end))
            }
            StatusCode::RANGE_NOT_SATISFIABLE => {
                let fault = self.refusal(response, &place).await;
                Ok(Answer::Astray(Fault::soon(fault.error)))
            }
            StatusCode::PAYLOAD_TOO_LARGE => Ok(Answer::TooLarge(self.refusal(response, &place).await)),
            _ => self.lost(response, &place).await,
        }
    }

    /// What the registry has of it.
    pub(super) async fn status(&self, open: &Open) -> Result<Answer, Fault> {
        let ask = Ask::get(Use::Control, open.url.clone());
        let at = self.at(&ask);
        let (response, place) = self.sent(&ask, &at).await?;
        match response.status() {
            StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED => {
                let told = range_end(response.headers()).unwrap_or(0);
                self.went_on(&ask, &response, told)
            }
            _ => self.lost(response, &place).await,
        }
    }

    /// The whole was sent, and is what the digest says.
    pub(super) async fn put(&self, open: &Open) -> Result<Answer, Fault> {
        let mut ask = Ask::get(Use::Control, open.url.clone());
        ask.method = Method::PUT;
        let digest = self.wanted.layer.digest.as_str();
        ask.url.query_pairs_mut().append_pair("digest", digest);
        ask.headers.insert(header::CONTENT_TYPE, BYTES);
        ask.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        let at = self.at(&ask);
        let (response, place) = self
            .authorized(&ask, &at, |ask, place| async move {
                let patience = async {
                    sleep(FINISH).await;
                    FINISH
                };
                let wire = &self.registry.shared.wire;
                wire.exchange(&ask, Body::default(), patience, &place).await
            })
            .await?;
        let told = response.headers().get(DIGEST).and_then(|told| told.to_str().ok());
        match response.status() {
            StatusCode::CREATED | StatusCode::OK | StatusCode::NO_CONTENT => match told {
                Some(told) if told.starts_with("sha256:") && told != digest => Err(fault::protocol(
                    &place,
                    format_args!("stored another blob ({told}) than {digest}"),
                )),
                _ => Ok(Answer::Whole),
            },
            _ => self.lost(response, &place).await,
        }
    }

    /// Best effort: registries remove what is left in the end.
    pub(super) async fn delete(&self, open: &Open) {
        let mut ask = Ask::get(Use::Control, open.url.clone());
        ask.method = Method::DELETE;
        let at = self.at(&ask);
        let told = self.sent(&ask, &at).await;
        let status = told.map(|(response, _)| response.status().as_u16());
        tracing::debug!(digest = %self.wanted.layer.digest, status = ?status.ok(), "an upload is abandoned");
    }

    fn first(&self) -> Result<Ask, Fault> {
        let mut ask = self.scope.ask(Use::Control, "blobs/uploads", "")?;
        ask.method = Method::POST;
        ask.headers
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        Ok(ask)
    }

    fn at(&self, ask: &Ask) -> Origin {
        ask.origin().unwrap_or_else(|| self.scope.registry.clone())
    }

    async fn sent<'a>(&'a self, ask: &Ask, at: &'a Origin) -> Result<(Response, Place<'a>), Fault> {
        let wire = &self.registry.shared.wire;
        let send = |ask: Ask, place| async move { wire.send(&ask, &place).await };
        self.authorized(ask, at, send).await
    }

    /// With what the registry granted, unless the upload is elsewhere: credentials never go there.
    async fn authorized<'a, F>(
        &'a self,
        ask: &Ask,
        at: &'a Origin,
        send: impl Fn(Ask, Place<'a>) -> F,
    ) -> Result<(Response, Place<'a>), Fault>
    where
        F: Future<Output = Result<Response, Fault>>,
    {
        let Shared { wire, auth } = &*self.registry.shared;
        let registry = &self.scope.registry;
        let place = Place { registry, at };
        let response = if at == registry {
            let send = &send;
            let granted = auth.granted(wire, &self.scope, |authorization| async move {
                let mut ask = ask.clone();
                ask.authorization = authorization;
                Ok((send(ask, place).await?, registry.clone()))
            });
            granted.await?.0
        } else {
            send(ask.clone(), place).await?
        };
        if response.status().is_redirection() {
            return Err(fault::protocol(
                &place,
                "redirects what is sent to it, which is not followed",
            ));
        }
        Ok((response, place))
    }

    /// The upload goes on at the place that the answer names, or where it is.
    fn went_on(&self, ask: &Ask, response: &Response, offset: u64) -> Result<Answer, Fault> {
        let guard = &self.registry.shared.wire.guard;
        let headers = response.headers();
        let url = if headers.contains_key(header::LOCATION) || ask.method == Method::POST {
            location::next(&ask.url, headers, &self.scope.registry, guard)?
        } else {
            ask.url.clone()
        };
        Ok(Answer::Open(Open { url, offset }))
    }

    /// A refusal that a new upload may mend, or one for good.
    async fn lost(&self, response: Response, place: &Place<'_>) -> Result<Answer, Fault> {
        let status = response.status();
        let mends = matches!(
            status,
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::BAD_REQUEST | StatusCode::CONFLICT
        );
        let fault = self.refusal(response, place).await;
        if mends {
            tracing::debug!(digest = %self.wanted.layer.digest, error = %fault.error, "an upload begins anew");
            return Ok(Answer::Lost(fault));
        }
        Err(fault)
    }

    async fn refusal(&self, response: Response, place: &Place<'_>) -> Fault {
        let wire = &self.registry.shared.wire;
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, _) = wire.excerpt(response, MAX_ERROR, place).await.unwrap_or_default();
        let digest = self.wanted.layer.digest.short();
        let said = fault::quote(&body);
        fault::status(place, Thing::SentBlob(digest), status, &headers, said.as_deref())
    }
}

/// The end, exclusive, of `0-99`, some with a unit before it. `0-0` is what registries say of nothing.
fn range_end(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::RANGE)?.to_str().ok()?;
    let text = text.strip_prefix("bytes=").unwrap_or(text);
    let last: u64 = text.strip_prefix("0-")?.parse().ok()?;
    if last == 0 { Some(0) } else { last.checked_add(1) }
}
