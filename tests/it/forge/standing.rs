//! What GitHub tells of us and of its protection, to each kind of credential: every answer fits GitHub's own
//! description. And what Gitea tells a writer.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use towpath::clock;
use towpath::demo::github::{
    Actors, Protection, RequiredCheck, RequiredChecks, RequiredReviews, Role, Ruleset, Target,
};
use towpath::forge::github::{GitHub, Identity};
use towpath::forge::{Binds, ForgeError, May, ReadForge};
use towpath::model::Credential;

use crate::github::{APP_KEY, Site, check_exchanges};

const REPOSITORY: &str = "acme/infra";

struct Bed {
    site: Site,
    directory: TempDir,
}

impl Bed {
    async fn start() -> Self {
        let site = Site::start().await;
        // An App's tokens are made by the machine's clock.
        let begun = Timestamp::from_second(1_800_000_000).unwrap();
        site.wait(clock::now().duration_since(begun));
        Self {
            site,
            directory: TempDir::new().unwrap(),
        }
    }

    fn secret(&self, text: &str) -> Credential {
        let mut count = std::fs::read_dir(self.directory.path()).unwrap();
        let path = self
            .directory
            .path()
            .join(format!("{}", count.by_ref().count()));
        std::fs::write(&path, text).unwrap();
        Credential::File { path, user: None }
    }

    /// One of the people; `app`; or a fine-grained token of `towpath`.
    async fn forge(&self, who: &str) -> GitHub {
        let identity = match who {
            "app" => Identity::App {
                id: self.site.app,
                key: self.secret(APP_KEY),
            },
            login if !login.contains('=') => {
                Identity::Token(self.secret(self.site.token(login).expose()))
            }
            rights => {
                let token = self.site.fine_grained("towpath", rights).await;
                Identity::Token(self.secret(token.expose()))
            }
        };
        self.site.adapter(REPOSITORY, identity)
    }

