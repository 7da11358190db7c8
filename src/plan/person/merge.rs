//! A person merges what is proposed with `gate: branch`, as they would with git.

use super::{Person, on_forge};
use crate::model::{Author, Gate};
use crate::plan::{Merge, Proof, Ready, Step, Walk, proof};

impl Person<'_> {
    /// The merge of what is proposed with `gate: branch`, as this person's commit.
    ///
    /// # Errors
    /// That nothing, or another release, is proposed, that it is not proven now, that its request is to be merged
    /// instead, or why it cannot be merged now.
    pub fn merge(&self, named: Option<&str>, by: &Author) -> Result<Step, String> {
        self.with(|unit| {
            let ready = unit.ready()?;
            Walk::Continue(self.merges(&ready, named, by))
        })
    }

    fn merges(&self, ready: &Ready<'_>, named: Option<&str>, by: &Author) -> Result<Step, String> {
        let (application, environment) = (&self.pipeline.application.name, self.environment);
        let recorded = ready.records.proposal.as_ref();
        let open = recorded.zip(ready.infra.proposal.as_ref());
        let Some((proposed, branch)) = open else {
            return Err(format!(
                "nothing of {application} is proposed in {environment}"
            ));
        };
        let release = &proposed.release;
        if ready.unit.environment.gate == Gate::PullRequest {
            let request = on_forge(ready.unit);
            return Err(format!("merge {request} on the forge to approve it"));
        }
        if let Some(named) = named.filter(|named| !release.is_named(named)) {
            return Err(format!(
                "{release} is proposed in {environment}, not `{named}`"
            ));
        }
        if ready
            .head
            .release()
            .is_some_and(|it| it.is(&release.digests()))
        {
            return Err(format!(
                "{release} is merged already: a Towpath that runs records that"
            ));
        }
        if branch.conflicts {
            return Err(format!(
                "the branch of {environment} changed the same files since: {release} is proposed anew in the next round"
            ));
        }
        if !branch.asks_for(release) {
            return Err(format!(
                "the proposal branch does not ask for {release} any more: look at it, and merge it with git"
            ));
        }
        match proof(self.pipeline, self.world, environment, self.now) {
            Some(Proof::Open(why) | Proof::Spoiled(why)) => {
                return Err(format!(
                    "{why}: whoever merges it nevertheless does so with git"
                ));
            }
            Some(Proof::Proven(_)) | None => {}
        }
        Ok(Step::Merge(Merge {
            release: release.clone(),
            proposal: branch.head,
            base: proposed.base,
            by: by.clone(),
            planned_on: ready.planned_on(),
        }))
    }
}
