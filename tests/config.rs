//! The configuration as a process sees it: with an environment of its own.
//!
//! Each case runs this test program again, as a process whose environment is known; only that may set variables without
//! touching the other tests.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output},
};

use clap::Parser;
use model_control::config::{Folders, ServeArgs, load, print, warnings};

/// Set in the process that loads the configuration: its flags, one a line.
const FLAGS: &str = "CONFIG_TEST_FLAGS";

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    serve: ServeArgs,
}

/// Loads and prints the configuration in the process that [`run`] starts.
#[test]
#[ignore = "runs in processes of its own, by the tests below"]
fn child() {
    let Ok(flags) = std::env::var(FLAGS) else {
        return;
    };
    let arguments = ["serve"].into_iter().chain(flags.lines());
    let mut out = std::io::stdout();
    match Program::try_parse_from(arguments) {
        Err(error) => write!(out, "USAGE {error}").unwrap(),
        Ok(program) => match load(&program.serve, &Folders::of_user().unwrap()) {
            Err(errors) => writeln!(out, "ERRORS\n{errors}").unwrap(),
            Ok(config) => {
                writeln!(out, "CONFIG\n{}", print(&config)).unwrap();
                for warning in warnings(&config) {
                    writeln!(out, "WARNING {warning}").unwrap();
                }
            }
        },
    }
}

