//! The table of operations, under one lock that is never held across an await.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::Future,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    time::{Instant, SystemTime},
};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;
use uuid::Uuid;

use super::{
    End, Limits, Meeting, OnDisconnect, Opening, Order, Record, Refused, Reporter, Status, Subscription, View, Watcher,
    Why, Work, driver,
    journal::{Bounds, Journal},
};
use crate::telemetry::trace::Link;

/// All operations. Cheap to clone: a handle.
pub struct Operations<W: Work> {
    inner: Arc<Inner<W>>,
}

struct Inner<W: Work> {
    limits: Limits,
    journal: Option<Journal>,
    tasks: TaskTracker,
    table: Mutex<Table<W>>,
}

pub(super) struct Table<W: Work> {
    /// By each key that one works on or holds.
    pub(super) running: HashMap<W::Key, Running<W>>,
    /// Operations that run, whatever they hold.
    pub(super) count: usize,
    /// Running and remembered ones. Ordered by age, for ids of version 7 are.
    pub(super) by_id: BTreeMap<Uuid, Arc<Record<W>>>,
    /// Oldest end first.
    pub(super) ended: VecDeque<(Instant, Uuid)>,
    pub(super) draining: bool,
}

pub(super) struct Running<W: Work> {
    record: Arc<Record<W>>,
    subscribers: usize,
}

/// What a look under the lock found.
enum Found<W: Work> {
    Subscribed(Subscription<W>),
    /// A leaving one is in the way; wait for its end.
    Wait(watch::Receiver<Status<W>>),
    Free,
}

// === impl Operations ===

impl<W: Work> Operations<W> {
    /// An empty table, which ends with the process.
    pub fn new(limits: Limits) -> Self {
        Self::with(limits, None)
    }

    /// An empty table that is recorded in the state directory's journal. What that holds is to be
    /// [restored](Self::restore).
    pub fn recorded(limits: Limits, folder: &Path) -> (Self, Opening) {
        let (journal, opening) = Journal::open(folder, Bounds::new(&limits));
        (Self::with(limits, Some(journal)), opening)
    }

    fn with(limits: Limits, journal: Option<Journal>) -> Self {
        let table = Table {
            running: HashMap::new(),
            count: 0,
            by_id: BTreeMap::new(),
            ended: VecDeque::new(),
            draining: false,
        };
        Self {
            inner: Arc::new(Inner {
                limits,
                journal,
                tasks: TaskTracker::new(),
                table: Mutex::new(table),
            }),
        }
    }

    /// Joins the operation that works on the same key with the same content, or starts one that runs `job`.
    ///
    /// Waits only while one that was told to stop is cleaning up on the same key, or one that must end first; when the
    /// caller goes meanwhile, nothing was started. Then until the journal has it.
    pub async fn join_or_start<J, F>(&self, order: Order<W>, job: J) -> Result<Subscription<W>, Refused<W::Label>>
    where
        J: FnOnce(Reporter<W>) -> F,
        F: Future<Output = End<W>> + Send + 'static,
    {
        let subscription = loop {
            let mut waiting = {
                let mut table = self.lock();
                match self.find(&mut table, &order)? {
                    Found::Subscribed(subscription) => break subscription,
                    Found::Wait(status) => status,
                    Found::Free => break self.start(&mut table, order, job),
                }
            };
            // An error means that the record is gone, which is an end too.
            let _ended = waiting.wait_for(|status| status.ended.is_some()).await.is_ok();
        };
        // Who goes meanwhile leaves as any caller does.
        self.note(subscription.id()).await;
        Ok(subscription)
    }

    /// One operation, running or remembered.
    pub fn get(&self, id: Uuid) -> Option<View<W>> {
        let mut table = self.lock();
        self.forget_old(&mut table);
        table.by_id.get(&id).map(|record| table.view(record))
    }

    /// No new work is taken.
    pub fn is_draining(&self) -> bool {
        self.lock().draining
    }

    /// Whether one that `counts` runs on this key: another would join it, or be told of the conflict.
    pub fn runs(&self, key: &W::Key, counts: impl FnOnce(&W::Label) -> bool) -> bool {
        let table = self.lock();
        table
            .running
            .get(key)
            .is_some_and(|running| counts(&running.record.label))
    }

