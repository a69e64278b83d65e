use super::*;

fn layer(kind: Kind, content: &[u8]) -> Layer {
    Layer::new(kind, Digest::of(content), content.len() as u64)
}

#[test]
fn what_is_written_is_read_and_the_same_twice() {
    let layers = vec![layer(Kind::Model, b"model"), layer(Kind::Template, b"{{ .Prompt }}")];
    let config = Config::gguf("llama", "115K".to_owned(), "F16", &layers);
    assert_eq!(Config::read(&config.write().unwrap()).unwrap(), config);
    let manifest = Manifest::new(Layer::config(Digest::of(b"c"), 1), layers);
    let bytes = manifest.write().unwrap();
    assert_eq!(Manifest::read(&bytes).unwrap(), manifest);
    assert_eq!(bytes, manifest.clone().write().unwrap());
    assert_eq!(manifest.size(), 1 + 5 + 13);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with(
        r#"{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{"mediaType":"application/vnd.docker.container.image.v1+json","#
    ), "{text}");
}

#[test]
fn what_others_write_is_read() {
    let digest = Digest::of(b"x");
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{{"a":"b"}},
            "config":{{"digest":"{digest}","size":3,"mediaType":"application/vnd.oci.image.config.v1+json"}},
            "layers":[{{"mediaType":"application/vnd.ollama.image.prompt","digest":"{digest}","size":1,"from":"/x"}},
                      {{"mediaType":"application/vnd.ollama.image.tensor","digest":"{digest}","size":1,"name":"a"}}]}}"#
    );
    let manifest = Manifest::read(text.as_bytes()).unwrap();
    assert_eq!(manifest.layers[0].kind(), Kind::Template);
    assert_eq!(manifest.layers[1].kind(), Kind::Other);
    let text = format!(r#"{{"config":{{"digest":"{digest}","size":3}},"layers":null}}"#);
    assert!(Manifest::read(text.as_bytes()).unwrap().layers.is_empty());
    let config =
        Config::read(br#"{"model_format":"gguf","model_family":"llama","model_families":null,"rootfs":null,"new":1}"#);
    assert_eq!(config.unwrap().model_family, "llama");
}

#[test]
fn what_is_no_manifest_is_refused() {
    let digest = Digest::of(b"x");
    for bad in [
        String::new(),
        "{".to_owned(),
        "{}".to_owned(),
        "[]".to_owned(),
        r#"{"config":{"digest":"","size":0},"layers":[]}"#.to_owned(),
        r#"{"config":{"digest":"sha256:../../x","size":0},"layers":[]}"#.to_owned(),
        format!(r#"{{"config":{{"digest":"{digest}","size":-1}},"layers":[]}}"#),
        format!(r#"{{"config":{{"digest":"{digest}","size":"1"}},"layers":[]}}"#),
        format!(r#"{{"config":{{"digest":"{digest}","size":1}},"layers":{{}}}}"#),
        "[".repeat(100_000),
    ] {
        assert!(Manifest::read(bad.as_bytes()).is_err(), "{bad:.60}");
    }
}

#[test]
fn the_same_content_is_recognised_in_another_order() {
    let (model, template) = (layer(Kind::Model, b"m"), layer(Kind::Template, b"t"));
    let manifest = Manifest::new(
        Layer::config(Digest::of(b"c"), 1),
        vec![model.clone(), template.clone()],
    );
    assert!(manifest.same_content(&[template.clone(), model.clone()]));
    assert!(!manifest.same_content(std::slice::from_ref(&model)));
    assert!(!manifest.same_content(&[model, layer(Kind::Template, b"other")]));
}
