use super::{super::limits::*, *};

/// The tensor `t` with this description, before 8 bytes of data.
fn tensor(description: &str) -> Vec<u8> {
    file(&format!(r#"{{"t":{description}}}"#), 8)
}

fn refused(bytes: &[u8], words: &str) {
    let error = read(bytes).unwrap_err().to_string();
    assert!(error.contains(words), "{error:?} lacks {words:?}");
    assert!(error.len() < 512, "{} bytes", error.len());
}

#[test]
fn what_kills_an_engine_is_refused() {
    for (description, words) in [
        (r#"{"dtype":"F32","shape":[2]}"#, "\"t\" has no `data_offsets`"),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":null}"#,
            "`data_offsets` that is not two",
        ),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[]}"#,
            "`data_offsets` that is not two",
        ),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[0]}"#,
            "`data_offsets` that is not two",
        ),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}"#,
            "`data_offsets` that is not two",
        ),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#,
            "the wrong way round",
        ),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}"#, "none negative"),
        (r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8.0]}"#, "none negative"),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[8,16]}"#,
            "ends at byte 16 of the data, and the file has 8",
        ),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551616]}"#,
            "none negative",
        ),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551607,18446744073709551615]}"#,
            "ends at byte 18446744073709551615",
        ),
    ] {
        refused(&tensor(description), words);
    }
}

#[test]
fn what_fools_an_engine_is_refused() {
    for (description, words) in [
        (
            r#"{"dtype":"F32","shape":[1],"data_offsets":[0,8]}"#,
            "has 8 bytes of data; its shape and dtype F32 need 4",
        ),
        (r#"{"dtype":"F32","shape":[4],"data_offsets":[0,8]}"#, "need 16"),
        (
            r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#,
            "`shape` that is not a list",
        ),
        (
            r#"{"dtype":"F32","shape":8,"data_offsets":[0,8]}"#,
            "`shape` that is not a list",
        ),
        (
            r#"{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}"#,
            "overflows",
        ),
        (
            r#"{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,8]}"#,
            "overflows",
        ),
        (
            r#"{"dtype":"F32","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}"#,
            "overflows",
        ),
        (r#"{"dtype":"F4","shape":[3],"data_offsets":[0,2]}"#, "overflows"),
        (
            r#"{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}"#,
            "more than 8 dimensions",
        ),
        (
            r#"{"dtype":"F31","shape":[2],"data_offsets":[0,8]}"#,
            "unknown dtype \"F31\"",
        ),
        (r#"{"dtype":"","shape":[2],"data_offsets":[0,8]}"#, "unknown dtype \"\""),
        (
            r#"{"dtype":4,"shape":[2],"data_offsets":[0,8]}"#,
            "`dtype` that is not a text",
        ),
        (r#"{"shape":[2],"data_offsets":[0,8]}"#, "no `dtype`"),
        (r#"{"dtype":"F32","data_offsets":[0,8]}"#, "no `shape`"),
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8],"dtype":"F16"}"#,
            "`dtype` twice",
        ),
        // A reader that ignores case takes the last of them.
        (
            r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8],"Data_Offsets":[8,0]}"#,
            "unknown field \"Data_Offsets\"",
        ),
        ("[1]", "is not described by an object"),
        ("null", "is not described by an object"),
    ] {
        refused(&tensor(description), words);
    }
    let pair = |offsets: &str| {
        let rest = format!(r#"{{"dtype":"U8","shape":[4],"data_offsets":{offsets}}}"#);
        file(
            &format!(r#"{{"one":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},"two":{rest}}}"#),
            8,
        )
    };
    refused(&pair("[0,4]"), "overlap");
    refused(&pair("[3,7]"), "\"one\" and \"two\" overlap");
    read(&pair("[4,8]")).unwrap();
    let twice =
        r#"{"t":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#;
    refused(&file(twice, 2), "\"t\" comes twice");
    for key in ["dtype", "DType", "shape", "data_offsets"] {
        let header = format!(r#"{{"__metadata__":{{"{key}":"F32"}}}}"#);
        refused(&file(&header, 0), &format!("has the key \"{key}\""));
    }
    refused(&file(r#"{"__metadata__":7}"#, 0), "`__metadata__` is not an object");
}

#[test]
fn what_is_no_safetensors_file_is_named() {
    let long = |len: u64| [&len.to_le_bytes()[..], b"{}"].concat();
    for (bytes, words) in [
        (Vec::new(), "is empty"),
        (vec![1; 7], "after 7 bytes"),
        (long(0), "would have 0 bytes"),
        (long(1), "would have 1 bytes"),
        (long(3), "it is cut short"),
        (long(1 << 63), "would have 9223372036854775808 bytes"),
        (b"version https://git-lfs.github.com/spec/v1".to_vec(), "git lfs pull"),
        (b"GGUF\x03\0\0\0\0".to_vec(), "is a GGUF file"),
        (b"PK\x03\x04\0\0\0\0\0".to_vec(), "PyTorch"),
        (file("{}", 0), "no tensors"),
        (file(r#"{"__metadata__":{}}"#, 0), "no tensors"),
        (file("[]", 0), "no JSON object"),
        (file("null", 0), "no JSON object"),
        (file("{} x", 0), "not valid JSON at its byte 4"),
        (file("{\"t\":", 0), "not valid JSON"),
        (file("\u{feff}{}", 0), "not valid JSON"),
        (file(r#"{"":{}}"#, 0), "has 0 bytes; from 1 to 1024"),
    ] {
        refused(&bytes, words);
    }
    let bytes = [&6_u64.to_le_bytes()[..], b"{\"\xff\":1"].concat();
    refused(&bytes, "not valid JSON");
}

#[test]
fn claims_that_cost_memory_are_refused() {
    refused(
        &file(&format!(r#"{{"{}":{{}}}}"#, "n".repeat(MAX_NAME + 1)), 0),
        "has 1025 bytes",
    );
    // A longer one is not even kept.
    let name = format!(r#"{{"{}"#, "n".repeat(1 << 20));
    let bytes = file(&name, 0);
    let sparse = Sparse::new(&bytes, bytes.len() as u64);
    assert!(matches!(
        Header::read_from(&sparse, bytes.len() as u64),
        Err(Error::NameLength { .. })
    ));
    assert!(sparse.read.get() < 100_000);

    let text = format!(r#"{{"__metadata__":{{"a":"{}"}}}}"#, "n".repeat(MAX_STRING));
    refused(&file(&text, 0), "a text of more than");
    refused(
        &file(&format!(r#"{{"t":{{"dtype":{}"#, "[".repeat(100)), 0),
        "`dtype` that is not",
    );
    refused(
        &file(&format!(r#"{{"__metadata__":{{"a":{}"#, "[".repeat(100)), 0),
        "deeper than 16",
    );

    let many: Vec<_> = (0..=MAX_TENSORS)
        .map(|index| format!(r#""{index}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#))
        .collect();
    refused(&file(&format!("{{{}}}", many.join(",")), 0), "more than 131072 tensors");
}

#[test]
fn names_in_messages_are_short_and_escaped() {
    let name = format!("\\u0007\\\"{}", "x".repeat(500));
    let error = read(&file(&format!(r#"{{"{name}":1}}"#), 0)).unwrap_err().to_string();
    assert!(
        error.starts_with("the tensor \"\\u{7}\\\"xxx") && error.contains('…'),
        "{error}"
    );
    assert!(error.len() < 200, "{error}");
}
