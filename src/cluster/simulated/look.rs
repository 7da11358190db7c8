//! What the simulated cluster shows of its objects: a dry run, and everything that is ours.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::state::{Content, Stored};
use super::{SimulatedCluster, locked};
use crate::cluster::{Member, Preview, UnitScope};
use crate::manifest::Rendered;
use crate::model::ObjectRef;
use crate::present::diff::Trial;

impl SimulatedCluster {
    /// What it would make of a desired state: it keeps what it is given as it is.
    pub(super) fn previews(&self, unit: &UnitScope, desired: &Rendered) -> Vec<Preview> {
        let state = locked(&self.state);
        let objects = &desired.objects;
        let asked_for = objects.iter().map(|object| {
            let before = state.objects.get(&object.reference);
            let before = before.map(|stored| self.value(&object.reference, stored));
            preview(object.reference.clone(), before, Some(object.value()))
        });
        let surplus = state.of(unit).filter_map(|(reference, stored)| {
            let found = objects.binary_search_by(|object| object.reference.cmp(reference));
            let value = || self.value(reference, stored);
            found
                .is_err()
                .then(|| preview(reference.clone(), Some(value()), None))
        });
        asked_for.chain(surplus).collect()
    }

    /// Everything that carries our mark.
    pub(super) fn members(&self, now: Timestamp) -> Vec<Member> {
        let behaviour = locked(&self.behaviour).clone();
        let state = locked(&self.state);
        let marked = state.objects.iter().filter(|(_, it)| it.mark.is_some());
        let members = marked.map(|(reference, stored)| {
            let live = stored.live(reference, &behaviour, now);
            Member {
                reference: reference.clone(),
                mark: live.mark,
                health: live.health,
                applied_at: live.applied_at,
                kept: live.kept,
            }
        });
        members.collect()
    }

    /// The object; of one that somebody else put there, no more than which it is.
    fn value(&self, reference: &ObjectRef, stored: &Stored) -> Value {
        let applied = match &stored.content {
            Content::Nothing => None,
            Content::Here(content) => serde_json::from_str(content).ok(),
            Content::Written(line) => self.journal.as_ref().and_then(|journal| {
                let content = locked(journal).content(*line).ok()??;
                serde_json::from_str(&content).ok()
            }),
        };
        applied.unwrap_or_else(|| {
            json!({
                "kind": reference.kind,
                "metadata": { "name": reference.name, "namespace": reference.namespace },
            })
        })
    }
}

fn preview(reference: ObjectRef, before: Option<Value>, after: Option<Value>) -> Preview {
    Preview {
        reference,
        before,
        after,
        secret: false,
        trial: Trial::Taken,
    }
}
