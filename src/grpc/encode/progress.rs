//! Progress.

use std::time::SystemTime;

use uuid::Uuid;

use super::{duration, signed, timestamp};
use crate::{
    grpc::proto::v1::{
        self,
        progress::{self as part, Phase as Part},
    },
    model::{Layer, Phase, Snapshot, progress::PhaseRecord},
};

/// Layers and file names that a snapshot tells.
const MAX_ITEMS: usize = 64;

/// A snapshot. `joined` is the caller's: it came to an operation that was running.
pub(in crate::grpc) fn progress(id: Uuid, snapshot: &Snapshot, joined: bool) -> v1::Progress {
    v1::Progress {
        operation_id: id.to_string(),
        sequence: signed(snapshot.sequence),
        start_time: Some(timestamp(snapshot.start_time)),
        update_time: Some(timestamp(snapshot.update_time())),
        attempt: i32::try_from(snapshot.attempt).unwrap_or(i32::MAX),
        joined,
        completed_bytes: signed(snapshot.completed_bytes),
        total_bytes: snapshot.total_bytes.map(signed),
        bytes_per_second: snapshot.bytes_per_second.map(signed),
        remaining: snapshot.remaining().map(duration),
        engine_text: snapshot.engine_text.clone(),
        phases: snapshot.phases.iter().map(record).collect(),
        phase: Some(phase(&snapshot.phase)),
    }
}

/// For who waits since then for other work on the model: of no operation yet.
pub(in crate::grpc) fn waiting(since: SystemTime) -> v1::Progress {
    v1::Progress {
        operation_id: String::new(),
        sequence: 0,
        ..progress(Uuid::nil(), &Snapshot::new(since), false)
    }
}

fn record(record: &PhaseRecord) -> v1::PhaseRecord {
    v1::PhaseRecord {
        phase: record.phase.clone().into_owned(),
        start_time: Some(timestamp(record.start_time)),
        attempt: i32::try_from(record.attempt).unwrap_or(i32::MAX),
    }
}

fn phase(phase: &Phase) -> Part {
    match phase {
        Phase::Queued(position) => Part::Queued(part::Queued {
            position: i32::try_from(*position).unwrap_or(i32::MAX),
        }),
        Phase::Resolving => Part::Resolving(part::Resolving {}),
        Phase::Hashing(names) => Part::Hashing(part::Hashing {
            file_names: names.iter().take(MAX_ITEMS).cloned().collect(),
        }),
        Phase::Uploading(layers) => Part::Uploading(part::Uploading { layers: told(layers) }),
        Phase::Downloading(layers) => Part::Downloading(part::Downloading { layers: told(layers) }),
        Phase::Verifying => Part::Verifying(part::Verifying {}),
        Phase::Parsing => Part::Parsing(part::Parsing {}),
        Phase::Converting => Part::Converting(part::Converting {}),
        Phase::Quantizing(level) => Part::Quantizing(part::Quantizing { level: level.clone() }),
        Phase::Writing => Part::Writing(part::Writing {}),
        Phase::Loading => Part::Loading(part::Loading { fraction: None }),
        Phase::Warming => Part::Warming(part::Warming {}),
        Phase::Unloading => Part::Unloading(part::Unloading {}),
        Phase::Engine => Part::Engine(part::Engine {}),
    }
}

/// Running ones first, for the rest is either done or has not begun.
fn told(layers: &[Layer]) -> Vec<part::Layer> {
    let running =
        |layer: &&Layer| layer.completed_bytes > 0 && layer.total_bytes.is_none_or(|t| layer.completed_bytes < t);
    let first = layers.iter().filter(running);
    let rest = layers.iter().filter(|layer| !running(layer));
    first.chain(rest).take(MAX_ITEMS).map(layer).collect()
}

fn layer(layer: &Layer) -> part::Layer {
    part::Layer {
        digest: layer.digest.clone(),
        completed_bytes: signed(layer.completed_bytes),
        total_bytes: layer.total_bytes.map(signed),
        file_name: layer.file_name.clone(),
    }
}