    /// Whether one runs on a key that `wanted` lets pass.
    pub fn any(&self, mut wanted: impl FnMut(&W::Key) -> bool) -> bool {
        self.lock().running.keys().any(&mut wanted)
    }

    /// Newest first, from the one after `before` on: at most `limit` that `wanted` lets pass.
    pub fn list(&self, before: Option<Uuid>, limit: usize, wanted: impl Fn(&View<W>) -> bool) -> Vec<View<W>> {
        let mut table = self.lock();
        self.forget_old(&mut table);
        let older = table.by_id.range(..before.unwrap_or(Uuid::max())).rev();
        older
            .map(|(_, record)| table.view(record))
            .filter(wanted)
            .take(limit)
            .collect()
    }

    /// Follows an operation without a say in what becomes of it. The view is what it is now, and stays the follower's when
    /// the operation is forgotten meanwhile.
    pub fn watch(&self, id: Uuid) -> Option<(View<W>, watch::Receiver<Status<W>>, Watcher)> {
        let mut table = self.lock();
        self.forget_old(&mut table);
        let record = table.by_id.get(&id)?;
        let watcher = Watcher::of(record);
        Some((table.view(record), record.status.subscribe(), watcher))
    }

    /// Tells an operation to stop, for all its callers, and waits until it has. One that has ended stays as it is.
    pub async fn cancel(&self, id: Uuid) -> Option<View<W>> {
        let record = {
            let mut table = self.lock();
            self.forget_old(&mut table);
            let record = Arc::clone(table.by_id.get(&id)?);
            if table.running(&record).is_some() {
                record.stop.request(Why::Cancelled);
            }
            record
        };
        let ended = |status: &Status<W>| status.ended.is_some();
        let _ended = record.status.subscribe().wait_for(ended).await.is_ok();
        // Not looked up again: it may be forgotten already.
        Some(self.lock().view(&record))
    }

    /// Takes no new work from now on.
    pub fn drain(&self) {
        self.lock().draining = true;
    }

