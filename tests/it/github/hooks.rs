//! Webhooks of the simulated GitHub: signed, of GitHub's form, told once, kept, and sent again when asked.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;
use towpath::secret::Secret;

use super::recorded;
use super::site::{REPOSITORY, Site};

const WAIT: Duration = Duration::from_secs(20);

const SECRET: &str = "it's a secret to everybody";

/// Whoever webhooks are sent to: keeps them, and answers as told.
#[derive(Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    answer: Arc<AtomicU16>,
}

impl Receiver {
    async fn start() -> (Self, String) {
        let receiver = Self::default();
        receiver.answer.store(202, Ordering::SeqCst);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new().fallback(take).with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (receiver, url)
    }

    fn header(&self, index: usize, name: &str) -> String {
        let got = self.got.lock().unwrap();
        got[index].0[name].to_str().unwrap().to_owned()
    }

    fn body(&self, index: usize) -> Value {
        serde_json::from_slice(&self.got.lock().unwrap()[index].1).unwrap()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    receiver.got.lock().unwrap().push((headers, body));
    StatusCode::from_u16(receiver.answer.load(Ordering::SeqCst)).unwrap()
}

#[tokio::test]
async fn webhooks_are_signed_kept_and_sent_again() {
    let site = Site::start().await;
    let (receiver, url) = Receiver::start().await;
    let secret = Secret::new(SECRET);
    let events = [
        "push",
        "pull_request",
        "status",
        "pull_request_review",
        "deployment",
        "deployment_status",
    ];
    let hook = site
        .github
        .add_hook(REPOSITORY, &url, Some(&secret), &events)
        .await;
    let towpath = site.token("towpath").expose();
    let ann = site.token("ann").expose();
    let sha = site
        .commit("towpath", "one", Some("master"), "web.txt", "2\n")
        .await;
    let repository = format!("/repos/{REPOSITORY}");
    for (login, method, path, body) in [
        (
            towpath,
            "POST",
            "pulls",
            json!({ "title": "first", "head": "one", "base": "master" }),
        ),
        (
            towpath,
            "POST",
            &format!("statuses/{sha}"),
            json!({ "state": "success" }),
        ),
        (
            ann,
            "POST",
            "pulls/1/reviews",
            json!({ "event": "APPROVE" }),
        ),
        (
            ann,
            "POST",
            "issues/1/labels",
            json!({ "labels": ["towpath/hold"] }),
        ),
        (ann, "PUT", "pulls/1/merge", json!({})),
        (
            towpath,
            "POST",
            "deployments",
            json!({ "ref": "master", "required_contexts": [] }),
        ),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let path = format!("{repository}/{path}");
        let answer = site.ask(method, &path, Some(login), &[], Some(&body)).await;
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }
    assert!(site.github.delivered(8, WAIT).await);
    let told: Vec<String> = (0..8)
        .map(|index| {
            let action = receiver.body(index)["action"]
                .as_str()
                .unwrap_or("-")
                .to_owned();
            format!("{} {action}", receiver.header(index, "x-github-event"))
        })
        .collect();
    let wanted = [
        "push -",
        "pull_request opened",
        "status -",
        "pull_request_review submitted",
        "pull_request labeled",
        "push -",
        "pull_request closed",
        "deployment created",
    ];
    assert_eq!(told, wanted);
    assert_eq!(receiver.body(0)["after"], json!(sha));
    assert_eq!(receiver.body(6)["pull_request"]["merged"], json!(true));
    signatures(&receiver);
    forms(&receiver);
    again(&site, &receiver, hook).await;
}

/// As RFC 2104 says, over the very bytes.
fn signatures(receiver: &Receiver) {
    for (headers, body) in receiver.got.lock().unwrap().iter() {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(body);
        let hex: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(headers["x-hub-signature-256"], format!("sha256={hex}"));
    }
}

/// Every field that GitHub sends is there, but for those of what is not simulated.
fn forms(receiver: &Receiver) {
    let foreign = [
        "installation",
        "organization",
        "enterprise",
        "topics",
        "is_template",
        "web_commit_signoff_required",
        "number_of_topics",
        "repo/",
        "milestone",
        "assignee",
        "head/user",
        "base/user",
        "stargazers",
        "master_branch",
        "workflow",
        "check_run",
        "performed_via_github_app",
        "/repository/",
        "/team",
        "active_lock_reason",
        "/branches",
        "/commit",
        "sender/",
        "creator/",
        "user/",
        "labels/",
        "/changes",
        "/username",
    ];
    let examples = recorded::webhooks();
    let mut compared = 0;
    let mut missing = Vec::new();
    for index in 0..8 {
        let (event, body) = (
            receiver.header(index, "x-github-event"),
            receiver.body(index),
        );
        let same = |it: &&(String, Value)| it.0 == event && it.1["action"] == body["action"];
        let Some((_, example)) = examples.iter().find(same) else {
            continue;
        };
        compared += 1;
        let mut findings = Vec::new();
        recorded::lacks(&body, example, "", &mut findings);
        findings.retain(|it| !foreign.iter().any(|foreign| it.contains(foreign)));
        missing.extend(findings.into_iter().map(|it| format!("{event}: {it}")));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(compared >= 6, "only {compared} were compared");
}

/// Nothing is sent again by itself; asked for, it is the same delivery.
async fn again(site: &Site, receiver: &Receiver, hook: u64) {
    receiver.answer.store(503, Ordering::SeqCst);
    site.commit("towpath", "two", Some("master"), "web.txt", "3\n")
        .await;
    assert!(site.github.delivered(9, WAIT).await);
    let root = site.token("root").expose();
    let deliveries = format!("/repos/{REPOSITORY}/hooks/{hook}/deliveries");
    let answer = site
        .ask(Method::GET, &deliveries, Some(root), &[], None)
        .await;
    let list: Value = answer.json().await.unwrap();
    assert_eq!(list[0]["status_code"], json!(503));
    assert_eq!(
        list[0]["guid"],
        json!(receiver.header(8, "x-github-delivery"))
    );
    assert_eq!(list.as_array().unwrap().len(), 9);
    receiver.answer.store(202, Ordering::SeqCst);
    let attempt = format!("{deliveries}/{}/attempts", list[0]["id"]);
    let answer = site
        .ask(Method::POST, &attempt, Some(root), &[], None)
        .await;
    assert_eq!(answer.status(), 202);
    assert!(site.github.delivered(10, WAIT).await);
    assert_eq!(
        receiver.header(9, "x-github-delivery"),
        receiver.header(8, "x-github-delivery")
    );
    assert_eq!(receiver.body(9), receiver.body(8));
}
