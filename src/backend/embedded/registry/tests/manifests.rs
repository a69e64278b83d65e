use super::*;
use crate::backend::embedded::registry::Document;

#[tokio::test]
async fn a_manifest_is_asked_for_as_registries_want_it() {
    let double = Double::start(|_| Answer::ok(manifest())).await;
    let fetched = fetch(&client(&double), &double).await.unwrap();
    assert_eq!(fetched.bytes, manifest());
    assert_eq!(fetched.digest, Digest::of(manifest().as_bytes()));
    assert!(matches!(fetched.document, Document::Ollama(_)));
    let [seen] = double.seen().try_into().unwrap();
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("GET", "/v2/library/tiny/manifests/latest")
    );
    let accept = seen.header("accept").unwrap();
    assert!(
        accept.contains("application/vnd.docker.distribution.manifest.v2+json"),
        "{accept}"
    );
    assert!(
        accept.contains("application/vnd.oci.image.manifest.v1+json"),
        "{accept}"
    );
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("authorization"), None);
    let agent = concat!("model-control/", env!("CARGO_PKG_VERSION"));
    assert_eq!(seen.header("user-agent"), Some(agent));
}

#[tokio::test]
async fn a_digest_is_asked_for_and_must_be_what_comes() {
    let double = Double::start(|_| Answer::ok(manifest())).await;
    let client = client(&double);
    let name = name(&double.host());
    let good = Digest::of(manifest().as_bytes());
    client.manifest(&name, Reference::Digest(&good), true).await.unwrap();
    assert_eq!(double.lines(), [format!("GET /v2/library/tiny/manifests/{good}")]);
    let other = Digest::of(b"other");
    let fault = client
        .manifest(&name, Reference::Digest(&other), true)
        .await
        .unwrap_err();
    assert_eq!((fault.error.kind, fault.retry), (Kind::DigestMismatch, Retry::Never));
}

#[tokio::test]
async fn what_the_registry_says_of_the_digest_must_hold() {
    for (says, good) in [
        (Digest::of(manifest().as_bytes()).to_string(), true),
        (Digest::of(b"other").to_string(), false),
        ("sha512:abc".to_owned(), true),
    ] {
        let double = Double::start(move |_| Answer::ok(manifest()).header("docker-content-digest", &says)).await;
        match fetch(&client(&double), &double).await {
            Ok(_) => assert!(good),
            Err(fault) => assert!(!good && fault.error.kind == Kind::DigestMismatch, "{fault:?}"),
        }
    }
}

#[tokio::test]
async fn a_long_manifest_is_not_read_to_its_end() {
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
    let endless = move |_: &Seen| {
        Answer::new(200)
            .header("transfer-encoding", "chunked")
            .then_flood(chunk.clone())
    };
    let double = Double::start(endless).await;
    let (kind, message) = refused(&client(&double), &double).await;
    assert_eq!(kind, Kind::Protocol);
    assert!(message.contains("more than 4096 KiB"), "{message}");
}

#[tokio::test]
async fn a_manifest_that_stops_arriving_is_given_up() {
    let lying = |_: &Seen| Answer::ok(manifest()).header("content-length", "100000").then_hang();
    let double = Double::start(lying).await;
    let mut settings = settings(&[plain(&double)]);
    settings.timeouts.progress = Duration::from_millis(30);
    let fault = fetch(&client_in(settings, World::default().real()), &double)
        .await
        .unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryUnreachable, Retry::Soon)
    );
    assert_eq!(double.seen().len(), 4);
}

#[tokio::test]
async fn what_is_no_manifest_is_said_to_be_that() {
    for (body, wanted) in [
        ("<html>log in</html>", "it is HTML"),
        ("{}", "it has no layers"),
        ("", "it is no JSON of a manifest"),
        (
            "{\"layers\":[{\"digest\":\"sha256:../../x\",\"size\":1}]}",
            "it is no JSON of a manifest",
        ),
    ] {
        let double = Double::start(move |_| Answer::ok(body)).await;
        let (kind, message) = refused(&client(&double), &double).await;
        assert_eq!(kind, Kind::Protocol);
        assert!(message.contains(wanted), "{message}");
        assert_eq!(double.seen().len(), 1, "no repetition mends it");
    }
}

#[tokio::test]
async fn a_compressed_answer_is_refused() {
    let double = Double::start(|_| Answer::ok(manifest()).header("content-encoding", "gzip")).await;
    assert_eq!(refused(&client(&double), &double).await.0, Kind::Protocol);
}
