//! Snapshots: complete, never backwards, and at a bearable pace.

use std::time::{Duration, Instant};

use model_control::model::Layer;

use super::{calls::*, support::*};

fn layer(digest: &str, completed_bytes: u64) -> Event {
    Event::Layer(Layer {
        digest: digest.into(),
        completed_bytes,
        total_bytes: Some(1000),
        file_name: String::new(),
    })
}

fn phases(progress: &v1::Progress) -> Vec<&str> {
    progress.phases.iter().map(|phase| phase.phase.as_str()).collect()
}

/// The next snapshot; none at the result.
async fn next(stream: &mut tonic::Streaming<v1::PullResponse>) -> Option<v1::Progress> {
    match soon(stream.message()).await.unwrap()?.event.unwrap() {
        v1::pull_response::Event::Progress(progress) => Some(progress),
        v1::pull_response::Event::Result(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_engine_is_told_of_four_times_a_second() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let service = Service::start(engine, None).await;
    let (mut stream, _) = pulling(&mut service.client().await, pull("m")).await;
    let start = Instant::now();
    let busy = async move {
        script.event(Event::Entered(Phase::Downloading(vec![]))).await;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        let mut bytes = 0;
        while start.elapsed() < Duration::from_millis(1100) {
            ticks.tick().await;
            bytes += 1;
            script.event(layer("sha256:a", bytes.min(1000))).await;
        }
        script.succeed(&name("m"), "content").await;
    };
    let read = async {
        let mut snapshots = Vec::new();
        while let Some(progress) = next(&mut stream).await {
            snapshots.push(progress);
        }
        snapshots
    };
    let ((), snapshots) = tokio::join!(busy, read);
    // Four a second, and one for each phase: downloading, verifying, and the last before the end.
    let most = start.elapsed().as_millis() / 250 + 5;
    assert!(snapshots.len() as u128 <= most, "{} of at most {most}", snapshots.len());
    // Phases are told of by themselves: what is counted between them must be, too.
    let downloading: Vec<_> = snapshots
        .iter()
        .filter(|progress| matches!(progress.phase, Some(v1::progress::Phase::Downloading(_))))
        .map(|progress| progress.completed_bytes)
        .collect();
    let last = downloading.last().copied().unwrap_or_default();
    assert!(
        downloading.iter().any(|&bytes| 0 < bytes && bytes < last),
        "{downloading:?}"
    );
    for pair in snapshots.windows(2) {
        assert!(pair[0].sequence < pair[1].sequence);
        assert!(phases(&pair[1]).starts_with(&phases(&pair[0])), "a phase was lost");
        if pair[0].phases == pair[1].phases {
            assert!(pair[0].completed_bytes <= pair[1].completed_bytes);
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_phase_is_told_at_once() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let service = Service::start(engine, None).await;
    let (mut stream, _) = pulling(&mut service.client().await, pull("m")).await;
    let changes = [
        Phase::Downloading(vec![]),
        Phase::Verifying,
        Phase::Parsing,
        Phase::Converting,
        Phase::Quantizing("Q4_K_M".into()),
        Phase::Writing,
        Phase::Loading,
        Phase::Warming,
        Phase::Downloading(vec![]),
        Phase::Verifying,
    ];
    let start = Instant::now();
    for phase in &changes {
        script.event(Event::Entered(phase.clone())).await;
        loop {
            let progress = next(&mut stream).await.unwrap();
            if phases(&progress).last() == Some(&phase.name()) {
                break;
            }
        }
    }
    // Paced like bytes they would take 250 ms each.
    assert!(
        start.elapsed() < Duration::from_millis(250) * 9,
        "{:?}",
        start.elapsed()
    );
    script.succeed(&name("m"), "content").await;
    while next(&mut stream).await.is_some() {}
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_misses_a_phase_and_bytes_never_fall() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let service = Service::start(engine, None).await;
    let mut client = service.client().await;
    let (mut stream, _) = pulling(&mut client, pull("m")).await;
    for event in [
        Event::Entered(Phase::Downloading(vec![])),
        layer("sha256:a", 500),
        layer("sha256:b", 100),
        // An engine that counts again, as after a retry.
        layer("sha256:a", 10),
        Event::Text("pulling".into()),
    ] {
        script.event(event).await;
    }
    let counted = loop {
        let progress = next(&mut stream).await.unwrap();
        if progress.engine_text == "pulling" {
            break progress;
        }
    };
    assert_eq!(counted.completed_bytes, 600);
    let Some(v1::progress::Phase::Downloading(downloading)) = &counted.phase else {
        panic!("{:?}", counted.phase)
    };
    let layers: Vec<_> = downloading
        .layers
        .iter()
        .map(|layer| (layer.digest.as_str(), layer.completed_bytes))
        .collect();
    assert_eq!(layers, [("sha256:a", 500), ("sha256:b", 100)]);

    // Faster than anybody reads.
    for phase in [
        Phase::Verifying,
        Phase::Writing,
        Phase::Downloading(vec![]),
        Phase::Parsing,
    ] {
        script.event(Event::Entered(phase)).await;
    }
    script.event(Event::Restarted("again".into())).await;
    script.succeed(&name("m"), "content").await;
    let mut last = counted;
    while let Some(progress) = next(&mut stream).await {
        assert!(progress.sequence > last.sequence);
        assert!(progress.attempt >= last.attempt);
        last = progress;
    }
    assert_eq!(
        phases(&last),
        [
            "queued",
            "resolving",
            "downloading",
            "verifying",
            "writing",
            "downloading",
            "parsing",
            "resolving",
            "verifying"
        ]
    );
    assert_eq!(last.attempt, 2);
    assert_eq!(last.completed_bytes, 0, "the count is the present phase's");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_goes_on_where_the_stream_broke() {
    let engine = Scripted::new();
    let script = engine.script(None);
    let service = Service::start(engine, None).await;
    let mut operations = service.operations().await;
    let (mut stream, first) = pulling(&mut service.client().await, pull("m")).await;
    script.event(Event::Entered(Phase::Downloading(vec![]))).await;
    let seen = loop {
        let progress = next(&mut stream).await.unwrap();
        if phases(&progress).last() == Some(&"downloading") {
            break progress;
        }
    };
    drop(stream);
    let request = v1::OperationsWatchRequest {
        operation_id: first.operation_id,
        after_sequence: seen.sequence,
    };
    let mut watching = soon(operations.watch(request)).await.unwrap().into_inner();
    script.event(Event::Entered(Phase::Writing)).await;
    let message = soon(watching.message()).await.unwrap().unwrap();
    let Some(v1::operations_watch_response::Event::Progress(progress)) = message.event else {
        panic!("no snapshot")
    };
    assert!(progress.sequence > seen.sequence, "what was seen is not told again");
    assert!(progress.joined);
    assert_eq!(phases(&progress).last(), Some(&"writing"));
    script.succeed(&name("m"), "content").await;
    assert_eq!(ended(watching).await.unwrap().state(), v1::operation::State::Succeeded);
    service.stop().await;
}
