//! Pushing: every update from what was expected to what is wanted, or nothing.
//!
//! Owns what counts as landed, lost and refused. That is told from the refs themselves, read again
//! after anything but a clean report; a server's words are only passed on. Never forces a ref.

use std::collections::BTreeMap;
use std::sync::Arc;

use gix::ObjectId;
use tokio::time::Instant;

use super::remote::{NewObject, PushReport, PushRequest, RefUpdate, Refs};
use super::repository::Repository;
use super::{Draft, GitError, locked};

/// Refs to move together with the objects they need.
#[derive(Default)]
pub struct Push {
    updates: Vec<RefUpdate>,
    objects: Vec<NewObject>,
    parsed: Vec<Arc<super::Tree>>,
    in_order: bool,
}

/// What came of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// Every ref holds what was wanted.
    Landed,
    /// Someone else was faster: some ref no longer holds what was expected.
    Lost {
        /// The refs of the push as they are now.
        refs: Refs,
        /// Names that did move to what was wanted (a server without atomic push, or one that broke it).
        landed: Vec<String>,
    },
    /// All refs that did not move still hold what was expected: the server did not want the change.
    Refused {
        /// Per ref the reason; a ref that was not at fault may stand here too.
        reasons: BTreeMap<String, String>,
        /// What hooks and the server wrote, cut and escaped.
        messages: String,
        /// Names that did move (only on a server without atomic push).
        landed: Vec<String>,
    },
}

impl Push {
    /// Nothing to move yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves a ref from `old` (`None`: it must not exist) to `new`.
    #[must_use]
    pub fn update(mut self, name: impl Into<String>, old: Option<ObjectId>, new: ObjectId) -> Self {
        let (name, new) = (name.into(), Some(new));
        self.updates.push(RefUpdate { name, old, new });
        self
    }

    /// Deletes a ref that holds `old`.
    #[must_use]
    pub fn delete(mut self, name: impl Into<String>, old: ObjectId) -> Self {
        self.updates.push(RefUpdate {
            name: name.into(),
            old: Some(old),
            new: None,
        });
        self
    }

    /// Moves nothing, but lets the push land only if the ref still holds `id`.
    #[must_use]
    pub fn verify(self, name: impl Into<String>, id: ObjectId) -> Self {
        self.update(name, Some(id), id)
    }

    /// Adds the draft's objects that the updates so far lead to.
    ///
    /// # Errors
    /// [`GitError::Object`] where an object that was added ready-made is malformed.
    pub fn with(mut self, draft: &Draft) -> Result<Self, GitError> {
        let tips: Vec<ObjectId> = self
            .updates
            .iter()
            .filter_map(|update| update.new)
            .collect();
        self.objects.extend(draft.reachable(tips)?);
        self.parsed.extend(draft.parsed().cloned());
        Ok(self)
    }

    /// On a server without atomic push, takes the updates in the order in which they were added,
    /// instead of records first, then branches, then tags.
    #[must_use]
    pub fn in_order(mut self) -> Self {
        self.in_order = true;
        self
    }

    /// The updates as they were added.
    pub fn updates(&self) -> &[RefUpdate] {
        &self.updates
    }

    fn check(&self) -> Result<(), GitError> {
        let malformed = |detail: String| Err(GitError::Malformed(detail));
        let mut names = std::collections::BTreeSet::new();
        for RefUpdate { name, old, new } in &self.updates {
            if gix::validate::reference::name(name.as_str().into()).is_err()
                || !name.starts_with("refs/")
            {
                return malformed(format!("`{name}` is not a full ref name"));
            }
            if old.is_none() && new.is_none() {
                return malformed(format!("`{name}` has neither an old nor a new value"));
            }
            if !names.insert(name) {
                return malformed(format!("`{name}` stands in it twice"));
            }
        }
        match self.updates.is_empty() {
            true => malformed("it has no update".to_owned()),
            false => Ok(()),
        }
    }
}

/// Why a server refused a push, on one line: what it said of the refs, and beside them.
pub fn refusal(reasons: &BTreeMap<String, String>, messages: &str) -> String {
    // A hook that refuses says the same of every ref.
    let mut why: Vec<String> = Vec::new();
    let messages = messages.trim().replace('\n', " ");
    let told = reasons.values().cloned().chain([messages]);
    for text in told.filter(|text| !text.is_empty()) {
        if !why.contains(&text) {
            why.push(text);
        }
    }
    why.join("; ")
}

