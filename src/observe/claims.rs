//! Live objects of one unit that another unit's manifests name: an object that moves from one to the
//! other is handed over, and one that both ask for is fought over by nobody.
//!
//! Told from the branches as they were last seen, not from what the other unit's last round made of
//! them: of one commit that moves an object, both sides are known at once.

use std::sync::Arc;

use super::{LiveSource, Observatory};
use crate::manifest::Rendered;
use crate::model::{ApplicationName, Environment, EnvironmentName, ObjectRef, Pipeline};
use crate::plan::{Infra, Live, Observed};

impl Observatory {
    /// The live objects, each with the other unit that asks for it.
    pub(super) fn with_claims(
        &self,
        pipeline: &Pipeline,
        environment: &Environment,
        infra: &Infra,
        live: Observed<Arc<Live>>,
    ) -> Observed<Arc<Live>> {
        let Observed::Seen { value, at } = &live else {
            return live;
        };
        let Ok(desired) = &infra.desired else {
            return live;
        };
        let (application, environment) = (&pipeline.application.name, &environment.name);
        // An object is of interest where its mark and the manifests say different things of it.
        let doubtful = value.objects.iter().filter(|(reference, found)| {
            found.mark.is_some()
                && found.is_of(application, environment) != names(&desired.rendered, reference)
        });
        let doubtful: Vec<&ObjectRef> = doubtful.map(|(reference, _)| reference).collect();
        if doubtful.is_empty() {
            return live;
        }
        let Some(here) = self.live.get(&(environment.clone(), application.clone())) else {
            return live;
        };
        let mut claimed = Live::clone(value);
        for ((environment, application), other) in &self.live {
            if Arc::ptr_eq(here, other) || here.cluster().name() != other.cluster().name() {
                continue;
            }
            let unit = format!("{application} in {environment}");
            let desired = self.desired_now(environment, application, other);
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

    /// What another unit's branch asks for as it was last seen. Its source is told on the way, so that
    /// this costs nothing the next time.
    fn desired_now(
        &self,
        environment: &EnvironmentName,
        application: &ApplicationName,
        source: &LiveSource,
    ) -> Result<Option<Arc<Rendered>>, ()> {
        let mut pipelines = self.pipelines.iter();
        let pipeline = pipelines.find(|it| it.application.name == *application);
        let Some((pipeline, environment)) =
            pipeline.and_then(|it| Some((it, it.environment(environment)?)))
        else {
            return Ok(None);
        };
        let Some(repository) = self.infra.get(&environment.repository) else {
            return Ok(None);
        };
        let snapshot = repository.source.observed();
        let Ok(seen) = snapshot.read() else {
            // Its repository does not answer: what it asked for last still holds.
            return Ok(source.told(None));
        };
        let head = seen.head(&environment.name);
        if let Some(told) = source.told(head) {
            return Ok(Some(told));
        }
        let unit = repository.reader.unit(pipeline, environment, &snapshot);
        let infra = unit.read().map_err(|_| ())?;
        source.desire(infra);
        let desired = infra.desired.as_ref().map_err(|_| ())?;
        Ok(Some(desired.rendered.clone()))
    }
}

fn names(desired: &Rendered, reference: &ObjectRef) -> bool {
    let objects = &desired.objects;
    let found = objects.binary_search_by(|object| object.reference.cmp(reference));
    found.is_ok()
}
