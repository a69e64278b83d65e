//! GGUFs that are none, attempted on a real Ollama: refused here, and nothing of them reaches it.

use std::fs;

use model_control::gguf::{TensorKind, build::Builder};
use tonic::Code;

use super::{
    calls,
    models::{safetensors, tiny},
    world::{World, assert_clean},
};

fn llama() -> Builder {
    Builder::new("llama").tensor("a", &[32], TensorKind::F32, &[1; 128])
}

fn malformed() -> Vec<(&'static str, Vec<u8>)> {
    let whole = tiny(0);
    let cut = |len: usize| whole[..len].to_vec();
    vec![
        ("version-99", llama().version(99).finish()),
        ("version-1", llama().version(1).finish()),
        ("big-endian", llama().magic(*b"FUGG").finish()),
        ("ggla", llama().magic(*b"ggla").finish()),
        ("no-tensors", Builder::new("llama").finish()),
        (
            "five-dimensions",
            Builder::new("llama").raw_tensor(b"a", &[2; 5], 0, &[0; 128]).finish(),
        ),
        ("nested-array", llama().array("x", 9, 1, &[0; 32]).finish()),
        ("array-kind-77", llama().array("x", 77, 1, &[0; 32]).finish()),
        ("value-kind-77", llama().value("x", 77, &[0; 32]).finish()),
        ("alignment-0", llama().alignment(0).finish()),
        ("alignment-3", llama().alignment(3).finish()),
        (
            "tensor-kind-77",
            Builder::new("llama").raw_tensor(b"a", &[32], 77, &[0; 128]).finish(),
        ),
        (
            "odd-row",
            Builder::new("llama").raw_tensor(b"a", &[33], 8, &[0; 128]).finish(),
        ),
        (
            "overflow",
            Builder::new("llama")
                .raw_tensor(b"a", &[1 << 32, 1 << 32], 0, &[0; 128])
                .finish(),
        ),
        ("beyond-the-file", llama().at(1 << 20).finish()),
        (
            "two-on-one-place",
            llama().tensor("b", &[32], TensorKind::F32, &[2; 128]).at(0).finish(),
        ),
        (
            "long-text",
            llama().value("x", 8, &(1_u64 << 40).to_le_bytes()).finish(),
        ),
        ("long-array", llama().array("x", 0, 1 << 40, &[0; 8]).finish()),
        ("many-tensors", llama().counts(1 << 62, 1).finish()),
        ("many-values", llama().counts(1, 1 << 62).finish()),
        (
            "no-architecture",
            Builder::empty().tensor("a", &[32], TensorKind::F32, &[1; 128]).finish(),
        ),
        ("magic-only", b"GGUF".to_vec()),
        ("no-gguf", b"this is no model at all".to_vec()),
        ("half", cut(whole.len() / 2)),
        ("header-half", cut(1000)),
        ("one-byte-short", cut(whole.len() - 1)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_ggufs_do_not_reach_ollama() {
    let Some(mut world) = World::new().await else { return };
    let mut wrong = Vec::new();
    for (name, bytes) in malformed() {
        let path = world.put(&format!("{name}.gguf"), &bytes);
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
    assert!(world.list().await.is_empty());
    works(&mut world).await;
}

/// As an adapter of a good model.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_adapters_do_not_reach_ollama() {
    let Some(mut world) = World::new().await else { return };
    let model = world.put("m.gguf", &tiny(0));
    let lora = Builder::new("llama").text("general.type", "adapter");
    for (name, bytes) in [
        ("no-tensors", lora.finish()),
        ("no-adapter", llama().finish()),
        (
            "cut",
            lora.tensor("a.lora_a", &[32], TensorKind::F32, &[0; 128]).finish()[..200].to_vec(),
        ),
        (
            "another",
            Builder::new("qwen2")
                .text("general.type", "adapter")
                .tensor("a.lora_a", &[32], TensorKind::F32, &[0; 128])
                .finish(),
        ),
    ] {
        let adapter = world.put(&format!("{name}.lora.gguf"), &bytes);
        let options = super::support::v1::ImportOptions {
            adapter_paths: vec![adapter.display().to_string()],
            ..Default::default()
        };
        let request = super::support::v1::CreateFromPathRequest {
            import_options: Some(options),
            ..super::support::create(name, &model)
        };
        let status = super::support::created(&mut world.client.clone(), request)
            .await
            .expect_err(name);
        assert_clean(&status, &world);
        assert_eq!(
            calls::told(&status),
            calls::is(Code::InvalidArgument, "MODEL_FILE_INVALID"),
            "{name}: {status:?}"
        );
    }
    assert_eq!(world.reached(), 0, "{}", world.server.log());
    works(&mut world).await;
}

/// A file's name and content.
type FileOf<'a> = (&'a str, &'a [u8]);

/// Empty files make Ollama fail at random, and two models in one make a model of the last.
#[tokio::test(flavor = "multi_thread")]
async fn empty_files_and_mixtures_do_not_reach_ollama() {
    let Some(mut world) = World::new().await else { return };
    let weights = safetensors(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 8);
    let config = br#"{"architectures":["LlamaForCausalLM"]}"#;
    let folders: &[(&str, &[FileOf<'_>])] = &[
        ("nothing", &[]),
        ("empty-gguf", &[("m.gguf", b"")]),
        ("empty-weights", &[("model.safetensors", b""), ("config.json", config)]),
        ("empty-config", &[("model.safetensors", &weights), ("config.json", b"")]),
        ("two-ggufs", &[("a.gguf", &tiny(0)), ("b.gguf", &tiny(1))]),
        ("pickles", &[("pytorch_model.bin", b"PK"), ("config.json", config)]),
    ];
    for (name, files) in folders {
        let folder = world.home.model(name);
        fs::create_dir(&folder).unwrap();
        for (file, bytes) in *files {
            world.put(&format!("{name}/{file}"), bytes);
        }
        let status = world.create(name, &folder).await.expect_err(name);
        assert_clean(&status, &world);
        let told = calls::told(&status);
        let fits = [
            calls::is(Code::InvalidArgument, "MODEL_FILE_INVALID"),
            calls::is(Code::FailedPrecondition, "PATH_NOT_USABLE"),
        ];
        assert!(fits.contains(&told), "{name}: {status:?}");
    }
    let empty = world.put("empty.gguf", b"");
    let status = world.create("empty", &empty).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::FailedPrecondition, "PATH_NOT_USABLE")
    );
    assert_eq!(world.reached(), 0, "{}", world.server.log());
    // Of a mixture the GGUF is taken, and no more.
    let mixed = world.put("mixed/m.gguf", &tiny(2));
    world.put("mixed/model.safetensors", &weights);
    world.put("mixed/config.json", config);
    let made = world.create("mixed", mixed.parent().unwrap()).await.unwrap();
    let sources = made.provenance.unwrap().sources;
    assert_eq!(sources.len(), 1);
    assert_eq!(sources[0].file_name, "m.gguf");
    works(&mut world).await;
}

/// What is only for Ollama to know is told in its words, and without its paths.
#[tokio::test(flavor = "multi_thread")]
async fn what_ollama_refuses_is_told_without_its_paths() {
    let Some(mut world) = World::new().await else { return };
    let martian = Builder::new("martian").tensor("a", &[32], TensorKind::F32, &[1; 128]);
    let path = world.put("martian.gguf", &martian.finish());
    let status = world.create("martian", &path).await.unwrap_err();
    assert_clean(&status, &world);
    assert_eq!(
        calls::told(&status),
        calls::is(Code::InvalidArgument, "MODEL_FILE_INVALID"),
        "{status:?}"
    );
    works(&mut world).await;
}

/// Ollama is as it was, and makes models.
pub(crate) async fn works(world: &mut World) {
    let path = world.put("good.gguf", &tiny(9));
    assert!(world.create("good", &path).await.unwrap().changed);
    world.lives();
}
