//! The git side of the API: refs, branches, commits, comparisons and files
//! ([refs](https://docs.github.com/en/rest/git/refs), [contents](https://docs.github.com/en/rest/repos/contents),
//! [compare](https://docs.github.com/en/rest/commits/commits#compare-two-commits)).

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::access::{Role, role_of};
use super::answer::{Answer, Refusal, Reply};
use super::call::{Call, site_committer};
use super::git::Git;
use super::merge;
use super::moved;
use super::protection::{self, Ban, Guard};
use super::rulesets::{Kept, Target};

/// The most commits and files of a comparison.
const COMPARED: usize = 250;

pub(super) async fn get(call: &mut Call<'_>) -> Answer {
    let name = format!("refs/{}", call.argument(0));
    let sha = call.repository()?.refs.get(&name).cloned();
    let sha = sha.ok_or_else(Refusal::not_found)?;
    Ok(Reply::ok(shown(call, &name, &sha).await?))
}

pub(super) async fn matching(call: &mut Call<'_>) -> Answer {
    let prefix = format!("refs/{}", call.argument(0));
    let found: Vec<(String, String)> = call
        .repository()?
        .refs
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix))
        .map(|(name, sha)| (name.clone(), sha.clone()))
        .collect();
    let (part, link) = call.page(found);
    let mut forms = Vec::new();
    for (name, sha) in part {
        forms.push(shown(call, &name, &sha).await?);
    }
    Ok(Reply {
        link,
        ..Reply::ok(Value::Array(forms))
    })
}

async fn shown(call: &Call<'_>, name: &str, sha: &str) -> Result<Value, Refusal> {
    let url = call.form().url(call.repository()?);
    let kind = call.git()?.kind(sha).await;
    let kind = kind.unwrap_or_else(|| "commit".to_owned());
    Ok(json!({
        "ref": name,
        "node_id": format!("REF_{name}"),
        "url": format!("{url}/git/{name}"),
        "object": { "type": kind, "sha": sha, "url": format!("{url}/git/{kind}s/{sha}") },
    }))
}

pub(super) async fn create(call: &mut Call<'_>) -> Answer {
    let (name, sha) = (call.required("ref")?, call.required("sha")?);
    if !name.starts_with("refs/") || name.matches('/').count() < 2 {
        let message = "Reference name must start with 'refs/' and contain at least two slashes";
        return Err(Refusal::new(422, message));
    }
    if call.git()?.kind(&sha).await.is_none() {
        return Err(Refusal::new(422, "Object does not exist"));
    }
    refuse_banned(call, &name, None, Some(&sha)).await?;
    if !call.git()?.move_ref(&name, None, Some(&sha)).await {
        return Err(Refusal::new(422, "Reference already exists"));
    }
    after(call).await?;
    Ok(Reply::new(201, shown(call, &name, &sha).await?))
}

pub(super) async fn update(call: &mut Call<'_>) -> Answer {
    let name = format!("refs/{}", call.argument(0));
    let sha = call.required("sha")?;
    let old = call.repository()?.refs.get(&name).cloned();
    let old = old.ok_or_else(|| Refusal::new(422, "Reference does not exist"))?;
    let git = call.git()?;
    if git.kind(&sha).await.is_none() {
        return Err(Refusal::new(422, "Object does not exist"));
    }
    if call.body["force"] != true && !git.is_ancestor(&old, &sha).await {
        return Err(Refusal::new(422, "Update is not a fast forward"));
    }
    refuse_banned(call, &name, Some(&old), Some(&sha)).await?;
    if !call.git()?.move_ref(&name, Some(&old), Some(&sha)).await {
        let message = "Reference cannot be updated: it has moved";
        return Err(Refusal::new(422, message));
    }
    after(call).await?;
    Ok(Reply::ok(shown(call, &name, &sha).await?))
}

pub(super) async fn delete(call: &mut Call<'_>) -> Answer {
    let name = format!("refs/{}", call.argument(0));
    let old = call.repository()?.refs.get(&name).cloned();
    let old = old.ok_or_else(|| Refusal::new(422, "Reference does not exist"))?;
    refuse_banned(call, &name, Some(&old), None).await?;
    call.git()?.move_ref(&name, Some(&old), None).await;
    after(call).await?;
    Ok(Reply::empty())
}

async fn after(call: &mut Call<'_>) -> Result<(), Refusal> {
    let (name, login) = (call.name.clone(), call.grant.login.clone());
    moved::after(call.shared, call.state, &name, &login, call.now).await
}

