//! Texts as a real Ollama 0.34 said them.

use serde_json::Value;

use super::{
    super::{Body, Doing, answered, said},
    *,
};
use crate::backend::ollama::recorded;

fn of(doing: Doing, name: &str) -> Error {
    let (status, body) = recorded::answer(name);
    let body: Value = serde_json::from_str(&body).unwrap();
    answered(doing, status, Body::Says(body["error"].as_str().unwrap()))
}

#[test]
fn what_ollama_says_of_a_load() {
    for (name, kind) in [
        ("generate-404", Kind::NotFound),
        ("generate-broken", Kind::NotLoadable),
        ("generate-not-a-model", Kind::NotLoadable),
        ("generate-no-helper", Kind::MissingPart),
        ("generate-embedding-only", Kind::NotLoadable),
        ("generate-queue-full", Kind::Busy(None)),
        ("generate-runner-killed", Kind::Interrupted),
        ("options-wrong-type", Kind::OptionInvalid("load_options.engine_options")),
    ] {
        let error = of(Doing::Loading, name);
        assert_eq!(error.kind, kind, "{name}: {error}");
        assert!(!error.message.contains("-dir"), "{name}: {error}");
        assert_eq!(
            is_embedding_only(&error),
            name == "generate-embedding-only",
            "{name}: {error}"
        );
    }
    // The reason came twice.
    let broken = of(Doing::Loading, "generate-broken").message;
    assert_eq!(broken.matches("blk.1.ffn_up.weight").count(), 1, "{broken}");
    for text in [
        "llama-server process has terminated: exit status 1: cudaMalloc failed: out of memory",
        "llama-server reported out-of-memory during startup: failed to allocate buffer of size 99",
        "model requires more system memory (9.0 GiB) than is available (1.0 GiB)",
    ] {
        assert_eq!(said(Doing::Loading, text).kind, Kind::OutOfMemory, "{text}");
    }
    for text in [
        "llama-server process has terminated: signal: killed",
        "health resp: Get \"http://127.0.0.1:46459/health\": EOF",
    ] {
        assert_eq!(said(Doing::Loading, text).kind, Kind::Interrupted, "{text}");
    }
    let stalled = said(
        Doing::Loading,
        "timed out waiting for llama-server to start - progress 0.4",
    );
    assert_eq!(stalled.kind, Kind::Stalled);
}

#[test]
fn what_ollama_says_of_one_model() {
    for (name, kind) in [
        ("copy-404", Kind::NotFound),
        ("show-bad-name", Kind::NameInvalid),
        ("generate-not-a-model", Kind::FileInvalid),
    ] {
        let error = of(Doing::Managing, name);
        assert_eq!(error.kind, kind, "{name}: {error}");
    }
}

#[test]
fn what_ollama_says_of_a_push() {
    let last = |name: &str| {
        let line: Value = serde_json::from_str(recorded::lines(name).last().unwrap()).unwrap();
        line["error"].as_str().unwrap().to_owned()
    };
    for (text, kind) in [
        (last("push-missing-local"), Kind::NotFound),
        (last("push-m403"), Kind::RegistryCredentials),
        (last("push-refused"), Kind::RegistryUnreachable),
        ("500: {\"errors\": []}".to_owned(), Kind::RegistryUnreachable),
        ("429: slow down".to_owned(), Kind::RegistryBusy(None)),
        (
            "400: {\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\"}]}".to_owned(),
            Kind::Protocol,
        ),
        (
            "open /models-dir/blobs/sha256-11: no such file or directory".to_owned(),
            Kind::FileInvalid,
        ),
        (
            "max retries exceeded: http status 403 Forbidden: no".to_owned(),
            Kind::RegistryCredentials,
        ),
        ("max retries exceeded: EOF".to_owned(), Kind::RegistryUnreachable),
        (
            "open /home-dir/.ollama/id_ed25519: no such file or directory".to_owned(),
            Kind::RegistryCredentials,
        ),
        ("context canceled".to_owned(), Kind::Interrupted),
        ("file does not exist".to_owned(), Kind::Protocol),
    ] {
        let error = said(Doing::Pushing, &text);
        assert_eq!(error.kind, kind, "{text}: {error}");
        assert!(!error.message.contains("-dir"), "{error}");
    }
    assert!(
        said(Doing::Pushing, "manifest blob unknown to registry: blob unknown")
            .message
            .contains("restart")
    );
}

#[test]
fn a_reason_is_told_once() {
    assert_eq!(
        once("exit status 1: no tensor\nno tensor\nno tensor"),
        "exit status 1: no tensor\n"
    );
    assert_eq!(once("a\nb"), "a\nb\n");
    assert_eq!(once(""), "");
}
