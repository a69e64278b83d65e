//! The server's words of the program: from flags to exit codes.

use std::{
    future::Future,
    io::{ErrorKind, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Notify,
};

use super::App;
use crate::{
    config::{self, Config, Errors, Folders, LogFormat, Problem, ServeArgs, Source},
    grpc::{Credentials, UnusableFiles},
    source::{RootError, Roots},
    telemetry::{self, Chain, Format},
};

/// Wrong flags or file.
const USAGE: u8 = 2;
/// The service could not start.
const FAILED: u8 = 1;

/// What can be done with the configuration.
#[derive(Debug, clap::Subcommand)]
pub enum ConfigWord {
    /// Tell everything that is wrong with flags, environment and file.
    Check(Box<ServeArgs>),
    /// Print the configuration in force and where each setting came from.
    Print(Box<ServeArgs>),
    /// Print a JSON schema (draft-07) of the file of backends.
    Schema,
}

/// Runs the service until SIGTERM or SIGINT; a second one ends it at once.
pub fn serve(args: &ServeArgs) -> ExitCode {
    let (source, config) = match load(args) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let format = match args.log_format {
        LogFormat::Text => Format::Text,
        LogFormat::Json => Format::Json,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(FAILED, &Chain(&error)),
    };
    runtime.block_on(async {
        let traces = match telemetry::trace::start(config.server.otlp_endpoint.as_deref()) {
            Ok(traces) => traces,
            Err(error) => return fail(USAGE, &Chain(&error)),
        };
        if let Err(error) = telemetry::init(format, &args.log) {
            return fail(USAGE, &Chain(&error));
        }
        for warning in config::warnings(&config) {
            tracing::warn!("{warning}");
        }
        let code = run(config, source).await;
        if let Some(traces) = traces {
            traces.stop().await;
        }
        code
    })
}

/// Checks or prints the configuration.
pub fn config(word: &ConfigWord) -> ExitCode {
    let text = match word {
        ConfigWord::Check(args) => {
            loaded(args).map(|config| format!("the configuration is right: {} backends\n", config.entries.len()))
        }
        ConfigWord::Print(args) => loaded(args).map(|config| config::print(&config)),
        ConfigWord::Schema => Ok(config::schema()),
    };
    let text = match text {
        Ok(text) => text,
        Err(code) => return code,
    };
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has had enough, as `head` has.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &format_args!("cannot write the output: {error}")),
    }
}

/// The configuration, its warnings told.
fn loaded(args: &ServeArgs) -> Result<Config, ExitCode> {
    let (_, config) = load(args)?;
    let mut warnings = config::warnings(&config);
    // What cannot be used has been told already.
    warnings.extend(
        Credentials::load(&config.server.access)
            .iter()
            .flat_map(Credentials::warnings),
    );
    for warning in warnings {
        say(&format!("warning: {warning}"));
    }
    Ok(config)
}

async fn run(config: Config, source: Source) -> ExitCode {
    if config.server.allow_unauthenticated {
        tracing::warn!(
            address = %config.server.listen,
            "--allow-unauthenticated: whoever reaches the address may call the service"
        );
    }
    // Before the start, so that a signal meanwhile is not lost.
    let (shutdown, reload) = match signals() {
        Ok(signals) => signals,
        Err(error) => return fail(FAILED, &Chain(&error)),
    };
    let app = match App::start(config).await {
        Ok(app) => app.reloading(source, reload),
        Err(error) => return fail(FAILED, &Chain(&error)),
    };
    if let Some(Ok(address)) = app.health_addr() {
        tracing::info!(%address, "listening for health");
    }
    if let Some(Ok(address)) = app.metrics_addr() {
        tracing::info!(%address, "listening for metrics");
    }
    // Last: whoever waits for this line finds all of them.
    if let Ok(address) = app.local_addr() {
        tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    }
    app.run(shutdown).await;
    ExitCode::SUCCESS
}

/// The first is ready at SIGTERM or SIGINT; at the second of those the process ends where it stands: the store is safe
/// against that. The other is notified at each SIGHUP.
fn signals() -> std::io::Result<(impl Future<Output = ()>, Arc<Notify>)> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let (first_tx, first) = tokio::sync::oneshot::channel();
    let reload = Arc::new(Notify::new());
    let asked = Arc::clone(&reload);
    // Ends with the process.
    tokio::spawn(async move {
        let mut first_tx = Some(first_tx);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {
                    asked.notify_one();
                    continue;
                }
            }
            if let Some(first) = first_tx.take() {
                let _gone = first.send(()).is_err();
            } else {
                tracing::warn!("a second signal: ending at once");
                end_now();
            }
        }
    });
    Ok((async move { drop(first.await) }, reload))
}

#[expect(clippy::exit, clippy::disallowed_methods, reason = "the operator asked twice")]
fn end_now() {
    std::process::exit(i32::from(FAILED));
}

fn load(args: &ServeArgs) -> Result<(Source, Config), ExitCode> {
    let folders = Folders::of_user().map_err(|error| fail(FAILED, &Chain(&error)))?;
    // Before the rest, and told together with it.
    let mut unusable = unusable_roots(&config::model_roots(args, &folders));
    if let Err(UnusableFiles(files)) = Credentials::load(&config::access(args, &folders)) {
        unusable.extend(files.into_iter().map(|unusable| Problem {
            file: Some(unusable.file),
            line: None,
            entry: unusable.entry,
            message: unusable.message,
        }));
    }
    if let Err(error) = telemetry::filter(&args.log) {
        unusable.push(Problem {
            file: None,
            line: None,
            entry: None,
            message: format!("--log {}: {}", args.log, Chain(&error)),
        });
    }
    let source = Source {
        args: args.clone(),
        folders,
    };
    let loaded = source.load();
    if unusable.is_empty() {
        let config = loaded.map_err(|errors| fail(USAGE, &errors))?;
        return Ok((source, config));
    }
    let mut problems = loaded.err().map_or_else(Vec::new, |errors| errors.0);
    problems.extend(unusable);
    Err(fail(USAGE, &Errors(problems)))
}

/// Which model roots the service could not open, and would not start with.
fn unusable_roots(roots: &[PathBuf]) -> Vec<Problem> {
    let opened = roots
        .iter()
        .map(|root| Roots::new(std::slice::from_ref(root)).map(drop));
    let problem = |error: RootError| Problem {
        file: None,
        line: None,
        entry: None,
        message: format!(
            "--model-root {}: is no folder that can be opened: {}",
            error.path.display(),
            error.source
        ),
    };
    opened.filter_map(Result::err).map(problem).collect()
}

fn fail(code: u8, error: &dyn std::fmt::Display) -> ExitCode {
    say(&format!("error: {error}"));
    ExitCode::from(code)
}

/// Nobody is left to tell that standard error is closed.
fn say(text: &str) {
    let _closed = writeln!(std::io::stderr(), "{text}").is_err();
}
