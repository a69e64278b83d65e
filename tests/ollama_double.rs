//! The double of Ollama does what its scripts say: a test that leans on a fault must get that fault.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/ollama_double.rs"]
#[allow(unused_imports, reason = "the other tests use the rest")]
mod ollama_double;
#[path = "support/soon.rs"]
mod soon;

use std::time::Duration;

use self::soon::until;
use futures::StreamExt as _;
use model_control::model::Digest;
use ollama_double::{Answer, Double, Gate, Layer, Mode, Remote, Route, Step, recorded_lines};
use serde_json::{Value, json};

fn client() -> reqwest::Client {
    let _installed_already = rustls::crypto::ring::default_provider().install_default().is_err();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

fn pull(double: &Double, model: &str) -> reqwest::RequestBuilder {
    let body = json!({"model": model, "insecure": true}).to_string();
    client().post(format!("{}/api/pull", double.url())).body(body)
}

async fn get(double: &Double, path: &str) -> Value {
    let answer = client().get(format!("{}{path}", double.url())).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn models_are_pulled_and_created_as_recorded() {
    let double = Double::start().await;
    assert_eq!(get(&double, "/api/tags").await, json!({"models": []}));
    let layers = vec![Layer::file("model", Digest::of(b"m"), 1000), Layer::text("system", "s")];
    let remote = Remote { layers, half_way: None };
    double.state().publish(&"h:1/n/m".parse().unwrap(), remote);
    let told = pull(&double, "h:1/n/m").send().await.unwrap().text().await.unwrap();
    assert!(told.ends_with("{\"status\":\"success\"}\n"), "{told}");
    let told = pull(&double, "h:1/n/none").send().await.unwrap().text().await.unwrap();
    assert_eq!(told.lines().collect::<Vec<_>>(), recorded_lines("pull-not-found"));
    let listed = get(&double, "/api/tags").await;
    assert_eq!(listed["models"][0]["name"], "h:1/n/m:latest");
    assert_eq!(listed["models"][0]["size"], 1001);

    let post = |path: &str, body: &str| {
        client()
            .post(format!("{}{path}", double.url()))
            .body(body.to_owned())
            .send()
    };
    let blob = Digest::of(b"file");
    let path = format!("/api/blobs/{blob}");
    let head = || client().head(format!("{}{path}", double.url())).send();
    assert_eq!(head().await.unwrap().status(), 404);
    assert_eq!(post(&path, "other").await.unwrap().status(), 400);
    assert_eq!(post(&path, "file").await.unwrap().status(), 201);
    assert_eq!(post(&path, "file").await.unwrap().status(), 200);
    assert_eq!(head().await.unwrap().status(), 200);
    let request = json!({"model": "c", "files": {"f.gguf": blob.to_string()}, "system": "s"}).to_string();
    let told = post("/api/create", &request).await.unwrap().text().await.unwrap();
    let status = |line: &str| line.split(" layer").next().unwrap().to_owned();
    let words: Vec<_> = told.lines().map(status).collect();
    let recorded: Vec<_> = recorded_lines("create-gguf").iter().map(|line| status(line)).collect();
    assert!(recorded.iter().all(|line| words.contains(line)), "{words:?}");
    assert_eq!(
        get(&double, "/api/tags").await["models"][0]["name"],
        "c:latest",
        "the newest first"
    );
    assert_eq!((double.asked(Route::Pull), double.asked(Route::PostBlob)), (2, 3));
}

#[tokio::test]
async fn a_body_is_dripped_stalled_and_cut() {
    let double = Double::start().await;
    let gate = Gate::new();
    let mut steps = vec![Step::Drip("{\"status\":\"a\"}".to_owned()), Step::Wait(gate.clone())];
    steps.extend(Step::lines(["{\"status\":\"b\"}"]));
    steps.push(Step::Cut);
    double.on(Route::Pull, Answer::Stream(steps));
    let mut body = pull(&double, "m").send().await.unwrap().bytes_stream();
    let mut told = Vec::new();
    while !told.ends_with(b"\n") {
        told.extend(body.next().await.unwrap().unwrap());
    }
    assert_eq!(told, b"{\"status\":\"a\"}\n");
    assert_eq!(double.state().pulls, 1);
    gate.open();
    assert_eq!(body.next().await.unwrap().unwrap(), "{\"status\":\"b\"}\n");
    assert!(body.next().await.unwrap().is_err(), "no last chunk");
    drop(body);

    let flood = [Step::Flood("{\"status\":\"x\"}".to_owned()), Step::Cut];
    for steps in [
        vec![Step::Wait(Gate::new())],
        vec![Step::Long(200 << 10), Step::Wait(Gate::new())],
        flood.into(),
    ] {
        double.on(Route::Pull, Answer::Stream(steps));
        let body = pull(&double, "m").send().await.unwrap();
        assert_eq!(double.state().pulls, 1);
        drop(body);
        until(|| double.state().pulls == 0).await;
    }
    double.on(Route::Pull, Answer::Recorded("pull-server-sigkill"));
    let body = pull(&double, "m").send().await.unwrap();
    assert!(body.text().await.is_err(), "as a killed server leaves it");
    assert_eq!(double.most_pulls(), 1);
}

#[tokio::test]
async fn the_port_is_late_busy_deaf_gone_or_somebody_elses() {
    let mut double = Double::start().await;
    let version = |double: &Double| client().get(format!("{}/api/version", double.url())).send();
    let gate = Gate::new();
    double.on(Route::Version, Answer::Late(gate.clone(), Box::new(Answer::Usual)));
    let late = tokio::spawn(version(&double));
    until(|| double.asked(Route::Version) == 1).await;
    assert!(!late.is_finished());
    gate.open();
    assert_eq!(
        late.await.unwrap().unwrap().text().await.unwrap(),
        "{\"version\":\"0.34.0\"}"
    );

    double.be(Mode::Busy);
    assert_eq!(version(&double).await.unwrap().status(), 503);
    double.be(Mode::Html);
    assert!(
        version(&double)
            .await
            .unwrap()
            .text()
            .await
            .unwrap()
            .starts_with("<!DOCTYPE")
    );
    double.be(Mode::Deaf);
    let asked = client()
        .get(double.url())
        .timeout(Duration::from_millis(200))
        .send()
        .await;
    assert!(asked.unwrap_err().is_timeout());
    double.be(Mode::Ollama);
    double.down().await;
    assert!(version(&double).await.unwrap_err().is_connect());
    double.up().await;
    assert_eq!(version(&double).await.unwrap().status(), 200);

    double.state().write(&"m".parse().unwrap(), vec![]);
    let truth = get(&double, "/api/tags").await;
    double.state().lies = true;
    assert_ne!(get(&double, "/api/tags").await, truth);
    double.state().forgets = true;
    double.state().write(&"n".parse().unwrap(), vec![]);
    assert_eq!(get(&double, "/api/tags").await["models"].as_array().unwrap().len(), 1);
}

#[tokio::test]
#[should_panic(expected = "nobody scripted: [\n    \"POST /api/me\",\n]")]
async fn what_nobody_scripted_fails_the_test() {
    let double = Double::start().await;
    let answer = client().post(format!("{}/api/me", double.url())).send().await;
    assert_eq!(answer.unwrap().status(), 501);
}
