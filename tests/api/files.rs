//! Files that are no model, or not one, are refused before a byte is stored.

use std::{fs, os::unix::fs::FileExt as _, time::SystemTime};

use model_control::gguf::{
    TensorKind,
    build::{Builder, number},
};
use tonic_types::StatusExt as _;

use super::{
    held,
    scene::{Scene, builder, model, split},
    support::*,
};

fn tensor(builder: Builder, name: &str) -> Builder {
    builder.tensor(name, &[8], TensorKind::F32, &[0; 32])
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines, reason = "one table")]
async fn hostile_and_broken_files_are_refused_by_name() {
    let half = 1_u64 << 63;
    let value = |kind, bytes: &[u8]| builder().value("k", kind, bytes).finish();
    let good = model(1);
    let pair = |first, second| {
        let first = tensor(builder(), "a").at(first);
        tensor(first, "b").at(second).finish()
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("text", b"hello, world".to_vec(), "not a GGUF file"),
        ("magic alone", b"GGUF".to_vec(), "the file ends within"),
        ("older", b"tjgg\0\0\0\0".to_vec(), "ggjt"),
        ("version 1", builder().version(1).finish(), "version 1"),
        ("version 4", builder().version(4).finish(), "unknown version 4"),
        ("big endian", builder().magic(*b"FUGG").finish(), "big-endian"),
        (
            "big-endian version",
            builder().version(3_u32.swap_bytes()).finish(),
            "big-endian",
        ),
        (
            "2^63 tensors",
            builder().counts(half, 2).finish(),
            "9223372036854775808 tensors",
        ),
        (
            "2^63 entries",
            builder().counts(0, half).finish(),
            "9223372036854775808 metadata entries",
        ),
        (
            "2^64 - 1 of both",
            builder().counts(u64::MAX, u64::MAX).finish(),
            "at most",
        ),
        (
            "more entries than there are",
            builder().counts(0, 60_000).finish(),
            "ends within the 60000",
        ),
        (
            "nested arrays",
            builder().array("k", 9, 1, &[9; 64]).finish(),
            "array of arrays",
        ),
        (
            "array of 2^63",
            builder().array("k", number::U64, half, &[0; 8]).finish(),
            "9223372036854775808 elements",
        ),
        (
            "array past the end",
            builder().array("k", number::U64, 60_000_000, &[0; 8]).finish(),
            "ends within the value",
        ),
        (
            "string of 2^63",
            value(number::STRING, &half.to_le_bytes()),
            "a string of 9223372036854775808 bytes",
        ),
        (
            "string past the end",
            value(number::STRING, &1000_u64.to_le_bytes()),
            "ends within the value",
        ),
        (
            "dimensions that overflow",
            builder().tensor("t", &[half, 2], TensorKind::F32, &[0; 32]).finish(),
            "overflows",
        ),
        ("overlap", pair(0, 0), r#"the tensors "a" and "b" overlap"#),
        (
            "negative offset",
            pair(0, (-32_i64).cast_unsigned()),
            "beyond the end of the file",
        ),
        ("offset past the end", pair(0, 1 << 40), "beyond the end of the file"),
        ("cut in the header", good[..40].to_vec(), "the file ends within"),
        (
            "cut in the weights",
            good[..good.len() - 1000].to_vec(),
            "beyond the end of the file",
        ),
        (
            "a projector",
            tensor(Builder::new("clip").text("general.type", "mmproj"), "v").finish(),
            "projector",
        ),
        ("no tensors", builder().finish(), "vocabulary without tensors"),
        (
            "no architecture",
            tensor(Builder::empty(), "v").finish(),
            "no architecture",
        ),
    ];
    let mut scene = Scene::new().await;
    let there = scene.put("there.gguf", &good);
    created(&mut scene.client, create("there", &there)).await.unwrap();
    for (case, bytes, words) in cases {
        let path = scene.put("bad.gguf", &bytes);
        // A name of its own, and one that is there.
        for name in ["m", "there"] {
            let request = v1::CreateFromPathRequest {
                replace: true,
                ..create(name, &path)
            };
            let status = scene
                .refused(request, Code::InvalidArgument, "MODEL_FILE_INVALID")
                .await;
            assert!(
                status.message().contains("`bad.gguf`") && status.message().contains(words),
                "{case}: {status:?}"
            );
        }
    }
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_there_must_be_one_model() {
    let mut scene = Scene::new().await;
    for folder in ["none", "several", "one", "hidden"] {
        fs::create_dir(scene.root(folder)).unwrap();
    }
    scene.put("none/readme.txt", b"no model");
    scene.put("several/a.gguf", &model(1));
    scene.put("several/b.gguf", &model(2));
    scene.put("hidden/.a.gguf", &model(1));
    scene.put("empty.gguf", b"");
    for (path, words) in [
        ("none", "`none` has no GGUF"),
        ("hidden", "`hidden` has no GGUF"),
        ("several", "name one of `a.gguf`, `b.gguf`"),
        ("empty.gguf", "`empty.gguf` is empty"),
    ] {
        let request = create("m", &scene.root(path));
        let status = scene
            .refused(request, Code::FailedPrecondition, "PATH_NOT_USABLE")
            .await;
        assert!(status.message().contains(words), "{status:?}");
        let details = status.get_error_details();
        let told = &details
            .precondition_failure()
            .expect("a PreconditionFailure")
            .violations;
        assert_eq!(
            (told[0].r#type.as_str(), told[0].subject.as_str()),
            ("PATH_NOT_USABLE", "path")
        );
    }
    for path in ["none.gguf", "none/none.gguf", "nowhere/none.gguf"] {
        let request = create("m", &scene.root(path));
        let status = scene.refused(request, Code::NotFound, "PATH_NOT_FOUND").await;
        let details = status.get_error_details();
        let resource = details.resource_info().expect("a ResourceInfo");
        assert_eq!(
            (resource.resource_type.as_str(), resource.resource_name.as_str()),
            ("path", "none.gguf")
        );
    }
    scene.put("one/a.gguf", &model(1));
    scene.put("one/.hidden.gguf", &model(2));
    scene.put("one/readme.txt", b"beside it");
    let request = create("m", &scene.root("one"));
    let result = created(&mut scene.client, request).await.unwrap();
    assert_eq!(result.provenance.unwrap().sources[0].file_name, "a.gguf");
    let request = create("m", &scene.put("other.gguf", &model(2)));
    scene.refused(request, Code::AlreadyExists, "MODEL_EXISTS").await;
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_other_engines_do_says_what_can() {
    let mut scene = Scene::new().await;
    scene.put("weights/model.safetensors", b"weights");
    scene.put("weights/config.json", b"{}");
    for path in ["weights", "weights/model.safetensors"] {
        let request = create("m", &scene.root(path));
        let status = scene
            .refused(request, Code::Unimplemented, "BACKEND_CANNOT_CONVERT")
            .await;
        assert!(status.message().contains("convert_hf_to_gguf.py"), "{status:?}");
    }
    let good = scene.put("good.gguf", &model(1));
    let quantized = |quantize: &str| v1::CreateFromPathRequest {
        import_options: Some(v1::ImportOptions {
            quantize: quantize.into(),
            ..Default::default()
        }),
        ..create("m", &good)
    };
    let status = scene
        .refused(quantized("Q4_K_M"), Code::Unimplemented, "BACKEND_CANNOT_QUANTIZE")
        .await;
    assert!(status.message().contains("llama-quantize"), "{status:?}");
    let status = scene
        .refused(quantized("Q4 K M"), Code::InvalidArgument, "REQUEST_INVALID")
        .await;
    assert_eq!(super::scene::fields(&status), ["import_options.quantize"]);
    scene.alive().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_split_model_is_whole_or_refused() {
    let mut scene = Scene::new().await;
    fs::create_dir(scene.root("parts")).unwrap();
    let first = split(&scene.root("parts"), 3);
    let second = scene.root("parts/m-00002-of-00003.gguf");
    let part = fs::read(&second).unwrap();

    let request = create("m", &second);
    let status = scene
        .refused(request, Code::FailedPrecondition, "PATH_NOT_USABLE")
        .await;
    assert!(status.message().contains("name `m-00001-of-00003.gguf`"), "{status:?}");

    fs::remove_file(&second).unwrap();
    for path in [first.clone(), scene.root("parts")] {
        let status = scene
            .refused(create("m", &path), Code::FailedPrecondition, "PATH_NOT_USABLE")
            .await;
        assert!(
            status.message().contains("lacks its part `m-00002-of-00003.gguf`"),
            "{status:?}"
        );
    }
    // Not what it is called.
    let whole = model(1);
    let third = fs::read(scene.root("parts/m-00003-of-00003.gguf")).unwrap();
    for content in [&whole, &third, &part[..part.len() / 2].to_vec()] {
        fs::write(&second, content).unwrap();
        scene
            .refused(create("m", &first), Code::InvalidArgument, "MODEL_FILE_INVALID")
            .await;
    }
    let lone = scene.put("lone.gguf", &part);
    let status = scene
        .refused(create("m", &lone), Code::InvalidArgument, "MODEL_FILE_INVALID")
        .await;
    assert!(status.message().contains("part 2 of 3"), "{status:?}");

    fs::write(&second, &part).unwrap();
    let request = create("m", &scene.root("parts"));
    let result = created(&mut scene.client, request).await.unwrap();
    assert_eq!(result.provenance.unwrap().sources.len(), 3);
    assert_eq!(result.model.unwrap().parameter_count, Some(96));
    scene.alive().await;
}

/// The create stands still when all has been copied and nothing published: what is done to a source then is seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_changes_while_it_is_read_is_refused() {
    let (mut scene, hold, request) = held::scene().await;
    let part = scene.root("m-00007-of-00080.gguf");
    let file = fs::File::options().write(true).open(&part).unwrap();
    // So old that every change shows.
    let old = SystemTime::UNIX_EPOCH;
    file.set_modified(old).unwrap();
    let mut stream = held::standing(&mut scene, request.clone()).await;
    file.write_all_at(b"changed", file.metadata().unwrap().len() - 32)
        .unwrap();
    hold.release();
    let status = loop {
        match soon(stream.message()).await {
            Ok(message) => assert!(message.is_some(), "it succeeded"),
            Err(status) => break status,
        }
    };
    assert_eq!(
        (status.code(), &*reason(&status)),
        (Code::FailedPrecondition, "PATH_NOT_USABLE")
    );
    assert!(
        status
            .message()
            .contains("`m-00007-of-00080.gguf` changed while it was read"),
        "{status:?}"
    );
    scene.assert_clean(&std::collections::BTreeMap::new(), &[]).await;
    assert!(created(&mut scene.client, request).await.unwrap().changed);
    scene.alive().await;
}
