//! What an infra repository says, looked at as a whole in one request.
//!
//! Owns which refs are asked for and what is brought from the server. What they mean for an
//! environment is told in [`super::branch`], for a unit in [`super::unit`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use gix::ObjectId;
use jiff::Timestamp;

use super::InfraSource;
use super::branch::EnvironmentSeen;
use super::sealed::Sealed;
use super::source::Failed;
use super::unit::Cached;
use crate::git::notes::{self, records_ref};
use crate::git::{GitError, Reach, Ref, Refs, Repository};
use crate::manifest::ImageFields;
use crate::model::{
    ApplicationName, Authority, CommitId, DeploymentTags, EnvironmentName, ImageField, Release,
    SCRATCH,
};

/// A proposal is one commit, and the one it stands on tells whether the base moved under it.
const PROPOSAL_DEPTH: u32 = 2;

/// The furthest that a person's commits on a proposal are followed back to where it was made.
pub(super) const PROPOSAL_MAX: usize = 100;

/// A repository as it was last looked at.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    pub(super) refs: Refs,
    pub(super) environments: BTreeMap<EnvironmentName, Arc<EnvironmentSeen>>,
    /// Environments that are not read here, and have records.
    pub(super) others: BTreeSet<EnvironmentName>,
}

impl Snapshot {
    /// The head of an environment's branch.
    pub fn head(&self, environment: &EnvironmentName) -> Option<CommitId> {
        self.environments.get(environment).map(|seen| seen.head)
    }

    /// Whether a commit is a head that was seen, or behind one, as far as that is known.
    pub(super) fn is_behind(&self, commit: CommitId) -> bool {
        let mut environments = self.environments.values();
        environments.any(|seen| seen.behind.contains(&commit))
    }

    /// The records of an environment that count; `None`: they were not read, or are not believed, and the inner
    /// `None`: there are none.
    pub fn records(&self, environment: &EnvironmentName) -> Option<Option<RecordsSeen>> {
        let seen = self.environments.get(environment)?;
        seen.standing.as_ref().ok()?;
        Some(seen.records_head.and_then(|head| {
            let tree = seen.records_tree?;
            Some(RecordsSeen { head, tree })
        }))
    }

    /// What the merge queue is about to merge into a branch.
    pub fn queued(&self, branch: &str) -> impl Iterator<Item = CommitId> + '_ {
        let prefix = queue_of(branch);
        let first = prefix.clone();
        let queued = self.refs.range(first..);
        let queued = queued.take_while(move |(name, _)| name.starts_with(&prefix));
        queued.map(|(_, shown)| CommitId(shown.id))
    }

    /// The applications that an environment's records tell of.
    pub(super) fn recorded(
        &self,
        environment: &EnvironmentName,
    ) -> Option<&BTreeSet<ApplicationName>> {
        let seen = self.environments.get(environment)?;
        // Records that are not believed tell of nobody.
        seen.standing.as_ref().ok()?;
        Some(&seen.recorded)
    }
}

/// The records of an environment as they were seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordsSeen {
    /// The head of their ref.
    pub head: CommitId,
    /// The directory of those that count.
    pub tree: ObjectId,
}

/// Where an environment's deployments stand in its repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The branch.
    pub branch: String,
    /// The tags.
    pub tags: DeploymentTags,
    /// Whether a merge queue may stand before the branch.
    pub queued: bool,
    /// Whose records let something move.
    pub authority: Arc<Authority>,
}

/// Where all environments' records are.
const RECORDS: &str = "refs/notes/towpath/";

/// Where GitHub keeps what its merge queue is about to merge into a branch
/// ([merge queues](https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue)).
fn queue_of(branch: &str) -> String {
    format!("refs/heads/gh-readonly-queue/{branch}/")
}