    fn judge(&self) {
        let findings = check_exchanges(&self.site.github.take_exchanges());
        assert!(findings.is_empty(), "{}", findings.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_credential_is_told_what_it_may() {
    let bed = Bed::start().await;
    let app = bed.site.app;
    // Contents, requests, statuses, deployments: yes, no, untold.
    for (who, login, id, admin, may) in [
        ("towpath", Some("towpath"), None, false, "yyyy"),
        ("root", Some("root"), None, true, "yyyy"),
        ("tim", Some("tim"), None, false, "nnnn"),
        ("app", Some("tow[bot]"), Some(app), false, "yyyy"),
        (
            "contents=write,pull_requests=write,statuses=write",
            Some("towpath"),
            None,
            false,
            "uuun",
        ),
        ("contents=write", Some("towpath"), None, false, "unnn"),
    ] {
        let rights = bed.forge(who).await.rights().await.unwrap();
        let told: String = rights
            .may
            .values()
            .map(|it| match it {
                May::Yes => 'y',
                May::No(_) => 'n',
                May::Untold(_) => 'u',
            })
            .collect();
        let found = (
            rights.login.as_deref(),
            rights.app,
            rights.admin,
            told.as_str(),
        );
        assert_eq!(found, (login, id, admin, may), "{who}");
    }
    bed.site.github.set_archived(REPOSITORY, true).await;
    assert!(bed.forge("towpath").await.rights().await.unwrap().archived);
    bed.judge();
}

/// The rules of a ref as one sees them, a line each: kind, whether it binds, where it stands.
async fn seen(bed: &Bed, who: &str, reference: &str) -> String {
    let forge = bed.forge(who).await;
    let us = forge.rights().await.unwrap();
    let protection = forge.protection(reference, &us).await.unwrap();
    let mut text = String::new();
    for rule in protection.rules {
        let binds = match rule.binds {
            Binds::Yes => "binds",
            Binds::No(_) => "free",
            Binds::Untold(_) => "untold",
        };
        writeln!(text, "{:?} {binds} {}", rule.kind, rule.source).unwrap();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn branch_protection_is_told_in_full_to_administrators_alone() {
    let bed = Bed::start().await;
    let mut protection = Protection {
        required_pull_request_reviews: Some(RequiredReviews::default()),
        required_status_checks: Some(RequiredChecks {
            checks: vec![RequiredCheck {
                context: "towpath/proven".to_owned(),
                app_id: Some(7),
            }],
            ..RequiredChecks::default()
        }),
        required_linear_history: true,
        required_signatures: true,
        ..Protection::default()
    };
    let github = &bed.site.github;
    github
        .protect(REPOSITORY, "master", Some(protection.clone()))
        .await;
    let checks =
        r#"Checks { checks: [Check { context: "towpath/proven", app: Some(7) }], pushes: true }"#;
    let writer = format!(
        "Requests {{ approvals: 1 }} untold branch protection
Signed binds branch protection
Linear binds branch protection
NoRewrite binds branch protection
NoDeletion binds branch protection
{checks} binds branch protection
"
    );
    let master = "refs/heads/master";
    assert_eq!(seen(&bed, "towpath", master).await, writer);
    let admin = |binds: &str| {
        format!(
            "Requests {{ approvals: 1 }} {binds} branch protection
Signed {binds} branch protection
Linear {binds} branch protection
NoRewrite binds branch protection
NoDeletion binds branch protection
{checks} {binds} branch protection
"
        )
    };
    assert_eq!(seen(&bed, "root", master).await, admin("free"));
    protection.enforce_admins = Some(true);
    github
        .protect(REPOSITORY, "master", Some(protection.clone()))
        .await;
    assert_eq!(seen(&bed, "root", master).await, admin("binds"));
    // Those who are named are free, whatever administrators must do.
    let named = Actors {
        users: vec!["root".to_owned()],
        ..Actors::default()
    };
    let reviews = protection.required_pull_request_reviews.as_mut().unwrap();
    reviews.bypass_pull_request_allowances = named.clone();
    protection.restrictions = Some(named);
    github.protect(REPOSITORY, "master", Some(protection)).await;
    let told = seen(&bed, "root", master).await;
    assert!(told.starts_with("Requests { approvals: 1 } free"), "{told}");
    assert!(told.contains("Few free branch protection"), "{told}");
    let told = seen(&bed, "towpath", master).await;
    assert!(told.contains("Few binds branch protection"), "{told}");
    bed.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rulesets_are_told_to_all_with_whether_they_bind() {
    let bed = Bed::start().await;
    let github = &bed.site.github;
    let parameters = json!({
        "required_approving_review_count": 2,
        "dismiss_stale_reviews_on_push": true,
        "require_code_owner_review": false,
        "require_last_push_approval": false,
        "required_review_thread_resolution": false,
    });
    let rules = vec![
        json!({ "type": "pull_request", "parameters": parameters }),
        json!({ "type": "required_signatures" }),
    ];
    for (name, target, pattern, rules, bypass) in [
        ("main", Target::Branch, "master", rules, vec!["tow[bot]"]),
        (
            "ours",
            Target::Branch,
            "towpath/**",
            vec![json!({ "type": "deletion" })],
            Vec::new(),
        ),
        (
            "tags",
            Target::Tag,
            "deployment-*",
            vec![json!({ "type": "creation" })],
            Vec::new(),
        ),
    ] {
        let ruleset = Ruleset {
            name: name.to_owned(),
            target,
            pattern: pattern.to_owned(),
            rules,
            bypass: bypass.into_iter().map(str::to_owned).collect(),
        };
        github.add_ruleset(REPOSITORY, ruleset).await;
    }
    let both = |binds: &str| {
        format!(
            "Requests {{ approvals: 2 }} {binds} ruleset `main`\nSigned {binds} ruleset `main`\n"
        )
    };
    let master = "refs/heads/master";
    assert_eq!(seen(&bed, "towpath", master).await, both("binds"));
    assert_eq!(seen(&bed, "app", master).await, both("free"));
    // A branch that does not exist yet has its rules already.
    let proposal = "refs/heads/towpath/production/shop";
    let told = seen(&bed, "towpath", proposal).await;
    assert_eq!(told, "NoDeletion binds ruleset `ours`\n");
    let told = seen(&bed, "towpath", "refs/tags/deployment-0001").await;
    assert_eq!(told, "NoCreation binds ruleset `tags`\n");
    assert_eq!(seen(&bed, "towpath", "refs/tags/v1").await, "");
    // What is told is what git meets.
    let token = bed.site.token("towpath").expose();
    bed.site
        .commit("towpath", "other", Some("master"), "a", "1\n")
        .await;
    let refused = bed
        .site
        .push(token, &["HEAD:refs/tags/deployment-0001"])
        .await;
    assert!(refused.unwrap_err().contains("GH006"));
    bed.site.push(token, &["HEAD:refs/tags/v1"]).await.unwrap();
    bed.judge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_are_told_to_administrators_alone() {
    let bed = Bed::start().await;
    let github = &bed.site.github;
    github
        .add_hook(
            REPOSITORY,
            "https://t.example.com/hooks/github?x=1",
            None,
            &["push"],
        )
        .await;
    let hidden = bed.forge("towpath").await.hooks().await;
    assert!(
        matches!(hidden, Err(ForgeError::Denied { .. })),
        "{hidden:?}"
    );
    let hooks = bed.forge("root").await.hooks().await.unwrap();
    let [hook] = hooks.as_slice() else {
        panic!("{hooks:?}");
    };
    assert_eq!(hook.url, "https://t.example.com/hooks/github");
    assert!(hook.active && hook.hears("push") && !hook.hears("pull_request"));
    github
        .set_role(REPOSITORY, "towpath", Some(Role::Admin))
        .await;
    assert_eq!(bed.forge("towpath").await.hooks().await.unwrap().len(), 1);
    bed.judge();
}
