//! Statuses and bodies that no registry should give.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use super::{
    calls,
    double::{Answer, Seen},
    hub::{asked, gguf, part},
    support::*,
    world::{Ways, World},
};
use model_control::model::Digest;

fn model() -> Vec<u8> {
    gguf(1, 200)
}

/// To a request for the manifest.
fn manifest(answer: Answer) -> impl FnMut(&Seen) -> Option<Answer> + Send + 'static {
    move |seen| seen.path.contains("/manifests/").then(|| answer.clone())
}

/// To a request for the model's blob.
fn blob(answer: impl Fn(&Seen) -> Answer + Send + 'static) -> impl FnMut(&Seen) -> Option<Answer> + Send + 'static {
    let path = format!("/blobs/{}", Digest::of(&model()));
    move |seen| seen.path.ends_with(&path).then(|| answer(seen))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_is_not_given_is_told_by_its_reason() {
    for (answer, code, wanted) in [
        (Answer::new(404), Code::NotFound, "MODEL_NOT_FOUND"),
        (Answer::new(401), Code::FailedPrecondition, "REGISTRY_CREDENTIALS"),
        (
            Answer::new(401).header("www-authenticate", "Bearer realm=\"nonsense\""),
            Code::Internal,
            "BACKEND_PROTOCOL",
        ),
        (Answer::new(403), Code::FailedPrecondition, "REGISTRY_CREDENTIALS"),
        (Answer::new(500), Code::Unavailable, "REGISTRY_UNREACHABLE"),
        (
            Answer::new(429).header("retry-after", "120"),
            Code::Unavailable,
            "REGISTRY_BUSY",
        ),
        (
            Answer::ok("<!DOCTYPE html><p>log in").header("content-type", "text/html"),
            Code::Internal,
            "BACKEND_PROTOCOL",
        ),
        (
            Answer::raw("nonsense\r\n\r\n").then_close(),
            Code::Internal,
            "BACKEND_PROTOCOL",
        ),
        (Answer::raw("").then_close(), Code::Unavailable, "REGISTRY_UNREACHABLE"),
        (
            Answer::ok("{").header("content-length", "99").then_close(),
            Code::Unavailable,
            "REGISTRY_UNREACHABLE",
        ),
    ] {
        let status = World::fault(manifest(answer), code, wanted).await;
        if wanted == "REGISTRY_BUSY" {
            assert_eq!(calls::retry_delay(&status), Some(Duration::from_mins(2)));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_is_not_given_is_told_by_its_reason() {
    for (answer, code, wanted) in [
        (Answer::new(404), Code::NotFound, "MODEL_NOT_FOUND"),
        (Answer::new(401), Code::FailedPrecondition, "REGISTRY_CREDENTIALS"),
        (Answer::new(403), Code::FailedPrecondition, "REGISTRY_CREDENTIALS"),
        (Answer::new(500), Code::Unavailable, "REGISTRY_UNREACHABLE"),
        (
            Answer::new(429).header("retry-after", "400"),
            Code::Unavailable,
            "REGISTRY_BUSY",
        ),
        // The length of the body is not the blob's.
        (Answer::ok("<p>log in"), Code::Internal, "BACKEND_PROTOCOL"),
        // It lies of the blob's length, or of its own.
        (
            Answer::new(416).header("content-range", "bytes */7"),
            Code::Internal,
            "BACKEND_PROTOCOL",
        ),
        (
            Answer::new(416)
                .header("content-range", format!("bytes */{}", model().len()))
                .header("content-length", model().len().to_string())
                .then_hang(),
            Code::Internal,
            "BACKEND_PROTOCOL",
        ),
        (
            Answer::new(206).header("content-range", "bytes 9-1/*"),
            Code::Internal,
            "BACKEND_PROTOCOL",
        ),
        // Without a length it is only short.
        (
            Answer::raw("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<p>log in").then_close(),
            Code::Unavailable,
            "REGISTRY_UNREACHABLE",
        ),
    ] {
        World::fault(blob(move |_| answer.clone()), code, wanted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_before_its_end_fails_in_the_end() {
    let short = blob(|seen| {
        let (start, end) = asked(seen).unwrap();
        let answer = part(seen, &model()).body(*b"");
        answer.header("content-length", (end - start).to_string()).then_close()
    });
    World::fault(short, Code::Unavailable, "REGISTRY_UNREACHABLE").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_with_another_digest_is_lost_data() {
    let wrong = blob(|seen| {
        let mut bytes = model();
        bytes[100_000] ^= 1;
        part(seen, &bytes)
    });
    World::fault(wrong, Code::DataLoss, "DIGEST_MISMATCH").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_blob_is_fetched_once_more_before_its_data_is_lost() {
    let world = World::stocked().await;
    let request = v1::PullRequest {
        on_disconnect: v1::OnDisconnect::Cancel.into(),
        ..world.request("m")
    };
    let digest = Digest::of(&model());
    let (stream, _gate, came) = world.half_way(&model(), request).await;
    drop(stream);
    super::leaving::ended(&world).await;
    let before = world.hub.asked_bytes(&digest);
    world.hub.script(blob(|seen| {
        let mut bytes = model();
        bytes.fill(7);
        part(seen, &bytes)
    }));
    world.fails("m", Code::DataLoss, "DIGEST_MISMATCH").await;
    let size = model().len();
    assert_eq!(world.hub.asked_bytes(&digest) - before, (size - came) + size);
    world.mends("m").await;
    world.service.stop().await;
}

/// What passes, or does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_are_outlived() {
    type Answers = fn(&Seen, usize) -> Option<Answer>;
    let first: [(&str, Answers); 8] = [
        ("/manifests/", |_, number| (number < 2).then(|| Answer::new(503))),
        ("/manifests/", |_, number| {
            (number < 3).then(|| Answer::raw("").then_close())
        }),
        ("/blobs/", |_, number| (number == 0).then(|| Answer::new(500))),
        // Cut off in the middle.
        ("/blobs/", |seen, number| {
            let (start, end) = asked(seen).filter(|_| number % 2 == 0)?;
            let answer = part(seen, &model()).header("content-length", (end - start).to_string());
            let middle = model().get(start..usize::midpoint(start, end))?.to_vec();
            Some(answer.body(middle).then_close())
        }),
        // Ranges are passed over.
        ("/blobs/", |_, _| Some(Answer::ok(model()))),
        // More comes than there should be.
        ("/blobs/", |_, _| {
            Some(Answer::raw([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &model()].concat()).then_flood([7; 999]))
        }),
        ("/blobs/", |seen, _| Some(part(seen, &model()).then_flood([7; 999]))),
        // It changes its mind on what the blob is called.
        ("/blobs/", |seen, number| {
            let answer = part(seen, &model());
            Some(answer.header("x-number", number.to_string()))
        }),
    ];
    let path = format!("/blobs/{}", Digest::of(&model()));
    for (index, (what, answers)) in first.into_iter().enumerate() {
        let world = World::stocked().await;
        let (path, mut number) = (path.clone(), 0);
        world.hub.script(move |seen| {
            let of_it = match what {
                "/blobs/" => seen.path.ends_with(&path),
                _ => seen.path.contains(what),
            };
            let answer = of_it.then(|| answers(seen, number)).flatten();
            number += usize::from(of_it);
            answer
        });
        let result = world.pull(world.request("m")).await;
        assert!(
            result.as_ref().is_ok_and(|result| result.changed),
            "{index}: {result:?}"
        );
        world.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_wants_to_be_asked_later_is_asked_later() {
    // The manifest is asked for once, and of each of the two blobs one range.
    for (what, most) in [("/manifests/", 1), ("/blobs/", 2)] {
        let world = World::new().await;
        world.hub.put("m", &model());
        let refused = Arc::new(AtomicUsize::new(0));
        let (mut told, counted) = (None, Arc::clone(&refused));
        world.hub.script(move |seen| {
            if !seen.path.contains(what) {
                return None;
            }
            let first = *told.get_or_insert_with(Instant::now);
            if first.elapsed() >= Duration::from_secs(1) {
                return None;
            }
            counted.fetch_add(1, Ordering::Relaxed);
            Some(Answer::new(429).header("retry-after", "1"))
        });
        let start = Instant::now();
        assert!(world.pull(world.request("m")).await.unwrap().changed);
        assert!(start.elapsed() >= Duration::from_secs(1), "{:?}", start.elapsed());
        assert_eq!(refused.load(Ordering::Relaxed), most);
        world.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_where_the_registry_says() {
    let world = World::stocked().await;
    let realm = format!("http://{}/token", world.host);
    world.hub.script(move |seen| {
        if seen.path.starts_with("/token?") {
            return Some(Answer::ok(r#"{"token": "good"}"#));
        }
        let challenge = format!("Bearer realm=\"{realm}\",service=\"hub\"");
        let known = seen.header("authorization") == Some("Bearer good");
        (!known).then(|| Answer::new(401).header("www-authenticate", challenge))
    });
    assert!(world.pull(world.request("m")).await.unwrap().changed);
    assert_eq!(world.hub.requests("/token?"), 1);
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_stops_sending_is_given_up() {
    type Way = fn(&Seen) -> Answer;
    let hasty = |first_byte| Ways {
        first_byte,
        tune: |pulling| pulling.limits.stall = Duration::from_millis(200),
        ..Ways::default()
    };
    // Nothing comes but heads.
    let silent = |seen: &Seen| {
        let (start, end) = asked(seen).unwrap();
        let answer = part(seen, &model()).body(*b"");
        answer.header("content-length", (end - start).to_string()).then_hang()
    };
    // Ranges are passed over, and the whole stops at the same byte again and again.
    let stuck = |_: &Seen| {
        let answer = Answer::ok(&model()[..70_000]);
        answer.header("content-length", model().len().to_string()).then_hang()
    };
    let faults = [
        (
            silent as Way,
            Duration::from_millis(200),
            Code::Unavailable,
            "REGISTRY_UNREACHABLE",
        ),
        (stuck, LONG, Code::Unavailable, "REGISTRY_UNREACHABLE"),
    ];
    for (answer, first_byte, code, wanted) in faults {
        let world = World::with(hasty(first_byte)).await.with_stock().await;
        world.hub.script(blob(answer));
        world.fails("m", code, wanted).await;
        world.mends("m").await;
        world.service.stop().await;
    }
}
