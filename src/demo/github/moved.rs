//! What follows when refs moved, by a push or by the API: pull requests move with their heads, are merged or
//! closed with them, and webhooks hear of it. Then what waits for the last missing thing goes on by itself:
//! auto-merge and the merge queue.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Shared;
use super::answer::Refusal;
use super::form::Form;
use super::git::Git;
use super::hooks::{self, About};
use super::merge::{self, How, close_merged, compare};
use super::protection::Guard;
use super::state::{Group, IssueEvent, Pull, State};

/// The most commits that a push event lists ([push](https://docs.github.com/en/webhooks/webhook-events-and-payloads#push)).
const LISTED: usize = 2048;

/// What a site tells of a pull request: number, action, and fields beside it.
type Told = (u64, &'static str, Value);

/// Reads the refs, tells what moved, and lets go on what can.
pub(super) async fn after(
    shared: &Shared,
    state: &mut State,
    name: &str,
    by: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    look(shared, state, name, by, now).await?;
    settle(shared, state, name, now).await
}

/// Lets auto-merge and the queue go on for as long as they can.
pub(super) async fn settle(
    shared: &Shared,
    state: &mut State,
    name: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    loop {
        let armed = next_armed(state, name).await?;
        let went_on = match armed {
            Some((number, by, how)) => {
                let merged = merge::merge(state, (name, number), &by, &how, now).await;
                if merged.is_err()
                    && let Some(pull) = pull_mut(state, name, number)
                {
                    pull.auto_merge = None;
                }
                Some(by)
            }
            None => queue(shared, state, name, now).await?,
        };
        match went_on {
            Some(by) => look(shared, state, name, &by, now).await?,
            None => return Ok(()),
        }
    }
}

async fn look(
    shared: &Shared,
    state: &mut State,
    name: &str,
    by: &str,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(repository) = state.repositories.get_mut(name) else {
        return Ok(());
    };
    let refs = Git(&repository.path).refs().await?;
    let old = std::mem::replace(&mut repository.refs, refs.clone());
    let mut moved: Vec<(String, Option<String>, Option<String>)> = Vec::new();
    for (reference, sha) in &refs {
        if old.get(reference) != Some(sha) {
            moved.push((
                reference.clone(),
                old.get(reference).cloned(),
                Some(sha.clone()),
            ));
        }
    }
    for (reference, sha) in old {
        if !refs.contains_key(&reference) {
            moved.push((reference, Some(sha), None));
        }
    }
    if moved.is_empty() {
        return Ok(());
    }
    repository.pushed_at = now;
    for (reference, old, new) in &moved {
        // Of other refs nobody is told.
        if reference.starts_with("refs/heads/") || reference.starts_with("refs/tags/") {
            pushed(
                shared,
                state,
                (name, by),
                (reference, old.as_deref(), new.as_deref()),
                now,
            )
            .await?;
        }
    }
    let told = pulls(shared, state, (name, by), &moved, now).await?;
    for (number, action, more) in told {
        hooks::tell_pull(shared, state, (name, number), (by, action, more), now);
    }
    Ok(())
}

/// Moves the pull requests whose ends moved, and says what is to be told of them.
async fn pulls(
    shared: &Shared,
    state: &mut State,
    (name, by): (&str, &str),
    moved: &[(String, Option<String>, Option<String>)],
    now: Timestamp,
) -> Result<Vec<Told>, Refusal> {
    let moved: BTreeMap<&str, Option<&String>> = moved
        .iter()
        .filter_map(|(name, _, new)| Some((name.strip_prefix("refs/heads/")?, new.as_ref())))
        .collect();
    let mut told = Vec::new();
    let mut events = Vec::new();
    let Some(repository) = state.repositories.get(name) else {
        return Ok(told);
    };
    let stale: Vec<u64> = repository
        .pulls
        .values()
        .filter(|pull| Guard::of(repository, &pull.base, by, false).dismiss_stale)
        .map(|pull| pull.number)
        .collect();
    let Some(repository) = state.repositories.get_mut(name) else {
        return Ok(told);
    };
    let git = Git(&repository.path);
    for pull in repository.pulls.values_mut() {
        let head = moved.get(pull.head.as_str());
        let base = moved.get(pull.base.as_str());
        if let Some(merged) = pull.merged.as_mut().filter(|it| !it.told) {
            merged.told = true;
            events.push((pull.number, "merged"));
            told.push((pull.number, "closed", json!({})));
        }
        if !pull.open {
            continue;
        }
        match head {
            Some(None) => {
                close(pull, now);
                events.push((pull.number, "head_ref_deleted"));
                told.push((pull.number, "closed", json!({})));
                continue;
            }
            Some(Some(sha)) => {
                let before = std::mem::replace(&mut pull.head_sha, (*sha).clone());
                if let Some(base) = repository.refs.get(&format!("refs/heads/{}", pull.base)) {
                    pull.base_sha.clone_from(base);
                }
                pull.updated_at = now;
                shared.wait_for_mergeability(pull);
                if stale.contains(&pull.number) {
                    for review in &mut pull.reviews {
                        if review.state == "APPROVED" {
                            review.state = "DISMISSED";
                        }
                    }
                }
                repository.queue.retain(|it| it.number != pull.number);
                told.push((
                    pull.number,
                    "synchronize",
                    json!({ "before": before, "after": sha }),
                ));
                let kept = format!("refs/pull/{}/head", pull.number);
                git.move_ref(
                    &kept,
                    repository.refs.get(&kept).map(String::as_str),
                    Some(sha),
                )
                .await;
                repository.refs.insert(kept, (*sha).clone());
            }
            None => {}
        }
        match base {
            Some(None) => {
                close(pull, now);
                told.push((pull.number, "closed", json!({})));
            }
            Some(Some(sha)) => {
                shared.wait_for_mergeability(pull);
                if git.is_ancestor(&pull.head_sha, sha).await {
                    close_merged(pull, by, sha, now);
                    if let Some(merged) = &mut pull.merged {
                        merged.told = true;
                    }
                    events.push((pull.number, "merged"));
                    told.push((pull.number, "closed", json!({})));
                }
            }
            None => {}
        }
    }
    for (number, kind) in events {
        let id = state.new_id();
        if let Some(pull) = pull_mut(state, name, number) {
            pull.events.push(IssueEvent {
                id,
                actor: by.to_owned(),
                kind,
                about: None,
                sha: pull.merged.as_ref().map(|it| it.sha.clone()),
                at: now,
            });
        }
    }
    Ok(told)
}

fn close(pull: &mut Pull, now: Timestamp) {
    pull.open = false;
    pull.closed_at = Some(now);
    pull.updated_at = now;
    pull.auto_merge = None;
}

pub(super) fn pull_mut<'a>(state: &'a mut State, name: &str, number: u64) -> Option<&'a mut Pull> {
    state.repositories.get_mut(name)?.pulls.get_mut(&number)
}

