use std::{io, sync::Mutex, time::SystemTime};

use super::*;
use crate::model::{Event, Phase};

fn status(snapshot: &Snapshot) -> ModelStatus {
    ModelStatus {
        running: true,
        progress: Arc::new(snapshot.clone()),
        ended: None,
    }
}

fn ended(snapshot: &Snapshot) -> ModelStatus {
    let failure = Failure::new(Reason::Internal, "x");
    let end = ModelEnded {
        time: SystemTime::now(),
        result: Err(failure),
        cancelled: false,
        suspended: false,
        continues: None,
    };
    ModelStatus {
        ended: Some(Arc::new(end)),
        ..status(snapshot)
    }
}

fn sequence(told: Told) -> u64 {
    match told {
        Told::Progress(snapshot) => snapshot.sequence,
        other => panic!("{other:?}"),
    }
}

fn first() -> Snapshot {
    Snapshot::new(SystemTime::UNIX_EPOCH).fold(Event::Entered(Phase::Hashing(vec![])), Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_coalesced_and_a_phase_is_told_at_once() {
    let mut snapshot = first();
    let (tx, rx) = watch::channel(status(&snapshot));
    let mut pace = Pace::new(rx, None);
    assert_eq!(sequence(pace.next().await), 2);
    let start = Instant::now();
    for n in 1..=50 {
        snapshot = snapshot.fold(Event::Bytes(n), Duration::ZERO);
        tx.send_replace(status(&snapshot));
    }
    assert_eq!(sequence(pace.next().await), 52);
    assert_eq!(start.elapsed(), SPACING);
    snapshot = snapshot.fold(Event::Entered(Phase::Writing), Duration::ZERO);
    tx.send_replace(status(&snapshot));
    assert_eq!(sequence(pace.next().await), 53);
    assert_eq!(start.elapsed(), SPACING, "a phase does not wait");
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_a_heartbeat() {
    let (_tx, rx) = watch::channel(status(&first()));
    let mut pace = Pace::new(rx, None);
    assert_eq!(sequence(pace.next().await), 2);
    let start = Instant::now();
    assert_eq!(sequence(pace.next().await), 2);
    assert!(start.elapsed() <= Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn the_end_comes_last_after_the_last_snapshot() {
    let snapshot = first();
    let (tx, rx) = watch::channel(status(&snapshot));
    let mut pace = Pace::new(rx, None);
    assert_eq!(sequence(pace.next().await), 2);
    tx.send_replace(ended(&snapshot.fold(Event::Bytes(9), Duration::ZERO)));
    assert_eq!(sequence(pace.next().await), 3);
    assert!(matches!(pace.next().await, Told::Ended(_)));
}

#[tokio::test(start_paused = true)]
async fn who_comes_late_is_told_a_snapshot_and_the_end() {
    let (_tx, rx) = watch::channel(ended(&first()));
    let mut pace = Pace::new(rx.clone(), None);
    assert_eq!(sequence(pace.next().await), 2);
    assert!(matches!(pace.next().await, Told::Ended(_)));
    let mut pace = Pace::new(rx, Some(2));
    assert!(matches!(pace.next().await, Told::Ended(_)), "it has seen the snapshot");
}

#[tokio::test(start_paused = true)]
async fn a_source_that_vanishes_ends_the_stream() {
    let (tx, rx) = watch::channel(status(&first()));
    let mut pace = Pace::new(rx, None);
    let _first = pace.next().await;
    drop(tx);
    assert!(matches!(pace.next().await, Told::Gone));
}

#[tokio::test(start_paused = true)]
async fn who_has_to_wait_for_other_work_is_told_so_until_it_begins() {
    let (begin, work) = tokio::sync::oneshot::channel::<Ensured>();
    let start = async move { work.await.map_err(|_| Failure::new(Reason::Internal, "x")) };
    let audit = Audit::begin("EnsureReady", &tonic::Request::new(()), "b", "m");
    let started = Instant::now();
    let follow = follow::<v1::EnsureReadyResponse>(start, "b".to_owned(), audit).await;
    let mut stream = follow.unwrap().into_inner();
    for _ in 0..3 {
        let told = stream.next().await.unwrap().unwrap();
        let Some(v1::ensure_ready_response::Event::Progress(progress)) = told.event else {
            panic!("{told:?}");
        };
        assert_eq!((&*progress.operation_id, progress.sequence), ("", 0));
        assert_eq!(progress.phases[0].phase, "queued");
    }
    assert!(
        started.elapsed() < 3 * Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    let outcome = Outcome::default();
    begin.send(Ensured::Told(Box::new(outcome))).unwrap();
    let told = stream.next().await.unwrap().unwrap();
    assert!(matches!(told.event, Some(v1::ensure_ready_response::Event::Result(_))));
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_at_once_is_no_stream_and_what_is_refused_late_ends_it() {
    let refused = || Failure::new(Reason::ModelNotFound, "x");
    let audit = || Audit::begin("EnsureReady", &tonic::Request::new(()), "b", "m");
    let at_once = follow::<v1::PullResponse>(async move { Err(refused()) }, String::new(), audit()).await;
    assert_eq!(at_once.err().unwrap().code(), tonic::Code::NotFound);
    let late = async move {
        tokio::time::sleep(PATIENCE * 2).await;
        Err(refused())
    };
    let late = follow::<v1::PullResponse>(late, String::new(), audit()).await;
    let told: Vec<_> = late.unwrap().into_inner().collect().await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].is_ok());
    assert_eq!(told[1].as_ref().unwrap_err().code(), tonic::Code::NotFound);
}

/// Lines of the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_source_that_vanishes_is_a_fault_of_ours_in_the_log_too() {
    let (log, id) = (Log::default(), Uuid::now_v7());
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false);
    let _own = tracing::subscriber::set_default(subscriber.finish());
    let mut telling = Telling {
        id,
        joined: false,
        backend: "one".to_owned(),
        audit: Audit::begin("Pull", &tonic::Request::new(()), "one", "m"),
    };
    let status = telling.item::<v1::PullResponse>(Told::Gone).unwrap_err();
    assert_eq!(status.code(), tonic::Code::Internal);
    drop(telling);
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert_eq!(lines.lines().count(), 1, "{lines}");
    assert!(
        lines.contains("call ended: Internal") && lines.contains("INTERNAL"),
        "{lines}"
    );
}
