//! An engine whose every request is counted, timed and, on behalf of somebody who is traced, a span.

use std::{
    collections::BTreeSet,
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use tokio::sync::watch;
use tracing::{Instrument as _, Span};

use super::{Backend, Call, Cancelled, CopySpec, CreateSpec, Death, Error, LoadSpec, Next, PullSpec, PushSpec};
use crate::{
    model::{Canary, Capability, Details, ModelInfo, ModelName, Protocol, Running, Unloaded},
    telemetry::{metrics, trace},
};

/// The engine, and the entry that named it first: entries that share it are one here.
#[derive(Debug)]
pub struct Observed {
    inner: Arc<dyn Backend>,
    backend: Arc<str>,
}

/// One request. Told about once; one that is dropped was given up by who asked.
struct Request {
    backend: Arc<str>,
    method: &'static str,
    began: Instant,
    span: Span,
    told: bool,
}

/// Long work, until it ends.
struct Following {
    inner: Option<Box<dyn Call>>,
    request: Request,
}

// === impl Observed ===

impl Observed {
    /// Observes an engine.
    pub fn new(inner: Arc<dyn Backend>, backend: &str) -> Self {
        Self {
            inner,
            backend: backend.into(),
        }
    }

    fn request(&self, method: &'static str) -> Request {
        Request {
            backend: Arc::clone(&self.backend),
            method,
            began: Instant::now(),
            span: trace::engine_call(&self.backend, || self.inner.endpoint(), method),
            told: false,
        }
    }

    async fn ask<T>(
        &self,
        method: &'static str,
        question: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let mut request = self.request(method);
        let answer = question.instrument(request.span.clone()).await;
        request.end(answer.as_ref().err());
        answer
    }

    async fn begin(
        &self,
        method: &'static str,
        work: impl Future<Output = Result<Box<dyn Call>, Error>> + Send,
    ) -> Result<Box<dyn Call>, Error> {
        let mut request = self.request(method);
        match work.instrument(request.span.clone()).await {
            Ok(call) => Ok(Box::new(Following {
                inner: Some(call),
                request,
            })),
            Err(error) => {
                request.end(Some(&error));
                Err(error)
            }
        }
    }
}

#[async_trait]
impl Backend for Observed {
    fn endpoint(&self) -> String {
        self.inner.endpoint()
    }

    fn capabilities(&self) -> BTreeSet<Capability> {
        self.inner.capabilities()
    }

    fn missing(&self, capability: Capability) -> Option<Error> {
        self.inner.missing(capability)
    }

    fn protocols(&self) -> Vec<Protocol> {
        self.inner.protocols()
    }

    fn departures(&self) -> Option<watch::Receiver<u64>> {
        self.inner.departures()
    }

    fn death(&self, name: &ModelName) -> Option<Death> {
        self.inner.death(name)
    }

    async fn probe(&self) -> Result<String, Error> {
        self.ask("probe", self.inner.probe()).await
    }

    async fn list(&self) -> Result<Vec<Arc<ModelInfo>>, Error> {
        self.ask("list", self.inner.list()).await
    }

    async fn inspect(&self, name: &ModelName) -> Result<Option<Arc<ModelInfo>>, Error> {
        self.ask("inspect", self.inner.inspect(name)).await
    }

    async fn pull(&self, spec: PullSpec) -> Result<Box<dyn Call>, Error> {
        self.begin("pull", self.inner.pull(spec)).await
    }

    async fn create(&self, spec: CreateSpec) -> Result<Box<dyn Call>, Error> {
        self.begin("create", self.inner.create(spec)).await
    }

    async fn show(&self, name: &ModelName, verbose: bool) -> Result<Option<Details>, Error> {
        self.ask("show", self.inner.show(name, verbose)).await
    }

    async fn delete(&self, name: &ModelName) -> Result<u64, Error> {
        self.ask("delete", self.inner.delete(name)).await
    }

    async fn copy(&self, spec: &CopySpec) -> Result<(), Error> {
        self.ask("copy", self.inner.copy(spec)).await
    }

    async fn push(&self, spec: PushSpec) -> Result<Box<dyn Call>, Error> {
        self.begin("push", self.inner.push(spec)).await
    }

    async fn load(&self, spec: LoadSpec) -> Result<Box<dyn Call>, Error> {
        self.begin("load", self.inner.load(spec)).await
    }

    async fn warm(&self, spec: &LoadSpec, timeout: Duration) -> Result<Canary, Error> {
        self.ask("warm", self.inner.warm(spec, timeout)).await
    }

    async fn unload(&self, name: &ModelName) -> Result<Unloaded, Error> {
        self.ask("unload", self.inner.unload(name)).await
    }

    async fn stop(&self) {
        self.inner.stop().await;
    }

    async fn running(&self) -> Result<Vec<Running>, Error> {
        self.ask("running", self.inner.running()).await
    }
}

// === impl Request ===

impl Request {
    fn end(&mut self, failure: Option<&Error>) {
        let failed = failure.map(|error| error.kind.word());
        self.tell(failed.unwrap_or("ok"));
        trace::engine_call_ended(&self.span, failed);
    }

    fn tell(&mut self, code: &'static str) {
        if !std::mem::replace(&mut self.told, true) {
            metrics::engine_asked(&self.backend, self.method, code, self.began.elapsed());
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.tell("given_up");
    }
}

// === impl Following ===

#[async_trait]
impl Call for Following {
    async fn next(&mut self) -> Next {
        let Some(inner) = &mut self.inner else {
            return std::future::pending().await;
        };
        let next = inner.next().instrument(self.request.span.clone()).await;
        if let Next::Ended(ended) = &next {
            self.request.end(ended.as_ref().err());
        }
        next
    }

    async fn cancel(mut self: Box<Self>) -> Cancelled {
        let Some(inner) = self.inner.take() else {
            return Cancelled::Stopped;
        };
        let cancelled = inner.cancel().instrument(self.request.span.clone()).await;
        match &cancelled {
            Cancelled::Ended(ended) => self.request.end(ended.as_ref().err()),
            Cancelled::Stopped | Cancelled::GoesOn(_) => self.request.tell("given_up"),
        }
        cancelled
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Names of functions one level deep in what follows `head`.
    fn functions(text: &'static str, head: &str) -> BTreeSet<&'static str> {
        let (_, body) = text.split_once(head).unwrap();
        let body = body.split("\n}\n").next().unwrap();
        let heads = body.lines().filter_map(|line| {
            let line = line.strip_prefix("    ")?;
            line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))
        });
        heads.map(|head| head.split('(').next().unwrap()).collect()
    }

    #[test]
    fn what_an_engine_can_be_asked_it_is_asked() {
        // A default of the port would else stand in for the engine's own answer.
        let port = functions(include_str!("../backend.rs"), "pub trait Backend");
        let passed = functions(include_str!("observed.rs"), "impl Backend for Observed");
        assert!(port.len() > 15, "{port:?}");
        assert_eq!(passed, port);
    }
}
