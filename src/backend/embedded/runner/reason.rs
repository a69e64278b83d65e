//! Why an engine ended, in its own words where it left any.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use super::subject::not_loadable;
use crate::{
    backend::{Error, Kind, text::told},
    model::ModelName,
};

/// Lines that are told to callers and logged.
pub(super) const LAST: usize = 5;
/// SIGKILL, SIGTERM, SIGINT: somebody else's wish.
const WISHED: [i32; 3] = [KILL, 15, 2];
const KILL: i32 = 9;

/// Words of lines that tell the reason, the best first.
const TELLING: &[&str] = &[
    "error loading model: ",
    "failed to initialize the context: ",
    "cannot start the engine: ",
    "error: ",
    "what():  ",
    "GGML_ASSERT",
];
/// What engines say when there is no memory.
const MEMORY: &[&str] = &[
    "Cannot allocate memory",
    "failed to allocate",
    "out of memory",
    "unable to allocate",
    "bad_alloc",
    "ErrorOutOfDeviceMemory",
];

/// A load ended by the end of its engine.
pub(super) fn of_load(name: &ModelName, status: ExitStatus, lines: &[String]) -> Error {
    let told = telling(lines);
    if let Some(argument) = lines.iter().find_map(|line| line.split_once("invalid argument: ")) {
        let text = format!(
            "the installed `llama-server` does not know `{}`: install a newer one, or correct the extra arguments",
            scrub(argument.1)
        );
        return Error::new(Kind::MissingPart, text);
    }
    if lines.iter().any(|line| line.contains("cannot start the engine: ")) {
        return Error::new(Kind::MissingPart, format!("`llama-server` cannot be run: {told}"));
    }
    // Only what it said last: a first try that failed may have been mended by a second.
    let last = &lines[lines.len().saturating_sub(2 * LAST)..];
    if last.iter().any(|line| MEMORY.iter().any(|words| line.contains(words))) {
        return Error::new(
            Kind::OutOfMemory,
            format!("there is no memory for model `{name}`: {told}"),
        );
    }
    if status.signal().is_some_and(|signal| WISHED.contains(&signal)) {
        let text = format!(
            "the engine of model `{name}` was stopped by {} while it loaded; the system does that when memory runs out",
            ending(status.code(), status.signal())
        );
        return Error::new(Kind::Interrupted, text);
    }
    if told.is_empty() {
        return not_loadable(
            name,
            &format!(
                "its engine ended with {}, and said nothing",
                ending(status.code(), status.signal())
            ),
        );
    }
    if status.signal().is_some() {
        return not_loadable(
            name,
            &format!(
                "its engine ended with {}: {told}",
                ending(status.code(), status.signal())
            ),
        );
    }
    not_loadable(name, &told)
}

/// The line that says most, without what stands before it.
fn telling(lines: &[String]) -> String {
    let best = TELLING.iter().find_map(|words| {
        let line = lines.iter().rev().find(|line| line.contains(words))?;
        let (_, after) = line.split_once(words)?;
        Some(if after.is_empty() { line.as_str() } else { after })
    });
    let error = || {
        lines
            .iter()
            .rev()
            .map(|line| plain(line))
            .find(|(level, _)| *level == Some('E'))
            .map(|(_, text)| text)
    };
    let last = || lines.iter().rev().find(|line| !line.is_empty()).map(String::as_str);
    scrub(best.or_else(error).or_else(last).unwrap_or_default())
}

/// Level and text of a line `0.00.006.421 E text`.
fn plain(line: &str) -> (Option<char>, &str) {
    let mut parts = line.splitn(3, ' ');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(time), Some(level), Some(text))
            if level.len() == 1 && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') =>
        {
            (level.chars().next(), text.trim_start())
        }
        _ => (None, line),
    }
}

/// What an engine that ended by itself is told to have ended with. Who is killed has no last words: what it wrote was of its work.
pub(super) fn end_told(code: Option<i32>, signal: Option<i32>, last_lines: &[String]) -> String {
    let ending = ending(code, signal);
    match last_lines.last() {
        _ if signal == Some(KILL) => format!("{ending}; the system does that when memory runs out"),
        Some(line) if !line.is_empty() => format!("{ending}; it said last: {line}"),
        _ => ending,
    }
}

/// The last lines, as callers may read them.
pub(super) fn last(lines: &[String]) -> Vec<String> {
    lines[lines.len().saturating_sub(LAST)..]
        .iter()
        .map(|line| scrub(plain(line).1))
        .collect()
}

/// Without paths, secrets of URLs and control characters, on one line.
pub(super) fn scrub(text: &str) -> String {
    told(text)
}

/// `code 1`, `signal 9`.
pub(super) fn ending(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no code".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(status: i32, log: &str) -> Error {
        let lines: Vec<_> = log.lines().map(str::to_owned).collect();
        of_load(&"a".parse().unwrap(), ExitStatus::from_raw(status), &lines)
    }

    #[test]
    fn the_engines_own_words_arrive() {
        let log = "0.00.006.209 E common_fit_params: encountered an error while trying to fit params to free device memory\n\
                   0.00.006.421 E llama_model_load: error loading model: unknown model architecture: 'llamx'\n\
                   0.00.006.438 E llama_model_load_from_file_impl: failed to load model\n\
                   0.00.006.454 E cmn  common_init_: failed to load model '/store/blobs/sha256-11'\n\
                   0.00.007.027 E srv  llama_server: exiting due to model loading error";
        let error = error(1 << 8, log);
        assert_eq!(error.kind, Kind::NotLoadable);
        assert!(
            error.message.ends_with(": unknown model architecture: 'llamx'"),
            "{error}"
        );
    }

    #[test]
    fn want_of_memory_is_told_apart() {
        for log in [
            "0.0 E llama_model_load: error loading model: mmap failed: Cannot allocate memory",
            "0.0 E llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
        ] {
            let error = error(1 << 8, log);
            assert_eq!(error.kind, Kind::OutOfMemory);
            assert!(error.message.contains("allocate"), "{error}");
        }
    }

    #[test]
    fn signals_and_silence_are_told() {
        assert_eq!(error(9, "").kind, Kind::Interrupted);
        let abort = error(6, "0.0 E x\n/src/ggml.c:1: GGML_ASSERT(a == b) failed");
        assert_eq!(abort.kind, Kind::NotLoadable);
        assert!(abort.message.contains("signal 6: (a == b) failed"), "{abort}");
        assert!(error(3 << 8, "").message.contains("code 3, and said nothing"));
        let old = error(1 << 8, "error: invalid argument: --no-webui");
        assert_eq!(old.kind, Kind::MissingPart);
        let last = last(&["0.0 I srv at /a/b/c".to_owned()]);
        assert_eq!(last, ["srv at c"]);
        assert_eq!(end_told(Some(3), None, &last), "code 3; it said last: srv at c");
        assert!(!end_told(None, Some(9), &last).contains("srv"));
    }
}
