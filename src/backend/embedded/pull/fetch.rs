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
        let (there, missing) = self.look(layers).await?;
        // All of it before the first byte.
        let need = missing.iter().fold(0, |sum: u64, (_, need)| sum.saturating_add(*need));
        let mut room = match need {
            0 => None,
            need => Some(self.pulls.store.reserve(need)?),
        };
        let mut tracks: Vec<_> = missing
            .into_iter()
            .map(|(layer, need)| self.begin(layer, need, room.as_mut()))
            .collect();
        self.reporter.report(entered(&there, &tracks)).await;
        let followed = self.reporter.unless_stopped(self.follow(&mut tracks, &there)).await;
        // What came is recorded before the pull ends, so that the next one goes on there.
        future::join_all(tracks.into_iter().map(|track| track.download.cancel())).await;
        followed
    }

    /// Those that are whole, and those that are not with the room that each needs: none when somebody fetches it.
    async fn look(&self, layers: Vec<Layer>) -> Result<(Vec<Layer>, Vec<(Layer, u64)>), Error> {
        let pulls = self.pulls.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let layout = pulls.store.layout();
            let there = |layer: &Layer| blobs::present(layout, &layer.digest, layer.size);
            let (there, missing): (_, Vec<_>) = layers.into_iter().partition(there);
            let missing = missing.into_iter().map(|layer| {
                let need = pulls.downloads.needed_room(&blob(&layer));
                (layer, need)
            });
            (there, missing.collect())
        });
        looked
            .await
            .map_err(|error| Error::new(Kind::Internal, "the store failed by a fault of this service").because(error))
    }

    fn begin(&self, layer: Layer, need: u64, room: Option<&mut Room>) -> Track {
        let Self { pulls, spec, .. } = self;
        let remote = pulls.registry.blob(&spec.name, &layer, spec.insecure);
        let room = room.map(|room| room.split(need));
        let download = pulls.downloads.fetch(blob(&layer), remote, room);
        let state = download.states().borrow().clone();
        // What lies there from before is shown from the start: it is no speed.
        let before = if download.joined() {
            0
        } else {
            layer.size.saturating_sub(need)
        };
        Track {
            layer,
            download,
            own: false,
            attempt: state.attempt,
            completed: state.completed.max(before),
            ended: false,
        }
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
                    tracks[index] = Track {
                        own: true,
                        ..self.begin(layer.clone(), layer.size, None)
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
