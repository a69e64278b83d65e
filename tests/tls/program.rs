//! The program: how it starts, reloads by itself, logs, and what its client says.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    authority::{Authority, Pair, expired},
    client::serial,
    scene::{LONG, Mount, TOKENS},
};

/// A running service; its end is that of this value.
struct Service {
    child: Child,
    log: tempfile::NamedTempFile,
    _state: tempfile::TempDir,
    address: SocketAddr,
}

impl Service {
    async fn start(mount: &Mount, flags: &[&str]) -> Self {
        let (state, log) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let child = serve(state.path(), mount, flags)
            .stderr(Stdio::from(log.reopen().unwrap()))
            .spawn()
            .unwrap();
        let mut service = Self {
            child,
            log,
            _state: state,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let line = service.said("listening\"").await;
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        service.address = line["address"].as_str().unwrap().parse().unwrap();
        service
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log.path()).unwrap()
    }

    /// The first line of the log with these words.
    async fn said(&self, words: &str) -> String {
        let (began, mut pause) = (Instant::now(), tokio::time::interval(Duration::from_millis(20)));
        while began.elapsed() < LONG {
            pause.tick().await;
            let log = self.log();
            // Whole lines only.
            let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(line) = whole.lines().find(|line| line.contains(words)) {
                return line.to_owned();
            }
        }
        panic!("`{words}` was not said:\n{}", self.log());
    }

    /// What `/metrics` tells.
    async fn metrics(&self) -> String {
        let line: serde_json::Value = serde_json::from_str(&self.said("listening for metrics").await).unwrap();
        let mut socket = TcpStream::connect(line["address"].as_str().unwrap()).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(LONG, socket.read_to_string(&mut answer))
            .await
            .unwrap()
            .unwrap();
        answer
    }

