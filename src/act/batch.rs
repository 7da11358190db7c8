//! One push made of several units' steps: each adds its commit, its records, its proposal. Every
//! ref that was only read travels along unchanged, so that the push lands on what was planned on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use gix::ObjectId;
use jiff::Timestamp;

use super::message;
use super::moves::Moves;
use super::told::{about, follows_environments, happened, is_true, number};
use super::writer::{Beyond, Names};
use super::{Failure, Happened, Order, Outcome, Rehearsal};
use crate::event::EventKind;
use crate::git::notes::{NotesDraft, NotesError, records_ref};
use crate::git::{CommitDraft, Draft, GitError, Merging, Push, Refs, Repository, Signature};
use crate::model::record::{BRAKE, Cause, LABEL, REOPENED, Record, Standing, Statement, TOWPATH};
use crate::model::{Author, CommitId, EnvironmentName, Right};
use crate::plan::{
    Merge, PlannedOn, Propose, Scope, Statements, Step, Withdraw, Write, full_until,
};

mod edit;
mod rehearse;

/// The refs of the repository at a moment.
pub(super) type Heads = BTreeMap<String, ObjectId>;

/// The ids of these refs.
pub(super) fn heads(refs: &Refs) -> Heads {
    refs.iter()
        .map(|(name, shown)| (name.clone(), shown.id))
        .collect()
}

/// A push in the making.
pub(super) struct Batch<'a> {
    repository: &'a Repository,
    draft: Draft,
    /// The refs that the steps were planned on, or that our own pushes brought there since.
    planned: &'a Heads,
    moves: &'a Moves,
    beyond: &'a Beyond,
    /// The refs that the push starts from.
    base: Heads,
    /// The refs as the push will leave them; `None`: deleted.
    after: BTreeMap<String, Option<ObjectId>>,
    /// Refs that were read.
    read: BTreeSet<String>,
    notes: BTreeMap<EnvironmentName, NotesDraft>,
    /// The environments whose records are signed.
    signs: BTreeSet<EnvironmentName>,
    proposal_first: bool,
    rehearses: bool,
    /// The branches on which commits came about elsewhere, and these commits.
    scratch: BTreeMap<String, ObjectId>,
    /// What is told of it, where it is only rehearsed.
    rehearsal: Rehearsal,
    author: &'a Author,
    now: Timestamp,
}

/// Why a step is not part of the push.
enum Unfit {
    Lost,
    Failed(String, Option<Duration>),
}

impl From<GitError> for Unfit {
    fn from(error: GitError) -> Self {
        Self::Failed(error.to_string(), error.retry_after())
    }
}

impl From<NotesError> for Unfit {
    fn from(error: NotesError) -> Self {
        Self::Failed(error.to_string(), None)
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        planned: &'a Heads,
        moves: &'a Moves,
        beyond: &'a Beyond,
        author: &'a Author,
        now: Timestamp,
    ) -> Self {
        Self {
            repository,
            draft: repository.draft(),
            planned,
            moves,
            beyond,
            base: heads(&repository.seen()),
            after: BTreeMap::new(),
            read: BTreeSet::new(),
            notes: BTreeMap::new(),
            signs: BTreeSet::new(),
            proposal_first: false,
            rehearses: false,
            scratch: BTreeMap::new(),
            rehearsal: Rehearsal::default(),
            author,
            now,
        }
    }

    /// Adds a step; the outcome holds if the push lands.
    pub(super) async fn add(&mut self, order: &Order) -> Outcome {
        match self.try_add(order).await {
            Ok(happened) => Outcome::Done(happened),
            Err(Unfit::Lost) => Outcome::Lost,
            Err(Unfit::Failed(why, retry_after)) => Outcome::Failed(Failure {
                source: order.environment().repository.to_string(),
                why,
                retry_after,
                prevented: false,
            }),
        }
    }

    /// Whether there is anything to push.
    pub(super) fn is_empty(&self) -> bool {
        self.after.is_empty() && self.notes.is_empty()
    }

