//! The client against a scripted registry. What a registry can do to us is told apart by file.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;

use super::{
    address,
    client::{Fetched, Reference, Registry},
    double::{Answer, Authority, Double, Seen},
    guard::{Lookup, Net},
    remote::{Fault, Retry},
    settings::{Settings, Timeouts},
};
use crate::{
    backend::{Kind, embedded::store::manifest::Layer},
    model::{Digest, ModelName},
};

mod blobs;
mod faults;
mod http2;
mod manifests;
mod proxy;
mod reach;
mod realms;
mod redirects;
mod tls;
mod tokens;
mod uploads;

/// A manifest as Ollama's hub gives it, of a model and a configuration.
fn manifest() -> String {
    let layer = |media_type: &str, content: &[u8]| {
        let (digest, size) = (Digest::of(content), content.len());
        format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
    };
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":{},"layers":[{}]}}"#,
        layer("application/vnd.docker.container.image.v1+json", b"{}"),
        layer("application/vnd.ollama.image.model", BLOB),
    )
}

const BLOB: &[u8] = b"the bytes of a small model";

fn layer() -> Layer {
    let size = u64::try_from(BLOB.len()).unwrap();
    Layer::new(
        crate::backend::embedded::store::manifest::Kind::Model,
        Digest::of(BLOB),
        size,
    )
}

/// The world of a test: names, and which addresses are public.
#[derive(Default)]
struct World {
    names: Mutex<HashMap<String, Vec<Vec<IpAddr>>>>,
}

impl World {
    /// Each look-up gets the next answer; the last one stays.
    fn name(self, name: &str, answers: &[&[&str]]) -> Self {
        let parse = |addresses: &&[&str]| addresses.iter().map(|a| a.parse().unwrap()).collect();
        let mut answers: Vec<Vec<_>> = answers.iter().map(parse).collect();
        answers.reverse();
        self.names.lock().unwrap().insert(name.to_owned(), answers);
        self
    }

    /// The real rules of addresses.
    fn real(self) -> Net {
        Net {
            lookup: Arc::new(self),
            is_public: address::is_public,
        }
    }

    /// Loopback is public, so that a double can stand for a host of the world.
    fn with_public_loopback(self) -> Net {
        Net {
            lookup: Arc::new(self),
            is_public: |address| address == Ipv4Addr::LOCALHOST || address::is_public(address),
        }
    }
}

#[async_trait]
impl Lookup for World {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let mut names = self.names.lock().unwrap();
        let answers = names.get_mut(name).ok_or(io::ErrorKind::NotFound)?;
        let next = answers.last().cloned().unwrap_or_default();
        if answers.len() > 1 {
            answers.pop();
        }
        Ok(next)
    }
}

/// Times that a test can wait for.
fn timeouts() -> Timeouts {
    Timeouts {
        connect: Duration::from_secs(5),
        first_byte: Duration::from_secs(5),
        progress: Duration::from_secs(5),
        back_off: Duration::from_millis(1),
    }
}

/// These hosts, as the flag has them.
fn settings(allow: &[String]) -> Settings {
    Settings {
        allow: allow.iter().map(|host| host.parse().unwrap()).collect(),
        timeouts: timeouts(),
        ..Settings::default()
    }
}

/// A client that knows this double, on plain http.
fn client(double: &Double) -> Registry {
    client_in(settings(&[plain(double)]), World::default().real())
}

fn client_in(settings: Settings, net: Net) -> Registry {
    Registry::with(settings, net).unwrap()
}

fn plain(double: &Double) -> String {
    format!("http://{}", double.host())
}

fn name(host: &str) -> ModelName {
    format!("{host}/library/tiny:latest").parse().unwrap()
}

/// A file with these credentials of this host, as Docker writes it.
fn auth_file(host: &str, entry: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!(r#"{{"auths":{{"{host}":{entry}}}}}"#)).unwrap();
    file
}

const USER: &str = r#"{"username":"user","password":"s3cret"}"#;
/// Of the user above.
const BASIC: &str = "Basic dXNlcjpzM2NyZXQ=";

async fn fetch(client: &Registry, double: &Double) -> Result<Fetched, Fault> {
    client.manifest(&name(&double.host()), Reference::Tag, true).await
}

/// Of one try: what is refused for good.
async fn refused(client: &Registry, double: &Double) -> (Kind, String) {
    let fault = fetch(client, double).await.unwrap_err();
    assert_eq!(fault.retry, Retry::Never, "{fault:?}");
    (fault.error.kind, fault.error.message)
}
