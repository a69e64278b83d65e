//! What a registry answered Ollama: a status that leads the text, `403: …`, says all; its words may say anything.

use super::{Doing, Meaning};

/// Before what a manifest's registry answered.
const MANIFEST: &str = "pull model manifest: ";

/// What the status means that leads the text, when one does and it means the same whatever follows.
pub(super) fn status(doing: Doing, low: &str) -> Option<(Meaning, &'static str)> {
    let refused = low.strip_prefix(MANIFEST);
    let (number, _body) = refused.unwrap_or(low).split_once(':')?;
    let number: u16 = number.parse().ok().filter(|_| number.len() == 3)?;
    let pulling = match doing {
        Doing::Pulling => true,
        Doing::Pushing => false,
        _ => return None,
    };
    Some(match number {
        // It has the repository and gives no such model: an unknown quantization, a model in several files.
        400 if refused.is_some() => (Meaning::NameInvalid, "the registry gives no model of that name"),
        401 | 403 => (Meaning::RegistryCredentials, "the registry refuses Ollama"),
        404 if pulling => (Meaning::NotFound, "the registry has no such model"),
        404 | 405 if !pulling => (Meaning::Protocol, "the registry takes no model of that name"),
        429 => (Meaning::RegistryBusy, "the registry has too much to do"),
        408 | 500..600 => (Meaning::RegistryUnreachable, "the registry does not serve Ollama"),
        _ => return None,
    })
}

/// The text without the URLs that it quotes: their names and numbers mean nothing.
pub(super) fn without_urls(low: &str) -> String {
    let (mut kept, mut rest) = (String::new(), low);
    while let Some(begin) = rest.find("\"http://").or_else(|| rest.find("\"https://")) {
        let (before, url) = rest.split_at(begin);
        kept.push_str(before);
        rest = url[1..].split_once('"').map_or("", |(_url, after)| after);
    }
    kept + rest
}
