//! What changes under a running service. Its own look at the files may be sooner than the one that a test asks for: that
//! something is new is seen by what is in force.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use model_control::grpc::{
    Credentials,
    proto::health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
};

use super::{
    authority::{Authority, expired},
    client::{invalid, list, live, plain, secure, serial, told},
    scene::{Mount, Running, TOKENS, soon},
};

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_streams_go_on() {
    let authority = Authority::new();
    let (first, second) = (authority.server(), authority.server());
    let mount = Mount::of(&first, &[]);
    let service = Running::start(mount.access()).await;
    let channel = secure(service.address, &authority, None).await.unwrap();
    let asked = HealthCheckRequest {
        service: "liveness".to_owned(),
    };
    let mut watch = soon(HealthClient::new(channel.clone()).watch(asked))
        .await
        .unwrap()
        .into_inner();
    let status = |change: Option<model_control::grpc::proto::health::HealthCheckResponse>| change.unwrap().status();
    assert_eq!(status(soon(watch.message()).await.unwrap()), ServingStatus::Serving);
    assert_eq!(serial(service.address, &authority).await, first.serial);
    let expires = service.credentials.not_after().unwrap();

    assert!(!service.credentials.reload().await, "nothing changed");
    mount.exchange(&[("tls.crt", &second.cert), ("tls.key", &second.key)]);
    service.credentials.reload().await;
    assert_eq!(serial(service.address, &authority).await, second.serial);
    assert_eq!(
        service.credentials.not_after().unwrap(),
        expires,
        "both have the same dates"
    );

    // The former connection carries calls, and the stream its next change.
    list(&channel, None).await.unwrap();
    service.stop().await;
    assert_eq!(status(soon(watch.message()).await.unwrap()), ServingStatus::NotServing);
}

#[tokio::test]
async fn what_is_half_written_or_does_not_match_changes_nothing() {
    let authority = Authority::new();
    let (first, second) = (authority.server(), authority.server());
    let mount = Mount::of(&first, &[]);
    let service = Running::start(mount.access()).await;
    let half = &second.cert[..second.cert.len() / 2];
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for wrong in [half, "", "no certificate", garbage, &second.cert] {
        mount.overwrite("tls.crt", wrong);
        assert!(!service.credentials.reload().await, "{wrong}");
        assert_eq!(serial(service.address, &authority).await, first.serial, "{wrong}");
    }
    fs::remove_file(mount.path("tls.key")).unwrap();
    assert!(!service.credentials.reload().await);
    assert_eq!(serial(service.address, &authority).await, first.serial);
    fs::write(mount.path("tls.key"), &second.key).unwrap();
    service.credentials.reload().await;
    assert_eq!(serial(service.address, &authority).await, second.serial);
    service.stop().await;
}

#[tokio::test]
async fn tokens_are_exchanged_for_the_next_call() {
    let mount = Mount::new(&[("tokens.yaml", TOKENS)]);
    let service = Running::start(mount.access()).await;
    let channel = plain(service.address).await;
    let (old, new) = ("token-of-ichat-0001", "token-of-ichat-0002");
    list(&channel, Some(old)).await.unwrap();
    mount.exchange(&[("tokens.yaml", &TOKENS.replace(old, new))]);
    service.credentials.reload().await;
    list(&channel, Some(new)).await.unwrap();
    assert_eq!(told(&list(&channel, Some(old)).await.unwrap_err()), invalid());

    // Neither a broken file nor one for everybody takes the place of a right one.
    mount.overwrite("tokens.yaml", &TOKENS[..TOKENS.len() / 2]);
    assert!(!service.credentials.reload().await);
    mount.overwrite("tokens.yaml", "");
    assert!(!service.credentials.reload().await);
    mount.overwrite("tokens.yaml", TOKENS);
    fs::set_permissions(mount.path("tokens.yaml"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(!service.credentials.reload().await);
    list(&channel, Some(new)).await.unwrap();
    fs::set_permissions(mount.path("tokens.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    service.credentials.reload().await;
    list(&channel, Some(old)).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn an_authority_that_is_taken_away_takes_its_callers_with_it() {
    let (server, former, next) = (Authority::new(), Authority::new(), Authority::new());
    let pair = server.server();
    let mount = Mount::of(&pair, &[("ca.crt", &former.pem)]);
    let service = Running::start(mount.access()).await;
    let channel = secure(service.address, &server, Some(&former.client("ichat")))
        .await
        .unwrap();
    list(&channel, None).await.unwrap();
    let exchange = |authorities: &str| {
        mount.exchange(&[("tls.crt", &pair.cert), ("tls.key", &pair.key), ("ca.crt", authorities)]);
    };
    exchange(&format!("{}{}", former.pem, next.pem));
    service.credentials.reload().await;
    list(&channel, None).await.unwrap();
    exchange(&next.pem);
    service.credentials.reload().await;
    assert_eq!(told(&list(&channel, None).await.unwrap_err()), invalid());
    live(&channel).await.unwrap();
    let channel = secure(service.address, &server, Some(&next.client("ichat")))
        .await
        .unwrap();
    list(&channel, None).await.unwrap();
    service.stop().await;
}

#[tokio::test]
async fn all_that_is_wrong_at_the_start_is_told() {
    let authority = Authority::new();
    let (pair, other) = (authority.server(), authority.server());
    let mount = Mount::of(
        &pair,
        &[
            ("ca.crt", "nothing"),
            ("tokens.yaml", "- {name: a, token: short-secret}"),
        ],
    );
    let told = Credentials::load(&mount.access()).unwrap_err().to_string();
    let [tls, tokens] = told.lines().collect::<Vec<_>>()[..] else {
        panic!("{told}");
    };
    assert!(tls.contains("ca.crt: holds no certificate"), "{told}");
    assert!(
        tokens.contains("tokens.yaml: entry `a`: `token` must have 16"),
        "{told}"
    );
    assert!(!told.contains("short-secret"), "{told}");

    mount.exchange(&[
        ("tls.crt", &pair.cert),
        ("tls.key", &other.key),
        ("ca.crt", &authority.pem),
    ]);
    let told = Credentials::load(&mount.access()).unwrap_err().to_string();
    assert!(told.contains("tls.key: is not the key of the certificate"), "{told}");
    let old = authority.issue(expired);
    mount.exchange(&[
        ("tls.crt", &old.cert),
        ("tls.key", &old.key),
        ("ca.crt", &authority.pem),
    ]);
    let loaded = Arc::new(Credentials::load(&mount.access()).unwrap());
    assert!(loaded.warnings()[0].contains("has expired"), "{:?}", loaded.warnings());
}
