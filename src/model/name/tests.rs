use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn short(text: &str) -> Result<String, InvalidName> {
    text.parse::<ModelName>().map(|name| name.to_string())
}

#[test]
fn names_read_as_ollama_reads_them() {
    for (typed, displayed) in [
        ("llama3", "llama3:latest"),
        ("llama3:latest", "llama3:latest"),
        ("LLAMA3", "LLAMA3:latest"),
        ("library/llama3", "llama3:latest"),
        ("registry.ollama.ai/library/llama3:latest", "llama3:latest"),
        ("REGISTRY.OLLAMA.AI/LIBRARY/llama3", "llama3:latest"),
        ("ollama.com/library/llama3", "ollama.com/library/llama3:latest"),
        ("user/model:v1.0_x-2", "user/model:v1.0_x-2"),
        (
            "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
            "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
        ),
        ("localhost:5000/ns/m", "localhost:5000/ns/m:latest"),
        ("https://host:5000/ns/m:t", "host:5000/ns/m:t"),
        ("http://host/ns/m", "host/ns/m:latest"),
        ("_x", "_x:latest"),
        ("x-", "x-:latest"),
        ("x.", "x.:latest"),
        ("a..b", "a..b:latest"),
        ("x:_y", "x:_y"),
        ("h/n/m:t", "h/n/m:t"),
        ("_why/_the/_lucky:_stiff", "_why/_the/_lucky:_stiff"),
    ] {
        assert_eq!(short(typed), Ok(displayed.to_owned()), "{typed}");
    }
}

#[test]
fn what_no_engine_would_store_is_refused() {
    for typed in [
        "",
        "llama3:",
        ":tag",
        "/llama3",
        "a/",
        "a//b",
        "a/b/c/d",
        "a:b:c",
        "llama3@sha256:aaaa",
        "@sha256:aa",
        "my model",
        "ñ",
        "\u{200b}llama3",
        " llama3 ",
        "hf.co/repo",
        "hf.co/my.org/repo",
        "localhost:5000/m",
        "http://m",
        "-x",
        ".x",
        "..",
        "x:-y",
        "x:.y",
        "x\\y",
        "x%2Fy",
        "../../etc/passwd",
        "x:../y",
        "n.s/m",
        "x:cloud/y",
        "x\0y",
    ] {
        // `http://m` is a plain model for us: the scheme is dropped as everywhere else.
        if typed == "http://m" {
            assert_eq!(short(typed), Ok("m:latest".to_owned()));
        } else {
            assert!(short(typed).is_err(), "{typed:?} -> {:?}", short(typed));
        }
    }
    assert!(short(&"x".repeat(80)).is_ok());
    assert_eq!(
        short(&"x".repeat(81)),
        Err(InvalidName::TooLong {
            part: Part::Model,
            limit: 80
        })
    );
}

#[test]
fn spellings_that_differ_in_case_are_one_key() {
    let names: HashSet<ModelName> = ["Aa/b:C", "aa/B:c", "AA/B:C"]
        .iter()
        .map(|n| n.parse().unwrap())
        .collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn tags_that_say_where_a_model_runs_are_reserved() {
    for (name, reserved) in [
        ("a:local", true),
        ("a:CLOUD", true),
        ("a:8b-cloud", true),
        ("a:cloudy", false),
        ("cloud", false),
    ] {
        assert_eq!(
            name.parse::<ModelName>().unwrap().reserved().is_some(),
            reserved,
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_and_what_is_read_reads_again(text in "\\PC{0,40}|[a-z./:_-]{0,20}") {
        if let Ok(name) = text.parse::<ModelName>() {
            let again: ModelName = name.canonical().parse().unwrap();
            prop_assert_eq!(again.parts(), name.parts());
            let again: ModelName = name.to_string().parse().unwrap();
            prop_assert_eq!(again, name);
        }
    }
}