/// Records before branches before tags: what was interrupted is then finished from the records.
fn rank(update: &RefUpdate) -> u8 {
    match update.name.as_str() {
        name if name.starts_with("refs/notes/") => 0,
        name if name.starts_with("refs/tags/") => 2,
        _ => 1,
    }
}

impl Repository {
    /// Pushes. With a server that has atomic push this is one request; without, one per ref that
    /// moves, ending at the first that does not.
    ///
    /// # Errors
    /// A [`GitError`] means that nothing moved as far as can be told: the refs were read again where
    /// the way there failed in between. When that reading fails too, the outcome is unknown and the
    /// error is the first one, which is then transient: look, and plan again.
    pub async fn push(&self, push: Push) -> Result<Pushed, GitError> {
        push.check()?;
        let stepwise = *locked(&self.inner.atomic) == Some(false);
        let pushed = if stepwise && push.updates.len() > 1 {
            self.push_stepwise(&push).await?
        } else {
            match self
                .push_once(&push.updates, &push.objects, push.updates.len() > 1)
                .await
            {
                Err(GitError::NotAtomic { .. }) => {
                    *locked(&self.inner.atomic) = Some(false);
                    self.push_stepwise(&push).await?
                }
                pushed => pushed?,
            }
        };
        self.remember(push, &pushed);
        Ok(pushed)
    }

    /// One request for all these updates, and what came of it.
    async fn push_once(
        &self,
        updates: &[RefUpdate],
        objects: &[NewObject],
        atomic: bool,
    ) -> Result<Pushed, GitError> {
        let mut request = PushRequest {
            updates: updates.to_vec(),
            objects: objects.to_vec(),
            atomic,
            ends: self.ends.clone(),
        };
        let began = Instant::now();
        let mut outcome = self.inner.remote.push(&request).await;
        tracing::trace!(repository = self.address(), updates = updates.len(), took = ?began.elapsed(), "was pushed");
        let has_deltas = objects.iter().any(|object| object.delta.is_some());
        if matches!(&outcome, Ok(report) if report.unpack.is_some()) && has_deltas {
            // A server that has lost a base of ours can still take the objects whole.
            request
                .objects
                .iter_mut()
                .for_each(|object| object.delta = None);
            outcome = self.inner.remote.push(&request).await;
        }
        match &outcome {
            Ok(report) if report.is_ok(updates) => return Ok(Pushed::Landed),
            Err(error) if !error.may_have_landed() => return outcome.map(|_| Pushed::Landed),
            _ => {}
        }
        let names: Vec<String> = updates.iter().map(|update| update.name.clone()).collect();
        let refs = match self.look_exactly(&names).await {
            Ok(refs) => refs,
            Err(error) => return outcome.and(Err(error)),
        };
        settle(updates, refs, outcome)
    }

    /// For servers without atomic push. What is only verified can only be read before the first step;
    /// what moves is expected by its own step.
    async fn push_stepwise(&self, push: &Push) -> Result<Pushed, GitError> {
        let names: Vec<String> = push
            .updates
            .iter()
            .map(|update| update.name.clone())
            .collect();
        let refs = self.look_exactly(&names).await?;
        let holds = |update: &RefUpdate| refs.get(&update.name).map(|shown| shown.id) == update.old;
        if !push.updates.iter().all(holds) {
            let landed = Vec::new();
            return Ok(Pushed::Lost { refs, landed });
        }
        let mut steps: Vec<&RefUpdate> = push
            .updates
            .iter()
            .filter(|update| !update.is_verification())
            .collect();
        if !push.in_order {
            steps.sort_by_key(|update| rank(update));
        }
        let mut landed: Vec<String> = Vec::new();
        for step in steps {
            let step = std::slice::from_ref(step);
            match self.push_once(step, &push.objects, false).await {
                Ok(Pushed::Landed) => landed.push(step[0].name.clone()),
                Ok(Pushed::Refused {
                    reasons, messages, ..
                }) => {
                    return Ok(Pushed::Refused {
                        reasons,
                        messages,
                        landed,
                    });
                }
                Ok(Pushed::Lost { .. }) => {
                    let refs = self.look_exactly(&names).await?;
                    return Ok(Pushed::Lost { refs, landed });
                }
                Err(error) if landed.is_empty() => return Err(error),
                // Something moved, so this is not "nothing happened": tell it with the error's text.
                Err(error) => {
                    return Ok(Pushed::Refused {
                        reasons: BTreeMap::from([(step[0].name.clone(), error.to_string())]),
                        messages: String::new(),
                        landed,
                    });
                }
            }
        }
        Ok(Pushed::Landed)
    }

