use std::{
    path::Path,
    sync::atomic::AtomicU64,
    time::{Duration, SystemTime},
};

use tokio::{sync::Notify, time::timeout};

use super::*;
use crate::operation::{
    Limits, Meeting, OnDisconnect, Refused, Subscription, Why,
    journal::{Bounds, Journal},
};

#[derive(Debug)]
struct Sum;

/// What cannot be read without a panic.
const POISON: u64 = 666;

/// What is to be reached, by all that joined.
#[derive(Debug, Clone, Default)]
struct Goal(Arc<AtomicU64>);

impl Work for Sum {
    type Key = String;
    type Content = Goal;
    type Intent = Goal;
    type Label = String;
    type Progress = u64;
    type Outcome = u64;
    type Failure = String;

    fn meet(running: &Goal, new: &Goal) -> Meeting {
        running.0.fetch_max(new.0.load(Ordering::SeqCst), Ordering::SeqCst);
        Meeting::Join
    }

    fn span(_: Uuid, _: &String) -> tracing::Span {
        tracing::Span::none()
    }

    fn stopped(_: Uuid, why: Why) -> String {
        format!("{why:?}")
    }

    fn fault(_: Uuid) -> String {
        "fault".to_owned()
    }
}

impl Serialize for Goal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.load(Ordering::SeqCst).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Goal {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let reach = u64::deserialize(deserializer)?;
        assert_ne!(reach, POISON, "on purpose");
        Ok(goal(reach))
    }
}

fn goal(goal: u64) -> Goal {
    Goal(Arc::new(AtomicU64::new(goal)))
}

fn order(key: &str, reach: u64, on_disconnect: OnDisconnect) -> Order<Sum> {
    let goal = goal(reach);
    Order {
        key: key.to_owned(),
        held: Vec::new(),
        label: key.to_owned(),
        content: goal.clone(),
        intent: goal,
        on_disconnect,
        first: 0,
    }
}

const LIMITS: Limits = Limits {
    running: 10,
    ended: 10,
    ended_for: Duration::from_hours(1),
};

async fn open(folder: &Path) -> (Operations<Sum>, Vec<Left<Sum>>) {
    let (operations, opening) = Operations::recorded(LIMITS, folder);
    let (left, later) = operations.restore(opening).await;
    assert!(later.is_none());
    (operations, left)
}

/// Runs until it is released or told to stop.
async fn start(
    operations: &Operations<Sum>,
    order: Order<Sum>,
    release: &Arc<Notify>,
) -> Result<Subscription<Sum>, Refused<String>> {
    operations.join_or_start(order, until(release)).await
}

fn until(release: &Arc<Notify>) -> impl FnOnce(Reporter<Sum>) -> futures::future::BoxFuture<'static, End<Sum>> + use<> {
    let release = Arc::clone(release);
    move |reporter| {
        Box::pin(async move {
            reporter.running();
            tokio::select! {
                () = release.notified() => End::Done(7),
                _ = reporter.stopped() => End::Stopped { continues: Some("dust".to_owned()) },
            }
        })
    }
}

async fn end(subscription: &mut Subscription<Sum>) -> Result<u64, String> {
    let ended = subscription.status().wait_for(|status| status.ended.is_some());
    let status = timeout(Duration::from_mins(1), ended).await;
    status.unwrap().unwrap().ended.as_ref().unwrap().result.clone()
}

/// As a kill does: nothing is told to anybody.
async fn killed(operations: Operations<Sum>) {
    operations.close_journal().await;
}

#[tokio::test]
async fn what_ended_is_known_again_and_what_ran_is_handed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (operations, left) = open(folder.path()).await;
    assert!(left.is_empty());
    let (release, never) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let keep = OnDisconnect::Keep;
    let mut done = start(&operations, order("done", 1, keep), &release).await.unwrap();
    release.notify_one();
    assert_eq!(end(&mut done).await, Ok(7));
    let cancelled = start(&operations, order("cancelled", 1, keep), &never).await.unwrap();
    operations.cancel(cancelled.id()).await.unwrap();
    let mut abandoned = start(&operations, order("abandoned", 1, OnDisconnect::Cancel), &never)
        .await
        .unwrap();
    let mut status = abandoned.status().clone();
    drop(abandoned);
    status.wait_for(|status| status.ended.is_some()).await.unwrap();

    let unwanted = start(&operations, order("unwanted", 1, OnDisconnect::Cancel), &never)
        .await
        .unwrap();
    let raised = start(&operations, order("raised", 1, OnDisconnect::Cancel), &never)
        .await
        .unwrap();
    let joined = start(&operations, order("raised", 5, keep), &never).await.unwrap();
    assert!(joined.joined());
    let before = operations.list(None, 10, |_| true);
    killed(operations).await;

    let (operations, left) = open(folder.path()).await;
    let told: Vec<_> = left
        .iter()
        .map(|left| {
            let goal = left.intent.as_ref().unwrap().0.load(Ordering::SeqCst);
            (left.id, left.label.as_str(), goal, left.keep, left.taken_up)
        })
        .collect();
    assert_eq!(
        told,
        [
            (unwanted.id(), "unwanted", 1, false, 0),
            (raised.id(), "raised", 5, true, 0)
        ]
    );
    for view in operations.list(None, 10, |_| true) {
        let earlier = before.iter().find(|earlier| earlier.id == view.id).unwrap();
        assert_eq!((view.create_time, &view.label), (earlier.create_time, &earlier.label));
        let (now, then) = (view.status.ended.unwrap(), earlier.status.ended.clone().unwrap());
        assert_eq!(
            (now.time, &now.result, now.cancelled),
            (then.time, &then.result, then.cancelled)
        );
        assert_eq!(now.continues, then.continues);
    }
    assert_eq!(operations.list(None, 10, |_| true).len(), 3);
    // It has ended: there is nothing to cancel.
    let again = operations.cancel(done.id()).await.unwrap();
    assert_eq!(again.status.ended.unwrap().result, Ok(7));
}