    /// The push.
    pub(super) async fn finish(mut self) -> Result<Push, GitError> {
        let signature = Signature::of(self.author, self.now);
        for (environment, notes) in std::mem::take(&mut self.notes) {
            let mut commit = notes.commit(&mut self.draft, &signature)?;
            if self.signs.contains(&environment) {
                commit = self.repository.sign(&mut self.draft, commit).await?;
            }
            self.after.insert(records_ref(&environment), Some(commit.0));
        }
        let mut push = Push::new();
        for (name, new) in &self.after {
            let old = self.base.get(name).copied();
            push = match (old, new) {
                (_, Some(new)) => push.update(name, old, *new),
                (Some(old), None) => push.delete(name, old),
                (None, None) => push,
            };
        }
        for name in &self.read {
            if let (None, Some(id)) = (self.after.get(name), self.base.get(name)) {
                push = push.verify(name, *id);
            }
        }
        for (name, made) in &self.scratch {
            push = push.delete(name, *made);
        }
        if self.proposal_first {
            push = push.in_order();
        }
        push.with(&self.draft)
    }

    async fn try_add(&mut self, order: &Order) -> Result<Vec<Happened>, Unfit> {
        match &order.step {
            Step::Write(write) => {
                self.expect(order, &write.planned_on)?;
                self.write(order, write).await
            }
            Step::Propose(propose) => {
                self.expect(order, &propose.planned_on)?;
                self.propose(order, propose).await
            }
            Step::Withdraw(withdraw) => {
                self.expect(order, &withdraw.planned_on)?;
                self.withdraw(order, withdraw)
            }
            Step::Merge(merge) => {
                self.expect(order, &merge.planned_on)?;
                self.merge(order, merge)
            }
            Step::Record(statements) => {
                self.expect(order, &statements.planned_on)?;
                self.record(order, statements).await
            }
            Step::Open(_) | Step::Close(_) | Step::Disarm(_) | Step::Apply(_) | Step::Smoke(_) => {
                Err(Unfit::Failed(
                    "this step is not written to git".to_owned(),
                    None,
                ))
            }
        }
    }

    /// The refs must stand where the plan saw them.
    fn expect(&mut self, order: &Order, planned_on: &PlannedOn) -> Result<(), Unfit> {
        let names = Names::of(order);
        let expected = [
            (&names.branch, Some(planned_on.head)),
            (&names.records, planned_on.records),
            (&names.proposal, planned_on.proposal),
        ];
        for (name, id) in expected {
            let (from, to) = (id.map(|id| id.0), self.planned.get(name).copied());
            if from != to && !self.moves.lead(name, from, to, &order.unit()) {
                return Err(Unfit::Lost);
            }
        }
        self.read.insert(names.branch);
        Ok(())
    }

    async fn write(&mut self, order: &Order, write: &Write) -> Result<Vec<Happened>, Unfit> {
        self.is_not_full(order, write)?;
        let names = Names::of(order);
        let head = self.current(&names.branch).ok_or(Unfit::Lost)?;
        let verb = if write.cause == Cause::Rollback {
            "roll back to"
        } else {
            "deploy"
        };
        let text = message::commit(
            verb,
            order.application(),
            order.name(),
            &write.release,
            &write.from,
        );
        let files = write.files.iter().map(|file| file.path.clone()).collect();
        self.tell(&names.branch, &text, files);
        let commit = self.edit(order, CommitId(head), &write.files, text).await?;
        let mut statements = write.records.clone();
        statements.push(Statement::Deployment {
            number: 0,
            release: Some(write.release.clone()),
            state: write.state,
            cause: write.cause,
        });
        let written = self.note(order, Said::BY_US, commit, statements)?;
        self.after.insert(names.branch, Some(commit.0));
        let mut happened = vec![about(
            EventKind::Committed,
            &write.release,
            commit,
            number(&written),
        )];
        if follows_environments(order) {
            happened.push(about(
                EventKind::Promoted,
                &write.release,
                commit,
                number(&written),
            ));
        }
        Ok(happened)
    }