/// The `push` event of one ref.
async fn pushed(
    shared: &Shared,
    state: &mut State,
    (name, by): (&str, &str),
    (reference, old, new): (&str, Option<&str>, Option<&str>),
    now: Timestamp,
) -> Result<(), Refusal> {
    let Some(repository) = state.repositories.get(name) else {
        return Ok(());
    };
    if repository.hooks.is_empty() {
        return Ok(());
    }
    let git = Git(&repository.path);
    let none = "0".repeat(40);
    let (before, after) = (old.unwrap_or(&none), new.unwrap_or(&none));
    let forced = async {
        match (old, new) {
            (Some(old), Some(new)) => !git.is_ancestor(old, new).await,
            _ => false,
        }
    };
    let commits = async {
        match (old, new) {
            (Some(old), Some(new)) => git.commits(&format!("{old}..{new}"), LISTED, None).await,
            _ => Ok(Vec::new()),
        }
    };
    let head = async {
        match new {
            Some(new) => git.commit(new).await,
            None => None,
        }
    };
    let (forced, commits, head) = tokio::join!(forced, commits, head);
    let commits = commits?;
    let form = Form {
        state,
        api: &shared.site,
        site: &shared.site,
    };
    let html = form.html(repository);
    let commit = |it: &super::git::Commit| {
        json!({
            "id": it.sha,
            "tree_id": it.tree,
            "distinct": true,
            "message": it.message,
            "timestamp": it.committer.date,
            "url": format!("{html}/commit/{}", it.sha),
            "author": { "name": it.author.name, "email": it.author.email },
            "committer": { "name": it.committer.name, "email": it.committer.email },
            "added": [],
            "removed": [],
            "modified": [],
        })
    };
    let payload = json!({
        "ref": reference,
        "before": before,
        "after": after,
        "created": old.is_none(),
        "deleted": new.is_none(),
        "forced": forced,
        "base_ref": null,
        "compare": format!("{html}/compare/{before}...{after}"),
        "commits": commits.iter().rev().map(commit).collect::<Value>(),
        "head_commit": head.as_ref().map(commit),
        "pusher": { "name": by, "email": format!("{by}@users.noreply.github.com") },
    });
    let about = About {
        repository: name,
        sender: by,
        event: "push",
        action: None,
    };
    hooks::tell(shared, state, &about, payload, now);
    Ok(())
}

