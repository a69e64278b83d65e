use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    backend::scripted::Scripted,
    config,
    engines::Desired,
    model::{Digest, ImportOptions, Level},
};

const INTERVAL: Duration = Duration::from_secs(5);

fn desired(name: &str, ensure: config::Ensure) -> Desired {
    Desired::new(config::Desired {
        name: name.parse().unwrap(),
        level: Level::OnDisk,
        path: None,
        digest: None,
        options: ImportOptions::default(),
        insecure: false,
        keep_alive: None,
        context_length: None,
        ensure,
    })
}

fn entry(name: &str, engine: Option<Engine>, desired: Vec<Desired>) -> Arc<Entry> {
    let framework = "scripted".to_owned();
    Arc::new(Entry {
        name: name.to_owned(),
        framework,
        engine,
        desired,
        advertise: None,
    })
}

struct Test {
    publisher: Publisher,
    readiness: watch::Receiver<Arc<Readiness>>,
    changed: Arc<Notify>,
    setup: Setup,
    stop: CancellationToken,
}

impl Test {
    fn start(entries: Vec<Arc<Entry>>) -> Self {
        let setup = Setup {
            entries,
            digest: Digest::of(b""),
            load_time: SystemTime::UNIX_EPOCH,
        };
        let publisher = Publisher::new(&setup);
        let test = Self {
            readiness: publisher.subscribe(),
            publisher,
            changed: Arc::new(Notify::new()),
            setup,
            stop: CancellationToken::new(),
        };
        for (_, engine) in test.setup.supported() {
            let probe = test.publisher.clone();
            let probe = probe.probe(engine.clone(), INTERVAL, Arc::clone(&test.changed));
            tokio::spawn(test.stop.clone().run_until_cancelled_owned(probe));
        }
        test
    }

    /// Waits until the name has the status.
    async fn until(&mut self, name: &str, status: Option<Serving>) {
        let reached = self.readiness.wait_for(|readiness| readiness.status(name) == status);
        tokio::time::timeout(Duration::from_mins(2), reached)
            .await
            .expect("reached")
            .expect("published");
    }
}

#[tokio::test(start_paused = true)]
async fn names_serve_when_they_were_seen_to() {
    let (scripted, name) = (Scripted::new(), "m".parse().unwrap());
    let engine = Engine::new("one", scripted.clone());
    let one = entry("one", Some(engine.clone()), vec![desired("m", config::Ensure::Startup)]);
    let two = entry("two", Some(engine), vec![desired("later", config::Ensure::OnDemand)]);
    let mut test = Test::start(vec![one, two, entry("alien", None, vec![])]);

    // Before the first probe.
    let first = test.readiness.borrow().clone();
    for name in ["", "backends/one", "ichat.modelcontrol.v1.ModelControl"] {
        assert_eq!(first.status(name), Some(false), "{name}");
    }
    assert_eq!(first.status("liveness"), Some(true));

    test.until("ichat.modelcontrol.v1.ModelControl", Some(true)).await;
    test.until("backends/two", Some(true)).await;
    let now = test.readiness.borrow().clone();
    assert_eq!(now.status("backends/one"), Some(false), "its model is not there");
    assert_eq!(now.status(""), Some(false));
    assert_eq!(now.status("backends/one/models/m:latest"), Some(false));
    assert_eq!(
        now.status("backends/alien"),
        None,
        "an unknown framework counts in no name"
    );
    for unknown in [
        "x",
        "backends/three",
        "backends/one/models/other",
        "backends/one/models/",
        "backends/one/x",
    ] {
        assert_eq!(now.status(unknown), None, "{unknown}");
    }

    scripted.put(&name, "content");
    test.changed.notify_waiters();
    test.until("", Some(true)).await;
    test.until("backends/one/models/registry.ollama.ai/library/m:latest", Some(true))
        .await;
    // Listed, though nobody configured it.
    test.until("backends/two/models/m:latest", Some(true)).await;

    // Somebody asks for the model that was left for later: it counts from now on.
    test.setup.entries[1].desired[0].ask();
    test.changed.notify_waiters();
    test.until("", Some(false)).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_goes_down_after_three_failures_and_comes_back_at_once() {
    let scripted = Scripted::new();
    let mut test = Test::start(vec![entry("one", Some(Engine::new("one", scripted.clone())), vec![])]);
    test.until("", Some(true)).await;
    let start = tokio::time::Instant::now();
    scripted.set_reachable(false);
    test.until("", Some(false)).await;
    let (elapsed, between) = (start.elapsed(), 2 * prober::SUSPECT);
    assert!(elapsed > between.mul_f64(0.9), "one failure is no outage: {elapsed:?}");
    assert!(elapsed < INTERVAL.mul_f64(1.1) + between.mul_f64(1.2), "{elapsed:?}");
    scripted.set_reachable(true);
    let start = tokio::time::Instant::now();
    test.until("", Some(true)).await;
    assert!(start.elapsed() <= INTERVAL.mul_f64(1.1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_all_serving() {
    let mut test = Test::start(vec![entry("one", Some(Engine::new("one", Scripted::new())), vec![])]);
    test.until("", Some(true)).await;
    test.publisher.drain();
    let statuses = test.readiness.borrow().statuses().unwrap();
    assert_eq!(statuses.len(), 5);
    assert!(statuses.iter().all(|(_, serving)| !serving), "{statuses:?}");
}

#[test]
fn more_names_than_may_be_told_are_refused() {
    let models = (0..100)
        .map(|n| desired(&format!("m{n}"), config::Ensure::Startup))
        .collect();
    let entries = vec![entry("one", Some(Engine::new("one", Scripted::new())), models)];
    let setup = Setup {
        entries,
        digest: Digest::of(b""),
        load_time: SystemTime::UNIX_EPOCH,
    };
    assert_eq!(Publisher::new(&setup).subscribe().borrow().statuses(), None);
}
