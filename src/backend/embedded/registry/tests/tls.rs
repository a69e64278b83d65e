use super::*;
use crate::backend::embedded::registry::SettingsError;

/// A registry `registry.test` with a certificate for this name of this authority, and a client that trusts `trusted`.
async fn encrypted(
    authority: &Authority,
    certified: &str,
    trusted: Option<&Authority>,
) -> (Double, Registry, ModelName) {
    let tls = authority.server(certified, &["h2", "http/1.1"]);
    let double = Double::start_tls(tls, |seen| {
        Answer::ok(if seen.path.contains("/blobs/") {
            BLOB.to_vec()
        } else {
            manifest().into_bytes()
        })
    })
    .await;
    let host = format!("registry.test:{}", double.address.port());
    let mut settings = settings(std::slice::from_ref(&host));
    settings.ca_file = trusted.map(Authority::path);
    let net = World::default().name("registry.test", &[&["127.0.0.1"]]).real();
    (double, client_in(settings, net), name(&host))
}

#[tokio::test]
async fn manifests_come_by_http2_and_blobs_do_not() {
    let authority = Authority::new();
    let (double, client, name) = encrypted(&authority, "registry.test", Some(&authority)).await;
    client.manifest(&name, Reference::Tag, false).await.unwrap();
    client.blob(&name, &layer(), false).open(0..5, None).await.unwrap();
    let versions: Vec<_> = double.seen().iter().map(|seen| seen.http2).collect();
    assert_eq!(versions, [true, false]);
}

#[tokio::test]
async fn an_unknown_authority_or_another_name_is_final() {
    let (ours, other) = (Authority::new(), Authority::new());
    for (certified, trusted) in [
        ("registry.test", None),
        ("registry.test", Some(&other)),
        ("other.test", Some(&ours)),
    ] {
        let (double, client, name) = encrypted(&ours, certified, trusted).await;
        let fault = client.manifest(&name, Reference::Tag, false).await.unwrap_err();
        assert_eq!(
            (fault.error.kind, fault.retry),
            (Kind::RegistryUnreachable, Retry::Never)
        );
        assert!(
            fault.error.message.contains("--registry-ca-file"),
            "{}",
            fault.error.message
        );
        assert_eq!(double.lines(), [""; 0]);
    }
}

#[tokio::test]
async fn plain_http_where_tls_is_meant_is_said() {
    // The double waits for a line, and a TLS hello has none: this server answers at once.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let mut rest = Vec::new();
        let _end = stream.read_to_end(&mut rest).await;
    });
    let client = client_in(settings(std::slice::from_ref(&host)), World::default().real());
    let fault = client.manifest(&name(&host), Reference::Tag, false).await.unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryUnreachable, Retry::Never)
    );
    assert!(
        fault.error.message.contains(&format!("`http://{host}`")),
        "{}",
        fault.error.message
    );
    server.await.unwrap();
}

#[tokio::test]
async fn a_realm_on_plain_http_gets_nothing_from_an_https_registry() {
    let source = Double::start(|_| Answer::ok(r#"{"token":"t"}"#)).await;
    let authority = Authority::new();
    let challenge = format!(r#"Bearer realm="{}/token""#, plain(&source));
    let tls = authority.server("registry.test", &[]);
    let double = Double::start_tls(tls, move |_| {
        Answer::new(401).header("www-authenticate", challenge.clone())
    })
    .await;
    let host = format!("registry.test:{}", double.address.port());
    let mut settings = settings(&[host.clone(), plain(&source)]);
    settings.ca_file = Some(authority.path());
    let net = World::default().name("registry.test", &[&["127.0.0.1"]]).real();
    let fault = client_in(settings, net)
        .manifest(&name(&host), Reference::Tag, false)
        .await
        .unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryNotAllowed, Retry::Never)
    );
    assert_eq!(source.lines(), [""; 0]);
}

#[test]
fn settings_that_cannot_be_used_name_their_flag() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Some(path)
    };
    let missing = Some(folder.path().join("missing"));
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (settings, flag) in [
        (
            Settings {
                ca_file: missing.clone(),
                ..Settings::default()
            },
            "--registry-ca-file",
        ),
        (
            Settings {
                ca_file: file("text", "no PEM"),
                ..Settings::default()
            },
            "--registry-ca-file",
        ),
        (
            Settings {
                ca_file: file("pem", pem),
                ..Settings::default()
            },
            "--registry-ca-file",
        ),
        (
            Settings {
                auth_file: missing,
                ..Settings::default()
            },
            "--registry-auth-file",
        ),
        (
            Settings {
                auth_file: file("auth", "{"),
                ..Settings::default()
            },
            "--registry-auth-file",
        ),
        (
            Settings {
                proxy: Some("socks5://user:s3cret@x".to_owned()),
                ..Settings::default()
            },
            "--proxy",
        ),
        (
            Settings {
                proxy: Some("s3cret".to_owned()),
                ..Settings::default()
            },
            "--proxy",
        ),
    ] {
        let error: SettingsError = Registry::new(settings).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(flag) && !text.contains("s3cret"), "{text}");
    }
}