/// 422 where the branch's protection forbids it.
pub(super) async fn refuse_banned(
    call: &Call<'_>,
    reference: &str,
    old: Option<&str>,
    new: Option<&str>,
) -> Result<(), Refusal> {
    let Some(branch) = reference.strip_prefix("refs/heads/") else {
        return Ok(());
    };
    let repository = call.repository()?;
    let login = &call.grant.login;
    let is_admin = role_of(repository, login) == Some(Role::Admin);
    let guard = Guard::of(repository, branch, login, is_admin);
    let sha = new.unwrap_or_default();
    for ban in guard.bans(old, new, |check| merge::passed(repository, sha, check)) {
        let message = match ban {
            Ban::Always(message) => message,
            Ban::Rewrite(message) => match (old, new) {
                (Some(old), Some(new)) if !call.git()?.is_ancestor(old, new).await => message,
                _ => continue,
            },
            // What the site makes it signs, and what was pushed was judged then.
            Ban::Unsigned(_) => continue,
        };
        return Err(Refusal::new(422, message));
    }
    Ok(())
}

pub(super) async fn branch(call: &mut Call<'_>) -> Answer {
    let name = call.argument(0);
    let repository = call.repository()?;
    let missing = || Refusal::new(404, "Branch not found");
    let sha = repository.branch(name).ok_or_else(missing)?;
    let commit = call.git()?.commit(sha).await.ok_or_else(missing)?;
    let form = call.form();
    let own = format!("{}/branches/{name}", form.url(repository));
    let protection = protection::of(repository, name);
    let held = |it: &Kept| it.holds_for(Target::Branch, name);
    let protected = protection.is_some() || repository.rulesets.iter().any(held);
    Ok(Reply::ok(json!({
        "name": name,
        "commit": form.commit(repository, &commit, None),
        "_links": { "html": format!("{}/tree/{name}", form.html(repository)), "self": own },
        "protected": protected,
        "protection": protection::summary(protection),
        "protection_url": format!("{own}/protection"),
    })))
}

pub(super) async fn commits(call: &mut Call<'_>) -> Answer {
    let repository = call.repository()?;
    let from = call.asked("sha").unwrap_or(&repository.default_branch);
    let git = call.git()?;
    let start = git.resolve(from).await.ok_or_else(Refusal::not_found)?;
    let all = git.commits(&start, 1000, call.asked("path")).await?;
    call.listed(all, |it| call.form().commit(repository, &it, None))
}

pub(super) async fn commit(call: &mut Call<'_>) -> Answer {
    let repository = call.repository()?;
    let name = call.argument(0);
    let git = call.git()?;
    let missing = || Refusal::new(422, format!("No commit found for SHA: {name}"));
    let sha = git.resolve(name).await.ok_or_else(missing)?;
    let commit = git.commit(&sha).await.ok_or_else(missing)?;
    let files = match commit.parents.first() {
        Some(parent) => git.diff(parent, &sha).await?,
        None => Vec::new(),
    };
    Ok(Reply::ok(call.form().commit(
        repository,
        &commit,
        Some(&files),
    )))
}

pub(super) async fn git_commit(call: &mut Call<'_>) -> Answer {
    let repository = call.repository()?;
    let sha = call.argument(0);
    let commit = match sha.len() {
        40 => call.git()?.commit(sha).await,
        _ => None,
    };
    let commit = commit.ok_or_else(Refusal::not_found)?;
    Ok(Reply::ok(call.form().git_commit(repository, &commit)))
}

