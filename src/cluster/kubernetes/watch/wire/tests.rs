//! A collection followed on a server that plays a script.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Request, Response};
use serde_json::json;
use tower_service::Service;

use super::*;

/// What is asked (the query, without what every question has), and what is answered.
type Script = VecDeque<(&'static str, u16, String)>;

#[derive(Clone)]
struct Server(Arc<Mutex<Script>>);

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let same = [
            "labelSelector=a%3Db",
            "allowWatchBookmarks=true",
            "timeoutSeconds=60",
        ];
        let asked: Vec<_> = query.split('&').filter(|it| !same.contains(it)).collect();
        let next = self.0.lock().unwrap().pop_front();
        let (expected, code, answer) = next.expect("nothing more is asked");
        assert_eq!(asked.join("&"), expected);
        let answer = Body::from(answer.into_bytes());
        ready(Ok(Response::builder().status(code).body(answer).unwrap()))
    }
}

/// Writes down what it is told.
#[derive(Default)]
struct Heard(Vec<String>);

impl Heard {
    fn hear(&mut self, what: &str, object: &RawValue) -> serde_json::Result<String> {
        let value: serde_json::Value = serde_json::from_str(object.get())?;
        let metadata = &value["metadata"];
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        self.0.push(format!("{what} {}", text("name")));
        Ok(text("resourceVersion"))
    }
}

impl Sink for Heard {
    fn begin(&mut self) {
        self.0.push("begin".to_owned());
    }

    fn put(&mut self, object: &RawValue) -> serde_json::Result<String> {
        self.hear("put", object)
    }

    fn gone(&mut self, object: &RawValue) -> serde_json::Result<String> {
        self.hear("gone", object)
    }

    fn complete(&mut self) {
        self.0.push("complete".to_owned());
    }
}

fn event(kind: &str, name: &str, version: u32) -> String {
    let object = json!({ "metadata": { "name": name, "resourceVersion": version.to_string() } });
    format!("{}\n", json!({ "type": kind, "object": object }))
}

fn bookmark(version: u32, is_all: bool) -> String {
    let annotations = match is_all {
        true => json!({ "k8s.io/initial-events-end": "true" }),
        false => json!({}),
    };
    let metadata = json!({ "resourceVersion": version.to_string(), "annotations": annotations });
    format!(
        "{}\n",
        json!({ "type": "BOOKMARK", "object": { "metadata": metadata } })
    )
}

fn failure(code: u16, message: &str) -> String {
    let status = json!({ "kind": "Status", "status": "Failure", "code": code, "message": message });
    status.to_string()
}

fn refused(code: u16) -> String {
    let status: serde_json::Value = serde_json::from_str(&failure(code, "no")).unwrap();
    format!("{}\n", json!({ "type": "ERROR", "object": status }))
}

fn page(names: &[&str], version: u32, next: &str) -> String {
    let items: Vec<_> = names
        .iter()
        .map(|name| json!({ "metadata": { "name": name, "resourceVersion": "1" } }))
        .collect();
    let metadata = json!({ "resourceVersion": version.to_string(), "continue": next });
    json!({ "metadata": metadata, "items": items }).to_string()
}

const STREAM: &str = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan";

