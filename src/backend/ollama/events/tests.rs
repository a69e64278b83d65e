use std::time::{Duration, SystemTime};

use super::*;
use crate::model::Snapshot;

/// What a caller sees after each line.
fn fold(lines: &[&str]) -> (Reader, Vec<Snapshot>) {
    let mut reader = Reader::default();
    let mut snapshot = Snapshot::new(SystemTime::UNIX_EPOCH);
    let mut seen = Vec::new();
    for line in lines {
        for event in reader.read(&serde_json::from_str(line).unwrap()) {
            snapshot = snapshot.fold(event, Duration::from_millis(60));
        }
        seen.push(snapshot.clone());
    }
    (reader, seen)
}

fn phases(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.phases.iter().map(|phase| &*phase.phase).collect()
}

#[test]
fn a_pull_that_falls_back_is_told_as_standing_still() {
    let (reader, seen) = fold(&[
        r#"{"status":"pulling manifest"}"#,
        r#"{"status":"pulling aa","digest":"sha256:aa","total":200}"#,
        r#"{"status":"pulling aa","digest":"sha256:aa","total":200,"completed":130}"#,
        r#"{"status":"pulling aa","digest":"sha256:aa","total":200,"completed":100}"#,
        r#"{"status":"pulling aa","digest":"sha256:aa","total":200}"#,
        r#"{"status":"pulling bb","digest":"sha256:bb","total":10,"completed":10}"#,
        r#"{"status":"verifying sha256 digest"}"#,
        r#"{"status":"writing manifest"}"#,
        r#"{"status":"removing unused layers"}"#,
        r#"{"status":"success"}"#,
    ]);
    let bytes: Vec<_> = seen[..6].iter().map(|s| (s.completed_bytes, s.total_bytes)).collect();
    assert_eq!(
        bytes,
        [
            (0, None),
            (0, Some(200)),
            (130, Some(200)),
            (130, Some(200)),
            (130, Some(200)),
            (140, Some(210))
        ]
    );
    let last = seen.last().unwrap();
    assert_eq!(
        phases(last),
        ["queued", "resolving", "downloading", "verifying", "writing"]
    );
    assert_eq!(last.engine_text, "removing unused layers");
    assert!(reader.success);
}

#[test]
fn a_digest_may_be_none_and_a_text_unknown() {
    let (reader, seen) = fold(&[
        r#"{"status":"pulling model","digest":"sha256:model","total":8,"completed":4}"#,
        r#"{"status":"pondering the orb","digest":"0000000000000000000"}"#,
        r#"{"status":42}"#,
        "{}",
        r#"{"status":"pulling model","digest":"sha256:model","total":-8,"completed":-4}"#,
    ]);
    let last = seen.last().unwrap();
    assert_eq!((last.completed_bytes, last.total_bytes), (4, Some(8)));
    assert_eq!(seen[1].engine_text, "pondering the orb");
    assert!(!reader.success);
}

#[test]
fn a_create_tells_its_layers_and_ends_with_its_last_line() {
    let (reader, seen) = fold(&[
        r#"{"status":"success"}"#,
        r#"{"status":"parsing GGUF"}"#,
        r#"{"status":"quantizing F16 model to Q4_K_M","digest":"0000000000000000000","total":100,"completed":30}"#,
        r#"{"status":"verifying conversion"}"#,
        r#"{"status":"creating new layer sha256:aa"}"#,
        r#"{"status":"using existing layer sha256:bb"}"#,
        r#"{"status":"using autodetected template x"}"#,
        r#"{"status":"writing manifest"}"#,
    ]);
    assert!(!reader.success, "a success in the middle is not the end");
    assert_eq!(reader.layers, ["aa", "bb"]);
    assert_eq!((seen[2].completed_bytes, seen[2].total_bytes), (30, Some(100)));
    assert_eq!(seen[2].phase, Phase::Quantizing("Q4_K_M".to_owned()));
    assert_eq!(
        phases(seen.last().unwrap()),
        ["queued", "parsing", "quantizing", "verifying", "writing"]
    );
}

/// Each tensor counts alike, as a share of the file's bytes: an estimate that rises, and is whole at the end.
#[test]
fn a_create_that_tells_its_tensors_is_told_in_shares_of_its_bytes() {
    let lines = crate::backend::ollama::recorded::lines("create-gguf-progress");
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let (_, seen) = fold(&lines);
    let converting: Vec<_> = seen.iter().filter(|seen| seen.phase == Phase::Converting).collect();
    assert!(
        converting
            .windows(2)
            .all(|pair| pair[0].completed_bytes < pair[1].completed_bytes)
    );
    let last = converting.last().unwrap();
    assert_eq!(
        (last.completed_bytes, last.total_bytes),
        (194_660_832, Some(194_660_832))
    );
}

#[test]
fn a_push_is_told_layer_by_layer() {
    let lines = crate::backend::ollama::recorded::lines("push-ok");
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    let (reader, seen) = fold(&lines);
    assert!(reader.success);
    assert_eq!(
        phases(seen.last().unwrap()),
        ["queued", "resolving", "uploading", "writing"]
    );
    let sent = seen.iter().map(|snapshot| snapshot.completed_bytes).max();
    assert_eq!(sent, Some(238_176 + 182 + 58 + 10 + 77 + 148));
}
