//! People, apps, repositories, commits and files as GitHub's REST API shows them. Each form is checked
//! against GitHub's OpenAPI description by the tests.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::access::{self, Grant, Role};
use super::git::{Changed, Commit, Entry, Signed};
use super::state::{Installation, Repository, State, User};

/// Addresses of a repository: the field, and what follows the repository's own address.
const PLACES: [(&str, &str); 38] = [
    ("archive_url", "/{archive_format}{/ref}"),
    ("assignees_url", "/assignees{/user}"),
    ("blobs_url", "/git/blobs{/sha}"),
    ("branches_url", "/branches{/branch}"),
    ("collaborators_url", "/collaborators{/collaborator}"),
    ("comments_url", "/comments{/number}"),
    ("commits_url", "/commits{/sha}"),
    ("compare_url", "/compare/{base}...{head}"),
    ("contents_url", "/contents/{+path}"),
    ("contributors_url", "/contributors"),
    ("deployments_url", "/deployments"),
    ("downloads_url", "/downloads"),
    ("events_url", "/events"),
    ("forks_url", "/forks"),
    ("git_commits_url", "/git/commits{/sha}"),
    ("git_refs_url", "/git/refs{/sha}"),
    ("git_tags_url", "/git/tags{/sha}"),
    ("hooks_url", "/hooks"),
    ("issue_comment_url", "/issues/comments{/number}"),
    ("issue_events_url", "/issues/events{/number}"),
    ("issues_url", "/issues{/number}"),
    ("keys_url", "/keys{/key_id}"),
    ("labels_url", "/labels{/name}"),
    ("languages_url", "/languages"),
    ("merges_url", "/merges"),
    ("milestones_url", "/milestones{/number}"),
    (
        "notifications_url",
        "/notifications{?since,all,participating}",
    ),
    ("pulls_url", "/pulls{/number}"),
    ("releases_url", "/releases{/id}"),
    ("stargazers_url", "/stargazers"),
    ("statuses_url", "/statuses/{sha}"),
    ("subscribers_url", "/subscribers"),
    ("subscription_url", "/subscription"),
    ("tags_url", "/tags"),
    ("teams_url", "/teams"),
    ("trees_url", "/git/trees{/sha}"),
    ("url", ""),
    ("svn_url", ""),
];

/// What a repository here has none of, does not do, and does not say.
const NOUGHT: [&str; 6] = [
    "size",
    "stargazers_count",
    "watchers_count",
    "forks_count",
    "forks",
    "watchers",
];
const ABSENT: [&str; 8] = [
    "fork",
    "has_projects",
    "has_downloads",
    "has_wiki",
    "has_pages",
    "has_discussions",
    "disabled",
    "is_template",
];
const UNSAID: [&str; 5] = [
    "description",
    "homepage",
    "language",
    "mirror_url",
    "license",
];

/// Addresses of a user, likewise.
const USER_PLACES: [(&str, &str); 10] = [
    ("url", ""),
    ("followers_url", "/followers"),
    ("following_url", "/following{/other_user}"),
    ("gists_url", "/gists{/gist_id}"),
    ("starred_url", "/starred{/owner}{/repo}"),
    ("subscriptions_url", "/subscriptions"),
    ("organizations_url", "/orgs"),
    ("repos_url", "/repos"),
    ("events_url", "/events{/privacy}"),
    ("received_events_url", "/received_events"),
];

/// Where a form's links point, and what it looks things up in.
#[derive(Clone, Copy)]
pub(super) struct Form<'a> {
    pub(super) state: &'a State,
    /// The root of the API, without a slash at its end.
    pub(super) api: &'a str,
    /// The root of the site, likewise.
    pub(super) site: &'a str,
}

/// An opaque id that says what it is of.
pub(super) fn node(kind: &str, id: u64) -> String {
    format!("{kind}_{id}")
}

