use std::{fs, time::Duration};

use clap::Parser;

use super::*;
use crate::config::{Framework, Run, print, warnings};

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    serve: ServeArgs,
}

fn args(flags: &[&str]) -> ServeArgs {
    Program::try_parse_from([&["serve"], flags].concat()).unwrap().serve
}

/// A working folder with this `configs.yaml`, if any.
struct Fixture {
    working: tempfile::TempDir,
    folders: Folders,
}

impl Fixture {
    fn new(file: Option<&str>) -> Self {
        let working = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            fs::write(working.path().join("configs.yaml"), text).unwrap();
        }
        let folders = Folders {
            working: working.path().to_owned(),
            data: Some("/data".into()),
            state: Some("/state".into()),
        };
        Self { working, folders }
    }

    fn load(&self, flags: &[&str]) -> Result<Config, String> {
        load(&args(flags), &self.folders).map_err(|errors| errors.to_string())
    }
}

#[test]
fn without_file_and_flags_there_is_one_embedded_backend() {
    let config = Fixture::new(None).load(&[]).unwrap();
    assert_eq!(config.digest, Digest::of(b""));
    assert_eq!(config.file, None);
    let [entry] = &config.entries[..] else {
        panic!("{config:?}");
    };
    assert_eq!(entry.name, "embedded");
    let store = PathBuf::from("/data/model-control/models");
    assert_eq!(
        entry.framework,
        Framework::Embedded {
            store,
            run: Run::default()
        }
    );
    let server = config.server;
    assert_eq!(server.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(server.health_listen, None);
    assert_eq!(server.state_dir, Path::new("/state/model-control"));
    assert!(server.model_roots.is_empty() && !server.allow_unauthenticated);
    assert_eq!(
        (server.max_connections, server.max_streams, server.max_message_bytes),
        (1024, 200, 4 << 20)
    );
    assert_eq!((server.max_operations, server.keep_operations), (64, 256));
    let seconds = |seconds| Duration::from_secs(seconds);
    assert_eq!(
        (server.handshake_timeout, server.keep_operations_for),
        (seconds(10), seconds(3600))
    );
    assert_eq!(
        (server.probe_interval, server.drain_delay, server.drain_timeout),
        (seconds(5), seconds(2), seconds(20))
    );
}

#[test]
fn the_default_file_is_read_when_it_is_there_and_a_named_one_must_be() {
    let text = "- name: mine\n  framework: embedded\n  backend_argv: [--model=m, --model-path=models/m.gguf]\n";
    let fixture = Fixture::new(Some(text));
    let config = fixture.load(&[]).unwrap();
    assert_eq!(config.entries[0].name, "mine");
    assert_eq!(config.file.as_deref(), Some(Path::new("configs.yaml")));
    assert_eq!(config.digest, Digest::of(text.as_bytes()));
    let path = config.entries[0].desired[0].path.as_deref();
    assert_eq!(path, Some(&*fixture.working.path().join("models/m.gguf")));

    // Relative paths are relative to the file, not to where the service was started.
    fs::create_dir(fixture.working.path().join("etc")).unwrap();
    fs::write(fixture.working.path().join("etc/c.yaml"), text).unwrap();
    let config = fixture.load(&["--config=etc/c.yaml"]).unwrap();
    let path = config.entries[0].desired[0].path.as_deref();
    assert_eq!(path, Some(&*fixture.working.path().join("etc/models/m.gguf")));

    let missing = fixture.load(&["--config=none.yaml"]).unwrap_err();
    assert_eq!(
        missing,
        "none.yaml: could not be read: No such file or directory (os error 2)"
    );
    let folder = fixture.load(&["--config=etc"]).unwrap_err();
    assert_eq!(folder, "etc: could not be read: Is a directory (os error 21)");
    let large = " ".repeat(MAX_BYTES * 2);
    fs::write(fixture.working.path().join("large.yaml"), large).unwrap();
    assert_eq!(
        fixture.load(&["--config=large.yaml"]).unwrap_err(),
        "large.yaml: is larger than 1 MiB"
    );
}

#[test]
fn all_problems_of_flags_and_file_are_told_together_and_in_order() {
    let fixture = Fixture::new(Some(
        "- name: a\n  framework: embedded\n  backend_argv:\n    - --modle=x\n- just a word\n- name: a\n  framework: vllm\n",
    ));
    let told = fixture
        .load(&["--listen=0.0.0.0:50051", "--health-listen=0.0.0.0:50051"])
        .unwrap_err();
    let expected = "\
--listen 0.0.0.0:50051: whoever reaches this address could call the service. Give --token-file, or --tls-client-ca-file, \
listen on a loopback address, or give --allow-unauthenticated to accept that
--health-listen is the same address as --listen, which serves health as well: leave it out
configs.yaml:4: entry `a`: unknown flag `--modle`: did you mean `--model`?
configs.yaml:5: entry `#2`: must be a map with `name`, `framework` and `backend_argv`
configs.yaml:6: entry `a`: the name is taken by the entry in line 1";
    assert_eq!(told, expected);
}

#[test]
fn who_may_call_is_said_without_contradiction() {
    let fixture = Fixture::new(None);
    let told = |flags: &[&str]| fixture.load(flags).err().unwrap_or_default();
    for (flags, said) in [
        (vec!["--tls-cert-file=c"], "--tls-cert-file: needs --tls-key-file"),
        (vec!["--tls-key-file=k"], "--tls-key-file: needs --tls-cert-file"),
        (
            vec!["--tls-client-ca-file=a"],
            "--tls-client-ca-file: needs --tls-cert-file",
        ),
        (
            vec!["--tls-client-scopes=a=read"],
            "--tls-client-scopes: needs --tls-client-ca-file",
        ),
        (
            vec!["--token-file=t", "--allow-unauthenticated"],
            "--allow-unauthenticated contradicts",
        ),
        (
            vec![
                "--tls-cert-file=c",
                "--tls-key-file=k",
                "--tls-client-ca-file=a",
                "--tls-client-scopes=a=read,a=control",
            ],
            "`a` is listed twice",
        ),
    ] {
        assert!(told(&flags).contains(said), "{flags:?}: {}", told(&flags));
    }
    let config = fixture.load(&["--listen=0.0.0.0:1", "--token-file=t"]).unwrap();
    assert_eq!(config.server.access.token_file, Some(fixture.folders.working.join("t")));
    assert!(
        warnings(&config)
            .iter()
            .any(|warning| warning.contains("in plain text"))
    );
    let tls = ["--listen=0.0.0.0:1", "--tls-cert-file=c", "--tls-key-file=k"];
    assert!(
        told(&tls).contains("--token-file"),
        "a certificate of ours says nothing of callers"
    );
    let config = fixture.load(&[&tls[..], &["--token-file=t"]].concat()).unwrap();
    assert_eq!(warnings(&config).len(), 0, "{:?}", warnings(&config));
}

#[test]
fn only_loopback_is_open_to_anybody_unasked() {
    let fixture = Fixture::new(None);
    for loopback in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(fixture.load(&["--listen", loopback]).is_ok(), "{loopback}");
    }
    for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[::ffff:10.0.0.1]:1"] {
        assert!(
            fixture
                .load(&["--listen", open])
                .unwrap_err()
                .contains("--allow-unauthenticated"),
            "{open}"
        );
        let config = fixture.load(&["--listen", open, "--allow-unauthenticated"]).unwrap();
        assert_eq!(
            warnings(&config),
            [format!(
                "--allow-unauthenticated: whoever reaches {open} may call the service"
            )]
        );
    }
    // Health may be seen by all.
    assert!(fixture.load(&["--health-listen=0.0.0.0:50052"]).is_ok());
    assert!(
        fixture
            .load(&["--listen=127.0.0.1:0", "--health-listen=127.0.0.1:0"])
            .is_ok()
    );
}