    /// What many units planned at once comes one after the other: no more than may is written.
    fn is_not_full(&self, order: &Order, write: &Write) -> Result<(), Unfit> {
        let rate = order.environment().rate;
        let Some(rate) = rate.filter(|_| write.cause == Cause::Automation && !write.asked) else {
            return Ok(());
        };
        let is_full = |standing: &Standing| full_until(rate, standing, self.now).is_some();
        let full = match self.notes.get(order.name()) {
            Some(notes) => is_full(notes.standing()),
            None => {
                let head = self.current(&records_ref(order.name())).map(CommitId);
                match head {
                    Some(head) => is_full(self.begin_on(order, Said::BY_US, head)?.standing()),
                    None => false,
                }
            }
        };
        (!full).then_some(()).ok_or(Unfit::Lost)
    }

    async fn propose(&mut self, order: &Order, propose: &Propose) -> Result<Vec<Happened>, Unfit> {
        let names = Names::of(order);
        let text = message::commit(
            "propose",
            order.application(),
            order.name(),
            &propose.release,
            &propose.from,
        );
        let files = propose.files.iter().map(|file| file.path.clone()).collect();
        self.tell(&names.proposal, &text, files);
        let commit = self.edit(order, propose.onto, &propose.files, text).await?;
        let statement = Statement::Proposed {
            release: propose.release.clone(),
            proposal: commit,
        };
        let head = propose.planned_on.head;
        self.note(order, Said::BY_US, head, vec![statement])?;
        self.after.insert(names.proposal, Some(commit.0));
        // A record without its branch would read as declined, so here the branch goes first.
        self.proposal_first = true;
        Ok(vec![about(
            EventKind::Proposed,
            &propose.release,
            commit,
            None,
        )])
    }

    /// A merge commit, as a person makes one. That it was merged is seen on the branch like any merge.
    fn merge(&mut self, order: &Order, merge: &Merge) -> Result<Vec<Happened>, Unfit> {
        let names = Names::of(order);
        let head = merge.planned_on.head;
        let tree = |draft: &Draft, commit| draft.read_commit(commit).map(|commit| commit.tree);
        let (from, ours, theirs) = (
            tree(&self.draft, merge.base)?,
            tree(&self.draft, head)?,
            tree(&self.draft, merge.proposal)?,
        );
        let tree = match self.repository.merging(from, ours, theirs)? {
            Merging::Tree(tree) => tree,
            Merging::Edits(edits) => self.draft.edit(Some(ours), edits)?,
            Merging::Both(path) => {
                let why =
                    format!("the branch and the proposal both changed {path}: merge it with git");
                return Err(Unfit::Failed(why, None));
            }
        };
        let by = Signature::of(&merge.by, self.now);
        let message = message::merge(order.application(), order.name(), &merge.release);
        let files = self.repository.changed(Some(ours), Some(theirs))?;
        let files = files.into_iter().map(|change| change.path).collect();
        self.tell(&names.branch, &message, files);
        let commit = self.draft.commit(&CommitDraft {
            tree,
            parents: vec![head, merge.proposal],
            author: by.clone(),
            committer: by,
            message,
        });
        self.after.insert(names.branch, Some(commit.0));
        self.read.extend([names.records, names.proposal]);
        Ok(Vec::new())
    }

    fn withdraw(&mut self, order: &Order, withdraw: &Withdraw) -> Result<Vec<Happened>, Unfit> {
        let names = Names::of(order);
        let statement = Statement::Withdrawn {
            release: withdraw.release.clone(),
            proposal: Some(withdraw.proposal),
            reason: withdraw.reason.clone(),
        };
        let head = withdraw.planned_on.head;
        self.note(order, Said::BY_US, head, vec![statement])?;
        if withdraw.planned_on.proposal.is_some() && !withdraw.keeps_branch {
            self.after.insert(names.proposal, None);
        }
        Ok(Vec::new())
    }

