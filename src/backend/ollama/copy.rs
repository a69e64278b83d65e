//! Gives a model a second name.
//!
//! Ollama writes the new manifest in place, over the older one of that name; readers in that moment may see neither. Layers
//! that only the older one had stay until Ollama starts again.

use reqwest::Method;

use super::{Shared, list, recent::Changes, wire::life::CopyRequest};
use crate::backend::{CopySpec, Error, Kind};

/// All of it. What is there already with the same content is nothing to do.
pub(super) async fn run(shared: &Shared, spec: &CopySpec) -> Result<(), Error> {
    let client = &shared.client;
    super::not_reserved(&spec.destination, "copy a model to")?;
    let _changes = Changes(&shared.recent);
    // Of two names the lower one first: two copies that cross do not wait for each other.
    let mut names = [&spec.source, &spec.destination];
    names.sort();
    let _first = shared.names.hold_soon(names[0]).await?;
    let _second = match names {
        [a, b] if a == b => None,
        [_, b] => Some(shared.names.hold_soon(b).await?),
    };
    let all = list::all(shared).await?;
    let find = |name| list::named(name, all.iter().cloned());
    let Some(source) = find(&spec.source) else {
        return Err(Error::new(
            Kind::NotFound,
            format!("Ollama has no model `{}`", spec.source),
        ));
    };
    let there = find(&spec.destination);
    match &there {
        Some(there) if there.digest == source.digest => return Ok(()),
        Some(there) if !spec.replace => {
            let message = format!(
                "`{}` is there with other content: give `replace` to copy over it",
                there.name
            );
            return Err(Error::new(Kind::Exists, message));
        }
        _ => {}
    }
    let text = source.name.to_string();
    // As Ollama spells it already.
    let destination = there.map_or(spec.destination.to_string(), |there| there.name.to_string());
    let ask = CopyRequest {
        source: &text,
        destination: &destination,
    };
    let ordered = client.order(Method::POST, "/api/copy", &ask).await;
    // Without its answer the list says what became of it.
    if let Err(error) = &ordered
        && error.kind != Kind::Unreachable
    {
        return ordered;
    }
    match (list::find(shared, &spec.destination).await, ordered) {
        (Ok(Some(copy)), _) if copy.digest == source.digest => Ok(()),
        (_, Err(error)) | (Err(error), Ok(())) => Err(error),
        (Ok(_), Ok(())) => Err(Error::new(
            Kind::Protocol,
            format!(
                "Ollama said that it copied `{}`, and does not list the copy",
                source.name
            ),
        )),
    }
}
