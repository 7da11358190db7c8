//! Pull requests: finding, opening, editing and closing them ([API](https://docs.github.com/en/rest/pulls/pulls)).

use serde_json::{Value, json};

use super::access::Role;
use super::answer::{Answer, Refusal, Reply};
use super::call::Call;
use super::git::Git;
use super::merge;
use super::moved::{self, pull_mut};
use super::state::Pull;

/// The most characters of a body; GitHub's answer to more is part of this module's tests.
const BODY: usize = 65_536;
const TITLE: usize = 256;

/// How many commits of a pull request are listed ([commits](https://docs.github.com/en/rest/pulls/pulls#list-commits-on-a-pull-request)).
const COMMITS: usize = 250;

pub(super) fn list(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    let state = call.asked("state").unwrap_or("open");
    if !["open", "closed", "all"].contains(&state) {
        return Err(Refusal::invalid("PullRequest", "state", "invalid"));
    }
    // A head without its owner is not looked at, as the documentation's form says: `user:ref-name`.
    let head = call.asked("head").and_then(|head| head.split_once(':'));
    let fits = |pull: &&Pull| {
        (state == "all" || pull.open == (state == "open"))
            && head.is_none_or(|(owner, name)| owner == repository.owner && name == pull.head)
            && call.asked("base").is_none_or(|base| base == pull.base)
    };
    let mut found: Vec<&Pull> = repository.pulls.values().filter(fits).collect();
    match call.asked("sort") {
        Some("updated") => found.sort_by_key(|it| it.updated_at),
        _ => found.sort_by_key(|it| it.number),
    }
    let ascending = match call.asked("direction") {
        Some(direction) => direction == "asc",
        None => call.asked("sort").is_some_and(|it| it != "created"),
    };
    if !ascending {
        found.reverse();
    }
    call.listed(found, |pull| call.form().simple_pull(repository, pull))
}

pub(super) async fn get(call: &mut Call<'_>) -> Answer {
    let number = call.pull()?.number;
    Ok(Reply::ok(shown(call, number).await?))
}

/// The pull request with its mergeability: known after so many questions.
async fn shown(call: &mut Call<'_>, number: u64) -> Result<Value, Refusal> {
    merge::compare(call.state, &call.name, number).await?;
    let known = match pull_mut(call.state, &call.name, number) {
        Some(pull) if !pull.open => false,
        Some(pull) if pull.unknown > 0 => {
            pull.unknown -= 1;
            false
        }
        _ => true,
    };
    let repository = call.repository()?;
    let pull = repository
        .pulls
        .get(&number)
        .ok_or_else(Refusal::not_found)?;
    let mergeable = known.then(|| merge::state(repository, pull));
    Ok(call.form().pull(repository, pull, mergeable))
}

