//! What is sent to a registry, and what a registry can do to who sends.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::backend::embedded::registry::{
    transfer::Limits,
    upload::{Sent, Upload, Wanted},
};

mod faults;
mod places;
mod publishing;

/// What a registry that takes blobs holds.
#[derive(Default)]
struct Held {
    received: Vec<u8>,
    sessions: usize,
    whole: bool,
}

/// A registry that takes one blob, but for what the script answers. `Seen` has come already; the script may take a part.
async fn taking(script: impl Fn(&Seen, &mut Held) -> Option<Answer> + Send + Sync + 'static) -> Double {
    let held = Mutex::new(Held::default());
    Double::start(move |seen| {
        let held = &mut *held.lock().unwrap();
        script(seen, held).unwrap_or_else(|| take(seen, held))
    })
    .await
}

fn take(seen: &Seen, held: &mut Held) -> Answer {
    let told = |status, held: &Held| {
        let last = held.received.len().saturating_sub(1);
        let place = format!("/up/{}?state={last}", held.sessions);
        Answer::new(status)
            .header("location", place)
            .header("range", format!("0-{last}"))
    };
    let ours = format!("/up/{}?", held.sessions);
    match seen.method.as_str() {
        // The head of an answer to HEAD has no body.
        "HEAD" if held.whole => Answer::new(200).header("content-length", BLOB.len().to_string()),
        "POST" => {
            *held = Held {
                sessions: held.sessions + 1,
                ..Held::default()
            };
            told(202, held)
        }
        _ if !seen.path.starts_with(&ours) => Answer::new(404).body(r#"{"errors":[{"code":"X","message":"unknown"}]}"#),
        "PATCH" => {
            let start = seen.header("content-range").unwrap().split('-').next().unwrap();
            if start.parse() != Ok(held.received.len()) {
                return told(416, held);
            }
            held.received.extend_from_slice(seen.body.as_bytes());
            told(202, held)
        }
        "GET" => told(204, held),
        "PUT" => {
            assert_eq!(held.received, BLOB);
            assert!(
                seen.path
                    .ends_with(&format!("&digest={}", Digest::of(BLOB)).replace(':', "%3A"))
            );
            held.whole = true;
            Answer::new(201)
        }
        _ => Answer::new(204),
    }
}

/// The file of the blob, and what is told of its way.
struct Local {
    file: tempfile::NamedTempFile,
    told: Arc<AtomicU64>,
}

// === impl Local ===

impl Local {
    fn new(bytes: &[u8]) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Self {
            file,
            told: Arc::default(),
        }
    }

    fn wanted(&self, double: &Double, layer: Layer) -> Wanted {
        let told = Arc::clone(&self.told);
        Wanted {
            name: name(&double.host()),
            insecure: true,
            layer,
            path: self.file.path().to_owned(),
            from: None,
            told: Box::new(move |bytes| {
                told.fetch_max(bytes, Ordering::Relaxed);
            }),
        }
    }

    fn upload(&self, client: &Registry, double: &Double) -> Upload {
        client.upload(self.wanted(double, layer()), &limits()).unwrap()
    }
}

/// Chunks of eight bytes, and short waits.
fn limits() -> Limits {
    Limits {
        part: 8,
        tries: 4,
        first_wait: Duration::from_millis(1),
        ..Limits::default()
    }
}

/// The bytes of all chunks in the order in which they came.
fn chunks(double: &Double) -> Vec<String> {
    let seen = double.seen().into_iter();
    seen.filter(|seen| seen.method == "PATCH")
        .map(|seen| seen.body)
        .collect()
}

fn methods(double: &Double) -> Vec<String> {
    double.seen().into_iter().map(|seen| seen.method).collect()
}

/// The kind and the text of a failure for good.
async fn failed(upload: &Upload) -> (Kind, String) {
    let error = upload.run().await.unwrap_err();
    (error.kind, error.message)
}

#[tokio::test]
async fn a_blob_goes_in_chunks_and_is_not_sent_twice() {
    let double = taking(|_, _| None).await;
    let (client, local) = (client(&double), Local::new(BLOB));
    assert_eq!(local.upload(&client, &double).run().await.unwrap(), Sent::Whole);
    let chunk = ["PATCH"; 4];
    assert_eq!(methods(&double), [&["HEAD", "POST"], &chunk[..], &["PUT"]].concat());
    let ranges: Vec<_> = double
        .seen()
        .iter()
        .filter_map(|seen| seen.header("content-range").map(str::to_owned))
        .collect();
    assert_eq!(ranges, ["0-7", "8-15", "16-23", "24-25"]);
    let patch = double.seen().into_iter().find(|seen| seen.method == "PATCH").unwrap();
    assert_eq!(patch.header("content-type"), Some("application/octet-stream"));
    assert_eq!(
        (patch.header("content-length"), patch.header("transfer-encoding")),
        (Some("8"), None)
    );
    assert_eq!(chunks(&double).concat().as_bytes(), BLOB);
    assert_eq!(local.told.load(Ordering::Relaxed), BLOB.len() as u64);

    assert_eq!(local.upload(&client, &double).run().await.unwrap(), Sent::There);
    assert_eq!(methods(&double).len(), 8, "one HEAD more");
}

