//! An entry's flags to a backend and its models.

use std::{
    collections::HashMap,
    fmt,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Desired, Ensure, Entry, Folders, Framework, Run,
    argv::{self, Bag, EMBEDDED, Given, OLLAMA, Scope, Table},
    file::{Field, RawEntry, Word},
    host::Host,
    problem::Problem,
    value::duration,
};
use crate::model::{Digest, ImportOptions, Level, ModelName};

/// Longer is for ever in any engine.
const MAX_KEEP_ALIVE: Duration = Duration::from_hours(24 * 3650);

/// Bytes of a backend's name.
pub(super) const MAX_NAME: usize = 63;

/// Turns the file's entries into backends. What is wrong with one hides no other.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    /// Against which relative paths resolve: the file's.
    folder: &'a Path,
    folders: &'a Folders,
    /// The line of each name so far.
    names: HashMap<String, u64>,
    /// The first entry of each Ollama so far, by [`Host::id`].
    ollamas: HashMap<String, Reached>,
    /// The first entry of each store so far, and how it runs models.
    stores: HashMap<PathBuf, (String, Run)>,
    pub(super) problems: Vec<Problem>,
}

/// How an entry reaches its Ollama.
#[derive(Debug)]
struct Reached {
    /// The entry's name.
    entry: String,
    https: bool,
    header_file: Option<PathBuf>,
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(folder: &'a Path, folders: &'a Folders) -> Self {
        Self {
            folder,
            folders,
            names: HashMap::new(),
            ollamas: HashMap::new(),
            stores: HashMap::new(),
            problems: Vec::new(),
        }
    }

    /// None when something is wrong with it, which is in `problems` then.
    pub(super) fn entry(&mut self, raw: RawEntry) -> Option<Entry> {
        let mut problems = Vec::new();
        let name = self.name(&raw, &mut problems);
        let label = name.clone().unwrap_or_else(|| format!("#{}", raw.number));
        let line = raw.line;
        let entry = self.framework(raw, &mut problems).map(|mut entry| {
            entry.name.clone_from(&label);
            entry
        });
        // A wrong address is read as the default one, which another entry may rightly have.
        let sound = entry.as_ref().filter(|_| problems.is_empty());
        if let Some(contradiction) = sound.and_then(|entry| self.contradiction(entry)) {
            problems.push(Problem::at(line, contradiction));
        }
        let whole = name.is_some() && problems.is_empty();
        self.problems
            .extend(problems.into_iter().map(|problem| problem.of_entry(&label)));
        entry.filter(|_| whole)
    }

    /// Entries of one Ollama or store share its engine, so they must reach it, and run models, alike.
    fn contradiction(&mut self, entry: &Entry) -> Option<String> {
        let (host, header_file) = match &entry.framework {
            Framework::Ollama { host, header_file } => (host, header_file),
            Framework::Embedded { store, run } => return self.run_otherwise(&entry.name, store, run),
            Framework::Unsupported(_) => return None,
        };
        let first = self.ollamas.entry(host.id()).or_insert_with(|| Reached {
            entry: entry.name.clone(),
            https: host.https,
            header_file: header_file.clone(),
        });
        let differs = if first.https != host.https {
            "another scheme in `--host`"
        } else if first.header_file != *header_file {
            "another `--header-file`"
        } else {
            return None;
        };
        let first = &first.entry;
        Some(format!(
            "is on the same Ollama as the entry `{first}`, with {differs}: such entries share one engine, so give both the same"
        ))
    }

    fn run_otherwise(&mut self, name: &str, store: &Path, run: &Run) -> Option<String> {
        let own = || (name.to_owned(), run.clone());
        let (first, before) = self.stores.entry(store.to_owned()).or_insert_with(own);
        (before != run).then(|| {
            format!(
                "has the store of the entry `{first}`, with other `--threads`, `--gpu-layers` or `--engine-arg`: such \
                 entries share one engine, so give both the same"
            )
        })
    }

    fn name(&mut self, raw: &RawEntry, problems: &mut Vec<Problem>) -> Option<String> {
        let word = match &raw.name {
            Field::Is(word) => word,
            Field::Wrong => return None,
            Field::Absent => {
                problems.push(Problem::at(raw.line, "has no `name`"));
                return None;
            }
        };
        if !is_name(&word.text) {
            let message = "`name` must be 1 to 63 letters, digits, `.`, `_` or `-`";
            problems.push(Problem::at(word.line, message));
            return None;
        }
        if let Some(first) = self.names.get(&word.text) {
            let message = format!("the name is taken by the entry in line {first}");
            problems.push(Problem::at(word.line, message));
        } else {
            self.names.insert(word.text.clone(), word.line);
        }
        Some(word.text.clone())
    }

