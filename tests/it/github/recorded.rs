//! What GitHub itself once answered and sent (`recorded/`): replayed, the simulator's answers have every field
//! of GitHub's, of the same type; and both are as GitHub's description says.

use std::io::Read as _;

use flate2::read::GzDecoder;
use reqwest::Method;
use serde_json::{Value, json};
use towpath::demo::git_server::commit_first;
use towpath::git::Signature;

use super::openapi;
use super::site::Site;

const EXCHANGES: &str = include_str!("recorded/exchanges.jsonl");
const WEBHOOKS: &[u8] = include_bytes!("recorded/webhooks.jsonl.gz");

const OWNER: &str = "octokit-fixture-org";
const REPOSITORIES: [&str; 6] = [
    "add-labels-to-issue",
    "branch-protection",
    "create-file",
    "create-status",
    "git-refs",
    "hello-world",
];

/// Fields of recorded answers that are not simulated: what GitHub showed only for a while or only to the
/// recorder, and settings without a meaning here.
const NOT_SIMULATED: [&str; 12] = [
    "temp_clone_token",
    "organization",
    "custom_properties",
    "allow_forking",
    "allow_update_branch",
    "use_squash_pr_title_as_default",
    "squash_merge_commit_message",
    "squash_merge_commit_title",
    "merge_commit_message",
    "merge_commit_title",
    "web_commit_signoff_required",
    "required_signatures",
];

/// Webhooks of GitHub, one for each event and action: event and payload.
pub(super) fn webhooks() -> Vec<(String, Value)> {
    let mut text = String::new();
    GzDecoder::new(WEBHOOKS).read_to_string(&mut text).unwrap();
    let parse = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (
            line["event"].as_str().unwrap().to_owned(),
            line["payload"].clone(),
        )
    };
    text.lines().map(parse).collect()
}

#[tokio::test]
async fn recorded_exchanges_replayed() {
    let site = site().await;
    let mut replayed = 0;
    let mut findings = Vec::new();
    for line in EXCHANGES.lines() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let path = path_here(&site, recorded["path"].as_str().unwrap()).await;
        let method = recorded["method"].as_str().unwrap().to_uppercase();
        let is_json = recorded["answer"].as_str().is_none_or(str::is_empty);
        if !is_json {
            continue;
        }
        let mut request = recorded["request"].clone();
        if request["sha"].is_string() {
            request["sha"] = json!(head(&site, "git-refs").await);
        }
        let body = request.as_object().map(|_| &request);
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let root = site.token("root").expose();
        let answer = site.ask(method, &path, Some(root), &[], body).await;
        let status = answer.status().as_u16();
        let exchange = site.github.take_exchanges().pop().unwrap();
        let Some(operation) = exchange.operation.clone() else {
            continue;
        };
        replayed += 1;
        findings.extend(openapi::check(std::slice::from_ref(&exchange)));
        let mut differences = Vec::new();
        if json!(status) != recorded["status"] {
            differences.push(format!("{status} instead of {}", recorded["status"]));
        }
        lacks(&exchange.answer, &recorded["answer"], "", &mut differences);
        findings.extend(differences.iter().map(|it| format!("{operation}: {it}")));
    }
    assert!(replayed >= 11, "only {replayed} exchanges were replayed");
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

/// A site with the recorder's repositories, a pull request where an issue was.
async fn site() -> Site {
    let site = Site::start().await;
    site.github.add_organization(OWNER).await;
    site.github.add_user("octokit-fixture-user-a").await;
    let by = Signature {
        name: "test".to_owned(),
        email: "test@example.com".to_owned(),
        time: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    for name in REPOSITORIES {
        let name = format!("{OWNER}/{name}");
        let path = site.github.add_repository(&name, "public").await.unwrap();
        let role = Some(towpath::demo::github::Role::Admin);
        site.github.set_role(&name, "root", role).await;
        let readme = vec![("README.md".to_owned(), b"# hello-world".to_vec())];
        commit_first(&path, readme, "first", &by).await.unwrap();
        site.github.look(&name, "root").await.unwrap();
    }
    // A branch that stays behind, and a request to move it on: issue 1 of the recording.
    let one = format!("/repos/{OWNER}/add-labels-to-issue");
    let sha = head(&site, "add-labels-to-issue").await;
    for (method, path, body) in [
        (
            "POST",
            "git/refs",
            json!({ "ref": "refs/heads/old", "sha": sha }),
        ),
        (
            "PUT",
            "contents/x",
            json!({ "message": "second", "content": "eA==" }),
        ),
        (
            "POST",
            "pulls",
            json!({ "title": "one", "head": "master", "base": "old" }),
        ),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let root = site.token("root").expose();
        let path = format!("{one}/{path}");
        let made = site.ask(method, &path, Some(root), &[], Some(&body)).await;
        assert_eq!(made.status(), 201);
    }
    site
}

async fn head(site: &Site, name: &str) -> String {
    let path = format!("/repos/{OWNER}/{name}/git/ref/heads/master");
    let root = site.token("root").expose();
    let answer = site.ask(Method::GET, &path, Some(root), &[], None).await;
    let body: Value = answer.json().await.unwrap();
    body["object"]["sha"].as_str().unwrap().to_owned()
}

/// The recorder's branch was `main`, and its commits were given made-up ids.
async fn path_here(site: &Site, path: &str) -> String {
    let path = path.replace("/branches/main/", "/branches/master/");
    let (made_up, name) = ("0000000000000000000000000000000000000001", "create-status");
    match path.contains(made_up) {
        true => path.replace(made_up, &head(site, name).await),
        false => path,
    }
}

/// Says what a value has not that another one has, by name and type.
pub(super) fn lacks(value: &Value, wanted: &Value, at: &str, findings: &mut Vec<String>) {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            for (name, wanted) in wanted {
                if NOT_SIMULATED.contains(&name.as_str()) {
                    continue;
                }
                let at = format!("{at}/{name}");
                match value.get(name) {
                    Some(value) => lacks(value, wanted, &at, findings),
                    None => findings.push(format!("there is no {at}")),
                }
            }
        }
        (Value::Array(values), Value::Array(wanted)) => {
            if let (Some(value), Some(wanted)) = (values.first(), wanted.first()) {
                lacks(value, wanted, &format!("{at}/0"), findings);
            }
        }
        // What may be null says nothing about the type of the rest.
        (Value::Null, _) | (_, Value::Null) => {}
        (value, wanted) if std::mem::discriminant(value) == std::mem::discriminant(wanted) => {}
        (value, wanted) => findings.push(format!("{at} is {value}, and {wanted} at GitHub")),
    }
}
