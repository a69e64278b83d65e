//! The exchange for a token, as Distribution describes it: a GET with a user and a password or with nothing, or a POST of a
//! refresh token (OAuth 2).

use std::time::Duration;

use http::{HeaderValue, header};
use reqwest::{Method, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::{Access, Scope, challenge::Challenge};
use crate::backend::{
    embedded::registry::{
        credentials::{Credential, Table},
        fault::{self, Place, Thing},
        redirect,
        remote::Fault,
        wire::{Ask, Use, Wire},
    },
    registries::Origin,
};

/// Bytes of an answer with a token, and of an error's text.
const MAX_ANSWER: u64 = 64 << 10;
const MAX_ERROR: u64 = 8 << 10;
/// What a registry may ask us to ask for.
const MAX_SCOPE: usize = 512;
/// A token is renewed this long before it ends; one that lives no longer is used for one request.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a token is kept at most, and when its end is not told.
const LONGEST: Duration = Duration::from_hours(1);
const UNTOLD: u64 = 60;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// A token.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) until: Instant,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Asks the source of tokens that the registry names.
pub(super) async fn fetch(wire: &Wire, challenge: &Challenge, scope: &Scope, table: &Table) -> Result<Token, Fault> {
    let registry = &scope.registry;
    let asked = Place { registry, at: registry };
    let realm = challenge.get("realm").and_then(|realm| Url::parse(realm).ok());
    let realm = realm.ok_or_else(|| fault::protocol(&asked, "does not say where its tokens come from"))?;
    let origin = Origin::of(&realm)
        .filter(|_| realm.username().is_empty() && realm.password().is_none())
        .ok_or_else(|| fault::protocol(&asked, "has its tokens come from what is no web address"))?;
    if origin.plain_http && !registry.plain_http {
        return Err(fault::downgrade(&asked));
    }
    // Each place gets its own credentials, whoever sends us there. Where the request may go is the guard's.
    let credential = table.of(&origin);
    let asked_at = Instant::now();
    let ask = ask(realm, challenge, scope, origin == *registry, credential);
    let (response, at) = redirect::follow(wire, ask, registry).await?;
    let place = Place { registry, at: &at };
    let (status, headers) = (response.status(), response.headers().clone());
    if !status.is_success() {
        let (body, _) = wire.excerpt(response, MAX_ERROR, &place).await.unwrap_or_default();
        return Err(fault::status(
            &place,
            Thing::Token,
            status,
            &headers,
            fault::quote(&body).as_deref(),
        ));
    }
    let body = wire.body(response, MAX_ANSWER, &place).await?;
    let unreadable = || fault::protocol(&place, "gave no token that can be read");
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| unreadable())?;
    let some = |text: Option<String>| text.filter(|text| !text.is_empty());
    let text = some(answer.token)
        .or_else(|| some(answer.access_token))
        .ok_or_else(unreadable)?;
    let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(UNTOLD)).min(LONGEST);
    Ok(Token {
        text,
        until: asked_at + lifetime.saturating_sub(MARGIN),
    })
}

/// What is asked of a service elsewhere is to pull this repository, or to push to it, whatever the registry would have us ask
/// for: it gets the token. At home a push asks for what the challenge says, which may name a repository to mount from; a
/// challenge to a question that comes before the push says less than the push needs.
fn ask(mut realm: Url, challenge: &Challenge, scope: &Scope, at_home: bool, credential: Option<&Credential>) -> Ask {
    let fitting = |text: &&str| !text.is_empty() && text.len() <= MAX_SCOPE;
    let service = challenge.get("service").filter(fitting);
    let to_pull = format!("repository:{}:pull", scope.repository);
    let own = match scope.access {
        Access::Pull => to_pull.clone(),
        Access::Push => format!("{to_pull},push"),
    };
    let wanted = challenge
        .get("scope")
        .filter(|_| at_home || credential.is_none())
        .filter(fitting)
        .filter(|told| *told != to_pull)
        .map_or(own, str::to_owned);
    realm.set_fragment(None);
    if let Some(Credential::Identity(refresh)) = credential {
        // The serializer of URLs writes forms as well.
        let mut form = realm.clone();
        form.query_pairs_mut()
            .clear()
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "model-control")
            .append_pair("service", service.unwrap_or_default())
            .append_pair("scope", &wanted)
            .append_pair("refresh_token", refresh);
        let mut ask = Ask::get(Use::Control, realm);
        ask.method = Method::POST;
        ask.headers.insert(header::CONTENT_TYPE, FORM);
        ask.body = form.query().unwrap_or_default().to_owned().into();
        return ask;
    }
    let mut query = realm.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", &wanted);
    drop(query);
    let mut ask = Ask::get(Use::Control, realm);
    ask.authorization = credential.and_then(Credential::basic);
    ask
}