/// Follows as often as there is something left of the script; gives what was told, a line each.
async fn play(script: Vec<(&'static str, u16, String)>) -> Vec<String> {
    let script = Arc::new(Mutex::new(Script::from(script)));
    let client = Client::new(Server(script.clone()), "default");
    let collection = Collection {
        path: "/api/v1/things".to_owned(),
        labels: Some("a=b".to_owned()),
        fields: None,
        lasts: 60,
    };
    let streams_lists = AtomicBool::new(true);
    let mut follower = Follower::new(client, collection, &streams_lists);
    let mut heard = Heard::default();
    while !script.lock().unwrap().is_empty() {
        match follower.follow(&mut heard).await {
            Ok(()) => heard.0.push("end".to_owned()),
            Err(error) => heard.0.push(format!("broken: {error}")),
        }
    }
    heard.0
}

#[tokio::test]
async fn a_list_comes_as_a_stream_and_goes_on_from_where_it_was() {
    let first = [
        event("ADDED", "a", 3),
        event("ADDED", "b", 4),
        bookmark(9, true),
        event("MODIFIED", "a", 11),
    ];
    let told = play(vec![
        (STREAM, 200, first.concat()),
        (
            "watch=true&resourceVersion=11",
            200,
            [event("DELETED", "b", 12), bookmark(20, false)].concat(),
        ),
        (
            "watch=true&resourceVersion=20",
            200,
            event("ADDED", "c", 21),
        ),
    ])
    .await;
    let expected = [
        "begin", "put a", "put b", "complete", "put a", "end", "complete", "gone b", "end",
        "complete", "put c", "end",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_was_cut_before_it_was_whole_is_listed_anew() {
    let told = play(vec![
        (STREAM, 200, event("ADDED", "a", 3)),
        (
            STREAM,
            200,
            [event("ADDED", "a", 3), bookmark(9, true)].concat(),
        ),
    ])
    .await;
    assert_eq!(
        told,
        ["begin", "put a", "end", "begin", "put a", "complete", "end"]
    );
}

#[tokio::test]
async fn a_server_that_streams_no_lists_is_asked_for_pages() {
    let told = play(vec![
        (STREAM, 422, failure(422, "sendInitialEvents is forbidden")),
        ("limit=100", 200, page(&["a", "b"], 7, "more")),
        ("limit=100&continue=more", 200, page(&["c"], 7, "")),
        (
            "watch=true&resourceVersion=7",
            200,
            event("MODIFIED", "c", 8),
        ),
        ("watch=true&resourceVersion=8", 200, refused(410)),
        (
            "limit=100",
            200,
            json!({ "metadata": { "resourceVersion": "9" }, "items": null }).to_string(),
        ),
        ("watch=true&resourceVersion=9", 200, String::new()),
    ])
    .await;
    let expected = [
        "end", "begin", "put a", "put b", "put c", "complete", "put c", "end", "end", "begin",
        "complete", "end",
    ];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn what_is_too_long_ago_is_listed_anew_and_what_is_refused_is_told() {
    let told = play(vec![
        (STREAM, 403, failure(403, "you may not")),
        (STREAM, 200, bookmark(9, true)),
        ("watch=true&resourceVersion=9", 200, refused(410)),
        (
            STREAM,
            200,
            [event("ADDED", "a", 12), bookmark(12, true)].concat(),
        ),
        ("watch=true&resourceVersion=12", 200, refused(500)),
        (
            "watch=true&resourceVersion=12",
            200,
            "nonsense\n".to_owned(),
        ),
        (
            "watch=true&resourceVersion=12",
            503,
            "down for a moment".to_owned(),
        ),
    ])
    .await;
    let told: Vec<_> = told
        .iter()
        .map(|it| it.split(" at line").next().unwrap())
        .collect();
    let expected = [
        "broken: ApiError: you may not: ",
        "begin",
        "complete",
        "end",
        "end",
        "begin",
        "put a",
        "complete",
        "end",
        "broken: no (500)",
        "broken: what it sends cannot be read: expected ident",
        "broken: ApiError: down for a moment: ",
    ];
    for (told, expected) in told.iter().zip(expected) {
        assert!(
            told.starts_with(expected),
            "{told}\nshould begin with {expected}"
        );
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[test]
fn a_stream_is_cut_at_the_ends_of_lines() {
    let mut lines = Lines::default();
    let mut found = Vec::new();
    for part in ["ab", "c\nd", "", "e\n\nf"] {
        lines.add(part.as_bytes());
        while let Some(line) = lines.next().unwrap() {
            found.push(String::from_utf8(line.to_vec()).unwrap());
        }
    }
    assert_eq!(found, ["abc\n", "de\n", "\n"]);
    lines.add(&vec![b'x'; LARGEST_EVENT]);
    assert!(matches!(lines.next(), Err(Broken::TooLarge)));
}
