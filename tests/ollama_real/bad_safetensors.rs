//! Safetensors of which Ollama dies, or makes what does not load: refused here, and nothing of them reaches it.

use serde_json::{Map, Value, json};
use tonic::Code;

use super::{
    bad_ggufs::works,
    calls,
    models::{llama_companions, llama_header, safetensors},
    world::{World, assert_clean},
};

/// A model that Ollama converts, but for what is done to its header.
fn but(change: impl FnOnce(&mut Map<String, Value>, usize)) -> Vec<u8> {
    let (mut header, size) = llama_header();
    change(&mut header, size);
    safetensors(&Value::from(header).to_string(), size)
}

/// With another number as the length of its header.
fn length(len: u64) -> Vec<u8> {
    let mut bytes = but(|_, _| ());
    bytes[..8].copy_from_slice(&len.to_le_bytes());
    bytes
}

fn of<'a>(header: &'a mut Map<String, Value>, tensor: &str) -> &'a mut Map<String, Value> {
    header[tensor].as_object_mut().unwrap()
}

fn reversed(tensor: &'static str) -> Vec<u8> {
    but(move |header, _| of(header, tensor)["data_offsets"].as_array_mut().unwrap().reverse())
}

const NORM: &str = "model.norm.weight";
const Q: &str = "model.layers.0.self_attn.q_proj.weight";
const UP: &str = "model.layers.0.mlp.up_proj.weight";

fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("length-top-bit", length((1 << 63) + 100)),
        ("length-all-bits", length(u64::MAX)),
        ("length-2-62", length(1 << 62)),
        ("length-8-gib", length(8 << 30)),
        ("length-0", length(0)),
        ("length-beyond-file", length(100 << 20)),
        (
            "no-offsets",
            but(|header, _| drop(of(header, NORM).remove("data_offsets"))),
        ),
        (
            "no-offsets-of-q",
            but(|header, _| drop(of(header, Q).remove("data_offsets"))),
        ),
        (
            "one-offset",
            but(|header, _| of(header, Q)["data_offsets"] = json!([0])),
        ),
        ("reversed-norm", reversed(NORM)),
        ("reversed-q", reversed(Q)),
        ("reversed-up", reversed(UP)),
        (
            "short-range",
            but(|header, _| {
                let end = of(header, UP)["data_offsets"][1].as_u64().unwrap();
                of(header, UP)["data_offsets"][1] = json!(end - 4);
            }),
        ),
        (
            "overlap",
            but(|header, _| {
                header[Q]["data_offsets"] = header["model.layers.0.self_attn.k_proj.weight"]["data_offsets"].clone();
            }),
        ),
        (
            "beyond-file",
            but(|header, size| of(header, NORM)["data_offsets"] = json!([size, size + 256])),
        ),
        (
            "far-beyond-file",
            but(|header, _| of(header, NORM)["data_offsets"] = json!([1_u64 << 60, (1_u64 << 60) + 256])),
        ),
        (
            "negative-offset",
            but(|header, _| of(header, NORM)["data_offsets"] = json!([-256, 0])),
        ),
        (
            "negative-dimension",
            but(|header, _| of(header, NORM)["shape"] = json!([-64])),
        ),
        (
            "shape-overflow",
            but(|header, _| of(header, NORM)["shape"] = json!([1_u64 << 40, 1_u64 << 40])),
        ),
        (
            "unknown-dtype",
            but(|header, _| of(header, NORM)["dtype"] = json!("F13")),
        ),
        ("header-no-json", safetensors("{\"a\":", 64)),
        ("header-no-object", safetensors("[1,2,3,4]", 64)),
        ("no-tensors", safetensors("{}", 0)),
        ("cut", but(|_, _| ())[..2000].to_vec()),
    ]
}

fn folder(world: &World, name: &str, weights: &[u8]) -> std::path::PathBuf {
    for (file, bytes) in llama_companions() {
        world.put(&format!("{name}/{file}"), &bytes);
    }
    let path = world.put(&format!("{name}/model.safetensors"), weights);
    path.parent().unwrap().to_owned()
}

/// The same folder without a fault is converted, so that each is refused for its fault alone.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_safetensors_do_not_reach_ollama() {
    let Some(mut world) = World::new().await else { return };
    let mut wrong = Vec::new();
    for (name, bytes) in malformed() {
        let path = folder(&world, name, &bytes);
        match world.create(name, &path).await {
            Ok(_) => wrong.push(format!("{name}: accepted")),
            Err(status) => {
                assert_clean(&status, &world);
                if calls::told(&status) != calls::is(Code::InvalidArgument, "MODEL_FILE_INVALID") {
                    wrong.push(format!("{name}: {status:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(world.reached(), 0, "{}", world.server.log());
    let whole = folder(&world, "whole", &but(|_, _| ()));
    assert!(world.create("whole", &whole).await.unwrap().changed);
    works(&mut world).await;
}

/// As an adapter of a good model.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_safetensors_adapters_do_not_reach_ollama() {
    let Some(mut world) = World::new().await else { return };
    let model = world.put("m.gguf", &super::models::tiny(0));
    for (name, bytes) in [
        ("top-bit", length((1 << 63) + 100)),
        ("reversed", reversed(Q)),
        (
            "no-offsets",
            but(|header, _| drop(of(header, Q).remove("data_offsets"))),
        ),
    ] {
        world.put(&format!("{name}/adapter_config.json"), br#"{"r":2,"lora_alpha":4}"#);
        let weights = world.put(&format!("{name}/adapter_model.safetensors"), &bytes);
        let options = super::support::v1::ImportOptions {
            adapter_paths: vec![weights.parent().unwrap().display().to_string()],
            ..Default::default()
        };
        let request = super::support::v1::CreateFromPathRequest {
            import_options: Some(options),
            ..super::support::create(name, &model)
        };
        let status = super::support::created(&mut world.client.clone(), request)
            .await
            .expect_err(name);
        assert_eq!(
            calls::told(&status),
            calls::is(Code::InvalidArgument, "MODEL_FILE_INVALID"),
            "{name}: {status:?}"
        );
    }
    assert_eq!(world.reached(), 0, "{}", world.server.log());
    works(&mut world).await;
}
