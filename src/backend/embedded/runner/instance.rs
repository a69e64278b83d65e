//! One model in memory, or on its way: what is known of it, and what is asked of it. `keeper` makes it true.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{Notify, watch};

use super::{fit::Estimate, http::Remote, options::Launch, process, ready::Answers, subject::Subject};
use crate::{
    backend::{Error, Kind},
    model::{Digest, KeepAlive, ModelName, Protocol, RunState, Running},
};

/// One engine process, from the wish for it to its end.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) number: u64,
    pub(super) subject: Subject,
    pub(super) launch: Launch,
    pub(super) estimate: Estimate,
    /// It may take the memory of its estimate.
    pub(super) admitted: AtomicBool,
    /// Loads that wait for it.
    pub(super) waiting: AtomicUsize,
    /// Where it is. Ends with [`State::Gone`].
    state: watch::Sender<State>,
    ask: watch::Sender<Ask>,
    /// Bytes in memory, while it loads.
    resident: watch::Sender<u64>,
    /// The names or their times have changed.
    pub(super) rearmed: Notify,
    live: Mutex<Live>,
}

/// Where it is.
#[derive(Debug, Clone)]
pub(super) enum State {
    Starting,
    Loading,
    Ready,
    Draining,
    Stuck,
    /// With why a load that waits for it failed.
    Gone(Error),
}

/// What is asked of it. Rises only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    #[default]
    Stay,
    /// Leave when running requests have ended.
    Drain,
    /// Leave now.
    Stop,
}

/// One name of it.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) name: ModelName,
    pub(super) digest: Digest,
    pub(super) keep: KeepAlive,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) names: BTreeMap<ModelName, Named>,
    pub(super) pid: Option<u32>,
    pub(super) remote: Option<Remote>,
    endpoint: Option<String>,
    context: Option<u64>,
    ready_since: Option<Instant>,
    /// Seen last to be at work.
    pub(super) used: Instant,
}

// === impl Instance ===

impl Instance {
    pub(super) fn new(number: u64, subject: Subject, launch: Launch, completes: bool) -> Self {
        let estimate = subject.shape.estimate(launch.run(completes));
        Self {
            number,
            subject,
            launch,
            estimate,
            admitted: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            state: watch::Sender::new(State::Starting),
            ask: watch::Sender::default(),
            resident: watch::Sender::default(),
            rearmed: Notify::new(),
            live: Mutex::new(Live {
                names: BTreeMap::new(),
                pid: None,
                remote: None,
                endpoint: None,
                context: None,
                ready_since: None,
                used: Instant::now(),
            }),
        }
    }

    pub(super) fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives it a name, or a name another time.
    pub(super) fn keep(&self, subject: &Subject, keep: KeepAlive) {
        let named = Named {
            name: subject.name.clone(),
            digest: subject.digest.clone(),
            keep,
        };
        {
            let mut live = self.live();
            live.names.insert(subject.name.clone(), named);
            live.used = Instant::now();
        }
        self.rearmed.notify_one();
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(*self.state.borrow(), State::Ready)
    }

    /// Whether it will be ready, or gone, in time.
    pub(super) fn is_moving(&self) -> bool {
        !matches!(*self.state.borrow(), State::Ready | State::Stuck | State::Gone(_))
    }

    /// Whether it may still become ready, or is.
    pub(super) fn is_alive(&self) -> bool {
        let state = matches!(*self.state.borrow(), State::Starting | State::Loading | State::Ready);
        state && *self.ask.borrow() == Ask::Stay
    }

    /// Goes on to a state; never back from a later one.
    pub(super) fn enter(&self, next: State) {
        self.state.send_if_modified(|state| {
            let forward = state.rank() < next.rank();
            if forward {
                *state = next;
            }
            forward
        });
    }

    pub(super) fn ask(&self, ask: Ask) {
        self.ask.send_if_modified(|asked| {
            let more = *asked < ask;
            *asked = ask.max(*asked);
            more
        });
    }

