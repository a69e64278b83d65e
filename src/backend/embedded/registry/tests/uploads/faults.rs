//! Connections that break, uploads that are forgotten, registries that are busy, silent or wrong.

use super::*;

/// The first chunk of this number (from 0) fares so; those before and after are taken.
fn at_chunk(
    number: usize,
    what: impl Fn(&Seen, &mut Held) -> Answer + Send + Sync + 'static,
) -> impl Fn(&Seen, &mut Held) -> Option<Answer> + Send + Sync + 'static {
    let count = std::sync::atomic::AtomicUsize::new(0);
    move |seen, held| {
        let hit = seen.method == "PATCH" && count.fetch_add(1, Ordering::Relaxed) == number;
        hit.then(|| what(seen, held))
    }
}

fn broken() -> Answer {
    Answer::raw("").then_close()
}

#[tokio::test]
async fn a_broken_chunk_goes_on_where_the_registry_is() {
    let half = |seen: &Seen, held: &mut Held| {
        held.received.extend_from_slice(&seen.body.as_bytes()[..3]);
        broken()
    };
    let double = taking(at_chunk(1, half)).await;
    let local = Local::new(BLOB);
    let sent = local.upload(&client(&double), &double).run().await.unwrap();
    assert_eq!(sent, Sent::Whole);
    let text = str::from_utf8(BLOB).unwrap();
    assert_eq!(chunks(&double), [&text[..8], &text[8..16], &text[11..19], &text[19..]]);
    let asked = double
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("GET /up/1?"))
        .count();
    assert_eq!(asked, 1);
}

/// All of it came, and the answer did not.
#[tokio::test]
async fn a_chunk_whose_answer_is_lost_is_not_sent_again() {
    let taken = |seen: &Seen, held: &mut Held| {
        held.received.extend_from_slice(seen.body.as_bytes());
        broken()
    };
    let double = taking(at_chunk(3, taken)).await;
    let local = Local::new(BLOB);
    assert_eq!(
        local.upload(&client(&double), &double).run().await.unwrap(),
        Sent::Whole
    );
    assert_eq!(chunks(&double).concat().as_bytes(), BLOB);
}

#[tokio::test]
async fn a_finish_whose_answer_is_lost_is_found_done() {
    let double = taking(|seen, held| {
        let finishes = seen.method == "PUT" && !held.whole;
        held.whole |= finishes;
        finishes.then(broken)
    })
    .await;
    let local = Local::new(BLOB);
    assert_eq!(
        local.upload(&client(&double), &double).run().await.unwrap(),
        Sent::There
    );
    assert_eq!(methods(&double).last().unwrap(), "HEAD");
}

#[tokio::test]
async fn a_forgotten_upload_begins_anew_a_few_times() {
    let forget = |_: &Seen, held: &mut Held| {
        held.sessions += 10;
        Answer::new(404).body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"upload unknown"}]}"#)
    };
    let double = taking(at_chunk(2, forget)).await;
    let local = Local::new(BLOB);
    assert_eq!(
        local.upload(&client(&double), &double).run().await.unwrap(),
        Sent::Whole
    );
    let posts = |double: &Double| methods(double).iter().filter(|method| *method == "POST").count();
    assert_eq!(posts(&double), 2);

    let never = taking(move |seen, held| (seen.method == "PATCH").then(|| forget(seen, held))).await;
    let (kind, message) = failed(&local.upload(&client(&never), &never)).await;
    assert_eq!(kind, Kind::RegistryUnreachable);
    assert!(
        message.contains("5 times") && message.contains("upload unknown"),
        "{message}"
    );
    assert_eq!(posts(&never), 5);
}

