//! What the simulator remembers beside its git repositories. Plain values; nothing here decides or shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::access::{Grant, Permissions, Role};
use super::protection::Protection;
use super::rulesets::Kept;

/// Everything on the site.
#[derive(Default)]
pub(super) struct State {
    pub(super) users: BTreeMap<String, User>,
    /// By `owner/name`.
    pub(super) repositories: BTreeMap<String, Repository>,
    pub(super) apps: BTreeMap<u64, App>,
    pub(super) installations: BTreeMap<u64, Installation>,
    pub(super) tokens: BTreeMap<String, Grant>,
    /// Who is in each team, by `organisation/slug`.
    pub(super) teams: BTreeMap<String, Vec<String>>,
    /// How long tokens of installations last, where that is not as usual.
    pub(super) lifetime: Option<SignedDuration>,
    last_id: u64,
}

impl State {
    /// An id that nothing else on the site has.
    pub(super) fn new_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

/// A person, an organisation or an app's bot.
pub(super) struct User {
    pub(super) id: u64,
    pub(super) login: String,
    /// `User`, `Organization` or `Bot`.
    pub(super) kind: &'static str,
    /// What everybody may see of it.
    pub(super) email: Option<String>,
    /// What it signs with, each with an id.
    pub(super) signing_keys: Vec<(u64, String)>,
    pub(super) created_at: Timestamp,
}

/// A GitHub App.
pub(super) struct App {
    pub(super) id: u64,
    pub(super) slug: String,
    pub(super) owner: String,
    /// PEM of the public key that its JWTs are checked with.
    pub(super) key: String,
    pub(super) permissions: Permissions,
    pub(super) created_at: Timestamp,
}

/// An app in an account.
pub(super) struct Installation {
    pub(super) id: u64,
    pub(super) app: u64,
    pub(super) account: String,
    /// The repositories it was given; every one of the account where there is no list.
    pub(super) repositories: Option<Vec<String>>,
    pub(super) suspended_at: Option<Timestamp>,
    pub(super) created_at: Timestamp,
}

pub(super) struct Repository {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) name: String,
    /// Where the bare repository lies.
    pub(super) path: PathBuf,
    /// `public`, `internal` or `private`.
    pub(super) visibility: String,
    pub(super) archived: bool,
    pub(super) default_branch: String,
    pub(super) created_at: Timestamp,
    pub(super) pushed_at: Timestamp,
    pub(super) methods: Methods,
    pub(super) roles: BTreeMap<String, Role>,
    /// Every ref as last read: what was pushed since is news.
    pub(super) refs: BTreeMap<String, String>,
    pub(super) last_number: u64,
    pub(super) pulls: BTreeMap<u64, Pull>,
    pub(super) comments: BTreeMap<u64, Comment>,
    pub(super) labels: BTreeMap<String, Label>,
    pub(super) statuses: BTreeMap<String, Vec<Status>>,
    pub(super) checks: BTreeMap<u64, Check>,
    pub(super) deployments: BTreeMap<u64, Deployment>,
    /// By pattern of branch names, as fnmatch(3) reads it.
    pub(super) protections: BTreeMap<String, Protection>,
    pub(super) rulesets: Vec<Kept>,
    pub(super) hooks: BTreeMap<u64, Hook>,
    pub(super) queue: Vec<Queued>,
    /// Commits that the site made and signed.
    pub(super) verified: BTreeSet<String>,
}

impl Repository {
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    pub(super) fn branch(&self, name: &str) -> Option<&String> {
        self.refs.get(&format!("refs/heads/{name}"))
    }
}

/// How pull requests may be merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods {
    /// By a merge commit.
    pub merge: bool,
    /// As one commit.
    pub squash: bool,
    /// By copies of the commits.
    pub rebase: bool,
    /// By itself, once everything required is there.
    pub auto_merge: bool,
    /// Whether the head branch goes with the merge.
    pub delete_branch: bool,
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            merge: true,
            squash: true,
            rebase: true,
            auto_merge: true,
            delete_branch: false,
        }
    }
}

