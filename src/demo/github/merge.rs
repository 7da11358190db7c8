//! Whether a pull request may be merged, why not, and merging it by a real commit.
//!
//! Sources: [merging](https://docs.github.com/en/rest/pulls/pulls#merge-a-pull-request) (405 and 409),
//! [methods](https://docs.github.com/en/pull-requests/collaborating-with-pull-requests/incorporating-changes-from-a-pull-request/about-pull-request-merges),
//! [mergeability is found out in the background](https://docs.github.com/en/rest/pulls/pulls#get-a-pull-request).

use std::collections::BTreeMap;
use std::io;

use jiff::Timestamp;
use serde_json::json;

use super::Shared;
use super::access::{Role, role_of};
use super::answer::{Answer, Refusal, Reply};
use super::call::{Call, signed, site_committer};
use super::git::Git;
use super::moved;
use super::protection::Guard;
use super::state::{Check, Compared, Merged, Pull, Repository, Review, State, Status};

/// `PUT …/pulls/N/merge`.
pub(super) async fn put(call: &mut Call<'_>) -> Answer {
    let number = call.pull()?.number;
    if let Some(sha) = call.text("sha")
        && sha != call.pull()?.head_sha
    {
        let message = "Head branch was modified. Review and try the merge again.";
        return Err(Refusal::new(409, message));
    }
    let how = How {
        method: call
            .text("merge_method")
            .unwrap_or_else(|| "merge".to_owned()),
        title: call.text("commit_title"),
        message: call.text("commit_message"),
    };
    let login = call.grant.login.clone();
    if call.guard(number)?.queue {
        let message = "Changes must be made through the merge queue";
        return Err(Refusal::new(405, message));
    }
    compare(call.state, &call.name, number).await?;
    if let Some(why) = obstacle(call.repository()?, call.pull()?, &login) {
        return Err(Refusal::new(405, why));
    }
    let at = (call.name.as_str(), number);
    let sha = merge(call.state, at, &login, &how, call.now).await?;
    moved::after(call.shared, call.state, &call.name, &login, call.now).await?;
    let body = json!({
        "sha": sha,
        "merged": true,
        "message": "Pull Request successfully merged",
    });
    Ok(Reply::ok(body))
}

/// How to merge, and what the commit says.
pub(super) struct How {
    pub(super) method: String,
    pub(super) title: Option<String>,
    pub(super) message: Option<String>,
}

impl Call<'_> {
    fn guard(&self, number: u64) -> Result<Guard, Refusal> {
        let repository = self.repository()?;
        let pull = repository
            .pulls
            .get(&number)
            .ok_or_else(Refusal::not_found)?;
        Ok(guard(repository, pull, &self.grant.login))
    }
}

fn guard(repository: &Repository, pull: &Pull, login: &str) -> Guard {
    let is_admin = role_of(repository, login) == Some(Role::Admin);
    Guard::of(repository, &pull.base, login, is_admin)
}

/// Asks git what is not known yet of a pull request.
pub(super) async fn compare(state: &mut State, name: &str, number: u64) -> io::Result<()> {
    let Some(repository) = state.repositories.get_mut(name) else {
        return Ok(());
    };
    let Some(pull) = repository.pulls.get(&number) else {
        return Ok(());
    };
    let base = match pull.merged.is_some() || !pull.open {
        true => pull.base_sha.clone(),
        false => repository
            .branch(&pull.base)
            .cloned()
            .unwrap_or_else(|| pull.base_sha.clone()),
    };
    let head = pull.head_sha.clone();
    let known = pull.compared.as_ref();
    if known.is_some_and(|it| it.base == base && it.head == head) {
        return Ok(());
    }
    let git = Git(&repository.path);
    let middle = git.merge_base(&base, &head).await;
    let middle = middle.unwrap_or_else(|| base.clone());
    let (additions, deletions, files) = git.difference(&middle, &head).await?;
    let compared = Compared {
        tree: git.merge_tree(&base, &head).await,
        commits: git.count(&format!("{base}..{head}")).await,
        behind: middle != base,
        head,
        base,
        additions,
        deletions,
        files,
    };
    if let Some(pull) = repository.pulls.get_mut(&number) {
        pull.compared = Some(compared);
    }
    Ok(())
}

/// What `mergeable_state` says of an open pull request that was compared.
pub(super) fn state(repository: &Repository, pull: &Pull) -> (bool, &'static str) {
    let Some(compared) = &pull.compared else {
        return (false, "unknown");
    };
    if compared.tree.is_none() {
        return (false, "dirty");
    }
    if pull.draft {
        return (true, "draft");
    }
    let guard = guard(repository, pull, "");
    if guard.queue || lacks(repository, pull, &guard).is_some() {
        return (true, "blocked");
    }
    if guard.strict && compared.behind {
        return (true, "behind");
    }
    match latest(repository, &pull.head_sha).values().all(|it| *it) {
        true => (true, "clean"),
        false => (true, "unstable"),
    }
}

