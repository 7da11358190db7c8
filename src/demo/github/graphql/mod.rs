//! The few things that GitHub does by GraphQL alone: auto-merge, drafts, the merge queue, and commits on a
//! branch that GitHub signs ([mutations](https://docs.github.com/en/graphql/reference/mutations)).
//!
//! Owns what they do; how a document is read is `document.rs`.

mod document;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::access::{Level, Need, Permission, Role};
use super::answer::{Answer, Refusal, Reply};
use super::call::{Call, site_committer};
use super::git::Git;
use super::merge;
use super::moved;
use super::protection;
use super::state::{AutoMerge, Pull, Queued, Repository};
use document::{Field, parse};

const WRITE: Need = Need {
    any: &[(Permission::PullRequests, Level::Write)],
    role: Role::Write,
};

const CONTENTS: Need = Need {
    any: &[(Permission::Contents, Level::Write)],
    role: Role::Write,
};

/// What a field comes to, or the type and the words of its error.
type Outcome = Result<Value, Wrong>;

struct Wrong {
    kind: &'static str,
    message: String,
}

fn wrong(kind: &'static str, message: impl Into<String>) -> Wrong {
    Wrong {
        kind,
        message: message.into(),
    }
}

impl From<Refusal> for Wrong {
    fn from(refusal: Refusal) -> Self {
        let kind = match refusal.status {
            403 => "FORBIDDEN",
            404 => "NOT_FOUND",
            _ => "UNPROCESSABLE",
        };
        wrong(kind, refusal.message())
    }
}

impl From<std::io::Error> for Wrong {
    fn from(error: std::io::Error) -> Self {
        wrong("SERVICE_UNAVAILABLE", error.to_string())
    }
}

/// Answers a document: always 200, with what went wrong in `errors`.
pub(super) async fn answer(call: &mut Call<'_>) -> Answer {
    let query = call.text("query").unwrap_or_default();
    let variables = call.body["variables"].clone();
    let fields = match parse(&query, &variables) {
        Ok(fields) => fields,
        Err(message) => {
            let errors = json!([{ "message": message }]);
            return Ok(Reply::ok(json!({ "errors": errors })));
        }
    };
    let (mut data, mut errors) = (Map::new(), Vec::new());
    for field in fields {
        let outcome = match root(call, &field).await {
            Ok(value) => project(&value, &field),
            Err(error) => Err(error),
        };
        let value = outcome.unwrap_or_else(|Wrong { kind, message }| {
            errors.push(json!({ "type": kind, "path": [field.key], "message": message }));
            Value::Null
        });
        data.insert(field.key, value);
    }
    let mut body = json!({ "data": data });
    if !errors.is_empty() {
        body["errors"] = Value::Array(errors);
    }
    Ok(Reply::ok(body))
}

/// As much of a value as was asked for.
fn project(value: &Value, field: &Field) -> Outcome {
    match value {
        Value::Array(list) => list.iter().map(|it| project(it, field)).collect(),
        Value::Object(object) if !field.fields.is_empty() => {
            let mut chosen = Map::new();
            for inner in &field.fields {
                let Some(value) = object.get(&inner.name) else {
                    let message = format!("Field '{}' doesn't exist here", inner.name);
                    return Err(wrong("undefinedField", message));
                };
                chosen.insert(inner.key.clone(), project(value, inner)?);
            }
            Ok(Value::Object(chosen))
        }
        other => Ok(other.clone()),
    }
}

async fn root(call: &mut Call<'_>, field: &Field) -> Outcome {
    let input = field.arguments.get("input").cloned().unwrap_or(Value::Null);
    match field.name.as_str() {
        "node" => {
            let id = field.arguments.get("id").cloned().unwrap_or(Value::Null);
            let number = locate(call, &id)?;
            pull_node(call, number)
        }
        "repository" => repository(call, field),
        "viewer" => Ok(json!({ "login": call.grant.login })),
        "enablePullRequestAutoMerge" => enable(call, &input).await,
        "disablePullRequestAutoMerge" => disable(call, &input),
        "convertPullRequestToDraft" => draft(call, &input, true).await,
        "markPullRequestReadyForReview" => draft(call, &input, false).await,
        "enqueuePullRequest" => enqueue(call, &input).await,
        "dequeuePullRequest" => dequeue(call, &input),
        "createCommitOnBranch" => commit(call, &input).await,
        other => {
            let message = format!("Field '{other}' doesn't exist on type 'Mutation'");
            Err(wrong("undefinedField", message))
        }
    }
}