impl Form<'_> {
    /// A user; null where there is none (any more).
    pub(super) fn user(&self, login: &str) -> Value {
        let Some(user) = self.state.users.get(login) else {
            return Value::Null;
        };
        self.simple_user(user)
    }

    fn simple_user(&self, user: &User) -> Value {
        let login = &user.login;
        let mut form = json!({
            "login": login,
            "id": user.id,
            "node_id": node("U", user.id),
            "avatar_url": format!("{}/avatars/u/{}", self.site, user.id),
            "gravatar_id": "",
            "html_url": format!("{}/{login}", self.site),
            "type": user.kind,
            "site_admin": false,
        });
        for (name, rest) in USER_PLACES {
            form[name] = json!(format!("{}/users/{login}{rest}", self.api));
        }
        form
    }

    /// The user whose token it is.
    pub(super) fn myself(&self, user: &User) -> Value {
        let mut form = self.simple_user(user);
        let at = user.created_at.to_string();
        for name in [
            "bio", "blog", "company", "email", "hireable", "location", "name",
        ] {
            form[name] = Value::Null;
        }
        for name in ["followers", "following", "public_gists", "public_repos"] {
            form[name] = json!(0);
        }
        form["created_at"] = json!(at);
        form["updated_at"] = json!(at);
        form
    }

    pub(super) fn url(&self, repository: &Repository) -> String {
        format!("{}/repos/{}", self.api, repository.full_name())
    }

    pub(super) fn html(&self, repository: &Repository) -> String {
        format!("{}/{}", self.site, repository.full_name())
    }

    pub(super) fn repository(&self, repository: &Repository) -> Value {
        let name = repository.full_name();
        let open = repository.pulls.values().filter(|it| it.open).count();
        let methods = repository.methods;
        let mut form = json!({
            "id": repository.id,
            "node_id": node("R", repository.id),
            "name": repository.name,
            "full_name": name,
            "private": repository.visibility != "public",
            "visibility": repository.visibility,
            "owner": self.user(&repository.owner),
            "html_url": self.html(repository),
            "created_at": repository.created_at.to_string(),
            "updated_at": repository.pushed_at.to_string(),
            "pushed_at": repository.pushed_at.to_string(),
            "git_url": format!("{}/{name}.git", self.site.replacen("http", "git", 1)),
            "ssh_url": format!("git@{}:{name}.git", self.site.rsplit('/').next().unwrap_or_default()),
            "clone_url": format!("{}/{name}.git", self.site),
            "has_issues": true,
            "archived": repository.archived,
            "open_issues_count": open,
            "topics": [],
            "open_issues": open,
            "default_branch": repository.default_branch,
            "allow_merge_commit": methods.merge,
            "allow_squash_merge": methods.squash,
            "allow_rebase_merge": methods.rebase,
            "allow_auto_merge": methods.auto_merge,
            "delete_branch_on_merge": methods.delete_branch,
        });
        for field in NOUGHT {
            form[field] = json!(0);
        }
        for field in ABSENT {
            form[field] = json!(false);
        }
        for field in UNSAID {
            form[field] = Value::Null;
        }
        for (field, rest) in PLACES {
            form[field] = json!(format!("{}{rest}", self.url(repository)));
        }
        form["svn_url"] = json!(self.html(repository));
        form
    }

    /// A repository as one who asks for it alone gets it, with what they may do in it.
    pub(super) fn full_repository(&self, repository: &Repository, grant: &Grant) -> Value {
        let mut form = self.repository(repository);
        form["network_count"] = json!(0);
        form["subscribers_count"] = json!(0);
        form["permissions"] = permissions(grant.role(repository));
        form
    }

    /// The app itself.
    pub(super) fn app(&self, id: u64) -> Value {
        let Some(app) = self.state.apps.get(&id) else {
            return Value::Null;
        };
        let at = app.created_at.to_string();
        json!({
            "id": app.id,
            "slug": app.slug,
            "node_id": node("A", app.id),
            "owner": self.user(&app.owner),
            "name": app.slug,
            "description": null,
            "external_url": self.site,
            "html_url": format!("{}/apps/{}", self.site, app.slug),
            "created_at": at,
            "updated_at": at,
            "permissions": access::written(&app.permissions),
            "events": [],
        })
    }

    pub(super) fn installation(&self, installation: &Installation) -> Value {
        let id = installation.id;
        let account = self.state.users.get(&installation.account);
        let app = self.state.apps.get(&installation.app);
        let permissions = app.map(|app| access::written(&app.permissions));
        json!({
            "id": id,
            "account": self.user(&installation.account),
            "repository_selection": if installation.repositories.is_some() { "selected" } else { "all" },
            "access_tokens_url": format!("{}/app/installations/{id}/access_tokens", self.api),
            "repositories_url": format!("{}/installation/repositories", self.api),
            "html_url": format!("{}/settings/installations/{id}", self.site),
            "app_id": installation.app,
            "app_slug": app.map(|app| app.slug.clone()).unwrap_or_default(),
            "target_id": account.map(|it| it.id).unwrap_or_default(),
            "target_type": account.map(|it| it.kind).unwrap_or_default(),
            "permissions": permissions,
            "events": [],
            "created_at": installation.created_at.to_string(),
            "updated_at": installation.created_at.to_string(),
            "single_file_name": null,
            "suspended_by": null,
            "suspended_at": installation.suspended_at.map(|at| at.to_string()),
        })
    }

    /// A commit with who made it and, where asked for, its files.
    pub(super) fn commit(
        &self,
        repository: &Repository,
        commit: &Commit,
        files: Option<&[Changed]>,
    ) -> Value {
        let (url, html) = (self.url(repository), self.html(repository));
        let sha = &commit.sha;
        let parents: Vec<Value> = commit
            .parents
            .iter()
            .map(|sha| {
                json!({
                    "sha": sha,
                    "url": format!("{url}/commits/{sha}"),
                    "html_url": format!("{html}/commit/{sha}"),
                })
            })
            .collect();
        let mut form = json!({
            "sha": sha,
            "node_id": format!("C_{sha}"),
            "commit": {
                "author": signed(&commit.author),
                "committer": signed(&commit.committer),
                "message": commit.message,
                "tree": { "sha": commit.tree, "url": format!("{url}/git/trees/{}", commit.tree) },
                "url": format!("{url}/git/commits/{sha}"),
                "comment_count": 0,
                "verification": verification(repository.verified.contains(sha)),
            },
            "url": format!("{url}/commits/{sha}"),
            "html_url": format!("{html}/commit/{sha}"),
            "comments_url": format!("{url}/commits/{sha}/comments"),
            "author": self.by_address(&commit.author),
            "committer": self.by_address(&commit.committer),
            "parents": parents,
        });
        if let Some(files) = files {
            let additions: u64 = files.iter().map(|file| file.additions).sum();
            let deletions: u64 = files.iter().map(|file| file.deletions).sum();
            form["stats"] = json!({ "additions": additions, "deletions": deletions, "total": additions + deletions });
            form["files"] = self.files(repository, sha, files);
        }
        form
    }

    /// The same commit as the git database shows it.
    pub(super) fn git_commit(&self, repository: &Repository, commit: &Commit) -> Value {
        let mut form = self.commit(repository, commit, None);
        let mut inner = form["commit"].take();
        let (url, sha) = (self.url(repository), &commit.sha);
        inner["sha"] = json!(sha);
        inner["node_id"] = form["node_id"].take();
        inner["url"] = json!(format!("{url}/git/commits/{sha}"));
        inner["html_url"] = form["html_url"].take();
        inner["parents"] = form["parents"].take();
        inner
    }

    pub(super) fn files(&self, repository: &Repository, sha: &str, files: &[Changed]) -> Value {
        let (url, html) = (self.url(repository), self.html(repository));
        let form = |file: &Changed| {
            let path = &file.path;
            let mut form = json!({
                "sha": file.sha,
                "filename": path,
                "status": file.status,
                "additions": file.additions,
                "deletions": file.deletions,
                "changes": file.additions + file.deletions,
                "blob_url": format!("{html}/blob/{sha}/{path}"),
                "raw_url": format!("{html}/raw/{sha}/{path}"),
                "contents_url": format!("{url}/contents/{path}?ref={sha}"),
            });
            if let Some(patch) = &file.patch {
                form["patch"] = json!(patch);
            }
            form
        };
        files.iter().map(form).collect()
    }

    /// A file or folder, with its content where that is given.
    pub(super) fn content(
        &self,
        repository: &Repository,
        reference: &str,
        entry: &Entry,
        content: Option<&[u8]>,
    ) -> Value {
        let (url, html) = (self.url(repository), self.html(repository));
        let (path, sha) = (&entry.path, &entry.sha);
        let (kind, git) = match entry.kind.as_str() {
            "tree" => ("dir", "trees"),
            _ => ("file", "blobs"),
        };
        let own = format!("{url}/contents/{path}?ref={reference}");
        let git_url = format!("{url}/git/{git}/{sha}");
        let html_url = format!("{html}/blob/{reference}/{path}");
        let mut form = json!({
            "type": kind,
            "name": path.rsplit('/').next(),
            "path": path,
            "sha": sha,
            "size": entry.size,
            "url": own,
            "git_url": git_url,
            "html_url": html_url,
            "download_url": (kind == "file").then(|| format!("{html}/raw/{reference}/{path}")),
            "_links": { "self": own, "git": git_url, "html": html_url },
        });
        if let Some(content) = content {
            form["encoding"] = json!("base64");
            form["content"] = json!(BASE64_STANDARD.encode(content));
        }
        form
    }

    /// The user whom an address that GitHub hands out belongs to.
    fn by_address(&self, who: &Signed) -> Value {
        let local = who.email.strip_suffix("@users.noreply.github.com");
        let login = local.map(|local| local.split_once('+').map_or(local, |(_, login)| login));
        login.map_or(Value::Null, |login| self.user(login))
    }
}

/// The address that GitHub gives a user for commits.
pub(super) fn address(user: &User) -> String {
    format!("{}+{}@users.noreply.github.com", user.id, user.login)
}

fn signed(who: &Signed) -> Value {
    json!({ "name": who.name, "email": who.email, "date": who.date })
}

/// What the site signs is good; whatever else is signed is not judged here.
fn verification(verified: bool) -> Value {
    json!({
        "verified": verified,
        "reason": if verified { "valid" } else { "unsigned" },
        "signature": verified.then_some("-----BEGIN PGP SIGNATURE-----"),
        "payload": verified.then_some(""),
        "verified_at": null,
    })
}

pub(super) fn permissions(role: Option<Role>) -> Value {
    let has = |least: Role| role.is_some_and(|role| role >= least);
    json!({
        "admin": has(Role::Admin),
        "maintain": has(Role::Maintain),
        "push": has(Role::Write),
        "triage": has(Role::Triage),
        "pull": has(Role::Read),
    })
}
