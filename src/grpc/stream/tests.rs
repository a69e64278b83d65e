use std::time::SystemTime;

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
