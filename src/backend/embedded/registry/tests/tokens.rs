use super::*;

const TOKEN: &str = r#"{"token":"t0ken","expires_in":300}"#;

/// A registry that wants `Bearer t0ken` and names this realm; it gives this answer for a token.
async fn guarded(realm: Option<String>, token: Answer) -> Double {
    Double::start(move |seen| {
        if seen.path.starts_with("/token") {
            return token.clone();
        }
        if seen.header("authorization") == Some("Bearer t0ken") {
            return Answer::ok(manifest());
        }
        let home = format!("http://{}/token?of=us", seen.header("host").unwrap());
        let realm = realm.clone().unwrap_or(home);
        let scope = "repository:library/tiny:pull";
        let challenge = format!(r#"Bearer realm="{realm}",service="the registry",scope="{scope}""#);
        Answer::new(401).header("www-authenticate", challenge)
    })
    .await
}

fn with_file(double: &Double, file: &tempfile::NamedTempFile) -> Registry {
    let mut settings = settings(&[plain(double)]);
    settings.auth_file = Some(file.path().to_owned());
    client_in(settings, World::default().real())
}

fn asked(double: &Double) -> Vec<Seen> {
    let mut seen = double.seen();
    seen.retain(|seen| seen.path.starts_with("/token"));
    seen
}

#[tokio::test]
async fn a_token_is_fetched_once_and_kept() {
    let double = guarded(None, Answer::ok(TOKEN)).await;
    let client = client(&double);
    fetch(&client, &double).await.unwrap();
    fetch(&client.clone(), &double).await.unwrap();
    let manifest = "GET /v2/library/tiny/manifests/latest";
    let token = "GET /token?of=us&service=the+registry&scope=repository%3Alibrary%2Ftiny%3Apull";
    assert_eq!(double.lines(), [manifest, token, manifest, manifest]);
    assert_eq!(asked(&double)[0].header("authorization"), None);
    assert!(!format!("{client:?}").contains("t0ken"), "{client:?}");
}

#[tokio::test]
async fn a_token_that_ends_is_fetched_again() {
    for short in [
        r#"{"access_token":"t0ken","expires_in":5}"#,
        r#"{"token":"t0ken","expires_in":0}"#,
    ] {
        let double = guarded(None, Answer::ok(short)).await;
        let client = client(&double);
        fetch(&client, &double).await.unwrap();
        fetch(&client, &double).await.unwrap();
        assert_eq!(asked(&double).len(), 2);
    }
}

/// Whose clock is right does not matter: a token lives from when it was asked for, by a clock that nobody sets.
#[tokio::test]
async fn a_registrys_clock_does_not_matter() {
    for issued in ["1970-01-01T00:00:00Z", "2999-12-31T23:59:59Z", "no time"] {
        for expires_in in ["300", "18446744073709551615"] {
            let token = format!(r#"{{"token":"t0ken","expires_in":{expires_in},"issued_at":"{issued}"}}"#);
            let double = guarded(None, Answer::ok(token)).await;
            let client = client(&double);
            fetch(&client, &double).await.unwrap();
            fetch(&client, &double).await.unwrap();
            assert_eq!(asked(&double).len(), 1, "{issued} {expires_in}");
        }
    }
    for expires_in in ["-1", "\"soon\"", "18446744073709551616"] {
        let double = guarded(
            None,
            Answer::ok(format!(r#"{{"token":"t0ken","expires_in":{expires_in}}}"#)),
        )
        .await;
        assert_eq!(
            refused(&client(&double), &double).await.0,
            Kind::Protocol,
            "{expires_in}"
        );
    }
}

#[tokio::test]
async fn many_who_need_a_token_fetch_one() {
    let double = guarded(None, Answer::ok(TOKEN)).await;
    let client = client(&double);
    let all = futures::future::join_all((0..16).map(|_| fetch(&client, &double))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(asked(&double).len(), 1);
}

#[tokio::test]
async fn a_token_of_one_repository_opens_no_other() {
    let double = guarded(None, Answer::ok(TOKEN)).await;
    let client = client(&double);
    fetch(&client, &double).await.unwrap();
    let other = format!("{}/library/other:latest", double.host()).parse().unwrap();
    client.manifest(&other, Reference::Tag, true).await.unwrap();
    assert_eq!(asked(&double).len(), 2);
}

#[tokio::test]
async fn each_kind_of_credential_is_used_as_it_is_meant() {
    let double = guarded(None, Answer::ok(TOKEN)).await;
    let file = auth_file(&double.host(), USER);
    fetch(&with_file(&double, &file), &double).await.unwrap();
    assert_eq!(asked(&double)[0].header("authorization"), Some(BASIC));

    let double = guarded(None, Answer::ok(TOKEN)).await;
    let file = auth_file(&double.host(), r#"{"identitytoken":"re&fresh"}"#);
    fetch(&with_file(&double, &file), &double).await.unwrap();
    let [seen] = asked(&double).try_into().unwrap();
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/token?of=us"));
    let form = "grant_type=refresh_token&client_id=model-control&service=the+registry\
                &scope=repository%3Alibrary%2Ftiny%3Apull&refresh_token=re%26fresh";
    assert_eq!(seen.body, form);
    assert_eq!(seen.header("authorization"), None);

    let double = guarded(None, Answer::ok(TOKEN)).await;
    let file = auth_file(&double.host(), r#"{"registrytoken":"t0ken"}"#);
    fetch(&with_file(&double, &file), &double).await.unwrap();
    assert_eq!(asked(&double).len(), 0);
}

#[tokio::test]
async fn a_refresh_token_follows_no_redirect() {
    let elsewhere = Double::start(|_| Answer::ok(TOKEN)).await;
    let double = guarded(None, Answer::redirect(plain(&elsewhere))).await;
    let file = auth_file(&double.host(), r#"{"identitytoken":"refresh"}"#);
    let mut settings = settings(&[plain(&double), plain(&elsewhere)]);
    settings.auth_file = Some(file.path().to_owned());
    let client = client_in(settings, World::default().real());
    assert_eq!(refused(&client, &double).await.0, Kind::Protocol);
    assert_eq!(elsewhere.lines(), [""; 0]);
}

#[tokio::test]
async fn a_realm_is_a_web_address() {
    for realm in [
        "",
        "/token",
        "ftp://127.0.0.1/",
        "http://user:pw@127.0.0.1/",
        "https://169.254.169.254/",
        "https://2130706433/",
        "https://inside.test/",
        "http://outside.test/",
    ] {
        let double = guarded(Some(realm.to_owned()), Answer::ok(TOKEN)).await;
        let net = World::default()
            .name("inside.test", &[&["10.0.0.1", "127.0.0.1"]])
            .name("outside.test", &[&["1.1.1.1"]])
            .real();
        let client = client_in(settings(&[plain(&double)]), net);
        let (kind, message) = refused(&client, &double).await;
        assert!(
            matches!(kind, Kind::Protocol | Kind::RegistryNotAllowed),
            "{realm}: {message}"
        );
        assert_eq!(double.seen().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_without_a_good_token_is_refused() {
    for (answer, wanted) in [
        (Answer::ok("<html>"), Kind::Protocol),
        (Answer::ok("{}"), Kind::Protocol),
        (Answer::ok(r#"{"token":"","access_token":null}"#), Kind::Protocol),
        (Answer::ok(r#"{"token":"two\nlines"}"#), Kind::Protocol),
        (Answer::ok(" ".repeat(65 << 10)), Kind::Protocol),
        (Answer::new(401), Kind::RegistryCredentials),
        (Answer::new(403), Kind::RegistryCredentials),
    ] {
        let double = guarded(None, answer).await;
        assert_eq!(refused(&client(&double), &double).await.0, wanted);
        assert_eq!(double.seen().len(), 2);
    }
}

#[tokio::test]
async fn a_token_that_does_not_open_is_not_tried_for_ever() {
    let double = guarded(None, Answer::ok(r#"{"token":"wrong","expires_in":300}"#)).await;
    let (kind, message) = refused(&client(&double), &double).await;
    assert_eq!(kind, Kind::RegistryCredentials);
    assert!(!message.contains("wrong`"), "{message}");
    assert_eq!(double.seen().len(), 3);
}

#[tokio::test]
async fn basic_wants_a_user_and_says_where_to_put_it() {
    let double = Double::start(|seen| match seen.header("authorization") {
        Some(BASIC) => Answer::ok(manifest()),
        _ => Answer::new(401).header("www-authenticate", "Basic realm=x"),
    })
    .await;
    let (kind, message) = refused(&client(&double), &double).await;
    assert_eq!(kind, Kind::RegistryCredentials);
    assert!(message.contains("--registry-auth-file"), "{message}");
    // Another port is another place.
    let file = auth_file("127.0.0.1", USER);
    assert_eq!(
        refused(&with_file(&double, &file), &double).await.0,
        Kind::RegistryCredentials
    );

    let file = auth_file(&double.host(), r#"{"username":"user","password":"0ld"}"#);
    let client = with_file(&double, &file);
    assert_eq!(refused(&client, &double).await.0, Kind::RegistryCredentials);
    std::fs::write(file.path(), format!(r#"{{"auths":{{"{}":{USER}}}}}"#, double.host())).unwrap();
    fetch(&client, &double).await.unwrap();
    assert!(!format!("{client:?}").contains("s3cret"), "{client:?}");
}

#[tokio::test]
async fn an_unknown_scheme_wants_what_we_do_not_have() {
    let double = Double::start(|_| Answer::new(401).header("www-authenticate", "Negotiate")).await;
    assert_eq!(refused(&client(&double), &double).await.0, Kind::RegistryCredentials);
}
