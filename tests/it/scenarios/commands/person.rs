//! What people do to repositories.

use towpath::git::memory::Merge;
use towpath::model::CommitId;

use super::super::site::Site;
use super::super::{link, show};
use super::Teller;

impl Teller {
    /// People.
    pub(super) async fn person(&mut self, words: &[&str], block: &str) -> bool {
        let now = self.site.now;
        match words {
            ["file", environment, path] if !block.is_empty() => {
                let person = self.site.person(environment);
                let branch = self.branch(environment);
                person
                    .commit(
                        &branch,
                        &[(path, Some(block))],
                        &format!("write {path}"),
                        now,
                    )
                    .unwrap();
            }
            ["link", environment, path, target] => {
                let (remote, branch) = (self.site.remote(environment), self.branch(environment));
                link::put(remote, &branch, path, target, now).await;
            }
            ["delete", environment, paths @ ..] => {
                let person = self.site.person(environment);
                let branch = self.branch(environment);
                let files: Vec<_> = paths.iter().map(|path| (*path, None)).collect();
                let message = format!("delete {}", paths.join(", "));
                person.commit(&branch, &files, &message, now).unwrap();
            }
            ["move", environment, from, to] => {
                let person = self.site.person(environment);
                let branch = self.branch(environment);
                let text = person.read(&branch, from).unwrap();
                let files = [(*from, None), (*to, Some(text.as_str()))];
                let message = format!("move {from} to {to}");
                person.commit(&branch, &files, &message, now).unwrap();
            }
            ["edit", environment, path, old, new] => {
                let branch = self.branch(environment);
                edit(&self.site, environment, &branch, path, old, new);
            }
            ["edit-proposal", environment, path, old, new] => {
                let branch = self.proposal(environment, "shop");
                edit(&self.site, environment, &branch, path, old, new);
            }
            ["edit-on", environment, branch, path, old, new] => {
                let person = self.site.person(environment);
                if person.head(branch).is_none() {
                    person.force(branch, person.head(&self.branch(environment)).unwrap());
                }
                edit(&self.site, environment, branch, path, old, new);
            }
            ["queue", environment, heads @ ..] => {
                let (base, person) = (self.branch(environment), self.site.person(environment));
                let head = person.head(&base).unwrap();
                let group = format!("gh-readonly-queue/{base}/pr-1-{head}");
                person.force(&group, head);
                for from in heads {
                    person.merge(from, &group, Merge::Commit, now).unwrap();
                }
            }
            ["unqueue", environment] => {
                let person = self.site.person(environment);
                for branch in super::look::queued(self.site.remote(environment)) {
                    person.delete(&branch);
                }
            }
            ["rewrite-proposal", environment, path, old, new] => {
                let branch = self.proposal(environment, "shop");
                let person = self.site.person(environment);
                let base = person.head(&self.branch(environment)).unwrap();
                person.force(&branch, base);
                edit(&self.site, environment, &branch, path, old, new);
            }
            ["merge", environment, how @ ..] => {
                let (how, application) = match how {
                    [] => ("commit", "shop"),
                    [how] => (*how, "shop"),
                    [how, application, ..] => (*how, *application),
                };
                self.merge(environment, application, how);
            }
            ["decline", environment, application @ ..] => {
                let branch = self.proposal(environment, application.first().unwrap_or(&"shop"));
                self.site.person(environment).delete(&branch);
            }
            ["delete-branch", environment, branch] => self.site.person(environment).delete(branch),
            ["revert", environment, which] => {
                let branch = self.branch(environment);
                let commit = self.ancestor(environment, which).await;
                let person = self.site.person(environment);
                person.revert(&branch, commit, now).unwrap();
            }
            ["force-push", environment, which] => {
                let branch = self.branch(environment);
                let commit = self.ancestor(environment, which).await;
                self.site.person(environment).force(&branch, commit);
            }
            ["remember", name, environment] => {
                let head = self
                    .site
                    .person(environment)
                    .head(&self.branch(environment));
                self.site
                    .labels
                    .insert((*name).to_owned(), head.unwrap().to_string());
            }
            ["source", label, "on", branch] => {
                let remote = self.source();
                let file = format!("{label}\n");
                let commit = remote
                    .person("Ann")
                    .commit(branch, &[("code", Some(&file))], label, now)
                    .unwrap();
                self.site.labels.insert((*label).to_owned(), commit.short());
                let whole = format!("whole-{label}");
                self.site.labels.insert(whole, commit.to_string());
            }
            ["tag", environment, name] => {
                let person = self.site.person(environment);
                let head = person.head(&self.branch(environment)).unwrap();
                person
                    .tag(name, head, "made by another tool\n", now)
                    .unwrap();
            }
            _ => return false,
        }
        true
    }

    fn merge(&self, environment: &str, application: &str, how: &str) {
        let person = self.site.person(environment);
        let from = self.proposal(environment, application);
        let into = self.branch(environment);
        let now = self.site.now;
        match how {
            "commit" => drop(person.merge(&from, &into, Merge::Commit, now).unwrap()),
            "squash" | "rebase" => drop(person.merge(&from, &into, Merge::Squash, now).unwrap()),
            "ff" => drop(person.merge(&from, &into, Merge::FastForward, now).unwrap()),
            other => panic!("no way to merge `{other}`"),
        }
    }

    /// `HEAD`, `HEAD~2`, or a commit's id.
    async fn ancestor(&self, environment: &str, which: &str) -> CommitId {
        if let Ok(id) = which.parse() {
            return id;
        }
        let back = which
            .strip_prefix("HEAD~")
            .map_or(0, |it| it.parse::<usize>().unwrap());
        let mirror = show::mirror(self.site.remote(environment)).await;
        let mut id = self
            .site
            .person(environment)
            .head(&self.branch(environment))
            .unwrap();
        for _ in 0..back {
            id = mirror.commit(id).unwrap().parents[0];
        }
        id
    }
}

pub(super) fn edit(site: &Site, environment: &str, branch: &str, path: &str, old: &str, new: &str) {
    let person = site.person(environment);
    let text = person.read(branch, path).unwrap();
    assert!(text.contains(old), "{path} does not hold `{old}`:\n{text}");
    let text = text.replace(old, new);
    let message = format!("{path}: {new}");
    person
        .commit(branch, &[(path, Some(&text))], &message, site.now)
        .unwrap();
}
