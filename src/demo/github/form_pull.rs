//! Pull requests and what hangs on them as GitHub's REST API shows them.

use serde_json::{Value, json};

use super::form::{Form, node};
use super::state::{Comment, IssueEvent, Pull, Repository, Review};

impl Form<'_> {
    /// A pull request as lists show it.
    pub(super) fn simple_pull(&self, repository: &Repository, pull: &Pull) -> Value {
        let number = pull.number;
        let url = format!("{}/pulls/{number}", self.url(repository));
        let issue = format!("{}/issues/{number}", self.url(repository));
        let html = format!("{}/pull/{number}", self.html(repository));
        let statuses = format!("{}/statuses/{}", self.url(repository), pull.head_sha);
        let comments = format!("{issue}/comments");
        let link = |href: &str| json!({ "href": href });
        let users = pull.reviewers.iter().map(|login| self.user(login));
        json!({
            "url": url,
            "id": pull.id,
            "node_id": node("PR", pull.id),
            "html_url": html,
            "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"),
            "issue_url": issue,
            "commits_url": format!("{url}/commits"),
            "review_comments_url": format!("{url}/comments"),
            "review_comment_url": format!("{}/pulls/comments{{/number}}", self.url(repository)),
            "comments_url": comments,
            "statuses_url": statuses,
            "number": number,
            "state": if pull.open { "open" } else { "closed" },
            "locked": false,
            "title": pull.title,
            "user": self.user(&pull.author),
            "body": pull.body,
            "labels": pull.labels.iter().map(|name| self.label(repository, name)).collect::<Value>(),
            "milestone": null,
            "active_lock_reason": null,
            "created_at": pull.created_at.to_string(),
            "updated_at": pull.updated_at.to_string(),
            "closed_at": pull.closed_at.map(|at| at.to_string()),
            "merged_at": pull.merged.as_ref().map(|it| it.at.to_string()),
            "merge_commit_sha": pull.merged.as_ref().map(|it| it.sha.clone()),
            "assignee": null,
            "assignees": [],
            "requested_reviewers": users.collect::<Value>(),
            "requested_teams": [],
            "head": self.end(repository, &pull.head, &pull.head_sha),
            "base": self.end(repository, &pull.base, &pull.base_sha),
            "_links": {
                "self": link(&url),
                "html": link(&html),
                "issue": link(&issue),
                "comments": link(&comments),
                "review_comments": link(&format!("{url}/comments")),
                "review_comment": link(&format!("{}/pulls/comments{{/number}}", self.url(repository))),
                "commits": link(&format!("{url}/commits")),
                "statuses": link(&statuses),
            },
            "author_association": association(repository, &pull.author),
            "auto_merge": pull.auto_merge.as_ref().map(|it| json!({
                "enabled_by": self.user(&it.by),
                "merge_method": it.method,
                "commit_title": it.title.clone().unwrap_or_default(),
                "commit_message": it.message.clone().unwrap_or_default(),
            })),
            "draft": pull.draft,
        })
    }

    /// A pull request as one who asks for it alone gets it. `mergeable` with its state is told, or null
    /// and `unknown`.
    pub(super) fn pull(
        &self,
        repository: &Repository,
        pull: &Pull,
        mergeable: Option<(bool, &str)>,
    ) -> Value {
        let mut form = self.simple_pull(repository, pull);
        let about = |it: &&Comment| it.issue == pull.number;
        let comments = repository.comments.values().filter(about).count();
        let compared = pull.compared.as_ref();
        form["merged"] = json!(pull.merged.is_some());
        form["mergeable"] = json!(mergeable.map(|it| it.0));
        form["rebaseable"] = json!(mergeable.map(|it| it.0));
        form["mergeable_state"] = json!(mergeable.map_or("unknown", |it| it.1));
        form["merged_by"] = pull
            .merged
            .as_ref()
            .map_or(Value::Null, |it| self.user(&it.by));
        form["comments"] = json!(comments);
        form["review_comments"] = json!(0);
        form["maintainer_can_modify"] = json!(false);
        form["commits"] = json!(compared.map_or(0, |it| it.commits));
        form["additions"] = json!(compared.map_or(0, |it| it.additions));
        form["deletions"] = json!(compared.map_or(0, |it| it.deletions));
        form["changed_files"] = json!(compared.map_or(0, |it| it.files));
        form
    }

    /// One end of a pull request. Forks are not simulated: both are in one repository.
    fn end(&self, repository: &Repository, branch: &str, sha: &str) -> Value {
        json!({
            "label": format!("{}:{branch}", repository.owner),
            "ref": branch,
            "sha": sha,
            "user": self.user(&repository.owner),
            "repo": self.repository(repository),
        })
    }

    pub(super) fn label(&self, repository: &Repository, name: &str) -> Value {
        let Some(label) = repository.labels.get(&name.to_lowercase()) else {
            return Value::Null;
        };
        json!({
            "id": label.id,
            "node_id": node("LA", label.id),
            "url": format!("{}/labels/{}", self.url(repository), label.name),
            "name": label.name,
            "color": label.color,
            "default": false,
            // In requests of a list it must be a text.
            "description": "",
        })
    }

    /// A pull request as the issue that it is too.
    pub(super) fn issue(&self, repository: &Repository, pull: &Pull) -> Value {
        let simple = self.simple_pull(repository, pull);
        let url = format!("{}/issues/{}", self.url(repository), pull.number);
        let about = |it: &&Comment| it.issue == pull.number;
        let mut form = json!({
            "id": pull.id,
            "url": url,
            "repository_url": self.url(repository),
            "labels_url": format!("{url}/labels{{/name}}"),
            "comments_url": format!("{url}/comments"),
            "events_url": format!("{url}/events"),
            "html_url": simple["html_url"],
            "comments": repository.comments.values().filter(about).count(),
            "state_reason": null,
            "pull_request": {
                "url": simple["url"],
                "html_url": simple["html_url"],
                "diff_url": simple["diff_url"],
                "patch_url": simple["patch_url"],
                "merged_at": simple["merged_at"],
            },
        });
        let same = [
            "node_id",
            "number",
            "state",
            "title",
            "body",
            "user",
            "labels",
            "milestone",
            "locked",
            "assignee",
            "assignees",
            "closed_at",
            "created_at",
            "updated_at",
            "author_association",
            "draft",
            "active_lock_reason",
        ];
        for name in same {
            form[name] = simple[name].clone();
        }
        form
    }

    pub(super) fn review(&self, repository: &Repository, pull: &Pull, review: &Review) -> Value {
        let url = format!("{}/pulls/{}", self.url(repository), pull.number);
        let html = format!(
            "{}/pull/{}#pullrequestreview-{}",
            self.html(repository),
            pull.number,
            review.id
        );
        json!({
            "id": review.id,
            "node_id": node("PRR", review.id),
            "user": self.user(&review.author),
            "body": review.body,
            "state": review.state,
            "html_url": html,
            "pull_request_url": url,
            "author_association": association(repository, &review.author),
            "_links": { "html": { "href": html }, "pull_request": { "href": url } },
            "submitted_at": review.at.to_string(),
            "commit_id": review.sha,
        })
    }

    pub(super) fn comment(&self, repository: &Repository, comment: &Comment) -> Value {
        let (id, issue) = (comment.id, comment.issue);
        json!({
            "id": id,
            "node_id": node("IC", id),
            "url": format!("{}/issues/comments/{id}", self.url(repository)),
            "html_url": format!("{}/pull/{issue}#issuecomment-{id}", self.html(repository)),
            "issue_url": format!("{}/issues/{issue}", self.url(repository)),
            "body": comment.body,
            "user": self.user(&comment.author),
            "created_at": comment.created_at.to_string(),
            "updated_at": comment.updated_at.to_string(),
            "author_association": association(repository, &comment.author),
            "performed_via_github_app": null,
        })
    }

    pub(super) fn issue_event(&self, repository: &Repository, event: &IssueEvent) -> Value {
        let mut form = json!({
            "id": event.id,
            "node_id": node("IE", event.id),
            "url": format!("{}/issues/events/{}", self.url(repository), event.id),
            "actor": self.user(&event.actor),
            "event": event.kind,
            "commit_id": event.sha,
            "commit_url": event.sha.as_ref().map(|sha| format!("{}/commits/{sha}", self.url(repository))),
            "created_at": event.at.to_string(),
            "performed_via_github_app": null,
        });
        if let Some(about) = &event.about {
            if event.kind.ends_with("labeled") {
                let color = repository.labels.get(&about.to_lowercase());
                let color = color.map_or("ededed", |it| &it.color);
                form["label"] = json!({ "name": about, "color": color });
            } else {
                form["review_requester"] = self.user(&event.actor);
                form["requested_reviewer"] = self.user(about);
            }
        }
        form
    }
}

fn association(repository: &Repository, login: &str) -> &'static str {
    if repository.owner == login {
        return "OWNER";
    }
    match repository.roles.contains_key(login) {
        true => "COLLABORATOR",
        false => "NONE",
    }
}