pub(super) async fn compare(call: &mut Call<'_>) -> Answer {
    let repository = call.repository()?;
    let ends = call.argument(0).split_once("...");
    let (base, head) = ends.ok_or_else(Refusal::not_found)?;
    // Of another owner only what is the same repository is known here.
    let local = |name: &str| match name.split_once(':') {
        Some((owner, name)) if owner == repository.owner => name.to_owned(),
        _ => name.to_owned(),
    };
    let git = call.git()?;
    let base = git
        .resolve(&local(base))
        .await
        .ok_or_else(Refusal::not_found)?;
    let head = git
        .resolve(&local(head))
        .await
        .ok_or_else(Refusal::not_found)?;
    let middle = git.merge_base(&base, &head).await;
    let middle = middle.ok_or_else(|| Refusal::new(404, "No common ancestor"))?;
    let ahead = git.count(&format!("{base}..{head}")).await;
    let behind = git.count(&format!("{head}..{base}")).await;
    let status = match (ahead, behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let mut commits = git
        .commits(&format!("{base}..{head}"), COMPARED, None)
        .await?;
    commits.reverse();
    let mut changed = git.diff(&middle, &head).await?;
    changed.truncate(COMPARED);
    let form = call.form();
    let mut ends = Vec::new();
    for sha in [&base, &middle] {
        let commit = git.commit(sha).await.ok_or_else(Refusal::not_found)?;
        ends.push(form.commit(repository, &commit, None));
    }
    let (merge_base, base_commit) = (ends.pop(), ends.pop());
    let html = format!("{}/compare/{}", form.html(repository), call.argument(0));
    let (part, link) = call.page(commits);
    let commits: Value = part
        .iter()
        .map(|it| form.commit(repository, it, None))
        .collect();
    let body = json!({
        "url": call.url,
        "html_url": html,
        "permalink_url": html,
        "diff_url": format!("{html}.diff"),
        "patch_url": format!("{html}.patch"),
        "base_commit": base_commit,
        "merge_base_commit": merge_base,
        "status": status,
        "ahead_by": ahead,
        "behind_by": behind,
        "total_commits": ahead,
        "commits": commits,
        "files": form.files(repository, &head, &changed),
    });
    Ok(Reply {
        link,
        ..Reply::ok(body)
    })
}

pub(super) async fn content(call: &mut Call<'_>) -> Answer {
    let repository = call.repository()?;
    let reference = call.asked("ref").unwrap_or(&repository.default_branch);
    let path = call.argument(0).trim_matches('/');
    let git = call.git()?;
    let missing = || Refusal::new(404, format!("No commit found for the ref {reference}"));
    let sha = git.resolve(reference).await.ok_or_else(missing)?;
    let entries = git.entries(&sha, path).await;
    let form = call.form();
    match entries.as_slice() {
        [] => Err(Refusal::not_found()),
        [file] if file.path == path && file.kind == "blob" => {
            let content = git.blob(&file.sha).await?;
            let shown = form.content(repository, reference, file, Some(&content));
            Ok(Reply::ok(shown))
        }
        many => {
            let list = many
                .iter()
                .map(|it| form.content(repository, reference, it, None));
            Ok(Reply::ok(list.collect()))
        }
    }
}

/// Writes one file in a commit of its own.
pub(super) async fn put_content(call: &mut Call<'_>) -> Answer {
    let message = call.required("message")?;
    let encoded = call.required("content")?;
    let content = BASE64_STANDARD
        .decode(encoded.replace('\n', ""))
        .map_err(|_| Refusal::new(422, "content is not valid Base64"))?;
    let path = call.argument(0).trim_matches('/').to_owned();
    let repository = call.repository()?;
    let branch = call.text("branch");
    let branch = branch.unwrap_or_else(|| repository.default_branch.clone());
    let missing = || Refusal::new(404, format!("Branch {branch} not found"));
    let old = repository.branch(&branch).cloned().ok_or_else(missing)?;
    let git = Git(&repository.path);
    let existing = git.entries(&old, &path).await;
    let existing = existing.into_iter().find(|it| it.path == path);
    match (existing.as_ref(), call.text("sha")) {
        (Some(_), None) => {
            let message = "Invalid request.\n\n\"sha\" wasn't supplied.";
            return Err(Refusal::new(422, message));
        }
        (Some(found), Some(sha)) if found.sha != sha => {
            let message = format!("{path} does not match {sha}");
            return Err(Refusal::new(409, message));
        }
        _ => {}
    }
    let reference = format!("refs/heads/{branch}");
    refuse_banned(call, &reference, Some(&old), Some(""))
        .await
        .map_err(|refusal| refusal.into_status(409))?;
    let git = call.git()?;
    let tree = git.edit(&old, &[(path.clone(), Some(content))]).await?;
    let by = (&call.signed(), &site_committer(call.now));
    let made = git.write_commit(&tree, &[&old], by, &message).await?;
    if !git.move_ref(&reference, Some(&old), Some(&made)).await {
        let message = format!("{branch} has moved");
        return Err(Refusal::new(409, message));
    }
    after(call).await?;
    let repository = call.repository()?;
    let git = call.git()?;
    let entry = git.entries(&made, &path).await.pop();
    let entry = entry.ok_or_else(Refusal::not_found)?;
    let commit = git.commit(&made).await.ok_or_else(Refusal::not_found)?;
    let form = call.form();
    let body = json!({
        "content": form.content(repository, &branch, &entry, None),
        "commit": form.git_commit(repository, &commit),
    });
    let status = if existing.is_some() { 200 } else { 201 };
    Ok(Reply::new(status, body))
}

/// The repository itself.
pub(super) fn repository(call: &Call<'_>) -> Answer {
    let repository = call.repository()?;
    Ok(Reply::ok(
        call.form().full_repository(repository, &call.grant),
    ))
}
