//! What Gitea does, as Towpath relies on it: what its API and its git server answer to real requests and
//! pushes. The rows that differ from GitHub stand in `docs/gitea.md`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::Sha256;

use super::{Clone, Person, shared};

const WAIT: Duration = Duration::from_secs(60);

const SECRET: &str = "a webhook's secret";

#[tokio::test]
async fn branch_records_and_tag_in_one_atomic_push() {
    let Some(bed) = shared() else { return };
    let person = bed.person("towpath").await;
    let repository = bed.repository("atomic").await;
    bed.allow(&repository, &person, "write").await;
    let clone = Clone::of(bed, &repository, &person).await;
    let sha = clone.commit("master", "a").await;
    clone
        .git(&["notes", "--ref=towpath/qa", "add", "-m", "record", "HEAD"])
        .await
        .unwrap();
    clone
        .git(&["tag", "-m", "deployed", "deployment-0001"])
        .await
        .unwrap();
    let refs = [
        "HEAD:refs/heads/master",
        "refs/notes/towpath/qa",
        "refs/tags/deployment-0001",
    ];
    let mut push = vec!["push", "-q", "--atomic", "origin"];
    push.extend(refs);
    clone.git(&push).await.unwrap();
    let listed = clone.git(&["ls-remote", "origin"]).await.unwrap();
    assert!(
        listed.contains(&format!("{sha}\trefs/heads/master")),
        "{listed}"
    );
    assert!(listed.contains("refs/notes/towpath/qa"), "{listed}");
    assert!(listed.contains("refs/tags/deployment-0001"), "{listed}");
    // Protected: all of the push is refused, or none.
    bed.protect(
        &repository,
        &json!({ "rule_name": "master", "enable_push": false }),
    )
    .await;
    let before = clone.git(&["ls-remote", "origin"]).await.unwrap();
    clone.commit("master", "b").await;
    clone
        .git(&["tag", "-m", "deployed", "deployment-0002"])
        .await
        .unwrap();
    let refused = clone
        .git(&[
            "push",
            "--atomic",
            "origin",
            "HEAD:refs/heads/master",
            "refs/tags/deployment-0002",
        ])
        .await
        .unwrap_err();
    assert!(
        refused.contains("Not allowed to push to protected branch master"),
        "{refused}"
    );
    assert_eq!(clone.git(&["ls-remote", "origin"]).await.unwrap(), before);
}

#[tokio::test]
async fn answers_that_towpath_tells_apart() {
    let Some(bed) = shared() else { return };
    let (towpath, reader, stranger) = (
        bed.person("towpath").await,
        bed.person("reader").await,
        bed.person("stranger").await,
    );
    let repository = bed.repository("answers").await;
    bed.allow(&repository, &towpath, "write").await;
    bed.allow(&repository, &reader, "read").await;
    let clone = Clone::of(bed, &repository, &towpath).await;
    let sha = clone.commit("towpath/qa/shop", "a").await;
    clone.git(&["push", "-q", "origin", "HEAD"]).await.unwrap();
    let pulls = format!("repos/{repository}/pulls");
    let open = |head: &str| json!({ "title": "one", "head": head, "base": "master" });
    let nobody = Person {
        login: "nobody".to_owned(),
        token: towpath::secret::Secret::new("none"),
    };
    let status = json!({ "state": "success", "context": "towpath/proven" });
    let label = json!({ "labels": ["unknown"] });
    for (who, method, path, body, wanted) in [
        (
            &towpath,
            "POST",
            pulls.clone(),
            open("towpath/qa/shop"),
            201,
        ),
        (
            &towpath,
            "POST",
            pulls.clone(),
            open("towpath/qa/shop"),
            409,
        ),
        (&towpath, "POST", pulls.clone(), open("nowhere"), 404),
        // Readers may open requests; they may not set statuses.
        (
            &reader,
            "POST",
            format!("repos/{repository}/statuses/{sha}"),
            status.clone(),
            403,
        ),
        (
            &towpath,
            "POST",
            format!("repos/{repository}/statuses/{}", &sha[..8]),
            status,
            201,
        ),
        (&stranger, "GET", pulls.clone(), Value::Null, 404),
        (&nobody, "GET", pulls.clone(), Value::Null, 401),
        // A label that does not exist is passed over in silence.
        (
            &towpath,
            "POST",
            format!("repos/{repository}/issues/1/labels"),
            label,
            200,
        ),
        (
            &towpath,
            "POST",
            format!("{pulls}/1/reviews"),
            json!({ "event": "APPROVED" }),
            422,
        ),
        (
            &towpath,
            "POST",
            format!("{pulls}/1/merge"),
            json!({ "Do": "merge", "head_commit_id": "0".repeat(40) }),
            409,
        ),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (status, answer) = bed.ask_as(who, method.clone(), &path, &body).await;
        assert_eq!(
            status, wanted,
            "{} {method} {path} {body}: {answer}",
            who.login
        );
    }
    let (_, labels) = bed
        .ask_as(
            &towpath,
            Method::GET,
            &format!("repos/{repository}/issues/1/labels"),
            &Value::Null,
        )
        .await;
    assert_eq!(labels, json!([]));
}

type Got = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn take(State(got): State<Got>, headers: HeaderMap, body: Bytes) {
    got.lock().unwrap().push((headers, body));
}

#[tokio::test]
async fn webhooks_are_signed() {
    let Some(bed) = shared() else { return };
    let person = bed.person("towpath").await;
    let repository = bed.repository("hooks").await;
    bed.allow(&repository, &person, "write").await;
    let got = Got::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let router = Router::new().fallback(take).with_state(got.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    bed.add_hook(&repository, &url, SECRET, &["push", "pull_request"])
        .await;
    let clone = Clone::of(bed, &repository, &person).await;
    let sha = clone.commit("towpath/qa/shop", "a").await;
    clone.git(&["push", "-q", "origin", "HEAD"]).await.unwrap();
    let open = json!({ "title": "one", "head": "towpath/qa/shop", "base": "master" });
    let (status, _) = bed
        .ask_as(
            &person,
            Method::POST,
            &format!("repos/{repository}/pulls"),
            &open,
        )
        .await;
    assert_eq!(status, 201);
    let began = Instant::now();
    let told = loop {
        let mut told = BTreeMap::new();
        for (headers, body) in got.lock().unwrap().iter() {
            let event = headers["x-gitea-event"].to_str().unwrap().to_owned();
            told.insert(event, (headers.clone(), body.clone()));
        }
        if told.len() == 2 {
            break told;
        }
        assert!(began.elapsed() < WAIT, "only {:?} came", told.keys());
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    for (headers, body) in told.values() {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(body);
        let hex: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(headers["x-gitea-signature"], hex);
        // Also in GitHub's form, so that one receiver serves both.
        assert_eq!(headers["x-hub-signature-256"], format!("sha256={hex}"));
        assert_eq!(headers["x-github-event"], headers["x-gitea-event"]);
    }
    let push: Value = serde_json::from_slice(&told["push"].1).unwrap();
    assert_eq!(push["after"], json!(sha));
    assert_eq!(push["repository"]["full_name"], json!(repository));
}
