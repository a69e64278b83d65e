//! Pulls from a real registry: against `curl | sha256sum`, over many slow connections, after a kill, and for a thousand callers.
//!
//! `MODEL_CONTROL_BENCH_MIB` is the large file's size (2048 by default; three times as much disk is needed),
//! `MODEL_CONTROL_BENCH_ROUNDS` how often all works are done in turns (5), `MODEL_CONTROL_BENCH_PART` the one of the four
//! parts to run (0, all). Without `docker-registry` on the PATH there is nothing to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/missing.rs"]
mod missing;
#[path = "../tests/support/registry.rs"]
mod registry;
#[path = "../tests/support/service.rs"]
mod service;
mod support;

use std::{
    fs,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use model_control::{
    grpc::proto::v1::{
        ListRequest, PullRequest, PullResponse, model_control_client::ModelControlClient, pull_response::Event,
    },
    model::Digest,
};
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::{Streaming, transport::Channel};

use self::{
    registry::{Front, Registry, Relay},
    service::{Home, Service},
    support::{Memory, Samples, Watch, busy, mib, row, setting},
};

/// Of each connection, in bytes a second.
const RATE: u64 = 25_000_000;
/// The same where a pull is to last: a thousand callers watch it.
const SLOW: u64 = 2_000_000;
const CONNECTIONS: usize = 10;
const STREAMS: usize = 100;
/// MiB of the files of the later parts.
const SPREAD: u64 = 512;
const RESUMED: u64 = 1024;
const WATCHED: u64 = 256;

/// A registry that has one model, and what may ask it.
struct World {
    registry: Registry,
    home: Home,
    digest: Digest,
    size: u64,
}

fn main() {
    support::run("pull: from a registry on loopback", async {
        let part = setting("PART", 0);
        let chosen = |number| part == 0 || part == number;
        if chosen(1) {
            large().await;
        }
        if chosen(2) {
            spread().await;
        }
        if chosen(3) {
            resumed().await;
        }
        if chosen(4) {
            watched().await;
        }
    });
}

/// A large file, and what a shell would do.
async fn large() {
    let mib_size = setting("MIB", 2048);
    let Some(world) = World::with(mib_size).await else {
        return;
    };
    let service = world.start(&[world.registry.address.to_string()], &[]);
    let mut client = client(&service).await;
    client.list(ListRequest::default()).await.unwrap();
    let idle = Memory::of(service.pid());

    let [mut ours, mut shell, mut wall, mut ours_cpu, mut shell_cpu, mut cpu] =
        std::array::from_fn(|_| Samples::default());
    let mut anonymous = 0;
    for round in 0..setting("ROUNDS", 5) {
        let mut pull = async || {
            let (watch, before, start) = (Watch::begin(service.pid()), busy(service.pid()), Instant::now());
            let name = format!("{}/library/big", world.registry.address);
            follow(begin(&mut client, &name).await).await;
            let seconds = start.elapsed().as_secs_f64();
            let busy = busy(service.pid()) - before;
            anonymous = anonymous.max(watch.most().anonymous);
            world.forget();
            (seconds, busy)
        };
        // Who begins takes turns too.
        let (of_ours, of_shell) = if round % 2 == 0 {
            let of_shell = world.curl();
            (pull().await, of_shell)
        } else {
            (pull().await, world.curl())
        };
        ours.push(of_ours.0);
        shell.push(of_shell.0);
        wall.push(of_ours.0 / of_shell.0);
        ours_cpu.push(of_ours.1);
        shell_cpu.push(of_shell.1);
        cpu.push(of_ours.1 / of_shell.1);
    }
    let end = Memory::of(service.pid());
    row(&format!("Pull of {mib_size} MiB"), ours.of("s"), "");
    row("curl | sha256sum of its blob", shell.of("s"), "");
    row("the one by the other", wall.of(""), "at most 0.8");
    row("processor time of the service", ours_cpu.of("s"), "");
    row("processor time of curl and sha256sum", shell_cpu.of("s"), "");
    row("the one by the other", cpu.of(""), "at most 0.7");
    row("resident when idle", mib(idle.resident), "");
    let above = |most: u64, before: u64| mib(most.saturating_sub(before));
    let resident = above(end.peak, idle.resident);
    row("most resident above that", resident, "at most 48 MiB");
    let anonymous = above(anonymous, idle.anonymous);
    row("most anonymous above idle", anonymous, "");
}

/// Connections that are slow, each for itself.
async fn spread() {
    let Some(world) = World::with(SPREAD).await else { return };
    let relay = Relay::to(&world.registry, Some(RATE)).await;
    let front = Front::before(&world.registry, relay.address).await;
    let counts = [1_u32, 4, 8, 16];
    let (mut times, mut curls) = (counts.map(|_| Samples::default()), counts.map(|_| Samples::default()));
    for _ in 0..setting("ROUNDS", 5).min(3) {
        for ((count, times), curls) in counts.iter().zip(&mut times).zip(&mut curls) {
            let flag = format!("--pull-connections={count}");
            let service = world.start(&hosts(&front, &relay), &[&flag]);
            let mut client = client(&service).await;
            let start = Instant::now();
            follow(begin(&mut client, &through(&front)).await).await;
            times.push(start.elapsed().as_secs_f64());
            world.forget();
            curls.push(world.curls(&relay, u64::from(*count)).await);
        }
    }
    for ((count, time), curl) in counts.iter().zip(&times).zip(&curls) {
        let what = format!("{SPREAD} MiB at 25 MB/s a connection, {count} of them");
        let gain = times[0].median() / time.median();
        row(&what, time.of("s"), &format!("{gain:.2} times one; at most {count}"));
        let gain = curls[0].median() / curl.median();
        row(
            "  as many curls, to nowhere",
            curl.of("s"),
            &format!("{gain:.2} times one"),
        );
    }
}

/// Killed half-way.
async fn resumed() {
    let Some(world) = World::with(RESUMED).await else {
        return;
    };
    for (road, rate) in [("25 MB/s a connection", Some(RATE)), ("as fast as it goes", None)] {
        let [mut again, mut taken, mut sockets] = std::array::from_fn(|_| Samples::default());
        for _ in 0..setting("ROUNDS", 5).min(3) {
            let relay = Relay::to(&world.registry, rate).await;
            let front = Front::before(&world.registry, relay.address).await;
            let service = world.start(&hosts(&front, &relay), &[]);
            let stream = begin(&mut client(&service).await, &through(&front)).await;
            while relay.sent.load(Ordering::Relaxed) < world.size / 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            // Stopped first: the sockets fill, and then it is known what the service had taken of all that was sent.
            let moment = relay.sent.load(Ordering::Relaxed);
            shell(&format!("kill -STOP {}", service.pid()));
            let filled = still(&relay).await;
            let unread = unread(relay.address.port());
            service.kill();
            drop(stream);
            let service = world.start(&hosts(&front, &relay), &[]);
            follow(begin(&mut client(&service).await, &through(&front)).await).await;
            let sent = relay.sent.load(Ordering::Relaxed);
            let share = |bytes: u64| bytes as f64 / world.size as f64 * 100.0;
            let twice = sent - world.size;
            again.push(share(twice.saturating_sub(filled - moment)));
            taken.push(share(twice.saturating_sub(unread)));
            sockets.push(share(unread.saturating_sub(filled - moment)));
            world.forget();
        }
        row(&format!("{RESUMED} MiB killed half-way, {road}"), "", "");
        row("  sent again", again.of("%"), "");
        row("  of that unread in sockets at the kill", sockets.of("%"), "");
        row("  taken by the service and fetched again", taken.of("%"), "at most 2 %");
    }
}

/// A thousand callers of one pull.
async fn watched() {
    let Some(world) = World::with(WATCHED).await else {
        return;
    };
    for (connections, streams) in [(1, 1), (CONNECTIONS, STREAMS)] {
        let relay = Relay::to(&world.registry, Some(SLOW)).await;
        let front = Front::before(&world.registry, relay.address).await;
        let service = world.start(&hosts(&front, &relay), &[]);
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(client(&service).await);
        }
        let before = Memory::of(service.pid());
        let busy_before = busy(service.pid());
        let (start, mut callers) = (Instant::now(), JoinSet::new());
        for client in &mut clients {
            for _ in 0..streams {
                let stream = begin(client, &through(&front)).await;
                callers.spawn(follow(stream));
            }
        }
        let all = callers.join_all().await;
        let seconds = start.elapsed().as_secs_f64();
        let [mut rate, mut bytes] = std::array::from_fn(|_| Samples::default());
        for received in &all {
            rate.push(received.messages as f64 / seconds);
            bytes.push(received.bytes as f64 / 1024.0);
        }
        row("callers of one pull", all.len(), "");
        row("  it lasted", format!("{seconds:.1} s"), "");
        let redirects = front.redirects.load(Ordering::Relaxed);
        row("  requests for blobs", redirects, "the same for all as for one");
        let sent = relay.sent.load(Ordering::Relaxed) as f64 / world.size as f64;
        row("  bytes from the registry by the blob", format!("{sent:.5}"), "1");
        row("  messages a second each", rate.of(""), "at most 5");
        row("  sent to each", bytes.of("KiB"), "at most 20 KiB");
        let memory = Memory::of(service.pid()).peak.saturating_sub(before.resident);
        row("  most resident above before", mib(memory), "");
        let busy = busy(service.pid()) - busy_before;
        row("  processor time", format!("{busy:.2} s"), "");
        world.forget();
    }
}

