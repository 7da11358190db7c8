//! The operations of the API and what each needs: the table that the minimal permissions of tokens are read
//! from ([permissions](https://docs.github.com/en/rest/authentication/permissions-required-for-fine-grained-personal-access-tokens)).

use super::access::{Level, Need, Permission, Role};

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
    pub(super) need: Option<Need>,
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

/// All that are simulated.
pub(super) const OPERATIONS: [Operation; 71] = [
    open("GET", "/app"),
    open("POST", "/app/installations/{installation_id}/access_tokens"),
    open("GET", "/installation/repositories"),
    open("GET", "/rate_limit"),
    open("GET", "/user"),
    open("GET", "/users/{username}"),
    open("GET", "/users/{username}/ssh_signing_keys"),
    open("GET", "/orgs/{org}/teams/{team_slug}/members"),
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
        "/repos/{owner}/{repo}/rulesets",
        &[(Metadata, Read)],
        Role::Read,
    ),
    needs(
        "GET",
        "/repos/{owner}/{repo}/rulesets/{ruleset_id}",
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
