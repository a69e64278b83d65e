use proptest::prelude::*;

use super::*;

fn layer(digest: &str, completed: u64) -> Event {
    Event::Layer(Layer {
        digest: digest.to_owned(),
        completed_bytes: completed,
        ..Layer::default()
    })
}

fn folded(events: impl IntoIterator<Item = Event>) -> Snapshot {
    let mut at = Duration::ZERO;
    events
        .into_iter()
        .fold(Snapshot::new(SystemTime::UNIX_EPOCH), |snapshot, event| {
            at += Duration::from_millis(500);
            snapshot.fold(event, at)
        })
}

#[test]
fn layers_add_up_and_never_fall() {
    let snapshot = folded([
        Event::Entered(Phase::Downloading(vec![])),
        layer("a", 100),
        layer("b", 5),
        layer("a", 40),
        layer("a", 120),
    ]);
    assert_eq!(snapshot.completed_bytes, 125);
    assert_eq!(snapshot.total_bytes, None);
    let Phase::Downloading(layers) = &snapshot.phase else {
        panic!("{snapshot:?}")
    };
    assert_eq!(layers.iter().map(|l| l.completed_bytes).collect::<Vec<_>>(), [120, 5]);
}

#[test]
fn a_restart_is_told_and_counts_from_zero() {
    let snapshot = folded([
        Event::Entered(Phase::Downloading(vec![])),
        layer("a", 100),
        Event::Restarted("connection lost".into()),
        Event::Entered(Phase::Downloading(vec![])),
        layer("a", 10),
    ]);
    assert_eq!((snapshot.attempt, snapshot.completed_bytes), (2, 10));
    assert_eq!(snapshot.engine_text, "connection lost");
    let names: Vec<_> = snapshot.phases.iter().map(|p| (&*p.phase, p.attempt)).collect();
    assert_eq!(
        names,
        [("queued", 1), ("downloading", 1), ("resolving", 2), ("downloading", 2)]
    );
}

#[test]
fn the_rate_follows_the_last_seconds_and_gives_the_rest() {
    let mut snapshot =
        Snapshot::new(SystemTime::UNIX_EPOCH).fold(Event::Entered(Phase::Hashing(vec![])), Duration::ZERO);
    snapshot = snapshot.fold(Event::Total(10_000), Duration::ZERO);
    for second in 1..=5u64 {
        snapshot = snapshot.fold(Event::Bytes(second * 1000), Duration::from_secs(second));
    }
    assert_eq!(snapshot.bytes_per_second, Some(1000));
    assert_eq!(snapshot.remaining(), Some(Duration::from_secs(5)));
}

#[test]
fn what_layers_have_from_before_counts_and_is_no_speed() {
    let layer = |completed_bytes: u64| Layer {
        digest: completed_bytes.to_string(),
        completed_bytes,
        total_bytes: Some(1000),
        ..Layer::default()
    };
    let phase = Phase::Downloading(vec![layer(1000), layer(600)]);
    let snapshot = folded([Event::Entered(phase)]);
    assert_eq!((snapshot.completed_bytes, snapshot.total_bytes), (1600, Some(2000)));
    let snapshot = snapshot.fold(
        Event::Layer(Layer {
            digest: "600".to_owned(),
            ..layer(700)
        }),
        Duration::from_secs(2),
    );
    assert_eq!(snapshot.completed_bytes, 1700);
    assert!(snapshot.bytes_per_second.is_none_or(|rate| rate <= 100), "{snapshot:?}");
}

#[test]
fn phases_are_kept_up_to_their_bound() {
    let phases = [Phase::Parsing, Phase::Writing];
    let snapshot = folded((0..100).map(|n| Event::Entered(phases[n % 2].clone())));
    assert_eq!(snapshot.phases.len(), MAX_PHASES);
    assert_eq!(snapshot.phases.last().map(|p| &*p.phase), Some("writing"));
}

proptest! {
    #[test]
    fn within_an_attempt_and_phase_nothing_runs_backwards(
        counts in proptest::collection::vec((0u8..3, 0u64..1_000_000), 1..60),
    ) {
        let mut snapshot = folded([Event::Entered(Phase::Downloading(vec![]))]);
        for (n, (which, bytes)) in counts.into_iter().enumerate() {
            let before = snapshot.clone();
            let at = Duration::from_millis(n as u64 * 37 % 900);
            snapshot = snapshot.fold(layer(&which.to_string(), bytes), at);
            prop_assert!(snapshot.completed_bytes >= before.completed_bytes);
            prop_assert!(snapshot.sequence > before.sequence);
            prop_assert!(snapshot.update_time() >= before.update_time());
        }
    }
}

#[test]
fn a_transfer_that_knows_its_layers_knows_the_whole() {
    let layer = |digest: &str, completed_bytes, total_bytes| Layer {
        digest: digest.to_owned(),
        completed_bytes,
        total_bytes,
        ..Layer::default()
    };
    let began = |layers| {
        let event = Event::Entered(Phase::Downloading(layers));
        Snapshot::new(SystemTime::UNIX_EPOCH).fold(event, Duration::ZERO)
    };
    let known = began(vec![layer("a", 5, Some(5)), layer("b", 0, Some(10))]);
    assert_eq!((known.completed_bytes, known.total_bytes), (5, Some(15)));
    let more = known.fold(Event::Layer(layer("b", 4, Some(10))), Duration::ZERO);
    assert_eq!((more.completed_bytes, more.total_bytes), (9, Some(15)));
    let unknown = began(vec![layer("a", 0, Some(5)), layer("b", 0, None)]);
    assert_eq!((unknown.completed_bytes, unknown.total_bytes), (0, None));
    assert_eq!(began(vec![]).total_bytes, None);
}

#[test]
fn a_phase_is_read_as_it_was_written() {
    let phases = [
        Phase::Queued(3),
        Phase::Resolving,
        Phase::Hashing(Vec::new()),
        Phase::Uploading(Vec::new()),
        Phase::Downloading(Vec::new()),
        Phase::Verifying,
        Phase::Parsing,
        Phase::Converting,
        Phase::Quantizing("q8_0".to_owned()),
        Phase::Writing,
        Phase::Loading,
        Phase::Warming,
        Phase::Unloading,
        Phase::Engine,
    ];
    assert_eq!(phases.each_ref().map(Phase::name), NAMES);
    let read = |phase: &str| {
        let text = format!(r#"{{"phase":"{phase}","start_time":1,"attempt":1}}"#);
        serde_json::from_str::<PhaseRecord>(&text).unwrap().phase
    };
    for name in NAMES {
        assert!(matches!(read(name), Cow::Borrowed(read) if read == name));
    }
    assert_eq!(read("dreaming"), "dreaming", "of a later version");
}