/// What one caller was sent.
#[derive(Debug, Default)]
struct Received {
    messages: usize,
    bytes: usize,
}

// === impl World ===

impl World {
    async fn with(mib: u64) -> Option<Self> {
        let registry = Registry::start()?;
        let home = Home::new();
        let source = home.write_model("big.gguf", mib);
        registry.push("library/big", "latest", &[("model", &source)]).await;
        let bytes = fs::read(&source).unwrap();
        fs::remove_file(&source).unwrap();
        let world = Self {
            registry,
            home,
            digest: Digest::of(&bytes),
            size: bytes.len() as u64,
        };
        shell("sync");
        Some(world)
    }

    fn start(&self, hosts: &[String], flags: &[&str]) -> Service {
        let mut command = self.home.command(&support::program());
        command.args(hosts.iter().map(|host| format!("--allow-registry=http://{host}")));
        command.args(flags);
        Service::start(command)
    }

    /// Seconds by the clock, and of the processor.
    fn curl(&self) -> (f64, f64) {
        let Self { registry, digest, .. } = self;
        let url = format!("http://{}/v2/library/big/blobs/{digest}", registry.address);
        let told = shell(&format!(
            "TIMEFORMAT='%3R %3U %3S'; time (curl -s '{url}' | sha256sum) 2>&1 | grep -q {}",
            digest.hex()
        ));
        let told: Vec<f64> = told.split_whitespace().map(|word| word.parse().unwrap()).collect();
        (told[0], told[1] + told[2])
    }