/// Why it may not be merged by this person now, in the words of a 405.
pub(super) fn obstacle(repository: &Repository, pull: &Pull, login: &str) -> Option<String> {
    let not_mergeable = || Some("Pull Request is not mergeable".to_owned());
    if !pull.open {
        return not_mergeable();
    }
    if pull.draft {
        return Some("Pull Request is still a draft".to_owned());
    }
    let guard = guard(repository, pull, login);
    if let Some(why) = lacks(repository, pull, &guard) {
        return Some(why);
    }
    let compared = pull.compared.as_ref()?;
    if guard.strict && compared.behind {
        let why = "Head branch is out of date. Review and try the merge again.";
        return Some(why.to_owned());
    }
    match compared.tree {
        Some(_) => None,
        None => not_mergeable(),
    }
}

/// What the base's protection still asks for.
fn lacks(repository: &Repository, pull: &Pull, guard: &Guard) -> Option<String> {
    if guard.locked {
        return Some("Cannot change this locked branch".to_owned());
    }
    if guard.restricted {
        return Some("You're not authorized to push to this branch.".to_owned());
    }
    let verdicts = verdicts(repository, pull);
    if guard.reviews.is_some() && verdicts.iter().any(|it| it.state == "CHANGES_REQUESTED") {
        return Some("Changes have been requested by reviewers with write access.".to_owned());
    }
    let wanted = guard.reviews.unwrap_or_default();
    let approvals = verdicts.iter().filter(|it| it.state == "APPROVED").count();
    if approvals < wanted {
        return Some(format!(
            "At least {wanted} approving review is required by reviewers with write access."
        ));
    }
    let missing = guard
        .checks
        .iter()
        .find(|check| !passed(repository, &pull.head_sha, check));
    missing.map(|(context, _)| format!("Required status check \"{context}\" is expected."))
}

/// What each person who may decide said last. The author does not count.
fn verdicts<'a>(repository: &Repository, pull: &'a Pull) -> Vec<&'a Review> {
    let mut last: BTreeMap<&str, &Review> = BTreeMap::new();
    for review in &pull.reviews {
        let counts = role_of(repository, &review.author) >= Some(Role::Write);
        if counts && review.author != pull.author && review.state != "COMMENTED" {
            last.insert(&review.author, review);
        }
    }
    last.into_values().collect()
}

/// Whether a required check has succeeded on a commit, said by the app that must say so.
pub(super) fn passed(
    repository: &Repository,
    sha: &str,
    (context, app): &(String, Option<u64>),
) -> bool {
    let by_app = |id: u64| app.is_none_or(|app| app == id);
    let check = checks(repository, sha)
        .rfind(|check| check.name == *context && by_app(check.app))
        .map(succeeded);
    let status = statuses(repository, sha)
        .rfind(|status| status.context == *context && status.app.map_or(app.is_none(), by_app))
        .map(|status| status.state == "success");
    match (check, status) {
        (None, None) => false,
        (check, status) => check.unwrap_or(true) && status.unwrap_or(true),
    }
}

/// Whether a required check has ended otherwise.
pub(super) fn failed(
    repository: &Repository,
    sha: &str,
    (context, _): &(String, Option<u64>),
) -> bool {
    let check = checks(repository, sha).rfind(|check| check.name == *context);
    let status = statuses(repository, sha).rfind(|it| it.context == *context);
    check.is_some_and(|it| it.conclusion.is_some() && !succeeded(it))
        || status.is_some_and(|it| ["failure", "error"].contains(&it.state.as_str()))
}

fn checks<'a>(
    repository: &'a Repository,
    sha: &str,
) -> impl DoubleEndedIterator<Item = &'a Check> + use<'a> {
    let sha = sha.to_owned();
    repository.checks.values().filter(move |it| it.sha == sha)
}

fn statuses<'a>(
    repository: &'a Repository,
    sha: &str,
) -> impl DoubleEndedIterator<Item = &'a Status> + use<'a> {
    repository.statuses.get(sha).into_iter().flatten()
}

fn succeeded(check: &Check) -> bool {
    let good = ["success", "neutral", "skipped"];
    check
        .conclusion
        .as_deref()
        .is_some_and(|it| good.contains(&it))
}

/// Every check's and status' newest word: whether it is good.
fn latest(repository: &Repository, sha: &str) -> BTreeMap<String, bool> {
    let mut all = BTreeMap::new();
    for check in checks(repository, sha) {
        all.insert(check.name.clone(), succeeded(check));
    }
    for status in statuses(repository, sha) {
        all.insert(status.context.clone(), status.state == "success");
    }
    all
}