#[tokio::test]
async fn what_is_taken_up_is_the_same_operation() {
    let folder = tempfile::tempdir().unwrap();
    let (release, never) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (operations, _) = open(folder.path()).await;
    let first = start(&operations, order("a", 3, OnDisconnect::Keep), &never)
        .await
        .unwrap();
    killed(operations).await;
    for times in 0..3 {
        let (operations, left) = open(folder.path()).await;
        assert_eq!((left.len(), left[0].id, left[0].taken_up), (1, first.id(), times));
        assert!(operations.take_up(&left[0], order("a", 3, OnDisconnect::Keep), until(&release)));
        assert!(!operations.take_up(&left[0], order("a", 3, OnDisconnect::Keep), until(&release)));
        assert_eq!(operations.get(first.id()).unwrap().create_time, left[0].create_time);
        // An ordinary end leaves it for the next; its callers are told.
        let mut caller = start(&operations, order("a", 1, OnDisconnect::Cancel), &never)
            .await
            .unwrap();
        assert_eq!((caller.joined(), caller.id()), (true, first.id()));
        operations.shutdown().await;
        assert_eq!(end(&mut caller).await, Err("ShuttingDown".to_owned()));
        operations.close_journal().await;
    }
    let (operations, left) = open(folder.path()).await;
    assert!(operations.take_up(&left[0], order("a", 3, OnDisconnect::Keep), until(&release)));
    let mut caller = start(&operations, order("a", 1, OnDisconnect::Cancel), &never)
        .await
        .unwrap();
    release.notify_one();
    assert_eq!(end(&mut caller).await, Ok(7));
    killed(operations).await;
    let (operations, left) = open(folder.path()).await;
    assert!(left.is_empty());
    assert_eq!(
        operations
            .get(first.id())
            .unwrap()
            .status
            .ended
            .as_ref()
            .unwrap()
            .result,
        Ok(7)
    );
}

#[tokio::test]
async fn what_is_given_up_stays_so_and_what_is_too_long_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let never = Arc::new(Notify::new());
    let (operations, _) = open(folder.path()).await;
    let first = start(&operations, order("a", 3, OnDisconnect::Keep), &never)
        .await
        .unwrap();
    killed(operations).await;
    let (operations, mut left) = open(folder.path()).await;
    operations.give_up(left.remove(0), 9, "why".to_owned());
    // Its result is too long for a line: that it has ended is known all the same.
    let long = order("long", 3, OnDisconnect::Keep);
    let job = |_| async { End::Failed("x".repeat(2 << 20)) };
    let mut long = operations.join_or_start(long, job).await.unwrap();
    assert_eq!(end(&mut long).await.unwrap_err().len(), 2 << 20);
    killed(operations).await;
    let (operations, left) = open(folder.path()).await;
    assert!(left.is_empty());
    let view = operations.get(first.id()).unwrap();
    assert_eq!(
        (*view.status.progress, &view.status.ended.unwrap().result),
        (9, &Err("why".to_owned()))
    );
    assert!(operations.get(long.id()).is_none());
    assert!(view.create_time < SystemTime::now());
}

#[tokio::test]
async fn a_record_that_breaks_its_reader_costs_itself_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let never = Arc::new(Notify::new());
    let (operations, _) = open(folder.path()).await;
    for (key, reach) in [("a", 1), ("b", POISON), ("c", 2)] {
        start(&operations, order(key, reach, OnDisconnect::Keep), &never)
            .await
            .unwrap();
    }
    killed(operations).await;
    let (_journal, opening) = Journal::open(folder.path(), Bounds::new(&LIMITS));
    let held = opening.first.await.unwrap().unwrap();
    let (mut left, mut unreadable) = (Vec::new(), 0);
    for stored in decode::<Sum>(&held) {
        match stored {
            Stored::Begun(begun) => left.push(begun.label),
            Stored::Unreadable => unreadable += 1,
            Stored::Ended(_) => panic!("none has ended"),
        }
    }
    assert_eq!((left, unreadable), (vec!["a".to_owned(), "c".to_owned()], 1));
}