/// See the module.
pub struct InfraReader {
    pub(super) repository: Repository,
    pub(super) places: BTreeMap<EnvironmentName, Place>,
    /// Boxed: about half of a table's places are empty.
    pub(super) cache: Mutex<HashMap<(EnvironmentName, ApplicationName), Box<Cached>>>,
    /// By what the configuration adds to the known ones.
    pub(super) fields: Mutex<BTreeMap<Vec<ImageField>, Arc<ImageFields>>>,
    pub(super) sealed: Sealed,
    /// Per environment a records head that everything later must descend from.
    trusted: Mutex<BTreeMap<EnvironmentName, Anchor>>,
    /// A commit that somebody says is new.
    told: Mutex<Option<CommitId>>,
}

/// A records head that was seen, or that a deployment tag names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Anchor {
    pub(super) records: CommitId,
    pub(super) named_by: String,
}

impl InfraReader {
    /// Reads these environments of a repository.
    pub fn new(repository: Repository, places: BTreeMap<EnvironmentName, Place>) -> Self {
        Self {
            repository,
            places,
            cache: Mutex::default(),
            fields: Mutex::default(),
            sealed: Sealed::default(),
            trusted: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// The mirror.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Lets go of what the mirror's disk can give again. For a repository in which nothing happens.
    pub async fn rest(&self) {
        self.rest_units();
        self.repository.rest().await;
    }

    /// Returns once an encrypted file is asked for that is not open.
    pub async fn asked_to_open(&self) {
        self.sealed.asked().await;
    }

    /// Opens the encrypted files that were asked for. Says whether there were any: then what was made
    /// without them is made again.
    pub async fn open_asked(&self, now: Timestamp) -> bool {
        self.sealed.work(|id| self.repository.blob(id), now).await
    }

    /// Whether no encrypted file is asked for, or being opened.
    pub fn is_open(&self) -> bool {
        self.sealed.is_idle()
    }

    /// Asks the server where everything stands, and brings what is new.
    ///
    /// # Errors
    /// Says what the server, or the mirror, answered.
    pub async fn look(
        &self,
        before: Option<&Snapshot>,
        now: Timestamp,
    ) -> Result<Snapshot, Failed> {
        let mut prefixes = vec![RECORDS.to_owned()];
        for (environment, place) in &self.places {
            prefixes.push(format!("refs/heads/{}", place.branch));
            prefixes.push(format!("refs/heads/towpath/{environment}/"));
            if place.queued {
                prefixes.push(queue_of(&place.branch));
            }
            // What the tags name must still be there: looked at once, on an empty disk too.
            if self.anchor(environment).is_none() {
                prefixes.push(format!("refs/tags/{}", place.tags.prefix));
            }
        }
        // What a commit left that was to be made elsewhere is taken away some time.
        if self.repository.commits_elsewhere() {
            prefixes.push(format!("refs/heads/{SCRATCH}"));
        }
        let (refs, ()) = tokio::join!(self.repository.look(&prefixes), self.bring_told());
        let refs = refs.map_err(failed)?;
        self.drop_anchors(&refs).await.map_err(failed)?;
        self.read(refs, before, now).await
    }

    /// Takes note that a ref is said to hold this commit now.
    pub fn tell(&self, commit: CommitId) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(commit);
    }

    /// Brings what was told of while the server is asked where everything stands. Whether it stands anywhere
    /// is told by that alone.
    async fn bring_told(&self) {
        let told = self
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(told) = told else { return };
        if let Err(error) = self.repository.fetch(&[told.0], Reach::Tip).await {
            tracing::debug!(%error, commit = %told, "what was told of cannot be had");
        }
    }

    /// What our own pushes made of what was seen, without asking.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn after_push(
        &self,
        before: Option<&Snapshot>,
        now: Timestamp,
    ) -> Result<Snapshot, Failed> {
        self.read(self.repository.seen(), before, now).await
    }

    /// Whether the snapshot shows the refs as they were last seen, our own pushes included.
    pub fn is_caught_up(&self, snapshot: &Snapshot) -> bool {
        snapshot.refs == self.own(self.repository.seen())
    }

    /// The refs that are read here: the mirror may have seen others.
    fn own(&self, mut refs: Refs) -> Refs {
        refs.retain(|name, _| self.reads(name));
        refs
    }

