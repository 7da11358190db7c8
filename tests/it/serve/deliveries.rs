//! Which deliveries are taken, and what each has looked at again.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use towpath::event::EventKind;

use super::site::{OLDER, SECRET, Site, signed};

/// What is answered.
const WOKE: (u16, &str) = (202, "it is looked at again");
const NO_NEWS: (u16, &str) = (202, "no news");
const UNKNOWN: (u16, &str) = (404, "no repository");
const UNSIGNED: (u16, &str) = (401, "not signed");
const WRONG: (u16, &str) = (401, "another secret");
const MALFORMED: (u16, &str) = (400, "not what this sender sends");
const TOO_LARGE: (u16, &str) = (413, "over 1 MiB");
const NOT_TAKEN: (u16, &str) = (404, "not listened to");
const NOT_JSON: (u16, &str) = (415, "application/json");

/// One request and what is answered to it.
struct Case {
    name: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    answer: (u16, &'static str),
}

fn case(
    name: &'static str,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &[u8],
    answer: (u16, &'static str),
) -> Case {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    Case {
        name,
        path: path.to_owned(),
        headers: headers.collect(),
        body: body.to_vec(),
        answer,
    }
}

/// A delivery of GitHub, signed as it should be.
fn github(name: &'static str, event: &str, body: &[u8], answer: (u16, &'static str)) -> Case {
    let signature = format!("sha256={}", signed(SECRET, body));
    let headers = [
        ("x-github-event", event),
        ("x-hub-signature-256", signature.as_str()),
        ("content-type", "application/json"),
    ];
    case(name, "/hooks/github", &headers, body, answer)
}

fn gitea(name: &'static str, event: &str, body: &[u8], answer: (u16, &'static str)) -> Case {
    let signature = signed(SECRET, body);
    let headers = [
        ("x-gitea-event", event),
        ("x-gitea-signature", signature.as_str()),
        ("content-type", "application/json"),
    ];
    case(name, "/hooks/gitea", &headers, body, answer)
}

fn generic(name: &'static str, secret: &str, body: &[u8], answer: (u16, &'static str)) -> Case {
    let signature = signed(secret, body);
    let headers = [("x-towpath-signature", signature.as_str())];
    case(name, "/hooks/generic", &headers, body, answer)
}

fn push(clone_url: &str, reference: &str, after: &str) -> Vec<u8> {
    json!({
        "ref": reference, "before": "0".repeat(40), "after": after,
        "repository": { "clone_url": clone_url, "full_name": "acme/infra" },
    })
    .to_string()
    .into_bytes()
}

/// A distribution registry's envelope.
fn told(action: &str, host: &str, agent: &str, tag: &str) -> Vec<u8> {
    json!({ "events": [{
        "action": action,
        "target": { "mediaType": "application/vnd.oci.image.manifest.v1+json", "repository": "acme/pipeline-application", "tag": tag },
        "request": { "host": host, "useragent": agent },
    }] })
    .to_string()
    .into_bytes()
}

