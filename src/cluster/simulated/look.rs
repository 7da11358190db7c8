//! What the simulated cluster shows of its objects: a dry run, and everything that is ours.

use jiff::Timestamp;
use serde_json::Value;

use super::state::Stored;
use super::{SimulatedCluster, locked};
use crate::cluster::{Member, Preview, UnitScope};
use crate::manifest::Rendered;
use crate::model::ObjectRef;

impl SimulatedCluster {
    /// What it would make of a desired state: it keeps what it is given as it is.
    pub(super) fn previews(&self, unit: &UnitScope, desired: &Rendered) -> Vec<Preview> {
        let state = locked(&self.state);
        let objects = &desired.objects;
        let asked_for = objects.iter().map(|object| {
            let before = state.objects.get(&object.reference.to_string());
            preview(object.reference.clone(), before, Some(object.value()))
        });
        let surplus = state.objects.values().filter_map(|stored| {
            let reference = stored.reference();
            let found = objects.binary_search_by(|object| object.reference.cmp(&reference));
            (stored.is_of(unit) && found.is_err()).then(|| preview(reference, Some(stored), None))
        });
        asked_for.chain(surplus).collect()
    }

    /// Everything that carries our mark.
    pub(super) fn members(&self, now: Timestamp) -> Vec<Member> {
        let behaviour = locked(&self.behaviour).clone();
        let state = locked(&self.state);
        let marked = state.objects.values().filter(|it| it.mark.is_some());
        let members = marked.map(|stored| {
            let live = stored.live(&behaviour, now);
            Member {
                reference: stored.reference(),
                mark: live.mark,
                health: live.health,
                applied_at: live.applied_at,
                kept: live.kept,
            }
        });
        members.collect()
    }
}

fn preview(reference: ObjectRef, before: Option<&Stored>, after: Option<Value>) -> Preview {
    Preview {
        reference,
        before: before.map(Stored::value),
        after,
        secret: false,
        note: None,
    }
}
