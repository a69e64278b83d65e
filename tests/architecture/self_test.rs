//! The scanner and the rules can fail: each is shown what it must find, and what it must not.

use super::{between_engines, downward, edges, foreign, row, scan};

/// The paths that `source` names as the module `a::b`, joined.
fn named(source: &str) -> Vec<String> {
    scan::paths(source, &["a".to_owned(), "b".to_owned()], false)
        .into_iter()
        .map(|named| named.path.join("::"))
        .collect()
}

#[test]
fn paths_are_found_wherever_they_stand() {
    assert_eq!(named("use crate::x;"), ["x"]);
    assert_eq!(named("pub use crate::x::y as z;"), ["x::y"]);
    assert_eq!(
        named("fn f(a: &crate::x::Y<crate::z::W>) { crate::v::g::<u8>(a) }"),
        ["x::Y", "z::W", "v::g"]
    );
    assert_eq!(named("use crate :: x\n  :: y;"), ["x::y"]);
    assert!(named("model_control::Service::new()").is_empty());
    let program = scan::paths("use model_control::x::y;", &[], false);
    assert_eq!(program[0].path, ["x", "y"]);
}

#[test]
fn groups_are_taken_apart() {
    assert_eq!(
        named("use crate::{a, b::c, d::{self, e as f, g::*}};"),
        ["a", "b::c", "d", "d::e", "d::g::*"]
    );
    assert_eq!(named("use crate::{\n  a::{b},\n};\nuse crate::c;"), ["a::b", "c"]);
    assert_eq!(named("use crate::*;"), ["*"]);
}

#[test]
fn super_leads_where_it_leads() {
    assert_eq!(named("use super::c;"), ["a::c"]);
    assert_eq!(named("use super::super::x::y;"), ["x::y"]);
    assert_eq!(named("use super::{super::x, c};"), ["x", "a::c"]);
    assert_eq!(named("use self::c;"), ["a::b::c"]);
    assert_eq!(
        named("mod tests { use super::*; use super::super::c; fn f() { if true {} } }\nuse super::d;"),
        ["a::b::*", "a::c", "a::d"]
    );
    assert_eq!(named("mod m { mod n { use super::super::super::super::x; } }"), ["x"]);
}

#[test]
fn words_that_are_no_paths_are_left_out() {
    for source in [
        "// use crate::x;",
        "/* crate::x /* crate::y */ crate::z */",
        "//! See [`crate::x`].",
        "const A: &str = \"crate::x\\\" crate::y\";",
        "const A: &str = r#\"crate::x \" crate::y\"#;",
        "const A: &[u8] = b\"crate::x\"; const B: &[u8] = br\"crate::x\";",
        "pub(crate) fn f() {} pub(super) fn g() {}",
        "use std::{fs, io}; fn f(&self) { self.crate_name() }",
        "use foo::self_test::bar;",
    ] {
        assert_eq!(named(source), Vec::<String>::new(), "{source}");
    }
    let marks = "fn f<'a>(a: &'a str) { g('\"'); h('\\''); i(b'\"', '{') } use crate::x;";
    assert_eq!(named(marks), ["x"]);
}

#[test]
fn lines_are_counted_through_texts_and_comments() {
    let source = "/* 1\n2 */\nconst A: &str = \"\n4\";\nuse crate::x;\n";
    let named = scan::paths(source, &["a".to_owned()], false);
    assert_eq!(named[0].line, 5);
}

#[test]
fn modules_for_tests_are_known() {
    let source = "#[cfg(test)]\nuse crate::x;\nuse crate::y;\n#[cfg(test)]\nmod tests { fn f() { crate::z::g() } }\n";
    let tests: Vec<_> = scan::paths(source, &["a".to_owned()], false)
        .into_iter()
        .map(|named| named.test)
        .collect();
    assert_eq!(tests, [true, false, true]);
}

#[test]
fn a_forbidden_edge_is_told_with_its_place() {
    assert_eq!(
        edges("src/model/name.rs", "use crate::backend::Backend;"),
        ["src/model/name.rs:1: `model` may not use `backend::Backend`"]
    );
    assert_eq!(edges("src/config.rs", "use super::engines;").len(), 1);
    assert_eq!(
        edges("src/grpc/list.rs", "\nuse crate::{manager, backend};"),
        ["src/grpc/list.rs:2: `grpc` may not use `backend`"]
    );
    assert_eq!(edges("src/attic.rs", "").len(), 1);
    assert_eq!(edges("src/model.rs", "use crate::*;").len(), 1);
}

#[test]
fn allowed_edges_are_silent() {
    assert!(
        edges(
            "src/backend/embedded.rs",
            "use crate::{gguf::Header, model, source::Source, telemetry};"
        )
        .is_empty()
    );
    assert!(
        edges(
            "src/model/name.rs",
            "use super::digest; use crate::model::level; use super::super::model;"
        )
        .is_empty()
    );
    assert!(edges("src/app.rs", "use crate::{cli, grpc, manager};").is_empty());
    assert!(edges("src/main.rs", "use model_control::{app, cli};").is_empty());
}

