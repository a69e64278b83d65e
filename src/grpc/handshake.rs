//! What a socket says first: TLS where the API has a certificate, then that it speaks HTTP/2.
//!
//! Whoever fails is told why by an alert, which must not be lost: closing a socket with bytes unread resets it, and a
//! caller of TLS 1.3, who believes itself connected, then reads "broken pipe" for "certificate required".

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig, server::TlsStream};
use tokio_util::either::Either;

use super::tls::{self, ClientCertificate};

/// What every HTTP/2 client says first.
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// For a refused caller to read why and leave, and what it may say meanwhile.
const LEAVE_TIME: Duration = Duration::from_secs(1);
const LEAVE_BYTES: u64 = 64 * 1024;

/// Bytes to and from a peer that speaks HTTP/2.
pub(super) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Reads what the socket speaks, and who speaks it. Takes at most a second beyond what the peer takes.
pub(super) async fn greet(
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
) -> io::Result<(Stream, Option<ClientCertificate>)> {
    let (mut stream, certificate) = match tls {
        None => (Either::Left(socket), None),
        Some(config) => {
            let stream = match TlsAcceptor::from(config).accept(socket).into_fallible().await {
                Ok(stream) => stream,
                Err((error, socket)) => {
                    take_leave(socket).await;
                    return Err(error);
                }
            };
            let (_, session) = stream.get_ref();
            if session.alpn_protocol() != Some(tls::H2) {
                return Err(io::Error::other("the client did not offer HTTP/2 in its handshake"));
            }
            let certificate = ClientCertificate::of(session.peer_certificates());
            (Either::Right(Box::new(stream)), certificate)
        }
    };
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await?;
    if preface != *PREFACE {
        return Err(io::Error::other("the preface is not that of HTTP/2"));
    }
    Ok((stream, certificate))
}

/// Says that there is no more to come, then hears the peer out.
async fn take_leave(mut socket: TcpStream) {
    let heard = async {
        socket.shutdown().await?;
        tokio::io::copy(&mut socket.take(LEAVE_BYTES), &mut tokio::io::sink()).await
    };
    // It has the alert, or does not want it: either way this socket is done with.
    let _heard = tokio::time::timeout(LEAVE_TIME, heard).await.is_ok();
}
