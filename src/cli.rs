//! The client: the binary's words but `serve` and `config`, each one call or stream of the API.
//!
//! | file | holds |
//! |---|---|
//! | one a word: `ensure`, `list`, `pull`, `create`, `show`, `describe`, `operations`, `health`, `completions` | its flags, its call, what it prints |
//! | `life` | the short words of a model's life: `load`, `unload`, `ps`, `delete`, `copy`, `push` |
//! | `import` | the flags of an import, which `ensure` and `create` share |
//! | `connect` | the channel and the deadlines |
//! | `credentials` | TLS and the token |
//! | `follow` | a long stream from its call to its result, and what Ctrl-C means in it |
//! | `progress` | snapshots as a bar or as lines |
//! | `console` | standard output and error: results on the one, all else on the other |
//! | `errors` | statuses back into words, and the way out of each; the only file that knows gRPC codes |
//! | `json`, `table`, `text` | how values look |
//!
//! Whatever a server says is shown with its control characters escaped: no model name drives a terminal. The client
//! knows only the generated code: it works against any server of this API.
//!
//! Exit codes: 0 done, 1 failed, 2 usage, 130 left by Ctrl-C while the server works on. `health` has those of the common
//! probes: 0 serving, 1 usage, 2 no connection, 3 the call failed, 4 not serving.

use std::{ffi::OsString, future::Future, io, pin::Pin, process::ExitCode, time::Duration};

mod completions;
mod connect;
mod console;
mod create;
mod credentials;
mod describe;
mod ensure;
mod errors;
mod exit;
mod follow;
mod health;
mod import;
mod json;
mod life;
mod list;
mod operations;
mod progress;
mod pull;
mod show;
mod stay;
mod table;
mod text;

#[cfg(test)]
mod tests;

use self::console::Console;

/// Where a server is when nobody says.
const DEFAULT_SERVER: &str = "http://127.0.0.1:50051";

/// How long threads that resolve names may hold up the end of the program.
const LAST_THREADS: Duration = Duration::from_millis(100);

/// What every client word takes.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Client options")]
pub struct Global {
    /// The server's address, `http://HOST:PORT`, or `https://HOST:PORT` with TLS
    #[arg(long, global = true, value_name = "URL", env = "MODEL_CONTROL_CLIENT_SERVER", default_value = DEFAULT_SERVER)]
    pub server: String,

    /// TLS and the token.
    #[command(flatten)]
    pub credentials: credentials::Flags,

    /// The backend, as `describe` names it. Without it: all where that makes sense, else the server's first.
    #[arg(long, global = true, value_name = "NAME", env = "MODEL_CONTROL_CLIENT_BACKEND")]
    pub backend: Option<String>,

    /// How results are printed: `json` is the protobuf JSON mapping, one object a call, one a line for a stream; a
    /// failure is then one more JSON object, the last line of standard error.
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        value_name = "FORM",
        env = "MODEL_CONTROL_CLIENT_OUTPUT",
        default_value = "table"
    )]
    pub output: Output,

    /// How long a call may take (`500ms`, `30s`, `2m`); following an operation has no such bound.
    #[arg(long, global = true, value_name = "TIME", env = "MODEL_CONTROL_CLIENT_TIMEOUT", default_value = "30s", value_parser = text::parse_duration)]
    pub timeout: Duration,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The client's words.
#[derive(Debug, clap::Subcommand)]
pub enum Word {
    /// Bring a model to a level by whatever is missing: nothing, a create from its path, a pull, a load
    Ensure(ensure::Args),
    /// List the models that the engines have
    List(list::Args),
    /// Fetch a model from its registry
    Pull(pull::Args),
    /// Make a model from a file or folder of the server's machine
    Create(create::Args),
    /// Tell all about one model
    Show(show::Args),
    /// Remove a model
    Delete(life::DeleteArgs),
    /// Give a model a second name
    Copy(life::CopyArgs),
    /// Send a model to its registry
    Push(life::PushArgs),
    /// Bring a model into memory
    Load(life::LoadArgs),
    /// Take a model out of memory
    Unload(life::UnloadArgs),
    /// List the models in memory
    Ps,
    /// Tell what the server is and how its backends are
    Describe(describe::Args),
    /// Find, follow and cancel the server's work
    Operations(operations::Args),
    /// Ask whether the server, a backend or a model can be used
    #[command(after_help = health::EXIT_CODES)]
    Health(health::Args),
    /// Print a script that completes these words in a shell
    Completions(completions::Args),
}