/// Finds the pull request with this id, and lets the call be about its repository.
fn locate(call: &mut Call<'_>, id: &Value) -> Result<u64, Wrong> {
    let id = id.as_str().unwrap_or_default();
    let missing = || {
        let message = format!("Could not resolve to a node with the global id of '{id}'");
        wrong("NOT_FOUND", message)
    };
    let number = id.strip_prefix("PR_").and_then(|it| it.parse::<u64>().ok());
    let number = number.ok_or_else(missing)?;
    let has = |it: &&Repository| it.pulls.values().any(|pull| pull.id == number);
    let repository = call.state.repositories.values().find(has);
    let repository = repository.ok_or_else(missing)?;
    if call.grant.role(repository).is_none() {
        return Err(missing());
    }
    let found = repository.pulls.values().find(|pull| pull.id == number);
    let found = found.map(|pull| pull.number);
    call.name = repository.full_name();
    found.ok_or_else(missing)
}

/// The same, for one who wants to change it.
fn locate_to_write(call: &mut Call<'_>, input: &Value) -> Result<u64, Wrong> {
    let number = locate(call, &input["pullRequestId"])?;
    call.grant.check(call.repository()?, WRITE)?;
    Ok(number)
}

fn pull_node(call: &Call<'_>, number: u64) -> Outcome {
    let repository = call.repository()?;
    let pull = repository
        .pulls
        .get(&number)
        .ok_or_else(Refusal::not_found)?;
    let queued = repository.queue.iter().position(|it| it.number == number);
    let entry = queued.and_then(|at| Some((at, repository.queue.get(at)?)));
    let state = match (pull.open, &pull.merged) {
        (true, _) => "OPEN",
        (false, Some(_)) => "MERGED",
        (false, None) => "CLOSED",
    };
    Ok(json!({
        "__typename": "PullRequest",
        "id": format!("PR_{}", pull.id),
        "number": number,
        "title": pull.title,
        "body": pull.body,
        "url": format!("{}/pull/{number}", call.form().html(repository)),
        "state": state,
        "isDraft": pull.draft,
        "merged": pull.merged.is_some(),
        "headRefName": pull.head,
        "headRefOid": pull.head_sha,
        "baseRefName": pull.base,
        "isInMergeQueue": entry.is_some(),
        "mergeQueueEntry": entry.map_or(Value::Null, |(at, it)| entry_node(at, it)),
        "autoMergeRequest": pull.auto_merge.as_ref().map(|it| json!({
            "mergeMethod": it.method.to_uppercase(),
            "enabledBy": { "login": it.by },
        })),
    }))
}

fn entry_node(at: usize, queued: &Queued) -> Value {
    json!({
        "id": format!("MQE_{}", queued.id),
        "position": at + 1,
        "state": if queued.group.is_some() { "AWAITING_CHECKS" } else { "QUEUED" },
        "headCommit": queued.group.as_ref().map(|it| json!({ "oid": it.sha })),
    })
}

fn repository(call: &mut Call<'_>, field: &Field) -> Outcome {
    let text = |name: &str| field.arguments.get(name).and_then(Value::as_str);
    let name = format!(
        "{}/{}",
        text("owner").unwrap_or_default(),
        text("name").unwrap_or_default()
    );
    let missing = || {
        let message = format!("Could not resolve to a Repository with the name '{name}'.");
        wrong("NOT_FOUND", message)
    };
    let repository = call.state.repositories.get(&name).ok_or_else(missing)?;
    if call.grant.role(repository).is_none() {
        return Err(missing());
    }
    call.name.clone_from(&name);
    let repository = call.repository()?;
    let mut node = json!({
        "id": format!("R_{}", repository.id),
        "nameWithOwner": name,
        "autoMergeAllowed": repository.methods.auto_merge,
        "isArchived": repository.archived,
    });
    for inner in field.fields.iter().filter(|it| it.name == "pullRequest") {
        let number = inner.arguments.get("number").and_then(Value::as_u64);
        let number = number.filter(|it| repository.pulls.contains_key(it));
        let missing = || wrong("NOT_FOUND", "Could not resolve to a PullRequest.");
        node["pullRequest"] = pull_node(call, number.ok_or_else(missing)?)?;
    }
    for inner in field.fields.iter().filter(|it| it.name == "ref") {
        let name = inner.arguments.get("qualifiedName").and_then(Value::as_str);
        let name = name.unwrap_or_default().trim_start_matches("refs/heads/");
        node["ref"] = match repository.branch(name) {
            None => Value::Null,
            Some(sha) => json!({
                "name": name,
                "target": { "oid": sha },
                "refUpdateRule": protection::update_rule(call, repository, name),
            }),
        };
    }
    Ok(node)
}

