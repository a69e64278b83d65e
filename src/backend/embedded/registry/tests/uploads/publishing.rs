//! Manifests that are sent and read back.

use super::*;
use crate::backend::embedded::registry::publish::{Manifest, Published};

const TYPE: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn ours() -> Manifest {
    let bytes = manifest().into_bytes();
    Manifest {
        digest: Digest::of(&bytes),
        media_type: TYPE.to_owned(),
        bytes: bytes.into(),
    }
}

async fn publish(double: &Double) -> Result<Published, Fault> {
    client(double).publish(&name(&double.host()), &ours(), true).await
}

#[tokio::test]
async fn a_manifest_is_sent_as_it_is_and_read_back() {
    let kept = Mutex::new(None);
    let double = Double::start(move |seen| {
        let kept = &mut *kept.lock().unwrap();
        match (seen.method.as_str(), &kept) {
            ("PUT", _) => {
                *kept = Some(seen.body.clone());
                Answer::new(201)
            }
            (_, Some(kept)) => Answer::ok(kept.clone()),
            _ => Answer::new(404),
        }
    })
    .await;
    let (client, there) = (client(&double), name(&double.host()));
    assert!(!client.has(&there, &ours(), true).await.unwrap());
    assert_eq!(publish(&double).await.unwrap(), Published::Whole);
    assert!(client.has(&there, &ours(), true).await.unwrap());
    let put = double.seen().into_iter().find(|seen| seen.method == "PUT").unwrap();
    assert_eq!(
        (put.body, put.path.as_str()),
        (manifest(), "/v2/library/tiny/manifests/latest")
    );
    assert_eq!(put.headers["content-type"], TYPE);
}

#[tokio::test]
async fn a_registry_that_alters_manifests_is_found_out() {
    for (given, kind, retry) in [
        (Answer::ok(manifest() + "\n"), Kind::DigestMismatch, Retry::Never),
        (Answer::new(404), Kind::RegistryUnreachable, Retry::Soon),
    ] {
        let double = Double::start(move |seen| match seen.method.as_str() {
            "PUT" => Answer::new(201),
            _ => given.clone(),
        })
        .await;
        let fault = publish(&double).await.unwrap_err();
        assert_eq!(
            (fault.error.kind, fault.retry),
            (kind, retry),
            "{}",
            fault.error.message
        );
    }
}

#[tokio::test]
async fn what_a_refusal_means_is_told() {
    let says = |code: &str| format!(r#"{{"errors":[{{"code":"{code}","message":"so it is"}}]}}"#);
    for (status, code, kind) in [
        (401, "UNAUTHORIZED", Kind::RegistryCredentials),
        (403, "DENIED", Kind::RegistryCredentials),
        (400, "MANIFEST_INVALID", Kind::Protocol),
        (404, "NAME_UNKNOWN", Kind::NotFound),
        (405, "UNSUPPORTED", Kind::Protocol),
        (413, "SIZE", Kind::Protocol),
        (429, "TOOMANYREQUESTS", Kind::RegistryBusy(None)),
        (500, "UNKNOWN", Kind::RegistryUnreachable),
        (507, "FULL", Kind::RegistryBusy(None)),
    ] {
        let body = says(code);
        let double = Double::start(move |_| Answer::new(status).body(body.clone())).await;
        let fault = publish(&double).await.unwrap_err();
        assert_eq!(fault.error.kind, kind, "{}", fault.error.message);
    }
    for status in [400, 404] {
        let body = says("MANIFEST_BLOB_UNKNOWN");
        let double = Double::start(move |_| Answer::new(status).body(body.clone())).await;
        assert_eq!(publish(&double).await.unwrap(), Published::BlobUnknown);
    }
}