    /// Environments that have records here, and are not read.
    fn others(&self, refs: &Refs) -> BTreeSet<EnvironmentName> {
        let records = refs.range(RECORDS.to_owned()..);
        let names = records.map_while(|(name, _)| name.strip_prefix(RECORDS));
        let names = names.filter_map(|name| name.parse().ok());
        names
            .filter(|name| !self.places.contains_key(name))
            .collect()
    }

    /// What the records of an environment say that is not read here: each application, and what it ran.
    ///
    /// # Errors
    /// [`GitError`] where they are not to be had.
    pub async fn told_of(
        &self,
        environment: &EnvironmentName,
    ) -> Result<Vec<(ApplicationName, Option<Release>)>, GitError> {
        let seen = self.repository.seen();
        let Some(records) = seen.get(&records_ref(environment)) else {
            return Ok(Vec::new());
        };
        self.repository.fetch(&[records.id], Reach::Tip).await?;
        let tree = self.repository.commit(CommitId(records.id))?.tree;
        let mut told = Vec::new();
        for application in notes::recorded(&self.repository, tree, None)?.iter() {
            // Those of a newer version cannot be read, and tell of it all the same.
            let unit = notes::read_unit(&self.repository, tree, application).ok();
            let release = unit.and_then(|unit| unit.running().cloned());
            told.push((application.clone(), release));
        }
        Ok(told)
    }

    /// Whether this ref is read here.
    pub fn reads(&self, name: &str) -> bool {
        self.places.iter().any(|(environment, place)| {
            name.strip_prefix("refs/heads/") == Some(&place.branch)
                || name == records_ref(environment)
                || name.starts_with(&format!("refs/heads/towpath/{environment}/"))
                || place.queued && name.starts_with(&queue_of(&place.branch))
        })
    }

    async fn read(
        &self,
        refs: Refs,
        before: Option<&Snapshot>,
        now: Timestamp,
    ) -> Result<Snapshot, Failed> {
        let others = self.others(&refs);
        let refs = self.own(refs);
        if let Some(before) = before.filter(|it| it.refs == refs && it.others == others) {
            return Ok(before.clone());
        }
        self.bring(&refs).await.map_err(failed)?;
        let mut environments = BTreeMap::new();
        for (environment, place) in &self.places {
            let seen_before = before.and_then(|before| before.environments.get(environment));
            let Some(head) = refs.get(&format!("refs/heads/{}", place.branch)) else {
                continue;
            };
            let records = refs
                .get(&records_ref(environment))
                .map(|shown| CommitId(shown.id));
            let seen = self
                .environment(
                    environment,
                    place,
                    CommitId(head.id),
                    records,
                    seen_before,
                    now,
                )
                .await
                .map_err(failed)?;
            let proposals = below(&refs, environment)
                .filter(|(name, shown)| before.and_then(|it| it.refs.get(*name)) != Some(shown));
            self.bring_bases(&seen, proposals).await.map_err(failed)?;
            environments.insert(environment.clone(), seen);
        }
        Ok(Snapshot {
            refs,
            environments,
            others,
        })
    }

    /// Brings the commits that decisions are made from.
    async fn bring(&self, refs: &Refs) -> Result<(), GitError> {
        let (mut tips, mut proposals) = (Vec::new(), Vec::new());
        for (environment, place) in &self.places {
            let head = refs.get(&format!("refs/heads/{}", place.branch));
            tips.extend(head.map(|shown| shown.id));
            tips.extend(refs.get(&records_ref(environment)).map(|shown| shown.id));
            proposals.extend(below(refs, environment).map(|(_, shown)| shown.id));
        }
        self.repository.fetch(&tips, Reach::Tip).await?;
        self.repository
            .fetch(&proposals, Reach::Depth(PROPOSAL_DEPTH))
            .await
    }

