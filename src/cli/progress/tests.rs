use std::time::Duration;

use super::*;
use crate::grpc::proto::v1::{PhaseRecord, progress as phases};

fn record(phase: &str, at: i64) -> PhaseRecord {
    PhaseRecord {
        phase: phase.to_owned(),
        start_time: Some(prost_types::Timestamp { seconds: at, nanos: 0 }),
        attempt: 1,
    }
}

fn downloading(done: i64, layers: usize) -> Progress {
    Progress {
        operation_id: "0190-a".to_owned(),
        completed_bytes: done,
        total_bytes: Some(4_700_000_000),
        bytes_per_second: Some(35_000_000),
        remaining: Some(prost_types::Duration { seconds: 100, nanos: 0 }),
        phases: vec![record("resolving", 1), record("downloading", 2)],
        phase: Some(Phase::Downloading(phases::Downloading {
            layers: vec![phases::Layer::default(); layers],
        })),
        ..Progress::default()
    }
}

#[test]
fn bytes_are_told_as_far_as_they_are_known() {
    assert_eq!(
        bytes(&downloading(1_200_000_000, 3)),
        "1.2 GB of 4.7 GB (25%), 35.0 MB/s, 1m 40s left"
    );
    assert_eq!(bytes(&downloading(4_700_000_000, 3)), "4.7 GB of 4.7 GB (100%)");
    assert_eq!(detail(&downloading(0, 3)), "3 layers");
    assert_eq!(bytes(&Progress::default()), "");
    let unknown = Progress {
        completed_bytes: 2000,
        ..Progress::default()
    };
    assert_eq!(bytes(&unknown), "2.0 kB");
    // Absurd figures are shown, not trusted.
    let absurd = Progress {
        completed_bytes: i64::MAX,
        total_bytes: Some(1),
        bytes_per_second: Some(-1),
        ..Progress::default()
    };
    assert_eq!(bytes(&absurd), "9.2 EB of 1 B (100%)");
}

#[test]
fn lines_tell_each_phase_once_and_bytes_now_and_then() {
    let mut lines = Lines::default();
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    assert_eq!(
        lines.show(&downloading(1_000_000_000, 2), at(0)),
        ["operation 0190-a", "resolving", "downloading: 2 layers"]
    );
    for ms in (250..5000).step_by(250) {
        assert!(lines.show(&downloading(1_000_000_000, 2), at(ms)).is_empty());
    }
    assert_eq!(
        lines.show(&downloading(2_350_000_000, 2), at(5000)),
        ["downloading: 2.4 GB of 4.7 GB (50%), 35.0 MB/s, 1m 40s left"]
    );
    // Two phases passed unseen.
    let mut last = downloading(0, 0);
    last.phases.extend([record("verifying", 3), record("writing", 4)]);
    last.phase = Some(Phase::Writing(phases::Writing {}));
    (last.total_bytes, last.bytes_per_second) = (None, None);
    assert_eq!(lines.show(&last, at(5250)), ["verifying", "writing"]);
}

#[test]
fn who_joins_is_told_so_and_unknown_phases_have_their_own_name() {
    let progress = Progress {
        operation_id: "x\u{1b}[31m".to_owned(),
        joined: true,
        phases: vec![PhaseRecord {
            attempt: 2,
            ..record("folding", 1)
        }],
        engine_text: "folding it\r".to_owned(),
        ..Progress::default()
    };
    assert_eq!(phase_name(&progress), "folding");
    assert_eq!(
        Lines::default().show(&progress, Instant::now()),
        [
            "operation x\\u{1b}[31m, which was running already",
            "folding (attempt 2): folding it\\r"
        ]
    );
}