/// What a word works with.
struct Context {
    global: Global,
    console: Console,
    interrupt: Interrupt,
}

/// Resolves when the person at the terminal wants to leave.
type Interrupt = Pin<Box<dyn Future<Output = io::Result<()>>>>;

/// Runs one word to its end. `whole` gives the program's whole command, for `completions`.
pub fn run(word: Word, mut global: Global, whole: fn() -> clap::Command) -> ExitCode {
    global.credentials = global.credentials.with_environment();
    let mut cx = Context {
        console: Console::standard(global.output),
        global,
        // Ctrl-C is taken over when this is first polled; until then it just ends the program.
        interrupt: Box::pin(tokio::signal::ctrl_c()),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            cx.console.note(format_args!("error: cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(execute(word, &mut cx, whole));
    runtime.shutdown_timeout(LAST_THREADS);
    ExitCode::from(code)
}

/// Reads the command line; what cannot be read is told, and gives the exit code of the word that it was meant for.
pub fn parse<P: clap::Parser>(args: impl IntoIterator<Item = OsString>) -> Result<P, ExitCode> {
    let args: Vec<OsString> = args.into_iter().collect();
    P::try_parse_from(&args).map_err(|error| {
        // Nobody is left to tell when this fails.
        let _unprinted = error.print().is_err();
        ExitCode::from(usage_code::<P>(&error, &args))
    })
}

fn usage_code<P: clap::Parser>(error: &clap::Error, args: &[OsString]) -> u8 {
    if !error.use_stderr() {
        return exit::DONE; // help or version
    }
    let rough = P::command().ignore_errors(true).try_get_matches_from(args);
    match rough.as_ref().ok().and_then(clap::ArgMatches::subcommand_name) {
        Some("health") => exit::HEALTH_USAGE,
        _ => exit::USAGE,
    }
}

async fn execute(word: Word, cx: &mut Context, whole: fn() -> clap::Command) -> u8 {
    let health = matches!(word, Word::Health(_));
    let ended = match word {
        Word::Ensure(args) => ensure::run(args, cx).await,
        Word::List(args) => list::run(args, cx).await,
        Word::Pull(args) => pull::run(args, cx).await,
        Word::Create(args) => create::run(args, cx).await,
        Word::Show(args) => show::run(args, cx).await,
        Word::Delete(args) => life::delete(args, cx).await,
        Word::Copy(args) => life::copy(args, cx).await,
        Word::Push(args) => life::push(args, cx).await,
        Word::Load(args) => life::load(args, cx).await,
        Word::Unload(args) => life::unload(args, cx).await,
        Word::Ps => life::ps(cx).await,
        Word::Describe(args) => describe::run(args, cx).await,
        Word::Operations(args) => operations::run(args, cx).await,
        Word::Health(args) => health::run(args, cx).await,
        Word::Completions(args) => completions::run(&args, cx, whole()),
    };
    // What is still buffered may meet a closed pipe as well.
    match ended.and_then(|()| cx.console.flush()) {
        Ok(()) => exit::DONE,
        Err(stop) => {
            stop.tell(cx);
            if health { stop.health_code() } else { stop.code() }
        }
    }
}

// === impl Context ===

impl Context {
    /// A command that does something more on the same server, to be copied from the terminal.
    fn command(&self, words: &str) -> String {
        errors::command(&self.global.server, words)
    }

    fn backend(&self) -> String {
        self.global.backend.clone().unwrap_or_default()
    }

    fn json(&self) -> bool {
        self.global.output == Output::Json
    }
}
