//! Which operation a request is, and who answers it.

use super::answer::{Answer, Refusal};
use super::call::Call;
use super::operations::{OPERATIONS, Operation};
use super::{
    apps, deployments, graphql, hooks, issues, merge, people, protection, pulls, refs, reviews,
    rulesets, statuses,
};

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
        ("GET", "/users/{username}") => people::profile(call),
        ("GET", "/users/{username}/ssh_signing_keys") => people::signing_keys(call),
        ("GET", "/orgs/{org}/teams/{team_slug}/members") => people::members(call),
        ("POST", "/graphql") => graphql::answer(call).await,
        ("GET", "/installation") => apps::installation(call),
        ("GET", "") => refs::repository(call),
        ("GET", "/branches/{branch}") => refs::branch(call).await,
        ("GET", "/branches/{branch}/protection") => protection::get(call),
        ("PUT", "/branches/{branch}/protection") => protection::put(call),
        ("DELETE", "/branches/{branch}/protection") => protection::delete(call),
        ("GET", "/rules/branches/{branch}") => rulesets::rules(call),
        ("GET", "/rulesets") => rulesets::list(call),
        ("GET", "/rulesets/{ruleset_id}") => rulesets::get(call),
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
        _ => Err(Refusal::not_found()),
    }
}
