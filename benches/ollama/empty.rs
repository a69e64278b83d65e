//! A server that does nothing: what a call costs that only tonic answers. A process of its own, as the service is.

use std::{
    convert::Infallible,
    env,
    future::Ready,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    task::{Context, Poll},
};

use futures::{future::BoxFuture, stream};
use http::{Request, Response};
use model_control::grpc::proto::v1::{
    EnsureReadyRequest, EnsureReadyResponse, ListRequest, ListResponse, model_control_client::ModelControlClient,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService, ServerStreamingService, UnaryService},
    transport::Channel,
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::Client;

/// It runs.
pub(crate) struct Empty {
    child: Child,
    address: SocketAddr,
}

/// Answers `List` with an empty page, and `EnsureReady` with a stream of one empty message.
#[derive(Debug, Clone)]
struct Nothing;

/// Says where it listens, and ends with its standard input.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut out = std::io::stdout();
        writeln!(out, "{}", listener.local_addr().unwrap()).unwrap();
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().lines().count());
        let server = tonic::transport::Server::builder()
            .tcp_nodelay(true)
            .add_service(Nothing);
        let end = async { drop(ended.await) };
        server
            .serve_with_incoming_shutdown(TcpListenerStream::new(listener), end)
            .await
            .unwrap();
    });
}

// === impl Empty ===

impl Empty {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut address).unwrap();
        let address = address.trim().parse().unwrap();
        Self { child, address }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.address);
        Channel::from_shared(address).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        ModelControlClient::new(self.channel().await)
    }
}

impl Drop for Empty {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

// === impl Nothing ===

impl NamedService for Nothing {
    const NAME: &'static str = "ichat.modelcontrol.v1.ModelControl";
}

impl Service<Request<Body>> for Nothing {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(if request.uri().path().ends_with("/List") {
                Grpc::new(ProstCodec::default()).unary(Nothing, request).await
            } else {
                Grpc::new(ProstCodec::default())
                    .server_streaming(Nothing, request)
                    .await
            })
        })
    }
}

impl UnaryService<ListRequest> for Nothing {
    type Response = ListResponse;
    type Future = Ready<Result<tonic::Response<ListResponse>, Status>>;

    fn call(&mut self, _: tonic::Request<ListRequest>) -> Self::Future {
        std::future::ready(Ok(tonic::Response::new(ListResponse::default())))
    }
}

impl ServerStreamingService<EnsureReadyRequest> for Nothing {
    type Response = EnsureReadyResponse;
    type ResponseStream = stream::Iter<std::option::IntoIter<Result<EnsureReadyResponse, Status>>>;
    type Future = Ready<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: tonic::Request<EnsureReadyRequest>) -> Self::Future {
        let one = Some(Ok(EnsureReadyResponse::default()));
        std::future::ready(Ok(tonic::Response::new(stream::iter(one))))
    }
}
