//! What pull requests share with issues: comments, labels and what happened
//! ([comments](https://docs.github.com/en/rest/issues/comments), [labels](https://docs.github.com/en/rest/issues/labels)).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::pulls;
use super::state::{Comment, IssueEvent, Label};

/// The colour of a label that is made by being used.
const COLOR: &str = "ededed";

/// A pull request as an issue.
pub(super) fn get(call: &Call<'_>) -> Answer {
    let (repository, pull) = (call.repository()?, call.pull()?);
    Ok(Reply::ok(call.form().issue(repository, pull)))
}

/// The same, edited: labels are replaced, the rest is as with pull requests.
pub(super) async fn update(call: &mut Call<'_>) -> Answer {
    if call.body["labels"].is_array() {
        set_labels(call)?;
    }
    let edits = ["title", "body", "state"];
    if edits.iter().any(|name| call.body.get(*name).is_some()) {
        pulls::update(call).await?;
    }
    get(call)
}

pub(super) fn comments(call: &Call<'_>) -> Answer {
    let number = call.pull()?.number;
    let since: Option<Timestamp> = call.asked("since").and_then(|it| it.parse().ok());
    let repository = call.repository()?;
    let all = repository.comments.values().filter(|it| it.issue == number);
    let recent = |it: &&Comment| since.is_none_or(|since| it.updated_at >= since);
    let all: Vec<&Comment> = all.filter(recent).collect();
    call.listed(all, |it| call.form().comment(repository, it))
}

pub(super) fn comment(call: &mut Call<'_>) -> Answer {
    let body = call.required("body")?;
    let comment = Comment {
        id: call.state.new_id(),
        issue: call.pull()?.number,
        author: call.grant.login.clone(),
        body,
        created_at: call.now,
        updated_at: call.now,
    };
    let id = comment.id;
    call.repository_mut()?.comments.insert(id, comment);
    let form = shown(call, id)?;
    tell(call, "created", &form)?;
    Ok(Reply::new(201, form))
}

pub(super) fn edit_comment(call: &mut Call<'_>) -> Answer {
    let (id, body, now) = (call.number(0)?, call.required("body")?, call.now);
    let comment = call.repository_mut()?.comments.get_mut(&id);
    let comment = comment.ok_or_else(Refusal::not_found)?;
    comment.body = body;
    comment.updated_at = now;
    Ok(Reply::ok(shown(call, id)?))
}

pub(super) fn delete_comment(call: &mut Call<'_>) -> Answer {
    let id = call.number(0)?;
    let removed = call.repository_mut()?.comments.remove(&id);
    removed
        .map(|_| Reply::empty())
        .ok_or_else(Refusal::not_found)
}

fn shown(call: &Call<'_>, id: u64) -> Result<Value, Refusal> {
    let repository = call.repository()?;
    let comment = repository.comments.get(&id);
    let comment = comment.ok_or_else(Refusal::not_found)?;
    Ok(call.form().comment(repository, comment))
}

fn tell(call: &mut Call<'_>, action: &str, comment: &Value) -> Result<(), Refusal> {
    let (repository, pull) = (call.repository()?, call.pull()?);
    let issue = call.form().issue(repository, pull);
    let payload = json!({ "issue": issue, "comment": comment });
    call.tell("issue_comment", Some(action), payload);
    Ok(())
}

pub(super) fn events(call: &Call<'_>) -> Answer {
    let (repository, pull) = (call.repository()?, call.pull()?);
    let all: Vec<&IssueEvent> = pull.events.iter().collect();
    call.listed(all, |it| call.form().issue_event(repository, it))
}

pub(super) fn labels(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let names: Vec<&String> = call.pull()?.labels.iter().collect();
    call.listed(names, |it| call.form().label(repository, it))
}

/// Adds labels; those that do not exist are made.
pub(super) fn add_labels(call: &mut Call<'_>) -> Answer {
    let number = call.pull()?.number;
    for name in names(call)? {
        let key = name.to_lowercase();
        let id = call.state.new_id();
        let known = &mut call.repository_mut()?.labels;
        let label = known.entry(key.clone()).or_insert_with(|| Label {
            id,
            name: name.clone(),
            color: COLOR.to_owned(),
        });
        let name = label.name.clone();
        if call.pull()?.labels.contains(&key) {
            continue;
        }
        call.pull_mut()?.labels.push(key);
        changed(call, number, "labeled", &name)?;
    }
    labels_now(call)
}

/// Replaces the labels.
pub(super) fn set_labels(call: &mut Call<'_>) -> Answer {
    let number = call.pull()?.number;
    let kept: Vec<String> = names(call)?.iter().map(|it| it.to_lowercase()).collect();
    let gone: Vec<String> = call.pull()?.labels.clone();
    for name in gone.iter().filter(|it| !kept.contains(it)) {
        remove(call, number, name)?;
    }
    add_labels(call)
}

pub(super) fn remove_label(call: &mut Call<'_>) -> Answer {
    let number = call.pull()?.number;
    let name = call.argument(1).to_lowercase();
    if !call.pull()?.labels.contains(&name) {
        return Err(Refusal::new(404, "Label does not exist"));
    }
    remove(call, number, &name)?;
    labels_now(call)
}

fn remove(call: &mut Call<'_>, number: u64, name: &str) -> Result<(), Refusal> {
    call.pull_mut()?.labels.retain(|it| it != name);
    changed(call, number, "unlabeled", name)
}

fn changed(
    call: &mut Call<'_>,
    number: u64,
    action: &'static str,
    name: &str,
) -> Result<(), Refusal> {
    call.note(number, action, Some(name.to_owned()))?;
    let label = call.form().label(call.repository()?, name);
    call.tell_pull(number, action, json!({ "label": label }));
    Ok(())
}

fn labels_now(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let form = call.form();
    let all = call.pull()?.labels.iter();
    Ok(Reply::ok(
        all.map(|it| form.label(repository, it)).collect(),
    ))
}

/// `{ "labels": ["a"] }`, `{ "labels": [{ "name": "a" }] }` or the list alone.
fn names(call: &Call<'_>) -> Result<Vec<String>, Refusal> {
    let list = match &call.body {
        Value::Array(list) => list,
        body => body["labels"]
            .as_array()
            .ok_or_else(|| Refusal::invalid("Label", "labels", "missing_field"))?,
    };
    let name = |it: &Value| it.as_str().or(it["name"].as_str()).map(str::to_owned);
    Ok(list.iter().filter_map(name).collect())
}
