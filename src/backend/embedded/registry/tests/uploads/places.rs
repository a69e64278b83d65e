//! Where uploads may be, and who is given credentials.

use super::*;
use crate::backend::embedded::registry::upload::Sent;

const TOKEN: &str = r#"{"token":"t0ken","expires_in":300}"#;

/// Wants `Bearer t0ken` for everything, with a challenge for as much as the request needs.
fn wants_token(seen: &Seen) -> Option<Answer> {
    if seen.path.starts_with("/token") {
        return Some(Answer::ok(TOKEN));
    }
    if seen.header("authorization") == Some("Bearer t0ken") {
        return None;
    }
    let realm = format!("http://{}/token", seen.header("host").unwrap());
    let actions = if seen.method == "HEAD" { "pull" } else { "pull,push" };
    let scope = format!("repository:library/tiny:{actions}");
    let challenge = format!(r#"Bearer realm="{realm}",service="r",scope="{scope}""#);
    Some(Answer::new(401).header("www-authenticate", challenge))
}

#[tokio::test]
async fn one_token_to_push_serves_the_whole_upload() {
    let double = taking(|seen, _| wants_token(seen)).await;
    let file = auth_file(&double.host(), USER);
    let mut settings = settings(&[plain(&double)]);
    settings.auth_file = Some(file.path().to_owned());
    let client = client_in(settings, World::default().real());
    let local = Local::new(BLOB);
    assert_eq!(local.upload(&client, &double).run().await.unwrap(), Sent::Whole);
    let tokens: Vec<_> = double
        .seen()
        .into_iter()
        .filter(|seen| seen.path.starts_with("/token"))
        .collect();
    let [token] = &tokens[..] else { panic!("{tokens:?}") };
    assert_eq!(
        token.path,
        "/token?service=r&scope=repository%3Alibrary%2Ftiny%3Apull%2Cpush"
    );
    assert_eq!(token.header("authorization"), Some(BASIC));
}

#[tokio::test]
async fn who_may_not_push_is_told_so() {
    for status in [401, 403] {
        let double = taking(move |seen, _| {
            let refused = seen.method == "POST";
            refused.then(|| {
                Answer::new(status)
                    .header("www-authenticate", "Basic realm=x")
                    .body(r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#)
            })
        })
        .await;
        let file = auth_file(&double.host(), USER);
        let mut settings = settings(&[plain(&double)]);
        settings.auth_file = Some(file.path().to_owned());
        let client = client_in(settings, World::default().real());
        let local = Local::new(BLOB);
        let (kind, message) = failed(&local.upload(&client, &double)).await;
        assert_eq!(kind, Kind::RegistryCredentials);
        assert!(
            message.contains("not yours") && message.contains("may not push"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_repository_that_is_not_there_is_told() {
    let double = taking(|seen, _| (seen.method == "POST").then(|| Answer::new(404))).await;
    let local = Local::new(BLOB);
    let (kind, message) = failed(&local.upload(&client(&double), &double)).await;
    assert_eq!(kind, Kind::NotFound);
    assert!(message.contains("repository"), "{message}");
}

#[tokio::test]
async fn nothing_is_sent_to_a_host_that_is_not_listed() {
    let other = Double::start(|_| Answer::new(202)).await;
    for to in [
        format!("http://{}/up", other.host()),
        format!("//{}/up", other.host()),
        "https://elsewhere.example/up".to_owned(),
        "ftp://elsewhere.example/up".to_owned(),
    ] {
        let place = to.clone();
        let double = taking(move |seen, _| {
            let begins = seen.method == "POST";
            begins.then(|| Answer::new(202).header("location", place.clone()))
        })
        .await;
        let local = Local::new(BLOB);
        let (kind, message) = failed(&local.upload(&client(&double), &double)).await;
        let wanted = if to.starts_with("ftp") {
            Kind::Protocol
        } else {
            Kind::RegistryNotAllowed
        };
        assert_eq!(kind, wanted, "{message}");
    }
    assert_eq!(other.lines(), Vec::<String>::new());
}

/// Nor after some chunks went where they should.
#[tokio::test]
async fn an_upload_that_moves_to_a_host_that_is_not_listed_ends() {
    let other = Double::start(|_| Answer::new(202)).await;
    let place = format!("http://{}/up", other.host());
    let double = taking(move |seen, _| {
        let chunk = seen.method == "PATCH";
        chunk.then(|| Answer::new(202).header("location", place.clone()))
    })
    .await;
    let local = Local::new(BLOB);
    let (kind, _) = failed(&local.upload(&client(&double), &double)).await;
    assert_eq!((kind, other.lines().len()), (Kind::RegistryNotAllowed, 0));
}

#[tokio::test]
async fn a_listed_host_gets_the_bytes_and_no_credentials() {
    let other = taking(|seen, held| {
        held.sessions = 1;
        (seen.method == "PUT").then(|| Answer::new(201))
    })
    .await;
    let place = format!("http://user:s3cret@{}/up/1?state=0", other.host());
    let double = taking(move |seen, _| {
        wants_token(seen).or_else(|| {
            let begins = seen.method == "POST";
            begins.then(|| Answer::new(202).header("location", place.clone()))
        })
    })
    .await;
    let client = client_in(settings(&[plain(&double), plain(&other)]), World::default().real());
    let local = Local::new(BLOB);
    assert_eq!(local.upload(&client, &double).run().await.unwrap(), Sent::Whole);
    assert_eq!(chunks(&other).concat().as_bytes(), BLOB);
    for seen in other.seen() {
        assert_eq!(seen.header("authorization"), None, "{seen:?}");
    }
}

#[tokio::test]
async fn what_is_sent_follows_no_redirect() {
    let other = Double::start(|_| Answer::new(202)).await;
    for method in ["POST", "PATCH", "PUT"] {
        let to = plain(&other);
        let double = taking(move |seen, _| (seen.method == method).then(|| Answer::redirect(to.clone()))).await;
        let client = client_in(settings(&[plain(&double), plain(&other)]), World::default().real());
        let local = Local::new(BLOB);
        let (kind, message) = failed(&local.upload(&client, &double)).await;
        assert_eq!(kind, Kind::Protocol, "{message}");
    }
    assert_eq!(other.lines(), Vec::<String>::new());
}
