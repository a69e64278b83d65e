use serde_json::json;

use super::*;

fn spec(keep_alive: KeepAlive) -> LoadSpec {
    LoadSpec {
        name: "m".parse().unwrap(),
        options: LoadOptions {
            context_length: Some(256),
            engine_options: json!({"num_gpu": 1, "num_ctx": 4}).as_object().unwrap().clone(),
        },
        keep_alive,
    }
}

#[test]
fn a_request_says_what_was_asked_for() {
    for (keep_alive, sent) in [
        (KeepAlive::Default, None),
        (KeepAlive::Forever, Some(json!(-1))),
        (KeepAlive::For(Duration::from_millis(30_500)), Some(json!(30.5))),
        (KeepAlive::For(Duration::MAX), Some(json!(315_360_000.0))),
    ] {
        let mut wanted = json!({"model": "m:latest", "options": {"num_gpu": 1, "num_ctx": 256}});
        if let Some(sent) = sent {
            wanted["keep_alive"] = sent;
        }
        let request = request(&spec(keep_alive), "m:latest");
        assert_eq!(serde_json::to_value(&request).unwrap(), wanted);
    }
    let plain = LoadSpec {
        options: LoadOptions::default(),
        ..spec(KeepAlive::Default)
    };
    assert_eq!(
        serde_json::to_string(&request(&plain, "m")).unwrap(),
        r#"{"model":"m"}"#
    );
}

#[test]
fn a_keep_alive_that_would_unload_is_refused() {
    assert!(refuse(&spec(KeepAlive::For(Duration::from_nanos(1)))).is_ok());
    let error = refuse(&spec(KeepAlive::For(Duration::ZERO))).unwrap_err();
    assert_eq!(error.kind, Kind::OptionInvalid("keep_alive"));
    let reserved = LoadSpec {
        name: "m:cloud".parse().unwrap(),
        ..spec(KeepAlive::Default)
    };
    assert_eq!(refuse(&reserved).unwrap_err().kind, Kind::NameInvalid);
}