/// A pull request whose auto-merge has nothing left to wait for.
async fn next_armed(state: &mut State, name: &str) -> Result<Option<(u64, String, How)>, Refusal> {
    let armed: Vec<u64> = match state.repositories.get(name) {
        Some(repository) => repository
            .pulls
            .values()
            .filter(|pull| pull.open && pull.auto_merge.is_some())
            .map(|pull| pull.number)
            .collect(),
        None => Vec::new(),
    };
    for number in armed {
        compare(state, name, number).await?;
        let found = state.repositories.get(name).and_then(|repository| {
            let pull = repository.pulls.get(&number)?;
            let auto = pull.auto_merge.as_ref()?;
            let free = merge::obstacle(repository, pull, &auto.by).is_none();
            let how = How {
                method: auto.method.clone(),
                title: auto.title.clone(),
                message: auto.message.clone(),
            };
            free.then(|| (number, auto.by.clone(), how))
        });
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// One step of the merge queue: who asked for what went on, if anything did.
///
/// Source: [merge queues](https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue).
async fn queue(
    shared: &Shared,
    state: &mut State,
    name: &str,
    now: Timestamp,
) -> Result<Option<String>, Refusal> {
    let Some(repository) = state.repositories.get(name) else {
        return Ok(None);
    };
    let Some(first) = repository.queue.first() else {
        return Ok(None);
    };
    let (number, by) = (first.number, first.by.clone());
    let Some(pull) = repository.pulls.get(&number).filter(|pull| pull.open) else {
        leave(state, name, number);
        return Ok(Some(by));
    };
    let guard = Guard::of(repository, &pull.base, &by, false);
    let base = repository.branch(&pull.base).cloned().unwrap_or_default();
    let git = Git(&repository.path);
    match first.group.clone() {
        Some(group) if group.base == base => {
            let branch = format!("refs/heads/{}", group.branch);
            if guard
                .checks
                .iter()
                .any(|check| merge::failed(repository, &group.sha, check))
            {
                git.move_ref(&branch, Some(&group.sha), None).await;
                leave(state, name, number);
                let reason = json!({ "reason": "CI_FAILURE" });
                hooks::tell_pull(
                    shared,
                    state,
                    (name, number),
                    (&by, "dequeued", reason),
                    now,
                );
                return Ok(Some(by));
            }
            let ready = guard
                .checks
                .iter()
                .all(|check| merge::passed(repository, &group.sha, check));
            if !ready {
                return Ok(None);
            }
            git.move_ref(&branch, Some(&group.sha), None).await;
            let ends = (group.base.as_str(), group.sha.as_str());
            leave(state, name, number);
            if let Err(error) = merge::land(state, (name, number), &by, ends, now).await {
                tracing::debug!(?error, "the queue lost a race");
            }
            Ok(Some(by))
        }
        old => {
            if let Some(old) = old {
                let branch = format!("refs/heads/{}", old.branch);
                git.move_ref(&branch, Some(&old.sha), None).await;
            }
            let how = How {
                method: first.method.clone(),
                title: None,
                message: None,
            };
            form_group(shared, state, (name, number), (&by, &how), now).await?;
            Ok(Some(by))
        }
    }
}

/// Makes the commit that the queue's checks run on, or sends the pull request away.
async fn form_group(
    shared: &Shared,
    state: &mut State,
    (name, number): (&str, u64),
    (by, how): (&str, &How),
    now: Timestamp,
) -> Result<(), Refusal> {
    let Ok((base, sha)) = merge::commit(state, (name, number), by, how, now).await else {
        leave(state, name, number);
        let reason = json!({ "reason": "MERGE_CONFLICT" });
        hooks::tell_pull(shared, state, (name, number), (by, "dequeued", reason), now);
        return Ok(());
    };
    let Some(repository) = state.repositories.get_mut(name) else {
        return Ok(());
    };
    let onto = repository.pulls.get(&number).map(|it| it.base.clone());
    let onto = onto.unwrap_or_default();
    let group = Group {
        branch: format!("gh-readonly-queue/{onto}/pr-{number}-{base}"),
        sha,
        base,
    };
    let git = Git(&repository.path);
    let branch = format!("refs/heads/{}", group.branch);
    git.move_ref(&branch, None, Some(&group.sha)).await;
    let payload = json!({ "merge_group": {
        "head_sha": group.sha,
        "head_ref": branch,
        "base_sha": group.base,
        "base_ref": format!("refs/heads/{onto}"),
        "head_commit": { "id": group.sha },
    } });
    if let Some(queued) = repository.queue.iter_mut().find(|it| it.number == number) {
        queued.group = Some(group);
    }
    let about = About {
        repository: name,
        sender: by,
        event: "merge_group",
        action: Some("checks_requested"),
    };
    hooks::tell(shared, state, &about, payload, now);
    Ok(())
}

fn leave(state: &mut State, name: &str, number: u64) {
    if let Some(repository) = state.repositories.get_mut(name) {
        repository.queue.retain(|it| it.number != number);
    }
}
