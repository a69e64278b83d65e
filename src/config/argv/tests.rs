use super::*;

/// Each item one word, in a line of its own.
fn read(words: &[&str]) -> (Vec<(&'static str, String, u64)>, Vec<String>) {
    let words: Vec<_> = words
        .iter()
        .zip(1..)
        .map(|(text, line)| Word {
            text: (*text).to_owned(),
            line,
        })
        .collect();
    let (given, problems) = flags(&words, &EMBEDDED);
    let given = given
        .into_iter()
        .map(|given| (given.flag.name, given.value, given.line))
        .collect();
    let problems = problems
        .iter()
        .map(|p| format!("{}: {}", p.line.unwrap(), p.message))
        .collect();
    (given, problems)
}

fn problem(words: &[&str]) -> String {
    let (_, problems) = read(words);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.into_iter().next().unwrap()
}

#[test]
fn both_spellings_and_bare_flags_are_read() {
    let words = [
        "--store=/s",
        "--model",
        "llama3",
        "--insecure",
        "--model=a=b",
        "--insecure=false",
        "--level",
        "-x",
    ];
    let (given, problems) = read(&words);
    assert_eq!(problems, [""; 0]);
    let given: Vec<_> = given
        .iter()
        .map(|(name, value, line)| format!("{line} {name} {value}"))
        .collect();
    assert_eq!(
        given,
        [
            "1 --store /s",
            "2 --model llama3",
            "4 --insecure true",
            "5 --model a=b",
            "6 --insecure false",
            "7 --level -x"
        ]
    );
}

#[test]
fn what_is_wrong_is_told_with_the_way_out() {
    for (words, told) in [
        (&["--modle=x"][..], "1: unknown flag `--modle`: did you mean `--model`?"),
        (
            &["--model_path", "/m"],
            "1: unknown flag `--model_path`: did you mean `--model-path`?",
        ),
        (
            &["--Level=on-disk"],
            "1: unknown flag `--Level`: did you mean `--level`?",
        ),
        (
            &["--xyz"],
            "1: unknown flag `--xyz`: known are --store, --threads, --gpu-layers, --engine-arg, --advertise, --model, --model-path, --adapter-path, --level, \
             --digest, --quantize, --ensure, --insecure, --keep-alive, --context-length",
        ),
        (&["--model"], "1: `--model` needs a value: `--model=…`"),
        (&["--model", "--insecure"], "1: `--model` needs a value: `--model=…`"),
        (&["--model="], "1: `--model` needs a value: `--model=…`"),
        (
            &["--insecure=yes"],
            "1: `--insecure` is `--insecure`, `--insecure=true` or `--insecure=false`",
        ),
        (
            &["--model llama3"],
            "1: `--model` is followed by a space: write `--model=…`, or its value as the next item",
        ),
        (
            &["llama3"],
            "1: has a word that is no flag: flags are written `--flag=value`, or `--flag` and its value as the next item",
        ),
        (
            &["-m"],
            "1: has a word that is no flag: flags are written `--flag=value`, or `--flag` and its value as the next item",
        ),
        (
            &["--host=http://127.0.0.1:11434"],
            "1: `--host` does not apply to framework `embedded`: the embedded engine is in this program and has no host",
        ),
    ] {
        assert_eq!(problem(words), told, "{words:?}");
    }
}

#[test]
fn one_problem_hides_no_other_and_no_value_is_shown() {
    let (given, problems) = read(&[
        "--token=secret",
        "--api-key",
        "secret",
        "secret",
        "--model=m",
        "--bogus",
        "--insecure",
    ]);
    assert_eq!(given.len(), 2);
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(!problems.concat().contains("secret"), "{problems:?}");
}
