use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::SystemTime,
};

use super::*;
use crate::backend::embedded::registry::fault::retry_after;

/// The first answers, then the manifest.
fn then_good(first: Vec<Answer>) -> impl Fn(&Seen) -> Answer + Send + Sync {
    let count = AtomicUsize::new(0);
    move |_| {
        let answer = first.get(count.fetch_add(1, Ordering::Relaxed)).cloned();
        answer.unwrap_or_else(|| Answer::ok(manifest()))
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let bad = vec![
        Answer::new(500),
        Answer::new(429).header("retry-after", "0"),
        Answer::raw("").then_close(),
    ];
    let double = Double::start(then_good(bad)).await;
    fetch(&client(&double), &double).await.unwrap();
    assert_eq!(double.seen().len(), 4);
}

#[tokio::test]
async fn tries_have_an_end() {
    let double = Double::start(|_| Answer::new(502)).await;
    let fault = fetch(&client(&double), &double).await.unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryUnreachable, Retry::Soon)
    );
    assert_eq!(double.seen().len(), 4);
}

#[tokio::test]
async fn a_far_off_moment_is_left_to_the_caller() {
    for status in [429, 503] {
        let double = Double::start(move |_| Answer::new(status).header("retry-after", "120")).await;
        let fault = fetch(&client(&double), &double).await.unwrap_err();
        let wait = Duration::from_mins(2);
        assert_eq!(
            (fault.error.kind, fault.retry),
            (Kind::RegistryBusy(Some(wait)), Retry::After(wait))
        );
        assert_eq!(double.seen().len(), 1);
    }
}

#[tokio::test]
async fn statuses_mean_what_they_say() {
    for (status, kind) in [
        (401, Kind::RegistryCredentials),
        (403, Kind::RegistryCredentials),
        (404, Kind::NotFound),
        (410, Kind::NotFound),
        (400, Kind::Protocol),
        (206, Kind::Protocol),
        (300, Kind::Protocol),
    ] {
        let double = Double::start(move |_| Answer::new(status)).await;
        let (told, message) = refused(&client(&double), &double).await;
        assert_eq!(told, kind, "{status}: {message}");
        assert!(message.contains(&double.host()), "{message}");
        assert_eq!(double.seen().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn the_registrys_own_words_are_short_and_harmless() {
    let said = "denied: see https://x.example/y?signature=SECRET with Bearer SECRET \u{1b}[31m";
    let message = |more: &str| serde_json::json!({ "errors": [{ "message": format!("{said} {more}") }] }).to_string();
    for body in [
        message(""),
        message(&"long ".repeat(1000)),
        message(&"long ".repeat(9000)),
    ] {
        let double = Double::start(move |_| Answer::new(403).body(body.clone())).await;
        let (_, message) = refused(&client(&double), &double).await;
        assert!(!message.contains("SECRET") && !message.contains('\u{1b}'), "{message}");
        assert!(message.len() < 600, "{message}");
    }
    let double = Double::start(|_| Answer::new(404).body(r#"{"errors":[{"message":"manifest unknown"}]}"#)).await;
    let (_, message) = refused(&client(&double), &double).await;
    assert!(message.ends_with("(it says: manifest unknown)"), "{message}");
}

#[tokio::test]
async fn an_error_is_told_though_its_text_does_not_come() {
    let endless = |_: &Seen| Answer::new(404).header("content-length", "9999999").then_hang();
    let double = Double::start(endless).await;
    let mut settings = settings(&[plain(&double)]);
    settings.timeouts.progress = Duration::from_millis(30);
    let client = client_in(settings, World::default().real());
    assert_eq!(refused(&client, &double).await.0, Kind::NotFound);
}

#[tokio::test]
async fn silence_has_an_end() {
    let double = Double::start(|_| Answer::raw("").then_hang()).await;
    let mut settings = settings(&[plain(&double)]);
    settings.timeouts.first_byte = Duration::from_millis(30);
    let fault = fetch(&client_in(settings, World::default().real()), &double)
        .await
        .unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryUnreachable, Retry::Soon)
    );
}

#[tokio::test]
async fn a_flood_of_headers_has_an_end() {
    for flood in ["x-many: header\r\n".to_owned(), format!("x-{}", "long".repeat(1000))] {
        let answer = Answer::raw("HTTP/1.1 200 OK\r\n").then_flood(flood);
        let double = Double::start(move |_| answer.clone()).await;
        let (kind, message) = refused(&client(&double), &double).await;
        assert_eq!(kind, Kind::Protocol, "{message}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_said_to_be_that() {
    let double = Double::start(|_| Answer::raw("220 mail.example ESMTP\r\n\r\n").then_close()).await;
    assert_eq!(refused(&client(&double), &double).await.0, Kind::Protocol);
}

#[tokio::test]
async fn nobody_there_may_pass() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = closed.local_addr().unwrap().to_string();
    drop(closed);
    let client = client_in(settings(&[format!("http://{host}")]), World::default().real());
    let fault = client.manifest(&name(&host), Reference::Tag, true).await.unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryUnreachable, Retry::Soon)
    );
    assert!(fault.error.message.contains(&host), "{}", fault.error.message);
}

#[test]
fn retry_after_is_seconds_or_a_date_and_has_a_cap() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let read = |text: &str| {
        let headers = http::HeaderMap::from_iter([(http::header::RETRY_AFTER, text.parse().unwrap())]);
        retry_after(&headers, now).map(|wait| wait.as_secs())
    };
    assert_eq!(read("7"), Some(7));
    assert_eq!(read("99999999999999999999"), Some(3600));
    assert_eq!(read(&httpdate::fmt_http_date(now + Duration::from_secs(90))), Some(90));
    assert_eq!(read(&httpdate::fmt_http_date(now - Duration::from_secs(90))), Some(0));
    assert_eq!(read("Fri, 31 Dec 9999 23:59:59 GMT"), Some(3600));
    for bad in ["", "-1", "soon", "1.5"] {
        assert_eq!(read(bad), None, "{bad}");
    }
}
