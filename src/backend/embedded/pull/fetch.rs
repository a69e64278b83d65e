//! The blobs of one pull: those that are missing, all at a time, each shared with whoever fetches it too.

use futures::{
    StreamExt as _, future,
    stream::{BoxStream, SelectAll},
};
use tokio_stream::wrappers::WatchStream;

use super::{
    super::{
        registry::transfer::{Blob, Download, State},
        store::{Room, blobs, manifest::Layer},
    },
    Pulls,
};
use crate::{
    backend::{Error, Kind, PullSpec, call::TaskReporter},
    model::{Event, Layer as Progress, Phase},
};

/// What one pull fetches.
pub(super) struct Fetch<'a> {
    pub(super) pulls: &'a Pulls,
    pub(super) spec: &'a PullSpec,
    pub(super) reporter: &'a TaskReporter,
}

/// One blob on its way.
struct Track {
    layer: Layer,
    download: Download,
    /// It was joined, ended badly, and has been begun again from our own registry.
    own: bool,
    attempt: u32,
    completed: u64,
    ended: bool,
}

// === impl Fetch ===

impl Fetch<'_> {
    /// Returns when all of them are whole blobs of the store.
    pub(super) async fn all(&self, layers: Vec<Layer>) -> Result<(), Error> {
        let store = std::sync::Arc::clone(&self.pulls.store);
        let looked = tokio::task::spawn_blocking(move || {
            let there = |layer: &Layer| blobs::present(store.layout(), &layer.digest, layer.size);
            layers.into_iter().partition::<Vec<_>, _>(there)
        });
        let (there, missing) = looked.await.map_err(|error| {
            Error::new(Kind::Internal, "the store failed by a fault of this service").because(error)
        })?;
        let shown = there.iter().map(|layer| progress(layer, layer.size));
        // Shown from the start, for else it would count in the rate.
        let came = |layer| progress(layer, self.pulls.downloads.came(&blob(layer)));
        let shown = shown.chain(missing.iter().map(came)).collect();
        self.reporter.report(Event::Entered(Phase::Downloading(shown))).await;
        let mut room = self.reserve(&missing)?;
        let mut tracks: Vec<_> = missing
            .into_iter()
            .map(|layer| {
                let download = self.begin(&layer, room.as_mut());
                Track::new(layer, download)
            })
            .collect();
        let followed = self.reporter.unless_stopped(self.follow(&mut tracks, &there)).await;
        // What came is recorded before the pull ends, so that the next one goes on there.
        future::join_all(tracks.into_iter().map(|track| track.download.cancel())).await;
        followed
    }

    /// Room for what is missing of the blobs that nobody fetches yet: all of it before the first byte.
    fn reserve(&self, missing: &[Layer]) -> Result<Option<Room>, Error> {
        let need = missing
            .iter()
            .map(|layer| self.pulls.downloads.needed_room(&blob(layer)))
            .fold(0, u64::saturating_add);
        if need == 0 {
            return Ok(None);
        }
        self.pulls.store.reserve(need).map(Some)
    }

    fn begin(&self, layer: &Layer, room: Option<&mut Room>) -> Download {
        let Self { pulls, spec, .. } = self;
        let need = pulls.downloads.needed_room(&blob(layer));
        let remote = pulls.registry.blob(&spec.name, layer, spec.insecure);
        let room = room.map(|room| room.split(need));
        pulls.downloads.fetch(blob(layer), remote, room)
    }

    /// To the end of all, or to the first failure; then the others are let go, and what they have stays.
    async fn follow(&self, tracks: &mut [Track], there: &[Layer]) -> Result<(), Error> {
        let mut changes = SelectAll::new();
        let mut left = tracks.len();
        for (index, track) in tracks.iter().enumerate() {
            changes.push(track.changes(index));
        }
        while left > 0 {
            // A download tells its end before it goes.
            let Some((index, state)) = changes.next().await else {
                break;
            };
            let track = &mut tracks[index];
            if track.ended {
                continue;
            }
            let again = state.attempt > track.attempt;
            track.attempt = state.attempt;
            track.completed = state.completed;
            if again {
                self.reporter
                    .report(Event::Restarted(state.text.clone().unwrap_or_default()))
                    .await;
                self.reporter.report(entered(there, tracks)).await;
            } else {
                self.reporter
                    .count(Event::Layer(progress(&track.layer, state.completed)));
            }
            let track = &mut tracks[index];
            match state.ended {
                None => {}
                Some(Ok(_)) => {
                    track.ended = true;
                    left -= 1;
                    self.reporter
                        .report(Event::Layer(progress(&track.layer, track.layer.size)))
                        .await;
                }
                // Another pull's registry does not have it, or its pull was stopped: ours may.
                Some(Err(_)) if track.download.joined() && !track.own => {
                    let layer = track.layer.clone();
                    let download = self.begin(&layer, None);
                    tracks[index] = Track {
                        own: true,
                        ..Track::new(layer, download)
                    };
                    changes.push(tracks[index].changes(index));
                }
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

// === impl Track ===

impl Track {
    fn new(layer: Layer, download: Download) -> Self {
        Self {
            layer,
            download,
            own: false,
            attempt: 0,
            completed: 0,
            ended: false,
        }
    }

    fn changes(&self, index: usize) -> BoxStream<'static, (usize, State)> {
        WatchStream::new(self.download.states())
            .map(move |state| (index, state))
            .boxed()
    }
}

fn entered(there: &[Layer], tracks: &[Track]) -> Event {
    let there = there.iter().map(|layer| progress(layer, layer.size));
    let missing = tracks.iter().map(|track| progress(&track.layer, track.completed));
    Event::Entered(Phase::Downloading(there.chain(missing).collect()))
}

fn progress(layer: &Layer, completed_bytes: u64) -> Progress {
    Progress {
        digest: layer.digest.to_string(),
        completed_bytes,
        total_bytes: Some(layer.size),
        file_name: String::new(),
    }
}

fn blob(layer: &Layer) -> Blob {
    Blob {
        digest: layer.digest.clone(),
        size: layer.size,
    }
}
