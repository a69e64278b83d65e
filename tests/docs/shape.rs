//! What two outputs have in common, whatever the digits.

/// True when they have the same lines but for digits, digests, ages and the width of columns.
pub(crate) fn alike(told: &[String], printed: &[String]) -> bool {
    let Some((first, rest)) = told.split_first() else {
        return printed.is_empty();
    };
    if first.trim() == "…" {
        return (0..=printed.len()).any(|skipped| alike(rest, &printed[skipped..]));
    }
    printed
        .split_first()
        .is_some_and(|(line, others)| shape(first) == shape(line) && alike(rest, others))
}

/// The line with `#` for every number and digest.
fn shape(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().map(word).collect();
    let mut line = words.join(" ");
    for unit in ["second", "minute", "hour"] {
        for ago in [format!("# {unit}s ago"), format!("# {unit} ago")] {
            line = line.replace(&ago, "just now");
        }
    }
    // 59 s, 1 min 0 s and 1 min are one shape, and so are powers of ten.
    line.replace("#m #s", "#s")
        .replace("#m ", "#s ")
        .replace("# kB", "# MB")
        .replace("# B", "# MB")
        .replace("#s", "#ms")
}

fn word(word: &str) -> String {
    // A part of it may be letters alone.
    if word.len() == 36 && word.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return "#".to_owned();
    }
    let mut shape = String::new();
    for part in word.split_inclusive(|c: char| !c.is_ascii_alphanumeric() && c != '.') {
        let end = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let digest =
            end.len() >= 4 && end.chars().all(|c| c.is_ascii_hexdigit()) && end.contains(|c: char| c.is_ascii_digit());
        if digest {
            shape.push('#');
            shape.push_str(&part[end.len()..]);
            continue;
        }
        for c in part.chars() {
            let number = c.is_ascii_digit() || (c == '.' && shape.ends_with('#'));
            match number {
                true if shape.ends_with('#') => {}
                true => shape.push('#'),
                false => shape.push(c),
            }
        }
    }
    shape
}

#[test]
fn digits_do_not_count_and_words_do() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert!(alike(
        &lines("a  b725b9c65666  131 kB  1 second ago"),
        &lines("a 0725b9c65667 1.2 MB just now")
    ));
    assert!(alike(&lines("a\n…\nb 1"), &lines("a\nx\ny\nb 22.5")));
    assert!(alike(
        &lines("01a2083a-95dc-71c1-9538-3e7b4b853bad for 5m 0s"),
        &lines("01a20a0a-ae7e-7529-abcf-552d7009dcef for 59s")
    ));
    assert!(alike(&lines("5m more"), &lines("4m 59s more")));
    assert!(!alike(&lines("SERVING"), &lines("NOT_SERVING")));
    assert!(!alike(&lines("a"), &lines("a\nb")));
}
