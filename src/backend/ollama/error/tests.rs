//! Texts as a real Ollama 0.34 said them.

use super::*;

#[test]
fn what_ollama_says_of_a_pull() {
    let manifest = |text: &str| format!("pull model manifest: {text}");
    for (text, kind) in [
        (manifest("file does not exist"), Kind::NotFound),
        ("file does not exist".to_owned(), Kind::NotFound),
        (manifest("403: denied by the registry"), Kind::RegistryCredentials),
        ("403: ".to_owned(), Kind::RegistryCredentials),
        (manifest("unauthorized: access denied"), Kind::RegistryCredentials),
        (
            manifest("realm host \"\" does not match original host \"127.0.0.1:5000\""),
            Kind::RegistryCredentials,
        ),
        (manifest("429: slow down"), Kind::RegistryBusy(None)),
        (manifest("500: broken"), Kind::RegistryUnreachable),
        ("500: ".to_owned(), Kind::RegistryUnreachable),
        (
            manifest("Get \"https://h/v2/library/m/manifests/latest\": dial tcp: lookup h: no such host"),
            Kind::RegistryUnreachable,
        ),
        (
            manifest("Get \"https://h/v2/l/m/manifests/latest\": EOF"),
            Kind::RegistryUnreachable,
        ),
        (
            "max retries exceeded: unexpected EOF".to_owned(),
            Kind::RegistryUnreachable,
        ),
        ("context deadline exceeded".to_owned(), Kind::RegistryUnreachable),
        (
            "http: no Location header in response".to_owned(),
            Kind::RegistryUnreachable,
        ),
        (
            manifest("invalid character '\\u003c' looking for beginning of value"),
            Kind::Protocol,
        ),
        ("library/m: digest is empty".to_owned(), Kind::Protocol),
        (
            "digest mismatch, file must be downloaded again: want sha256:a, got sha256:b".to_owned(),
            Kind::DigestMismatch,
        ),
        (
            "write /models-dir/blobs/sha256-ab-partial: no space left on device".to_owned(),
            Kind::DiskFull { need: 0, have: 0 },
        ),
        ("context canceled".to_owned(), Kind::Interrupted),
        (
            "this model requires MLX support, but the MLX runtime is not available".to_owned(),
            Kind::MissingPart,
        ),
        ("something new".to_owned(), Kind::Protocol),
        (String::new(), Kind::Protocol),
    ] {
        let error = said(Doing::Pulling, &text);
        assert_eq!(error.kind, kind, "{text}: {error}");
        assert!(!error.message.contains("/models-dir"), "{error}");
        assert!(!error.message.ends_with(": "), "{error}");
    }
}

#[test]
fn what_ollama_says_of_a_create() {
    let helper = "failed to validate GGUF with llama-quantize without compatibility patches: llama-quantize";
    for (text, kind) in [
        (
            format!("{helper} unavailable: llama-quantize binary not found (checked: /a/llama-quantize)"),
            Kind::MissingPart,
        ),
        (format!("{helper} failed: exit status 1"), Kind::FileInvalid),
        (format!("{helper} failed: signal: killed"), Kind::Interrupted),
        (
            "unsupported quantization type Q5_0 - supported types are F32, F16".to_owned(),
            Kind::OptionInvalid("import_options.quantize"),
        ),
        (
            "quantization is only supported for F16, BF16 and F32 models".to_owned(),
            Kind::OptionInvalid("import_options.quantize"),
        ),
        (
            "template error: template: :1: unclosed action".to_owned(),
            Kind::OptionInvalid("import_options.template"),
        ),
        (
            "open /models-dir/blobs/sha256-11: no such file or directory".to_owned(),
            Kind::Interrupted,
        ),
        ("supplied file was not in GGUF format".to_owned(), Kind::FileInvalid),
        (
            "unsupported architecture \"Qwen3ForCausalLM\"".to_owned(),
            Kind::FileInvalid,
        ),
        ("unknown tokenizer format".to_owned(), Kind::FileInvalid),
        (
            "open config.json: no such file or directory".to_owned(),
            Kind::FileInvalid,
        ),
        ("unknown data type: I64".to_owned(), Kind::FileInvalid),
        ("EOF".to_owned(), Kind::FileInvalid),
        (
            "tensor \"a\" offset+size (164192) exceeds file size (150000)".to_owned(),
            Kind::FileInvalid,
        ),
        ("invalid type: 77".to_owned(), Kind::FileInvalid),
        ("unknown type".to_owned(), Kind::FileInvalid),
        (
            "copy /models-dir/x: no space left on device".to_owned(),
            Kind::DiskFull { need: 0, have: 0 },
        ),
    ] {
        let error = said(Doing::Creating, &text);
        assert_eq!(error.kind, kind, "{text}: {error}");
        assert!(
            !error.message.contains("/a/") && !error.message.contains("-dir"),
            "{error}"
        );
    }
}

#[test]
fn what_other_statuses_mean() {
    let of = |status: u16, text| answered(Doing::Pulling, StatusCode::from_u16(status).unwrap(), text).kind;
    assert_eq!(
        of(
            503,
            Some("server busy, please try again.  maximum pending requests exceeded")
        ),
        Kind::Busy(None)
    );
    assert_eq!(of(403, None), Kind::Unreachable);
    assert_eq!(of(401, None), Kind::Unreachable);
    assert_eq!(of(502, None), Kind::Unreachable);
    assert_eq!(of(301, None), Kind::Protocol);
    assert_eq!(of(404, None), Kind::Protocol);
    assert_eq!(
        of(500, Some("pull model manifest: file does not exist")),
        Kind::NotFound
    );
    assert_eq!(of(500, None), Kind::Protocol);
}
