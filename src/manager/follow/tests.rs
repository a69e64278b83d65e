use std::sync::Arc;

use tokio::time::sleep;

use super::*;
use crate::{
    backend::{
        call::{TaskReporter, task},
        scripted::Scripted,
    },
    engines::{Engine, Entry},
    manager::{change::Job, intent::Change, work::first},
    model::{Layer, Reason},
    operation::{Limits, OnDisconnect, Operations},
};

/// Ollama's pace of lines.
const LINE: Duration = Duration::from_millis(60);

/// How an operation ends that follows this work.
async fn followed<F>(work: impl FnOnce(TaskReporter) -> F + Send + 'static) -> Result<Outcome, Failure>
where
    F: Future<Output = Result<Done, Error>> + Send + 'static,
{
    let engine = Engine::new("e", Scripted::new());
    let entry = Entry {
        name: "one".to_owned(),
        framework: "ollama".to_owned(),
        engine: Some(engine.clone()),
        desired: vec![],
        advertise: None,
    };
    let job = Job {
        entry: Arc::new(entry),
        engine,
        name: "m".parse().unwrap(),
        change: Change::Push { insecure: false },
        force: false,
        again: false,
    };
    let operations = Operations::<ModelWork>::new(Limits {
        running: 1,
        ended: 1,
        ended_for: Duration::from_hours(1),
    });
    let order = job.order(OnDisconnect::Keep, first());
    let job = move |reporter| async move {
        let progress = Progress::begin(reporter, "one");
        let (entry, name) = ("one", &job.name);
        let done = progress.follow(At { entry, name }, task(work)).await;
        end(done.map(|_done| Outcome::default()))
    };
    let mut following = operations.join_or_start(order, job).await.unwrap();
    let ended = following.status().wait_for(|status| status.ended.is_some()).await;
    ended.unwrap().ended.as_ref().unwrap().result.clone()
}

fn stalled(ended: Result<Outcome, Failure>) {
    let failure = ended.unwrap_err();
    assert_eq!(failure.reason, Reason::EngineStalled, "{failure}");
}

/// As Ollama does while a registry sends nothing: a line each 60 ms, and each says the same.
#[tokio::test(start_paused = true)]
async fn lines_of_one_value_are_no_progress() {
    const MOVES: u32 = 5000;
    let start = Instant::now();
    let ended = followed(|reporter| async move {
        for at in 0_u32.. {
            let layer = Layer {
                digest: "sha256:a".to_owned(),
                // It moves once, late; and then falls back.
                completed_bytes: if at == MOVES { 20 } else { 10 },
                total_bytes: Some(100),
                file_name: String::new(),
            };
            reporter.report(Event::Entered(Phase::Downloading(Vec::new()))).await;
            reporter.report(Event::Layer(layer)).await;
            reporter.report(Event::Total(100)).await;
            reporter.report(Event::Text(format!("pulling a, line {at}"))).await;
            sleep(LINE).await;
        }
        Ok(Done::default())
    });
    stalled(ended.await);
    // What is stopped has a second.
    let (least, took) = (LINE * MOVES + STALL, start.elapsed());
    assert!((least..least + Duration::from_secs(2)).contains(&took), "{took:?}");
}

/// Silence of a queue that tells nobody's life is none of a queue that does.
#[tokio::test(start_paused = true)]
async fn who_waits_and_is_alive_is_not_stalled() {
    let ended = followed(|reporter| async move {
        reporter.report(Event::Entered(Phase::Queued(1))).await;
        for _ in 0..240 {
            sleep(Duration::from_secs(30)).await;
            reporter.report(Event::Alive).await;
        }
        Ok(Done::default())
    });
    ended.await.unwrap();
    let ended = followed(|reporter| async move {
        reporter.report(Event::Entered(Phase::Queued(1))).await;
        sleep(2 * STALL).await;
        Ok(Done::default())
    });
    stalled(ended.await);
}
