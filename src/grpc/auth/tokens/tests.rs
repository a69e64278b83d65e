//! Files of tokens, right and wrong.

use super::*;

const SECRET: &str = "correct-horse-battery";

fn wrong(text: &str) -> String {
    match Tokens::parse(text.as_bytes()) {
        Ok(tokens) => panic!("{text}: {tokens:?}"),
        Err((entry, message)) => {
            let told = format!("{}: {message}", entry.unwrap_or_default());
            assert!(!told.contains("horse"), "{told}");
            told
        }
    }
}

#[test]
fn a_token_is_found_by_itself_and_by_its_digest() {
    let digest = Sha256::digest("another-long-token");
    let digest = digest
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02X}"));
    let text = format!(
        "- name: ichat\n  token: {SECRET}\n  scopes: [read, control]\n- {{name: board, sha256: \"{digest}\", scopes: [read]}}\n"
    );
    let tokens = Tokens::parse(text.as_bytes()).unwrap();
    assert_eq!(tokens.find(SECRET), Some(("ichat", Scopes::ALL)));
    let (name, scopes) = tokens.find("another-long-token").unwrap();
    assert_eq!((name, scopes.to_string().as_str()), ("board", "read"));
    for other in [
        "",
        "correct-horse-batter",
        "correct-horse-battery ",
        "another-long-tokem",
        &digest,
    ] {
        assert!(tokens.find(other).is_none(), "{other}");
    }
    assert_eq!(format!("{tokens:?}"), r#"["ichat", "board"]"#);
}

#[test]
fn what_is_wrong_is_told_with_its_entry_and_without_the_token() {
    let long = SECRET;
    for (text, said) in [
        (String::new(), "holds 0 tokens"),
        ("[]".to_owned(), "holds 0 tokens"),
        (format!("name: ichat\ntoken: {long}"), "want a YAML sequence"),
        (format!("- {long}"), "want a YAML sequence"),
        (
            format!("- name: a\n  token: {long}\n  token: {long}\n  scopes: [read]"),
            "want a YAML sequence",
        ),
        (format!("- name: \"a\n  token: {long}"), "want a YAML sequence"),
        (format!("- token: {long}\n  scopes: [read]"), "#1: `name` must be"),
        (
            format!("- name: {long} x\n  token: {long}\n  scopes: [read]"),
            "#1: `name` must be",
        ),
        (
            "- name: a\n  token: short-horse\n  scopes: [read]".to_owned(),
            "a: `token` must have 16",
        ),
        (
            format!("- name: a\n  token: \"{long} {long}\"\n  scopes: [read]"),
            "a: `token` must be of visible",
        ),
        (
            "- name: a\n  token: 12345678901234567890\n  scopes: [read]".to_owned(),
            "put it in quotes",
        ),
        (
            format!("- name: a\n  sha256: {long}\n  scopes: [read]"),
            "a: `sha256` must be",
        ),
        ("- name: a\n  scopes: [read]".to_owned(), "a: needs either"),
        (
            format!("- name: a\n  token: {long}\n  sha256: {long}\n  scopes: [read]"),
            "a: needs either",
        ),
        (format!("- name: a\n  token: {long}"), "a: `scopes` must be"),
        (
            format!("- name: a\n  token: {long}\n  scopes: []"),
            "a: `scopes` must be",
        ),
        (
            format!("- name: a\n  token: {long}\n  scopes: read"),
            "a: `scopes` must be",
        ),
        (
            format!("- name: a\n  token: {long}\n  scopes: [{long}]"),
            "a: `scopes` must be",
        ),
        (
            format!("- name: a\n  token: {long}\n  scopes: [read]\n  {long}: 1"),
            "a: has a key",
        ),
        (
            format!("- {{name: a, token: {long}, scopes: [read]}}\n- {{name: a, token: {long}2, scopes: [read]}}"),
            "a: there are two",
        ),
        (
            format!("- {{name: a, token: {long}, scopes: [read]}}\n- {{name: b, token: {long}, scopes: [read]}}"),
            "b: has the same token as `a`",
        ),
    ] {
        let told = wrong(&text);
        assert!(told.contains(said), "{text}\n{told}");
    }
}
