//! A manifest, with its tries.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::time::sleep;

use super::{
    auth::{Access, Auth, Scope},
    document::Document,
    fault::{self, Place, Thing},
    guard::Net,
    remote::{Fault, Retry},
    settings::{Settings, SettingsError},
    wire::{Ask, Use, Wire},
};
use crate::{
    backend::{Error, Kind, embedded::store::manifest::MAX_MANIFEST},
    model::{Digest, ModelName},
};

/// Tries of a manifest, the first one included.
pub(super) const TRIES: u32 = 4;
/// A registry that wants to be asked later than this is left to the caller: its answer says when.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Bytes of an error's text that are read.
pub(super) const MAX_ERROR: u64 = 8 << 10;
pub(super) const ACCEPT: HeaderValue = HeaderValue::from_static(
    "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json",
);
pub(super) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A client of registries. Cheap to clone; the clones share connections and tokens.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) wire: Wire,
    pub(super) auth: Auth,
}

/// Which manifest of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reference<'a> {
    /// The one that the tag of the name stands for now.
    Tag,
    /// This one, whatever the tag stands for.
    Digest(&'a Digest),
}

/// A manifest as it came.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    /// What is stored, to the byte.
    pub(crate) bytes: Bytes,
    /// Of the bytes. Agrees with the reference and with what the registry said.
    pub(crate) digest: Digest,
    /// What it says.
    pub(crate) document: Document,
}

// === impl Registry ===

impl Registry {
    /// Reads the files that the settings name. Blocks.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Self::with(settings, Net::system())
    }

    pub(super) fn with(settings: Settings, net: Net) -> Result<Self, SettingsError> {
        let wire = Wire::new(&settings, net)?;
        let auth = Auth::new(settings.auth_file)?;
        Ok(Self {
            shared: Arc::new(Shared { wire, auth }),
        })
    }

    /// Asks for a manifest. What may pass is tried again, four times in all, with a growing pause or the one that the
    /// registry asks for when that is half a minute at most. Dropping the future ends the work.
    pub(crate) async fn manifest(
        &self,
        name: &ModelName,
        reference: Reference<'_>,
        insecure: bool,
    ) -> Result<Fetched, Fault> {
        self.again(name, || self.try_manifest(name, reference, insecure)).await
    }

    /// With the tries of a manifest.
    pub(super) async fn again<T, F: Future<Output = Result<T, Fault>>>(
        &self,
        name: &ModelName,
        ask: impl Fn() -> F,
    ) -> Result<T, Fault> {
        let mut back_off = self.shared.wire.timeouts.back_off;
        for _ in 1..TRIES {
            let fault = match ask().await {
                Err(fault) => fault,
                done => return done,
            };
            let Some(pause) = pause(&fault, back_off) else {
                return Err(fault);
            };
            tracing::debug!(model = %name, ?pause, error = %fault.error, "the manifest is asked for again");
            sleep(pause).await;
            back_off *= 2;
        }
        ask().await
    }

    async fn try_manifest(&self, name: &ModelName, reference: Reference<'_>, insecure: bool) -> Result<Fetched, Fault> {
        let Shared { wire, auth } = &*self.shared;
        let scope = self.scope(name, insecure)?;
        let [.., tag] = name.parts();
        let reference_text = match reference {
            Reference::Tag => tag,
            Reference::Digest(digest) => digest.as_str(),
        };
        let mut ask = scope.ask(Use::Control, "manifests", reference_text)?;
        ask.headers.insert(header::ACCEPT, ACCEPT);
        let (response, at) = auth.send(wire, &ask, &scope).await?;
        let place = Place {
            registry: &scope.registry,
            at: &at,
        };
        let (status, headers) = (response.status(), response.headers().clone());
        if status != http::StatusCode::OK {
            let (body, _) = wire.excerpt(response, MAX_ERROR, &place).await.unwrap_or_default();
            let thing = name.to_string();
            let said = fault::quote(&body);
            return Err(fault::status(
                &place,
                Thing::Manifest(&thing),
                status,
                &headers,
                said.as_deref(),
            ));
        }
        identity(&headers, &place)?;
        let bytes = wire.body(response, MAX_MANIFEST, &place).await?;
        let digest = agreed(&bytes, &headers, reference, &place)?;
        let document = Document::read(&bytes).map_err(|why| {
            let message = format!("{place} gave a manifest of `{name}` that is not taken: {why}");
            Fault::never(Error::new(why.kind(), message))
        })?;
        Ok(Fetched {
            bytes,
            digest,
            document,
        })
    }

    pub(super) fn scope(&self, name: &ModelName, insecure: bool) -> Result<Scope, Fault> {
        let [_, namespace, model, _] = name.parts();
        Ok(Scope {
            registry: self.shared.wire.guard.registry(name, insecure)?,
            repository: format!("{namespace}/{model}"),
            access: Access::Pull,
        })
    }
}

// === impl Scope ===

impl Scope {
    /// The same to push.
    pub(super) fn pushing(self) -> Self {
        Self {
            access: Access::Push,
            ..self
        }
    }

    /// A GET below the repository. The parts of names and digests need no escape.
    pub(super) fn ask(&self, purpose: Use, what: &str, reference: &str) -> Result<Ask, Fault> {
        let path = format!("/v2/{}/{what}/{reference}", self.repository);
        let url = self.registry.url(&path).ok_or_else(|| {
            let message = format!("registry `{}` has no URL", self.registry);
            Fault::never(Error::new(Kind::Internal, message))
        })?;
        Ok(Ask::get(purpose, url))
    }
}

/// How long to wait before a manifest is asked for again; nothing when the fault is final.
pub(super) fn pause(fault: &Fault, back_off: Duration) -> Option<Duration> {
    match fault.retry {
        Retry::Never => None,
        Retry::After(wait) if wait > MAX_PAUSE => None,
        // Many who were told the same moment come one after the other.
        Retry::After(wait) => Some(wait + back_off.mul_f64(fastrand::f64() / 2.0)),
        Retry::Soon => Some(back_off.mul_f64(1.0 - fastrand::f64() / 2.0)),
    }
}

/// Refuses a body that is not as it is stored: digests and ranges are those of the stored bytes.
pub(super) fn identity(headers: &HeaderMap, place: &Place<'_>) -> Result<(), Fault> {
    let encoded = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(header::CONTENT_ENCODING).iter().any(encoded) {
        return Err(fault::protocol(
            place,
            "answered with a compressed body, which was not asked for",
        ));
    }
    Ok(())
}

fn agreed(bytes: &[u8], headers: &HeaderMap, reference: Reference<'_>, place: &Place<'_>) -> Result<Digest, Fault> {
    let digest = Digest::of(bytes);
    let mismatch = |wanted: &Digest, by: &str| {
        let message = format!("{place} gave a manifest with the digest {digest}, and {by} {wanted}");
        Fault::never(Error::new(Kind::DigestMismatch, message))
    };
    if let Reference::Digest(wanted) = reference
        && *wanted != digest
    {
        return Err(mismatch(wanted, "it was asked for"));
    }
    // Digests of other kinds cannot be compared.
    let told = headers.get(DIGEST).and_then(|told| told.to_str().ok()?.parse().ok());
    match told {
        Some(told) if told != digest => Err(mismatch(&told, "said itself that it is")),
        _ => Ok(digest),
    }
}
