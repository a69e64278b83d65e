//! Certificates of callers.

use model_control::config::ClientScopes;
use rcgen::{DnType, SanType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    authority::{Authority, Pair, dns, expired},
    client::{delete, invalid, list, live, missing, not_allowed, not_found, plain, secure, shake, told},
    scene::{Mount, Running, TOKENS, soon},
};

/// Whether a caller with this certificate gets as far as a call. With TLS 1.3 its own handshake ends before it is refused.
async fn enters(service: &Running, authority: &Authority, pair: Option<&Pair>) -> bool {
    match secure(service.address, authority, pair).await {
        Ok(channel) => live(&channel).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn without_tokens_nobody_enters_without_a_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mount = Mount::of(&authority.server(), &[("ca.crt", &authority.pem)]);
    let service = Running::start(mount.access()).await;
    let client = authority.client("ichat.example");
    let channel = secure(service.address, &authority, Some(&client)).await.unwrap();
    list(&channel, None).await.unwrap();
    // No tokens are configured: what looks like one is nobody's.
    list(&channel, Some("whatever-it-may-say")).await.unwrap();
    assert_eq!(told(&delete(&channel, None).await), not_found());
    live(&channel).await.unwrap();

    let old = authority.issue(|params| {
        params.subject_alt_names = vec![dns("ichat.example")];
        expired(params);
    });
    assert!(!enters(&service, &authority, None).await, "no certificate");
    assert!(
        !enters(&service, &authority, Some(&other.client("ichat.example"))).await,
        "another authority"
    );
    assert!(!enters(&service, &authority, Some(&old)).await, "expired");
    // Health for those without is on its own port.
    live(&plain(service.health).await).await.unwrap();
    service.stop().await;
}

/// A caller of TLS 1.3 goes on talking after it was refused: what it then reads is the reason, not a reset.
#[tokio::test]
async fn who_is_refused_reads_why() {
    let authority = Authority::new();
    let mount = Mount::of(&authority.server(), &[("ca.crt", &authority.pem)]);
    let service = Running::start(mount.access()).await;
    for _ in 0..20 {
        let mut stream = shake(service.address, &authority, &[&rustls::version::TLS13], &["h2"])
            .await
            .unwrap();
        // The alert is there, and the server done with its side.
        soon(stream.get_ref().0.readable()).await.unwrap();
        for _ in 0..4 {
            soon(stream.write_all(b"PRI * HTTP/2.0")).await.unwrap();
            soon(stream.flush()).await.unwrap();
        }
        let error = soon(stream.read_u8()).await.unwrap_err();
        assert!(error.to_string().contains("CertificateRequired"), "{error}");
    }
    service.stop().await;
}

#[tokio::test]
async fn with_tokens_a_certificate_or_a_token_will_do() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mount = Mount::of(
        &authority.server(),
        &[("ca.crt", &authority.pem), ("tokens.yaml", TOKENS)],
    );
    let service = Running::start(mount.access()).await;
    let bare = secure(service.address, &authority, None).await.unwrap();
    live(&bare).await.unwrap();
    assert_eq!(told(&list(&bare, None).await.unwrap_err()), missing());
    list(&bare, Some("token-of-board-0001")).await.unwrap();

    let client = authority.client("ichat.example");
    let certified = secure(service.address, &authority, Some(&client)).await.unwrap();
    list(&certified, None).await.unwrap();
    assert_eq!(told(&delete(&certified, None).await), not_found());
    // A token that is shown decides.
    assert_eq!(
        told(&list(&certified, Some("token-of-nobody-001")).await.unwrap_err()),
        invalid()
    );
    assert_eq!(
        told(&delete(&certified, Some("token-of-board-0001")).await),
        not_allowed()
    );
    assert!(
        !enters(&service, &authority, Some(&other.client("ichat.example"))).await,
        "another authority"
    );
    service.stop().await;
}

#[tokio::test]
async fn names_of_certificates_have_their_scopes() {
    let authority = Authority::new();
    let mount = Mount::of(&authority.server(), &[("ca.crt", &authority.pem)]);
    let mut access = mount.access();
    let scopes = [
        "board.example=read",
        "spiffe://example/robot=control",
        "by its name=read+control",
    ];
    access.client_scopes = scopes
        .iter()
        .map(|text| text.parse::<ClientScopes>().unwrap())
        .collect();
    let service = Running::start(access).await;
    let uri = |uri: &str| SanType::URI(uri.try_into().unwrap());
    let reads = authority.client("Board.example");
    let controls = authority.issue(|params| params.subject_alt_names = vec![uri("spiffe://example/robot")]);
    let both = authority.issue(|params| {
        params.subject_alt_names = vec![dns("board.example"), uri("spiffe://example/robot")];
    });
    let named = authority.issue(|params| params.distinguished_name.push(DnType::CommonName, "by its name"));
    // The common name of a certificate with other names is a remark.
    let feigned = authority.issue(|params| {
        params.subject_alt_names = vec![dns("feigned.example")];
        params.distinguished_name.push(DnType::CommonName, "by its name");
    });
    for (pair, may_read, may_control) in [
        (&reads, true, false),
        (&controls, false, true),
        (&both, true, true),
        (&named, true, true),
        (&feigned, false, false),
    ] {
        let channel = secure(service.address, &authority, Some(pair)).await.unwrap();
        let read = list(&channel, None).await;
        match read {
            Ok(()) => assert!(may_read),
            Err(status) => assert_eq!((told(&status), may_read), (not_allowed(), false)),
        }
        let control = told(&delete(&channel, None).await);
        assert_eq!(control, if may_control { not_found() } else { not_allowed() });
        live(&channel).await.unwrap();
    }
    service.stop().await;
}
