//! Flags, environment and file to one configuration.

use std::{
    fs::File,
    io::{self, Read as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::{
    Config, Entry, Errors, Framework, Origin, Problem, Run, ServeArgs, Server, access,
    entry::Reader,
    file::{MAX_BYTES, RawFile},
    registries, runner,
};
use crate::model::Digest;

/// What is looked for when no file is named.
const DEFAULT_FILE: &str = "configs.yaml";

/// The backend without a file.
const DEFAULT_BACKEND: &str = "embedded";

/// The user's folders, on which defaults rest. Given to [`load`], so that it depends on nothing else of its surroundings.
#[derive(Debug, Clone)]
pub struct Folders {
    /// Against which paths of flags resolve. Absolute.
    pub working: PathBuf,
    /// Where the user's programs keep what is large.
    pub data: Option<PathBuf>,
    /// Where the user's programs keep what outlives them.
    pub state: Option<PathBuf>,
}

/// Where a configuration comes from: what the program was started with, read again at will.
#[derive(Debug, Clone)]
pub struct Source {
    /// Flags and environment.
    pub args: ServeArgs,
    /// The user's.
    pub folders: Folders,
}

/// Reads the file that `args` name, or the default one when it is there, and validates it and them together.
pub fn load(args: &ServeArgs, folders: &Folders) -> Result<Config, Errors> {
    let mut problems = Vec::new();
    let server = server(args, folders, &mut problems);
    let registries = registries::resolve(&args.registries, folders, &mut problems);
    let runner = runner::resolve(&args.runner, folders, &mut problems);
    let (file, entries, digest) = backends(args, folders, &mut problems);
    match server {
        Some(server) if problems.is_empty() => Ok(Config {
            server,
            registries,
            runner,
            entries,
            digest,
            file,
            origins: args.origins.clone(),
        }),
        _ => Err(Errors(problems)),
    }
}

// === impl Source ===

impl Source {
    /// As [`load`].
    pub fn load(&self) -> Result<Config, Errors> {
        load(&self.args, &self.folders)
    }

    /// The file that is read, or would be if it were there. Absolute.
    pub fn file(&self) -> PathBuf {
        let named = self.args.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
        self.folders.working.join(named)
    }
}

// === impl Folders ===

impl Folders {
    /// Those of the user who runs this process.
    pub fn of_user() -> io::Result<Self> {
        Ok(Self {
            working: std::env::current_dir()?,
            data: dirs::data_dir(),
            state: dirs::state_dir().or_else(dirs::data_local_dir),
        })
    }

    /// Where models are kept unless `--store` says otherwise.
    pub(super) fn store(&self) -> Option<PathBuf> {
        Some(self.data.as_ref()?.join("model-control/models"))
    }
}

fn server(args: &ServeArgs, folders: &Folders, problems: &mut Vec<Problem>) -> Option<Server> {
    access::check(args, problems);
    let mut wrong = |message: &str| problems.push(Problem::of_flags(message));
    if args.health_listen == Some(args.listen) && args.listen.port() != 0 {
        wrong("--health-listen is the same address as --listen, which serves health as well: leave it out");
    }
    for (flag, other) in [("--listen", Some(args.listen)), ("--health-listen", args.health_listen)] {
        if other.is_some_and(|other| args.metrics_listen == Some(other) && other.port() != 0) {
            wrong(&format!(
                "--metrics-listen is the same address as {flag}: give it a port of its own"
            ));
        }
    }
    if let Some(url) = &args.otlp_endpoint
        && !url.parse::<http::Uri>().is_ok_and(|url| is_collector(&url))
    {
        wrong(
            "--otlp-endpoint is no URL of a collector: give one like http://127.0.0.1:4317, and credentials in \
             OTEL_EXPORTER_OTLP_HEADERS",
        );
    }
    let state_dir = match &args.state_dir {
        Some(path) => Some(folders.working.join(path)),
        None => folders
            .state
            .as_ref()
            .map(|state| state.join("model-control"))
            .or_else(|| {
                wrong(
                    "this user has no state folder: say with --state-dir where the service keeps what must outlive it",
                );
                None
            }),
    }?;
    Some(Server {
        listen: args.listen,
        health_listen: args.health_listen,
        metrics_listen: args.metrics_listen,
        otlp_endpoint: args.otlp_endpoint.clone(),
        state_dir,
        model_roots: model_roots(args, folders),
        allow_unauthenticated: args.allow_unauthenticated,
        access: access::access(args, folders),
        max_connections: args.max_connections as usize,
        max_streams: args.max_streams,
        max_message_bytes: args.max_message_size,
        max_handshakes: args.max_handshakes as usize,
        handshake_timeout: args.handshake_timeout,
        max_operations: args.max_operations as usize,
        keep_operations: args.keep_operations as usize,
        keep_operations_for: args.keep_operations_for,
        probe_interval: args.probe_interval,
        drain_delay: args.drain_delay,
        drain_timeout: args.drain_timeout,
    })
}

fn is_collector(url: &http::Uri) -> bool {
    let plain = url
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    plain && matches!(url.scheme_str(), Some("http" | "https"))
}

/// The folders beneath which callers may name files, absolute, whether they are there or not. A flag is one folder, whatever
/// its name holds; the variable is a list like any search path.
pub fn model_roots(args: &ServeArgs, folders: &Folders) -> Vec<PathBuf> {
    let listed = args.origins.of("model_roots") == Origin::Environment;
    let roots = args.model_roots.iter().flat_map(|root| {
        if listed {
            std::env::split_paths(root)
                .filter(|root| !root.as_os_str().is_empty())
                .collect()
        } else {
            vec![root.clone()]
        }
    });
    roots.map(|root| folders.working.join(root)).collect()
}

pub(super) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The file's entries and digest; those of no file when none is named and the default one is not there.
fn backends(args: &ServeArgs, folders: &Folders, problems: &mut Vec<Problem>) -> (Option<PathBuf>, Vec<Entry>, Digest) {
    let named = args.config.as_deref();
    let shown = named.unwrap_or(Path::new(DEFAULT_FILE));
    let path = folders.working.join(shown);
    let bytes = match read(&path) {
        Ok(bytes) => bytes,
        Err(error) if named.is_none() && error.kind() == io::ErrorKind::NotFound => {
            return (None, without_file(folders, problems), Digest::of(b""));
        }
        Err(error) => {
            problems.push(Problem {
                file: Some(shown.to_owned()),
                ..Problem::of_flags(format!("could not be read: {error}"))
            });
            return (None, Vec::new(), Digest::of(b""));
        }
    };
    let mut found = Vec::new();
    let entries = match RawFile::parse(&bytes) {
        Ok(raw) => {
            let folder = path.parent().unwrap_or(&folders.working);
            let mut reader = Reader::new(folder, folders);
            let entries = raw
                .entries
                .into_iter()
                .filter_map(|entry| reader.entry(entry))
                .collect();
            found.extend(raw.problems);
            found.append(&mut reader.problems);
            entries
        }
        Err(problem) => {
            found.push(problem);
            Vec::new()
        }
    };
    found.sort_by_key(|problem| problem.line);
    problems.extend(found.into_iter().map(|problem| Problem {
        file: Some(shown.to_owned()),
        ..problem
    }));
    (Some(shown.to_owned()), entries, Digest::of(&bytes))
}

fn without_file(folders: &Folders, problems: &mut Vec<Problem>) -> Vec<Entry> {
    let Some(store) = folders.store() else {
        problems.push(Problem::of_flags(
            "this user has no data folder: give --config and in its file an entry of framework `embedded` with `--store`",
        ));
        return Vec::new();
    };
    vec![Entry {
        name: DEFAULT_BACKEND.to_owned(),
        framework: Framework::Embedded {
            store,
            run: Run::default(),
        },
        desired: Vec::new(),
        advertise: None,
    }]
}

/// One byte more than may be, so that the parser sees that it is too many.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