pub(super) async fn create(call: &mut Call<'_>) -> Answer {
    let (head, base) = (call.required("head")?, call.required("base")?);
    let title = call
        .text("title")
        .filter(|it| !it.trim().is_empty())
        .ok_or_else(|| Refusal::invalid("PullRequest", "title", "missing_field"))?;
    let body = call.text("body");
    check_texts(Some(&title), body.as_deref())?;
    let repository = call.repository()?;
    let owner = repository.owner.clone();
    let head = match head.split_once(':') {
        Some((user, _)) if user != owner => {
            return Err(Refusal::invalid("PullRequest", "head", "invalid"));
        }
        Some((_, name)) => name.to_owned(),
        None => head,
    };
    let invalid = |field| Refusal::invalid("PullRequest", field, "invalid");
    let base_sha = repository.branch(&base).cloned();
    let base_sha = base_sha.ok_or_else(|| invalid("base"))?;
    let head_sha = repository.branch(&head).cloned();
    let head_sha = head_sha.ok_or_else(|| invalid("head"))?;
    refuse_duplicate(call, &head, &base)?;
    let range = format!("{base_sha}..{head_sha}");
    if call.git()?.count(&range).await == 0 {
        let message = format!("No commits between {base} and {head}");
        return Err(Refusal::custom("PullRequest", &message));
    }
    let id = call.state.new_id();
    let now = call.now;
    let author = call.grant.login.clone();
    let draft = call.body["draft"] == true;
    let unknown = call.shared.limits().unknown_mergeability;
    let repository = call.repository_mut()?;
    repository.last_number += 1;
    let number = repository.last_number;
    let kept = format!("refs/pull/{number}/head");
    Git(&repository.path)
        .move_ref(&kept, None, Some(&head_sha))
        .await;
    repository.refs.insert(kept, head_sha.clone());
    let pull = Pull {
        id,
        number,
        title,
        body,
        author,
        head,
        head_sha,
        base,
        base_sha,
        open: true,
        draft,
        merged: None,
        created_at: now,
        updated_at: now,
        closed_at: None,
        labels: Vec::new(),
        reviewers: Vec::new(),
        reviews: Vec::new(),
        auto_merge: None,
        compared: None,
        unknown,
        events: Vec::new(),
    };
    repository.pulls.insert(number, pull);
    merge::compare(call.state, &call.name, number).await?;
    call.tell_pull(number, "opened", json!({}));
    let repository = call.repository()?;
    let pull = repository
        .pulls
        .get(&number)
        .ok_or_else(Refusal::not_found)?;
    // Never known yet in this answer.
    Ok(Reply::new(201, call.form().pull(repository, pull, None)))
}

fn refuse_duplicate(call: &Call<'_>, head: &str, base: &str) -> Result<(), Refusal> {
    let repository = call.repository()?;
    let mut pulls = repository.pulls.values();
    if pulls.any(|pull| pull.open && pull.head == head && pull.base == base) {
        let owner = &repository.owner;
        let message = format!("A pull request already exists for {owner}:{head}.");
        return Err(Refusal::custom("PullRequest", &message));
    }
    Ok(())
}

fn check_texts(title: Option<&str>, body: Option<&str>) -> Result<(), Refusal> {
    for (name, text, most) in [("title", title, TITLE), ("body", body, BODY)] {
        if text.is_some_and(|text| text.chars().count() > most) {
            let message = format!("{name} is too long (maximum is {most} characters)");
            return Err(Refusal::custom("PullRequest", &message));
        }
    }
    Ok(())
}

pub(super) async fn update(call: &mut Call<'_>) -> Answer {
    let pull = call.pull()?;
    let (number, was_open) = (pull.number, pull.open);
    let (title, body) = (call.text("title"), call.text("body"));
    check_texts(title.as_deref(), body.as_deref())?;
    let state = call.text("state");
    if state.as_deref() == Some("open") && !was_open {
        let pull = call.pull()?;
        let gone = call.repository()?.branch(&pull.head).is_none();
        if gone || pull.merged.is_some() {
            let message = "state cannot be changed. The pull request cannot be reopened.";
            return Err(Refusal::custom("PullRequest", message));
        }
        refuse_duplicate(call, &pull.head, &pull.base)?;
    }
    let base = call.text("base");
    if let Some(base) = &base
        && call.repository()?.branch(base).is_none()
    {
        return Err(Refusal::invalid("PullRequest", "base", "invalid"));
    }
    let clears_body = call.body.get("body").is_some_and(Value::is_null);
    let now = call.now;
    let head_sha = {
        let pull = call.pull()?;
        call.repository()?.branch(&pull.head).cloned()
    };
    let pull = call.pull_mut()?;
    pull.updated_at = now;
    let mut changes = json!({});
    if let Some(title) = title {
        changes["title"] = json!({ "from": pull.title });
        pull.title = title;
    }
    if body.is_some() || clears_body {
        changes["body"] = json!({ "from": pull.body });
        pull.body = body;
    }
    if let Some(base) = base {
        changes["base"] = json!({ "ref": { "from": pull.base } });
        pull.base = base;
        pull.compared = None;
    }
    let mut action = None;
    match state.as_deref() {
        Some("closed") if was_open => {
            pull.open = false;
            pull.closed_at = Some(now);
            pull.auto_merge = None;
            action = Some("closed");
        }
        Some("open") if !was_open => {
            pull.open = true;
            pull.closed_at = None;
            pull.compared = None;
            if let Some(sha) = head_sha {
                pull.head_sha = sha;
            }
            action = Some("reopened");
        }
        _ => {}
    }
    if changes.as_object().is_some_and(|it| !it.is_empty()) {
        call.tell_pull(number, "edited", json!({ "changes": changes }));
    }
    if let Some(action) = action {
        call.note(number, action, None)?;
        call.repository_mut()?
            .queue
            .retain(|it| it.number != number);
        call.tell_pull(number, action, json!({}));
    }
    let (name, login, now) = (call.name.clone(), call.grant.login.clone(), call.now);
    moved::after(call.shared, call.state, &name, &login, now).await?;
    Ok(Reply::ok(shown(call, number).await?))
}

