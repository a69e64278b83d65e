//! What is wrong with a store is told to the log once a change, not once a question.
//!
//! Alone in its program: the counting subscriber is the whole process's.

#![allow(clippy::unwrap_used, dead_code)]

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering},
};

use model_control::backend::Backend as _;
use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

#[path = "store/support.rs"]
mod support;

use support::{Scene, model};

static WARNINGS: AtomicUsize = AtomicUsize::new(0);

struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        WARNINGS.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn a_problem_is_told_once_a_change() {
    tracing::subscriber::set_global_default(Counter).unwrap();
    let scene = Scene::new();
    let told = async || {
        for _ in 0..3 {
            scene.engine.list().await.unwrap();
            scene.inspect("broken").await;
        }
        WARNINGS.swap(0, Ordering::Relaxed)
    };
    scene.made("broken", &model(1)).await;
    scene.made("whole", &model(2)).await;
    assert_eq!(told().await, 0);
    let path = scene.manifest("broken:latest");
    let whole = fs::read(&path).unwrap();
    for content in ["{", "{}", "[1]"] {
        fs::write(&path, content).unwrap();
        assert_eq!(told().await, 1, "{content}");
    }
    fs::write(&path, whole).unwrap();
    assert_eq!(told().await, 0);
    fs::remove_file(scene.blob(&scene.weights("broken:latest"))).unwrap();
    assert_eq!(told().await, 1);
    // Two spellings of one name.
    fs::copy(scene.manifest("whole:latest"), scene.manifest("whole:LATEST")).unwrap();
    assert_eq!(told().await, 1);
}
