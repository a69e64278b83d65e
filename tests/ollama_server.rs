//! The guard of a real Ollama keeps its word: what it starts answers, comes back where it was, and leaves no process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "support/missing.rs"]
mod missing;
#[path = "support/ollama.rs"]
mod ollama;

use std::{fs, net::TcpStream};

use serde_json::json;

/// Processes whose command line or environment names this folder.
fn processes(folder: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let environment = fs::read(entry.ok()?.path().join("environ")).ok()?;
        String::from_utf8_lossy(&environment).contains(folder).then_some(())
    });
    processes.count()
}

#[test]
fn it_answers_comes_back_and_leaves_nothing() {
    let Some(mut server) = ollama::Server::start() else {
        return;
    };
    let address = server.address();
    let folder = server.models().display().to_string();
    assert_eq!(server.get("/api/version").unwrap()["version"], "0.34.0");
    assert_eq!(server.get("/api/tags").unwrap(), json!({"models": []}));
    assert_eq!(server.asked("GET", "/api/tags"), 1);
    assert!(processes(&folder) >= 1);

    for end in [ollama::Server::kill, ollama::Server::terminate] {
        end(&mut server);
        assert_eq!(processes(&folder), 0);
        assert!(TcpStream::connect(address).is_err());
        server.restart();
        assert_eq!(server.address(), address);
        assert!(server.get("/api/version").is_some());
    }
    server.stop();
    server.cont();
    assert!(server.get("/api/version").is_some());
    assert!(!server.crashed());
    drop(server);
    assert_eq!(processes(&folder), 0);
}

#[test]
fn it_reaches_nothing_but_loopback() {
    let Some(mut server) = ollama::Server::start() else {
        return;
    };
    // A name without a host means the public hub, which it tries to reach by the proxy that is not there.
    let request = json!({"model": "tiny", "stream": false}).to_string();
    let (status, told) = server.ask("POST", "/api/pull", &request).unwrap();
    assert_eq!(status, 500);
    assert!(told.contains("proxyconnect") && told.contains("127.0.0.1:1"), "{told}");
    assert!(!server.crashed());
}
