//! Words from their command line to what they print and their exit code, against a server that answers as scripted.

use std::{cell::RefCell, future, io, io::Write, rc::Rc, task::Poll};

use clap::{CommandFactory as _, Parser as _};
use tonic::Status;

use super::*;

mod calls;
mod server;
mod streams;

pub(super) use self::server::{Reply, Server};

#[derive(Debug, clap::Parser)]
#[command(name = "model-control")]
struct Program {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    word: Word,
}

/// What a word left behind.
#[derive(Debug)]
struct Ran {
    code: u8,
    out: String,
    err: String,
}

/// Bytes that the test reads after, or while, they are written.
#[derive(Debug, Clone, Default)]
struct Written(Rc<RefCell<Vec<u8>>>);

/// A pipe whose reader has gone.
struct Closed;

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Closed {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.borrow().clone()).unwrap()
    }

    /// Ctrl-C at the moment when this has been written.
    fn interrupt_at(&self, text: &'static str) -> Interrupt {
        let written = self.clone();
        Box::pin(future::poll_fn(move |_| {
            if written.text().contains(text) {
                Poll::Ready(Ok(()))
            } else {
                // Polled again with the next message.
                Poll::Pending
            }
        }))
    }
}

async fn ran(url: &str, words: &[&str]) -> Ran {
    let err = Written::default();
    ran_with(url, words, Written::default(), err, Box::pin(future::pending())).await
}

async fn ran_with(url: &str, words: &[&str], out: Written, err: Written, interrupt: Interrupt) -> Ran {
    let first = ["model-control", "--server", url];
    let args = first.iter().chain(words);
    let program = Program::try_parse_from(args).unwrap();
    let mut cx = Context {
        console: Console::new(Box::new(out.clone()), Box::new(err.clone()), program.global.output),
        global: program.global,
        interrupt,
    };
    let code = execute(program.word, &mut cx, Program::command).await;
    Ran {
        code,
        out: out.text(),
        err: err.text(),
    }
}

/// An address where nobody listens any more.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn code_of_refused(args: &[&str]) -> u8 {
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    let error = Program::try_parse_from(&args).unwrap_err();
    usage_code::<Program>(&error, &args)
}

#[test]
fn the_command_line_is_sound() {
    Program::command().debug_assert();
}

#[test]
fn usage_has_the_code_of_the_word() {
    assert_eq!(code_of_refused(&["x", "list", "--nonsense"]), 2);
    assert_eq!(code_of_refused(&["x", "nonsense"]), 2);
    assert_eq!(code_of_refused(&["x", "health", "--nonsense"]), 1);
    assert_eq!(code_of_refused(&["x", "--server", "http://h:1", "health", "a", "b"]), 1);
    assert_eq!(code_of_refused(&["x", "health", "--output", "xml"]), 1);
    assert_eq!(code_of_refused(&["x", "health", "--help"]), 0);
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_a_usage_error() {
    let listed = ran("ftp://127.0.0.1:1", &["list"]).await;
    assert_eq!(listed.code, 2, "{listed:?}");
    assert!(
        listed.err.contains("want `http://HOST:PORT` or `https://HOST:PORT`"),
        "{listed:?}"
    );
    assert_eq!(ran("ftp://127.0.0.1:1", &["health"]).await.code, 1);
    // Programs are told of it as of any failure.
    assert_eq!(listed.err.lines().count(), 1, "{listed:?}");
    let words = [
        ["list", "--output", "json", "--token-file", "/nowhere/token"],
        ["show", "m", "--output", "json", "--tls-key-file=/nowhere/key"],
    ];
    for words in words {
        let told = ran("http://127.0.0.1:1", &words).await;
        assert_eq!(told.code, 2, "{told:?}");
        let last = told.err.lines().last().unwrap();
        let last: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {told:?}"));
        assert_eq!(
            (&last["code"], &last["reason"]),
            (&"INVALID_ARGUMENT".into(), &"".into())
        );
        let message = last["message"].as_str().unwrap();
        assert!(told.err.starts_with(&format!("error: {message}\n")), "{told:?}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_with_the_way_out() {
    let url = nobody();
    let listed = ran(&url, &["list", "--output", "json"]).await;
    assert_eq!((listed.code, listed.out.as_str()), (1, ""));
    assert!(
        listed
            .err
            .starts_with(&format!("error: cannot connect to {url}: Connection refused"))
    );
    assert!(
        listed
            .err
            .contains(&format!("is `model-control serve` running at {url}?"))
    );
    let last: serde_json::Value = serde_json::from_str(listed.err.lines().last().unwrap()).unwrap();
    assert_eq!(last["code"], "UNAVAILABLE");
    assert_eq!(ran(&url, &["health"]).await.code, 2);
}

#[tokio::test]
async fn completions_know_the_words_and_need_no_server() {
    let script = ran(&nobody(), &["completions", "bash"]).await;
    assert_eq!(script.code, 0);
    for word in ["ensure", "operations", "--cancel-on-disconnect"] {
        assert!(script.out.contains(word), "{word}");
    }
}

#[tokio::test]
async fn a_reader_that_has_gone_is_no_failure() {
    let program = Program::try_parse_from(["model-control", "completions", "zsh"]).unwrap();
    let err = Written::default();
    let mut cx = Context {
        console: Console::new(Box::new(Closed), Box::new(err.clone()), program.global.output),
        global: program.global,
        interrupt: Box::pin(future::pending()),
    };
    assert_eq!(execute(program.word, &mut cx, Program::command).await, 0);
    assert_eq!(err.text(), "");
}

#[tokio::test]
async fn a_disk_that_is_full_is_told_to_programs_too() {
    let program = Program::try_parse_from(["model-control", "completions", "zsh", "--output=json"]).unwrap();
    let (err, full) = (
        Written::default(),
        std::fs::File::options().write(true).open("/dev/full"),
    );
    let mut cx = Context {
        console: Console::new(Box::new(full.unwrap()), Box::new(err.clone()), program.global.output),
        global: program.global,
        interrupt: Box::pin(future::pending()),
    };
    assert_eq!(execute(program.word, &mut cx, Program::command).await, 1);
    let told = err.text();
    assert!(told.starts_with("error: cannot write the output: "), "{told}");
    let last: serde_json::Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .starts_with("cannot write the output: "),
        "{told}"
    );
}

/// A status that every word may get.
pub(super) fn refused() -> Status {
    Status::unavailable("the service is shutting down")
}