async fn cases(site: &Site) -> Vec<Case> {
    let infra = site.infra("qa");
    let bare = infra.trim_end_matches(".git").to_owned();
    let ssh = format!("git@127.0.0.1:{}", infra.rsplit('/').next().unwrap());
    let checkout = site.place.checkout("pipeline-application-infra-qa");
    let git = |arguments: &'static [&'static str]| {
        let checkout = checkout.clone();
        async move {
            towpath::demo::checkout::git(&checkout, arguments)
                .await
                .unwrap()
        }
    };
    git(&["fetch", "-q"]).await;
    let head = git(&["rev-parse", "origin/master"]).await.trim().to_owned();
    let (other, zeros) = ("6113728f27ae82c7b1a177c8d03f9e96e0adf246", "0".repeat(40));
    let master = "refs/heads/master";
    let source = site.place.git.url("pipeline-application");
    let review = json!({ "repository": { "clone_url": infra } }).to_string();
    let group = json!({
        "repository": { "clone_url": infra },
        "merge_group": { "head_ref": "refs/heads/gh-readonly-queue/master/pr-1-0", "head_sha": other },
    })
    .to_string();
    let host = site.place.registry.address().to_string();
    let image = site.image();
    let merged = json!({
        "action": "closed", "repository": { "html_url": bare },
        "pull_request": { "merged": true, "merge_commit_sha": other, "base": { "ref": "master" } },
    })
    .to_string();
    let package = json!({ "package": { "package_version": {
        "package_url": format!("{image}:"), "container_metadata": { "tag": { "name": "v9" } },
    } } })
    .to_string();
    let news = push(&infra, master, other);
    let valid = format!("sha256={}", signed(SECRET, &news));
    let bearer = format!("Bearer {SECRET}");
    let basic = BASE64_STANDARD.encode(format!("towpath:{OLDER}"));
    let basic = format!("Basic {basic}");
    let notification = told("push", &host, "docker/29", "v9");
    let distribution = "application/vnd.docker.distribution.events.v1+json";
    let harbor = json!({ "type": "PUSH_ARTIFACT", "event_data": { "resources": [{ "resource_url": format!("{image}:v9") }] } }).to_string();
    let hub = json!({ "push_data": { "tag": "v9" }, "repository": { "repo_name": "acme/pipeline-application" } }).to_string();
    let nothing = json!({ "repository": { "clone_url": "https://github.com/acme/other.git" } });
    let large = vec![b' '; (1 << 20) + 1];
    let huge = vec![b' '; 25_000_000];
    let edge = [news.clone(), vec![b' '; (1 << 20) - news.len()]].concat();
    let deep = [vec![b'['; 500_000], vec![b']'; 500_000]].concat();
    vec![
        // GitHub.
        github("a push", "push", &news, WOKE),
        github("the same once more", "push", &news, WOKE),
        github(
            "a head that is known",
            "push",
            &push(&infra, master, &head),
            NO_NEWS,
        ),
        github(
            "another spelling",
            "push",
            &push(&bare, master, other),
            WOKE,
        ),
        github("over ssh", "push", &push(&ssh, master, other), WOKE),
        github(
            "in capitals",
            "push",
            &push(&infra.to_uppercase().replace("HTTP", "http"), master, other),
            WOKE,
        ),
        github(
            "a branch nobody reads",
            "push",
            &push(&infra, "refs/heads/other", other),
            NO_NEWS,
        ),
        github(
            "a branch that is gone",
            "push",
            &push(&infra, master, &zeros),
            WOKE,
        ),
        github(
            "a proposal",
            "push",
            &push(&infra, "refs/heads/towpath/qa/pipeline-application", other),
            WOKE,
        ),
        github(
            "a proposal that was gone",
            "push",
            &push(&infra, "refs/heads/towpath/qa/pipeline-application", &zeros),
            NO_NEWS,
        ),
        github(
            "the source",
            "push",
            &push(&source, "refs/heads/new", other),
            WOKE,
        ),
        github(
            "a tag of the source that is gone",
            "push",
            &push(&source, "refs/tags/v1", &zeros),
            NO_NEWS,
        ),
        github(
            "another repository",
            "push",
            nothing.to_string().as_bytes(),
            UNKNOWN,
        ),
        github("a greeting", "ping", review.as_bytes(), NO_NEWS),
        github(
            "an organization's greeting",
            "ping",
            b"{\"zen\":\"Keep it logically awesome.\"}",
            NO_NEWS,
        ),
        github(
            "another's greeting",
            "ping",
            nothing.to_string().as_bytes(),
            UNKNOWN,
        ),
        github(
            "a review",
            "pull_request_review",
            review.as_bytes(),
            NO_NEWS,
        ),
        github("a check", "check_run", review.as_bytes(), NO_NEWS),
        github("a merge group", "merge_group", group.as_bytes(), NO_NEWS),
        github("a merge", "pull_request", merged.as_bytes(), WOKE),
        github("a package", "package", package.as_bytes(), WOKE),
        github("a star", "star", review.as_bytes(), NO_NEWS),
        case(
            "without a signature",
            "/hooks/github",
            &[("x-github-event", "push")],
            &news,
            UNSIGNED,
        ),
        case(
            "an old signature",
            "/hooks/github",
            &[("x-github-event", "push"), ("x-hub-signature", "sha1=00")],
            &news,
            UNSIGNED,
        ),
        case(
            "a wrong signature",
            "/hooks/github",
            &[
                ("x-github-event", "push"),
                (
                    "x-hub-signature-256",
                    &format!("sha256={}", signed("guess", &news)),
                ),
            ],
            &news,
            WRONG,
        ),
        case(
            "no digits",
            "/hooks/github",
            &[
                ("x-github-event", "push"),
                ("x-hub-signature-256", "sha256=zz"),
            ],
            &news,
            WRONG,
        ),
        case(
            "another's body",
            "/hooks/github",
            &[("x-github-event", "push"), ("x-hub-signature-256", &valid)],
            review.as_bytes(),
            WRONG,
        ),
        case(
            "no event",
            "/hooks/github",
            &[("x-hub-signature-256", &valid)],
            &news,
            MALFORMED,
        ),
        case(
            "as a form",
            "/hooks/github",
            &[
                ("x-github-event", "push"),
                ("x-hub-signature-256", &valid),
                ("content-type", "application/x-www-form-urlencoded"),
            ],
            &news,
            NOT_JSON,
        ),
        github("cut", "push", &news[..news.len() - 1], MALFORMED),
        github(
            "of other types",
            "push",
            b"{\"ref\":[],\"repository\":7}",
            MALFORMED,
        ),
        github("deep", "push", &deep, MALFORMED),
        github(
            "not UTF-8",
            "push",
            b"{\"ref\":\"\xff\",\"repository\":{}}",
            MALFORMED,
        ),
        github("nothing", "push", b"", MALFORMED),
        github("as large as may be", "push", &edge, WOKE),
        github("too large", "push", &large, TOO_LARGE),
        github("far too large", "push", &huge, TOO_LARGE),
        // Gitea and Forgejo.
        gitea("a push to Gitea", "push", &news, WOKE),
        gitea(
            "a known head at Gitea",
            "push",
            &push(&infra, master, &head),
            NO_NEWS,
        ),
        gitea(
            "an approval at Gitea",
            "pull_request_approved",
            review.as_bytes(),
            NO_NEWS,
        ),
        case(
            "Forgejo's own header",
            "/hooks/gitea",
            &[
                ("x-forgejo-event", "push"),
                ("x-forgejo-signature", &signed(OLDER, &news)),
            ],
            &news,
            WOKE,
        ),
        case(
            "GitHub's header at Gitea",
            "/hooks/gitea",
            &[("x-gitea-event", "push"), ("x-hub-signature-256", &valid)],
            &news,
            UNSIGNED,
        ),
        // Registries.
        case(
            "an image",
            "/hooks/registry",
            &[("authorization", &bearer), ("content-type", distribution)],
            &notification,
            WOKE,
        ),
        case(
            "the secret alone",
            "/hooks/registry",
            &[("authorization", SECRET)],
            &notification,
            WOKE,
        ),
        case(
            "as a password, the older one",
            "/hooks/registry",
            &[("authorization", &basic)],
            &notification,
            WOKE,
        ),
        case(
            "by another name of the registry",
            "/hooks/registry",
            &[("authorization", SECRET)],
            &told("push", "registry:5000", "docker/29", "v9"),
            WOKE,
        ),
        case(
            "a tag that is gone",
            "/hooks/registry",
            &[("authorization", SECRET)],
            &told("delete", &host, "docker/29", "v9"),
            WOKE,
        ),
        case(
            "what somebody reads",
            "/hooks/registry",
            &[("authorization", SECRET)],
            &told("pull", &host, "docker/29", "v9"),
            NO_NEWS,
        ),
        case(
            "what we read",
            "/hooks/registry",
            &[("authorization", SECRET)],
            &told("pull", &host, "towpath/0.1.0", "v9"),
            NO_NEWS,
        ),
        case(
            "what we would push",
            "/hooks/registry",
            &[("authorization", SECRET)],
            &told("push", &host, "towpath/0.1.0", "v9"),
            NO_NEWS,
        ),
        case("no header", "/hooks/registry", &[], &notification, UNSIGNED),
        case(
            "a wrong header",
            "/hooks/registry",
            &[("authorization", "Bearer guess")],
            &notification,
            WRONG,
        ),
        case(
            "no events",
            "/hooks/registry",
            &[("authorization", SECRET)],
            b"{}",
            MALFORMED,
        ),
        case(
            "Harbor",
            "/hooks/harbor",
            &[("authorization", SECRET)],
            harbor.as_bytes(),
            WOKE,
        ),
        case(
            "another image at Harbor",
            "/hooks/harbor",
            &[("authorization", SECRET)],
            harbor.replace("pipeline", "other").as_bytes(),
            UNKNOWN,
        ),
        case(
            "Docker Hub",
            "/hooks/docker-hub/the%20one%20before",
            &[],
            hub.as_bytes(),
            WOKE,
        ),
        case(
            "Docker Hub without",
            "/hooks/docker-hub",
            &[],
            hub.as_bytes(),
            UNSIGNED,
        ),
        case(
            "Docker Hub with a guess",
            "/hooks/docker-hub/guess",
            &[],
            hub.as_bytes(),
            WRONG,
        ),
        case(
            "Quay, to which nobody listens",
            "/hooks/quay/guess",
            &[],
            b"{}",
            NOT_TAKEN,
        ),
        case("nobody", "/hooks/nobody", &[], b"{}", NOT_TAKEN),
        // Our own.
        generic(
            "by hand",
            SECRET,
            json!({ "repositories": [infra], "images": [format!("{image}:v9")] })
                .to_string()
                .as_bytes(),
            WOKE,
        ),
        generic(
            "by the older secret",
            OLDER,
            json!({ "images": [image] }).to_string().as_bytes(),
            WOKE,
        ),
        generic(
            "one of several",
            SECRET,
            json!({ "repositories": ["https://example.com/x", infra] })
                .to_string()
                .as_bytes(),
            WOKE,
        ),
        generic(
            "none of several",
            SECRET,
            json!({ "repositories": ["https://example.com/x", "", "::"] })
                .to_string()
                .as_bytes(),
            UNKNOWN,
        ),
        generic(
            "by another form",
            SECRET,
            b"{\"repository\":\"x\"}",
            MALFORMED,
        ),
        generic("by a guess", "guess", b"{}", WRONG),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_are_taken_as_they_deserve() {
    let site = Site::start().await;
    let mut wrong = Vec::new();
    for case in cases(&site).await {
        let mut request = site.client.post(site.url(&case.path)).body(case.body);
        for (name, value) in &case.headers {
            request = request.header(*name, value);
        }
        let (status, text) = case.answer;
        match request.send().await {
            Ok(response) => {
                let answer = response.status().as_u16();
                let said = response.text().await.unwrap_or_default();
                if answer != status || !said.contains(text) {
                    wrong.push(format!("{}: {answer} {said}", case.name));
                }
            }
            // Who sends on where nobody reads may find the door shut before the answer.
            Err(_) if status == 413 => {}
            Err(error) => wrong.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for path in ["/hooks/github", "/hooks/nobody"] {
        assert_eq!(site.get(path).await.0, 405, "{path}");
    }
    assert_eq!(site.get("/").await.0, 404);
    site.end().await;
}

/// Nothing is looked at by itself within this test: what is seen was told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_is_seen_at_once() {
    let mut site = Site::start().await;
    site.push("v1.1.0").await;
    let body = json!({ "images": [format!("{}:v1.1.0", site.image())] }).to_string();
    let case = generic("an image", SECRET, body.as_bytes(), WOKE);
    let send = site.client.post(site.url(&case.path)).body(case.body);
    let sent = send.header(case.headers[0].0, &case.headers[0].1).send();
    assert_eq!(sent.await.unwrap().status().as_u16(), 202);
    let committed = site.until(EventKind::Committed).await;
    assert_eq!(committed.release.unwrap().name, "v1.1.0");
    assert_eq!(committed.environment.unwrap().as_str(), "qa");
    site.end().await;
}

/// Every webhook is dropped: what is pushed is seen by looking, within the interval.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_tells_is_seen_within_the_interval() {
    let interval = std::time::Duration::from_secs(1);
    let mut site = Site::start_with(interval, None).await;
    site.until(EventKind::Recorded).await;
    site.push("v1.1.0").await;
    site.until(EventKind::Committed).await;
    site.end().await;
}
