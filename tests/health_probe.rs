//! Health as grpc-health-probe reads it: its exit codes on each name, on both ports, in plain text, compressed and over TLS,
//! while an engine dies and comes back.
//!
//! The probe is found by `MODEL_CONTROL_TEST_HEALTH_PROBE`, else on the PATH. Without it a test says so and passes; where
//! `CI` is set it fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "tls/authority.rs"]
#[allow(dead_code)]
mod authority;
#[path = "support/missing.rs"]
mod missing;
#[path = "support/ollama.rs"]
mod ollama;
#[path = "support/service.rs"]
mod service;

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::json;
use tokio::time::{interval, timeout};

use self::{
    authority::{Authority, Pair},
    ollama::Server,
    service::{Home, Service},
};

/// What the probe ends with.
const SERVING: i32 = 0;
const NO_CONNECTION: i32 = 2;
const NO_SUCH_NAME: i32 = 3;
const NOT_SERVING: i32 = 4;

/// An outage is seen within a probe or two; a busy machine takes longer for all of it.
const LONG: Duration = Duration::from_mins(1);
/// Between two questions until the answer is the wanted one.
const AGAIN: Duration = Duration::from_millis(100);

/// A probe that finds nobody tries until then. Flags that come later win.
const SOON: &str = "-connect-timeout=2s";

/// The names that depend on the engine.
const OF_THE_ENGINE: [&str; 5] = [
    "",
    "ichat.modelcontrol.v1.ModelControl",
    "ichat.modelcontrol.v1.Operations",
    "backends/one",
    "backends/one/models/tiny",
];

/// The probe's program; without it `None`, or a failure where `CI` is set.
fn probe() -> Option<PathBuf> {
    let named = env::var_os("MODEL_CONTROL_TEST_HEALTH_PROBE").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let mut on_path = env::split_paths(&path).map(|folder| folder.join("grpc-health-probe"));
    let found = named.or_else(|| on_path.find(|program| program.is_file()));
    if found.is_none() {
        missing::skip("grpc-health-probe is neither MODEL_CONTROL_TEST_HEALTH_PROBE nor on the PATH");
    }
    found
}

/// Asks once, with these flags.
fn asked(probe: &Path, address: SocketAddr, name: &str, flags: &[&str]) -> i32 {
    let status = Command::new(probe)
        .arg(format!("-addr={address}"))
        .arg(format!("-service={name}"))
        .args(["-connect-timeout=10s", "-rpc-timeout=10s"])
        .args(flags)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.code().expect("it ends by itself")
}

/// Asks until the answer is this one.
async fn until(probe: &Path, address: SocketAddr, name: &str, wanted: i32) {
    let mut looks = interval(AGAIN);
    let mut last = None;
    let work = async {
        while last != Some(wanted) {
            looks.tick().await;
            last = Some(asked(probe, address, name, &[]));
        }
    };
    let in_time = timeout(LONG, work).await.is_ok();
    assert!(in_time, "`{name}` is {last:?} and not {wanted}");
}

fn serve(home: &Home, flags: &[String]) -> Service {
    let mut command = Command::new(env!("CARGO_BIN_EXE_model-control"));
    command
        .args(["serve", "--listen=127.0.0.1:0", "--health-listen=127.0.0.1:0"])
        .args(["--drain-delay=0s", "--probe-interval=1s"])
        .arg("--config")
        .arg(home.path("configs.yaml"))
        .arg("--state-dir")
        .arg(home.path("state"))
        .args(flags)
        .env_clear()
        .env("HOME", home.path(""));
    Service::start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_name_says_how_the_engine_is_while_it_dies_and_comes_back() {
    let (Some(probe), Some(mut engine)) = (probe(), Server::start()) else {
        return;
    };
    let home = Home::new();
    fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf"),
        home.model("tiny.gguf"),
    )
    .unwrap();
    let flags = [
        format!("--host={}", engine.url()),
        "--model=tiny".to_owned(),
        format!("--model-path={}", home.model("tiny.gguf").display()),
    ];
    let entry = json!([{ "name": "one", "framework": "ollama", "backend_argv": flags }]);
    fs::write(home.path("configs.yaml"), entry.to_string()).unwrap();
    let service = serve(&home, &[]);
    let ports = [service.address, service.health()];

    until(&probe, service.address, "", SERVING).await;
    for port in ports {
        for name in OF_THE_ENGINE.into_iter().chain(["liveness"]) {
            assert_eq!(asked(&probe, port, name, &[]), SERVING, "{name}");
            assert_eq!(asked(&probe, port, name, &["-gzip"]), SERVING, "{name}, compressed");
        }
        for name in ["backends/two", "backends/one/models/other", "nothing"] {
            assert_eq!(asked(&probe, port, name, &[]), NO_SUCH_NAME, "{name}");
        }
    }

    engine.kill();
    until(&probe, service.address, "backends/one", NOT_SERVING).await;
    for port in ports {
        for name in OF_THE_ENGINE {
            assert_eq!(asked(&probe, port, name, &[]), NOT_SERVING, "{name}");
        }
        assert_eq!(asked(&probe, port, "liveness", &[]), SERVING);
    }

    engine.restart();
    until(&probe, service.address, "", SERVING).await;
    for port in ports {
        for name in OF_THE_ENGINE {
            assert_eq!(asked(&probe, port, name, &[]), SERVING, "{name}");
        }
    }
    service.terminate();
    for port in ports {
        assert_eq!(asked(&probe, port, "liveness", &[SOON]), NO_CONNECTION);
    }
}