/// What the configuration of a process in `folder` is, as text.
fn run(folder: &Path, variables: &[(&str, &str)], flags: &[&str]) -> String {
    let Output { status, stdout, .. } = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "child", "--exact", "--nocapture", "--test-threads=1"])
        .current_dir(folder)
        .env_clear()
        .env("HOME", "/home/somebody")
        .env(FLAGS, flags.join("\n"))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8(stdout).unwrap();
    assert!(status.success() && told.contains("1 passed"), "{told}");
    told
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_default() {
    let folder = folder();
    let variables = [
        ("MODEL_CONTROL_MAX_STREAMS", "11"),
        ("MODEL_CONTROL_MAX_CONNECTIONS", "12"),
        ("MODEL_CONTROL_PROBE_INTERVAL", "2m"),
        ("MODEL_CONTROL_STATE_DIR", "/state"),
    ];
    let text = run(folder.path(), &variables, &["--max-streams=22", "--state-dir", "here"]);
    let here = folder.path().canonicalize().unwrap().join("here");
    for line in [
        "max_streams: 22 # flag",
        "max_connections: 12 # environment",
        "probe_interval: 2m # environment",
        "max_operations: 64 # default",
        &format!("state_dir: \"{}\" # flag", here.display()),
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn every_flag_has_its_twin() {
    use clap::CommandFactory as _;
    let command = Program::command();
    let ours = command.get_arguments().filter(|argument| argument.get_id() != "help");
    let mut count = 0;
    for argument in ours {
        let flag = argument.get_long().unwrap();
        let twin = format!("MODEL_CONTROL_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(argument.get_env().unwrap().to_str(), Some(&*twin), "{flag}");
        assert!(argument.get_help().is_some(), "{flag}");
        count += 1;
    }
    assert_eq!(count, 40);
}

#[test]
fn the_variable_of_roots_is_a_list_and_the_flag_is_not() {
    let folder = folder();
    let roots = [("MODEL_CONTROL_MODEL_ROOT", "/a:/b::/c")];
    let text = run(folder.path(), &roots, &[]);
    assert!(
        text.contains("model_roots: [\"/a\", \"/b\", \"/c\"] # environment"),
        "{text}"
    );
    let text = run(folder.path(), &roots, &["--model-root=/d:e"]);
    assert!(text.contains("model_roots: [\"/d:e\"] # flag"), "{text}");
}

#[test]
fn a_switch_in_the_environment_is_read_as_people_write_it() {
    let folder = folder();
    let open = "--listen=0.0.0.0:50051";
    for yes in ["true", "1", "yes", "on"] {
        let text = run(folder.path(), &[("MODEL_CONTROL_ALLOW_UNAUTHENTICATED", yes)], &[open]);
        assert!(
            text.contains("allow_unauthenticated: true # environment"),
            "{yes}: {text}"
        );
        assert!(text.contains("WARNING --allow-unauthenticated"), "{yes}: {text}");
    }
    for no in ["false", "0", "no", "off"] {
        let text = run(folder.path(), &[("MODEL_CONTROL_ALLOW_UNAUTHENTICATED", no)], &[open]);
        assert!(text.contains("ERRORS\n--listen 0.0.0.0:50051: "), "{no}: {text}");
    }
    let text = run(
        folder.path(),
        &[("MODEL_CONTROL_ALLOW_UNAUTHENTICATED", "perhaps")],
        &[],
    );
    assert!(text.contains("USAGE error: invalid value 'perhaps'"), "{text}");
}

/// As in a container beside services called `model-control` and `model-control-health`.
#[test]
fn what_kubernetes_injects_harms_nothing() {
    let folder = folder();
    let plain = run(folder.path(), &[], &[]);
    let injected = [
        ("MODEL_CONTROL_SERVICE_HOST", "10.0.0.1"),
        ("MODEL_CONTROL_SERVICE_PORT", "50051"),
        ("MODEL_CONTROL_SERVICE_PORT_GRPC", "50051"),
        ("MODEL_CONTROL_PORT", "tcp://10.0.0.1:50051"),
        ("MODEL_CONTROL_PORT_50051_TCP", "tcp://10.0.0.1:50051"),
        ("MODEL_CONTROL_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("MODEL_CONTROL_HEALTH_SERVICE_HOST", "10.0.0.2"),
        ("MODEL_CONTROL_HEALTH_PORT", "tcp://10.0.0.2:50052"),
        ("MODEL_CONTROL_CLIENT_SERVER", "http://elsewhere:1"),
        ("MODEL_CONTROL_SOMETHING_NEW", "x"),
    ];
    let beside = run(folder.path(), &injected, &[]);
    let config = |text: &str| text[text.find("CONFIG").unwrap()..text.find("test result").unwrap()].to_owned();
    // The harness's own words and times follow the configuration.
    let config = |text: &str| {
        config(text)
            .lines()
            .take_while(|line| !line.is_empty())
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(config(&plain), config(&beside));
}

#[test]
fn defaults_lie_in_the_users_folders() {
    let folder = folder();
    let text = run(folder.path(), &[], &[]);
    assert!(text.contains("# no file\n"), "{text}");
    if cfg!(target_os = "linux") {
        assert!(
            text.contains("state_dir: \"/home/somebody/.local/state/model-control\" # default"),
            "{text}"
        );
        assert!(
            text.contains("store: \"/home/somebody/.local/share/model-control/models\""),
            "{text}"
        );
        let folders = [("XDG_STATE_HOME", "/xdg/state"), ("XDG_DATA_HOME", "/xdg/data")];
        let text = run(folder.path(), &folders, &[]);
        assert!(
            text.contains("state_dir: \"/xdg/state/model-control\" # default"),
            "{text}"
        );
        assert!(text.contains("store: \"/xdg/data/model-control/models\""), "{text}");
    }
}

#[test]
fn the_file_in_the_working_folder_is_read_and_a_variable_may_name_another() {
    let folder = folder();
    let entry = |name: &str| format!("- name: {name}\n  framework: embedded\n  backend_argv: [--store=models]\n");
    std::fs::write(folder.path().join("configs.yaml"), entry("default")).unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    std::fs::write(folder.path().join("etc/other.yaml"), entry("other")).unwrap();
    let here = folder.path().canonicalize().unwrap();
    let text = run(folder.path(), &[], &[]);
    assert!(text.contains("name: \"default\""), "{text}");
    assert!(
        text.contains(&format!("store: \"{}\"", here.join("models").display())),
        "{text}"
    );
    let text = run(folder.path(), &[("MODEL_CONTROL_CONFIG", "etc/other.yaml")], &[]);
    assert!(text.contains("name: \"other\""), "{text}");
    assert!(
        text.contains(&format!("store: \"{}\"", here.join("etc/models").display())),
        "{text}"
    );
    let text = run(folder.path(), &[("MODEL_CONTROL_CONFIG", "none.yaml")], &[]);
    assert!(text.contains("ERRORS\nnone.yaml: could not be read: "), "{text}");
}

/// The program itself, with nobody's environment.
fn program(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-control"));
    command.args(words).current_dir(folder).env_clear().env("HOME", folder);
    command
}

#[test]
fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is_told() {
    let folder = folder();
    for words in [["config", "print"], ["config", "check"], ["config", "schema"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = program(folder.path(), &words).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{words:?}");

        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let output = program(folder.path(), &words).stdout(full).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(
            said.starts_with("error: cannot write the output: "),
            "{words:?}: {said}"
        );
    }
}

#[test]
fn a_root_or_a_filter_that_is_none_is_told_with_all_else_that_is_wrong() {
    let folder = folder();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let flags = [
        "--model-root=/nowhere/at/all",
        "--model-root=file",
        "--model-root=.",
        "--metrics-listen=127.0.0.1:50051",
        "--log=inof",
    ];
    for words in [&["config", "check"][..], &["config", "print"], &["serve"]] {
        let output = program(folder.path(), words).args(flags).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        for wrong in [
            "--model-root /nowhere/at/all: is no folder that can be opened: No such file",
            "/file: is no folder that can be opened: Not a directory",
            "--metrics-listen is the same address",
            "--log inof: `inof` is no level of the log",
        ] {
            assert!(said.contains(wrong), "{words:?}: {said}");
        }
        assert_eq!(said.matches("is no folder").count(), 2, "{words:?}: {said}");
    }
    let root = ["config", "check", "--model-root=."];
    let output = program(folder.path(), &root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}