#[tokio::test]
async fn nothing_is_a_blob_too() {
    let double = Double::start(|seen| match seen.method.as_str() {
        "POST" => Answer::new(202).header("location", "/up"),
        "PUT" => Answer::new(201),
        _ => Answer::new(404),
    })
    .await;
    let local = Local::new(b"");
    let empty = Layer::new(
        crate::backend::embedded::store::manifest::Kind::Model,
        Digest::of(b""),
        0,
    );
    let upload = client(&double).upload(local.wanted(&double, empty), &limits()).unwrap();
    assert_eq!(upload.run().await.unwrap(), Sent::Whole);
    assert_eq!(methods(&double), ["HEAD", "POST", "PUT"]);
}

#[tokio::test]
async fn what_is_damaged_here_is_given_up_before_its_end() {
    let double = taking(|_, _| None).await;
    let mut bytes = BLOB.to_vec();
    bytes[3] ^= 1;
    for (bytes, chunks_sent) in [(bytes, 4), (BLOB[1..].to_vec(), 0)] {
        let before = chunks(&double).len();
        let local = Local::new(&bytes);
        let upload = local.upload(&client(&double), &double);
        let (kind, message) = failed(&upload).await;
        assert_eq!(kind, Kind::DigestMismatch, "{message}");
        assert!(
            message.contains("library/tiny") && message.contains("damaged in the store"),
            "{message}"
        );
        assert_eq!(chunks(&double).len() - before, chunks_sent);
        assert!(!methods(&double).contains(&"PUT".to_owned()));
        upload.abandon().await;
        assert_eq!(
            methods(&double).last().unwrap(),
            if chunks_sent > 0 { "DELETE" } else { "POST" }
        );
    }
}

#[tokio::test]
async fn a_blob_is_mounted_or_else_sent() {
    let mount = |status: u16| {
        move |seen: &Seen, _: &mut Held| {
            let mounts = seen.path.contains("mount=");
            mounts.then(|| Answer::new(status)).filter(|_| status != 202)
        }
    };
    for (status, sent) in [
        (201, Sent::Mounted),
        (202, Sent::Whole),
        (403, Sent::Whole),
        (405, Sent::Whole),
    ] {
        let double = taking(mount(status)).await;
        let local = Local::new(BLOB);
        let mut wanted = local.wanted(&double, layer());
        wanted.from = Some("else/where".to_owned());
        let upload = client(&double).upload(wanted, &limits()).unwrap();
        assert_eq!(upload.run().await.unwrap(), sent, "{status}");
        let digest = Digest::of(BLOB).to_string().replace(':', "%3A");
        let asked = format!("POST /v2/library/tiny/blobs/uploads/?mount={digest}&from=else%2Fwhere");
        assert_eq!(double.lines()[1], asked);
        let posts = methods(&double).iter().filter(|method| *method == "POST").count();
        assert_eq!(posts, if status > 400 { 2 } else { 1 });
    }
}

/// Nobody knows what became of it, unless it was not even looked at.
#[tokio::test]
async fn a_mount_that_fails_is_not_tried_again_but_at_a_busy_registry() {
    for (status, sent, posts) in [(500, Sent::Whole, [true, false]), (429, Sent::Mounted, [true, true])] {
        let asked = std::sync::atomic::AtomicBool::new(false);
        let double = taking(move |seen, _| {
            let mounts = seen.path.contains("mount=");
            let failed = |failed| if failed { 201 } else { status };
            mounts.then(|| Answer::new(failed(asked.swap(true, Ordering::Relaxed))))
        })
        .await;
        let local = Local::new(BLOB);
        let mut wanted = local.wanted(&double, layer());
        wanted.from = Some("else/where".to_owned());
        let upload = client(&double).upload(wanted, &limits()).unwrap();
        assert_eq!(upload.run().await.unwrap(), sent, "{status}");
        let lines = double.lines().into_iter().filter(|line| line.starts_with("POST "));
        let mounting: Vec<_> = lines.map(|line| line.contains("mount=")).collect();
        assert_eq!(mounting, posts, "{status}");
    }
}