/// A file for a flag.
fn put(home: &Home, name: &str, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = home.path(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// The server's flags, and those of a probe that trusts it.
fn over_tls(home: &Home, authority: &Authority, pair: &Pair) -> ([String; 2], [String; 3]) {
    let (cert, key) = (put(home, "tls.crt", &pair.cert), put(home, "tls.key", &pair.key));
    let trust = put(home, "ca.crt", &authority.pem);
    (
        [format!("--tls-cert-file={cert}"), format!("--tls-key-file={key}")],
        [
            "-tls".to_owned(),
            format!("-tls-ca-cert={trust}"),
            "-tls-server-name=localhost".to_owned(),
        ],
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_and_with_a_client_certificate() {
    let Some(probe) = probe() else { return };
    let (authority, other) = (Authority::new(), Authority::new());
    let home = Home::new();
    let (serving, trusting) = over_tls(&home, &authority, &authority.server());
    let trusting: Vec<_> = trusting.iter().map(String::as_str).collect();
    let service = serve(&home, &serving);
    until(&probe, service.health(), "", SERVING).await;
    for name in ["", "liveness", "ichat.modelcontrol.v1.ModelControl", "backends/one"] {
        assert_eq!(asked(&probe, service.address, name, &trusting), SERVING, "{name}");
        assert_eq!(
            asked(&probe, service.health(), name, &[]),
            SERVING,
            "{name}, in plain text beside it"
        );
    }
    assert_eq!(asked(&probe, service.address, "nothing", &trusting), NO_SUCH_NAME);
    assert_eq!(
        asked(&probe, service.address, "", &[SOON]),
        NO_CONNECTION,
        "in plain text"
    );
    let foreign = format!("-tls-ca-cert={}", put(&home, "other.crt", &other.pem));
    let foreign = ["-tls", &foreign, "-tls-server-name=localhost", SOON];
    assert_eq!(
        asked(&probe, service.address, "", &foreign),
        NO_CONNECTION,
        "of another authority"
    );
    service.terminate();

    let mut mutual = serving.to_vec();
    mutual.push(format!("--tls-client-ca-file={}", home.path("ca.crt").display()));
    let service = serve(&home, &mutual);
    until(&probe, service.health(), "", SERVING).await;
    let shown = |pair: &Pair, name: &str| {
        let (cert, key) = (format!("{name}.crt"), format!("{name}.key"));
        [
            format!("-tls-client-cert={}", put(&home, &cert, &pair.cert)),
            format!("-tls-client-key={}", put(&home, &key, &pair.key)),
        ]
    };
    let (ours, theirs) = (
        shown(&authority.client("kubelet"), "ours"),
        shown(&other.client("kubelet"), "theirs"),
    );
    let with = |pair: &[String], more: &[&str]| {
        let pair = pair.iter().map(String::as_str);
        let flags = trusting.iter().copied().chain(pair).chain(more.iter().copied());
        asked(&probe, service.address, "", &flags.collect::<Vec<_>>())
    };
    assert_eq!(with(&ours, &[]), SERVING);
    // In TLS 1.3 the refusal comes after the client has begun: as no connection, or as a call that failed.
    for refused in [with(&[], &[SOON]), with(&theirs, &[SOON])] {
        assert!([NO_CONNECTION, NO_SUCH_NAME].contains(&refused), "{refused}");
    }
    service.terminate();
}
