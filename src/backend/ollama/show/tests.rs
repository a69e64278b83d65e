//! Answers of a real Ollama 0.34, and what could come of others.

use super::*;
use crate::backend::ollama::recorded;

fn shown(name: &str, verbose: bool) -> Details {
    let (_, body) = recorded::answer(name);
    details(serde_json::from_str(&body).unwrap(), verbose)
}

#[test]
fn what_ollama_shows_is_told_without_its_paths() {
    let all = shown("show-created-from", false);
    assert_eq!(all.system, "You are terse.");
    assert_eq!(all.license.len(), 1);
    assert!(all.license[0].ends_with("A\nB"));
    assert_eq!(
        Value::Object(all.parameters),
        json!({"no_such_parameter": 1, "num_ctx": 256, "stop": ["<|im_start|>", "<|im_end|>"], "temperature": 0.1})
    );
    let turns: Vec<_> = all
        .messages
        .iter()
        .map(|m| (m.role.as_str(), m.content.as_str()))
        .collect();
    assert_eq!(turns, [("user", "hi"), ("assistant", "yo")]);
    assert_eq!(all.metadata["tokenizer.ggml.tokens"], json!({"type": "array"}));
    assert_eq!(all.metadata["llama.context_length"], 512);
    assert!(all.template.starts_with("{%- if tools %}"));
    assert!(all.tensors.is_empty());

    let all = shown("show-ok-verbose", true);
    assert_eq!(all.tensors.len(), 21);
    assert_eq!(all.tensors[0].shape, [64, 320]);
    assert_eq!(all.metadata["tokenizer.ggml.tokens"].as_array().unwrap().len(), 320);
    assert!(!serde_json::to_string(&all).unwrap().contains("-dir"));
    // Arrays that came unasked.
    let short = shown("show-ok-verbose", false);
    assert_eq!(
        short.metadata["tokenizer.ggml.tokens"],
        json!({"type": "string", "length": 320})
    );
    assert_eq!(short.metadata["tokenizer.ggml.merges"].as_array().unwrap().len(), 10);
}

#[test]
fn what_is_absent_or_large_is_told_as_it_is() {
    let nothing = details(
        serde_json::from_str(r#"{"license":null,"messages":null,"model_info":null}"#).unwrap(),
        true,
    );
    assert_eq!(nothing, Details::default());
    let info = json!({"large": u64::MAX, "small": 9_007_199_254_740_992_u64, "low": i64::MIN, "list": [1, u64::MAX]});
    let Value::Object(info) = info else { panic!() };
    assert_eq!(
        Value::Object(metadata(info, false)),
        json!({"large": "18446744073709551615", "small": 9_007_199_254_740_992_u64,
            "low": "-9223372036854775808", "list": [1, "18446744073709551615"]})
    );
}