/// Under another name the whole crate could be reached, and no word of it be seen.
#[test]
fn the_crate_itself_is_named_by_its_roots_only() {
    let source = "use crate::{self as all};";
    assert_eq!(
        edges("src/manager.rs", source),
        ["src/manager.rs:1: `manager` may not use ``"]
    );
    assert_eq!(edges("src/cli.rs", "use super::{self as all};").len(), 1);
    for root in ["src/app.rs", "src/app/stop.rs", "src/lib.rs", "src/main.rs"] {
        assert!(edges(root, source).is_empty(), "{root}");
    }
}

#[test]
fn an_edge_downwards_is_told() {
    let map: &[(&str, &[&str])] = &[
        ("a", &[]),
        ("b", &["a", "c::d", "b"]),
        ("c", &["a::x", "e"]),
        ("d", &["*"]),
    ];
    assert_eq!(
        downward(map),
        [
            "`c::d` is not above `b`",
            "`b` is not above `b`",
            "`e` is not above `c`"
        ]
    );
}

#[test]
fn an_edge_between_engines_is_told() {
    let source = "use super::{call, embedded::AllowList, registries};";
    assert_eq!(
        between_engines("src/backend/ollama.rs", source),
        ["src/backend/ollama.rs:1: `ollama` may not use `backend::embedded::AllowList`"]
    );
    let source = "use crate::backend::ollama::client;";
    assert_eq!(between_engines("src/backend/embedded/pull.rs", source).len(), 1);
    assert_eq!(between_engines("src/backend/embedded/tests/pull.rs", source).len(), 1);
    for path in ["src/backend/ollama/pull.rs", "src/backend/files.rs", "src/engines.rs"] {
        assert!(between_engines(path, source).is_empty(), "{path}");
    }
}

#[test]
fn the_client_sees_only_the_generated_code() {
    assert!(edges("src/cli/list.rs", "use crate::grpc::proto::v1::Model;").is_empty());
    assert_eq!(edges("src/cli/list.rs", "use crate::grpc::{proto, decode};").len(), 1);
    assert_eq!(edges("src/cli/list.rs", "use crate::grpc;").len(), 1);
}

#[test]
fn tests_may_build_model_files() {
    let source = "use crate::gguf::build;";
    assert_eq!(edges("src/manager.rs", source).len(), 1);
    assert!(edges("src/manager/tests.rs", source).is_empty());
    assert!(edges("src/manager/tests/import.rs", source).is_empty());
    assert!(
        edges(
            "src/manager.rs",
            "#[cfg(test)] mod tests { use crate::gguf::build::Gguf; }"
        )
        .is_empty()
    );
    assert_eq!(edges("src/manager/tests.rs", "use crate::gguf::Header;").len(), 1);
}

#[test]
fn foreign_crates_are_found() {
    assert_eq!(foreign("src/manager.rs", "use tonic::Status;").len(), 1);
    assert_eq!(foreign("src/manager.rs", "use tonic_types::StatusExt;").len(), 1);
    assert!(foreign("src/manager.rs", "// tonic would do\nuse tokio::sync::watch;").is_empty());
    assert!(foreign("src/grpc/accept.rs", "use tonic::Status;").is_empty());
    assert_eq!(foreign("src/grpc/accept.rs", "use tonic::{Code, Status};").len(), 1);
    assert_eq!(foreign("src/grpc/accept.rs", "fn f() { tonic::Code::Ok; }").len(), 1);
    assert!(foreign("src/grpc/status.rs", "use tonic::Code;").is_empty());
    assert!(foreign("src/grpc/health/tests.rs", "use tonic::Code;").is_empty());
    assert_eq!(foreign("src/manager/tests.rs", "use tonic::Code;").len(), 2);
    assert!(foreign("src/cli/errors.rs", "use tonic::Code;").is_empty());
    assert_eq!(foreign("src/engines.rs", "use reqwest::Client;").len(), 1);
    assert!(foreign("src/backend/ollama/client.rs", "use reqwest::Client;").is_empty());
}

#[test]
fn rows_of_the_map_are_read() {
    let uses = |line| row(line).map(|(room, uses)| format!("{room}: {}", uses.join(" ")));
    assert_eq!(uses("//! | [`a`] | holds `x` | `b`, `c` |").as_deref(), Some("a: b c"));
    assert_eq!(
        uses("//! | [`a`] | holds | nothing; all may use it |").as_deref(),
        Some("a: ")
    );
    assert_eq!(uses("//! | [`a`] | holds | all |").as_deref(), Some("a: *"));
    assert_eq!(uses("//! | room | holds | may use |"), None);
}
