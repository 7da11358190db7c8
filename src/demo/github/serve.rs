//! One request from the wire to its answer: faults, git or API, who asks, the budget, the operation, and the
//! answer's validator.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State as FromState};
use axum::http::header::{AUTHORIZATION, ETAG, IF_NONE_MATCH, USER_AGENT};
use axum::http::{HeaderValue, Method, StatusCode, request};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::MutexGuard;

use super::access::{self, Grant, Kind};
use super::answer::{Refusal, Reply, respond};
use super::call::Call;
use super::limits::Budget;
use super::operations::Operation;
use super::state::State;
use super::{Exchange, Shared, push, routes};

/// The largest request, and the largest answer that is spoilt on demand.
const BODY: usize = 25 << 20;

/// Where Enterprise Server has its API.
const ENTERPRISE: &str = "/api/v3";

pub(super) async fn answer(
    FromState(shared): FromState<Arc<Shared>>,
    request: Request,
) -> Response {
    let path = request.uri().path().to_owned();
    let fault = shared.fault(request.method(), &path);
    if let Some(fault) = &fault
        && let Some(instead) = fault.instead().await
    {
        shared.refused(request.method(), &path, instead.status());
        return instead;
    }
    let response = match path.trim_start_matches('/').split_once(".git/") {
        Some((name, rest)) => {
            let (name, rest) = (name.to_owned(), rest.to_owned());
            push::serve(&shared, &name, &rest, request).await
        }
        None => api(&shared, request).await,
    };
    let Some(fault) = fault else {
        return response;
    };
    let (head, body) = response.into_parts();
    match to_bytes(body, BODY).await {
        Ok(body) => fault.spoil(Response::from_parts(head, Body::empty()), body),
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(text: &str) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, text.to_owned()).into_response()
}

async fn api(shared: &Arc<Shared>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if !head.headers.contains_key(USER_AGENT) {
        let text = "Request forbidden by administrative rules. Please make sure your request has a User-Agent header.\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let Ok(body) = to_bytes(body, BODY).await else {
        return Refusal::new(413, "Payload too large").into_response();
    };
    let path = head.uri.path();
    let (prefix, path) = match path.strip_prefix(ENTERPRISE) {
        Some(rest) => (ENTERPRISE, rest),
        None if path == "/api/graphql" => ("", "/graphql"),
        None => ("", path),
    };
    let state = shared.state.lock().await;
    let now = shared.now();
    let sent = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|it| it.to_str().ok());
    let grant = match access::identify(&state, sent, now) {
        Ok(grant) => grant,
        Err(refusal) => {
            shared.refused(&head.method, path, StatusCode::UNAUTHORIZED);
            return refusal.into_response();
        }
    };
    let found = routes::find(head.method.as_str(), path);
    let is_classic = grant.kind == Kind::Classic;
    let is_free = path == "/rate_limit";
    let is_read = head.method == Method::GET || path == "/graphql";
    let budget = match is_free {
        true => shared.budget(&grant, now),
        false => match shared.spend(&grant, is_read, now) {
            Ok(budget) => budget,
            Err((refusal, budget)) => {
                let mut response = refusal.into_response();
                shared.refused(&head.method, path, response.status());
                budget.write(response.headers_mut());
                return response;
            }
        },
    };
    let asked = Asked {
        head: &head,
        path,
        prefix,
        body: &body,
        grant,
        now,
    };
    let (response, body) = operate(shared, state, found, asked, budget).await;
    let (mut head, _) = response.into_parts();
    if body.is_empty() {
        head.headers.remove("content-type");
    }
    if is_classic {
        // All that its person may do: https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/scopes-for-oauth-apps
        let scopes = HeaderValue::from_static("admin:repo_hook, repo");
        head.headers.insert("x-oauth-scopes", scopes);
    }
    Response::from_parts(head, Body::from(body))
}

/// A request that is known to come from somebody.
struct Asked<'a> {
    head: &'a request::Parts,
    path: &'a str,
    prefix: &'a str,
    body: &'a Bytes,
    grant: Grant,
    now: Timestamp,
}

async fn operate(
    shared: &Arc<Shared>,
    mut state: MutexGuard<'_, State>,
    found: Option<(&'static Operation, Vec<String>)>,
    asked: Asked<'_>,
    budget: Budget,
) -> (Response, Bytes) {
    let query: Vec<(String, String)> = asked
        .head
        .uri
        .query()
        .map(|query| {
            url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect()
        })
        .unwrap_or_default();
    let parsed = match asked.body.is_empty() {
        true => Ok(Value::Null),
        false => serde_json::from_slice(asked.body),
    };
    let body = parsed.as_ref().cloned().unwrap_or_default();
    let api = format!("{}{}", shared.site, asked.prefix);
    let answered = match (&found, parsed) {
        (None, _) => Err(Refusal::not_found()),
        (_, Err(_)) => Err(Refusal::new(400, "Problems parsing JSON")),
        (Some((operation, values)), Ok(body)) => {
            let about = operation.path.starts_with("/repos/");
            let (owned, rest) = values.split_at(if about { 2 } else { 0 });
            let mut call = Call {
                shared,
                name: owned.join("/"),
                arguments: rest.to_vec(),
                query: query.clone(),
                body,
                url: format!("{api}{}", asked.path),
                api,
                grant: asked.grant.clone(),
                now: asked.now,
                state: &mut state,
            };
            routes::run(operation, &mut call).await
        }
    };
    // Others need not wait until it is written out.
    drop(state);
    let (status, link, shown, plain) = match answered {
        Ok(Reply { status, body, link }) => (status, link, body, None),
        Err(refusal) => (refusal.status, None, None, Some(refusal.into_response())),
    };
    let mut response = match plain {
        Some(plain) => plain,
        None => Reply {
            status,
            body: None,
            link,
        }
        .into_response(),
    };
    if let Some(shown) = &shown {
        let typed = respond(status, Some(shown));
        response.headers_mut().extend(typed.headers().clone());
        *response.body_mut() = typed.into_body();
    }
    budget.write(response.headers_mut());
    let (mut head, sent) = response.into_parts();
    let mut sent = to_bytes(sent, usize::MAX).await.unwrap_or_default();
    let exchange = Exchange {
        method: asked.head.method.to_string(),
        path: asked.path.to_owned(),
        operation: found.map(|(operation, _)| format!("{} {}", operation.method, operation.path)),
        query,
        request: body,
        status,
        answer: shown.unwrap_or_else(|| serde_json::from_slice(&sent).unwrap_or_default()),
        login: asked.grant.login.clone(),
    };
    if asked.head.method == Method::GET && status == 200 {
        let validator = validator(&sent, &asked.grant.login);
        let known = asked.head.headers.get(IF_NONE_MATCH);
        if known.is_some_and(|it| it.to_str().is_ok_and(|it| it.contains(&validator))) {
            head.status = StatusCode::NOT_MODIFIED;
            sent = Bytes::new();
            let budget = shared.refund(&asked.grant, asked.now);
            budget.write(&mut head.headers);
        }
        if let Ok(validator) = HeaderValue::from_str(&validator) {
            head.headers.insert(ETAG, validator);
        }
    }
    shared.exchanged(Exchange {
        status: head.status.as_u16(),
        ..exchange
    });
    (Response::from_parts(head, Body::empty()), sent)
}

/// Weak, and one's own: what is shown depends on who asks.
fn validator(body: &[u8], login: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (body, login).hash(&mut hasher);
    format!("W/\"{:016x}\"", hasher.finish())
}