    /// Brings what proposals were made on, also where people put commits on top of them.
    async fn bring_bases(
        &self,
        seen: &EnvironmentSeen,
        proposals: impl Iterator<Item = (&String, &Ref)>,
    ) -> Result<(), GitError> {
        let Some(tree) = seen.records_tree else {
            return Ok(());
        };
        for (name, shown) in proposals {
            let application = name.rsplit('/').next().and_then(|name| name.parse().ok());
            let Some(application) = application else {
                continue;
            };
            let records = notes::read_unit(&self.repository, tree, &application);
            let Some(proposed) = records.ok().and_then(|records| records.proposal) else {
                continue;
            };
            let stop = move |commit: &crate::git::Commit| commit.id == proposed.base;
            self.repository
                .first_parents(CommitId(shown.id), &stop, PROPOSAL_MAX)
                .await?;
        }
        Ok(())
    }

    /// What everything later must descend from, if anything is known.
    pub(super) fn anchor(&self, environment: &EnvironmentName) -> Option<Anchor> {
        let trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        trusted.get(environment).cloned()
    }

    pub(super) fn trust(&self, environment: &EnvironmentName, anchor: Anchor) {
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        trusted.insert(environment.clone(), anchor);
    }

    /// Each environment's newest deployment tag names the records that it was made from.
    async fn drop_anchors(&self, refs: &Refs) -> Result<(), GitError> {
        for (environment, place) in &self.places {
            if self.anchor(environment).is_some() {
                continue;
            }
            let numbered = refs
                .iter()
                .filter_map(|(name, shown)| Some((place.tags.number(name)?, name, shown)));
            let Some((_, name, shown)) = numbered.max_by_key(|(number, ..)| *number) else {
                continue;
            };
            if shown.peeled.is_none() {
                continue;
            }
            self.repository.fetch(&[shown.id], Reach::Tip).await?;
            let message = self.repository.tag(shown.id)?.message;
            let named = message.lines().find_map(|line| {
                line.strip_prefix(DeploymentTags::RECORDS)?
                    .trim()
                    .parse()
                    .ok()
            });
            if let Some(records) = named {
                let named_by = format!("the tag {}", name.trim_start_matches("refs/tags/"));
                self.trust(environment, Anchor { records, named_by });
            }
        }
        Ok(())
    }
}

/// An environment's proposal branches.
fn below<'a>(
    refs: &'a Refs,
    environment: &EnvironmentName,
) -> impl Iterator<Item = (&'a String, &'a Ref)> {
    let prefix = format!("refs/heads/towpath/{environment}/");
    refs.range(prefix.clone()..)
        .take_while(move |(name, _)| name.starts_with(&prefix))
}

fn failed(error: GitError) -> Failed {
    Failed {
        why: error.to_string(),
        retry_after: error.retry_after(),
    }
}

impl InfraSource {
    /// Looks at the repository; says whether there is news.
    pub async fn read(&self, now: Timestamp) -> bool {
        let before = self.source.observed();
        let before = before.read().ok().map(Arc::as_ref);
        // What was sought by a look that was given up is sought by this one.
        self.looking().get_or_insert_default();
        let mut read = self.reader.look(before, now).await;
        // A push of ours that ended meanwhile is not forgotten.
        if let Ok(looked) = &read
            && !self.reader.is_caught_up(looked)
        {
            read = self.reader.after_push(Some(looked), now).await;
        }
        let news = self.source.keep(read.map(Arc::new), now);
        let sought = self.looking().take().unwrap_or_default();
        if sought.iter().any(|commit| !self.knows(*commit)) {
            self.source.mark_stale();
        }
        // Of a repository in which something goes on there is often a look too many.
        if !news && !self.source.stale().was_heard() {
            self.reader.rest().await;
        }
        news
    }

    /// Takes in what a push of ours that landed changed. No request.
    pub async fn take_own(&self, now: Timestamp) {
        let before = self.source.observed();
        let Ok(before) = before.read() else { return };
        let read = self.reader.after_push(Some(before), now).await;
        self.source.keep(read.map(Arc::new), now);
    }

    /// Takes in what a push found changed; looks at the server where that explains nothing.
    pub async fn catch_up(&self, now: Timestamp) {
        let before = self.source.observed();
        let Ok(before) = before.read() else { return };
        let read = match self.reader.is_caught_up(before) {
            true => self.reader.look(Some(before), now).await,
            false => self.reader.after_push(Some(before), now).await,
        };
        self.source.keep(read.map(Arc::new), now);
    }
}
