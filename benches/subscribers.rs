//! A thousand subscribers of one pull: ten connections of a hundred streams, over ten seconds of progress. They ask for the
//! pull, or watch its operation.
//!
//! The service runs as a process of its own (this program again), so that its memory can be told from the subscribers'. Its
//! engine is scripted: a pull that tells of its layers a hundred times a second. What a message weighs is up to the number of
//! layers, most of all, so it is measured with one and with five.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/api/support.rs"]
#[allow(dead_code, unused_imports, reason = "the tests of the API use the rest")]
mod api;
#[path = "../tests/support/soon.rs"]
mod soon;
mod support;

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use model_control::model::{Digest, Layer};
use tokio::task::JoinSet;
use tonic::Streaming;

use self::{
    api::{Event, ModelControlClient, OperationsClient, Phase, Scripted, Service, channel, pull, v1},
    support::{Memory, Samples, mib, row},
};

const CONNECTIONS: usize = 10;
const STREAMS: usize = 100;
const TICKS: u32 = 1000;
const TICK: Duration = Duration::from_millis(10);

/// How a subscriber comes to a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Pull,
    Watch,
}

/// What one subscriber was sent.
#[derive(Debug, Default)]
struct Received {
    /// When each message came.
    at: Vec<Instant>,
    bytes: usize,
}

/// The service's process.
struct Server(Child);

fn main() {
    if let Some(layers) = env::args().skip_while(|argument| argument != "--serve").nth(1) {
        let layers = layers.parse().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(serve(layers));
    } else {
        support::run(
            "subscribers: a thousand of one pull, over ten seconds of progress",
            async {
                for (way, layers) in [(Way::Pull, 1), (Way::Pull, 5), (Way::Watch, 1), (Way::Watch, 5)] {
                    bench(way, layers).await;
                }
            },
        );
    }
}

/// Says where it listens, plays the pull when told to, and ends with its standard input.
async fn serve(count: u8) {
    let engine = Scripted::new();
    let script = engine.script(None);
    let service = Service::start(engine, None).await;
    let mut out = std::io::stdout();
    writeln!(out, "{}", service.address).unwrap();
    let mut lines = std::io::stdin().lines();
    if lines.next().is_some() {
        let mut layers: Vec<_> = (0..count)
            .map(|number| Layer {
                digest: Digest::of(&[number]).to_string(),
                total_bytes: Some(u64::from(TICKS) << 20),
                ..Layer::default()
            })
            .collect();
        script.event(Event::Entered(Phase::Downloading(layers.clone()))).await;
        let mut tick = tokio::time::interval(TICK);
        for number in 1..=TICKS {
            tick.tick().await;
            let layer = &mut layers[number as usize % usize::from(count)];
            layer.completed_bytes = u64::from(number) << 20;
            script.event(Event::Layer(layer.clone())).await;
        }
        script.event(Event::Entered(Phase::Verifying)).await;
        script.event(Event::Entered(Phase::Writing)).await;
        script.succeed(&"m".parse().unwrap(), "content").await;
    }
    lines.next();
    service.stop().await;
}

async fn bench(way: Way, layers: u8) {
    let mut child = Command::new(env::current_exe().unwrap())
        .arg("--serve")
        .arg(layers.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let server = Server(child);
    let mut address = String::new();
    BufReader::new(output).read_line(&mut address).unwrap();
    let address = address.trim().parse().unwrap();

    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(channel(address).await);
    }
    // It is there before, and its caller is not counted.
    let mut own = ModelControlClient::new(connections[0].clone());
    let mut own = own.pull(pull("m")).await.unwrap().into_inner();
    let operation_id = match own.message().await.unwrap().unwrap().event.unwrap() {
        v1::pull_response::Event::Progress(progress) => progress.operation_id,
        v1::pull_response::Event::Result(result) => panic!("{result:?}"),
    };
    let own = tokio::spawn(async move { while own.message().await.unwrap().is_some() {} });
    let before = Memory::of(server.0.id());
    let mut subscribers = JoinSet::new();
    for connection in connections {
        for _ in 0..STREAMS {
            match way {
                Way::Pull => {
                    let mut client = ModelControlClient::new(connection.clone());
                    follow(&mut subscribers, client.pull(pull("m")).await.unwrap().into_inner()).await;
                }
                Way::Watch => {
                    let watch = v1::OperationsWatchRequest {
                        operation_id: operation_id.clone(),
                        after_sequence: 0,
                    };
                    let mut client = OperationsClient::new(connection.clone());
                    follow(&mut subscribers, client.watch(watch).await.unwrap().into_inner()).await;
                }
            }
        }
    }
    let (subscribed, busy) = (Memory::of(server.0.id()), support::busy(server.0.id()));
    writeln!(input, "go").unwrap();
    let start = Instant::now();
    let all = subscribers.join_all().await;
    let seconds = start.elapsed().as_secs_f64();
    let (after, busy) = (Memory::of(server.0.id()), support::busy(server.0.id()) - busy);
    own.await.unwrap();
    drop(input);

    let (mut rate, mut worst, mut bytes, mut size) = (
        Samples::default(),
        Samples::default(),
        Samples::default(),
        Samples::default(),
    );
    for received in &all {
        rate.push(received.at.len() as f64 / seconds);
        worst.push(received.worst_second() as f64);
        bytes.push(received.bytes as f64 / 1024.0);
        size.push(received.bytes as f64 / received.at.len() as f64);
    }
    row(&format!("{way:?}, layers"), layers, "");
    row("  subscribers", all.len(), "");
    row(
        "  processors that the service used",
        format!("{:.3}", busy / seconds),
        "at most 0.25",
    );
    row("  progress lasted", format!("{seconds:.1} s"), "");
    row("  messages a second each", rate.of(""), "at most 5");
    row(
        "  messages in the worst second of each",
        worst.of(""),
        "phases and the end are told at once",
    );
    row("  sent to each", bytes.of("KiB"), "at most 20 KiB");
    row("  a message", size.of("bytes"), "");
    let each = |now: Memory| {
        format!(
            "{:.1} KiB",
            now.resident.saturating_sub(before.resident) as f64 / 1024.0 / 1e3
        )
    };
    row("  the service's memory before", mib(before.resident), "");
    row("  its memory for each, subscribed", each(subscribed), "");
    row(
        "  its memory for each, at most",
        each(Memory {
            resident: after.peak,
            ..after
        }),
        "at most 20 KiB",
    );
}

/// Takes the first snapshot, which tells that it is subscribed, and the rest in a task.
async fn follow<T: prost::Message + Default + 'static>(subscribers: &mut JoinSet<Received>, mut stream: Streaming<T>) {
    let mut received = Received::default();
    received.add(&stream.message().await.unwrap().unwrap());
    subscribers.spawn(async move {
        while let Some(message) = stream.message().await.unwrap() {
            received.add(&message);
        }
        received
    });
}

// === impl Received ===

impl Received {
    fn add(&mut self, message: &impl prost::Message) {
        self.at.push(Instant::now());
        self.bytes += message.encoded_len();
    }

    fn worst_second(&self) -> usize {
        let within = |from: &Instant| {
            let inside = |at: &&Instant| **at >= *from && **at - *from < Duration::from_secs(1);
            self.at.iter().filter(inside).count()
        };
        self.at.iter().map(within).max().unwrap_or(0)
    }
}

// === impl Server ===

impl Drop for Server {
    fn drop(&mut self) {
        // Its input has ended, and so has it, or it is stuck.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
