//! What the simulated cluster shows of its objects: a dry run, and everything of an environment.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::state::Stored;
use super::{SimulatedCluster, locked};
use crate::cluster::{Member, Preview, UnitScope};
use crate::manifest::Rendered;
use crate::model::EnvironmentName;

impl SimulatedCluster {
    /// What it would make of a desired state: it keeps what it is given as it is.
    pub(super) fn previews(&self, unit: &UnitScope, rendered: &Rendered) -> Vec<Preview> {
        let state = locked(&self.state);
        let preview = |reference, before: Option<&Stored>, after| Preview {
            reference,
            before: before.map(Stored::value),
            after,
            secret: false,
            untried: None,
        };
        let desired = &rendered.objects;
        let asked_for = desired.iter().map(|object| {
            let before = state.objects.get(&object.reference.to_string());
            preview(object.reference.clone(), before, Some(object.value()))
        });
        let surplus = state.objects.values().filter_map(|stored| {
            let reference = stored.reference();
            let found = desired.binary_search_by(|object| object.reference.cmp(&reference));
            (stored.is_of(unit) && found.is_err()).then(|| preview(reference, Some(stored), None))
        });
        asked_for.chain(surplus).collect()
    }

    /// Every object of an environment.
    pub(super) fn members(&self, environment: &EnvironmentName, now: Timestamp) -> Vec<Member> {
        let behaviour = locked(&self.behaviour).clone();
        let state = locked(&self.state);
        let members = state.objects.values().filter_map(|stored| {
            let mark = stored.mark.as_ref()?;
            (mark.environment == environment.as_str()).then(|| Member {
                reference: stored.reference(),
                live: stored.live(&behaviour, now),
            })
        });
        members.collect()
    }
}

impl Stored {
    /// The object; of one that somebody else put there, no more than which it is.
    fn value(&self) -> Value {
        let applied = self.content.as_deref();
        let applied = applied.and_then(|content| serde_json::from_str(content).ok());
        applied.unwrap_or_else(|| {
            json!({
                "kind": self.kind,
                "metadata": { "name": self.name, "namespace": self.namespace },
            })
        })
    }
}
