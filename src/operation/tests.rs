use std::{
    pin::pin,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use super::*;

#[derive(Debug)]
struct Count;

impl Work for Count {
    type Key = &'static str;
    type Content = u8;
    type Intent = ();
    type Label = String;
    type Progress = u64;
    type Outcome = u64;
    type Failure = String;

    /// Even ones share; an odd one waits for the end of another.
    fn meet(running: &u8, new: &u8) -> Meeting {
        match (running == new, new % 2) {
            (true, _) => Meeting::Join,
            (false, 0) => Meeting::Conflict,
            (false, _) => Meeting::Wait,
        }
    }

    fn stopped(_: Uuid, why: Why) -> String {
        format!("{why:?}")
    }

    fn span(id: Uuid, _: &String) -> tracing::Span {
        tracing::info_span!(parent: None, "operation", operation.id = %id)
    }

    fn fault(_: Uuid) -> String {
        "fault".to_owned()
    }
}

fn order(key: &'static str, on_disconnect: OnDisconnect) -> Order<Count> {
    Order {
        key,
        held: Vec::new(),
        label: key.to_owned(),
        content: 0,
        intent: (),
        on_disconnect,
        first: 0,
    }
}

fn operations() -> Operations<Count> {
    Operations::new(Limits {
        running: 4,
        ended: 3,
        ended_for: Duration::from_hours(1),
    })
}

/// A job that runs until it is released or told to stop.
fn until(
    release: &Arc<Notify>,
) -> impl FnOnce(Reporter<Count>) -> futures::future::BoxFuture<'static, End<Count>> + use<> {
    let release = Arc::clone(release);
    move |reporter| {
        Box::pin(async move {
            reporter.running();
            tokio::select! {
                () = release.notified() => End::Done(7),
                _ = reporter.stopped() => End::Stopped { continues: None },
            }
        })
    }
}

async fn start(
    operations: &Operations<Count>,
    key: &'static str,
    mode: OnDisconnect,
    release: &Arc<Notify>,
) -> Subscription<Count> {
    operations
        .join_or_start(order(key, mode), until(release))
        .await
        .unwrap()
}

