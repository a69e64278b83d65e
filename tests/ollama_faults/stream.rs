//! Streams that stall, drip, flood, fall back and do not end.

use std::time::{Duration, Instant};

use model_control::model::Digest;

use super::{
    calls,
    ollama_double::{Answer, Gate, Layer, Remote, Route, Step},
    support::{Code, soon, v1},
    until, world,
    world::World,
};

/// What the real one does before its last line.
fn with_model(world: &World, mut steps: Vec<Step>) -> Vec<Step> {
    let name = world.ground.name("m").parse().unwrap();
    let last = steps.pop().unwrap();
    let layers = vec![Layer::file("model", Digest::of(b"m"), 1000)];
    steps.push(Step::Then(Box::new(move |state| state.write(&name, layers))));
    steps.push(last);
    steps
}

/// All snapshots of a pull that succeeds.
async fn snapshots(world: &World) -> Vec<v1::Progress> {
    let request = World::request(&world.ground.name("m"));
    let mut stream = soon(world.client.clone().pull(request)).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(message) = soon(stream.message()).await.unwrap() {
        if let Some(v1::pull_response::Event::Progress(progress)) = message.event {
            seen.push(progress);
        }
    }
    seen
}

/// Its bytes fell from 130 million to 100 million, and were once left out.
#[tokio::test(flavor = "multi_thread")]
async fn progress_that_falls_back_is_told_as_it_was() {
    for recording in ["pull-rst", "pull-stall", "pull-200mb-slow"] {
        let world = world().await;
        let steps = with_model(&world, Step::recorded(recording));
        world.ground.double().on(Route::Pull, Answer::Stream(steps));
        let seen = snapshots(&world).await;
        let downloading =
            |progress: &&v1::Progress| matches!(progress.phase, Some(v1::progress::Phase::Downloading(_)));
        let told: Vec<_> = seen.iter().filter(downloading).collect();
        for pair in told.windows(2) {
            assert!(
                pair[0].completed_bytes <= pair[1].completed_bytes,
                "{recording}: {pair:?}"
            );
            assert!(pair[0].total_bytes <= pair[1].total_bytes, "{recording}: {pair:?}");
        }
        let most = told.iter().map(|progress| progress.completed_bytes).max();
        assert!(most <= told.last().map(|last| last.completed_bytes), "{recording}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_byte_by_byte_and_unknown_ones_are_read() {
    let world = world().await;
    let lines = [
        "{\"status\":\"pulling manifest\"}",
        "",
        "{\"status\":\"polishing the model\",\"digest\":\"sha256:model\",\"total\":10,\"completed\":3}",
        "{\"status\":\"pulling 0\",\"digest\":\"0000000000000000000\",\"total\":-5,\"completed\":99}",
        "{\"status\":\"verifying sha256 digest\",\"new\":{\"a\":[1,2]}}",
        "{\"status\":\"success\"}",
    ];
    let steps = lines.into_iter().map(|line| Step::Drip(line.to_owned())).collect();
    let steps = with_model(&world, steps);
    world.ground.double().on(Route::Pull, Answer::Stream(steps));
    assert!(world.pull(&world.ground.name("m")).await.unwrap().changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_an_end_is_not_kept() {
    let world = world().await;
    let steps = vec![Step::Long(256 << 20)];
    world.ground.double().on(Route::Pull, Answer::Stream(steps));
    let status = world.pull(&world.ground.name("m")).await.unwrap_err();
    assert_eq!(
        calls::told(&status),
        calls::is(Code::Internal, "BACKEND_PROTOCOL"),
        "{status:?}"
    );
    let memory = peak_mib(world.service.pid());
    assert!(memory < 128, "{memory} MiB");
    assert!(world.pull(&world.ground.name("m")).await.unwrap().changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_lines_is_bounded_and_can_be_cancelled() {
    let world = world().await;
    let line = "{\"status\":\"pulling 1\",\"digest\":\"sha256:model\",\"total\":10,\"completed\":1}";
    let double = world.ground.double();
    double.on(Route::Pull, Answer::Stream(vec![Step::Flood(line.to_owned())]));
    let request = World::request(&world.ground.name("m"));
    let (mut stream, first) = calls::pulling(&mut world.client.clone(), request).await;
    // Some seconds of it, by the service's own clock: a caller gets four snapshots a second at most.
    for _ in 0..4 {
        soon(stream.message()).await.unwrap().unwrap();
    }
    calls::cancel(&mut world.operations.clone(), &first.operation_id)
        .await
        .unwrap();
    assert_eq!(calls::pulled(stream).await.unwrap_err().code(), Code::Cancelled);
    until(|| double.state().pulls == 0).await;
    let memory = peak_mib(world.service.pid());
    assert!(memory < 128, "{memory} MiB");
    assert!(world.pull(&world.ground.name("m")).await.unwrap().changed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_pull_is_left_by_a_cancel() {
    let world = world().await;
    let double = world.ground.double();
    let mut steps = Step::lines(["{\"status\":\"pulling manifest\"}"]);
    steps.push(Step::Wait(Gate::new()));
    double.on(Route::Pull, Answer::Stream(steps));
    let request = World::request(&world.ground.name("m"));
    let (stream, first) = calls::pulling(&mut world.client.clone(), request).await;
    until(|| double.state().pulls == 1).await;
    let ended = calls::cancel(&mut world.operations.clone(), &first.operation_id)
        .await
        .unwrap();
    assert_eq!(
        calls::pulled(stream).await.unwrap_err().code(),
        Code::Cancelled,
        "{ended:?}"
    );
    until(|| double.state().pulls == 0).await;
    assert!(world.pull(&world.ground.name("m")).await.unwrap().changed);
    assert_eq!(double.most_pulls(), 1);
}

/// The most memory that the process ever had.
fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

/// A pull that we leave because of a line goes on in Ollama for a moment: the next one waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_left_for_a_line_has_time_to_stop() {
    let world = world().await;
    let double = world.ground.double();
    let layers = vec![Layer::file("model", Digest::of(b"n"), 1000)];
    let remote = Remote { layers, half_way: None };
    double.state().publish(&world.ground.name("n").parse().unwrap(), remote);
    for line in [Step::Bytes(b"{\n".to_vec()), Step::Long(9 << 20)] {
        let gate = Gate::new();
        let mut steps = Step::lines(["{\"status\":\"pulling manifest\"}"]);
        steps.extend([Step::Wait(gate.clone()), line, Step::Wait(Gate::new())]);
        double.on(Route::Pull, Answer::Stream(steps));
        let before = double.asked(Route::Pull);
        let request = World::request(&world.ground.name("m"));
        let (left, _) = calls::pulling(&mut world.client.clone(), request).await;
        until(|| double.asked(Route::Pull) == before + 1).await;
        let request = World::request(&world.ground.name("n"));
        let (next, _) = calls::pulling(&mut world.client.clone(), request).await;
        let begin = Instant::now();
        gate.open();
        let status = calls::pulled(left).await.unwrap_err();
        assert_eq!(calls::told(&status), calls::is(Code::Internal, "BACKEND_PROTOCOL"));
        calls::pulled(next).await.unwrap();
        assert!(begin.elapsed() >= Duration::from_secs(1), "{:?}", begin.elapsed());
        double.state().models.clear();
    }
    assert_eq!(double.most_pulls(), 1);
}
