//! Waits on Ollama while it says nothing. That counts as progress as long as it answers another question, and no longer: who
//! follows the work gives up an Ollama that hangs.

use std::{future::Future, pin::pin, time::Duration};

use tokio::time::timeout;

use super::{client::Client, wire::Version};
use crate::{backend::call::TaskReporter, model::Event};

/// Waits for something, and asks Ollama so often whether it still runs.
pub(super) async fn bear<T>(
    client: &Client,
    reporter: &TaskReporter,
    every: Duration,
    thing: impl Future<Output = T>,
) -> T {
    let mut thing = pin!(thing);
    loop {
        if let Ok(thing) = timeout(every, &mut thing).await {
            return thing;
        }
        if client.get::<Version>("/api/version").await.is_ok() {
            reporter.report(Event::Alive).await;
        }
    }
}