/// It takes the chunk and then has less than before: it would be sent to for ever.
#[tokio::test]
async fn a_registry_that_forgets_bytes_is_left_in_the_end() {
    let double = taking(|seen, held| {
        let forgets = seen.method == "PATCH" && held.received.len() == 16;
        forgets.then(|| {
            held.received.clear();
            broken()
        })
    })
    .await;
    let local = Local::new(BLOB);
    let (kind, message) = failed(&local.upload(&client(&double), &double)).await;
    assert_eq!(kind, Kind::RegistryUnreachable);
    assert!(message.contains("forgot a part"), "{message}");
    assert_eq!(chunks(&double).len(), 15);
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_and_not_for_ever() {
    for status in [429, 503] {
        let busy = move |_: &Seen, _: &mut Held| Answer::new(status).header("retry-after", "0");
        let double = taking(at_chunk(1, busy)).await;
        let local = Local::new(BLOB);
        assert_eq!(
            local.upload(&client(&double), &double).run().await.unwrap(),
            Sent::Whole
        );
        assert_eq!(chunks(&double).len(), 5, "one of them twice");

        let double = taking(move |seen, held| (seen.method == "POST").then(|| busy(seen, held))).await;
        let (kind, message) = failed(&local.upload(&client(&double), &double)).await;
        assert_eq!(kind, Kind::RegistryBusy(Some(Duration::ZERO)), "{message}");
        assert_eq!(methods(&double).len(), 5, "a look and four tries");
    }
}

/// More tries than uploads that may be lost: none was begun, so none was lost.
#[tokio::test]
async fn a_registry_that_is_too_busy_to_begin_is_called_busy() {
    let double = taking(|seen, _| (seen.method == "POST").then(|| Answer::new(503).header("retry-after", "0"))).await;
    let local = Local::new(BLOB);
    let limits = Limits { tries: 10, ..limits() };
    let upload = client(&double).upload(local.wanted(&double, layer()), &limits).unwrap();
    let (kind, message) = failed(&upload).await;
    assert_eq!(kind, Kind::RegistryBusy(Some(Duration::ZERO)), "{message}");
    assert_eq!(methods(&double).len(), 11, "a look and ten tries");
}

#[tokio::test]
async fn a_registry_without_room_is_not_asked_again() {
    let double = taking(at_chunk(0, |_, _| Answer::new(507))).await;
    let local = Local::new(BLOB);
    let (kind, message) = failed(&local.upload(&client(&double), &double)).await;
    assert_eq!(kind, Kind::RegistryBusy(None));
    assert!(message.contains("no room left"), "{message}");
    assert_eq!(chunks(&double).len(), 1);
}

#[tokio::test]
async fn a_registry_that_takes_no_large_requests_gets_smaller_ones() {
    const MIB: usize = 1 << 20;
    const MOST: usize = 300 << 10;
    let received = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&received);
    let double = Double::start(move |seen| {
        let received = &mut *counted.lock().unwrap();
        let told = |status: u16, received: usize| {
            let range = format!("0-{}", received.saturating_sub(1));
            Answer::new(status).header("location", "/up").header("range", range)
        };
        match seen.method.as_str() {
            "POST" => told(202, 0),
            "PATCH" if seen.body.len() > MOST => Answer::new(413),
            "PATCH" => {
                *received += seen.body.len();
                told(202, *received)
            }
            "GET" => told(204, *received),
            "PUT" => Answer::new(201),
            _ => Answer::new(404),
        }
    })
    .await;
    let bytes = vec![b'x'; MIB];
    let local = Local::new(&bytes);
    let large = Layer::new(
        crate::backend::embedded::store::manifest::Kind::Model,
        Digest::of(&bytes),
        MIB as u64,
    );
    let limits = Limits {
        part: MIB as u64,
        ..limits()
    };
    let upload = client(&double).upload(local.wanted(&double, large), &limits).unwrap();
    assert_eq!(upload.run().await.unwrap(), Sent::Whole);
    assert_eq!(*received.lock().unwrap(), MIB);
}

#[tokio::test]
async fn a_registry_that_has_more_than_was_sent_is_not_believed() {
    for told in ["0-99", "0-18446744073709551614"] {
        let lie = move |_: &Seen, held: &mut Held| {
            let place = format!("/up/{}?", held.sessions);
            Answer::new(202).header("location", place).header("range", told)
        };
        let double = taking(at_chunk(0, lie)).await;
        let local = Local::new(BLOB);
        let (kind, message) = failed(&local.upload(&client(&double), &double)).await;
        assert_eq!(kind, Kind::Protocol, "{message}");
    }
}

#[tokio::test]
async fn a_registry_that_falls_silent_is_left() {
    let double = taking(at_chunk(1, |_, _| Answer::raw("").then_hang())).await;
    let local = Local::new(BLOB);
    let client = client(&double);
    let limits = Limits { tries: 1, ..limits() };
    let upload = client.upload(local.wanted(&double, layer()), &limits).unwrap();
    let mut run = std::pin::pin!(upload.run());
    let silent = async {
        while double.held() == 0 {
            tokio::select! {
                ended = &mut run => panic!("{ended:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), silent).await.unwrap();
    // What is waited for now is the clock alone.
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let error = run.await.unwrap_err();
    assert_eq!(error.kind, Kind::RegistryUnreachable, "{error}");
    assert!(start.elapsed() <= Duration::from_mins(2), "{:?}", start.elapsed());
}

/// Which of the two ends a chunk that does not go out: nobody takes the bytes.
#[tokio::test]
async fn a_chunk_that_does_not_go_out_is_given_up() {
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = deaf.local_addr().unwrap().to_string();
    let double = taking(move |seen, _| {
        let begins = seen.method == "POST";
        begins.then(|| Answer::new(202).header("location", format!("http://{host}/up")))
    })
    .await;
    let bytes = vec![b'x'; 32 << 20];
    let local = Local::new(&bytes);
    let large = Layer::new(
        crate::backend::embedded::store::manifest::Kind::Model,
        Digest::of(&bytes),
        bytes.len() as u64,
    );
    let limits = Limits {
        part: 32 << 20,
        tries: 1,
        stall: Duration::from_millis(300),
        ..limits()
    };
    let hosts = [plain(&double), format!("http://{}", deaf.local_addr().unwrap())];
    let client = client_in(settings(&hosts), World::default().real());
    let upload = client.upload(local.wanted(&double, large), &limits).unwrap();
    let (kind, message) = failed(&upload).await;
    assert_eq!(kind, Kind::RegistryUnreachable);
    assert!(message.contains("0.3 s"), "{message}");
    let told = local.told.load(Ordering::Relaxed);
    assert!(told < bytes.len() as u64, "{told}");
}