    /// Seconds that as many curls take for the blob, each its share, by the same road: what the machine can do.
    async fn curls(&self, relay: &Relay, count: u64) -> f64 {
        let Self { digest, size, .. } = self;
        let url = format!("http://{}/v2/library/big/blobs/{digest}", relay.address);
        let mut script = String::new();
        for share in 0..count {
            let (first, end) = (size * share / count, size * (share + 1) / count);
            script.extend([format!("curl -sf -o /dev/null -r {first}-{} '{url}' & ", end - 1)]);
        }
        let start = Instant::now();
        // The relay works in this process.
        let done = tokio::task::spawn_blocking(move || shell(&format!("{script} wait")));
        done.await.unwrap();
        start.elapsed().as_secs_f64()
    }

    /// The model is gone, as if another process had removed it.
    fn forget(&self) {
        for host in fs::read_dir(self.home.store("manifests")).unwrap() {
            fs::remove_dir_all(host.unwrap().path()).unwrap();
        }
        for blob in fs::read_dir(self.home.store("blobs")).unwrap() {
            fs::remove_file(blob.unwrap().path()).unwrap();
        }
        shell("sync");
    }
}

fn hosts(front: &Front, relay: &Relay) -> [String; 2] {
    [front.address.to_string(), format!("localhost:{}", relay.address.port())]
}

fn through(front: &Front) -> String {
    format!("{}/library/big", front.address)
}

async fn client(service: &Service) -> ModelControlClient<Channel> {
    ModelControlClient::new(service.channel().await)
}

async fn begin(client: &mut ModelControlClient<Channel>, model: &str) -> Streaming<PullResponse> {
    let request = PullRequest {
        model: model.to_owned(),
        insecure: true,
        ..Default::default()
    };
    client.pull(request).await.unwrap().into_inner()
}

/// To the end, which must be good.
async fn follow(mut stream: Streaming<PullResponse>) -> Received {
    let (mut received, mut last) = (Received::default(), None);
    while let Some(message) = stream.message().await.unwrap() {
        received.messages += 1;
        received.bytes += message.encoded_len();
        last = message.event;
    }
    assert!(matches!(last, Some(Event::Result(result)) if result.changed));
    received
}

/// Waits until a relay sends no more: what it has sent then.
async fn still(relay: &Relay) -> u64 {
    let mut before = relay.sent.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = relay.sent.load(Ordering::Relaxed);
        if now == before {
            return now;
        }
        before = now;
    }
}

/// Bytes that lie in the sockets of callers of a loopback port; zero where the system does not tell.
fn unread(port: u16) -> u64 {
    let told = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    let (from, waiting) = (format!(":{port:04X}"), |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let queues = fields.get(4)?.split_once(':')?;
        Some((
            fields.get(1)?.to_string(),
            fields.get(2)?.to_string(),
            queues.0.to_owned(),
            queues.1.to_owned(),
        ))
    });
    let bytes = |hex: &str| u64::from_str_radix(hex, 16).unwrap_or(0);
    let lines = told.iter().flat_map(|told| told.lines().skip(1));
    lines
        .filter_map(waiting)
        .map(|(local, remote, sending, received)| {
            // What the caller has not read, and what the relay's own socket still holds.
            let unread = if remote.ends_with(&from) { bytes(&received) } else { 0 };
            let unsent = if local.ends_with(&from) { bytes(&sending) } else { 0 };
            unread + unsent
        })
        .sum()
}

/// What a script says on its standard error, which must be all that goes wrong with it.
fn shell(script: &str) -> String {
    let output = Command::new("bash")
        .args(["-c", script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stderr).unwrap()
}
