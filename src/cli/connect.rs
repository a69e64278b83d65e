//! The channel to the server, and how long a call may take.
//!
//! Every word connects before it calls, so that "nobody is there" and "it said no" are told apart.

use std::{future::Future, time::Duration};

use http::Uri;
use tonic::{
    Request, Response, Status,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{Context, credentials::Bearer, errors::Fault, exit::Stop};
use crate::grpc::proto::{
    health::health_client::HealthClient,
    v1::{model_control_client::ModelControlClient, operations_client::OperationsClient},
};

/// To a server that is there this takes milliseconds.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that vanished without a word is noticed after the sum of both, also in a stream that has no deadline.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A page of 1000 models with long texts fits; nothing that fills our memory does.
const MAX_MESSAGE: usize = 16 << 20;

/// Each call with the token, when there is one.
type Calls = InterceptedService<Channel, Bearer>;

const WANTED: &str = "want `http://HOST:PORT` or `https://HOST:PORT`";

/// The address as the channel takes it.
fn endpoint(server: &str) -> Result<Endpoint, Stop> {
    let refuse = |what: &str| Stop::Usage(format!("--server `{}`: {what}", super::text::printable(server)));
    if !server.contains("://") {
        return Err(refuse(WANTED));
    }
    let uri: Uri = server.parse().map_err(|_| refuse(WANTED))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err(refuse(WANTED)),
    }
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    if authority.is_empty() || authority.contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(refuse(
            "want `http://HOST:PORT` or `https://HOST:PORT` and nothing more",
        ));
    }
    Endpoint::from_shared(server.to_owned())
        .and_then(|e| e.user_agent(concat!("model-control/", env!("CARGO_PKG_VERSION"))))
        .map(|e| {
            e.connect_timeout(CONNECT_TIMEOUT)
                .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        })
        .map_err(|_| refuse(WANTED))
}

// === impl Context ===

impl Context {
    async fn calls(&self) -> Result<Calls, Stop> {
        let credentials = &self.global.credentials;
        let endpoint = credentials.secure(endpoint(&self.global.server)?)?;
        let bearer = credentials.bearer(endpoint.uri())?;
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| Stop::NoConnection(Box::new(Fault::no_connection(&self.global.server, &error))))?;
        Ok(InterceptedService::new(channel, bearer))
    }

    pub(super) async fn model_control(&self) -> Result<ModelControlClient<Calls>, Stop> {
        Ok(ModelControlClient::new(self.calls().await?).max_decoding_message_size(MAX_MESSAGE))
    }

    pub(super) async fn operations(&self) -> Result<OperationsClient<Calls>, Stop> {
        Ok(OperationsClient::new(self.calls().await?).max_decoding_message_size(MAX_MESSAGE))
    }

    pub(super) async fn health(&self) -> Result<HealthClient<Calls>, Stop> {
        Ok(HealthClient::new(self.calls().await?))
    }

    /// A request whose deadline the server knows.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.global.timeout);
        request
    }

    /// The answer of a unary call, within its deadline: also of a server that begins to answer and never ends.
    pub(super) async fn answer<T>(&self, call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Stop> {
        match tokio::time::timeout(self.global.timeout, call).await {
            Ok(answered) => Ok(answered?.into_inner()),
            Err(_elapsed) => Err(Fault::too_slow(self.global.timeout).into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_http_address_is_taken() {
        for good in [
            "https://host:1",
            "http://127.0.0.1:50051",
            "http://[::1]:1",
            "http://host/",
        ] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for (bad, said) in [
            ("", "want"),
            ("localhost:50051", "want `http://"),
            ("ftp://host", "want `http://"),
            ("http://me:secret@host", "nothing more"),
            ("http://host/path", "nothing more"),
            ("http://host/?q", "nothing more"),
            ("http://", "want"),
        ] {
            match endpoint(bad) {
                Err(Stop::Usage(message)) => assert!(message.contains(said), "{bad}: {message}"),
                other => panic!("{bad}: {other:?}"),
            }
        }
    }
}
