//! EnsureReady of a model that is there, by many callers at once, and an empty stream of tonic's.

use std::time::{Duration, Instant};

use model_control::grpc::proto::v1::{EnsureReadyRequest, ensure_ready_response::Event};
use tokio::task::JoinSet;

use crate::{
    Client, World,
    empty::Empty,
    support::{Samples, row, setting},
};

const CONNECTIONS: usize = 10;
/// Callers of each connection: as many calls are open at any time.
const CALLERS: usize = 16;
const TIME: Duration = Duration::from_secs(2);
/// Callers of each connection who come at once.
const AT_ONCE: usize = 100;

pub(crate) async fn bench() {
    let (world, client) = World::new(&[]).await;
    world.fill(1);
    let empty = Empty::start();
    let (mut ours, mut nothing) = (vec![client], vec![empty.client().await]);
    for _ in 1..CONNECTIONS {
        ours.push(Client::new(world.service.channel().await));
        nothing.push(empty.client().await);
    }
    let tags = || world.server.asked("GET", "/api/tags");
    let [mut rate, mut bare, mut ratio, mut upstream, mut at_once] = std::array::from_fn(|_| Samples::default());
    for round in 0..setting("ROUNDS", 7) {
        let mut rate_of_ours = async || {
            let before = tags();
            let calls = calls_in(&ours, true).await;
            upstream.push((tags() - before) as f64 / calls as f64);
            calls as f64 / TIME.as_secs_f64()
        };
        // Who begins takes turns.
        let (of_ours, of_nothing) = if round % 2 == 0 {
            let of_nothing = calls_in(&nothing, false).await as f64 / TIME.as_secs_f64();
            (rate_of_ours().await, of_nothing)
        } else {
            (
                rate_of_ours().await,
                calls_in(&nothing, false).await as f64 / TIME.as_secs_f64(),
            )
        };
        rate.push(of_ours);
        bare.push(of_nothing);
        ratio.push(of_ours / of_nothing);
        let before = tags();
        all_at_once(&ours).await;
        at_once.push((tags() - before) as f64);
    }
    let callers = CONNECTIONS * CALLERS;
    row(
        &format!("EnsureReady, present, {callers} callers"),
        rate.of("calls/s"),
        "",
    );
    row("  an empty stream of tonic's, as many callers", bare.of("calls/s"), "");
    row("  the one by the other", ratio.of(""), "at least 0.7");
    row("  requests to Ollama for a call", upstream.of(""), "");
    let callers = CONNECTIONS * AT_ONCE;
    row(
        &format!("  requests to Ollama for {callers} callers at once"),
        at_once.of(""),
        "at most 2",
    );
}

/// How many calls the callers make, one after the other each.
async fn calls_in(clients: &[Client], present: bool) -> usize {
    let until = Instant::now() + TIME;
    let mut callers = JoinSet::new();
    for client in clients {
        for _ in 0..CALLERS {
            let mut client = client.clone();
            callers.spawn(async move {
                let mut count = 0;
                while Instant::now() < until {
                    call(&mut client, present).await;
                    count += 1;
                }
                count
            });
        }
    }
    callers.join_all().await.into_iter().sum()
}

async fn all_at_once(clients: &[Client]) {
    let mut callers = JoinSet::new();
    for client in clients {
        for _ in 0..AT_ONCE {
            let mut client = client.clone();
            callers.spawn(async move { call(&mut client, true).await });
        }
    }
    callers.join_all().await;
}

async fn call(client: &mut Client, present: bool) {
    let request = EnsureReadyRequest {
        model: "model-0".to_owned(),
        ..Default::default()
    };
    let mut stream = client.ensure_ready(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(message) = stream.message().await.unwrap() {
        last = message.event;
    }
    assert_eq!(matches!(last, Some(Event::Result(result)) if !result.changed), present);
}
