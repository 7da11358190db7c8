//! Webhooks: signed deliveries, kept with what came of them, and sent again when asked.
//!
//! Sources: [headers and payloads](https://docs.github.com/en/webhooks/webhook-events-and-payloads),
//! [signatures](https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries),
//! [deliveries](https://docs.github.com/en/rest/repos/webhooks): nothing is sent again by itself.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::sync::mpsc;

use super::Shared;
use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::form::Form;
use super::state::{Delivery, Hook, State};

/// Who does not answer within this is not waited for ([best practices](https://docs.github.com/en/webhooks/using-webhooks/best-practices-for-using-webhooks)).
const DEADLINE: Duration = Duration::from_secs(10);

/// Deliveries kept for each hook, and those that wait to be sent.
const KEPT: usize = 200;
const QUEUE: usize = 4096;

/// What a payload is about.
pub(super) struct About<'a> {
    pub(super) repository: &'a str,
    pub(super) sender: &'a str,
    pub(super) event: &'a str,
    pub(super) action: Option<&'a str>,
}

/// A delivery on its way.
pub(super) struct Sending {
    repository: String,
    hook: u64,
    url: String,
    secret: Option<String>,
    delivery: Delivery,
}

/// The sending end; the task behind it ends when this is dropped.
pub(super) type Post = mpsc::Sender<Sending>;

/// Begins to send what comes out of the queue, one after the other.
pub(super) fn start(client: reqwest::Client) -> (Post, impl FnOnce(Weak<Shared>)) {
    let (post, mut queue) = mpsc::channel::<Sending>(QUEUE);
    let begin = move |shared: Weak<Shared>| {
        tokio::spawn(async move {
            while let Some(sending) = queue.recv().await {
                let code = send(&client, &sending).await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                keep(&shared, sending, code).await;
            }
        });
    };
    (post, begin)
}

async fn send(client: &reqwest::Client, sending: &Sending) -> u16 {
    let delivery = &sending.delivery;
    let mut request = client
        .post(&sending.url)
        .timeout(DEADLINE)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, "GitHub-Hookshot/simulated")
        .header("x-github-delivery", &delivery.guid)
        .header("x-github-event", &delivery.event)
        .header("x-github-hook-id", sending.hook)
        .header("x-github-hook-installation-target-type", "repository");
    if let Some(secret) = &sending.secret {
        let signature = sign(secret, delivery.body.as_bytes());
        request = request.header("x-hub-signature-256", signature);
    }
    let sent = request.body(delivery.body.clone()).send().await;
    sent.map_or(0, |response| response.status().as_u16())
}

async fn keep(shared: &Arc<Shared>, sending: Sending, code: u16) {
    let mut state = shared.state.lock().await;
    let repository = state.repositories.get_mut(&sending.repository);
    let hook = repository.and_then(|it| it.hooks.get_mut(&sending.hook));
    let Some(hook) = hook else { return };
    if hook.deliveries.len() >= KEPT {
        hook.deliveries.remove(0);
    }
    let mut delivery = sending.delivery;
    delivery.code = code;
    hook.deliveries.push(delivery);
    shared.delivered.send_modify(|count| *count += 1);
}

/// The value of `X-Hub-Signature-256`.
fn sign(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .expect("HMAC takes a key of any length (RFC 2104)");
    mac.update(body);
    let mut text = "sha256=".to_owned();
    for byte in mac.finalize().into_bytes() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// Tells every hook of the repository that asked for the event.
pub(super) fn tell(
    shared: &Shared,
    state: &mut State,
    about: &About<'_>,
    mut payload: Value,
    now: Timestamp,
) {
    let Some(repository) = state.repositories.get(about.repository) else {
        return;
    };
    let asked = |hook: &Hook| hook.events.iter().any(|it| it == about.event || it == "*");
    let hooks: Vec<u64> = repository
        .hooks
        .values()
        .filter(|hook| about.event == "ping" || asked(hook))
        .map(|hook| hook.id)
        .collect();
    if hooks.is_empty() {
        return;
    }
    let form = Form {
        state,
        api: &shared.site,
        site: &shared.site,
    };
    if let Some(action) = about.action {
        payload["action"] = json!(action);
    }
    payload["repository"] = form.repository(repository);
    payload["sender"] = form.user(about.sender);
    for hook in hooks {
        let mut payload = payload.clone();
        if about.event == "ping" {
            payload["hook_id"] = json!(hook);
        }
        let delivery = Delivery {
            id: state.new_id(),
            guid: guid(),
            event: about.event.to_owned(),
            action: about.action.map(str::to_owned),
            body: payload.to_string(),
            redelivery: false,
            at: now,
            code: 0,
        };
        enqueue(shared, state, (about.repository, hook), delivery);
    }
}

fn enqueue(shared: &Shared, state: &State, (name, id): (&str, u64), delivery: Delivery) {
    let repository = state.repositories.get(name);
    let Some(hook) = repository.and_then(|it| it.hooks.get(&id)) else {
        return;
    };
    let sending = Sending {
        repository: name.to_owned(),
        hook: id,
        url: hook.url.clone(),
        secret: hook.secret.clone(),
        delivery,
    };
    if shared.post.try_send(sending).is_err() {
        tracing::warn!("a webhook is lost: the queue is full");
    }
}

/// Tells the hooks of a pull request.
pub(super) fn tell_pull(
    shared: &Shared,
    state: &mut State,
    (name, number): (&str, u64),
    (sender, action, more): (&str, &str, Value),
    now: Timestamp,
) {
    let form = Form {
        state,
        api: &shared.site,
        site: &shared.site,
    };
    let Some(repository) = state.repositories.get(name) else {
        return;
    };
    let Some(pull) = repository.pulls.get(&number) else {
        return;
    };
    let mut payload =
        json!({ "number": number, "pull_request": form.pull(repository, pull, None) });
    for (name, value) in more.as_object().into_iter().flatten() {
        payload[name] = value.clone();
    }
    let about = About {
        repository: name,
        sender,
        event: "pull_request",
        action: Some(action),
    };
    tell(shared, state, &about, payload, now);
}

/// A UUID of version 4 that nobody can guess well enough for a simulator.
pub(super) fn guid() -> String {
    let draw = || RandomState::new().hash_one(0_u8);
    let (one, two) = (draw(), draw());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        one >> 32,
        (one >> 16) & 0xffff,
        one & 0xfff,
        two >> 52,
        two & 0xffff_ffff_ffff
    )
}

