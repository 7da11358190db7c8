//! The contract on the simulated forge.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use jiff::Timestamp;
use towpath::forge::simulated::SimulatedForge;
use towpath::forge::{Binds, Check, Forge, PROVEN, Protection, Rule, RuleKind, Visibility};
use towpath::git::memory::{MemoryRemote, Merge};
use towpath::model::CommitId;
use towpath::plan::Request;

use super::contract::{self, BASE, Bed, How, Page};

struct Simulated {
    remote: MemoryRemote,
    forge: SimulatedForge,
    seconds: AtomicI64,
}

impl Simulated {
    fn now(&self) -> Timestamp {
        let seconds = self.seconds.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    /// The branch of a request.
    fn head(&self, request: &Request) -> String {
        let refs = self.remote.refs();
        let names = refs
            .keys()
            .filter_map(|name| name.strip_prefix("refs/heads/"));
        let of = |name: &&str| {
            let seen = self.forge.see(name);
            seen.iter().any(|seen| Some(seen.number) == request.number)
        };
        names.into_iter().find(of).unwrap().to_owned()
    }
}

#[async_trait]
impl Bed for Simulated {
    fn forge(&self) -> Arc<dyn Forge> {
        Arc::new(self.forge.clone())
    }

    async fn now(&self) -> Timestamp {
        Simulated::now(self)
    }

    async fn commit(&self, branch: &str, file: &str, text: &str) -> CommitId {
        let person = self.remote.person("Towpath");
        if person.head(branch).is_none()
            && let Some(base) = person.head(BASE)
        {
            person.force(branch, base);
        }
        let files = [(file, Some(text))];
        person
            .commit(branch, &files, file, Simulated::now(self))
            .unwrap()
    }

    async fn delete(&self, branch: &str) {
        self.remote.person("Ann").delete(branch);
    }

    async fn opens(&self, head: &str, base: &str) {
        self.forge.ask(head, base);
    }

    async fn approves(&self, request: &Request) {
        self.forge.approve(&self.head(request), "ann");
    }

    async fn merges(&self, request: &Request, how: How) {
        let how = match how {
            How::Commit => Merge::Commit,
            How::Squash | How::Rebase => Merge::Squash,
        };
        let now = Simulated::now(self);
        self.forge.merge(&self.head(request), how, false, now);
    }

    async fn sets_open(&self, request: &Request, open: bool) {
        let head = self.head(request);
        match open {
            true => self.forge.reopen(&head),
            false => self.forge.decline(&head),
        }
    }

    async fn labels(&self, request: &Request, label: &str, on: bool) {
        self.forge.label(&self.head(request), label, on);
    }

    async fn edits(&self, request: &Request, title: &str, words: &str) {
        self.forge.edit(&self.head(request), |old, body| {
            title.clone_into(old);
            *body = format!("{words}\r\n\r\n{body}");
        });
    }

    async fn page(&self, request: &Request) -> Page {
        let seen = self.forge.see(&self.head(request));
        let mut seen = seen.into_iter();
        let seen = seen.find(|it| Some(it.number) == request.number).unwrap();
        Page {
            title: seen.title,
            body: seen.body,
            labels: seen.labels,
            comments: seen.comments,
        }
    }

    async fn protects(&self, branch: &str) {
        let rule = |kind| Rule {
            kind,
            source: "branch protection".to_owned(),
            binds: Binds::Yes,
        };
        let checks = vec![Check {
            context: PROVEN.to_owned(),
            app: None,
        }];
        let protection = Protection {
            rules: vec![
                rule(RuleKind::Requests { approvals: 1 }),
                rule(RuleKind::Checks {
                    checks,
                    pushes: true,
                }),
                rule(RuleKind::NoDeletion),
            ],
            untold: Vec::new(),
        };
        self.forge
            .protect(&format!("refs/heads/{branch}"), protection);
    }

    async fn has(&self, commit: CommitId) -> bool {
        self.remote.person("Ann").has(BASE, commit)
    }

    async fn shows_to(&self, visibility: Visibility) {
        self.forge.show_to(visibility);
    }
}

#[tokio::test]
async fn the_simulated_forge_keeps_the_contract() {
    let remote = MemoryRemote::new("https://git.example.com/infra");
    let forge = SimulatedForge::new("git.example.com/infra", remote.clone());
    let bed = Simulated {
        remote,
        forge,
        seconds: AtomicI64::new(0),
    };
    bed.commit(BASE, "README.md", "Read me.\n").await;
    contract::check(&bed).await;
}
