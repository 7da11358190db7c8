//! The server's judgement of one object before anything of the apply is written: a dry run of the
//! very request that would follow.
//!
//! Owns what its answers lead to: fields of other managers, fields to be taken over first, objects
//! that can only be made anew, objects that moved since the plan. One that is new, or ours and
//! unchanged, costs one request.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::time::Instant;

use super::conflicts;
use super::item::Item;
use super::takeover;
use super::{Hand, Seen};
use crate::cluster::Taken;
use crate::cluster::kubernetes::marks::{self, MANAGER};
use crate::cluster::kubernetes::refusal::{Held, Refusal};
use crate::cluster::kubernetes::request::{Patch, Reply, View};
use crate::model::Conflicts;

/// How often an object is followed whose status moves faster than it is looked at.
pub(super) const TRIES: usize = 4;

/// How long the server may take until it judges by what was just applied.
const PATIENCE: Duration = Duration::from_secs(3);

/// How soon it is asked again; each time twice as late.
const PAUSE: Duration = Duration::from_millis(25);

/// What came of looking.
pub(super) enum Looked {
    /// The server will take it.
    Ready(Ready),
    /// Fields must be taken over first.
    Inherits,
}

/// How an object is applied.
#[derive(Debug)]
pub(super) struct Ready {
    /// How.
    pub(super) way: Way,
    /// The fields that it takes from others.
    pub(super) taken: Vec<Taken>,
}

/// How an object is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// As one apply.
    Apply {
        /// Taking what others hold.
        force: bool,
    },
    /// Deleted and made anew.
    Anew,
}