async fn end(subscription: &mut Subscription<Count>) -> Result<u64, String> {
    let status = timeout(
        Duration::from_mins(1),
        subscription.status().wait_for(|s| s.ended.is_some()),
    )
    .await;
    status.unwrap().unwrap().ended.as_ref().unwrap().result.clone()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_are_one_job() {
    let operations = operations();
    let release = Arc::new(Notify::new());
    let jobs = Arc::new(AtomicUsize::new(0));
    let mut callers = Vec::new();
    for _ in 0..1000 {
        let (jobs, job) = (Arc::clone(&jobs), until(&release));
        let job = move |reporter| {
            jobs.fetch_add(1, Ordering::SeqCst);
            job(reporter)
        };
        callers.push(
            operations
                .join_or_start(order("a", OnDisconnect::Cancel), job)
                .await
                .unwrap(),
        );
    }
    assert_eq!(callers.iter().filter(|caller| caller.joined()).count(), 999);
    let followers = || operations.get(callers[0].id()).unwrap().followers;
    assert_eq!(followers(), 1000);
    let (_, _, watcher) = operations.watch(callers[0].id()).unwrap();
    assert_eq!(followers(), 1001, "who watches is told of too");
    drop(watcher);
    assert_eq!(followers(), 1000);
    release.notify_one();
    for caller in &mut callers {
        assert_eq!(end(caller).await, Ok(7));
    }
    assert_eq!(jobs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_to_leave_cancels_when_all_asked_for_it() {
    let operations = operations();
    let release = Arc::new(Notify::new());
    let first = start(&operations, "a", OnDisconnect::Cancel, &release).await;
    let second = start(&operations, "a", OnDisconnect::Cancel, &release).await;
    // Who watches does not hold it.
    let (_, mut watcher, _watching) = operations.watch(first.id()).unwrap();
    drop(first);
    assert!(operations.get(second.id()).unwrap().status.ended.is_none());
    drop(second);
    let status = timeout(Duration::from_secs(1), watcher.wait_for(|s| s.ended.is_some()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.ended.as_ref().unwrap().result, Err("Abandoned".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn one_that_keeps_keeps_it_for_all() {
    let operations = operations();
    let release = Arc::new(Notify::new());
    let keeper = start(&operations, "a", OnDisconnect::Keep, &release).await;
    let other = start(&operations, "a", OnDisconnect::Cancel, &release).await;
    let id = keeper.id();
    drop(keeper);
    drop(other);
    assert!(operations.get(id).unwrap().status.ended.is_none());
    release.notify_one();
    let mut watcher = operations.watch(id).unwrap().1;
    let status = watcher.wait_for(|s| s.ended.is_some()).await.unwrap();
    assert_eq!(status.ended.as_ref().unwrap().result, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_one_is_given_up_starts_anew() {
    let operations = operations();
    // A job that needs a moment to clean up after it was told to stop.
    let (stopping, cleaned) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let job = {
        let (stopping, cleaned) = (Arc::clone(&stopping), Arc::clone(&cleaned));
        move |reporter: Reporter<Count>| async move {
            reporter.stopped().await;
            stopping.notify_one();
            cleaned.notified().await;
            End::Stopped {
                continues: Some("something".to_owned()),
            }
        }
    };
    let first = operations
        .join_or_start(order("a", OnDisconnect::Cancel), job)
        .await
        .unwrap();
    let first_id = first.id();
    drop(first);
    stopping.notified().await;
    let release = Arc::new(Notify::new());
    let second = {
        let (operations, release) = (operations.clone(), Arc::clone(&release));
        tokio::spawn(async move { start(&operations, "a", OnDisconnect::Keep, &release).await })
    };
    tokio::task::yield_now().await;
    assert!(!second.is_finished(), "joined what is being cancelled");
    cleaned.notify_one();
    let mut second = second.await.unwrap();
    assert_ne!(second.id(), first_id);
    assert!(!second.joined());
    assert_eq!(
        operations
            .get(first_id)
            .unwrap()
            .status
            .ended
            .unwrap()
            .continues
            .as_deref(),
        Some("something")
    );
    release.notify_one();
    assert_eq!(end(&mut second).await, Ok(7));
}

#[tokio::test(start_paused = true)]
async fn other_content_conflicts_and_names_the_running_one() {
    let operations = operations();
    let release = Arc::new(Notify::new());
    let first = start(&operations, "a", OnDisconnect::Keep, &release).await;
    let refused = operations
        .join_or_start(
            Order {
                label: "b".to_owned(),
                content: 2,
                ..order("a", OnDisconnect::Keep)
            },
            until(&release),
        )
        .await;
    assert_eq!(
        refused.unwrap_err(),
        Refused::Conflict {
            id: first.id(),
            label: "a".to_owned()
        }
    );
}

#[tokio::test(start_paused = true)]
async fn cancel_ends_it_for_all_and_is_idempotent() {
    let operations = operations();
    let release = Arc::new(Notify::new());
    let mut first = start(&operations, "a", OnDisconnect::Keep, &release).await;
    let id = first.id();
    let view = operations.cancel(id).await.unwrap();
    assert!(view.status.ended.unwrap().cancelled);
    assert_eq!(end(&mut first).await, Err("Cancelled".to_owned()));
    let ended = operations.get(id).unwrap().status.ended.unwrap().time;
    assert_eq!(operations.cancel(id).await.unwrap().status.ended.unwrap().time, ended);
    assert!(operations.cancel(Uuid::now_v7()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_does_not_stop_is_dropped_and_said_so() {
    let operations = operations();
    let job = |_| std::future::pending::<End<Count>>();
    let subscription = operations
        .join_or_start(order("a", OnDisconnect::Keep), job)
        .await
        .unwrap();
    let view = timeout(Duration::from_secs(11), operations.cancel(subscription.id()))
        .await
        .unwrap()
        .unwrap();
    assert!(view.status.ended.unwrap().continues.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_fault_and_frees_the_key() {
    let operations = operations();
    let job = |_| async { panic!("on purpose") };
    let mut subscription = operations
        .join_or_start(order("a", OnDisconnect::Keep), job)
        .await
        .unwrap();
    assert_eq!(end(&mut subscription).await, Err("fault".to_owned()));
    let release = Arc::new(Notify::new());
    assert!(!start(&operations, "a", OnDisconnect::Keep, &release).await.joined());
}

#[tokio::test(start_paused = true)]
async fn the_table_is_bounded_and_ended_ones_go_oldest_first() {
    let operations = operations();
    let release = Arc::new(Notify::new());
    let mut running = Vec::new();
    for key in ["a", "b", "c", "d"] {
        running.push(start(&operations, key, OnDisconnect::Keep, &release).await);
    }
    let refused = operations
        .join_or_start(order("e", OnDisconnect::Keep), until(&release))
        .await;
    assert_eq!(refused.unwrap_err(), Refused::TooMany { limit: 4 });
    // What one holds is no operation of its own.
    let other = self::operations();
    for (key, held) in [("a", "b"), ("c", "d"), ("e", "f"), ("g", "h")] {
        let holding = Order {
            held: vec![held],
            ..order(key, OnDisconnect::Keep)
        };
        running.push(other.join_or_start(holding, until(&release)).await.unwrap());
    }
    let fifth = other.join_or_start(order("i", OnDisconnect::Keep), until(&release));
    assert_eq!(fifth.await.unwrap_err(), Refused::TooMany { limit: 4 });
    for subscription in running.split_off(4) {
        other.cancel(subscription.id()).await.unwrap();
    }
    for _ in 0..4 {
        release.notify_one();
        tokio::task::yield_now().await;
    }
    for subscription in &mut running {
        assert_eq!(end(subscription).await, Ok(7));
    }
    let left = operations.list(None, 10, |_| true);
    assert_eq!(left.len(), 3);
    assert!(left.windows(2).all(|pair| pair[0].id > pair[1].id), "newest first");
    let rest = operations.list(Some(left[0].id), 10, |_| true);
    assert_eq!(
        rest.iter().map(|v| v.id).collect::<Vec<_>>(),
        left[1..].iter().map(|v| v.id).collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn shutdown_ends_all_and_takes_no_more() {
    let operations = operations();
    let release = Arc::new(Notify::new());
    let mut subscription = start(&operations, "a", OnDisconnect::Keep, &release).await;
    operations.shutdown().await;
    assert_eq!(end(&mut subscription).await, Err("ShuttingDown".to_owned()));
    let refused = operations
        .join_or_start(order("b", OnDisconnect::Keep), until(&release))
        .await;
    assert_eq!(refused.unwrap_err(), Refused::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn whoever_saw_the_end_can_start_again_at_once() {
    let operations = operations();
    for _ in 0..200 {
        let release = Arc::new(Notify::new());
        release.notify_one();
        let mut subscription = start(&operations, "a", OnDisconnect::Keep, &release).await;
        assert!(!subscription.joined());
        assert_eq!(end(&mut subscription).await, Ok(7));
    }
}

#[tokio::test(start_paused = true)]
async fn what_must_wait_begins_when_the_other_has_ended() {
    let operations = operations();
    let (release, later) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut first = start(&operations, "a", OnDisconnect::Keep, &release).await;
    let odd = Order {
        content: 1,
        ..order("a", OnDisconnect::Keep)
    };
    let mut second = pin!(operations.join_or_start(odd, until(&later)));
    assert!(futures::poll!(&mut second).is_pending());
    release.notify_one();
    assert_eq!(end(&mut first).await, Ok(7));
    let second = second.await.unwrap();
    assert!(!second.joined() && second.id() != first.id());
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_in_the_way_and_free_afterwards() {
    let operations = operations();
    let release = Arc::new(Notify::new());
    let both = Order {
        held: vec!["b"],
        ..order("a", OnDisconnect::Keep)
    };
    let mut copy = operations.join_or_start(both, until(&release)).await.unwrap();
    let of_b = order("b", OnDisconnect::Keep);
    let refused = operations.join_or_start(of_b, until(&release)).await.unwrap_err();
    assert_eq!(
        refused,
        Refused::Conflict {
            id: copy.id(),
            label: "a".to_owned()
        }
    );
    let over_b = Order {
        held: vec!["b"],
        ..order("c", OnDisconnect::Keep)
    };
    let refused = operations.join_or_start(over_b, until(&release)).await.unwrap_err();
    assert_eq!(
        refused,
        Refused::Conflict {
            id: copy.id(),
            label: "a".to_owned()
        }
    );
    release.notify_one();
    assert_eq!(end(&mut copy).await, Ok(7));
    start(&operations, "b", OnDisconnect::Keep, &release).await;
}