/// Makes the commit that merging would make; the base is not moved.
///
/// # Errors
/// 405 for a method that the repository does not allow, and for conflicts.
pub(super) async fn commit(
    state: &State,
    (name, number): (&str, u64),
    login: &str,
    how: &How,
    now: Timestamp,
) -> Result<(String, String), Refusal> {
    let repository = state
        .repositories
        .get(name)
        .ok_or_else(Refusal::not_found)?;
    let pull = repository
        .pulls
        .get(&number)
        .ok_or_else(Refusal::not_found)?;
    let base = repository
        .branch(&pull.base)
        .ok_or_else(Refusal::not_found)?;
    let (head, git) = (&pull.head_sha, Git(&repository.path));
    let guard = guard(repository, pull, login);
    let methods = repository.methods;
    let forbidden = match how.method.as_str() {
        "merge" if !methods.merge || guard.linear => {
            Some("Merge commits are not allowed on this repository.")
        }
        "squash" if !methods.squash => Some("Squash merges are not allowed on this repository."),
        "rebase" if !methods.rebase => Some("Rebase merges are not allowed on this repository."),
        _ => None,
    };
    if let Some(message) = forbidden {
        return Err(Refusal::new(405, message));
    }
    let conflict = || Refusal::new(405, "Pull Request is not mergeable");
    let tree = git.merge_tree(base, head).await.ok_or_else(conflict)?;
    let (author, committer) = (signed(state, login, now), site_committer(now));
    let by = (&author, &committer);
    let made = match how.method.as_str() {
        "squash" => {
            let title = how.title.clone();
            let title = title.unwrap_or_else(|| format!("{} (#{number})", pull.title));
            let commits = git.commits(&format!("{base}..{head}"), 250, None).await?;
            let list = || match commits.as_slice() {
                [only] => body_of(&only.message).to_owned(),
                many => many
                    .iter()
                    .rev()
                    .map(|it| format!("* {}\n\n", it.message))
                    .collect(),
            };
            let message = how.message.clone().unwrap_or_else(list);
            let text = format!("{title}\n\n{message}");
            git.write_commit(&tree, &[base], by, text.trim_end())
                .await?
        }
        "rebase" => {
            let mut onto = base.clone();
            let commits = git.commits(&format!("{base}..{head}"), 250, None).await?;
            for one in commits.iter().rev() {
                onto = git.copy(one, &onto, &author).await?.ok_or_else(conflict)?;
            }
            onto
        }
        _ => {
            let title = how.title.clone().unwrap_or_else(|| {
                format!(
                    "Merge pull request #{number} from {}/{}",
                    repository.owner, pull.head
                )
            });
            let message = how.message.as_deref().unwrap_or(&pull.title);
            let text = format!("{title}\n\n{message}");
            git.write_commit(&tree, &[base, head], by, text.trim_end())
                .await?
        }
    };
    Ok((base.clone(), made))
}

fn body_of(message: &str) -> &str {
    message.split_once('\n').map_or("", |(_, rest)| rest.trim())
}

/// Merges, whatever protects the base: the caller has looked. The id of the commit that the base is at then.
pub(super) async fn merge(
    state: &mut State,
    (name, number): (&str, u64),
    login: &str,
    how: &How,
    now: Timestamp,
) -> Result<String, Refusal> {
    let (base, made) = commit(state, (name, number), login, how, now).await?;
    land(state, (name, number), login, (&base, &made), now).await?;
    Ok(made)
}

/// Moves the base from what the commit was made on, and calls the pull request merged.
pub(super) async fn land(
    state: &mut State,
    (name, number): (&str, u64),
    login: &str,
    (old, new): (&str, &str),
    now: Timestamp,
) -> Result<(), Refusal> {
    let repository = state
        .repositories
        .get_mut(name)
        .ok_or_else(Refusal::not_found)?;
    let pull = repository
        .pulls
        .get_mut(&number)
        .ok_or_else(Refusal::not_found)?;
    let git = Git(&repository.path);
    let base = format!("refs/heads/{}", pull.base);
    if !git.move_ref(&base, Some(old), Some(new)).await {
        let message = "Base branch was modified. Review and try the merge again.";
        return Err(Refusal::new(405, message));
    }
    close_merged(pull, login, new, now);
    repository.verified.insert(new.to_owned());
    let head = format!("refs/heads/{}", pull.head);
    if repository.methods.delete_branch {
        let sha = pull.head_sha.clone();
        git.move_ref(&head, Some(&sha), None).await;
    }
    Ok(())
}

/// What is to be written down of a pull request that was merged.
pub(super) fn close_merged(pull: &mut Pull, login: &str, sha: &str, now: Timestamp) {
    pull.merged = Some(Merged {
        by: login.to_owned(),
        at: now,
        sha: sha.to_owned(),
        told: false,
    });
    pull.open = false;
    pull.closed_at = Some(now);
    pull.updated_at = now;
    pull.auto_merge = None;
}

impl Shared {
    /// Whether two of a pull request's ends are known to be compared is told after so many questions.
    pub(super) fn wait_for_mergeability(&self, pull: &mut Pull) {
        pull.compared = None;
        pull.unknown = self.limits().unknown_mergeability;
    }
}