pub(super) struct Pull {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) title: String,
    pub(super) body: Option<String>,
    pub(super) author: String,
    pub(super) head: String,
    pub(super) head_sha: String,
    pub(super) base: String,
    pub(super) base_sha: String,
    pub(super) open: bool,
    pub(super) draft: bool,
    pub(super) merged: Option<Merged>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) closed_at: Option<Timestamp>,
    pub(super) labels: Vec<String>,
    pub(super) reviewers: Vec<String>,
    pub(super) reviews: Vec<Review>,
    pub(super) auto_merge: Option<AutoMerge>,
    pub(super) compared: Option<Compared>,
    /// How many more readers are told that mergeability is not known yet.
    pub(super) unknown: usize,
    pub(super) events: Vec<IssueEvent>,
}

pub(super) struct Merged {
    pub(super) by: String,
    pub(super) at: Timestamp,
    pub(super) sha: String,
    /// Whether webhooks heard of it.
    pub(super) told: bool,
}

pub(super) struct AutoMerge {
    pub(super) by: String,
    pub(super) method: String,
    pub(super) title: Option<String>,
    pub(super) message: Option<String>,
}

/// What git says of a head against a base.
#[derive(Clone)]
pub(super) struct Compared {
    pub(super) head: String,
    pub(super) base: String,
    /// The tree of the merge; none where there are conflicts.
    pub(super) tree: Option<String>,
    pub(super) commits: usize,
    pub(super) additions: u64,
    pub(super) deletions: u64,
    pub(super) files: usize,
    pub(super) behind: bool,
}

pub(super) struct Review {
    pub(super) id: u64,
    pub(super) author: String,
    pub(super) body: String,
    /// `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED` or `DISMISSED`.
    pub(super) state: &'static str,
    pub(super) sha: String,
    pub(super) at: Timestamp,
}

pub(super) struct IssueEvent {
    pub(super) id: u64,
    pub(super) actor: String,
    pub(super) kind: &'static str,
    /// The label, or the reviewer, that it is about.
    pub(super) about: Option<String>,
    pub(super) sha: Option<String>,
    pub(super) at: Timestamp,
}

pub(super) struct Comment {
    pub(super) id: u64,
    pub(super) issue: u64,
    pub(super) author: String,
    pub(super) body: String,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

pub(super) struct Label {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) color: String,
}

pub(super) struct Status {
    pub(super) id: u64,
    pub(super) context: String,
    pub(super) state: String,
    pub(super) description: Option<String>,
    pub(super) target: Option<String>,
    pub(super) creator: String,
    /// The app that said it, if one did.
    pub(super) app: Option<u64>,
    pub(super) at: Timestamp,
}

pub(super) struct Check {
    pub(super) id: u64,
    pub(super) app: u64,
    pub(super) name: String,
    pub(super) sha: String,
    pub(super) status: String,
    pub(super) conclusion: Option<String>,
    pub(super) details: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) output: Value,
    pub(super) started_at: Timestamp,
    pub(super) completed_at: Option<Timestamp>,
}

pub(super) struct Deployment {
    pub(super) id: u64,
    pub(super) reference: String,
    pub(super) sha: String,
    pub(super) task: String,
    pub(super) environment: String,
    pub(super) description: Option<String>,
    pub(super) payload: Value,
    pub(super) production: bool,
    pub(super) transient: bool,
    pub(super) creator: String,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    pub(super) statuses: Vec<DeploymentStatus>,
}

pub(super) struct DeploymentStatus {
    pub(super) id: u64,
    pub(super) state: String,
    pub(super) description: String,
    pub(super) environment_url: String,
    pub(super) log_url: String,
    pub(super) creator: String,
    pub(super) at: Timestamp,
}

pub(super) struct Hook {
    pub(super) id: u64,
    pub(super) url: String,
    pub(super) secret: Option<String>,
    pub(super) events: Vec<String>,
    pub(super) created_at: Timestamp,
    pub(super) deliveries: Vec<Delivery>,
}

/// A webhook that was sent, and what came back.
#[derive(Clone)]
pub(super) struct Delivery {
    pub(super) id: u64,
    pub(super) guid: String,
    pub(super) event: String,
    pub(super) action: Option<String>,
    pub(super) body: String,
    pub(super) redelivery: bool,
    pub(super) at: Timestamp,
    /// 0 where nobody answered.
    pub(super) code: u16,
}

/// A pull request in a merge queue.
pub(super) struct Queued {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) by: String,
    pub(super) method: String,
    /// The commit that its checks run on, the branch that holds it, and the base it was made on.
    pub(super) group: Option<Group>,
}

#[derive(Clone)]
pub(super) struct Group {
    pub(super) sha: String,
    pub(super) branch: String,
    pub(super) base: String,
}
