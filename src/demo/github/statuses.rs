//! What is said of commits: statuses and check runs
//! ([statuses](https://docs.github.com/en/rest/commits/statuses), [checks](https://docs.github.com/en/rest/checks/runs)).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::access::Kind;
use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::form::node;
use super::moved;
use super::state::{Check, Status};

/// The most statuses of one context on one commit ([statuses](https://docs.github.com/en/rest/commits/statuses#create-a-commit-status)).
const STATUSES: usize = 1000;

/// The most characters of a description; GitHub's answer to more is part of this module's tests.
const DESCRIPTION: usize = 140;

pub(super) async fn create(call: &mut Call<'_>) -> Answer {
    let state = call.required("state")?;
    if !["error", "failure", "pending", "success"].contains(&state.as_str()) {
        return Err(Refusal::invalid("Status", "state", "inclusion"));
    }
    let description = call.text("description");
    if description
        .as_ref()
        .is_some_and(|it| it.chars().count() > DESCRIPTION)
    {
        let message = format!("description is too long (maximum is {DESCRIPTION} characters)");
        return Err(Refusal::custom("Status", &message));
    }
    let sha = call.argument(0).to_owned();
    let kind = call.git()?.kind(&sha).await;
    if sha.len() != 40 || kind.as_deref() != Some("commit") {
        let message = format!("No commit found for SHA: {sha}");
        return Err(Refusal::new(422, message));
    }
    let status = Status {
        id: call.state.new_id(),
        context: call.text("context").unwrap_or_else(|| "default".to_owned()),
        state,
        description,
        target: call.text("target_url").filter(|it| !it.is_empty()),
        creator: call.grant.login.clone(),
        app: call.grant.app(call.state),
        at: call.now,
    };
    let form = shown(call, &sha, &status);
    let all = call
        .repository_mut()?
        .statuses
        .entry(sha.clone())
        .or_default();
    if all.iter().filter(|it| it.context == status.context).count() >= STATUSES {
        let message = "This SHA and context has reached the maximum number of statuses.";
        return Err(Refusal::custom("Status", message));
    }
    all.push(status);
    let mut payload = form.clone();
    payload["sha"] = json!(sha);
    payload["name"] = json!(call.name);
    payload["branches"] = json!([]);
    call.tell("status", None, payload);
    moved::settle(call.shared, call.state, &call.name, call.now).await?;
    Ok(Reply::new(201, form))
}

pub(super) async fn list(call: &mut Call<'_>) -> Answer {
    let sha = sha(call).await?;
    let all = call.repository()?.statuses.get(&sha);
    let newest: Vec<&Status> = all.into_iter().flatten().rev().collect();
    call.listed(newest, |it| shown(call, &sha, it))
}

/// The newest status of each context, and what they come to.
pub(super) async fn combined(call: &mut Call<'_>) -> Answer {
    let sha = sha(call).await?;
    let repository = call.repository()?;
    let mut newest: BTreeMap<&str, &Status> = BTreeMap::new();
    for status in repository.statuses.get(&sha).into_iter().flatten() {
        newest.insert(&status.context, status);
    }
    let has = |state: &str| newest.values().any(|it| it.state == state);
    let state = match () {
        () if has("failure") || has("error") => "failure",
        () if newest.is_empty() || has("pending") => "pending",
        () => "success",
    };
    let url = call.form().url(repository);
    let total = newest.len();
    let (part, link) = call.page(newest.into_values().collect());
    let mut forms: Vec<Value> = Vec::new();
    for status in part {
        let mut form = shown(call, &sha, status);
        if let Some(form) = form.as_object_mut() {
            // The short form has no creator.
            form.shift_remove("creator");
        }
        forms.push(form);
    }
    let body = json!({
        "state": state,
        "statuses": forms,
        "sha": sha,
        "total_count": total,
        "repository": call.form().repository(repository),
        "commit_url": format!("{url}/commits/{sha}"),
        "url": format!("{url}/commits/{sha}/status"),
    });
    Ok(Reply {
        link,
        ..Reply::ok(body)
    })
}

fn shown(call: &Call<'_>, sha: &str, status: &Status) -> Value {
    let form = call.form();
    let url = call.repository().map(|it| form.url(it));
    let user = form.user(&status.creator);
    json!({
        "url": format!("{}/statuses/{sha}", url.unwrap_or_default()),
        "avatar_url": user["avatar_url"],
        "id": status.id,
        "node_id": node("SC", status.id),
        "state": status.state,
        "description": status.description,
        "target_url": status.target,
        "context": status.context,
        "created_at": status.at.to_string(),
        "updated_at": status.at.to_string(),
        "creator": user,
    })
}

