//! What a manifest says, taken or not.

use serde_json::{Value, json};

use super::{
    calls,
    double::Answer,
    hub::{MODEL, gguf, layer, manifest},
    support::*,
    world::World,
};
use model_control::model::Digest;

/// The pull of this manifest fails so.
async fn refused(bytes: impl Into<Vec<u8>>, code: Code, wanted: &str) -> Status {
    let bytes = bytes.into();
    let manifest = move |seen: &super::double::Seen| {
        let of_it = seen.path.contains("/manifests/");
        of_it.then(|| Answer::ok(bytes.clone()))
    };
    World::fault(manifest, code, wanted).await
}

fn text(manifest: &Value) -> String {
    manifest.to_string()
}

/// With another value in the place of the model layer's.
fn with(field: &str, value: Value) -> String {
    let mut layer = layer(MODEL, &gguf(1, 4));
    layer[field] = value;
    text(&manifest(&[layer]))
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused() {
    let good = layer(MODEL, &gguf(1, 4));
    let twice = {
        let mut other = good.clone();
        other["size"] = json!(7);
        text(&manifest(&[good.clone(), other]))
    };
    let digest = |text: &str| with("digest", json!(text));
    let huge = |size: &str| with("size", json!("SIZE")).replace("\"SIZE\"", size);
    let world = World::stocked().await;
    for bytes in [
        "[]".to_owned(),
        twice,
        digest("sha256:../../../../etc/passwd"),
        digest(&format!("sha256:../{}", "a".repeat(61))),
        digest(&format!("sha256:{}/", "a".repeat(63))),
        huge("-1"),
        huge("18446744073709551615"),
        huge("18446744073709551616"),
        huge("9223372036854775807"),
        huge("1e30"),
        huge("1.5"),
        text(&json!({"schemaVersion": 2, "layers": [good]})),
        text(&manifest(&[])),
        text(&json!({"schemaVersion": 1, "fsLayers": []})),
    ] {
        world.hub.put_manifest("bad", bytes.as_bytes());
        world.fails("bad", Code::Internal, "BACKEND_PROTOCOL").await;
    }
    world.mends("m").await;
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_model_is_told_as_what_it_is() {
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [],
    });
    let image = manifest(&[layer("application/vnd.docker.image.rootfs.diff.tar.gzip", b"x")]);
    for bytes in [text(&index), text(&image)] {
        refused(bytes, Code::InvalidArgument, "MODEL_FILE_INVALID").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_manifest_is_not_read_to_its_end() {
    let large = format!("{{\"pad\": \"{}\"", " ".repeat(100 << 20));
    let status = refused(large, Code::Internal, "BACKEND_PROTOCOL").await;
    assert!(status.message().contains("4096 KiB"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_manifest_is_not_read_to_its_end() {
    let endless = |seen: &super::double::Seen| {
        let of_it = seen.path.contains("/manifests/");
        of_it.then(|| Answer::raw("HTTP/1.1 200 OK\r\n\r\n{").then_flood([b' '; 4096]))
    };
    World::fault(endless, Code::Internal, "BACKEND_PROTOCOL").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_layers_are_refused() {
    // As short as an object can be, and the whole below the bound of a manifest's bytes.
    let one = format!("{{\"digest\":\"sha256:{}\",\"size\":1}}", "a".repeat(64));
    let many = |count: usize, layer: &str| {
        let layers = vec![layer; count].join(",");
        format!("{{\"schemaVersion\":2,\"config\":{one},\"layers\":[{layers}]}}")
    };
    refused(many(1_000_000, "{}"), Code::Internal, "BACKEND_PROTOCOL").await;
    let status = refused(many(40_000, &one), Code::Internal, "BACKEND_PROTOCOL").await;
    assert!(status.message().contains("layers"), "{status:?}");
}

/// The blobs come, and are no model: what came stays for a while, and nothing is listed.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_the_engine_cannot_read_is_not_stored_as_one() {
    let system = layer("application/vnd.ollama.image.system", b"be brief");
    let no_file = layer(MODEL, b"GGUF, or so it says");
    for layers in [vec![system], vec![no_file]] {
        let world = World::stocked().await;
        world.hub.put_blob(b"be brief");
        world.hub.put_blob(b"GGUF, or so it says");
        world.hub.put_manifest("bad", text(&manifest(&layers)).as_bytes());
        world.fails("bad", Code::InvalidArgument, "MODEL_FILE_INVALID").await;
        world.mends("m").await;
        world.service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_file_that_is_no_model_is_not_stored_as_one() {
    let world = World::stocked().await;
    let bytes = b"no GGUF";
    world.hub.put_blob(bytes);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of(b"{}").to_string(), "size": 2},
        "layers": [layer("application/vnd.docker.ai.gguf.v3", bytes)],
    });
    world.hub.put_manifest("bad", text(&manifest).as_bytes());
    world.fails("bad", Code::InvalidArgument, "MODEL_FILE_INVALID").await;
    world.mends("m").await;
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_of_unknown_types_are_kept() {
    let world = World::stocked().await;
    let (file, strange) = (gguf(1, 4), b"of the future");
    world.hub.put("new", &file);
    world.hub.put_blob(strange);
    let layers = [
        layer(MODEL, &file),
        layer("application/vnd.ollama.image.future", strange),
    ];
    let bytes = text(&manifest(&layers)).into_bytes();
    world.hub.put_manifest("new", &bytes);
    let result = world.pull(world.request("new")).await.unwrap();
    assert_eq!(result.model.unwrap().digest, Digest::of(&bytes).to_string());
    let stored = world.stored();
    assert!(stored.values().any(|content| content == strange));
    assert!(stored.values().any(|content| *content == bytes), "to the byte");
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_manifest_than_the_pinned_one_replaces_nothing() {
    let world = World::stocked().await;
    let request = v1::PullRequest {
        digest: Digest::of(b"another").to_string(),
        ..world.request("before")
    };
    let (stored, listed) = (world.stored(), world.list().await);
    let status = world.pull(request).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "DIGEST_PIN_MISMATCH")
    );
    world.assert_whole(&stored, &listed).await;
    world.service.stop().await;
}