#[test]
fn a_user_without_folders_must_name_them() {
    let mut fixture = Fixture::new(None);
    fixture.folders.data = None;
    fixture.folders.state = None;
    let told = fixture.load(&[]).unwrap_err();
    let expected = "\
this user has no state folder: say with --state-dir where the service keeps what must outlive it
this user has no data folder: give --config and in its file an entry of framework `embedded` with `--store`";
    assert_eq!(told, expected);
    fs::write(
        fixture.working.path().join("configs.yaml"),
        "- {name: a, framework: embedded, backend_argv: [--store=/s]}\n",
    )
    .unwrap();
    let config = fixture.load(&["--state-dir=state"]).unwrap();
    assert_eq!(config.server.state_dir, fixture.working.path().join("state"));
}

#[test]
fn a_root_given_as_a_flag_is_one_folder() {
    let fixture = Fixture::new(None);
    let config = fixture.load(&["--model-root=/a:b", "--model-root", "c"]).unwrap();
    assert_eq!(
        config.server.model_roots,
        [PathBuf::from("/a:b"), fixture.working.path().join("c")]
    );
}

#[test]
fn flags_are_bounded() {
    for (flag, told) in [
        ("--max-connections=0", "0 is not in 1..=65536"),
        ("--max-streams=0", "0 is not in 1..=10000"),
        ("--max-message-size=1KiB", "must be from 4KiB to 64MiB"),
        (
            "--max-message-size=4194304",
            "a size is a number and its unit: `4096B`, `64KiB` or `4MiB`",
        ),
        (
            "--handshake-timeout=10",
            "a duration is a number and its unit: `500ms`, `30s`, `2m` or `1h`",
        ),
        ("--handshake-timeout=1h", "must be from 100ms to 5m"),
        ("--max-operations=0", "0 is not in 1..=10000"),
        ("--keep-operations=100001", "100001 is not in 0..=100000"),
        ("--keep-operations-for=721h", "must be from 0s to 720h"),
        ("--probe-interval=1ms", "must be from 100ms to 1h"),
        ("--drain-delay=6m", "must be from 0s to 5m"),
        ("--drain-timeout=2h", "must be from 0s to 1h"),
        ("--listen=50051", "invalid socket address syntax"),
        ("--log-format=xml", "[possible values: text, json]"),
        (
            "--model-root=",
            "a value is required for '--model-root <FOLDER>' but none was supplied",
        ),
        ("--port=1", "unexpected argument '--port' found"),
    ] {
        let error = Program::try_parse_from(["serve", flag]).unwrap_err().to_string();
        assert!(error.contains(told), "{flag}: {error}");
    }
}

