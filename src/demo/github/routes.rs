//! Which operation a request is, and what it needs: the table that the minimal permissions of tokens are
//! read from ([permissions](https://docs.github.com/en/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens)).

use super::access::{Level, Need, Permission, Role};
use super::answer::Answer;
use super::call::Call;
use super::{
    apps, deployments, graphql, hooks, issues, merge, protection, pulls, refs, reviews, statuses,
};

use Level::{Read, Write};
use Permission::{
    Administration, Checks, Contents, Deployments, Issues, Metadata, PullRequests, RepositoryHooks,
    Statuses,
};

/// One of the API's operations.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// As the OpenAPI description writes it.
    pub(super) path: &'static str,
    /// None where it is not about a repository, or judges for itself.
    need: Option<Need>,
}

const fn open(method: &'static str, path: &'static str) -> Operation {
    Operation {
        method,
        path,
        need: None,
    }
}

const fn needs(
    method: &'static str,
    path: &'static str,
    any: &'static [(Permission, Level)],
    role: Role,
) -> Operation {
    Operation {
        method,
        path,
        need: Some(Need { any, role }),
    }
}

const OPERATIONS: [Operation; 66] = [
    open("GET", "/app"),
    open("POST", "/app/installations/{installation_id}/access_tokens"),
    open("GET", "/installation/repositories"),
    open("GET", "/rate_limit"),
    open("GET", "/user"),
    open("POST", "/graphql"),
    open("GET", "/repos/{owner}/{repo}/installation"),
    needs(
        "GET",
        "/repos/{owner}/{repo}",
        &[(Metadata, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/branches/{branch}/protection",
        &[(Administration, Read)],
        Role::Admin,
    ),
    needs(
        "PUT",
        "/repos/{owner}/{repo}/branches/{branch}/protection",
        &[(Administration, Write)],
        Role::Admin,
    ),
    needs(
        "DELETE",
        "/repos/{owner}/{repo}/branches/{branch}/protection",
        &[(Administration, Write)],
        Role::Admin,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/branches/{branch}",
        &[(Contents, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/rules/branches/{branch}",
        &[(Metadata, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/collaborators/{username}/permission",
        &[(Metadata, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/check-runs",
        &[(Checks, Write)],
        Role::Write,
    ),
    needs(
        "PATCH",
        "/repos/{owner}/{repo}/check-runs/{check_run_id}",
        &[(Checks, Write)],
        Role::Write,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/commits/{ref}/check-runs",
        &[(Checks, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/commits/{ref}/status",
        &[(Statuses, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/commits/{ref}/statuses",
        &[(Statuses, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/commits/{commit_sha}/pulls",
        &[(PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/commits/{ref}",
        &[(Contents, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/commits",
        &[(Contents, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/statuses/{sha}",
        &[(Statuses, Write)],
        Role::Write,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/compare/{basehead}",
        &[(Contents, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/contents/{path}",
        &[(Contents, Read)],
        Role::Read,
    ),
    needs(
        "PUT",
        "/repos/{owner}/{repo}/contents/{path}",
        &[(Contents, Write)],
        Role::Write,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/deployments",
        &[(Deployments, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/deployments",
        &[(Deployments, Write)],
        Role::Write,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/deployments/{deployment_id}",
        &[(Deployments, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
        &[(Deployments, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
        &[(Deployments, Write)],
        Role::Write,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/git/commits/{commit_sha}",
        &[(Contents, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/git/ref/{ref}",
        &[(Contents, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/git/matching-refs/{ref}",
        &[(Contents, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/git/refs",
        &[(Contents, Write)],
        Role::Write,
    ),
    needs(
        "PATCH",
        "/repos/{owner}/{repo}/git/refs/{ref}",
        &[(Contents, Write)],
        Role::Write,
    ),
    needs(
        "DELETE",
        "/repos/{owner}/{repo}/git/refs/{ref}",
        &[(Contents, Write)],
        Role::Write,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/hooks",
        &[(RepositoryHooks, Read)],
        Role::Admin,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/hooks",
        &[(RepositoryHooks, Write)],
        Role::Admin,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries",
        &[(RepositoryHooks, Read)],
        Role::Admin,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
        &[(RepositoryHooks, Write)],
        Role::Admin,
    ),
    needs(
        "PATCH",
        "/repos/{owner}/{repo}/issues/comments/{comment_id}",
        &[(Issues, Write), (PullRequests, Write)],
        Role::Read,
    ),
    needs(
        "DELETE",
        "/repos/{owner}/{repo}/issues/comments/{comment_id}",
        &[(Issues, Write), (PullRequests, Write)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/issues/{issue_number}",
        &[(Issues, Read), (PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "PATCH",
        "/repos/{owner}/{repo}/issues/{issue_number}",
        &[(Issues, Write), (PullRequests, Write)],
        Role::Triage,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/issues/{issue_number}/comments",
        &[(Issues, Read), (PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/issues/{issue_number}/comments",
        &[(Issues, Write), (PullRequests, Write)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/issues/{issue_number}/events",
        &[(Issues, Read), (PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/issues/{issue_number}/labels",
        &[(Issues, Read), (PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/issues/{issue_number}/labels",
        &[(Issues, Write), (PullRequests, Write)],
        Role::Triage,
    ),
    needs(
        "PUT",
        "/repos/{owner}/{repo}/issues/{issue_number}/labels",
        &[(Issues, Write), (PullRequests, Write)],
        Role::Triage,
    ),
    needs(
        "DELETE",
        "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}",
        &[(Issues, Write), (PullRequests, Write)],
        Role::Triage,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/pulls",
        &[(PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/pulls",
        &[(PullRequests, Write)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/pulls/{pull_number}",
        &[(PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "PATCH",
        "/repos/{owner}/{repo}/pulls/{pull_number}",
        &[(PullRequests, Write)],
        Role::Write,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/pulls/{pull_number}/commits",
        &[(PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/pulls/{pull_number}/files",
        &[(PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/pulls/{pull_number}/merge",
        &[(PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "PUT",
        "/repos/{owner}/{repo}/pulls/{pull_number}/merge",
        &[(Contents, Write)],
        Role::Write,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers",
        &[(PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers",
        &[(PullRequests, Write)],
        Role::Triage,
    ),
    needs(
        "DELETE",
        "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers",
        &[(PullRequests, Write)],
        Role::Triage,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/pulls/{pull_number}/reviews",
        &[(PullRequests, Read)],
        Role::Read,
    ),
    needs(
        "POST",
        "/repos/{owner}/{repo}/pulls/{pull_number}/reviews",
        &[(PullRequests, Write)],
        Role::Read,
    ),
    needs(
        "PUT",
        "/repos/{owner}/{repo}/pulls/{pull_number}/reviews/{review_id}/dismissals",
        &[(PullRequests, Write)],
        Role::Write,
    ),
];

/// Placeholders that may hold slashes.
const DEEP: [&str; 4] = ["{ref}", "{branch}", "{path}", "{basehead}"];

/// The operation, and what the placeholders of its path stand for.
pub(super) fn find(method: &str, path: &str) -> Option<(&'static Operation, Vec<String>)> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    OPERATIONS
        .iter()
        .filter(|operation| operation.method == method)
        .find_map(|operation| {
            let pattern: Vec<&str> = operation.path.trim_matches('/').split('/').collect();
            Some((operation, matched(&pattern, &parts)?))
        })
}

fn matched(pattern: &[&str], parts: &[&str]) -> Option<Vec<String>> {
    let Some((first, pattern)) = pattern.split_first() else {
        return parts.is_empty().then(Vec::new);
    };
    if !first.starts_with('{') {
        let (part, parts) = parts.split_first()?;
        return (part == first).then(|| matched(pattern, parts))?;
    }
    // The root folder has no name.
    if parts.is_empty() && *first == "{path}" {
        return pattern.is_empty().then(|| vec![String::new()]);
    }
    let most = match DEEP.contains(first) {
        true => parts.len(),
        false => 1.min(parts.len()),
    };
    // The longest first: what follows a branch's name may be part of it only where nothing else fits.
    (1..=most).rev().find_map(|count| {
        let (own, rest) = parts.split_at(count);
        let mut values = vec![decoded(&own.join("/"))];
        values.extend(matched(pattern, rest)?);
        Some(values)
    })
}

fn decoded(text: &str) -> String {
    // The path's escapes are those of a form, but for the plus.
    let text = text.replace('+', "%2B");
    let pair = format!("={text}");
    url::form_urlencoded::parse(pair.as_bytes())
        .next()
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// Does what the request asks, where it may.
pub(super) async fn run(operation: &Operation, call: &mut Call<'_>) -> Answer {
    if operation.path.starts_with("/repos/") {
        let repository = call.repository()?;
        if let Some(need) = operation.need {
            call.grant.check(repository, need)?;
        }
    }
    let path = operation.path.trim_start_matches("/repos/{owner}/{repo}");
    match (operation.method, path) {
        ("GET", "/app") => apps::app(call),
        ("POST", "/app/installations/{installation_id}/access_tokens") => apps::token(call),
        ("GET", "/installation/repositories") => apps::repositories(call),
        ("GET", "/rate_limit") => apps::rate_limit(call),
        ("GET", "/user") => apps::user(call),
        ("POST", "/graphql") => graphql::answer(call).await,
        ("GET", "/installation") => apps::installation(call),
        ("GET", "") => refs::repository(call),
        ("GET", "/branches/{branch}") => refs::branch(call).await,
        ("GET", "/branches/{branch}/protection") => protection::get(call),
        ("PUT", "/branches/{branch}/protection") => protection::put(call),
        ("DELETE", "/branches/{branch}/protection") => protection::delete(call),
        ("GET", "/rules/branches/{branch}") => protection::rules(call),
        ("GET", "/collaborators/{username}/permission") => pulls::permission(call),
        ("POST", "/check-runs") => statuses::create_check(call).await,
        ("PATCH", "/check-runs/{check_run_id}") => statuses::update_check(call).await,
        ("GET", "/commits/{ref}/check-runs") => statuses::checks(call).await,
        ("GET", "/commits/{ref}/status") => statuses::combined(call).await,
        ("GET", "/commits/{ref}/statuses") => statuses::list(call).await,
        ("GET", "/commits/{commit_sha}/pulls") => pulls::of_commit(call).await,
        ("GET", "/commits/{ref}") => refs::commit(call).await,
        ("GET", "/commits") => refs::commits(call).await,
        ("POST", "/statuses/{sha}") => statuses::create(call).await,
        ("GET", "/compare/{basehead}") => refs::compare(call).await,
        ("GET", "/contents/{path}") => refs::content(call).await,
        ("PUT", "/contents/{path}") => refs::put_content(call).await,
        ("GET", "/deployments") => deployments::list(call),
        ("POST", "/deployments") => deployments::create(call).await,
        ("GET", "/deployments/{deployment_id}") => deployments::get(call),
        ("GET", "/deployments/{deployment_id}/statuses") => deployments::statuses(call),
        ("POST", "/deployments/{deployment_id}/statuses") => deployments::create_status(call),
        ("GET", "/git/commits/{commit_sha}") => refs::git_commit(call).await,
        ("GET", "/git/ref/{ref}") => refs::get(call).await,
        ("GET", "/git/matching-refs/{ref}") => refs::matching(call).await,
        ("POST", "/git/refs") => refs::create(call).await,
        ("PATCH", "/git/refs/{ref}") => refs::update(call).await,
        ("DELETE", "/git/refs/{ref}") => refs::delete(call).await,
        ("GET", "/hooks") => hooks::list(call),
        ("POST", "/hooks") => hooks::create(call),
        ("GET", "/hooks/{hook_id}/deliveries") => hooks::deliveries(call),
        ("POST", "/hooks/{hook_id}/deliveries/{delivery_id}/attempts") => hooks::redeliver(call),
        ("PATCH", "/issues/comments/{comment_id}") => issues::edit_comment(call),
        ("DELETE", "/issues/comments/{comment_id}") => issues::delete_comment(call),
        ("GET", "/issues/{issue_number}") => issues::get(call),
        ("PATCH", "/issues/{issue_number}") => issues::update(call).await,
        ("GET", "/issues/{issue_number}/comments") => issues::comments(call),
        ("POST", "/issues/{issue_number}/comments") => issues::comment(call),
        ("GET", "/issues/{issue_number}/events") => issues::events(call),
        ("GET", "/issues/{issue_number}/labels") => issues::labels(call),
        ("POST", "/issues/{issue_number}/labels") => issues::add_labels(call),
        ("PUT", "/issues/{issue_number}/labels") => issues::set_labels(call),
        ("DELETE", "/issues/{issue_number}/labels/{name}") => issues::remove_label(call),
        ("GET", "/pulls") => pulls::list(call),
        ("POST", "/pulls") => pulls::create(call).await,
        ("GET", "/pulls/{pull_number}") => pulls::get(call).await,
        ("PATCH", "/pulls/{pull_number}") => pulls::update(call).await,
        ("GET", "/pulls/{pull_number}/commits") => pulls::commits(call).await,
        ("GET", "/pulls/{pull_number}/files") => pulls::files(call).await,
        ("GET", "/pulls/{pull_number}/merge") => pulls::is_merged(call),
        ("PUT", "/pulls/{pull_number}/merge") => merge::put(call).await,
        ("GET", "/pulls/{pull_number}/requested_reviewers") => reviews::requested(call),
        ("POST", "/pulls/{pull_number}/requested_reviewers") => reviews::request(call),
        ("DELETE", "/pulls/{pull_number}/requested_reviewers") => reviews::unrequest(call),
        ("GET", "/pulls/{pull_number}/reviews") => reviews::list(call),
        ("POST", "/pulls/{pull_number}/reviews") => reviews::create(call).await,
        ("PUT", "/pulls/{pull_number}/reviews/{review_id}/dismissals") => reviews::dismiss(call),
        // The table above has no other.
        _ => Err(super::answer::Refusal::not_found()),
    }
}