    /// A word of the client.
    async fn word(&self, scheme: &str, words: &[&str]) -> Output {
        let server = format!("{scheme}://127.0.0.1:{}", self.address.port());
        client(&[&["--server", &server], words].concat()).await
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-control"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn serve(state: &Path, mount: &Mount, flags: &[&str]) -> Command {
    let mut command = program();
    command.current_dir(state).env("HOME", state).arg("serve");
    command.args([
        "--listen=127.0.0.1:0",
        "--drain-delay=0s",
        "--log-format=json",
        "--log=debug",
    ]);
    for (flag, name) in [
        ("--tls-cert-file", "tls.crt"),
        ("--tls-key-file", "tls.key"),
        ("--tls-client-ca-file", "ca.crt"),
        ("--token-file", "tokens.yaml"),
    ] {
        if mount.path(name).exists() {
            command.arg(flag).arg(mount.path(name));
        }
    }
    command.args(flags);
    command
}

async fn client(words: &[&str]) -> Output {
    let mut command = program();
    command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Files of a client: its authority, certificate and token.
fn files(authority: &Authority, pair: &Pair, token: &str) -> Mount {
    Mount::new(&[
        ("ca", &authority.pem),
        ("cert", &pair.cert),
        ("key", &pair.key),
        ("token", token),
    ])
}

#[tokio::test]
async fn what_cannot_be_used_is_told_with_all_else_that_is_wrong() {
    let state = tempfile::tempdir().unwrap();
    let mount = Mount::new(&[("tls.crt", "half a cert"), ("tokens.yaml", "secret-that-is-long")]);
    let mut command = program();
    command
        .current_dir(state.path())
        .env("HOME", state.path())
        .args(["config", "check"]);
    command.args(["--health-listen=127.0.0.1:1", "--listen=127.0.0.1:1", "--tls-ca-file=x"]);
    command.arg("--tls-cert-file").arg(mount.path("tls.crt"));
    command.arg("--tls-key-file").arg(mount.path("gone"));
    command.arg("--token-file").arg(mount.path("tokens.yaml"));
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let told = errors(&output);
    assert_eq!(code(&output), 2, "{told}");
    for said in [
        "--tls-ca-file is a flag of the client",
        "--health-listen is the same address",
        "gone: could not be read",
        "tokens.yaml: want a YAML sequence",
    ] {
        assert!(told.contains(said), "{said} is not in\n{told}");
    }
    assert!(!told.contains("secret-that"), "{told}");
}

#[tokio::test]
async fn variables_of_the_client_are_not_the_servers() {
    let state = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .current_dir(state.path())
        .env("HOME", state.path())
        .args(["config", "print"]);
    for name in [
        "TOKEN_FILE",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
        "TLS_CA_FILE",
        "TLS_SERVER_NAME",
    ] {
        command.env(format!("MODEL_CONTROL_CLIENT_{name}"), "/of/the/client");
    }
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", errors(&output));
    assert!(text.contains("token_file: null # default"), "{text}");
    assert!(text.contains("tls_cert_file: null # default"), "{text}");
    assert!(!text.contains("/of/the/client"), "{text}");
}

#[tokio::test]
async fn changed_files_are_found_without_being_asked_for_and_said_once() {
    let authority = Authority::new();
    let (first, old, second) = (authority.server(), authority.issue(expired), authority.server());
    let mount = Mount::of(&first, &[("tokens.yaml", TOKENS)]);
    let service = Service::start(&mount, &["--metrics-listen=127.0.0.1:0"]).await;
    assert_eq!(serial(service.address, &authority).await, first.serial);
    let exchange = |pair: &Pair, key: &str| {
        mount.exchange(&[("tls.crt", &pair.cert), ("tls.key", key), ("tokens.yaml", TOKENS)]);
    };
    exchange(&second, &first.key);
    let said = service.said("cannot be used: the former stay in force").await;
    assert!(
        said.contains("is not the key of the certificate") && said.contains("WARN"),
        "{said}"
    );
    assert_eq!(serial(service.address, &authority).await, first.serial);
    exchange(&second, &second.key);
    service.said("new connections use them").await;
    assert_eq!(serial(service.address, &authority).await, second.serial);
    exchange(&old, &old.key);
    service.said("the server's certificate has expired").await;
    // The end of 2020, as `expired` says.
    let told = "model_control_certificate_expiry_timestamp_seconds{certificate=\"server\"} 1609459200";
    let metrics = service.metrics().await;
    assert!(metrics.lines().any(|line| line == told), "{metrics}");
    let log = service.log();
    assert_eq!(log.matches("cannot be used: the former").count(), 1, "{log}");
    assert_eq!(log.matches("new connections use them").count(), 2, "{log}");
    assert!(!log.contains("token-of-") && !log.contains("PRIVATE KEY"), "{log}");
}

#[tokio::test]
async fn the_audit_names_the_caller_and_nobody_its_token() {
    let authority = Authority::new();
    let mount = Mount::of(&authority.server(), &[("tokens.yaml", TOKENS)]);
    let service = Service::start(&mount, &[]).await;
    let files = files(&authority, &authority.client("x"), "token-of-board-0001\n");
    let ca = files.path("ca").display().to_string();
    let token = files.path("token").display().to_string();
    let output = service
        .word("https", &["--tls-ca-file", &ca, "--token-file", &token, "delete", "m"])
        .await;
    assert_eq!(code(&output), 1);
    assert!(errors(&output).contains("(NOT_ALLOWED)"), "{}", errors(&output));
    let line: serde_json::Value = serde_json::from_str(&service.said("PermissionDenied").await).unwrap();
    assert_eq!(line["client.name"], "board");
    assert_eq!(line["rpc.method"], "Delete");
    assert_eq!(line["reason"], "NOT_ALLOWED");
    assert_eq!(line["audit"], true);
    assert!(line["client.address"].as_str().unwrap().starts_with("127.0.0.1:"));

    files.overwrite("token", "token-of-ichat-0001");
    let output = service
        .word("https", &["--tls-ca-file", &ca, "--token-file", &token, "delete", "m"])
        .await;
    assert!(errors(&output).contains("(MODEL_NOT_FOUND)"), "{}", errors(&output));
    let line: serde_json::Value = serde_json::from_str(&service.said("NotFound").await).unwrap();
    assert_eq!(
        (line["client.name"].as_str(), line["model.name"].as_str()),
        (Some("ichat"), Some("m"))
    );

    let output = service.word("https", &["--tls-ca-file", &ca, "delete", "m"]).await;
    assert!(
        errors(&output).contains("--token-file"),
        "the way out: {}",
        errors(&output)
    );
    let line: serde_json::Value = serde_json::from_str(&service.said("CREDENTIALS_MISSING").await).unwrap();
    assert!(line.get("client.name").is_none(), "{line}");
    assert!(!service.log().contains("token-of-"), "{}", service.log());
}

#[tokio::test]
async fn the_client_says_what_is_wrong_with_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let mount = Mount::of(&authority.server(), &[("ca.crt", &authority.pem)]);
    let service = Service::start(&mount, &[]).await;
    let ours = files(&authority, &authority.client("ichat"), "x");
    let theirs = files(&other, &other.client("ichat"), "x");
    let path = |mount: &Mount, name: &str| mount.path(name).display().to_string();
    let (ca, cert, key) = (path(&ours, "ca"), path(&ours, "cert"), path(&ours, "key"));
    let pair = ["--tls-ca-file", &ca, "--tls-cert-file", &cert, "--tls-key-file", &key];
    let right = service
        .word("https", &[&pair[..], &["health", "liveness"]].concat())
        .await;
    assert_eq!((code(&right), errors(&right)), (0, String::new()));
    let listed = service.word("https", &[&pair[..], &["list"]].concat()).await;
    assert_eq!(code(&listed), 0, "{}", errors(&listed));

    let (ca2, cert2, key2) = (path(&theirs, "ca"), path(&theirs, "cert"), path(&theirs, "key"));
    let name = ["--tls-server-name", "elsewhere.example"];
    let swapped = ["--tls-ca-file", &ca, "--tls-cert-file", &cert2, "--tls-key-file", &key2];
    let others_ca = ["--tls-ca-file", &ca2, "--tls-cert-file", &cert, "--tls-key-file", &key];
    for (scheme, flags, said, health) in [
        ("https", vec!["--tls-ca-file", &ca], "client certificate", 3),
        ("https", swapped.to_vec(), "client certificate", 3),
        (
            "https",
            others_ca.to_vec(),
            "of an authority that is not trusted here",
            2,
        ),
        ("https", [&pair[..], &name].concat(), "for another name", 2),
        ("https", vec!["--tls-ca-file", &key], "holds no certificates", 1),
        (
            "https",
            vec!["--tls-ca-file", &ca, "--tls-cert-file", &cert],
            "needs --tls-key-file",
            1,
        ),
        ("http", vec!["--tls-ca-file", &ca], "needs an address with TLS", 1),
        ("http", vec![], "if it wants TLS", 3),
    ] {
        let output = service
            .word(scheme, &[&flags[..], &["health", "liveness"]].concat())
            .await;
        let told = errors(&output);
        assert!(told.contains(said), "{flags:?}: {told}");
        assert!(!told.contains("PRIVATE"), "{told}");
        // A refused certificate may be told while connecting or after it.
        let close = health == 3 && code(&output) == 2;
        assert!(code(&output) == health || close, "{flags:?}: {} {told}", code(&output));
    }
}

#[tokio::test]
async fn a_token_stays_off_the_network_in_plain_text() {
    let mount = Mount::new(&[("tokens.yaml", TOKENS), ("token", "token-of-board-0001\n")]);
    let service = Service::start(&mount, &[]).await;
    let token = mount.path("token").display().to_string();
    // On this machine it may be sent.
    let listed = service.word("http", &["--token-file", &token, "list"]).await;
    assert_eq!(code(&listed), 0, "{}", errors(&listed));
    // 192.0.2.0/24 is nobody's; nothing is sent there.
    let refused = client(&["--server", "http://192.0.2.1:1", "--token-file", &token, "list"]).await;
    assert_eq!(code(&refused), 2);
    assert!(errors(&refused).contains("https://HOST:PORT"), "{}", errors(&refused));
    for wrong in ["", "two words", "ümlaut-ümlaut-ümlaut"] {
        mount.overwrite("token", wrong);
        let refused = service.word("http", &["--token-file", &token, "list"]).await;
        assert!(
            errors(&refused).contains("want the token and nothing else"),
            "{}",
            errors(&refused)
        );
    }
    // Health wants none.
    let health = service.word("http", &["health", "liveness"]).await;
    assert_eq!(code(&health), 0, "{}", errors(&health));
}
