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

/// Hosts, ports and names that look like statuses and words of ours.
#[test]
fn urls_and_ports_mean_nothing() {
    let manifest = |text: &str| format!("pull model manifest: {text}");
    let refused = |port: u16| {
        let url = format!("https://reg:{port}/v2/mlx-community/x/manifests/401");
        format!("Get \"{url}\": dial tcp 10.0.0.1:{port}: connect: connection refused")
    };
    for port in [8401, 8403, 8404, 8429, 400, 404, 429] {
        for text in [
            refused(port),
            manifest(&refused(port)),
            format!("max retries exceeded: {}", refused(port)),
        ] {
            assert_eq!(said(Doing::Pulling, &text).kind, Kind::RegistryUnreachable, "{text}");
            assert_eq!(said(Doing::Pushing, &text).kind, Kind::RegistryUnreachable, "{text}");
        }
    }
    for text in [
        manifest("Get \"https://h/v2/mlx-community/unauthorized/manifests/latest\": dial tcp: lookup h: no such host"),
        "Head \"https://h/v2/mlx-runtime/x/blobs/sha256:ab\": EOF".to_owned(),
        "Head \"https://requires mlx".to_owned() + "\": net/http: TLS handshake timeout",
        manifest(
            "Get \"https://h/v2/a/b/manifests/c\": tls: failed to verify certificate: x509: certificate signed by unknown \
             authority",
        ),
        manifest("Get \"https://h/v2/a/b/manifests/c\": http: server gave HTTP response to HTTPS client"),
    ] {
        let kind = said(Doing::Pulling, &text).kind;
        assert!(matches!(kind, Kind::RegistryUnreachable), "{text}: {kind:?}");
    }
    let create = "open mlx-community/config.json: no such file or directory";
    assert_eq!(said(Doing::Creating, create).kind, Kind::FileInvalid);
    assert_eq!(
        said(Doing::Loading, "\"mlx-small\" does not support generate").kind,
        Kind::NotLoadable
    );
}

/// Whatever words follow it.
#[test]
fn a_status_of_the_registry_says_all() {
    let body = "{\"error\":\"server busy: no space left on device, unauthorized, file does not exist, mlx runtime\"}";
    for (status, pull, push) in [
        (400, Kind::NameInvalid, Kind::DiskFull { need: 0, have: 0 }),
        (401, Kind::RegistryCredentials, Kind::RegistryCredentials),
        (403, Kind::RegistryCredentials, Kind::RegistryCredentials),
        (404, Kind::NotFound, Kind::Protocol),
        (429, Kind::RegistryBusy(None), Kind::RegistryBusy(None)),
        (500, Kind::RegistryUnreachable, Kind::RegistryUnreachable),
        (502, Kind::RegistryUnreachable, Kind::RegistryUnreachable),
        (503, Kind::RegistryUnreachable, Kind::RegistryUnreachable),
        (504, Kind::RegistryUnreachable, Kind::RegistryUnreachable),
    ] {
        let text = format!("pull model manifest: {status}: {body}");
        assert_eq!(said(Doing::Pulling, &text).kind, pull, "{text}");
        let text = format!("{status}: {body}");
        assert_eq!(said(Doing::Pushing, &text).kind, push, "{text}");
    }
    // hf.co, of a tag that it does not know and of a repository of split files.
    for body in [
        "{\"error\":\"The specified tag is not a valid quantization scheme.\"}",
        "{\"error\":\"The specified repository contains sharded GGUF. Ollama does not support this yet.\"}",
    ] {
        let error = said(Doing::Pulling, &format!("pull model manifest: 400: {body}"));
        assert_eq!(error.kind, Kind::NameInvalid);
        assert!(error.message.contains("The specified"), "{error}");
    }
    assert_eq!(said(Doing::Pulling, "400: ").kind, Kind::Protocol, "of a blob");
    let newer =
        "pull model manifest: 412: \n\nThe model you are attempting to pull requires a newer version of Ollama.\n";
    assert_eq!(said(Doing::Pulling, newer).kind, Kind::MissingPart);
}

#[test]
fn names_that_ollama_does_not_take() {
    for doing in [
        Doing::Pulling,
        Doing::Creating,
        Doing::Managing,
        Doing::Loading,
        Doing::Pushing,
    ] {
        for text in [
            "invalid model name",
            "use either :local or :cloud, not both: \"a:cloud:local\"",
            "unqualified name: registry.ollama.ai/library/a b:latest",
        ] {
            assert_eq!(said(doing, text).kind, Kind::NameInvalid, "{doing:?}: {text}");
        }
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
        ("only one adapter is currently supported".to_owned(), Kind::FileInvalid),
        ("no base model was found".to_owned(), Kind::FileInvalid),
        (
            "open adapter_config.json: no such file or directory".to_owned(),
            Kind::FileInvalid,
        ),
        (
            "split GGUF \"a.gguf\" must use llama.cpp split filename pattern".to_owned(),
            Kind::FileInvalid,
        ),
        (
            "split GGUF \"split-00001-of-00002.gguf\" has 1 shards, expected 2".to_owned(),
            Kind::FileInvalid,
        ),
        (
            "filename count 3 does not match metadata count 2".to_owned(),
            Kind::FileInvalid,
        ),
        (
            "filename index 0 does not match metadata index 1".to_owned(),
            Kind::FileInvalid,
        ),
        ("missing split.no metadata".to_owned(), Kind::FileInvalid),
        (
            "json: cannot unmarshal number into Go value of type []string".to_owned(),
            Kind::OptionInvalid("import_options.license"),
        ),
        (
            "this model requires MLX support, but the MLX runtime is not available".to_owned(),
            Kind::MissingPart,
        ),
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
    let answered = |status: u16, body| answered(Doing::Pulling, StatusCode::from_u16(status).unwrap(), body);
    let of = |status: u16, body| answered(status, body).kind;
    assert_eq!(
        of(
            503,
            Body::Says("server busy, please try again.  maximum pending requests exceeded")
        ),
        Kind::Busy(None)
    );
    for body in [Body::Empty, Body::Foreign] {
        assert_eq!(of(401, body), Kind::Unreachable);
        assert_eq!(of(403, body), Kind::Unreachable);
        assert_eq!(of(502, body), Kind::Unreachable);
        assert_eq!(of(504, body), Kind::Unreachable);
        assert_eq!(of(301, body), Kind::Protocol);
        assert_eq!(of(404, body), Kind::Protocol);
        assert_eq!(of(500, body), Kind::Protocol);
    }
    assert_eq!(
        of(500, Body::Says("pull model manifest: file does not exist")),
        Kind::NotFound
    );
    // Ollama's own refusal of a Host says nothing at all.
    let (own, other) = (answered(403, Body::Empty).message, answered(403, Body::Foreign).message);
    assert!(
        own.contains("OLLAMA_HOST") && !other.contains("OLLAMA_HOST"),
        "{own}; {other}"
    );
    assert!(other.contains("--header-file"), "{other}");
}
