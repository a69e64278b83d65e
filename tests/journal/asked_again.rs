//! What each kind of operation does when it is asked again: journals as a killed service leaves them, at moments that no
//! kill meets reliably.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model_control::grpc::proto::v1::{
    ListRequest, Operation,
    operation::{Outcome, State},
};
use serde_json::{Value, json};

use super::{
    client, create, get,
    service::{Home, Service},
    soon, start, state, watch,
};

const HOUR: Duration = Duration::from_hours(1);

/// A store with `a` and `copy-of-a` of one content and `other` of another, and no service.
async fn home() -> Home {
    let home = Home::new();
    let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/tiny.gguf");
    fs::copy(tiny, home.model("tiny.gguf")).unwrap();
    home.write_model("other.gguf", 1);
    let service = start(&home);
    create(&service, &home, "a", "tiny.gguf").await.unwrap();
    create(&service, &home, "copy-of-a", "tiny.gguf").await.unwrap();
    create(&service, &home, "other", "other.gguf").await.unwrap();
    service.terminate();
    home
}

/// Leaves a running operation in the journal.
fn leave(home: &Home, number: u32, kind: &str, name: &str, intent: &Value) -> String {
    leave_with(home, number, kind, name, intent, Duration::ZERO, 0)
}

fn leave_with(home: &Home, number: u32, kind: &str, name: &str, intent: &Value, age: Duration, times: u32) -> String {
    let since = (SystemTime::now() - age).duration_since(UNIX_EPOCH).unwrap();
    let payload = json!({
        "label": {"kind": kind, "backend": "one", "name": format!("registry.ollama.ai/library/{name}:latest")},
        "create_time": {"secs_since_epoch": since.as_secs(), "nanos_since_epoch": 0},
        "intent": intent,
        "keep": true,
        "taken_up": times,
    });
    let id = format!("00000000-0000-7000-8000-{number:012}");
    let body = format!("b {id} {} {payload}", since.as_millis());
    let mut journal = fs::File::options()
        .append(true)
        .open(home.path("state/operations.journal"))
        .unwrap();
    writeln!(journal, "1 {:08x} {body}", crc32fast::hash(body.as_bytes())).unwrap();
    id
}

async fn end(service: &Service, id: &str) -> Operation {
    watch(service, id, 0).await.1
}

fn reason(operation: &Operation) -> (State, String, String) {
    let Some(Outcome::Failure(failure)) = &operation.outcome else {
        return (state(operation), String::new(), String::new());
    };
    (state(operation), failure.reason.clone(), failure.message.clone())
}

async fn names(service: &Service) -> Vec<String> {
    let listed = soon(client(service).await.list(ListRequest::default())).await.unwrap();
    listed.into_inner().models.into_iter().map(|model| model.name).collect()
}

fn delete() -> Value {
    json!({"Change": {"change": {"Delete": {"allow_missing": false, "unload": false}}, "force": false}})
}

fn copy(source: &str) -> Value {
    let source = format!("registry.ollama.ai/library/{source}:latest");
    json!({"Change": {"change": {"Copy": {"source": source, "replace": false}}, "force": false}})
}