async fn enable(call: &mut Call<'_>, input: &Value) -> Outcome {
    let number = locate_to_write(call, input)?;
    call.grant.check(call.repository()?, CONTENTS)?;
    if !call.repository()?.methods.auto_merge {
        let message = "Pull request Auto merge is not allowed for this repository";
        return Err(wrong("UNPROCESSABLE", message));
    }
    merge::compare(call.state, &call.name, number).await?;
    let login = call.grant.login.clone();
    let repository = call.repository()?;
    let pull = repository
        .pulls
        .get(&number)
        .ok_or_else(Refusal::not_found)?;
    if !pull.open {
        let message = "Can't enable auto-merge for this pull request.";
        return Err(wrong("UNPROCESSABLE", message));
    }
    let (_, state) = merge::state(repository, pull);
    if ["clean", "unstable"].contains(&state) {
        let message = format!("Pull request Pull request is in {state} status");
        return Err(wrong("UNPROCESSABLE", message));
    }
    let text = |name: &str| input[name].as_str().map(str::to_owned);
    let method = text("mergeMethod").unwrap_or_else(|| "MERGE".to_owned());
    let auto = AutoMerge {
        by: login,
        method: method.to_lowercase(),
        title: text("commitHeadline"),
        message: text("commitBody"),
    };
    change(call, number, |pull| pull.auto_merge = Some(auto))?;
    call.note(number, "auto_merge_enabled", None)?;
    call.tell_pull(number, "auto_merge_enabled", json!({}));
    Ok(json!({ "pullRequest": pull_node(call, number)?, "clientMutationId": null }))
}

fn disable(call: &mut Call<'_>, input: &Value) -> Outcome {
    let number = locate_to_write(call, input)?;
    let mut was_armed = false;
    change(call, number, |pull| {
        was_armed = pull.auto_merge.take().is_some();
    })?;
    if !was_armed {
        let message = "Can't disable auto-merge for this pull request.";
        return Err(wrong("UNPROCESSABLE", message));
    }
    call.note(number, "auto_merge_disabled", None)?;
    call.tell_pull(number, "auto_merge_disabled", json!({}));
    Ok(json!({ "pullRequest": pull_node(call, number)?, "clientMutationId": null }))
}

async fn draft(call: &mut Call<'_>, input: &Value, draft: bool) -> Outcome {
    let number = locate_to_write(call, input)?;
    change(call, number, |pull| pull.draft = draft)?;
    let action = match draft {
        true => "converted_to_draft",
        false => "ready_for_review",
    };
    call.tell_pull(number, action, json!({}));
    moved::settle(call.shared, call.state, &call.name, call.now).await?;
    Ok(json!({ "pullRequest": pull_node(call, number)?, "clientMutationId": null }))
}

fn change(call: &mut Call<'_>, number: u64, to: impl FnOnce(&mut Pull)) -> Result<(), Wrong> {
    let pull = call.repository_mut()?.pulls.get_mut(&number);
    to(pull.ok_or_else(Refusal::not_found)?);
    Ok(())
}

async fn enqueue(call: &mut Call<'_>, input: &Value) -> Outcome {
    let number = locate_to_write(call, input)?;
    merge::compare(call.state, &call.name, number).await?;
    let login = call.grant.login.clone();
    let repository = call.repository()?;
    let pull = repository
        .pulls
        .get(&number)
        .ok_or_else(Refusal::not_found)?;
    let expected = input["expectedHeadOid"].as_str();
    if expected.is_some_and(|it| it != pull.head_sha) {
        let message = "The head of the pull request is not as expected.";
        return Err(wrong("STALE_DATA", message));
    }
    if let Some(why) = merge::obstacle(repository, pull, &login) {
        return Err(wrong("UNPROCESSABLE", why));
    }
    if repository.queue.iter().any(|it| it.number == number) {
        let message = "The pull request is already in the queue";
        return Err(wrong("UNPROCESSABLE", message));
    }
    let queued = Queued {
        id: call.state.new_id(),
        number,
        by: login,
        method: "merge".to_owned(),
        group: None,
    };
    let mut entry = entry_node(0, &queued);
    let place = call.repository()?.queue.len();
    call.repository_mut()?.queue.push(queued);
    call.tell_pull(number, "enqueued", json!({}));
    moved::settle(call.shared, call.state, &call.name, call.now).await?;
    entry["position"] = json!(place + 1);
    entry["pullRequest"] = pull_node(call, number)?;
    Ok(json!({ "mergeQueueEntry": entry, "clientMutationId": null }))
}

