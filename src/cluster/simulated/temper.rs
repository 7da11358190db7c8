//! What a simulated cluster does with what it is sent, as tests tell it.

use std::collections::BTreeMap;

use crate::cluster::{ClusterError, Taken};
use crate::manifest::Object;
use crate::model::ObjectRef;

/// See the module. Nothing of it is kept with the objects.
#[derive(Debug, Default)]
pub struct Temper {
    /// Images, by digest or tag, that it refuses, and what it says then.
    pub refused: BTreeMap<String, String>,
    /// Why it lets nothing be applied now.
    pub prevented: Option<String>,
    /// Objects that somebody changes back as soon as they were applied.
    pub contested: BTreeMap<ObjectRef, Contest>,
    /// Objects of which the next apply takes a field from another manager.
    pub held: BTreeMap<ObjectRef, Contest>,
}

/// Who has, or changes, which field of an object.
#[derive(Debug, Clone)]
pub struct Contest {
    /// Which field: `.spec.replicas`.
    pub field: String,
    /// Whose it is.
    pub by: String,
    /// How often in a row it was changed back.
    pub rounds: u32,
}

impl Temper {
    /// Whether the object may be applied.
    pub(super) fn takes(&self, object: &Object) -> Result<(), ClusterError> {
        let object_ref = || object.reference.clone();
        if let Some(reason) = &self.prevented {
            return Err(ClusterError::Prevented {
                object: object_ref(),
                reason: reason.clone(),
            });
        }
        let images = || object.images.iter().map(|image| &image.image.text);
        let refused = self.refused.iter();
        let told = refused.filter(|(told, _)| images().any(|image| super::state::is(image, told)));
        match told.map(|(_, reason)| reason.clone()).next() {
            Some(reason) => Err(ClusterError::Refused {
                object: object_ref(),
                reason,
            }),
            None => Ok(()),
        }
    }

    /// What an apply of the object takes from others, once.
    pub(super) fn gives(&mut self, reference: &ObjectRef) -> Option<Taken> {
        let held = self.held.remove(reference)?;
        Some(Taken {
            object: reference.clone(),
            manager: held.by,
            fields: vec![held.field],
        })
    }

    /// Who changes the object back now.
    pub(super) fn contest(&mut self, reference: &ObjectRef) -> Option<&Contest> {
        let contest = self.contested.get_mut(reference)?;
        contest.rounds += 1;
        Some(contest)
    }
}