impl Hand<'_> {
    /// Has the server judge an object. Writes nothing.
    pub(super) async fn look(&self, item: &mut Item<'_>) -> Result<Looked, Refusal> {
        self.look_until_still(item, true).await
    }

    /// The same for what depends on something that was just applied, which the server may not know yet.
    pub(super) async fn look_patiently(&self, item: &mut Item<'_>) -> Result<Looked, Refusal> {
        let end = Instant::now() + PATIENCE;
        let mut pause = PAUSE;
        loop {
            let looked = match item.target() {
                Ok(_) => self.look(item).await,
                Err(_) => match self.find(item).await {
                    Ok(()) => self.look(item).await,
                    Err(refusal) => Err(refusal),
                },
            };
            match looked {
                Err(Refusal::Refused(_) | Refusal::Invalid(_) | Refusal::Prevented(_))
                    if Instant::now() < end =>
                {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                looked => return looked,
            }
        }
    }

    /// Takes over what must be, and has the server judge the object then.
    pub(super) async fn inherit(&self, item: &mut Item<'_>) -> Result<Ready, Refusal> {
        for _ in 0..TRIES {
            let metadata = self.moved(item).await?;
            self.is_of_no_other_set(&metadata)?;
            if let Some(takeover) = takeover::take_over(&metadata, self.heirs(), self.now) {
                let target = item.target()?;
                match self.sender.edit(target, &takeover.patch).await {
                    Err(Refusal::Stale) => continue,
                    Err(refusal) => return Err(refusal),
                    Ok(reply) => item.written(reply.metadata()?),
                }
                let taken = takeover.taken.into_iter().map(|(manager, fields)| Taken {
                    object: item.object.reference.clone(),
                    manager,
                    fields,
                });
                self.took(taken.collect());
            }
            if let Looked::Ready(ready) = self.look_until_still(item, false).await? {
                return Ok(ready);
            }
        }
        Err(Refusal::Stale)
    }

    /// Looks; and once more where the object moved in a way that changes nothing for it.
    pub(super) async fn look_until_still(
        &self,
        item: &mut Item<'_>,
        may_inherit: bool,
    ) -> Result<Looked, Refusal> {
        for _ in 0..TRIES {
            match self.look_once(item, may_inherit).await {
                Err(Refusal::Stale) if item.version.is_some() => drop(self.moved(item).await?),
                looked => return looked,
            }
        }
        Err(Refusal::Stale)
    }

    async fn look_once(&self, item: &mut Item<'_>, may_inherit: bool) -> Result<Looked, Refusal> {
        match self.ask(item, false).await {
            Ok(reply) => self.would_be_taken(item, &reply, may_inherit),
            Err(Refusal::Held(held)) => {
                let heirs = self.heirs();
                let inherits = held.iter().any(|held| heirs.take_from_named(&held.manager));
                match inherits && may_inherit {
                    true => Ok(Looked::Inherits),
                    false => self.held(item, &held, may_inherit).await,
                }
            }
            Err(refusal) => self.not_valid(item, refusal, may_inherit).await,
        }
    }

    async fn ask(&self, item: &Item<'_>, force: bool) -> Result<Reply, Refusal> {
        let patch = Patch {
            manager: MANAGER,
            dry_run: true,
            force,
            view: View::Metadata,
        };
        self.sender
            .apply(item.target()?, patch, item.body(self)?)
            .await
    }

    fn would_be_taken(
        &self,
        item: &mut Item<'_>,
        reply: &Reply,
        may_inherit: bool,
    ) -> Result<Looked, Refusal> {
        if reply.created != item.version.is_none() {
            return Err(Refusal::Replaced);
        }
        let mut way = Way::Apply { force: false };
        if !reply.created {
            let metadata = reply.metadata()?;
            if may_inherit && self.heirs().any(&metadata) {
                return Ok(Looked::Inherits);
            }
            item.uid = metadata.uid;
            if item.anew {
                way = Way::Anew;
            }
        }
        Ok(Looked::Ready(Ready {
            way,
            taken: Vec::new(),
        }))
    }

    /// Fields of others stand in the way.
    async fn held(
        &self,
        item: &mut Item<'_>,
        held: &[Held],
        may_inherit: bool,
    ) -> Result<Looked, Refusal> {
        if let Some(reason) = conflicts::of_another_set(held) {
            return Err(Refusal::Refused(reason));
        }
        if self.context.conflicts == Conflicts::Refuse {
            return Err(Refusal::Refused(conflicts::refused(held)));
        }
        let looked = match self.ask(item, true).await {
            Ok(reply) => self.would_be_taken(item, &reply, may_inherit)?,
            Err(refusal) => self.not_valid(item, refusal, may_inherit).await?,
        };
        let Looked::Ready(ready) = looked else {
            return Ok(looked);
        };
        Ok(Looked::Ready(Ready {
            way: match ready.way {
                Way::Apply { .. } => Way::Apply { force: true },
                Way::Anew => Way::Anew,
            },
            taken: conflicts::taken(&item.object.reference, held),
        }))
    }

    /// The content is refused. What other managers hold of a list may be why; and what cannot change may be
    /// made anew where the manifest says so.
    async fn not_valid(
        &self,
        item: &mut Item<'_>,
        refusal: Refusal,
        may_inherit: bool,
    ) -> Result<Looked, Refusal> {
        let of_content = matches!(refusal, Refusal::Immutable(_) | Refusal::Invalid(_));
        if item.version.is_none() || !of_content {
            return Err(refusal);
        }
        let metadata = self.moved(item).await?;
        if may_inherit && self.heirs().any(&metadata) {
            return Ok(Looked::Inherits);
        }
        match refusal {
            Refusal::Immutable(_) if item.may_be_made_anew() => Ok(Looked::Ready(Ready {
                way: Way::Anew,
                taken: Vec::new(),
            })),
            refusal => Err(refusal),
        }
    }

    /// Taking an object over takes its membership along: not from another tool's set.
    fn is_of_no_other_set(&self, metadata: &ObjectMeta) -> Result<(), Refusal> {
        let set = metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(marks::PART_OF));
        let other = set.is_some_and(|set| *set != self.context.set.set().id);
        match other && marks::mark(metadata).is_none() {
            true => Err(Refusal::Refused(conflicts::of_other_set(None))),
            false => Ok(()),
        }
    }

    /// Reads the live object's metadata, and has the item stand on its version, if it is still what the
    /// plan saw but for its status and what managers noted of it.
    pub(super) async fn moved(&self, item: &mut Item<'_>) -> Result<ObjectMeta, Refusal> {
        let found = self.sender.metadata(item.target()?).await?;
        let metadata = found.ok_or(Refusal::Replaced)?;
        item.stand_on(&metadata)?;
        Ok(metadata)
    }
}

impl Item<'_> {
    /// Goes onto what was just written of it.
    fn written(&mut self, metadata: ObjectMeta) {
        self.version.clone_from(&metadata.resource_version);
        self.uid.clone_from(&metadata.uid);
        self.seen = Seen::of(&metadata);
    }

    /// Goes onto this version of the live object from here on.
    ///
    /// # Errors
    /// [`Refusal::Stale`] where it was changed since the plan, [`Refusal::Replaced`] where it is another one.
    fn stand_on(&mut self, metadata: &ObjectMeta) -> Result<(), Refusal> {
        if self.uid.is_some() && self.uid != metadata.uid {
            return Err(Refusal::Replaced);
        }
        if self.version != metadata.resource_version {
            let seen = self.seen.as_ref().ok_or(Refusal::Stale)?;
            let unchanged = seen.generation.is_some() && seen.generation == metadata.generation;
            // Whoever marked it since may have applied a later commit.
            if !unchanged || seen.mark != marks::mark(metadata) {
                return Err(Refusal::Stale);
            }
        }
        self.version.clone_from(&metadata.resource_version);
        self.uid.clone_from(&metadata.uid);
        Ok(())
    }
}
