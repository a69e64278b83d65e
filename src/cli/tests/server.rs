//! A gRPC server that answers as scripted: raw HTTP/2, so that one closure serves all methods and may break the rules.

use std::{convert::Infallible, sync::Arc};

use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Frame, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::{Message, bytes::Bytes};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::StreamExt as _;
use tonic::Status;

/// What one call is answered.
pub(in crate::cli) struct Reply {
    messages: Vec<Bytes>,
    end: End,
}

enum End {
    Status(Status),
    Hangs,
}

/// The server; it ends with this.
pub(in crate::cli) struct Server {
    pub(in crate::cli) url: String,
    _tasks: JoinSet<()>,
}

// === impl Reply ===

impl Reply {
    pub(in crate::cli) fn messages<M: Message>(messages: impl IntoIterator<Item = M>) -> Self {
        let framed = |message: M| {
            let body = message.encode_to_vec();
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            [&[0], &length[..], &body].concat().into()
        };
        Self {
            messages: messages.into_iter().map(framed).collect(),
            end: End::Status(Status::new(0.into(), "")),
        }
    }

    pub(in crate::cli) fn one<M: Message>(message: M) -> Self {
        Self::messages([message])
    }

    pub(in crate::cli) fn refused(status: Status) -> Self {
        Self {
            messages: Vec::new(),
            end: End::Status(status),
        }
    }

    pub(in crate::cli) fn then(mut self, status: Status) -> Self {
        self.end = End::Status(status);
        self
    }

    /// Nothing more comes.
    pub(in crate::cli) fn then_hangs(mut self) -> Self {
        self.end = End::Hangs;
        self
    }
}

// === impl Server ===

impl Server {
    /// `script` is given the method (`List`) and the request's bytes.
    pub(in crate::cli) async fn start(script: impl Fn(&str, &[u8]) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let script = Arc::new(script);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let script = Arc::clone(&script);
                let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let script = Arc::clone(&script);
                    async move {
                        let method = request.uri().path().rsplit('/').next().unwrap().to_owned();
                        let body = request.into_body().collect().await?.to_bytes();
                        Ok::<_, hyper::Error>(answer(script(&method, &body[5..])))
                    }
                });
                connections.spawn(async move {
                    let connection =
                        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service);
                    // A client that leaves is part of the tests.
                    let _left = connection.await.is_err();
                });
            }
        });
        Self { url, _tasks: tasks }
    }
}

fn answer(reply: Reply) -> http::Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>> {
    let frames = reply.messages.into_iter().map(|message| Ok(Frame::data(message)));
    let end = match reply.end {
        End::Status(status) => {
            let mut trailers = http::HeaderMap::new();
            status.add_header(&mut trailers).unwrap();
            Some(Ok(Frame::trailers(trailers)))
        }
        End::Hangs => None,
    };
    let rest: std::pin::Pin<Box<dyn tokio_stream::Stream<Item = _> + Send>> = match end {
        Some(end) => Box::pin(tokio_stream::once(end)),
        None => Box::pin(tokio_stream::pending()),
    };
    http::Response::builder()
        .header("content-type", "application/grpc")
        .body(StreamBody::new(tokio_stream::iter(frames).chain(rest)))
        .unwrap()
}
