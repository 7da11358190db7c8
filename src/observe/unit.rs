//! One unit of an infra repository: its desired state, records and proposal, made from the mirror.
//!
//! Costs nothing where the directories, records and branches it was made from did not change.

use std::sync::{Arc, PoisonError};

use gix::ObjectId;
use jiff::Timestamp;

use super::branch::EnvironmentSeen;
use super::desired::{Inputs, Unknown};
use super::infra::{InfraReader, PROPOSAL_MAX, Snapshot};
use crate::git::notes;
use crate::git::{Commit, GitError};
use crate::manifest::Rendered;
use crate::model::record::{Proposed, Standing, UnitRecords};
use crate::model::{ApplicationName, CommitId, Environment, Pipeline, proposal_branch};
use crate::plan::{ChangedBy, Desired, Infra, Observed, Proposal, Unreadable};

/// What is asked for where the configuration no longer takes the application.
const REMOVED: &str = "the configuration no longer takes it there";

/// What was made of a unit, and from what.
#[derive(Default)]
pub(super) struct Cached {
    pub(super) inputs: Inputs,
    pub(super) desired: Option<Result<Desired, String>>,
    /// What it was rendered to, while its files are not kept.
    pub(super) rested: Option<Arc<Rendered>>,
    /// Whether somebody asked for it since it was last let rest.
    used: bool,
    records_blob: Option<ObjectId>,
    records: Option<Result<Arc<UnitRecords>, String>>,
    /// The directories of the branch and of the records that all this was read from.
    trees: Option<(ObjectId, Option<ObjectId>)>,
    proposal: Option<Box<ProposalCached>>,
}

impl Cached {
    fn rest(&mut self) {
        let Some(Ok(desired)) = &self.desired else {
            return;
        };
        // To open an encrypted file again takes a program of its own.
        let sealed = desired.rendered.objects.iter().any(|it| it.is_encrypted());
        if sealed || !desired.layers.are_quickly_read() {
            return;
        }
        self.rested = Some(desired.rendered.clone());
        self.desired = None;
        // So that the next one who asks has them read.
        self.trees = None;
    }
}

/// What was made of a proposal branch: for this head of it, on that head of the base.
pub(super) struct ProposalCached {
    head: CommitId,
    base: CommitId,
    made_on: Option<CommitId>,
    proposal: Proposal,
}

impl InfraReader {
    /// The unit as the snapshot tells it.
    pub fn unit(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        snapshot: &Observed<Arc<Snapshot>>,
        now: Timestamp,
    ) -> Observed<Arc<Infra>> {
        let (snapshot, at) = match snapshot {
            Observed::Seen { value, at } => (value, *at),
            Observed::Unreadable(unreadable) => return Observed::Unreadable(unreadable.clone()),
        };
        let unreadable = |why: String| {
            let source = environment.repository.to_string();
            Observed::Unreadable(Unreadable {
                source,
                why,
                since: at,
                retry: None,
            })
        };
        let Some(seen) = snapshot.environments.get(&environment.name) else {
            return unreadable(format!(
                "it has no branch `{}`: push one, or name another",
                environment.branch
            ));
        };
        let standing = match &seen.standing {
            Ok(standing) => standing.clone(),
            Err(_) => Arc::default(),
        };
        match self.infra(pipeline, environment, snapshot, seen, standing, now) {
            Ok(infra) => Observed::Seen {
                value: Arc::new(infra),
                at,
            },
            Err(Unknown::Git(error)) => unreadable(error.to_string()),
            Err(Unknown::Broken(why)) => unreadable(why),
            Err(Unknown::Sealed(sealed)) => Observed::Unreadable(sealed),
        }
    }

    fn infra(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        snapshot: &Snapshot,
        seen: &EnvironmentSeen,
        standing: Arc<Standing>,
        now: Timestamp,
    ) -> Result<Infra, Unknown> {
        let application = &pipeline.application.name;
        let key = (environment.name.clone(), application.clone());
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let cached = cache.entry(key).or_default();
        cached.used = true;
        let trees = Some((seen.tree, seen.records_tree));
        if cached.trees != trees {
            cached.trees = None;
            match pipeline.removed {
                // Its directory may be there still, and nobody asks for it any more.
                true => cached.desired = Some(Err(REMOVED.to_owned())),
                false => self.desire(environment, seen.tree, cached, now)?,
            }
            self.recall(application, seen, cached)?;
            cached.trees = trees;
        }
        let desired = cached
            .desired
            .clone()
            .unwrap_or_else(|| Err("not read".to_owned()));
        let records = match &seen.standing {
            Ok(_) => cached.records.clone().unwrap_or_else(|| Ok(Arc::default())),
            Err(why) => Err(why.clone()),
        };
        let unlanded = records.as_ref().ok().and_then(|records| {
            let newest = records.deployment.as_ref()?;
            let never = newest.verdict.is_none() && seen.unlanded.contains(&newest.commit);
            never.then(|| Arc::new(records.without_newest()))
        });
        let changed = match (&desired, &records) {
            (Ok(desired), Ok(records)) => {
                let recorded = records
                    .deployment
                    .as_ref()
                    .map(|deployment| deployment.state);
                match recorded == Some(desired.rendered.state) {
                    true => None,
                    false => self.changed_by(environment, seen)?,
                }
            }
            _ => None,
        };
        let proposed = records
            .as_ref()
            .ok()
            .and_then(|records| records.proposal.as_ref());
        let name = format!(
            "refs/heads/{}",
            proposal_branch(&environment.name, application)
        );
        let proposal = match snapshot.refs.get(&name) {
            Some(shown) => {
                let head = CommitId(shown.id);
                Some(self.proposal(environment, head, proposed, seen, cached, now)?)
            }
            None => None,
        };
        Ok(Infra {
            head: seen.head,
            head_since: seen.head_since,
            went_back: seen.went_back,
            records_head: seen.records_head,
            standing,
            records,
            unlanded,
            desired,
            changed,
            proposal,
            behind: seen.behind.clone(),
        })
    }