/// What brings a model on disk.
fn bring(source: &Value) -> Value {
    let target = json!({
        "level": "OnDisk",
        "options": {"context_length": null, "engine_options": {}},
        "keep_alive": "Default",
        "pin": false,
    });
    json!({"Bring": {"source": source, "digest": null, "target": target}})
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_find_their_own_work_done() {
    let home = home().await;
    let ids = [
        leave(&home, 1, "Delete", "gone", &delete()),
        leave(&home, 2, "Copy", "copy-of-a", &copy("a")),
        leave(&home, 3, "Copy", "new", &copy("other")),
        leave(&home, 4, "Copy", "lost", &copy("nothing")),
    ];
    let taken = leave(&home, 5, "Copy", "a", &copy("other"));
    let service = start(&home);
    for (id, changed) in ids[..3].iter().zip([false, false, true]) {
        let ended = end(&service, id).await;
        assert_eq!(state(&ended), State::Succeeded, "{ended:?}");
        match ended.outcome.unwrap() {
            Outcome::DeleteModel(result) => assert_eq!(result.freed_bytes, 0),
            Outcome::Copy(result) => assert!(result.model.is_some(), "{changed}"),
            outcome => panic!("{outcome:?}"),
        }
    }
    assert_eq!(reason(&end(&service, &ids[3]).await).1, "MODEL_NOT_FOUND");
    // Two copies hold `other`: one of them is first, and the other is told.
    let (ended, reason, message) = reason(&end(&service, &taken).await);
    assert_eq!(ended, State::Failed);
    assert!(
        reason == "MODEL_EXISTS" || (reason == "INTERRUPTED" && message.contains("other work")),
        "{message}"
    );
    assert_eq!(
        names(&service).await,
        ["a:latest", "copy-of-a:latest", "new:latest", "other:latest"]
    );
    service.kill();

    // Half-way or not begun: the model goes.
    let id = leave(&home, 6, "Delete", "new", &delete());
    let service = start(&home);
    assert_eq!(state(&end(&service, &id).await), State::Succeeded);
    assert_eq!(names(&service).await, ["a:latest", "copy-of-a:latest", "other:latest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn creates_find_their_content_and_stay_beneath_the_roots() {
    let home = home().await;
    let from = |path: &Path| {
        bring(&json!({"Path": {"path": path.display().to_string(), "options": options(), "replace": false}}))
    };
    let done = leave(&home, 1, "CreateFromPath", "a", &from(&home.model("tiny.gguf")));
    let fresh = leave(&home, 2, "CreateFromPath", "fresh", &from(&home.model("tiny.gguf")));
    let outside = leave(&home, 3, "CreateFromPath", "outside", &from(&home.path("configs.yaml")));
    let gone = leave(&home, 4, "CreateFromPath", "gone", &from(&home.model("gone.gguf")));
    let configured = bring(&json!({"Configured": {"options": options()}}));
    let configured = leave(&home, 5, "EnsureReady", "unconfigured", &configured);
    let present = leave(
        &home,
        6,
        "EnsureReady",
        "other",
        &bring(&json!({"Registry": {"insecure": false}})),
    );
    let service = start(&home);
    for (id, changed) in [(done, false), (fresh, true)] {
        let ended = end(&service, &id).await;
        let Some(Outcome::CreateFromPath(result)) = ended.outcome else {
            panic!("{ended:?}");
        };
        assert_eq!(result.changed, changed);
    }
    assert_eq!(reason(&end(&service, &outside).await).1, "PATH_NOT_ALLOWED");
    assert_eq!(reason(&end(&service, &gone).await).1, "PATH_NOT_FOUND");
    let (_, reason, message) = reason(&get(&service, &configured).await.unwrap());
    assert_eq!(reason, "INTERRUPTED");
    assert!(message.contains("path is not configured"), "{message}");
    let ended = end(&service, &present).await;
    assert!(
        matches!(ended.outcome, Some(Outcome::EnsureReady(ref result)) if !result.changed),
        "{ended:?}"
    );
}

fn options() -> Value {
    serde_json::to_value(model_control::model::ImportOptions::default()).unwrap()
}

/// Each is told why, and nothing is done.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_again_is_told() {
    let home = home().await;
    let registry = bring(&json!({"Registry": {"insecure": false}}));
    let all = [
        (leave_with(&home, 1, "Delete", "a", &delete(), HOUR, 0), "too long ago"),
        (
            leave_with(&home, 2, "EnsureReady", "b", &registry, HOUR, 20),
            "20 times",
        ),
        (
            leave(&home, 3, "Pull", "c", &json!({"Later": {}})),
            "not known any more",
        ),
        (leave(&home, 4, "Pull", "d", &Value::Null), "not known any more"),
    ];
    let mut load = bring(&json!("Present"));
    load["Bring"]["target"]["level"] = json!("Loaded");
    let load = leave(&home, 5, "Load", "a", &load);
    let service = start(&home);
    // Nothing is installed that could do it again.
    let (_, interrupted, message) = reason(&end(&service, &load).await);
    assert_eq!(interrupted, "INTERRUPTED");
    assert!(message.contains("llama-server"), "{message}");
    for (id, why) in &all {
        let operation = get(&service, id).await.unwrap();
        let (state, reason, message) = reason(&operation);
        assert_eq!((state, reason.as_str()), (State::Failed, "INTERRUPTED"), "{why}");
        assert!(message.contains(why) && message.contains("restart"), "{message}");
        assert!(operation.create_time.is_some() && operation.end_time.is_some());
    }
    assert!(names(&service).await.contains(&"a:latest".to_owned()));
    service.kill();
    // Told once and for all.
    let service = start(&home);
    for (id, _) in &all {
        assert_eq!(state(&get(&service, id).await.unwrap()), State::Failed);
    }
}
