//! Live objects of one unit that another unit's manifests name: an object that moves from one to the
//! other is handed over, and one that both ask for is fought over by nobody.
//!
//! Told from the branches as they were last seen, not from what the other unit's last round made of
//! them: of one commit that moves an object, both sides are known at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::Observatory;
use crate::cluster::{Preview, UnitScope};
use crate::manifest::Rendered;
use crate::model::{ApplicationName, Environment, EnvironmentName, ObjectRef, Pipeline};
use crate::plan::{Infra, Live, Observed};

/// What other units ask for.
#[derive(Debug, Default)]
pub struct Claims {
    /// The unit that asks for an object, as `APPLICATION in ENVIRONMENT`.
    pub by: BTreeMap<ObjectRef, String>,
    /// Units of which it could not be read what they ask for.
    pub unreadable: Vec<String>,
}

impl Observatory {
    /// The live objects, each with the other unit that asks for it.
    pub(super) fn with_claims(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        infra: &Infra,
        live: Observed<Arc<Live>>,
        now: Timestamp,
    ) -> Observed<Arc<Live>> {
        let Observed::Seen { value, at } = &live else {
            return live;
        };
        let desired = match (&infra.desired, pipeline.removed) {
            (Ok(desired), _) => Some(&*desired.rendered),
            (Err(_), true) => None,
            (Err(_), false) => return live,
        };
        let (application, environment) = (&pipeline.application.name, &environment.name);
        // An object is of interest where its mark and the manifests say different things of it.
        let doubtful = value.objects.iter().filter(|(reference, found)| {
            let asked = desired.is_some_and(|desired| names(desired, reference));
            found.mark.is_some() && found.is_of(application, environment) != asked
        });
        let doubtful: Vec<&ObjectRef> = doubtful.map(|(reference, _)| reference).collect();
        if doubtful.is_empty() {
            return live;
        }
        let Some(here) = self.live_of_unit(environment, application) else {
            return live;
        };
        let mut claimed = Live::clone(value);
        for (other, there) in self.units_on(here.cluster().name()) {
            if (&there.name, &other.application.name) == (environment, application) {
                continue;
            }
            let unit = format!("{} in {}", other.application.name, there.name);
            let desired = self.desired_now(other, there, now);
            for reference in &doubtful {
                let Some(found) = claimed.objects.get_mut(*reference) else {
                    continue;
                };
                match &desired {
                    Ok(Some(desired)) if names(desired, reference) => {
                        found.claimed.get_or_insert_with(|| unit.clone());
                    }
                    Ok(_) => {}
                    Err(()) => {
                        let why = || format!("what {unit} asks for cannot be read");
                        found.kept.get_or_insert_with(why);
                    }
                }
            }
        }
        Observed::Seen {
            value: Arc::new(claimed),
            at: *at,
        }
    }

    /// Which objects of an environment's cluster other units ask for than the one that has them, by the
    /// branches as they were last seen. An object comes with the application and environment that have it.
    pub fn claims<'a>(
        &self,
        environment: &EnvironmentName,
        members: impl Iterator<Item = (&'a ObjectRef, (&'a ApplicationName, &'a EnvironmentName))>,
        now: Timestamp,
    ) -> Claims {
        let mut claims = Claims::default();
        let Some(cluster) = self.clusters.get(environment) else {
            return claims;
        };
        let members: BTreeMap<_, _> = members.collect();
        for (other, there) in self.units_on(cluster.name()) {
            let has = (&other.application.name, &there.name);
            if members.values().all(|it| *it == has) {
                continue;
            }
            let unit = format!("{} in {}", other.application.name, there.name);
            let Ok(desired) = self.desired_now(other, there, now) else {
                claims.unreadable.push(unit);
                continue;
            };
            let asked = desired.iter().flat_map(|desired| &desired.objects);
            for object in asked {
                let had = members.get(&object.reference);
                if had.is_some_and(|had| *had != has) {
                    let by = claims.by.entry(object.reference.clone());
                    by.or_insert_with(|| unit.clone());
                }
            }
        }
        claims
    }

    /// Of what would be deleted of a unit's objects, what another unit asks for is left: it is handed
    /// over. So is all of it where it cannot be read what another unit asks for.
    pub fn hand_over(&self, unit: &UnitScope, previews: &mut [Preview], now: Timestamp) {
        let of = (&unit.application, &unit.environment);
        let deleted = previews.iter().filter(|it| it.is_deletion());
        let deleted: Vec<_> = deleted.map(|it| it.reference.clone()).collect();
        if deleted.is_empty() {
            return;
        }
        let members = deleted.iter().map(|reference| (reference, of));
        let claims = self.claims(&unit.environment, members, now);
        for preview in previews.iter_mut().filter(|it| it.is_deletion()) {
            match (claims.by.get(&preview.reference), claims.unreadable.first()) {
                (Some(other), _) => preview.leave(format!("{other} asks for it")),
                (None, Some(other)) => {
                    preview.leave(format!("what {other} asks for cannot be read"));
                }
                (None, None) => {}
            }
        }
    }

    /// The units that the configuration has on a cluster.
    fn units_on(&self, name: &str) -> impl Iterator<Item = (&Arc<Pipeline>, &Environment)> {
        let same = move |environment: &Environment| {
            let cluster = self.clusters.get(&environment.name);
            cluster.is_some_and(|cluster| cluster.name() == name)
        };
        let pipelines = self.configured.iter();
        let units = pipelines.flat_map(|pipeline| {
            let environments = pipeline.environments.iter();
            environments.map(move |environment| (pipeline, environment))
        });
        units.filter(move |(_, environment)| same(environment))
    }

    /// What another unit's branch asks for as it was last seen. Its source is told on the way, so that
    /// this costs nothing the next time.
    fn desired_now(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        now: Timestamp,
    ) -> Result<Option<Arc<Rendered>>, ()> {
        let source = self.live_of(pipeline, environment);
        let told = |head| source.as_ref().and_then(|source| source.told(head));
        let Some(repository) = self.infra.get(&environment.repository) else {
            return Ok(None);
        };
        let snapshot = repository.source.observed();
        let Ok(seen) = snapshot.read() else {
            // Its repository does not answer: what it asked for last still holds.
            return Ok(told(None));
        };
        if let Some(desired) = seen
            .head(&environment.name)
            .and_then(|head| told(Some(head)))
        {
            return Ok(Some(desired));
        }
        let unit = repository
            .reader
            .unit(pipeline, environment, &snapshot, now);
        let infra = unit.read().map_err(|_| ())?;
        if let Some(source) = &source {
            source.desire(infra);
        }
        let desired = infra.desired.as_ref().map_err(|_| ())?;
        Ok(Some(desired.rendered.clone()))
    }
}

fn names(desired: &Rendered, reference: &ObjectRef) -> bool {
    let objects = &desired.objects;
    let found = objects.binary_search_by(|object| object.reference.cmp(reference));
    found.is_ok()
}
