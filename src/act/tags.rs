//! Deployment tags, made from the records once a deployment's last verdict is in. Nothing waits for
//! them; one that is missing is made by a later round.

use std::collections::{BTreeMap, HashSet};
use std::sync::{MutexGuard, PoisonError};

use jiff::Timestamp;

use super::writer::{Writer, outcome};
use super::{Failure, Happened, Outcome, message};
use crate::event::EventKind;
use crate::git::notes::{NotesDraft, NotesError, counted, read_note, read_standing, records_ref};
use crate::git::{Commit, End, GitError, Push, Signature, TagDraft};
use crate::model::record::{OpenDeployment, Record, Statement};
use crate::model::{CommitId, Environment, EnvironmentName, KeepTags};

/// How far back on its branch the commit of a deployment that waits for its tag is looked for.
const HISTORY_MAX: usize = 1_000;

/// Deployments and the notes of their commits.
type Ended = Vec<(OpenDeployment, Vec<Record>)>;

/// Per environment the head of its records, and whether a tag was due there.
pub(super) type TagsDue = BTreeMap<EnvironmentName, (CommitId, bool)>;

impl Writer {
    /// Makes the tags of all deployments of the environment whose verdicts are in. `None`: there are
    /// none, and nothing was asked or written.
    pub async fn tag(&self, environment: &Environment, now: Timestamp) -> Option<Outcome> {
        let failed = |why: String| {
            Outcome::Failed(Failure {
                source: self.repository.address().to_owned(),
                why,
                retry_after: None,
                prevented: false,
            })
        };
        match self.try_tag(environment, now).await {
            Ok(outcome) => outcome,
            Err(NotesError::Git(error)) => {
                Some(self::outcome(self.repository.address(), Err(error)))
            }
            Err(error) => Some(failed(error.to_string())),
        }
    }

    /// Whether any deployment of the environment waits for nothing but its tag. No request.
    ///
    /// Asked in each round, and told from notes that a thousand units may share: they are read once for
    /// each head of the records.
    pub fn has_tags_to_make(&self, environment: &Environment) -> bool {
        let shown = self.repository.seen_at(&records_ref(&environment.name));
        let shown = shown.map(|shown| CommitId(shown.id));
        let known = self.tags_due().get(&environment.name).copied();
        if let Some((_, any)) = known.filter(|(head, _)| Some(*head) == shown) {
            return any;
        }
        let Ok((Some(head), ended)) = self.ended(environment) else {
            return false;
        };
        let any = !ended.is_empty();
        self.tags_due()
            .insert(environment.name.clone(), (head, any));
        any
    }