fn dequeue(call: &mut Call<'_>, input: &Value) -> Outcome {
    let number = locate(call, &input["id"])?;
    call.grant.check(call.repository()?, WRITE)?;
    let queue = &mut call.repository_mut()?.queue;
    let Some(at) = queue.iter().position(|it| it.number == number) else {
        return Err(wrong(
            "UNPROCESSABLE",
            "The pull request is not in the queue",
        ));
    };
    let queued = queue.remove(at);
    let entry = entry_node(at, &queued);
    call.tell_pull(number, "dequeued", json!({ "reason": "MANUAL" }));
    Ok(json!({ "mergeQueueEntry": entry, "clientMutationId": null }))
}

/// One commit on a branch, made and signed by the site.
async fn commit(call: &mut Call<'_>, input: &Value) -> Outcome {
    let name = input["branch"]["repositoryNameWithOwner"].as_str();
    let name = name.unwrap_or_default().to_owned();
    let branch = input["branch"]["branchName"].as_str().unwrap_or_default();
    let branch = branch.trim_start_matches("refs/heads/").to_owned();
    call.name = name;
    let missing = || wrong("NOT_FOUND", "Could not resolve to a Repository.");
    let repository = call.repository().map_err(|_| missing())?;
    call.grant.check(repository, CONTENTS)?;
    let Some(old) = repository.branch(&branch).cloned() else {
        let message = format!("No such branch \"{branch}\" in this repository");
        return Err(wrong("NOT_FOUND", message));
    };
    let expected = input["expectedHeadOid"].as_str().unwrap_or_default();
    if old != expected {
        let message =
            format!("Expected branch to point to \"{old}\" but it did not. Pull and try again.");
        return Err(wrong("STALE_DATA", message));
    }
    let files = changes(&input["fileChanges"])?;
    let reference = format!("refs/heads/{branch}");
    super::refs::refuse_banned(call, &reference, Some(&old), Some("")).await?;
    let headline = input["message"]["headline"].as_str().unwrap_or_default();
    let body = input["message"]["body"].as_str().unwrap_or_default();
    let message = format!("{headline}\n\n{body}");
    let repository = call.repository()?;
    let git = Git(&repository.path);
    let tree = git.edit(&old, &files).await?;
    let by = (&call.signed(), &site_committer(call.now));
    let made = git
        .write_commit(&tree, &[&old], by, message.trim_end())
        .await?;
    if !git.move_ref(&reference, Some(&old), Some(&made)).await {
        return Err(wrong(
            "STALE_DATA",
            "The branch has moved. Pull and try again.",
        ));
    }
    let url = format!("{}/commit/{made}", call.form().html(repository));
    call.repository_mut()?.verified.insert(made.clone());
    let (name, login) = (call.name.clone(), call.grant.login.clone());
    moved::after(call.shared, call.state, &name, &login, call.now).await?;
    Ok(json!({
        "commit": { "oid": made, "url": url, "signature": { "isValid": true } },
        "ref": { "name": branch, "target": { "oid": made } },
        "clientMutationId": null,
    }))
}

/// Files by path, with what they shall hold; `None`: they go.
type Files = Vec<(String, Option<Vec<u8>>)>;

fn changes(changes: &Value) -> Result<Files, Wrong> {
    let mut files = BTreeMap::new();
    for deletion in changes["deletions"].as_array().into_iter().flatten() {
        let path = deletion["path"].as_str().unwrap_or_default();
        files.insert(path.to_owned(), None);
    }
    for addition in changes["additions"].as_array().into_iter().flatten() {
        let path = addition["path"].as_str().unwrap_or_default();
        let contents = addition["contents"].as_str().unwrap_or_default();
        let contents = BASE64_STANDARD.decode(contents);
        let contents = contents.map_err(|_| wrong("UNPROCESSABLE", "contents is not base64"))?;
        files.insert(path.to_owned(), Some(contents));
    }
    match files.is_empty() {
        true => Err(wrong("UNPROCESSABLE", "fileChanges must not be empty")),
        false => Ok(files.into_iter().collect()),
    }
}
