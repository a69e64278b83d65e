use futures::StreamExt as _;

use super::*;
use crate::backend::embedded::registry::remote::{Opened, Remote};

fn blob(client: &Registry, double: &Double) -> Arc<dyn Remote> {
    client.blob(&name(&double.host()), &layer(), true)
}

async fn read(mut opened: Opened) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(chunk) = opened.body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// The bytes that a Range header asks for, as a good registry gives them.
fn part(seen: &Seen) -> Answer {
    let range = seen.header("range").unwrap().strip_prefix("bytes=").unwrap();
    let (start, last) = range.split_once('-').unwrap();
    let (start, last): (usize, usize) = (start.parse().unwrap(), last.parse().unwrap());
    Answer::new(206)
        .header("content-range", format!("bytes {start}-{last}/{}", BLOB.len()))
        .header("etag", "\"one\"")
        .body(&BLOB[start..=last])
}

async fn fault_of(answer: Answer) -> Fault {
    let double = Double::start(move |_| answer.clone()).await;
    blob(&client(&double), &double).open(4..10, None).await.unwrap_err()
}

#[tokio::test]
async fn a_range_is_asked_for_and_given() {
    let double = Double::start(part).await;
    let blob = blob(&client(&double), &double);
    let opened = blob.open(4..10, Some("\"one\"")).await.unwrap();
    let total = u64::try_from(BLOB.len()).unwrap();
    assert_eq!(
        (opened.start, opened.total, opened.validator.as_deref()),
        (4, Some(total), Some("\"one\""))
    );
    assert_eq!(read(opened).await.unwrap(), &BLOB[4..10]);
    let [seen] = double.seen().try_into().unwrap();
    assert_eq!(seen.path, format!("/v2/library/tiny/blobs/{}", layer().digest));
    assert_eq!(
        (seen.header("range"), seen.header("if-range")),
        (Some("bytes=4-9"), Some("\"one\""))
    );
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn open_ranges_have_connections_of_their_own() {
    // What has not come to its end cannot be shared or reused.
    let double = Double::start(|seen| part(seen).body("12").header("content-length", "5").then_hang()).await;
    let blob = blob(&client(&double), &double);
    let _opened = [
        blob.open(0..5, None).await.unwrap(),
        blob.open(5..10, None).await.unwrap(),
    ];
    let connections: Vec<_> = double.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn an_idle_connection_is_used_again() {
    let double = Double::start(part).await;
    let blob = blob(&client(&double), &double);
    for range in [0..5, 5..10] {
        read(blob.open(range, None).await.unwrap()).await.unwrap();
    }
    assert_eq!(double.seen()[1].connection, 0);
}

#[tokio::test]
async fn the_whole_may_come_for_a_range() {
    for answer in [Answer::ok(BLOB), Answer::ok(BLOB).header("etag", "W/\"weak\"")] {
        let double = Double::start(move |_| answer.clone()).await;
        let opened = blob(&client(&double), &double).open(4..10, None).await.unwrap();
        assert_eq!((opened.start, opened.validator.as_deref()), (0, None));
        assert_eq!(read(opened).await.unwrap(), BLOB);
    }
}

#[tokio::test]
async fn an_empty_blob_is_asked_for_without_a_range() {
    let double = Double::start(|_| Answer::ok("")).await;
    let empty = Layer {
        size: 0,
        digest: Digest::of(b""),
        ..layer()
    };
    let blob = client(&double).blob(&name(&double.host()), &empty, true);
    assert_eq!(read(blob.open(0..0, None).await.unwrap()).await.unwrap(), b"");
    assert_eq!(double.seen()[0].header("range"), None);
}

/// Debian's registry announces the whole blob's length and sends 33 bytes.
#[tokio::test]
async fn the_body_of_a_416_is_not_waited_for() {
    let lying = Answer::new(416)
        .header("content-length", "1000000")
        .body("{\"errors\":[]}")
        .then_hang();
    let fault = fault_of(lying.clone()).await;
    assert_eq!(fault.retry, Retry::Soon, "{fault:?}");
    let fault = fault_of(lying.header("content-range", "bytes */7")).await;
    assert_eq!((fault.error.kind, fault.retry), (Kind::Protocol, Retry::Never));
    assert!(fault.error.message.contains("of 7 bytes"), "{}", fault.error.message);
}

#[tokio::test]
async fn another_size_than_the_manifests_is_final() {
    for answer in [
        Answer::ok("short"),
        Answer::new(206).header("content-range", "bytes 4-9/27").body("123456"),
    ] {
        let fault = fault_of(answer).await;
        assert_eq!((fault.error.kind, fault.retry), (Kind::Protocol, Retry::Never));
    }
}

#[tokio::test]
async fn another_range_than_the_asked_one_is_final() {
    let total = BLOB.len();
    for range in [
        format!("bytes 3-9/{total}"),
        format!("bytes 4-10/{total}"),
        format!("bytes 5-9/{total}"),
        "bytes 4-9".to_owned(),
        String::new(),
    ] {
        let fault = fault_of(Answer::new(206).header("content-range", range.clone()).body("x")).await;
        assert_eq!(
            (fault.error.kind, fault.retry),
            (Kind::Protocol, Retry::Never),
            "{range}"
        );
    }
    assert_eq!(fault_of(Answer::new(206).body("x")).await.retry, Retry::Never);
    let shorter = Answer::new(206)
        .header("content-range", format!("bytes 4-5/{total}"))
        .body("ab");
    let double = Double::start(move |_| shorter.clone()).await;
    let opened = blob(&client(&double), &double).open(4..10, None).await.unwrap();
    assert_eq!(
        read(opened).await.unwrap(),
        b"ab",
        "a shorter answer is the registry's right"
    );
}

#[tokio::test]
async fn faults_of_blobs_are_told_apart_and_tried_once() {
    for (answer, kind, retry) in [
        (Answer::new(404).body("gone"), Kind::NotFound, Retry::Never),
        (Answer::new(403), Kind::RegistryCredentials, Retry::Never),
        (Answer::new(500), Kind::RegistryUnreachable, Retry::Soon),
        (
            Answer::new(429).header("retry-after", "3"),
            Kind::RegistryBusy(Some(Duration::from_secs(3))),
            Retry::After(Duration::from_secs(3)),
        ),
        (
            Answer::ok(BLOB).header("content-encoding", "br"),
            Kind::Protocol,
            Retry::Never,
        ),
        (Answer::raw("").then_close(), Kind::RegistryUnreachable, Retry::Soon),
    ] {
        let double = Double::start(move |_| answer.clone()).await;
        let fault = blob(&client(&double), &double).open(0..5, None).await.unwrap_err();
        assert_eq!((fault.error.kind, fault.retry), (kind, retry));
        assert_eq!(double.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_may_pass() {
    let double = Double::start(|seen| part(seen).body("12").header("content-length", "6").then_close()).await;
    let opened = blob(&client(&double), &double).open(4..10, None).await.unwrap();
    let fault = read(opened).await.unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryUnreachable, Retry::Soon)
    );
}

#[tokio::test]
async fn a_body_that_never_begins_is_given_up() {
    let double = Double::start(|seen| part(seen).body("").header("content-length", "6").then_hang()).await;
    let mut settings = settings(&[plain(&double)]);
    settings.timeouts.first_byte = Duration::from_millis(30);
    let client = client_in(settings, World::default().real());
    let fault = blob(&client, &double).open(4..10, None).await.unwrap_err();
    assert_eq!(
        (fault.error.kind, fault.retry),
        (Kind::RegistryUnreachable, Retry::Soon)
    );
}

#[tokio::test]
async fn a_hub_sends_elsewhere_with_the_range_and_without_credentials() {
    let store = Double::start(|seen| match seen.path.as_str() {
        "/data?signature=old" => Answer::new(403).body("expired"),
        _ => part(seen),
    })
    .await;
    for (signature, good) in [("new", true), ("old", false)] {
        let url = format!("{}/data?signature={signature}", plain(&store));
        let hub = Double::start(move |seen| match seen.header("authorization") {
            Some(BASIC) => Answer::redirect(url.clone()),
            _ => Answer::new(401).header("www-authenticate", "Basic realm=x"),
        })
        .await;
        let file = auth_file(&hub.host(), USER);
        let mut settings = settings(&[plain(&hub), plain(&store)]);
        settings.auth_file = Some(file.path().to_owned());
        let client = client_in(settings, World::default().real());
        match blob(&client, &hub).open(4..10, None).await {
            Ok(opened) => assert!(good && read(opened).await.unwrap() == BLOB[4..10]),
            Err(fault) => {
                assert!(!good && fault.retry == Retry::Soon, "the hub signs anew: {fault:?}");
                assert!(!fault.error.message.contains("signature"), "{}", fault.error.message);
            }
        }
    }
    for seen in store.seen() {
        assert_eq!(
            (seen.header("range"), seen.header("authorization")),
            (Some("bytes=4-9"), None)
        );
    }
}

#[tokio::test]
async fn dropping_an_open_body_ends_its_connection() {
    let double = Double::start(|_| Answer::ok("x").header("content-length", "26").then_flood("more")).await;
    let opened = blob(&client(&double), &double).open(0..26, None).await.unwrap();
    drop(opened);
    let later = blob(&client(&double), &double).open(0..26, None).await.unwrap();
    assert_eq!(double.seen()[1].connection, 1);
    drop(later);
}
