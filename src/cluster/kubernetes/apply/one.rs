//! One object's apply, after the server has judged it.

use super::Hand;
use super::dry_run::{Looked, Ready, TRIES, Way};
use super::item::Item;
use crate::cluster::Taken;
use crate::cluster::kubernetes::marks::MANAGER;
use crate::cluster::kubernetes::refusal::Refusal;
use crate::cluster::kubernetes::request::{Patch, View};

impl Hand<'_> {
    /// Applies an object the way that it was judged.
    pub(super) async fn apply_one(
        &self,
        item: &mut Item<'_>,
        mut ready: Ready,
    ) -> Result<(), Refusal> {
        for _ in 0..TRIES {
            let applied = match ready.way {
                Way::Apply { force } => self.send(item, force).await,
                Way::Anew => self.make_anew(item).await,
            };
            match applied {
                Ok(()) => {
                    self.took(ready.taken);
                    return Ok(());
                }
                // Only its status moved since it was judged: it is judged once more.
                Err(Refusal::Stale) if item.version.is_some() => {
                    drop(self.moved(item).await?);
                    match self.look_until_still(item, false).await? {
                        Looked::Ready(again) => ready = again,
                        Looked::Inherits => return Err(Refusal::Stale),
                    }
                }
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::Stale)
    }

    /// The apply itself.
    pub(super) async fn send(&self, item: &Item<'_>, force: bool) -> Result<(), Refusal> {
        let patch = Patch {
            manager: MANAGER,
            dry_run: false,
            force,
            view: View::Whole,
        };
        let body = item.body(self)?;
        let reply = self.sender.apply(item.target()?, patch, body).await?;
        self.context.sight.returned(&reply.text);
        Ok(())
    }

    /// Keeps what was taken from other managers until an apply of the unit succeeds and tells it.
    pub(super) fn took(&self, taken: Vec<Taken>) {
        for Taken {
            object,
            manager,
            fields,
        } in &taken
        {
            let fields = fields.join(" ");
            tracing::info!(%object, manager, fields, "fields were taken from another manager");
        }
        self.context.set.took(&self.scope.application, taken);
    }
}
