//! Removes a model.

use reqwest::Method;

use super::{Shared, list, recent::Changes, wire::life::Named};
use crate::{
    backend::{Error, Kind},
    model::ModelName,
};

/// The bytes that came free, at least: Ollama does not tell them, nor which layers it shares. A model whose weights another
/// has freed nothing worth telling; any other has freed all of its layers, but for small texts that others may have.
pub(super) async fn run(shared: &Shared, name: &ModelName) -> Result<u64, Error> {
    let client = &shared.client;
    // A create that was cancelled is still being made, and would bring back what is removed now.
    let _held = shared.names.hold_soon(name).await?;
    let _changes = Changes(&shared.recent);
    let all = list::all(shared).await?;
    let absent = || Error::new(Kind::NotFound, format!("Ollama has no model `{name}`"));
    let model = list::named(name, all.iter().cloned()).ok_or_else(absent)?;
    // It would remove the model with the tag `latest`.
    super::not_reserved(name, "remove")?;
    let others_have_it = !shared.weights.sharing(client, &model, &all).await.is_empty();
    let text = model.name.to_string();
    let ordered = client
        .order(Method::DELETE, "/api/delete", &Named { model: &text })
        .await;
    // Without its answer, or when somebody was quicker, the list says what became of it.
    if let Err(error) = &ordered
        && !matches!(error.kind, Kind::Unreachable | Kind::NotFound)
    {
        return ordered.map(|()| 0);
    }
    match (list::find(shared, name).await, ordered) {
        (Ok(None), _) => Ok(if others_have_it { 0 } else { model.size_bytes }),
        (_, Err(error)) | (Err(error), Ok(())) => Err(error),
        (Ok(Some(_)), Ok(())) => Err(Error::new(
            Kind::Protocol,
            format!("Ollama said that it removed `{}`, and lists it still", model.name),
        )),
    }
}
