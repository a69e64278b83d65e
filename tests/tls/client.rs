//! Callers of all kinds.

use std::{net::SocketAddr, sync::Arc};

use model_control::grpc::proto::{
    health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    v1::{self, model_control_client::ModelControlClient},
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Code, Request, Status,
    transport::{Certificate, Channel, ClientTlsConfig},
};
use tonic_types::StatusExt as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{
    authority::{Authority, Pair},
    scene::soon,
};

/// Over TLS, with this certificate.
pub(crate) async fn secure(
    address: SocketAddr,
    authority: &Authority,
    pair: Option<&Pair>,
) -> Result<Channel, tonic::transport::Error> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.pem));
    let tls = match pair {
        Some(pair) => tls.identity(pair.identity()),
        None => tls,
    };
    let endpoint = Channel::from_shared(format!("https://{address}"))
        .unwrap()
        .tls_config(tls);
    soon(endpoint.unwrap().connect()).await
}

pub(crate) async fn plain(address: SocketAddr) -> Channel {
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    soon(endpoint.connect()).await.unwrap()
}

fn request<T>(message: T, token: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    request
}

/// A call that needs `read`.
pub(crate) async fn list(channel: &Channel, token: Option<&str>) -> Result<(), Status> {
    let request = request(v1::ListRequest::default(), token);
    soon(ModelControlClient::new(channel.clone()).list(request))
        .await
        .map(drop)
}

/// A call that needs `control`. Where it may be made, there is no such backend.
pub(crate) async fn delete(channel: &Channel, token: Option<&str>) -> Status {
    let message = v1::DeleteRequest {
        model: "m".into(),
        ..Default::default()
    };
    let request = request(message, token);
    soon(ModelControlClient::new(channel.clone()).delete(request))
        .await
        .unwrap_err()
}

pub(crate) async fn live(channel: &Channel) -> Result<(), Status> {
    let service = "liveness".to_owned();
    let answer = soon(HealthClient::new(channel.clone()).check(HealthCheckRequest { service })).await?;
    assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    Ok(())
}

/// Code and reason.
pub(crate) fn told(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    let info = details.error_info().map(|info| info.reason.clone());
    (status.code(), info.unwrap_or_default())
}

pub(crate) fn missing() -> (Code, String) {
    (Code::Unauthenticated, "CREDENTIALS_MISSING".to_owned())
}

pub(crate) fn invalid() -> (Code, String) {
    (Code::Unauthenticated, "CREDENTIALS_INVALID".to_owned())
}

pub(crate) fn not_allowed() -> (Code, String) {
    (Code::PermissionDenied, "NOT_ALLOWED".to_owned())
}

pub(crate) fn not_found() -> (Code, String) {
    (Code::NotFound, "BACKEND_NOT_FOUND".to_owned())
}

/// A finished handshake, with what the caller offers.
pub(crate) async fn shake(
    address: SocketAddr,
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let socket = soon(TcpStream::connect(address)).await?;
    let name = ServerName::try_from("localhost").unwrap();
    soon(TlsConnector::from(Arc::new(config)).connect(name, socket)).await
}

/// The number of the certificate that the server shows.
pub(crate) async fn serial(address: SocketAddr, authority: &Authority) -> u64 {
    let stream = shake(address, authority, &[&rustls::version::TLS13], &["h2"])
        .await
        .unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    let (_, certificate) = X509Certificate::from_der(&chain[0]).unwrap();
    certificate
        .raw_serial()
        .iter()
        .fold(0, |serial, byte| serial << 8 | u64::from(*byte))
}