    /// These refs as they are now, and no others.
    async fn look_exactly(&self, names: &[String]) -> Result<Refs, GitError> {
        let mut refs = self.look(names).await?;
        refs.retain(|name, _| names.contains(name));
        Ok(refs)
    }

    /// Puts what landed where the next edit finds it without asking.
    fn remember(&self, push: Push, pushed: &Pushed) {
        let landed = |name: &String| match pushed {
            Pushed::Landed => true,
            Pushed::Lost { landed, .. } | Pushed::Refused { landed, .. } => landed.contains(name),
        };
        let moved: Vec<&RefUpdate> = push
            .updates
            .iter()
            .filter(|update| landed(&update.name))
            .collect();
        if moved.is_empty() {
            return;
        }
        self.inner
            .objects
            .keep(push.objects.into_iter().map(|new| new.object));
        push.parsed
            .iter()
            .for_each(|tree| self.inner.objects.remember(tree));
        for update in moved {
            self.moved(update);
        }
        self.settle_soon();
    }

    /// Puts own objects to disk where they are many, and packs together, without holding up anybody.
    pub(super) fn settle_soon(&self) {
        if !self.inner.objects.is_untidy() {
            return;
        }
        let inner = Arc::clone(&self.inner);
        let Ok(alone) = Arc::clone(&inner.settling).try_lock_owned() else {
            return;
        };
        tokio::task::spawn_blocking(move || {
            let _alone = alone;
            let began = Instant::now();
            let done = inner.objects.put_in_order();
            tracing::trace!(repository = inner.remote.address(), took = ?began.elapsed(), "own objects went to disk");
            if let Err(error) = done {
                // What could not be kept is fetched when it is needed.
                tracing::warn!(repository = inner.remote.address(), %error, "own objects stay in memory");
            }
        });
    }
}

/// Tells from the refs what came of a push whose report was not clean.
fn settle(
    updates: &[RefUpdate],
    refs: Refs,
    outcome: Result<PushReport, GitError>,
) -> Result<Pushed, GitError> {
    let now = |update: &RefUpdate| refs.get(&update.name).map(|shown| shown.id);
    if updates.iter().all(|update| now(update) == update.new) {
        // Also after a refusal: an equal push of someone else did the same work. A push that only
        // verifies is told by its report.
        let moves = updates.iter().any(|update| !update.is_verification());
        if moves || outcome.as_ref().is_ok_and(|report| report.is_ok(updates)) {
            return Ok(Pushed::Landed);
        }
    }
    if updates.iter().all(|update| now(update) == update.old) {
        let report = outcome?;
        let reasons = reasons(updates, &report);
        let messages = report.messages;
        let landed = Vec::new();
        return Ok(Pushed::Refused {
            reasons,
            messages,
            landed,
        });
    }
    let landed = updates
        .iter()
        .filter(|update| !update.is_verification() && now(update) == update.new)
        .map(|update| update.name.clone())
        .collect();
    Ok(Pushed::Lost { refs, landed })
}

fn reasons(updates: &[RefUpdate], report: &PushReport) -> BTreeMap<String, String> {
    updates
        .iter()
        .filter_map(|update| {
            let reason = match (report.refs.get(&update.name), &report.unpack) {
                (Some(Some(reason)), _) => reason.clone(),
                (_, Some(unpack)) => format!("the server could not take the objects: {unpack}"),
                (Some(None), None) => return None,
                (None, None) => "the server did not report on it".to_owned(),
            };
            Some((update.name.clone(), reason))
        })
        .collect()
}
