//! A manifest from the store to its registry, one try: what the tag stands for is looked at, replaced and read back as bytes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use reqwest::{Method, Response};

use super::{
    client::{self, ACCEPT, MAX_ERROR, Registry, Shared, identity},
    fault::{self, Place, Thing},
    remote::Fault,
    wire::Use,
};
use crate::{
    backend::{Error, Kind, embedded::store::manifest::MAX_MANIFEST},
    model::{Digest, ModelName},
};

/// What the code of an error says that the registry has not all blobs of the manifest.
const BLOB_UNKNOWN: &str = "MANIFEST_BLOB_UNKNOWN";

/// A manifest as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) bytes: Bytes,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// It is what the tag stands for.
    Whole,
    /// The registry has let go of a blob meanwhile.
    BlobUnknown,
}

/// What is read of a tag: more than a manifest may be is another one than ours.
enum Tagged {
    Nothing,
    Other,
    Same,
}

// === impl Registry ===

impl Registry {
    /// Fails when the model's registry may not be asked.
    pub(crate) fn admits(&self, name: &ModelName, insecure: bool) -> Result<(), Error> {
        self.scope(name, insecure).map(drop).map_err(|fault| fault.error)
    }

    /// Whether the name stands for this manifest there, to the byte. Tried as often as the fetching of a manifest is.
    pub(crate) async fn has(&self, name: &ModelName, manifest: &Manifest, insecure: bool) -> Result<bool, Fault> {
        let tagged = self.again(name, || self.tagged(name, manifest, insecure)).await?;
        Ok(matches!(tagged, Tagged::Same))
    }

    /// Has the name stand for this manifest, and looks whether it does.
    pub(crate) async fn publish(
        &self,
        name: &ModelName,
        manifest: &Manifest,
        insecure: bool,
    ) -> Result<Published, Fault> {
        let Shared { wire, auth } = &*self.shared;
        let scope = self.scope(name, insecure)?.pushing();
        let [.., tag] = name.parts();
        let mut ask = scope.ask(Use::Control, "manifests", tag)?;
        ask.method = Method::PUT;
        ask.headers.insert(header::CONTENT_TYPE, manifest.header()?);
        ask.body = manifest.bytes.clone();
        let (response, at) = auth.send(wire, &ask, &scope).await?;
        let place = Place {
            registry: &scope.registry,
            at: &at,
        };
        if !matches!(
            response.status(),
            StatusCode::CREATED | StatusCode::OK | StatusCode::ACCEPTED
        ) {
            let (fault, code) = self
                .refusal(Thing::SentManifest(&name.to_string()), response, &place)
                .await;
            return match code.as_deref() {
                Some(BLOB_UNKNOWN) => Ok(Published::BlobUnknown),
                _ => Err(fault),
            };
        }
        match self.tagged(name, manifest, insecure).await? {
            Tagged::Same => Ok(Published::Whole),
            Tagged::Nothing => {
                let message = format!("{place} took the model `{name}` and does not have it");
                Err(Fault::soon(Error::new(Kind::RegistryUnreachable, message)))
            }
            Tagged::Other => {
                let message = format!(
                    "{place} took the manifest {} of `{name}` and gives another one: it alters manifests, or another \
                     client has pushed to the tag",
                    manifest.digest
                );
                Err(Fault::never(Error::new(Kind::DigestMismatch, message)))
            }
        }
    }

    /// How long to wait before a manifest is sent again, and how long after the next fault.
    pub(crate) fn pause(&self, fault: &Fault, attempt: u32) -> Option<Duration> {
        let back_off = self.shared.wire.timeouts.back_off;
        let tried = attempt + 1 < client::TRIES;
        tried.then(|| client::pause(fault, back_off * 2_u32.saturating_pow(attempt)))?
    }

    async fn tagged(&self, name: &ModelName, manifest: &Manifest, insecure: bool) -> Result<Tagged, Fault> {
        let Shared { wire, auth } = &*self.shared;
        let scope = self.scope(name, insecure)?.pushing();
        let [.., tag] = name.parts();
        let mut ask = scope.ask(Use::Control, "manifests", tag)?;
        // As it is stored, and not what a registry would make of it for others.
        ask.headers.insert(header::ACCEPT, ACCEPT);
        ask.headers.append(header::ACCEPT, manifest.header()?);
        let (response, at) = auth.send(wire, &ask, &scope).await?;
        let place = Place {
            registry: &scope.registry,
            at: &at,
        };
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(Tagged::Nothing),
            _ => {
                return Err(self
                    .refusal(Thing::Manifest(&name.to_string()), response, &place)
                    .await
                    .0);
            }
        }
        identity(response.headers(), &place)?;
        if response.content_length().is_some_and(|length| length > MAX_MANIFEST) {
            return Ok(Tagged::Other);
        }
        let bytes = wire.body(response, MAX_MANIFEST, &place).await?;
        Ok(if bytes == manifest.bytes {
            Tagged::Same
        } else {
            Tagged::Other
        })
    }

    async fn refusal(&self, thing: Thing<'_>, response: Response, place: &Place<'_>) -> (Fault, Option<String>) {
        let (status, headers) = (response.status(), response.headers().clone());
        let wire = &self.shared.wire;
        let (body, _) = wire.excerpt(response, MAX_ERROR, place).await.unwrap_or_default();
        let said = fault::quote(&body);
        let fault = fault::status(place, thing, status, &headers, said.as_deref());
        (fault, fault::code(&body))
    }
}

// === impl Manifest ===

impl Manifest {
    fn header(&self) -> Result<HeaderValue, Fault> {
        HeaderValue::from_str(&self.media_type).map_err(|_| {
            let message = "the model's manifest says that it is of a type that cannot be sent: create the model again";
            Fault::never(Error::new(Kind::FileInvalid, message))
        })
    }
}
