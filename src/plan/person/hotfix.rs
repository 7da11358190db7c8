//! A fix of an older line: it is pinned in the environments that are to prove it, until it came where it is
//! asked for.

use super::Person;
use super::choose::is_stopped;
use super::named::find;
use super::promote::known;
use crate::model::record::Statement;
use crate::model::{EnvironmentName, Follow, Release};
use crate::plan::settle::newest_over;
use crate::plan::{Ready, Scope, Step, Unit, Walk, promotion};

impl Person<'_> {
    /// The environments in which the release that was promoted here is to be proven first.
    ///
    /// # Errors
    /// Why that cannot be told now, in one sentence.
    pub fn to_prove(&self) -> Result<Vec<EnvironmentName>, String> {
        self.with(|unit| {
            let (_, records) = unit.read()?;
            let promotion = records.promotion.as_ref();
            let release = promotion.map(|it| &it.promoted.release);
            let lacking = release.map(|release| lacking(unit, release).cloned().collect());
            Walk::Continue(Ok(lacking.unwrap_or_default()))
        })
    }

    /// The records that pin a release here until it came to the environment that it is to be proven for.
    ///
    /// # Errors
    /// That there is no such release, or why it cannot be recorded now.
    pub fn prove_for(
        &self,
        target: &EnvironmentName,
        named: &str,
        reason: &str,
    ) -> Result<Step, String> {
        self.with(|unit| {
            let ready = unit.ready()?;
            let statements = pins(&ready, target, named, reason);
            Walk::Continue(
                statements.map(|statements| self.state(ready.infra, Scope::Unit, statements)),
            )
        })
    }
}

fn pins(
    ready: &Ready<'_>,
    target: &EnvironmentName,
    named: &str,
    reason: &str,
) -> Result<Vec<Statement>, String> {
    let known = known(ready.unit);
    let release = find(known.iter(), named).map_err(|unfound| {
        unfound.say(
            "no release is known",
            &format!("there is no release `{named}`"),
        )
    })?;
    let mut statements = Vec::new();
    if is_stopped(ready.records, release) {
        statements.push(Statement::Retried {
            release: release.clone(),
        });
    }
    statements.push(Statement::Pinned {
        release: Some(release.clone()),
        over: newest_over(ready.records.pin.as_ref(), ready.head.release()),
        serves: Some(target.clone()),
        reason: format!("a hotfix for {target}: {reason}"),
    });
    Ok(statements)
}

/// Whether every environment that is to prove it takes it from its registries.
///
/// # Errors
/// Which one does not.
pub(super) fn may_be_proven(unit: &Unit<'_>, release: &Release) -> Result<(), String> {
    let digests = release.digests();
    let catalogue = unit.world.catalogue.read().ok();
    for name in lacking(unit, release) {
        let Some(environment) = unit.pipeline.environment(name) else {
            continue;
        };
        if let Follow::Environments { .. } = environment.follow {
            let application = &unit.pipeline.application.name;
            return Err(format!(
                "{release} is not proven in {name}, which follows others itself: \
                 `towpath promote --hotfix {application} {name} {release}` first"
            ));
        }
        let takes = catalogue.is_some_and(|catalogue| {
            let mut releases = catalogue.releases(&environment.follow).into_iter();
            releases.any(|it| it.is(&digests))
        });
        if !takes {
            return Err(format!(
                "{name}, which is to prove {release}, does not take it from its registries"
            ));
        }
    }
    Ok(())
}

/// The followed environments in which it is not proven.
fn lacking<'a>(
    unit: &'a Unit<'_>,
    release: &'a Release,
) -> impl Iterator<Item = &'a EnvironmentName> {
    let all = match &unit.environment.follow {
        Follow::Environments { all, .. } => all.as_slice(),
        Follow::Branches(_) | Follow::Tags(_) => &[],
    };
    all.iter()
        .filter(|name| !promotion::is_proven_in(unit, name, release))
}
