use std::fmt::Write as _;

use super::*;

fn refused(text: &str) -> (Option<u64>, String) {
    let problem = RawFile::parse(text.as_bytes()).unwrap_err();
    (problem.line, problem.message)
}

fn words(entry: &RawEntry) -> Vec<&str> {
    entry.argv.iter().map(|word| word.text.as_str()).collect()
}

#[test]
fn entries_keep_their_words_and_lines() {
    let text = "\
# iChat
- name: ollama-backend
  framework: \"ollama\"
  unknown: {of: [the, worker]}
  backend_argv:
    - \"--model=llama3\"
    - --context-length
    - 4096

- {name: two, framework: embedded, backend_argv: }
- framework: embedded
";
    for text in [text.to_owned(), text.replace('\n', "\r\n"), format!("\u{feff}{text}")] {
        let file = RawFile::parse(text.as_bytes()).unwrap();
        assert_eq!(file.problems, []);
        let [first, second, third] = &file.entries[..] else {
            panic!("{file:?}");
        };
        let word = |text: &str, line| {
            let text = text.to_owned();
            Field::Is(Word { text, line })
        };
        assert_eq!((first.line, first.number), (2, 1));
        assert_eq!(first.name, word("ollama-backend", 2));
        assert_eq!(first.framework, word("ollama", 3));
        assert_eq!(words(first), ["--model=llama3", "--context-length", "4096"]);
        assert_eq!(first.argv.last().unwrap().line, 8);
        assert_eq!((second.line, second.number, words(second)), (10, 2, vec![]));
        assert_eq!((third.line, &third.name), (11, &Field::Absent));
    }
}

#[test]
fn scalars_keep_the_text_that_was_written() {
    let text = "- backend_argv: [4096, 1.0, 0x10, 1e3, on, no, .inf, 2026-01-01, 99999999999999999999999, é, 12, !t 7]";
    for text in [text.to_owned(), format!("\u{feff}{text}")] {
        let file = RawFile::parse(text.as_bytes()).unwrap();
        let expected = "4096 1.0 0x10 1e3 on no .inf 2026-01-01 99999999999999999999999 é 12 7";
        assert_eq!(words(&file.entries[0]).join(" "), expected);
    }
    let aliased = "- backend_argv: [&path --model-path=/m, &n 07, *n, *path]";
    let file = RawFile::parse(aliased.as_bytes()).unwrap();
    assert_eq!(
        words(&file.entries[0]),
        ["--model-path=/m", "07", "07", "--model-path=/m"]
    );
    let merged = "- &base\n  name: a\n  framework: embedded\n- <<: *base\n  name: b\n";
    let file = RawFile::parse(merged.as_bytes()).unwrap();
    assert!(matches!(&file.entries[1].framework, Field::Is(word) if word.text == "embedded"));
    assert!(matches!(&file.entries[1].name, Field::Is(word) if word.text == "b"));
}

#[test]
fn a_wrong_shape_is_a_problem_of_its_entry() {
    let text = "\
- just a word
- name: [a]
  framework: embedded
- name: c
  framework: ~
  backend_argv: --model=x
- name: d
  backend_argv: [--model=x, [y], ~, {z: 1}]
";
    let file = RawFile::parse(text.as_bytes()).unwrap();
    let told: Vec<_> = file
        .problems
        .iter()
        .map(|p| format!("{:?} {p}", p.line.unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            "1 entry `#1`: must be a map with `name`, `framework` and `backend_argv`",
            "2 entry `#2`: `name` must be a text",
            "5 entry `#3`: `framework` must be a text",
        ]
    );
    assert_eq!(file.entries[0].name, Field::Wrong);
    // Only whoever knows the framework knows whether these matter.
    let told = |entry: &RawEntry| {
        entry
            .argv_problems
            .iter()
            .map(|p| (p.line.unwrap(), p.to_string()))
            .collect::<Vec<_>>()
    };
    let whole = "`backend_argv` must be a sequence of flags: `[\"--model=llama3\"]`".to_owned();
    assert_eq!(told(&file.entries[1]), [(6, whole)]);
    let item = "each item of `backend_argv` must be a text: `\"--model=llama3\"`".to_owned();
    assert_eq!(
        told(&file.entries[2]),
        [(8, item.clone()), (8, item.clone()), (8, item)]
    );
    assert_eq!(words(&file.entries[2]), ["--model=x"]);
}

#[test]
fn what_is_no_sequence_of_entries_is_refused() {
    let empty = "has no entries: write one, or run without a file for one embedded backend";
    for text in ["", "# nothing\n", "---\n", "[]", "~"] {
        assert_eq!(refused(text), (None, empty.to_owned()), "{text:?}");
    }
    let shape = "must be a sequence of entries: `- name: …`, `framework: …`, `backend_argv: […]`";
    assert_eq!(refused("\nname: a\n"), (Some(2), shape.to_owned()));
    assert_eq!(refused("embedded"), (Some(1), shape.to_owned()));
    for (text, line, told) in [
        (
            "- a\n---\n- b\n",
            3,
            "only single YAML document expected but multiple found",
        ),
        (
            "- name: a\n  name: b\n",
            2,
            "duplicate mapping key `name` is not allowed here",
        ),
        ("- name: [a\n", 1, "unclosed bracket '['"),
        ("- a\n- *x\n", 2, "reference to unknown value"),
        ("- a\n- \"b\n", 2, "unclosed quote"),
    ] {
        assert_eq!(
            refused(text),
            (Some(line), format!("cannot be read as YAML: {told}")),
            "{text:?}"
        );
    }
    let problem = RawFile::parse(b"- a\n- \xff\n").unwrap_err();
    assert_eq!((problem.line, problem.message.as_str()), (Some(2), "is not UTF-8 text"));
}

#[test]
fn a_file_that_would_swell_is_refused() {
    assert_eq!(
        refused(&" ".repeat(MAX_BYTES + 1)),
        (None, "is larger than 1 MiB".to_owned())
    );
    let mut laughs = "- &a0 [ha, ha]\n".to_owned();
    for n in 1..20 {
        let last = n - 1;
        writeln!(
            laughs,
            "- &a{n} [*a{last}, *a{last}, *a{last}, *a{last}, *a{last}, *a{last}]"
        )
        .unwrap();
    }
    let nested = format!("{}x", "[".repeat(100_000));
    let many = "- x\n".repeat(MAX_NODES + 1);
    let keys = format!("- {{{}}}", "? [".repeat(1_000));
    let recursive = "- &a [*a]".to_owned();
    for text in [laughs, nested, many, keys, recursive] {
        let (line, message) = refused(&text);
        assert!(
            line.is_some() && message.starts_with("cannot be read as YAML: "),
            "{message}"
        );
    }
}
