use std::collections::BTreeSet;

use async_trait::async_trait;

use super::*;
use crate::{
    backend::{Backend, CreateSpec},
    engines::{Engine, Entry},
    manager::OperationKind,
    model::{Level, ModelName, Reason},
};

/// An engine that answers no question.
#[derive(Debug)]
struct Mute;

#[async_trait]
impl Backend for Mute {
    fn endpoint(&self) -> String {
        "nowhere".to_owned()
    }

    fn capabilities(&self) -> BTreeSet<Capability> {
        BTreeSet::new()
    }

    async fn probe(&self) -> Result<String, Error> {
        std::future::pending().await
    }

    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        std::future::pending().await
    }

    async fn inspect(&self, _name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        std::future::pending().await
    }

    async fn pull(&self, _spec: PullSpec) -> Result<Box<dyn Call>, Error> {
        std::future::pending().await
    }

    async fn create(&self, _spec: CreateSpec) -> Result<Box<dyn Call>, Error> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_answers_no_question_is_told_as_stalled() {
    let engine = Engine::new("mute", Arc::new(Mute));
    let entry = Entry {
        name: "mute".to_owned(),
        framework: "embedded".to_owned(),
        engine: Some(engine.clone()),
        desired: vec![],
        advertise: None,
    };
    let task = Task {
        kind: OperationKind::Pull,
        entry: Arc::new(entry),
        engine,
        name: "m".parse().unwrap(),
        from: From::Registry { insecure: false },
        digest: None,
        level: Level::OnDisk,
    };
    let start = Instant::now();
    let failure = planned(&task).await.unwrap_err();
    assert_eq!(failure.reason, Reason::EngineStalled, "{failure}");
    assert_eq!(start.elapsed(), QUESTION);
}
