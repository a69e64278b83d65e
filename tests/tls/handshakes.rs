//! TLS alone: who gets through the handshake, and how soon the others are sent away.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    authority::{Authority, dns},
    client::{list, live, plain, secure, shake},
    scene::{Mount, Running, soon},
};

/// A ClientHello of TLS 1.1 with one cipher suite and no extensions.
fn old_hello() -> Vec<u8> {
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    hello
}

#[tokio::test]
async fn tls_is_spoken_in_two_versions_and_for_http_2_only() {
    let authority = Authority::new();
    let mount = Mount::of(&authority.server(), &[]);
    let service = Running::start(mount.access()).await;
    let channel = secure(service.address, &authority, None).await.unwrap();
    list(&channel, None).await.unwrap();
    live(&channel).await.unwrap();
    live(&plain(service.health).await).await.unwrap();

    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let stream = shake(service.address, &authority, &[version], &["h2"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let refused = shake(service.address, &authority, &[version], &["http/1.1"]).await;
        assert!(refused.is_err(), "HTTP/1.1 is not spoken");
        // Whoever offers nothing may finish the handshake, and is sent away after it.
        let mut silent = shake(service.address, &authority, &[version], &[]).await.unwrap();
        let mut rest = Vec::new();
        drop(soon(silent.read_to_end(&mut rest)).await);
        assert!(rest.is_empty());
    }
    assert!(secure(service.address, &Authority::new(), None).await.is_err());
    service.stop().await;
}

#[tokio::test]
async fn what_is_not_tls_is_sent_away_at_once() {
    let authority = Authority::new();
    let mount = Mount::of(&authority.server(), &[]);
    // The time of a handshake has no part in it: that is a minute.
    let service = Running::start(mount.access()).await;
    for said in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..],
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        &[0xff; 600],
        &old_hello(),
    ] {
        let began = Instant::now();
        let mut socket = TcpStream::connect(service.address).await.unwrap();
        socket.write_all(said).await.unwrap();
        let mut answer = Vec::new();
        drop(soon(socket.read_to_end(&mut answer)).await);
        assert!(began.elapsed() < Duration::from_secs(30), "{said:?}");
        // At most an alert.
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    let channel = plain(service.address).await;
    assert!(list(&channel, None).await.is_err());
    live(&secure(service.address, &authority, None).await.unwrap())
        .await
        .unwrap();
    service.stop().await;
}

#[tokio::test]
async fn slow_handshakes_end_and_make_room() {
    let authority = Authority::new();
    let mount = Mount::of(&authority.server(), &[]);
    let service = Running::with(mount.access(), |server| {
        server.handshake_timeout = Duration::from_millis(300);
        server.max_handshakes = 4;
    })
    .await;
    let mut slow = Vec::new();
    for index in 0..4 {
        let mut socket = TcpStream::connect(service.address).await.unwrap();
        // Nothing, or the beginning of a hello.
        socket.write_all(&old_hello()[..index]).await.unwrap();
        slow.push(socket);
    }
    // A handshake that ends and then says nothing is slow as well.
    for mut socket in slow {
        let mut answer = Vec::new();
        drop(soon(socket.read_to_end(&mut answer)).await);
    }
    let mut silent = shake(service.address, &authority, &[&rustls::version::TLS13], &["h2"])
        .await
        .unwrap();
    let mut answer = Vec::new();
    drop(soon(silent.read_to_end(&mut answer)).await);
    assert!(answer.is_empty());
    live(&secure(service.address, &authority, None).await.unwrap())
        .await
        .unwrap();
    service.stop().await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_by_the_caller() {
    let authority = Authority::new();
    let other = authority.issue(|params| params.subject_alt_names = vec![dns("elsewhere.example")]);
    let service = Running::start(Mount::of(&other, &[]).access()).await;
    assert!(secure(service.address, &authority, None).await.is_err());
    service.stop().await;
}