pub(super) async fn files(call: &mut Call<'_>) -> Answer {
    let (repository, pull) = (call.repository()?, call.pull()?);
    let git = call.git()?;
    let base = repository.branch(&pull.base).unwrap_or(&pull.base_sha);
    let base = if pull.open { base } else { &pull.base_sha };
    let middle = git.merge_base(base, &pull.head_sha).await;
    let changed = git
        .diff(middle.as_ref().unwrap_or(base), &pull.head_sha)
        .await?;
    let form = call.form().files(repository, &pull.head_sha, &changed);
    let all = form.as_array().cloned().unwrap_or_default();
    call.listed(all, |file| file)
}

pub(super) async fn commits(call: &mut Call<'_>) -> Answer {
    let (repository, pull) = (call.repository()?, call.pull()?);
    let base = repository.branch(&pull.base).unwrap_or(&pull.base_sha);
    let base = if pull.open { base } else { &pull.base_sha };
    let range = format!("{base}..{}", pull.head_sha);
    let mut commits = call.git()?.commits(&range, COMMITS, None).await?;
    commits.reverse();
    call.listed(commits, |it| call.form().commit(repository, &it, None))
}

/// Whether it was merged.
pub(super) fn is_merged(call: &Call<'_>) -> Answer {
    match call.pull()?.merged {
        Some(_) => Ok(Reply::empty()),
        None => Err(Refusal::not_found()),
    }
}

/// Pull requests that a commit belongs to.
pub(super) async fn of_commit(call: &mut Call<'_>) -> Answer {
    let repository = call.repository()?;
    let git = call.git()?;
    let Some(sha) = git.resolve(call.argument(0)).await else {
        let message = format!("No commit found for SHA: {}", call.argument(0));
        return Err(Refusal::new(422, message));
    };
    let mut found = Vec::new();
    for pull in repository.pulls.values() {
        let merged = pull.merged.as_ref().is_some_and(|it| it.sha == sha);
        let in_head = git.is_ancestor(&sha, &pull.head_sha).await
            && !git.is_ancestor(&sha, &pull.base_sha).await;
        if merged || in_head {
            found.push(pull);
        }
    }
    call.listed(found, |pull| call.form().simple_pull(repository, pull))
}

/// The role of somebody, as one permission.
pub(super) fn permission(call: &Call<'_>) -> Answer {
    let login = call.argument(0);
    let repository = call.repository()?;
    if !call.state.users.contains_key(login) {
        return Err(Refusal::not_found());
    }
    let role = super::access::role_of(repository, login);
    let mut user = call.form().user(login);
    user["permissions"] = super::form::permissions(role);
    let name = role.map_or("none", Role::name);
    user["role_name"] = json!(name);
    let legacy = match role {
        Some(Role::Maintain) => "write",
        Some(Role::Triage) => "read",
        _ => name,
    };
    Ok(Reply::ok(
        json!({ "permission": legacy, "role_name": name, "user": user }),
    ))
}
