//! The events of Gitea and Forgejo
//! ([webhooks](https://docs.gitea.com/usage/repository/webhooks), `modules/structs/hook.go` in Gitea's sources).

use serde::Deserialize;

use super::{Change, Repository, Said, github, image};

/// Requests have many kinds of events: `pull_request`, `pull_request_approved`, `pull_request_comment` …
pub(super) fn read(event: &str, body: &[u8]) -> serde_json::Result<Said> {
    match event {
        "push" => github::push(body),
        "pull_request" => github::pull_request(body),
        "package" => package(body),
        event if event.starts_with("pull_request_") => requests("pull_request_review", body),
        "status" => github::check("status", body),
        // `create` and `delete` come beside a push.
        _ => {
            serde_json::from_slice::<Anything>(body)?;
            Ok(Said {
                event: "other",
                changes: Vec::new(),
            })
        }
    }
}

/// Any object.
#[derive(Deserialize)]
struct Anything {}

#[derive(Deserialize)]
struct OfRepository {
    repository: Repository,
}

fn requests(event: &'static str, body: &[u8]) -> serde_json::Result<Said> {
    let of: OfRepository = serde_json::from_slice(body)?;
    Ok(Said {
        event,
        changes: vec![Change::Requests(of.repository.addresses())],
    })
}

#[derive(Deserialize)]
struct OfPackage {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    #[serde(rename = "type")]
    kind: Option<String>,
    owner: Option<Owner>,
    name: Option<String>,
    version: Option<String>,
    html_url: Option<String>,
}

#[derive(Deserialize)]
struct Owner {
    login: Option<String>,
}

/// The registry is the forge itself: its host is that of the package's page.
fn package(body: &[u8]) -> serde_json::Result<Said> {
    let package = serde_json::from_slice::<OfPackage>(body)?.package;
    let change = || {
        let page: url::Url = package.html_url?.parse().ok()?;
        let host = match (page.host_str()?, page.port()) {
            (host, Some(port)) => format!("{host}:{port}"),
            (host, None) => host.to_owned(),
        };
        let (owner, name) = (package.owner?.login?, package.name?);
        // A version is a tag, or a digest for what has none.
        let tag = package.version.filter(|it| !it.contains(':'));
        let tag = tag.map(|tag| format!(":{tag}")).unwrap_or_default();
        image(&format!("{host}/{owner}/{name}{tag}"))
    };
    let changes = match package.kind.as_deref() {
        Some("container") => change().into_iter().collect(),
        _ => Vec::new(),
    };
    Ok(Said {
        event: "package",
        changes,
    })
}
