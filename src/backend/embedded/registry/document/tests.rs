use std::fmt::Write as _;

use super::*;

const MODEL: &str = "application/vnd.ollama.image.model";

fn layer(media_type: &str, content: &str, size: &str) -> String {
    let digest = Digest::of(content.as_bytes());
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn titled(media_type: &str, title: &str) -> String {
    let layer = layer(media_type, title, "7");
    let rest = layer.strip_suffix('}').unwrap();
    format!(r#"{rest},"annotations":{{"org.opencontainers.image.title":"{title}"}}}}"#)
}

fn manifest(config: &str, layers: &[String]) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{config},"layers":[{}]}}"#,
        layers.join(",")
    )
}

fn read(layers: &[String]) -> Result<Document, Invalid> {
    Document::read(manifest(&layer("application/vnd.example", "config", "2"), layers).as_bytes())
}

#[test]
fn ollamas_manifests_keep_layers_of_unknown_types() {
    let layers = [layer(MODEL, "m", "5"), layer("application/x-tomorrow", "t", "6")];
    let Ok(Document::Ollama(manifest)) = read(&layers) else {
        panic!("{:?}", read(&layers))
    };
    assert_eq!(manifest.layers.len(), 2);
    assert_eq!(manifest.size(), 13);
}

#[test]
fn plain_manifests_carry_exactly_one_gguf() {
    let licence = layer("application/vnd.docker.ai.license", "l", "1");
    for file in [
        layer("application/vnd.docker.ai.gguf.v3", "g", "9"),
        layer("application/gguf", "g", "9"),
    ] {
        let expected = Document::Plain {
            digest: Digest::of(b"g"),
            size: 9,
            title: None,
        };
        assert_eq!(read(&[licence.clone(), file]), Ok(expected));
    }
    let Ok(Document::Plain { title, size: 7, .. }) = read(&[titled("application/octet-stream", "Tiny-Q4.GGUF")]) else {
        panic!()
    };
    assert_eq!(title.as_deref(), Some("Tiny-Q4.GGUF"));
    let two = [
        titled("application/octet-stream", "a.gguf"),
        layer("application/vnd.docker.ai.mmproj", "b", "1"),
    ];
    let refused = read(&two).unwrap_err();
    assert_eq!((refused.kind(), refused), (Kind::FileInvalid, Invalid::ManyFiles(2)));
}

#[test]
fn images_and_lists_are_refused_with_what_they_are() {
    let image = manifest(
        &layer("application/vnd.oci.image.config.v1+json", "c", "2"),
        &[layer("application/vnd.oci.image.layer.v1.tar+gzip", "t", "8")],
    );
    let refused = Document::read(image.as_bytes()).unwrap_err();
    assert_eq!(refused.kind(), Kind::FileInvalid);
    assert!(
        refused.to_string().contains("application/vnd.oci.image.config.v1+json"),
        "{refused}"
    );
    for index in [
        r#"{"schemaVersion":2,"manifests":[]}"#,
        r#"{"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json"}"#,
    ] {
        let refused = Document::read(index.as_bytes()).unwrap_err();
        assert_eq!((refused.kind(), refused), (Kind::FileInvalid, Invalid::Index));
    }
}

#[test]
fn what_no_registry_should_give_is_refused() {
    let model = layer(MODEL, "m", "5");
    let config = layer("c", "config", "2");
    let cases = [
        ("{}".to_owned(), Invalid::NoLayers),
        (manifest(&config, &[]), Invalid::NoLayers),
        (format!(r#"{{"layers":[{model}]}}"#), Invalid::NoConfig),
        (format!(r#"{{"config":null,"layers":[{model}]}}"#), Invalid::NoConfig),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), Invalid::FirstVersion),
        (" \n<!doctype html><p>".to_owned(), Invalid::Html),
        (
            manifest(
                &config,
                &[layer(MODEL, "a", "9223372036854775807"), layer(MODEL, "b", "1")],
            ),
            Invalid::Sizes,
        ),
        (
            manifest(
                &config,
                &[
                    layer(MODEL, "a", "18446744073709551615"),
                    layer(MODEL, "b", "18446744073709551615"),
                ],
            ),
            Invalid::Sizes,
        ),
        (
            manifest(&config, &[layer(MODEL, "a", "4"), layer("x", "a", "5")]),
            Invalid::TwoSizes(Digest::of(b"a")),
        ),
    ];
    for (text, why) in cases {
        assert_eq!(Document::read(text.as_bytes()), Err(why.clone()), "{text}");
        assert_eq!(why.kind(), Kind::Protocol);
    }
    assert!(read(&[model.clone(), model]).is_ok(), "a layer may be there twice");
    assert_eq!(Document::read(&vec![b' '; 5 << 20]), Err(Invalid::TooLong));
}

#[test]
fn sizes_and_digests_are_numbers_and_sha256_only() {
    for size in ["-1", "1.5", "18446744073709551616", "\"5\"", "null", "1e3"] {
        let refused = read(&[layer(MODEL, "m", size)]);
        assert!(matches!(refused, Err(Invalid::Malformed { .. })), "{size}: {refused:?}");
    }
    let good = Digest::of(b"m").to_string();
    for digest in [
        "",
        "sha256:",
        "sha512:00",
        "sha256:../../../../etc/passwd",
        "sha256-../x",
        &good[..70],
    ] {
        let bad = layer(MODEL, "m", "5").replace(&good, digest);
        assert!(matches!(read(&[bad]), Err(Invalid::Malformed { .. })), "{digest}");
    }
}

#[test]
fn arrays_are_no_objects() {
    let digest = Digest::of(b"m");
    let bad = format!(r#"["{MODEL}","{digest}",5,null]"#);
    assert!(matches!(
        read(std::slice::from_ref(&bad)),
        Err(Invalid::Malformed { .. })
    ));
    let whole = format!(r#"[2,"",null,{bad},[{bad}],null]"#);
    assert!(matches!(
        Document::read(whole.as_bytes()),
        Err(Invalid::Malformed { .. })
    ));
}

#[test]
fn layers_are_counted_before_they_fill_the_memory() {
    let mut layers = Vec::new();
    for number in 0..=MAX_LAYERS {
        let mut content = String::new();
        write!(content, "{number}").unwrap();
        layers.push(layer(MODEL, &content, "1"));
    }
    assert_eq!(read(&layers), Err(Invalid::TooManyLayers));
    layers.pop();
    assert!(read(&layers).is_ok());
}

#[test]
fn deep_nesting_ends_in_an_error() {
    let deep = format!(r#"{{"x":{}"#, "[".repeat(1 << 20));
    assert!(matches!(
        Document::read(deep.as_bytes()),
        Err(Invalid::Malformed { .. })
    ));
}