pub(super) fn list(call: &Call<'_>) -> Answer {
    let hooks: Vec<&Hook> = call.repository()?.hooks.values().collect();
    call.listed(hooks, |hook| shown(call, hook))
}

pub(super) fn create(call: &mut Call<'_>) -> Answer {
    let config = &call.body["config"];
    let Some(url) = config["url"].as_str().map(str::to_owned) else {
        return Err(Refusal::invalid("Hook", "url", "missing_field"));
    };
    let secret = config["secret"].as_str().map(str::to_owned);
    let mut events = call.texts("events");
    if events.is_empty() {
        events.push("push".to_owned());
    }
    let hook = Hook {
        id: call.state.new_id(),
        url,
        secret,
        events,
        created_at: call.now,
        deliveries: Vec::new(),
    };
    let form = shown(call, &hook);
    call.repository_mut()?.hooks.insert(hook.id, hook);
    call.tell("ping", None, json!({ "zen": "Keep it logically awesome." }));
    Ok(Reply::new(201, form))
}

/// Deliveries of a hook, newest first.
pub(super) fn deliveries(call: &Call<'_>) -> Answer {
    let hook = hook(call)?;
    let repository = call.repository()?.id;
    let newest: Vec<&Delivery> = hook.deliveries.iter().rev().collect();
    call.listed(newest, |delivery| {
        json!({
            "id": delivery.id,
            "guid": delivery.guid,
            "delivered_at": delivery.at.to_string(),
            "redelivery": delivery.redelivery,
            "duration": 0.01,
            "status": if delivery.code == 0 { "failed to connect to host" } else { "OK" },
            "status_code": delivery.code,
            "event": delivery.event,
            "action": delivery.action,
            "installation_id": null,
            "repository_id": repository,
        })
    })
}

/// Sends one again: the same `X-GitHub-Delivery`, the same body.
pub(super) fn redeliver(call: &mut Call<'_>) -> Answer {
    let wanted = call.number(1)?;
    let hook = hook(call)?;
    let id = hook.id;
    let found = hook.deliveries.iter().find(|it| it.id == wanted).cloned();
    let mut delivery = found.ok_or_else(Refusal::not_found)?;
    delivery.id = call.state.new_id();
    delivery.redelivery = true;
    delivery.at = call.now;
    enqueue(call.shared, call.state, (&call.name, id), delivery);
    Ok(Reply::new(202, json!({})))
}

fn hook<'a>(call: &'a Call<'_>) -> Result<&'a Hook, Refusal> {
    let hook = call.repository()?.hooks.get(&call.number(0)?);
    hook.ok_or_else(Refusal::not_found)
}

fn shown(call: &Call<'_>, hook: &Hook) -> Value {
    let url = call.repository().map(|it| call.form().url(it));
    let own = format!("{}/hooks/{}", url.unwrap_or_default(), hook.id);
    let last = hook.deliveries.last().map(|it| it.code);
    let mut form = json!({
        "type": "Repository",
        "id": hook.id,
        "name": "web",
        "active": true,
        "events": hook.events,
        "config": {
            "url": hook.url,
            "content_type": "json",
            "insecure_ssl": "0",
        },
        "created_at": hook.created_at.to_string(),
        "updated_at": hook.created_at.to_string(),
        "url": own,
        "test_url": format!("{own}/test"),
        "ping_url": format!("{own}/pings"),
        "deliveries_url": format!("{own}/deliveries"),
        "last_response": { "code": last, "status": if last.is_some() { "active" } else { "unused" }, "message": null },
    });
    if hook.secret.is_some() {
        form["config"]["secret"] = json!("********");
    }
    form
}