/// The commit that the path's name means.
async fn sha(call: &Call<'_>) -> Result<String, Refusal> {
    let name = call.argument(0);
    let found = call.git()?.resolve(name).await;
    found.ok_or_else(|| Refusal::new(422, format!("No commit found for SHA: {name}")))
}

/// The newest run of each name.
pub(super) async fn checks(call: &mut Call<'_>) -> Answer {
    let sha = sha(call).await?;
    let repository = call.repository()?;
    let mut newest: BTreeMap<(&str, u64), &Check> = BTreeMap::new();
    for check in repository.checks.values().filter(|it| it.sha == sha) {
        if call.asked("check_name").is_none_or(|it| it == check.name) {
            newest.insert((&check.name, check.app), check);
        }
    }
    let total = newest.len();
    let (part, link) = call.page(newest.into_values().collect());
    let runs: Value = part.into_iter().map(|it| run(call, it)).collect();
    let body = json!({ "total_count": total, "check_runs": runs });
    Ok(Reply {
        link,
        ..Reply::ok(body)
    })
}

/// Only apps write check runs.
pub(super) async fn create_check(call: &mut Call<'_>) -> Answer {
    let Kind::Installation(_) = call.grant.kind else {
        let message = "You must authenticate via a GitHub App.";
        return Err(Refusal::new(403, message));
    };
    let (name, sha) = (call.required("name")?, call.required("head_sha")?);
    if call.git()?.kind(&sha).await.as_deref() != Some("commit") {
        let message = format!("No commit found for SHA: {sha}");
        return Err(Refusal::new(422, message));
    }
    let mut check = Check {
        id: call.state.new_id(),
        app: call.grant.app(call.state).unwrap_or_default(),
        name,
        sha,
        status: "queued".to_owned(),
        conclusion: None,
        details: None,
        external_id: None,
        output: Value::Null,
        started_at: call.now,
        completed_at: None,
    };
    fill(call, &mut check);
    let id = check.id;
    call.repository_mut()?.checks.insert(id, check);
    told(call, id, "created", 201).await
}

pub(super) async fn update_check(call: &mut Call<'_>) -> Answer {
    let id = call.number(0)?;
    let own = call.grant.app(call.state);
    let mut check = call
        .repository_mut()?
        .checks
        .remove(&id)
        .ok_or_else(Refusal::not_found)?;
    if Some(check.app) == own {
        fill(call, &mut check);
        call.repository_mut()?.checks.insert(id, check);
        return told(call, id, "completed", 200).await;
    }
    call.repository_mut()?.checks.insert(id, check);
    let message =
        "Invalid app_id - check run can only be modified by the GitHub App that created it.";
    Err(Refusal::new(403, message))
}

fn fill(call: &Call<'_>, check: &mut Check) {
    if let Some(status) = call.text("status") {
        check.status = status;
    }
    if let Some(conclusion) = call.text("conclusion") {
        check.conclusion = Some(conclusion);
        check.status = "completed".to_owned();
        check.completed_at = Some(call.now);
    }
    check.details = call.text("details_url").or(check.details.take());
    check.external_id = call.text("external_id").or(check.external_id.take());
    if call.body["output"].is_object() {
        check.output = call.body["output"].clone();
    }
}

async fn told(call: &mut Call<'_>, id: u64, action: &str, status: u16) -> Answer {
    let check = call.repository()?.checks.get(&id);
    let form = run(call, check.ok_or_else(Refusal::not_found)?);
    call.tell("check_run", Some(action), json!({ "check_run": form }));
    moved::settle(call.shared, call.state, &call.name, call.now).await?;
    Ok(Reply::new(status, form))
}

fn run(call: &Call<'_>, check: &Check) -> Value {
    let form = call.form();
    let repository = call.repository();
    let (url, html) = match repository {
        Ok(repository) => (form.url(repository), form.html(repository)),
        Err(_) => Default::default(),
    };
    let id = check.id;
    let own = format!("{url}/check-runs/{id}");
    json!({
        "id": id,
        "head_sha": check.sha,
        "node_id": node("CR", id),
        "external_id": check.external_id.clone().unwrap_or_default(),
        "url": own,
        "html_url": format!("{html}/runs/{id}"),
        "details_url": check.details,
        "status": check.status,
        "conclusion": check.conclusion,
        "started_at": check.started_at.to_string(),
        "completed_at": check.completed_at.map(|at| at.to_string()),
        "output": {
            "title": check.output["title"],
            "summary": check.output["summary"],
            "text": check.output["text"],
            "annotations_count": 0,
            "annotations_url": format!("{own}/annotations"),
        },
        "name": check.name,
        "check_suite": { "id": id },
        "app": form.app(check.app),
        "pull_requests": [],
    })
}
