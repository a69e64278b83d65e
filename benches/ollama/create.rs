//! CreateFromPath, `ollama create`, and ollama-python: the first time, and again under another name, when Ollama has the
//! files and the service remembers their digests.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime},
};

use model_control::grpc::proto::v1::{CreateFromPathRequest, ListRequest, create_from_path_response::Event};
use serde_json::json;

use crate::{
    Client, World, models, ollama,
    support::{Memory, Samples, Watch, mib, row, setting},
};

/// What its users would write. It tells the seconds, without those of the interpreter's start.
const PYTHON: &str = r"
import os, sys, time, ollama
host, model, path = sys.argv[1:]
begun = time.monotonic()
client = ollama.Client(host=host)
paths = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
files = {os.path.basename(path): client.create_blob(path) for path in paths}
client.create(model=model, files=files)
print(time.monotonic() - begun)
";
/// A file that changed less than two seconds before it is read is not remembered.
const SETTLED: Duration = Duration::from_millis(2100);

/// Who makes the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Service,
    Client,
    Python,
}

struct Scene {
    world: World,
    client: Client,
    source: PathBuf,
    /// Memory of the service at most.
    most: Memory,
}

/// Seconds of one who makes it.
#[derive(Debug, Default)]
struct Times {
    first: Samples,
    again: Samples,
}

pub(crate) async fn gguf() {
    let size = setting("MIB", 2048);
    let (world, client) = World::new(&[]).await;
    let source = world.home.model("big.gguf");
    models::gguf(&source, size);
    bench(world, client, source, &format!("a GGUF of {size} MiB")).await;
}

pub(crate) async fn safetensors() {
    let size = setting("MIB", 2048);
    let (world, client) = World::new(&[]).await;
    let source = world.home.model("shards");
    models::shards(&source, size);
    bench(world, client, source, &format!("8 shards of {size} MiB together")).await;
}

async fn bench(world: World, mut client: Client, source: PathBuf, what: &str) {
    client.list(ListRequest::default()).await.unwrap();
    let idle = Memory::of(world.service.pid());
    let mut scene = Scene {
        world,
        client,
        source,
        most: idle,
    };
    let mut all = vec![Who::Service, Who::Client];
    if env::var_os("MODEL_CONTROL_BENCH_PYTHON").is_some() {
        all.push(Who::Python);
    }
    let mut times: Vec<_> = all.iter().map(|who| (*who, Times::default())).collect();
    for _ in 0..setting("ROUNDS", 3) {
        for (who, times) in &mut times {
            scene.forget().await;
            times.first.push(scene.make(*who, "first").await);
            times.again.push(scene.make(*who, "again").await);
        }
        // Who begins takes turns.
        times.rotate_left(1);
    }
    scene.forget().await;
    let of = |who| &times.iter().find(|(other, _)| *other == who).unwrap().1;
    let ours = of(Who::Service);
    row(&format!("CreateFromPath of {what}, first"), ours.first.of("s"), "");
    row("  again", ours.again.of("s"), "");
    for (who, name, first, again) in [
        (Who::Client, "ollama create", "at most 0.95", "at most 0.8"),
        (Who::Python, "ollama-python", "at most 0.8", "at most 0.65"),
    ] {
        if !all.contains(&who) {
            continue;
        }
        let theirs = of(who);
        row(&format!("  {name}, first"), theirs.first.of("s"), "");
        row("    again", theirs.again.of("s"), "");
        let ratio = |a: &Samples, b: &Samples| {
            format!(
                "{:.3} (of the least: {:.3})",
                a.median() / b.median(),
                a.least() / b.least()
            )
        };
        row(
            &format!("  the service by {name}, first"),
            ratio(&ours.first, &theirs.first),
            first,
        );
        row("    again", ratio(&ours.again, &theirs.again), again);
    }
    let above = |most: u64, idle: u64| mib(most.saturating_sub(idle));
    row("  resident when idle", mib(idle.resident), "");
    row(
        "  most resident above that",
        above(scene.most.resident, idle.resident),
        "at most 32 MiB",
    );
    row(
        "  most anonymous above idle",
        above(scene.most.anonymous, idle.anonymous),
        "",
    );
}

// === impl Scene ===

impl Scene {
    /// Seconds.
    async fn make(&mut self, who: Who, name: &str) -> f64 {
        let url = self.world.server.url();
        let start = Instant::now();
        match who {
            Who::Service => {
                let watch = Watch::begin(self.world.service.pid());
                self.create(name).await;
                let seconds = start.elapsed().as_secs_f64();
                let most = watch.most();
                self.most.resident = self.most.resident.max(most.resident);
                self.most.anonymous = self.most.anonymous.max(most.anonymous);
                seconds
            }
            Who::Client => {
                let modelfile = self.world.home.path("Modelfile");
                fs::write(&modelfile, format!("FROM {}\n", self.source.display())).unwrap();
                let mut command = Command::new(ollama::program().unwrap());
                command.args(["create", name, "-f"]).arg(&modelfile);
                command.env("OLLAMA_HOST", url).env("HOME", self.world.home.path(""));
                run(&mut command);
                start.elapsed().as_secs_f64()
            }
            Who::Python => {
                let python = env::var_os("MODEL_CONTROL_BENCH_PYTHON").unwrap();
                let mut command = Command::new(python);
                command.args(["-c", PYTHON, &url, name]).arg(&self.source);
                run(&mut command).trim().parse().unwrap()
            }
        }
    }

    async fn create(&mut self, name: &str) {
        let request = CreateFromPathRequest {
            model: name.to_owned(),
            path: self.source.display().to_string(),
            ..Default::default()
        };
        let mut stream = self.client.create_from_path(request).await.unwrap().into_inner();
        let mut last = None;
        let (begun, mut told) = (Instant::now(), 0);
        while let Some(message) = stream.message().await.unwrap() {
            last = message.event;
            if setting("PHASES", 0) > 0
                && let Some(Event::Progress(progress)) = &last
                && progress.phases.len() > told
            {
                told = progress.phases.len();
                let phase = &progress.phases[told - 1].phase;
                row(
                    &format!("    {name}: {phase}"),
                    format!("{:.2} s", begun.elapsed().as_secs_f64()),
                    "",
                );
            }
        }
        assert!(matches!(last, Some(Event::Result(result)) if result.changed));
    }

    /// Ollama has nothing of it, the service has never seen the files, and the disk is at rest.
    async fn forget(&self) {
        for name in ["first", "again"] {
            let delete = json!({ "model": name });
            self.world
                .server
                .ask("DELETE", "/api/delete", &delete.to_string())
                .unwrap();
        }
        let blobs = fs::read_dir(self.world.server.models().join("blobs"));
        for blob in blobs.into_iter().flatten() {
            fs::remove_file(blob.unwrap().path()).unwrap();
        }
        let touch = |path: &Path| {
            let file = fs::File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now()).unwrap();
        };
        if self.source.is_dir() {
            for file in fs::read_dir(&self.source).unwrap() {
                touch(&file.unwrap().path());
            }
        } else {
            touch(&self.source);
        }
        run(&mut Command::new("sync"));
        tokio::time::sleep(SETTLED).await;
    }
}

/// What it wrote.
fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).unwrap()
}