    /// Stops all operations and waits for their ends. The caller bounds the wait.
    pub async fn shutdown(&self) {
        {
            let mut table = self.lock();
            table.draining = true;
            for running in table.running.values_mut() {
                running.record.stop.request(Why::ShuttingDown);
            }
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }

    /// Gives the journal back, for the successor. What ends later is taken for running.
    pub async fn close_journal(&self) {
        if let Some(journal) = self.journal() {
            journal.close().await;
        }
    }

    pub(super) fn journal(&self) -> Option<&Journal> {
        self.inner.journal.as_ref()
    }

    pub(super) fn leave(&self, id: Uuid, key: &W::Key) {
        let mut table = self.lock();
        let Some(running) = table.running.get_mut(key).filter(|running| running.record.id == id) else {
            return;
        };
        running.subscribers -= 1;
        if running.subscribers == 0 && !running.record.keeps() {
            running.record.stop.request(Why::Abandoned);
        }
    }

    /// Moves an operation from the running to the remembered ones.
    pub(super) fn retire(&self, record: &Record<W>) {
        let mut table = self.lock();
        table.count = table.count.saturating_sub(1);
        for key in record.keys() {
            let own = |running: &Running<W>| running.record.id == record.id;
            if table.running.get(key).is_some_and(own) {
                table.running.remove(key);
            }
        }
        table.ended.push_back((Instant::now(), record.id));
        self.forget_old(&mut table);
    }

    fn find(&self, table: &mut Table<W>, order: &Order<W>) -> Result<Found<W>, Refused<W::Label>> {
        if table.draining {
            return Err(Refused::ShuttingDown);
        }
        // Of what is only held nobody can be a caller.
        for key in &order.held {
            if let Some(running) = table.running.get(key) {
                return running.in_the_way();
            }
        }
        let count = table.count;
        let Some(running) = table.running.get_mut(&order.key) else {
            let limit = self.inner.limits.running;
            return if count < limit {
                Ok(Found::Free)
            } else {
                Err(Refused::TooMany { limit })
            };
        };
        let record = &running.record;
        let Some(place) = record.place.as_ref().filter(|place| place.key == order.key) else {
            return running.in_the_way();
        };
        if running.leaving() {
            return running.in_the_way();
        }
        match W::meet(&place.content, &order.content) {
            Meeting::Join => {}
            Meeting::Wait => return Ok(Found::Wait(record.status.subscribe())),
            Meeting::Conflict => return Err(record.conflict()),
        }
        record.link.join();
        running.subscribers += 1;
        if order.on_disconnect == OnDisconnect::Keep {
            place.keep.store(true, Ordering::Relaxed);
        }
        let status = record.status.subscribe();
        Ok(Found::Subscribed(Subscription::new(
            self.clone(),
            record.id,
            order.key.clone(),
            true,
            status,
        )))
    }

    fn start<J, F>(&self, table: &mut Table<W>, order: Order<W>, job: J) -> Subscription<W>
    where
        J: FnOnce(Reporter<W>) -> F,
        F: Future<Output = End<W>> + Send + 'static,
    {
        let key = order.key.clone();
        let id = Uuid::now_v7();
        let span = W::span(id, &order.label);
        let record = Arc::new(Record::new(id, SystemTime::now(), order, 0, Link::to(&span)));
        let receiver = record.status.subscribe();
        self.launch(table, &record, 1, span, job);
        Subscription::new(self.clone(), record.id, key, false, receiver)
    }

    /// Enters an operation into the table and runs its job.
    pub(super) fn launch<J, F>(
        &self,
        table: &mut Table<W>,
        record: &Arc<Record<W>>,
        subscribers: usize,
        span: tracing::Span,
        job: J,
    ) where
        J: FnOnce(Reporter<W>) -> F,
        F: Future<Output = End<W>> + Send + 'static,
    {
        for key in record.keys() {
            let running = Running {
                record: Arc::clone(record),
                subscribers,
            };
            table.running.insert(key.clone(), running);
        }
        table.count += 1;
        table.by_id.insert(record.id, Arc::clone(record));
        let job = job(Reporter::new(Arc::clone(record)));
        let driven = driver::drive(self.clone(), Arc::clone(record), job);
        self.inner.tasks.spawn(driven.instrument(span));
    }

    /// Ended ones go by count and by age.
    pub(super) fn forget_old(&self, table: &mut Table<W>) {
        while let Some(&(ended, id)) = table.ended.front() {
            if table.ended.len() <= self.inner.limits.ended && ended.elapsed() <= self.inner.limits.ended_for {
                break;
            }
            table.ended.pop_front();
            table.by_id.remove(&id);
        }
    }

    /// A panic under the lock leaves whole entries only: the table stays usable.
    pub(super) fn lock(&self) -> MutexGuard<'_, Table<W>> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<W: Work> Clone for Operations<W> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<W: Work> std::fmt::Debug for Operations<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operations")
            .field("limits", &self.inner.limits)
            .finish_non_exhaustive()
    }
}

// === impl Running ===

impl<W: Work> Running<W> {
    /// It was told to stop, under the lock: nobody joins any more.
    fn leaving(&self) -> bool {
        self.record.stop.why().is_some()
    }

    /// What somebody is told who cannot join it: to wait for the end of one that was told to stop.
    fn in_the_way(&self) -> Result<Found<W>, Refused<W::Label>> {
        if self.leaving() {
            return Ok(Found::Wait(self.record.status.subscribe()));
        }
        Err(self.record.conflict())
    }
}

// === impl Record ===

impl<W: Work> Record<W> {
    fn keeps(&self) -> bool {
        let place = self.place.as_ref();
        place.is_none_or(|place| place.keep.load(Ordering::Relaxed))
    }

    fn conflict(&self) -> Refused<W::Label> {
        Refused::Conflict {
            id: self.id,
            label: self.label.clone(),
        }
    }
}

// === impl Table ===

impl<W: Work> Table<W> {
    fn running(&self, record: &Record<W>) -> Option<&Running<W>> {
        let running = self.running.get(&record.place.as_ref()?.key)?;
        (running.record.id == record.id).then_some(running)
    }

    fn view(&self, record: &Record<W>) -> View<W> {
        let running = self.running(record);
        View {
            id: record.id,
            label: record.label.clone(),
            create_time: record.create_time,
            followers: running.map_or(0, |running| running.subscribers + record.watchers()),
            status: record.status.borrow().clone(),
        }
    }
}
