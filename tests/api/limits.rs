//! What arrives is bounded, and every status has our form.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{calls::*, support::*};

#[tokio::test(flavor = "multi_thread")]
async fn what_tonic_answers_by_itself_has_our_form() {
    let service = Service::start(Scripted::new(), None).await;
    let mut client = service.client().await;
    let large = v1::PullRequest {
        model: "x".repeat(1 << 20),
        ..Default::default()
    };
    let status = soon(client.pull(large)).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "MESSAGE_TOO_LARGE")
    );
    let status = soon(client.pull(pull("a b"))).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "MODEL_NAME_INVALID")
    );
    let zipped = client.clone().send_compressed(tonic::codec::CompressionEncoding::Gzip);
    soon({ zipped }.list(v1::ListRequest::default()))
        .await
        .expect("gzip is accepted");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_get_a_status_of_ours() {
    let service = Service::start(Scripted::new(), None).await;
    let pull = "/ichat.modelcontrol.v1.ModelControl/Pull";
    let invalid = is(Code::InvalidArgument, "REQUEST_INVALID");
    let unknown = is(Code::Unimplemented, "METHOD_UNKNOWN");
    let garbage = frame(false, &[0xff; 64]);
    let not_utf8 = frame(false, &[0x12, 2, 0xff, 0xfe]);
    let short = Bytes::from_static(&[0, 0, 0, 0, 9, 1]);
    let flag = Bytes::from_static(&[7, 0, 0, 0, 0]);
    let no_gzip = frame(true, b"this is not gzip");
    let lie = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3]);
    let gzip = [("grpc-encoding", "gzip")];
    for (path, headers, body, expected) in [
        (pull, &[][..], garbage, &invalid),
        (pull, &[][..], not_utf8, &invalid),
        (pull, &[][..], short, &invalid),
        (pull, &[][..], flag, &invalid),
        (pull, &[][..], Bytes::new(), &invalid),
        (pull, &gzip[..], no_gzip, &invalid),
        (pull, &[][..], frame(true, b""), &invalid),
        (pull, &[][..], lie, &is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE")),
        ("/no.such.Service/Method", &[][..], frame(false, b""), &unknown),
        ("/no.such.Service/Method", &[][..], Bytes::new(), &unknown),
        (
            "/ichat.modelcontrol.v1.ModelControl/NoSuchMethod",
            &[][..],
            frame(false, b""),
            &unknown,
        ),
        (
            "/grpc.health.v1.Health/NoSuchMethod",
            &[][..],
            frame(false, b""),
            &unknown,
        ),
        ("/", &[][..], frame(false, b""), &unknown),
    ] {
        let status = status_of(&raw(&service, path, headers, body.clone()).await);
        assert_eq!(&told(&status), expected, "{path} {body:?}: {status:?}");
    }
    // Unknown fields are no fault: a newer client may send them.
    let newer = frame(false, &[0xaa, 0x7d, 1, 0]);
    let listed = raw(&service, "/ichat.modelcontrol.v1.ModelControl/List", &[], newer).await;
    assert_eq!(status_of(&listed).code(), Code::Ok);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_is_taken_and_other_compression_is_refused_with_what_is_taken() {
    let service = Service::start(Scripted::new(), None).await;
    let body = frame(true, b"whatever");
    let list = "/ichat.modelcontrol.v1.ModelControl/List";
    let answer = raw(&service, list, &[("grpc-encoding", "zstd")], body).await;
    let status = status_of(&answer);
    assert_eq!(told(&status), is(Code::Unimplemented, "METHOD_UNKNOWN"));
    assert!(status.message().contains("zstd"), "{}", status.message());
    let taken = answer
        .1
        .get("grpc-accept-encoding")
        .expect("what is taken")
        .to_str()
        .unwrap();
    assert!(taken.contains("gzip"), "{taken}");

    let gzip = tonic::codec::CompressionEncoding::Gzip;
    let mut both = service.client().await.send_compressed(gzip).accept_compressed(gzip);
    soon(both.list(v1::ListRequest::default()))
        .await
        .expect("gzip both ways");
    // Small as it is sent, large once it is unpacked.
    let bomb = pull(&"x".repeat(1 << 20));
    let status = soon(both.pull(bomb)).await.unwrap_err();
    assert_eq!(told(&status), is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_may_be_as_large_as_the_limit_says() {
    let service = Service::start(Scripted::new(), None).await;
    let mut client = service.client().await;
    // 64 KiB with the field's own three and four bytes.
    for (length, expected) in [
        ((64 << 10) - 4, is(Code::InvalidArgument, "MODEL_NAME_INVALID")),
        ((64 << 10) - 3, is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE")),
    ] {
        let status = soon(client.pull(pull(&"x".repeat(length)))).await.unwrap_err();
        assert_eq!(told(&status), expected, "{length}");
        assert!(status.message().len() <= 1024 && status.details().len() <= 4096);
    }
    let request = HealthCheckRequest {
        service: "x".repeat(32 << 10),
    };
    let mut health = HealthClient::new(service.channel().await);
    let status = soon(health.check(request)).await.unwrap_err();
    assert_eq!(told(&status), is(Code::ResourceExhausted, "MESSAGE_TOO_LARGE"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_over_the_limit_are_refused_and_the_connection_lives() {
    let service = Service::start(Scripted::new(), None).await;
    let mut client = service.client().await;
    let mut request = Request::new(v1::ListRequest::default());
    let large = "x".repeat(20 << 10);
    request.metadata_mut().insert("x-large", large.parse().unwrap());
    let status = soon(client.list(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown, "{status:?}");
    soon(client.list(v1::ListRequest::default()))
        .await
        .expect("the next call is answered");
    let list = "/ichat.modelcontrol.v1.ModelControl/List";
    let (http, _) = raw(&service, list, &[("x-large", &large)], frame(false, b"")).await;
    assert_eq!(http.as_u16(), 431);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_kept_for_a_single_answer_too() {
    let engine = Scripted::new();
    let service = Service::start(engine.clone(), None).await;
    engine.set_silent(true);
    let list = "/ichat.modelcontrol.v1.ModelControl/List";
    let deadline = is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    for timeout in ["100m", "1000u", "0S"] {
        let answer = raw(&service, list, &[("grpc-timeout", timeout)], frame(false, b"")).await;
        assert_eq!(told(&status_of(&answer)), deadline, "{timeout}");
    }
    engine.set_silent(false);
    for timeout in ["30S", "99999999H", "junk"] {
        let answer = raw(&service, list, &[("grpc-timeout", timeout)], frame(false, b"")).await;
        assert_eq!(status_of(&answer).code(), Code::Ok, "{timeout}");
    }
    // A stream's too, when the call is made without a client that has a clock of its own.
    let _script = engine.script(None);
    let pull = "/ichat.modelcontrol.v1.ModelControl/Pull";
    let answer = raw(
        &service,
        pull,
        &[("grpc-timeout", "200m")],
        frame(false, &[0x12, 1, b'm']),
    )
    .await;
    assert_eq!(told(&status_of(&answer)), deadline);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_too_many_is_closed_and_the_others_work() {
    let mut plan = Plan::new(Scripted::new());
    plan.settings.max_connections = 1;
    let service = plan.start().await;
    let mut client = service.client().await;
    soon(client.list(v1::ListRequest::default())).await.unwrap();

    let mut other = lazy(&service);
    let status = soon(other.list(v1::ListRequest::default())).await.unwrap_err();
    assert_eq!(
        reason(&status),
        "",
        "it never became a call, and each client words that in its own way: {status:?}"
    );
    soon(client.list(v1::ListRequest::default()))
        .await
        .expect("the first one works on");

    drop(client);
    soon(async { while other.list(v1::ListRequest::default()).await.is_err() {} }).await;
    service.stop().await;
}

/// A client that connects when it is used, and again after a failure.
fn lazy(service: &Service) -> Client {
    let address = format!("http://{}", service.address);
    ModelControlClient::new(Channel::from_shared(address).unwrap().connect_lazy())
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_sockets_are_few_and_short_lived() {
    let mut plan = Plan::new(Scripted::new());
    plan.settings.max_handshakes = 2;
    plan.settings.handshake_timeout = Duration::from_millis(300);
    let service = plan.start().await;
    let mut client = service.client().await;
    soon(client.list(v1::ListRequest::default())).await.unwrap();

    let start = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(TcpStream::connect(service.address).await.unwrap());
    }
    soon(client.list(v1::ListRequest::default()))
        .await
        .expect("who is in stays in");
    for mut socket in silent {
        assert_eq!(soon(socket.read(&mut [0; 1])).await.unwrap_or(0), 0, "closed");
    }
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
    let mut late = service.client().await;
    soon(late.list(v1::ListRequest::default()))
        .await
        .expect("others get in again");

    // What does not speak HTTP/2 is closed at once.
    let mut web = TcpStream::connect(service.address).await.unwrap();
    web.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(soon(web.read(&mut [0; 1])).await.unwrap_or(0), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_over_the_limit_of_handshakes_is_closed_at_once() {
    let mut plan = Plan::new(Scripted::new());
    plan.settings.max_handshakes = 2;
    let service = plan.start().await;
    // The timeout of the others is as long as this test may take.
    let _silent = [
        TcpStream::connect(service.address).await.unwrap(),
        TcpStream::connect(service.address).await.unwrap(),
    ];
    let mut third = TcpStream::connect(service.address).await.unwrap();
    assert_eq!(soon(third.read(&mut [0; 1])).await.unwrap_or(0), 0);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_the_limit_of_a_connection_wait_for_others_to_end() {
    let engine = Scripted::new();
    let _scripts = [engine.script(None), engine.script(None)];
    let mut plan = Plan::new(engine);
    plan.settings.max_streams = 2;
    let service = plan.start().await;
    let mut client = service.client().await;
    let (_one, _) = pulling(&mut client, pull("a")).await;
    let (two, _) = pulling(&mut client, pull("b")).await;
    let mut third = std::pin::pin!(client.list(v1::ListRequest::default()));
    let waits = tokio::time::timeout(Duration::from_millis(200), third.as_mut()).await;
    assert!(waits.is_err(), "there is no room for it");
    // Another connection has its own room.
    let mut other = service.client().await;
    soon(other.list(v1::ListRequest::default())).await.unwrap();
    drop(two);
    soon(third).await.unwrap();
    service.stop().await;
}