    fn framework(&self, raw: RawEntry, problems: &mut Vec<Problem>) -> Option<Entry> {
        let word = match raw.framework {
            Field::Is(word) => word,
            Field::Wrong => return None,
            Field::Absent => {
                problems.push(Problem::at(raw.line, "has no `framework`"));
                return None;
            }
        };
        match word.text.as_str() {
            "embedded" => {
                problems.extend(raw.argv_problems);
                self.embedded(&raw.argv, raw.line, problems)
            }
            "ollama" => {
                problems.extend(raw.argv_problems);
                Some(self.ollama(&raw.argv, problems))
            }
            text if text.is_empty() || text.chars().any(char::is_control) => {
                problems.push(Problem::at(
                    word.line,
                    "`framework` must be a word: `ollama` or `embedded`",
                ));
                None
            }
            _ => Some(entry(Framework::Unsupported(word.text))),
        }
    }

    fn embedded(&self, words: &[Word], line: u64, problems: &mut Vec<Problem>) -> Option<Entry> {
        let (own, models) = flags(words, &EMBEDDED, problems);
        let store = match own.one("--store") {
            Some(given) => self.path(given),
            None => self.folders.store().or_else(|| {
                let message = "this user has no data folder: say with `--store` where models are kept";
                problems.push(Problem::at(line, message));
                None
            })?,
        };
        let run = Run {
            threads: own.one("--threads").and_then(|given| valid(given, problems, threads)),
            gpu_layers: own
                .one("--gpu-layers")
                .and_then(|given| valid(given, problems, gpu_layers)),
            args: own
                .all("--engine-arg")
                .iter()
                .map(|given| given.value.clone())
                .collect(),
        };
        Some(self.whole(Framework::Embedded { store, run }, &own, models, problems))
    }

    fn ollama(&self, words: &[Word], problems: &mut Vec<Problem>) -> Entry {
        let (own, models) = flags(words, &OLLAMA, problems);
        let host = own
            .one("--host")
            .and_then(|given| valid(given, problems, str::parse::<Host>));
        let framework = Framework::Ollama {
            host: host.unwrap_or_default(),
            header_file: own.one("--header-file").map(|given| self.path(given)),
        };
        self.whole(framework, &own, models, problems)
    }

    /// What entries of all frameworks have.
    fn whole(&self, framework: Framework, own: &Bag, models: Vec<(Given, Bag)>, problems: &mut Vec<Problem>) -> Entry {
        let advertise = own
            .one("--advertise")
            .and_then(|given| valid(given, problems, endpoint));
        let mut desired: Vec<Desired> = Vec::new();
        for (model, bag) in models {
            let Some(name) = valid(&model, problems, str::parse::<ModelName>) else {
                continue;
            };
            if desired.iter().any(|other| other.name == name) {
                let message = format!("the model `{name}` is named twice");
                problems.push(Problem::at(model.line, message));
            }
            desired.push(self.desired(name, &model, &bag, problems));
        }
        Entry {
            desired,
            advertise,
            ..entry(framework)
        }
    }

    fn desired(&self, name: ModelName, model: &Given, bag: &Bag, problems: &mut Vec<Problem>) -> Desired {
        let path = bag.one("--model-path").map(|given| self.path(given));
        if let (Some(_), Some(why)) = (&path, name.reserved()) {
            problems.push(Problem::at(model.line, format!("`--model`: {why}")));
        }
        let level = bag
            .one("--level")
            .and_then(|given| valid(given, problems, str::parse::<Level>));
        let digest = bag
            .one("--digest")
            .and_then(|given| valid(given, problems, str::parse::<Digest>));
        let ensure = bag.one("--ensure").and_then(|given| valid(given, problems, ensure));
        let keep_alive = bag.one("--keep-alive");
        if let Some(given) = keep_alive
            && level.is_some_and(|level| level > Level::OnDisk)
        {
            let message = "`--keep-alive`: a model that is configured above on-disk stays in memory: leave it out";
            problems.push(Problem::at(given.line, message));
        }
        let keep_alive = keep_alive.and_then(|given| valid(given, problems, duration(Duration::ZERO, MAX_KEEP_ALIVE)));
        let adapters = bag.all("--adapter-path").iter();
        Desired {
            name,
            level: level.unwrap_or(Level::OnDisk),
            path,
            digest,
            options: ImportOptions {
                adapter_paths: adapters.filter_map(|given| self.path_text(given, problems)).collect(),
                quantize: bag.one("--quantize").and_then(|given| valid(given, problems, quantize)),
                ..ImportOptions::default()
            },
            keep_alive,
            context_length: bag
                .one("--context-length")
                .and_then(|given| valid(given, problems, context_length)),
            insecure: bag.one("--insecure").is_some_and(|given| given.value == "true"),
            ensure: ensure.unwrap_or(Ensure::Startup),
        }
    }