    pub(super) fn asked(&self) -> watch::Receiver<Ask> {
        self.ask.subscribe()
    }

    pub(super) fn progressed(&self, resident: u64) {
        self.resident.send_if_modified(|before| {
            let more = *before < resident;
            *before = resident.max(*before);
            more
        });
    }

    pub(super) fn progress(&self) -> watch::Receiver<u64> {
        self.resident.subscribe()
    }

    pub(super) fn answered(&self, answers: Answers) {
        {
            let mut live = self.live();
            live.remote = Some(answers.remote);
            live.endpoint = Some(answers.endpoint);
            live.context = answers.context;
            live.used = Instant::now();
            live.ready_since = Some(live.used);
        }
        self.enter(State::Ready);
    }

    /// How long it has been ready, or was when it ended; none before.
    pub(super) fn ready_for(&self) -> Option<Duration> {
        self.live().ready_since.map(|since| since.elapsed())
    }

    /// How long it stays unused: as long as its most patient name says; none: for ever.
    pub(super) fn patience(&self, default: Duration) -> Option<Duration> {
        let live = self.live();
        let mut longest = Duration::ZERO;
        for named in live.names.values() {
            longest = longest.max(match named.keep {
                KeepAlive::Forever => return None,
                KeepAlive::For(time) => time,
                KeepAlive::Default => default,
            });
        }
        Some(longest)
    }

    /// All names but this.
    pub(super) fn others(&self, own: &ModelName) -> Vec<ModelName> {
        let live = self.live();
        let others = live.names.iter().filter(|(name, _)| *name != own);
        others.map(|(_, named)| named.name.clone()).collect()
    }

    /// Bytes in memory now.
    pub(super) fn resident(&self) -> u64 {
        self.live().pid.and_then(process::resident).unwrap_or(0)
    }

    pub(super) fn interrupted(&self) -> Error {
        let text = format!("the load of model `{}` was stopped", self.subject.name);
        Error::new(Kind::Interrupted, text)
    }

    /// As callers see it: an entry a name.
    pub(super) fn running(&self, default: Duration) -> Vec<Running> {
        let Some(state) = self.state.borrow().told() else {
            return Vec::new();
        };
        let ready = state == RunState::Ready;
        let patience = self.patience(default);
        let size_bytes = self.resident();
        let live = self.live();
        let expire_time = patience.filter(|_| ready).and_then(|patience| {
            let left = patience.saturating_sub(live.used.elapsed());
            SystemTime::now().checked_add(left)
        });
        let all = live.names.iter();
        all.map(|(own, named)| Running {
            name: named.name.clone(),
            digest: Some(named.digest.clone()),
            size_bytes,
            size_vram_bytes: 0,
            context_length: live.context.or(Some(self.launch.context.into())),
            expire_time,
            state,
            endpoint: live.endpoint.clone().filter(|_| ready),
            protocols: vec![Protocol::OpenAi],
            options: Some(self.launch.told.clone()),
            shared_with: live
                .names
                .iter()
                .filter(|(other, _)| *other != own)
                .map(|(_, other)| other.name.clone())
                .collect(),
        })
        .collect()
    }

    pub(super) fn is_admitted(&self) -> bool {
        self.admitted.load(Ordering::Acquire)
    }
}

// === impl State ===

impl State {
    fn rank(&self) -> u8 {
        match self {
            Self::Starting => 0,
            Self::Loading => 1,
            Self::Ready => 2,
            Self::Draining => 3,
            Self::Stuck => 4,
            Self::Gone(_) => 5,
        }
    }

    fn told(&self) -> Option<RunState> {
        Some(match self {
            Self::Starting => RunState::Starting,
            Self::Loading => RunState::Loading,
            Self::Ready => RunState::Ready,
            Self::Draining => RunState::Draining,
            Self::Stuck => RunState::Stuck,
            Self::Gone(_) => return None,
        })
    }
}
