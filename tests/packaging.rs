//! What packages are made of: manual pages, completions, the systemd unit.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/missing.rs"]
mod missing;
// What the pages are made of: the same words as the program's.
#[path = "../src/main.rs"]
#[allow(dead_code)]
mod program;

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use clap::CommandFactory as _;

const PROGRAM: &str = env!("CARGO_BIN_EXE_model-control");
/// Of systemd's scale, which ends at 10: what docs/operations.md promises.
const EXPOSURE: f64 = 1.5;

fn told(args: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(args).env_clear().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The words below a word, as its help lists them.
fn words(help: &str) -> Vec<String> {
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

/// The flags that a help explains, `--config` and the like.
fn flags(help: &str) -> BTreeSet<String> {
    let explained = |line: &str| line.trim_start().starts_with('-').then(|| line.to_owned());
    help.lines()
        .filter_map(explained)
        .filter_map(|line| Some(line.split_whitespace().find(|word| word.starts_with("--"))?.to_owned()))
        .collect()
}

#[test]
fn manual_pages_explain_every_word_and_flag() {
    let folder = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(program::Program::command(), folder.path()).unwrap();
    let (mut left, mut pages, mut known) = (vec![Vec::<String>::new()], 0, 0);
    while let Some(path) = left.pop() {
        let args: Vec<_> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = told(&args);
        let name = [&["model-control".to_owned()], &path[..]].concat().join("-");
        let page = fs::read_to_string(folder.path().join(format!("{name}.1"))).unwrap_or_default();
        let page = page.replace("\\-", "-");
        for flag in flags(&help) {
            let flag = flag.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
            assert!(page.contains(flag), "{name}.1 does not explain {flag}");
            known += 1;
        }
        pages += 1;
        left.extend(words(&help).into_iter().map(|word| [&path[..], &[word]].concat()));
    }
    assert!(
        pages > 20 && known > 200,
        "{pages} pages with {known} flags: the helps were not understood"
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), pages, "a page of no word");
}

#[test]
fn completions_know_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        assert!(told(&["completions", shell]).contains("operations"), "{shell}");
    }
}

/// Every flag that the unit gives is one, and systemd itself finds nothing wrong, nor much that it leaves open.
#[test]
fn the_systemd_unit_is_right_and_tight() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/systemd/model-control.service");
    let text = fs::read_to_string(&unit).unwrap();
    let help = told(&["serve", "--help"]);
    for line in text
        .lines()
        .filter_map(|line| line.strip_prefix("Environment=MODEL_CONTROL_"))
    {
        let name = format!("MODEL_CONTROL_{}", line.split('=').next().unwrap());
        assert!(help.contains(&format!("[env: {name}=")), "{name} is no setting");
    }
    let analyze = |args: &[&str], unit: &Path| Command::new("systemd-analyze").args(args).arg(unit).output();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path().join("model-control.service");
    fs::write(&here, text.replace("/usr/local/bin/model-control", PROGRAM)).unwrap();
    let Ok(verified) = analyze(&["verify", "--man=no"], &here) else {
        missing::skip("systemd-analyze is not installed");
        return;
    };
    let complaints = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(
        verified.status.success() && !complaints.contains("model-control"),
        "{complaints}"
    );
    let output = analyze(&["security", "--offline=true", "--no-pager"], &unit).unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let exposure = output
        .lines()
        .rev()
        .find_map(|line| line.split_once("model-control.service: "))
        .expect("a score")
        .1;
    let exposure: f64 = exposure.split(' ').next().unwrap().parse().unwrap();
    assert!(exposure <= EXPOSURE, "{output}");
}

/// The version stands in Cargo.toml; whatever else names it is compared.
#[test]
fn there_is_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    assert!(read("helm/model-control/Chart.yaml").contains(&format!("\nappVersion: \"{version}\"\n")));
    // What the version brings is told: by the section that its release has, and before that by the entries it is made of.
    let mut entries = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("changes")).unwrap();
    let unreleased = entries.any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('+'));
    let released = read("CHANGELOG.md").contains(&format!("\n## [{version}] - "));
    assert!(
        released || unreleased,
        "neither CHANGELOG.md nor changes/ tells of {version}"
    );
    let readme = read("README.md");
    for before in ["\nmodel-control ", "/model-control:", "(tag `"] {
        let named = readme
            .split(before)
            .skip(1)
            .filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        let named: Vec<_> = named.map(|rest| rest.starts_with(version)).collect();
        assert!(
            !named.is_empty() && named.iter().all(|same| *same),
            "README.md names another version after {before:?}"
        );
    }
    let proto = read("proto/ichat/modelcontrol/v1/model_control_service.proto");
    assert!(proto.contains(&format!("semantic version of this service: `{version}`")));
}