    fn path(&self, given: &Given) -> PathBuf {
        self.folder.join(&given.value)
    }

    /// Import options hold texts, as callers send them.
    fn path_text(&self, given: &Given, problems: &mut Vec<Problem>) -> Option<String> {
        let path = self.path(given).into_os_string().into_string();
        if path.is_err() {
            let message = format!("`{}` is relative to a folder whose name is not UTF-8", given.flag.name);
            problems.push(Problem::at(given.line, message));
        }
        path.ok()
    }
}

/// The words as flags of the framework's table: those of the entry, and each `--model` with the flags after it.
fn flags(words: &[Word], table: &Table, problems: &mut Vec<Problem>) -> (Bag, Vec<(Given, Bag)>) {
    let (given, wrong) = argv::flags(words, table);
    problems.extend(wrong);
    bind(given, problems)
}

fn bind(given: Vec<Given>, problems: &mut Vec<Problem>) -> (Bag, Vec<(Given, Bag)>) {
    let mut own = Bag::default();
    let mut models: Vec<(Given, Bag)> = Vec::new();
    for given in given {
        match (given.flag.scope, models.last_mut()) {
            (Scope::Model, _) => models.push((given, Bag::default())),
            (Scope::OfModel, Some((_, bag))) => bag.add(given, problems),
            (Scope::OfModel, None) => {
                let message = format!("`{}` must come after the `--model` that it is for", given.flag.name);
                problems.push(Problem::at(given.line, message));
            }
            (Scope::Entry | Scope::None(_), _) => own.add(given, problems),
        }
    }
    (own, models)
}

fn entry(framework: Framework) -> Entry {
    Entry {
        name: String::new(),
        framework,
        desired: Vec::new(),
        advertise: None,
    }
}

/// The flag's value, or a problem that says why it is none.
fn valid<T, E: fmt::Display>(
    given: &Given,
    problems: &mut Vec<Problem>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    match read(&given.value) {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(Problem::at(given.line, format!("`{}`: {error}", given.flag.name)));
            None
        }
    }
}

fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed)
}

fn context_length(text: &str) -> Result<u32, &'static str> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a context is a number of tokens, 1 or more"),
        Ok(tokens) => Ok(tokens),
    }
}

fn threads(text: &str) -> Result<NonZeroUsize, &'static str> {
    let wrong = "threads are a number from 1 to 1024";
    match text.parse::<NonZeroUsize>() {
        Ok(threads) if threads.get() <= 1024 => Ok(threads),
        _ => Err(wrong),
    }
}

fn gpu_layers(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .map_err(|_| "layers on accelerators are a number, 0 for none of them")
}

fn ensure(text: &str) -> Result<Ensure, &'static str> {
    match text {
        "startup" => Ok(Ensure::Startup),
        "on-demand" => Ok(Ensure::OnDemand),
        _ => Err("a model is made ready at `startup` or `on-demand`"),
    }
}

fn quantize(text: &str) -> Result<String, &'static str> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if text.len() > 16 || !text.bytes().all(allowed) {
        return Err("a type to quantize to is a word like `Q4_K_M`");
    }
    Ok(text.to_ascii_uppercase())
}

/// It is told to every caller, so it has no room for a secret.
fn endpoint(text: &str) -> Result<String, &'static str> {
    let uri: http::Uri = text.parse().map_err(|_| "an endpoint is a URL: `http://host:port`")?;
    let authority = match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if !authority.host().is_empty() => authority,
        _ => return Err("an endpoint is a URL: `http://host:port`"),
    };
    if authority.as_str().contains('@') {
        return Err("an endpoint is told to callers and must have no user information");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests;
