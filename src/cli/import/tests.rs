use std::io::Write as _;

use super::*;

#[derive(Debug, clap::Parser)]
struct Command {
    #[command(flatten)]
    import: ImportArgs,
}

fn options(args: &[&str]) -> Option<ImportOptions> {
    let command = <Command as clap::Parser>::try_parse_from(std::iter::once(&"x").chain(args)).unwrap();
    command.import.options().unwrap()
}

#[test]
fn values_keep_their_json_type() {
    for (text, kind) in [
        ("temperature=0.7", Kind::NumberValue(0.7)),
        ("num_ctx=4096", Kind::NumberValue(4096.0)),
        ("penalize=true", Kind::BoolValue(true)),
        ("stop=\"1\"", Kind::StringValue("1".to_owned())),
        ("stop=</s>", Kind::StringValue("</s>".to_owned())),
        ("stop=a=b", Kind::StringValue("a=b".to_owned())),
        ("stop=", Kind::StringValue(String::new())),
    ] {
        assert_eq!(parse_parameter(text).unwrap().1.kind, Some(kind), "{text}");
    }
    for bad in [
        "x",
        "=1",
        "x=null",
        "x=[1]",
        "x={}",
        "seed=9007199254740993",
        "seed=-9007199254740993",
    ] {
        assert!(parse_parameter(bad).is_err(), "{bad}");
    }
}

#[test]
fn no_flag_means_no_options_and_an_empty_text_means_none() {
    assert_eq!(options(&[]), None);
    let options = options(&["--system", ""]).unwrap();
    assert_eq!((options.system.as_deref(), options.template), (Some(""), None));
}

#[test]
fn repeated_parameters_make_a_list() {
    let options = options(&[
        "--parameter",
        "stop=a",
        "--parameter",
        "stop=b",
        "--parameter",
        "stop=3",
    ])
    .unwrap();
    let Some(Kind::ListValue(list)) = &options.parameters.unwrap().fields["stop"].kind else {
        panic!("no list")
    };
    assert_eq!(list.values.len(), 3);
}

#[test]
fn texts_come_from_files_of_this_machine() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all("{{ .Prompt }}\n".as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let options = options(&[
        "--template-file",
        path,
        "--license-file",
        path,
        "--message",
        "user=hi=ho",
    ])
    .unwrap();
    assert_eq!(options.template.as_deref(), Some("{{ .Prompt }}\n"));
    assert_eq!(options.license, ["{{ .Prompt }}\n"]);
    assert_eq!(options.messages[0].content, "hi=ho");

    file.as_file().set_len(MAX_TEXT + 1).unwrap();
    assert!(matches!(read_text(file.path()), Err(Stop::Usage(m)) if m.contains("1 MiB")));
    assert!(matches!(read_text(Path::new("/nowhere/x")), Err(Stop::Usage(_))));
}

#[test]
fn paths_are_made_absolute() {
    let here = std::env::current_dir().unwrap();
    let here = here.to_str().unwrap();
    let above = Path::new(here).parent().unwrap().to_str().unwrap();
    for (given, sent) in [
        ("/models/../a.gguf", "/models/../a.gguf".to_owned()),
        ("a.gguf", format!("{here}/a.gguf")),
        ("./b/../a.gguf", format!("{here}/b/../a.gguf")),
        (".", here.to_owned()),
        ("../a.gguf", format!("{above}/a.gguf")),
        (".././a.gguf", format!("{above}/a.gguf")),
    ] {
        assert_eq!(server_path(Path::new(given)).unwrap(), sent, "{given}");
    }
    assert!(server_path(Path::new("")).is_err());
}