#[test]
fn the_configuration_is_printed_with_its_origins() {
    let fixture = Fixture::new(Some(
        "- name: a\n  framework: embedded\n  backend_argv: [--store=/s, --model=m, --model-path=/m.gguf, --insecure]\n\
         - name: b\n  framework: ollama\n  backend_argv: [\"--host=gpu/v\", --header-file=/h]\n\
         - name: c\n  framework: vllm\n  backend_argv: [\"--host=http://me:secret@host\"]\n",
    ));
    let config = fixture
        .load(&[
            "--max-streams=7",
            "--model-root=/models",
            "--proxy=http://u:secret@proxy:3128",
        ])
        .unwrap();
    let text = print(&config);
    let digest = &config.digest;
    let expected = format!(
        "\
# configs.yaml
digest: {digest}
server:
  listen: \"127.0.0.1:50051\" # default
  health_listen: null # default
  metrics_listen: null # default
  otlp_endpoint: null # default
  state_dir: \"/state/model-control\" # default
  model_roots: [\"/models\"] # flag
  allow_unauthenticated: false # default
  max_connections: 1024 # default
  max_streams: 7 # flag
  max_message_size: 4MiB # default
  max_handshakes: 256 # default
  handshake_timeout: 10s # default
  max_operations: 64 # default
  keep_operations: 256 # default
  keep_operations_for: 1h # default
  probe_interval: 5s # default
  drain_delay: 2s # default
  drain_timeout: 20s # default
  tls_cert_file: null # default
  tls_key_file: null # default
  tls_client_ca_file: null # default
  tls_client_scopes: [] # default
  token_file: null # default
  allow_registries: [\"registry.ollama.ai\", \"hf.co\"] # default
  registry_auth_file: null # default
  registry_ca_file: null # default
  proxy: \"http://[redacted]@proxy:3128\" # flag
  max_concurrent_pulls: 8 # default
  pull_connections: 24 # default
  pull_part_size: 16MiB # default
  llama_server: null # default
  engine_listen: \"127.0.0.1\" # default
  engine_advertise: null # default
  engine_ports: null # default
  engine_key_file: null # default
  max_loaded: null # default
  memory_limit: null # default
entries:
  - name: \"a\"
    framework: embedded
    store: \"/s\"
    models:
      - name: \"m:latest\"
        level: on-disk
        ensure: startup
        path: \"/m.gguf\"
        insecure: true
  - name: \"b\"
    framework: ollama
    host: \"http://gpu:11434/v\"
    header_file: \"/h\"
  - name: \"c\"
    framework: \"vllm\" # not supported
"
    );
    assert_eq!(text, expected);
    let warned = [
        "entry `a`: model `m:latest`: nothing lies at /m.gguf",
        "entry `c`: framework `vllm` is not supported and is only listed",
    ];
    assert_eq!(warnings(&config), warned);
}

#[test]
fn a_framework_that_is_nearly_known_is_warned_about() {
    let config = Fixture::new(Some("- {name: a, framework: Embeded}\n"))
        .load(&[])
        .unwrap();
    let warned = [
        "entry `a`: framework `Embeded` is not supported and is only listed: did you mean `embedded`?",
        "no entry is of a framework that this version supports: nothing will become ready",
    ];
    assert_eq!(warnings(&config), warned);
}
