//! What surrounds every call: who makes it, the caller's deadline, the drain, a fault in a handler, and the one form of statuses.
//!
//! tonic bounds a call by its deadline only up to the response's headers. Here the response's body is bounded too, so that a
//! stream ends with DEADLINE_EXCEEDED at its deadline and with UNAVAILABLE when the service ends, whatever its source does.

use std::{
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, Request, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::{Status, body::Body, service::Routes};
use tower::Service as _;

use super::{Credentials, audit, status, tls::ClientCertificate};

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) certificate: Option<ClientCertificate>,
}

/// Who makes a call, in its request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) address: SocketAddr,
    /// Of the token or certificate; none where no credentials are wanted.
    pub(super) name: Option<String>,
}

/// The longest `grpc-timeout` value that the protocol allows: eight digits and a unit.
const MAX_TIMEOUT: usize = 9;

/// A body that ends at a deadline, and when the service ends.
struct Ending {
    inner: Option<Body>,
    deadline: Option<Pin<Box<Sleep>>>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// Answers one call.
pub(super) async fn answer(
    mut routes: Routes,
    credentials: Option<Arc<Credentials>>,
    request: Request<Incoming>,
    peer: Arc<Peer>,
    drain: CancellationToken,
) -> Result<Response<Body>, Infallible> {
    let deadline = timeout(request.headers()).map(|timeout| Instant::now() + timeout);
    let mut request = request.map(Body::new);
    let name = match credentials {
        Some(credentials) => {
            let path = request.uri().path().to_owned();
            match credentials.admit(&path, request.headers_mut(), peer.certificate.as_ref()) {
                Ok(name) => name,
                Err(refused) => {
                    audit::refused(&path, peer.address, &refused);
                    return Ok(status::of(&refused.failure).into_http());
                }
            }
        }
        None => None,
    };
    request.extensions_mut().insert(Caller {
        address: peer.address,
        name,
    });
    let handled = AssertUnwindSafe(routes.call(request)).catch_unwind();
    let response = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, handled).await,
        None => Ok(handled.await),
    };
    let response = match response {
        Ok(Ok(Ok(response))) => response,
        Ok(Ok(Err(never))) => match never {},
        Ok(Err(_panic)) => {
            tracing::error!("a handler broke off by a panic");
            return Ok(status::fault().into_http());
        }
        Err(_elapsed) => return Ok(status::deadline_exceeded().into_http()),
    };
    if let Some(shaped) = Status::from_header_map(response.headers())
        .as_ref()
        .and_then(status::reshaped)
    {
        return Ok(shaped.into_http());
    }
    Ok(response.map(|inner| {
        Body::new(Ending {
            inner: Some(inner),
            deadline: deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline))),
            drain: Box::pin(drain.cancelled_owned()),
        })
    }))
}

/// The deadline that a caller gave, as the protocol writes it. A malformed one is no deadline, as the protocol says.
fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers
        .get("grpc-timeout")?
        .to_str()
        .ok()
        .filter(|text| text.len() <= MAX_TIMEOUT)?;
    let unit = text.len().checked_sub(1)?;
    let (digits, unit) = text.split_at_checked(unit)?;
    let count: u64 = if digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse().ok()?
    } else {
        return None;
    };
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

// === impl Ending ===

impl Ending {
    /// Ends the stream with a status, and drops its source.
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.inner = None;
        let mut trailers = HeaderMap::new();
        match status.add_header(&mut trailers) {
            Ok(()) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(status) => Poll::Ready(Some(Err(status))),
        }
    }
}

impl HttpBody for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = &mut this.inner else {
            return Poll::Ready(None);
        };
        // First, so that a source which is always ready does not outrun it.
        if this
            .deadline
            .as_mut()
            .is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready())
        {
            return this.end(&status::deadline_exceeded());
        }
        if let Poll::Ready(frame) = Pin::new(inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        if this.drain.as_mut().poll(cx).is_ready() {
            return this.end(&status::shutting_down());
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        let read = |text: &str| {
            timeout(&HeaderMap::from_iter([(
                "grpc-timeout".parse().unwrap(),
                text.parse().unwrap(),
            )]))
        };
        assert_eq!(read("300m"), Some(Duration::from_millis(300)));
        assert_eq!(read("99999999H"), Some(Duration::from_hours(99_999_999)));
        assert_eq!(read("0S"), Some(Duration::ZERO));
        for bad in ["", "S", "1", "1x", "-1S", "+1S", "999999999H", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
