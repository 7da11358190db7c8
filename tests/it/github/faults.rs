//! What goes wrong on demand: whether the thing was done all the same is what a client must find out.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use towpath::demo::github::{Fault, Rule};

use super::site::{REPOSITORY, Site};

/// Longer than any answer here takes, and short enough to wait for.
const PATIENCE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn faults_strike_and_end() {
    let site = Site::start().await;
    site.commit("towpath", "one", Some("master"), "web.txt", "2\n")
        .await;
    let answer = |status| Fault::Answer {
        status,
        headers: vec![("retry-after", "7".to_owned())],
        body: "<html>Unicorn!</html>".to_owned(),
    };
    // The fault, what the client sees, and whether the status was written.
    let cases = [
        ("502", answer(502), "502", false),
        ("401", answer(401), "401", false),
        ("silence", Fault::Hang, "timeout", false),
        ("an answer that is lost", Fault::Lost, "broken", true),
        ("an answer that is cut", Fault::Cut, "broken", true),
        (
            "a slow answer",
            Fault::Drip(Duration::from_millis(20)),
            "timeout",
            true,
        ),
    ];
    for (context, fault, seen, done) in cases {
        site.github.add_fault(Rule {
            method: "POST",
            path: "/statuses/".to_owned(),
            times: 1,
            fault,
        });
        assert_eq!(post(&site, context).await, seen, "{context}");
        assert_eq!(
            contexts(&site).await.contains(&context.to_owned()),
            done,
            "{context}"
        );
        // Struck once; the next goes through.
        assert_eq!(post(&site, context).await, "201", "{context}");
    }
}

async fn post(site: &Site, context: &str) -> String {
    let sha = head(site).await;
    let url = format!(
        "http://{}/repos/{REPOSITORY}/statuses/{sha}",
        site.github.address()
    );
    let sent = site
        .client
        .post(url)
        .bearer_auth(site.token("towpath").expose())
        .json(&json!({ "state": "success", "context": context }))
        .timeout(PATIENCE)
        .send()
        .await;
    let read = match sent {
        Ok(response) => {
            let status = response.status().as_u16();
            response.bytes().await.map(|_| status)
        }
        Err(error) => Err(error),
    };
    match read {
        Ok(status) => status.to_string(),
        Err(error) if error.is_timeout() => "timeout".to_owned(),
        Err(_) => "broken".to_owned(),
    }
}

async fn head(site: &Site) -> String {
    let path = format!("/repos/{REPOSITORY}/git/ref/heads/one");
    let body = get(site, &path).await;
    body["object"]["sha"].as_str().unwrap().to_owned()
}

async fn contexts(site: &Site) -> Vec<String> {
    let path = format!("/repos/{REPOSITORY}/commits/{}/statuses", head(site).await);
    let body = get(site, &path).await;
    let all = body.as_array().unwrap().iter();
    all.map(|it| it["context"].as_str().unwrap().to_owned())
        .collect()
}

async fn get(site: &Site, path: &str) -> Value {
    let token = site.token("towpath").expose();
    let answer = site.ask(Method::GET, path, Some(token), &[], None).await;
    answer.json().await.unwrap()
}
