//! What the cluster runs beside what the head asks for: what is to be applied, what is only reported,
//! what may be deleted and what waits for a yes. Hooks are apart, in [`super::hooks`].

use std::sync::Arc;

use super::hooks::is_hook;
use super::{Change, Live, LiveObject, Prune, Reason, Unit, Waiting};
use crate::manifest::Object;
use crate::model::record::{Deployment, UnitRecords};
use crate::model::{Drift, ObjectRef};

/// See the module.
pub(super) struct Difference {
    /// To be applied.
    pub(super) change: Vec<Change>,
    /// To be deleted.
    pub(super) prune: Vec<Prune>,
    /// What only a person can settle. It holds up nothing else.
    pub(super) reported: Vec<Waiting>,
}

impl Difference {
    /// Compares.
    pub(super) fn of(
        unit: &Unit<'_>,
        records: &UnitRecords,
        deployment: &Deployment,
        desired: &[Arc<Object>],
        live: &Live,
    ) -> Self {
        let mut told = Told::default();
        let objects = desired.iter().filter(|object| !is_hook(object));
        let change = objects.filter_map(|object| {
            let found = live.objects.get(&object.reference);
            let differs = how_it_differs(unit, object, found)?;
            told.lets(unit, deployment, object, differs)
                .then(|| Change {
                    reference: object.reference.clone(),
                    version: found.map(|found| found.version.clone()),
                    hash: object.hash(),
                    anew: false,
                })
        });
        let change = change.collect();
        let number = deployment.number;
        let deletions = deletions(unit, records, number, desired, live);
        let reported = deletions.waiting.into_iter().chain(told.waiting());
        Self {
            change,
            prune: deletions.free,
            reported: reported.collect(),
        }
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.change.is_empty() && self.prune.is_empty()
    }
}

/// How a live object is not what it should be.
enum Differs<'a> {
    /// Its mark says that another manifest was applied, or it has none of ours, or it is not there.
    Applied(Option<&'a LiveObject>),
    /// What was applied is what is asked for, and somebody changed it since.
    Since(&'a super::Drifted),
}

fn how_it_differs<'a>(
    unit: &Unit<'_>,
    object: &Object,
    found: Option<&'a LiveObject>,
) -> Option<Differs<'a>> {
    let ours = found.filter(|it| it.is_of(&unit.pipeline.application.name, &unit.environment.name));
    let same = ours.filter(|it| it.mark.as_ref().map(|mark| mark.hash) == Some(object.hash()));
    match same {
        None => Some(Differs::Applied(found)),
        Some(same) => same.drift.as_ref().map(Differs::Since),
    }
}

/// What is told instead of done.
#[derive(Default)]
struct Told {
    drifted: Vec<String>,
    contested: Vec<String>,
    rest_until: Option<jiff::Timestamp>,
}

impl Told {
    /// Whether the difference is to be done away with now; if not, it is told.
    fn lets(
        &mut self,
        unit: &Unit<'_>,
        deployment: &Deployment,
        object: &Object,
        differs: Differs<'_>,
    ) -> bool {
        let reference = &object.reference;
        let report = unit.environment.drift == Drift::Report;
        match differs {
            Differs::Applied(None) if report && deployment.verdict.is_some() => {
                self.drifted.push(format!("{reference} (it is gone)"));
            }
            Differs::Applied(Some(_)) if report && deployment.verdict.is_some() => {
                self.drifted.push(format!("{reference} (replaced)"));
            }
            Differs::Since(drift) if report => {
                self.drifted.push(format!("{reference} ({drift})"));
            }
            Differs::Since(drift) => match drift.rest_until {
                Some(until) if unit.now < until => {
                    self.contested.push(format!("{reference} ({drift})"));
                    let first = self.rest_until.map_or(until, |other| other.min(until));
                    self.rest_until = Some(first);
                }
                _ => return true,
            },
            Differs::Applied(_) => return true,
        }
        false
    }

    fn waiting(self) -> impl Iterator<Item = Waiting> {
        let contested = (!self.contested.is_empty()).then(|| Waiting {
            reason: Reason::Contested {
                objects: self.contested,
            },
            since: None,
            next: self.rest_until,
        });
        let drifted = (!self.drifted.is_empty()).then(|| {
            Waiting::on(Reason::Drifted {
                objects: self.drifted,
            })
        });
        [contested, drifted].into_iter().flatten()
    }
}

/// `.spec.replicas by kubectl-edit`.
impl std::fmt::Display for super::Drifted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.fields.join(", "))?;
        match &self.by {
            Some(by) => write!(f, " by {by}"),
            None => Ok(()),
        }
    }
}

/// What is no longer asked for and may be deleted at all.
pub(super) struct Deletions {
    /// To be deleted now.
    pub(super) free: Vec<Prune>,
    /// Only with a person's yes.
    pub(super) asked: Vec<ObjectRef>,
    /// The question.
    pub(super) waiting: Option<Waiting>,
}

/// What may be deleted now, and what waits for a yes. Only the deletion waits: the deployment that it
/// belongs to is applied and judged meanwhile.
pub(super) fn deletions(
    unit: &Unit<'_>,
    records: &UnitRecords,
    number: u64,
    desired: &[Arc<Object>],
    live: &Live,
) -> Deletions {
    let limits = &unit.environment.prune;
    let (application, environment) = (&unit.pipeline.application.name, &unit.environment.name);
    let set = live.objects.iter();
    let set = set.filter(|(_, found)| found.is_of(application, environment));
    let is_asked_for = |reference: &ObjectRef| {
        let found = desired.binary_search_by(|object| object.reference.cmp(reference));
        found.is_ok()
    };
    let candidates = set.clone().filter(|(reference, found)| {
        !is_asked_for(reference) && found.kept.is_none() && found.claimed.is_none()
    });
    let candidates: Vec<_> = candidates.collect();
    let prune = |(reference, found): (&ObjectRef, &LiveObject)| Prune {
        reference: reference.clone(),
        uid: found.uid.clone(),
    };
    if records.approved_prune == Some(number) {
        return Deletions {
            free: candidates.into_iter().map(prune).collect(),
            asked: Vec::new(),
            waiting: None,
        };
    }
    let limit = limits.limit_of(set.count());
    let count = candidates.len();
    if count > limit {
        let reason = Reason::PruneLimit {
            count,
            limit,
            number,
        };
        return Deletions {
            free: Vec::new(),
            asked: candidates.into_iter().map(|(it, _)| it.clone()).collect(),
            waiting: Some(Waiting::on(reason)),
        };
    }
    let (asked, free): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|(reference, found)| limits.asks(reference, found.service_type.as_deref()));
    let objects: Vec<String> = asked.iter().map(|(it, _)| it.to_string()).collect();
    Deletions {
        free: free.into_iter().map(prune).collect(),
        asked: asked.into_iter().map(|(it, _)| it.clone()).collect(),
        waiting: (!objects.is_empty()).then(|| Waiting::on(Reason::Confirm { objects, number })),
    }
}
