//! A machine for a page: a folder with what a fresh checkout has, programs on its PATH, ports of its own.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    net::TcpListener,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{page::Step, shape};
use crate::missing;

/// The ports that the pages name.
const PORTS: [u16; 5] = [50051, 50052, 9090, 11434, 5001];
/// For a server to listen, or to have all ready.
const PATIENCE: Duration = Duration::from_mins(1);
const STEP: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Sandbox {
    ports: Vec<(String, String)>,
    running: Vec<Running>,
    // Last: everything in it has ended by then.
    folder: tempfile::TempDir,
}

/// A command in the background.
#[derive(Debug)]
struct Running {
    program: String,
    child: Child,
}

// === impl Sandbox ===

impl Sandbox {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::create_dir(folder.path().join("bin")).unwrap();
        symlink(
            env!("CARGO_BIN_EXE_model-control"),
            folder.path().join("bin/model-control"),
        )
        .unwrap();
        fs::create_dir_all(folder.path().join("work/models")).unwrap();
        for file in ["configs.yaml", "models/tiny.gguf"] {
            fs::copy(checkout.join(file), folder.path().join("work").join(file)).unwrap();
        }
        let ports = PORTS.map(|told| (told.to_string(), free_port().to_string()));
        Self {
            ports: ports.into(),
            running: Vec::new(),
            folder,
        }
    }

    /// True when there is what a fence needs; without it one line says that it is skipped.
    pub(crate) fn has(&mut self, page: &str, need: &str) -> bool {
        let named = |name: &str| env::var_os(name).map(PathBuf::from);
        let program = match need {
            "ollama" => named("MODEL_CONTROL_TEST_OLLAMA"),
            "llama" => named("MODEL_CONTROL_TEST_LLAMA_BIN").map(|folder| folder.join("llama-server")),
            "registry" => on_path("docker-registry"),
            _ => panic!("{page}: no fence can need `{need}`"),
        };
        let Some(program) = program.filter(|program| program.is_file()) else {
            let what = format!("fences of {page} that need {need}, which is not installed (see CONTRIBUTING.md)");
            missing::skip(&what);
            return false;
        };
        let link = self.folder.path().join("bin").join(program.file_name().unwrap());
        if !link.exists() {
            symlink(&program, link).unwrap();
        }
        if need == "registry" && !self.runs("docker-registry") {
            self.registry();
        }
        true
    }

    fn registry(&mut self) {
        let (root, port) = (self.folder.path().join("registry"), self.port("5001"));
        let settings = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n",
            root.display()
        );
        let file = self.folder.path().join("registry.yml");
        fs::write(&file, settings).unwrap();
        self.begin(
            "docker-registry",
            &format!("docker-registry serve {}", file.display()),
            "listening on",
        );
    }

    /// Runs a command and compares what it prints.
    pub(crate) fn run(&mut self, page: &str, step: &Step, fails: bool) {
        let at = format!("{page}:{}: {}", step.line, step.command);
        let command = self.ported(&step.command);
        let words: Vec<_> = command.split_whitespace().collect();
        match words[..] {
            ["model-control", "serve", ..] => return self.serve(&command),
            ["ollama", "serve", ..] => return self.begin("ollama", &command, "Listening on"),
            _ => {}
        }
        let output = self.command(&command).output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let all = format!("{at}\n{out}{err}\n{}", self.logs());
        assert_eq!(output.status.success(), !fails, "{all}");
        let shown = if fails { &err } else { &out };
        let printed: Vec<_> = shown.trim_end().lines().map(str::to_owned).collect();
        let told: Vec<_> = step.output.iter().map(|line| self.ported(line)).collect();
        assert!(
            told.is_empty() || shape::alike(&told, &printed),
            "it prints something else: {all}"
        );
    }

    fn serve(&mut self, command: &str) {
        self.begin("model-control", command, "listening");
        // What is configured is brought to its level, and a reader at a terminal is slower than that.
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE / 6 && !self.command("model-control health").output().unwrap().status.success()
        {
            thread::park_timeout(STEP);
        }
    }

    /// Starts a command in the background, in the place of the one of that program, and waits for a word in its log.
    fn begin(&mut self, program: &str, command: &str, word: &str) {
        self.end(program);
        let log = self.folder.path().join(program).with_extension("log");
        let file = File::create(&log).unwrap();
        let child = self
            .command(&format!("exec {command}"))
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        self.running.push(Running {
            program: program.to_owned(),
            child,
        });
        let begun = Instant::now();
        while !fs::read_to_string(&log).unwrap_or_default().contains(word) {
            let ended = self.running.last_mut().unwrap().child.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "{command} does not start:\n{}",
                self.logs()
            );
            thread::park_timeout(STEP);
        }
    }

    fn runs(&self, program: &str) -> bool {
        self.running.iter().any(|running| running.program == program)
    }

    fn end(&mut self, program: &str) {
        self.running.retain_mut(|running| {
            let other = running.program != program;
            if !other {
                running.end();
            }
            other
        });
    }

    /// In the folder, with nothing of our environment.
    fn command(&self, text: &str) -> Command {
        let mut command = Command::new("bash");
        let path = [
            self.folder.path().join("bin"),
            "/usr/bin".into(),
            "/bin".into(),
            "/usr/sbin".into(),
        ];
        command
            .args(["-euo", "pipefail", "-c", text])
            .current_dir(self.folder.path().join("work"))
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", env::join_paths(path).unwrap())
            .env("MODEL_CONTROL_LISTEN", format!("127.0.0.1:{}", self.port("50051")))
            .env("MODEL_CONTROL_DRAIN_DELAY", "0s")
            .env("MODEL_CONTROL_PROBE_INTERVAL", "500ms")
            .env(
                "MODEL_CONTROL_CLIENT_SERVER",
                format!("http://127.0.0.1:{}", self.port("50051")),
            )
            .env("OLLAMA_HOST", format!("127.0.0.1:{}", self.port("11434")))
            .env("OLLAMA_MODELS", self.folder.path().join("ollama-models"))
            .env("OLLAMA_NO_CLOUD", "1")
            // Nothing but loopback is reached: nobody listens there.
            .envs(["HTTP_PROXY", "HTTPS_PROXY"].map(|name| (name, "http://127.0.0.1:1")))
            .process_group(0)
            .stdin(Stdio::null());
        command
    }

    fn port(&self, told: &str) -> &str {
        &self
            .ports
            .iter()
            .find(|(port, _)| port == told)
            .expect("a port of the pages")
            .1
    }

    /// Whole numbers only, and each once: a port of ours may look like one that the pages name.
    fn ported(&self, text: &str) -> String {
        let text = text.replace("0.0.0.0:", "127.0.0.1:");
        let numbers = text.split_inclusive(|c: char| !c.is_ascii_digit());
        let ported = numbers.map(|part| {
            let number = part.trim_end_matches(|c: char| !c.is_ascii_digit());
            let here = self.ports.iter().find(|(told, _)| told == number);
            here.map_or_else(|| part.to_owned(), |(_, here)| part.replacen(number, here, 1))
        });
        ported.collect()
    }

    fn logs(&self) -> String {
        let log = |running: &Running| {
            let log = self.folder.path().join(&running.program).with_extension("log");
            let text = fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            format!(
                "-- {}\n{}\n",
                running.program,
                lines[lines.len().saturating_sub(30)..].join("\n")
            )
        };
        self.running.iter().map(log).collect()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        for running in &mut self.running {
            running.end();
        }
    }
}

// === impl Running ===

impl Running {
    /// Its whole group, so that no engine of it stays.
    fn end(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, rustix::process::Signal::TERM).ok();
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            if begun.elapsed() > PATIENCE / 2 {
                rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
            }
            thread::park_timeout(STEP);
        }
    }
}

/// A port that nobody has. A command cannot be told to let the system pick, so it is one that the system never picks for
/// others: below the range that it takes from, and not one of another sandbox.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = fastrand::u16(12_000..32_000);
    NEXT.compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed)
        .ok();
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path: OsString = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}