    fn tags_due(&self) -> MutexGuard<'_, TagsDue> {
        self.tags_due.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn try_tag(
        &self,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Option<Outcome>, NotesError> {
        match self.ended(environment)? {
            (Some(head), ended) if !ended.is_empty() => self
                .push_tags(environment, head, ended, now)
                .await
                .map(Some),
            _ => Ok(None),
        }
    }

    /// The head of the records, and the deployments without a tag whose verdicts are all in.
    fn ended(&self, environment: &Environment) -> Result<(Option<CommitId>, Ended), NotesError> {
        let shown = self.repository.seen_at(&records_ref(&environment.name));
        let Some(shown) = shown else {
            return Ok((None, Vec::new()));
        };
        let head = CommitId(shown.id);
        // Somebody else's records that were seen a moment ago and are still on their way here.
        let Ok(tree) = self.counted(environment, head) else {
            return Ok((None, Vec::new()));
        };
        let mut ended = Vec::new();
        for open in read_standing(&self.repository, tree)?.open {
            let note = read_note(&self.repository, tree, open.commit)?;
            if is_ended(&note, open.number) {
                ended.push((open, note));
            }
        }
        Ok((Some(head), ended))
    }

    async fn push_tags(
        &self,
        environment: &Environment,
        head: CommitId,
        ended: Ended,
        now: Timestamp,
    ) -> Result<Outcome, NotesError> {
        let names: Vec<String> = ended
            .iter()
            .flat_map(|(open, _)| {
                let surplus = match environment.tags.keep {
                    KeepTags::Newest(keep) => open.number.checked_sub(keep as u64),
                    _ => None,
                };
                [Some(open.number), surplus].into_iter().flatten()
            })
            .map(|number| format!("refs/tags/{}", environment.tags.name(number)))
            .collect();
        let there = match environment.tags.keep {
            KeepTags::None => crate::git::Refs::new(),
            _ => self.repository.look(&names).await?,
        };
        let tree = self.counted(environment, head)?;
        let mut draft = self.repository.draft();
        let (name, authority) = (&environment.name, &environment.authority);
        let mut notes = NotesDraft::accepted(&self.repository, &draft, name, head, authority)?;
        let signature = Signature::of(&self.author, now);
        let mut push = Push::new();
        let mut happened = Vec::new();
        let newest = ended.iter().map(|(open, _)| open.number).max();
        for (open, note) in &ended {
            notes.close(open.number);
            let name = environment.tags.name(open.number);
            let reference = format!("refs/tags/{name}");
            let kept = match environment.tags.keep {
                KeepTags::All => true,
                KeepTags::Newest(keep) => newest < Some(open.number + keep as u64),
                KeepTags::None => false,
            };
            if !kept || there.contains_key(&reference) {
                continue;
            }
            // A deployment that never reached the branch has no commit to mark.
            if !self.has_landed(environment, open.commit).await? {
                continue;
            }
            let verdicts: Vec<_> = note
                .iter()
                .filter(|record| is_verdict(record, open.number))
                .collect();
            let id = draft.tag(&TagDraft {
                name: name.clone(),
                target: open.commit,
                tagger: signature.clone(),
                message: message::tag(&verdicts, &head.to_string()),
            })?;
            let id = self.repository.sign_tag(&mut draft, id).await?;
            push = push.update(reference, None, id);
            happened.extend(verdicts.iter().map(|record| recorded(record, open, &name)));
            if let KeepTags::Newest(keep) = environment.tags.keep
                && let Some(surplus) = open.number.checked_sub(keep as u64)
            {
                let name = format!("refs/tags/{}", environment.tags.name(surplus));
                if let Some(old) = there.get(&name)
                    && self.is_ours(tree, old.commit(), surplus)?
                {
                    push = push.delete(name, old.id);
                }
            }
        }
        let mut commit = notes.commit(&mut draft, &signature)?;
        if !environment.authority.is_open() {
            commit = self.repository.sign(&mut draft, commit).await?;
        }
        // On a server without atomic push the tags go first: a deployment that is still open is looked at again.
        let push = push
            .update(records_ref(&environment.name), Some(head.0), commit.0)
            .in_order();
        let pushed = self.repository.push(push.with(&draft)?).await;
        Ok(match outcome(self.repository.address(), pushed) {
            Outcome::Done(_) => Outcome::Done(happened),
            other => other,
        })
    }

    /// Whether a deployment's commit came to the branch. A mirror that began anew has only the newest commits, so
    /// one that is not here is looked for in the branch's history.
    async fn has_landed(
        &self,
        environment: &Environment,
        commit: CommitId,
    ) -> Result<bool, GitError> {
        if self.repository.commit(commit).is_ok() {
            return Ok(true);
        }
        let branch = format!("refs/heads/{}", environment.branch);
        let Some(head) = self.repository.seen_at(&branch) else {
            return Ok(false);
        };
        let is_it = move |it: &Commit| it.id == commit;
        let walk = self
            .repository
            .first_parents(CommitId(head.id), &is_it, HISTORY_MAX)
            .await?;
        Ok(walk.end == End::Stop)
    }

    /// The tree of the records that count.
    fn counted(
        &self,
        environment: &Environment,
        head: CommitId,
    ) -> Result<gix::ObjectId, NotesError> {
        let authority = &environment.authority;
        counted(&self.repository, &environment.name, head, authority)
    }

    /// Whether the records tell of this deployment: tags of another tool are left alone.
    fn is_ours(
        &self,
        tree: gix::ObjectId,
        commit: CommitId,
        number: u64,
    ) -> Result<bool, NotesError> {
        let note = read_note(&self.repository, tree, commit)?;
        Ok(note.iter().any(|record| is_deployment(record, number)))
    }

    /// The highest number among the environment's tags: read once, where there are no records yet.
    ///
    /// # Errors
    /// Any [`GitError`] of the way to the server.
    pub(super) async fn highest_tag(&self, environment: &Environment) -> Result<u64, GitError> {
        let prefix = format!("refs/tags/{}", environment.tags.prefix);
        let refs = self.repository.look(&[prefix]).await?;
        Ok(refs
            .keys()
            .filter_map(|name| environment.tags.number(name))
            .max()
            .unwrap_or(0))
    }
}

/// Every unit that was deployed under this number has its verdict.
fn is_ended(note: &[Record], number: u64) -> bool {
    let verdicts = note.iter().filter(|record| is_verdict(record, number));
    let judged: HashSet<_> = verdicts.map(|record| &record.application).collect();
    let deployed = note.iter().filter(|record| is_deployment(record, number));
    let mut deployed = deployed.peekable();
    deployed.peek().is_some() && deployed.all(|record| judged.contains(&record.application))
}

fn is_deployment(record: &Record, number: u64) -> bool {
    matches!(&record.statement, Statement::Deployment { number: it, .. } if *it == number)
}

fn is_verdict(record: &Record, number: u64) -> bool {
    matches!(&record.statement, Statement::Verdict { number: it, .. } if *it == number)
}

fn recorded(record: &Record, open: &OpenDeployment, name: &str) -> Happened {
    let release = match &record.statement {
        Statement::Verdict { release, .. } => release.clone(),
        _ => None,
    };
    Happened {
        kind: EventKind::Recorded,
        release,
        commit: Some(open.commit),
        number: Some(open.number),
        reason: Some(name.to_owned()),
    }
}
