//! What the benchmarks share: the program that is measured, figures, and memory of a process.
//!
//! What is measured is the program as built for benchmarks, or the one that `MODEL_CONTROL_BENCH_PROGRAM` names: `just bench`
//! names the shipped one. Figures depend on the machine and on who else is at work there; ratios are of works that were done
//! in turns, so that both had the same luck.

// Each benchmark uses a part of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    env, fmt, fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

const MIB: f64 = (1 << 20) as f64;

/// Values of one figure.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(Vec<f64>);

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// All that is resident: `VmRSS`.
    pub(crate) resident: u64,
    /// Of that, what no file holds: `RssAnon`.
    pub(crate) anonymous: u64,
    /// The most that was ever resident: `VmHWM`.
    pub(crate) peak: u64,
    pub(crate) threads: u64,
}

/// Looks at a process's memory until it is asked what the most was.
#[derive(Debug)]
pub(crate) struct Watch {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Memory>,
}

/// The program that is measured.
pub(crate) fn program() -> PathBuf {
    let named = env::var_os("MODEL_CONTROL_BENCH_PROGRAM").map(PathBuf::from);
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_model-control").into())
}

/// A setting of the benchmark, `MODEL_CONTROL_BENCH_<NAME>`.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    let value = env::var(format!("MODEL_CONTROL_BENCH_{name}"));
    value.map_or(default, |value| value.parse().expect("a number"))
}

/// Runs the benchmark. `cargo test --benches` passes no `--bench`: then there is nothing to do.
pub(crate) fn run(title: &str, bench: impl Future<Output = ()>) {
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    say(format_args!("\n{title}"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(bench);
}

/// One line of the table: what, how much, and the bound where there is one.
pub(crate) fn row(what: &str, value: impl fmt::Display, bound: &str) {
    say(format_args!("  {what:<52} {value:<34} {bound}"));
}

#[expect(clippy::print_stdout, reason = "it is what a benchmark is for")]
fn say(line: fmt::Arguments<'_>) {
    println!("{line}");
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB)
}

/// Milliseconds that a process's living threads have run. Unlike the clock it hardly minds who else is at work; zero where
/// the system does not tell.
pub(crate) fn cpu(pid: u32) -> f64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0.0;
    };
    let nanoseconds = |thread: std::io::Result<fs::DirEntry>| {
        let told = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        told.split(' ').next()?.parse::<f64>().ok()
    };
    threads.filter_map(nanoseconds).sum::<f64>() / 1e6
}

/// Seconds that a process has run, its ended threads included; zero where the system does not tell.
pub(crate) fn busy(pid: u32) -> f64 {
    const TICKS: f64 = 100.0;
    let told = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = told.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let ticks = fields.split(' ').skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

// === impl Samples ===

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    pub(crate) fn least(&self) -> f64 {
        self.0[0]
    }

    /// Median, least and most, in a unit.
    pub(crate) fn of(&self, unit: &str) -> String {
        let unit = if unit.is_empty() {
            String::new()
        } else {
            format!(" {unit}")
        };
        format!("{:.3}{unit} ({:.3} to {:.3})", self.median(), self.least(), self.max())
    }
}

// === impl Memory ===

impl Memory {
    /// Zeros where the system does not tell.
    pub(crate) fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let value = |name: &str| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.map_or(0, |word| word.parse::<u64>().unwrap())
        };
        Self {
            resident: value("VmRSS") << 10,
            anonymous: value("RssAnon") << 10,
            peak: value("VmHWM") << 10,
            threads: value("Threads"),
        }
    }
}

// === impl Watch ===

impl Watch {
    pub(crate) fn begin(pid: u32) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut most = Memory::default();
            while !end.load(Ordering::Relaxed) {
                let now = Memory::of(pid);
                most.resident = most.resident.max(now.resident);
                most.anonymous = most.anonymous.max(now.anonymous);
                most.threads = most.threads.max(now.threads);
                std::thread::park_timeout(std::time::Duration::from_millis(10));
            }
            most
        });
        Self { ended, thread }
    }

    pub(crate) fn most(self) -> Memory {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap()
    }
}
