//! GitHub's events ([payloads](https://docs.github.com/en/webhooks/webhook-events-and-payloads)).

use serde::Deserialize;

use super::{Change, Repository, Said, image, moved};

/// `create` and `delete` come beside a push, which says more.
pub(super) fn read(event: &str, body: &[u8]) -> serde_json::Result<Said> {
    Ok(match event {
        "ping" => repository("ping", body, Change::Nothing)?,
        "push" => push(body)?,
        "pull_request" => pull_request(body)?,
        "pull_request_review" => repository("pull_request_review", body, Change::Requests)?,
        "check_run" => check("check_run", body)?,
        "check_suite" => repository("check_suite", body, Change::Requests)?,
        "status" => check("status", body)?,
        "merge_group" => merge_group(body)?,
        "package" => package("package", body)?,
        "registry_package" => package("registry_package", body)?,
        _ => {
            serde_json::from_slice::<Anything>(body)?;
            Said {
                event: "other",
                changes: Vec::new(),
            }
        }
    })
}

/// Any object.
#[derive(Deserialize)]
struct Anything {}

#[derive(Deserialize)]
struct OfRepository {
    /// Hooks of organizations and apps greet without one.
    repository: Option<Repository>,
}

fn repository(
    event: &'static str,
    body: &[u8],
    change: fn(Vec<String>) -> Change,
) -> serde_json::Result<Said> {
    let of: OfRepository = serde_json::from_slice(body)?;
    let changes = of.repository.map(|it| change(it.addresses()));
    Ok(Said {
        event,
        changes: changes.into_iter().collect(),
    })
}

#[derive(Deserialize)]
struct OfCheck {
    check_run: Option<CheckRun>,
    /// Statuses have their name here.
    context: Option<String>,
    repository: Repository,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CheckRun {
    name: Option<String>,
}

/// Requests wait for checks, and so do those who ask for them as evidence.
pub(super) fn check(event: &'static str, body: &[u8]) -> serde_json::Result<Said> {
    let of: OfCheck = serde_json::from_slice(body)?;
    let name = of.check_run.and_then(|it| it.name).or(of.context);
    let addresses = of.repository.addresses();
    let reported = name.map(|name| Change::Check(addresses.clone(), name));
    let mut changes = vec![Change::Requests(addresses)];
    changes.extend(reported);
    Ok(Said { event, changes })
}

#[derive(Deserialize)]
pub(super) struct Push {
    #[serde(rename = "ref")]
    reference: Option<String>,
    after: Option<String>,
    repository: Repository,
}

pub(super) fn push(body: &[u8]) -> serde_json::Result<Said> {
    let push: Push = serde_json::from_slice(body)?;
    let moved = moved(push.reference, push.after.as_deref());
    Ok(Said {
        event: "push",
        changes: vec![Change::Git(push.repository.addresses(), moved)],
    })
}

#[derive(Deserialize)]
struct OfRequest {
    pull_request: Option<Request>,
    repository: Repository,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Request {
    merged: Option<bool>,
    merge_commit_sha: Option<String>,
    base: Option<Base>,
}

#[derive(Deserialize)]
struct Base {
    #[serde(rename = "ref")]
    branch: Option<String>,
}

/// A merge moves the branch too, and may be told before its push is.
pub(super) fn pull_request(body: &[u8]) -> serde_json::Result<Said> {
    let of: OfRequest = serde_json::from_slice(body)?;
    let addresses = of.repository.addresses();
    let merged = of.pull_request.filter(|it| it.merged == Some(true));
    let merge = merged.map(|it| {
        let branch = it.base.and_then(|base| base.branch);
        let branch = branch.map(|branch| format!("refs/heads/{branch}"));
        Change::Git(
            addresses.clone(),
            moved(branch, it.merge_commit_sha.as_deref()),
        )
    });
    let mut changes = vec![Change::Requests(addresses)];
    changes.extend(merge);
    Ok(Said {
        event: "pull_request",
        changes,
    })
}

#[derive(Deserialize)]
struct OfGroup {
    merge_group: Option<Group>,
    repository: Repository,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Group {
    head_ref: Option<String>,
    head_sha: Option<String>,
}

/// Something stands ready to be merged, and waits for its checks.
fn merge_group(body: &[u8]) -> serde_json::Result<Said> {
    let of: OfGroup = serde_json::from_slice(body)?;
    let group = of.merge_group.unwrap_or_default();
    let moved = moved(group.head_ref, group.head_sha.as_deref());
    Ok(Said {
        event: "merge_group",
        changes: vec![Change::Git(of.repository.addresses(), moved)],
    })
}

#[derive(Deserialize)]
struct OfPackage {
    #[serde(alias = "registry_package")]
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    package_version: Option<PackageVersion>,
}

#[derive(Deserialize)]
struct PackageVersion {
    /// `ghcr.io/acme/shop:v1.4.0`; other kinds of packages have other addresses, or none.
    package_url: Option<String>,
    container_metadata: Option<Container>,
}

#[derive(Deserialize)]
struct Container {
    tag: Option<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: Option<String>,
}

/// The digest that is told may be a child's of an index, so it is not taken along.
fn package(event: &'static str, body: &[u8]) -> serde_json::Result<Said> {
    let of: OfPackage = serde_json::from_slice(body)?;
    let version = of.package.package_version;
    let container = version.and_then(|it| it.container_metadata.zip(it.package_url));
    let change = container.and_then(|(container, url)| {
        let tag = container.tag.and_then(|tag| tag.name);
        match (image(&url)?, tag.filter(|tag| !tag.is_empty())) {
            (Change::Image(repository, None), Some(tag)) => {
                Some(Change::Image(repository, Some((tag, None))))
            }
            (change, _) => Some(change),
        }
    });
    Ok(Said {
        event,
        changes: change.into_iter().collect(),
    })
}