    async fn record(
        &mut self,
        order: &Order,
        statements: &Statements,
    ) -> Result<Vec<Happened>, Unfit> {
        let by = statements.by.as_str();
        let is_of_towpath = [TOWPATH, BRAKE, LABEL, REOPENED].contains(&by);
        let said = Said {
            by,
            scope: statements.scope,
            accepts: is_of_towpath || self.may_record(order).await?,
        };
        let written = self.note(
            order,
            said,
            statements.commit,
            statements.statements.clone(),
        )?;
        if statements.closes_proposal {
            self.after.insert(Names::of(order).proposal, None);
        }
        Ok(written
            .iter()
            .flat_map(|record| happened(order, record))
            .collect())
    }

    /// Adds the statements as records.
    fn note(
        &mut self,
        order: &Order,
        said: Said<'_>,
        commit: CommitId,
        mut statements: Vec<Statement>,
    ) -> Result<Vec<Record>, Unfit> {
        let begun = self.notes.remove(order.name());
        let is_begun = begun.is_some();
        let mut notes = match begun {
            Some(notes) => notes,
            None => {
                let head = self.current(&records_ref(order.name())).map(CommitId);
                if !order.environment().authority.is_open() {
                    self.signs.insert(order.name().clone());
                }
                match head {
                    Some(head) => self.begin_on(order, said, head)?,
                    None => NotesDraft::begin(&self.draft, None, None)?,
                }
            }
        };
        // What is true of a whole environment is seen by all its units: the first one states it.
        if said.scope == Scope::Environment && said.accepts {
            statements.retain(|it| !is_true(it, notes.standing(), said.by));
        }
        if statements.is_empty() {
            if is_begun {
                self.notes.insert(order.name().clone(), notes);
            }
            return Ok(Vec::new());
        }
        let records = statements.into_iter().map(|statement| Record {
            at: self.now,
            environment: order.name().clone(),
            application: match said.scope {
                Scope::Unit => Some(order.application().clone()),
                Scope::Environment => None,
            },
            by: said.by.to_owned(),
            // A verdict stands with its deployment, also when it is stated with the next one.
            commit: match &statement {
                Statement::Verdict { number, .. } => {
                    notes.standing().commit_of(*number).unwrap_or(commit)
                }
                _ => commit,
            },
            statement,
        });
        let records = records.collect();
        if let Some(number) = self.beyond.get(order.name()) {
            notes.continue_from(*number);
        }
        let written = notes.add(&self.draft, records);
        self.notes.insert(order.name().clone(), notes);
        let written = written?;
        self.rehearsal.records.extend(written.iter().cloned());
        Ok(written)
    }

    /// Whether what is written here is accepted as a whole, and with it whatever it was put on.
    async fn may_record(&self, order: &Order) -> Result<bool, GitError> {
        let authority = &order.environment().authority;
        if authority.is_open() {
            return Ok(true);
        }
        let key = self.repository.own_key().await?;
        let known = key.and_then(|key| authority.of(&key));
        Ok(known.is_some_and(|it| it.may(Right::Record)))
    }

    /// Towpath goes on from the records that count, and so does a person whose key may `record`. Anybody else adds
    /// a line of their own to what is there: Towpath judges it all.
    fn begin_on(
        &self,
        order: &Order,
        said: Said<'_>,
        head: CommitId,
    ) -> Result<NotesDraft, NotesError> {
        let authority = &order.environment().authority;
        match said.accepts {
            true => {
                NotesDraft::accepted(self.repository, &self.draft, order.name(), head, authority)
            }
            false => {
                let tree = self.draft.read_commit(head)?.tree;
                NotesDraft::begin(&self.draft, Some(head), Some(tree))
            }
        }
    }

    /// Where a ref stands with what was added so far.
    fn current(&self, name: &str) -> Option<ObjectId> {
        match self.after.get(name) {
            Some(after) => *after,
            None => self.base.get(name).copied(),
        }
    }
}

/// Who states something, and about what.
#[derive(Clone, Copy)]
struct Said<'a> {
    by: &'a str,
    scope: Scope,
    /// Whether it goes on from the records that count, rather than from what is there.
    accepts: bool,
}

impl Said<'_> {
    const BY_US: Said<'static> = Said {
        by: TOWPATH,
        scope: Scope::Unit,
        accepts: true,
    };
}