    /// Lets go of the files of units that nobody asked for since this was last called. What they are
    /// rendered to stays; where they are needed again, they are read from the mirror.
    pub(super) fn rest_units(&self) {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        for cached in cache.values_mut() {
            if !std::mem::take(&mut cached.used) {
                cached.rest();
            }
        }
    }

    /// Reads the unit's records, unless they are the ones it was read from.
    fn recall(
        &self,
        application: &ApplicationName,
        seen: &EnvironmentSeen,
        cached: &mut Cached,
    ) -> Result<(), GitError> {
        let blob = match seen.records_tree {
            Some(tree) => notes::unit_blob(&self.repository, tree, application)?,
            None => None,
        };
        if cached.records.is_some() && cached.records_blob == blob {
            return Ok(());
        }
        cached.records = Some(match (blob, seen.records_tree) {
            (Some(_), Some(tree)) => notes::read_unit(&self.repository, tree, application)
                .map(Arc::new)
                .map_err(|error| error.to_string()),
            _ => Ok(Arc::default()),
        });
        cached.records_blob = blob;
        Ok(())
    }

    /// The newest first-parent commit that touched what the unit is rendered from.
    fn changed_by(
        &self,
        environment: &Environment,
        seen: &EnvironmentSeen,
    ) -> Result<Option<ChangedBy>, GitError> {
        for pair in seen.history.windows(2) {
            let [newer, older] = pair else { continue };
            if self.inputs(environment, newer.tree)? != self.inputs(environment, older.tree)? {
                let by = newer.committer.email.clone();
                return Ok(Some(ChangedBy {
                    commit: newer.id,
                    by,
                }));
            }
        }
        Ok(None)
    }

    fn proposal(
        &self,
        environment: &Environment,
        head: CommitId,
        proposed: Option<&Proposed>,
        seen: &EnvironmentSeen,
        cached: &mut Cached,
        now: Timestamp,
    ) -> Result<Proposal, GitError> {
        let made_on = proposed.map(|it| it.base);
        if let Some(cached) = &cached.proposal
            && (cached.head, cached.base, cached.made_on) == (head, seen.head, made_on)
        {
            return Ok(cached.proposal.clone());
        }
        let base = cached.desired.as_ref().and_then(|it| it.as_ref().ok());
        let commit = self.repository.commit(head)?;
        let inputs = self.inputs(environment, commit.tree)?;
        let made = self.make(environment, commit.tree, &inputs, &cached.inputs, base, now);
        let (desired, unopened) = match made {
            Ok(desired) => (Ok(desired), None),
            Err(Unknown::Broken(why)) => (Err(why), None),
            // What only a proposal holds does not keep the environment itself waiting.
            Err(Unknown::Sealed(sealed)) => (Err(sealed.why.clone()), Some(sealed)),
            Err(Unknown::Git(error)) => return Err(error),
        };
        let proposal = Proposal {
            head,
            desired,
            unopened,
            conflicts: self.conflicts(&commit, made_on, seen)?,
            by_people: made_on.is_some_and(|base| commit.parents != [base]),
            beside: self.beside(environment, &commit, proposed, seen)?,
        };
        if proposal.unopened.is_some() {
            return Ok(proposal);
        }
        cached.proposal = Some(Box::new(ProposalCached {
            head,
            base: seen.head,
            made_on,
            proposal: proposal.clone(),
        }));
        Ok(proposal)
    }

    /// Whether this commit is a parent of the proposal's commits, as far as those are here.
    fn stands_on(&self, proposal: &Commit, base: CommitId, head: CommitId) -> bool {
        let mut commit = proposal.clone();
        for _ in 0..PROPOSAL_MAX {
            if commit.parents.contains(&head) {
                return true;
            }
            let parent = commit.parents.first().copied();
            match parent.and_then(|parent| self.repository.commit(parent).ok()) {
                Some(parent) if parent.id != base => commit = parent,
                _ => return false,
            }
        }
        false
    }

    /// Whether the base changed a file that the proposal changes.
    fn conflicts(
        &self,
        proposal: &Commit,
        made_on: Option<CommitId>,
        seen: &EnvironmentSeen,
    ) -> Result<bool, GitError> {
        // What is not recorded is not ours: it says itself what it stands on.
        let Some(base) = made_on.or(proposal.parents.first().copied()) else {
            return Ok(true);
        };
        if base == seen.head {
            return Ok(false);
        }
        // Whoever put their commits on the base, or merged it, has seen to that.
        if self.stands_on(proposal, base, seen.head) {
            return Ok(false);
        }
        // Where the history is not here (a person rewrote the branch), the merge itself will tell.
        let Ok(base) = self.repository.commit(base) else {
            return Ok(false);
        };
        let edited = self
            .repository
            .changed(Some(base.tree), Some(proposal.tree))?;
        for change in edited {
            let on_base = self
                .repository
                .lookup(seen.tree, &change.path)?
                .map(|found| found.id);
            let as_planned = change.old.map(|(_, id)| id);
            let as_proposed = change.new.map(|(_, id)| id);
            if on_base != as_planned && on_base != as_proposed {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
