//! A person asks for a release to come next: the newest that is proven, or the one that is named.

use jiff::Timestamp;

use super::Person;
use super::choose::is_stopped;
use super::hotfix;
use super::named::find;
use crate::model::record::{Promoted, Statement};
use crate::model::{Follow, Release};
use crate::plan::{Fate, Ready, Scope, Step, Unit, Walk, evidence, fate, frozen, promotion};

/// What is said with a promotion.
#[derive(Debug, Clone, Copy)]
pub struct Promote<'a> {
    /// Which release; `None`: the newest that may come.
    pub release: Option<&'a str>,
    /// Why, for those who find it.
    pub reason: &'a str,
    /// Whether it comes though it is not proven.
    pub unproven: bool,
    /// Whether it comes though the environment is frozen.
    pub during_freeze: bool,
    /// Whether it is first to be proven where that is asked for: a fix of an older line.
    pub hotfix: bool,
    /// The moment before which it does not come.
    pub not_before: Option<Timestamp>,
}

impl Person<'_> {
    /// The records of a promotion. It ends a pin, and asks again for what was declined or failed. The loop then
    /// brings the release before any other, through the environment's own gate.
    ///
    /// # Errors
    /// Why it may not come, or what there is instead, in one sentence.
    pub fn promote(&self, asked: Promote<'_>) -> Result<Step, String> {
        self.with(|unit| {
            let ready = unit.ready()?;
            let statements = promotes(&ready, asked);
            Walk::Continue(
                statements.map(|statements| self.state(ready.infra, Scope::Unit, statements)),
            )
        })
    }
}

fn promotes(ready: &Ready<'_>, asked: Promote<'_>) -> Result<Vec<Statement>, String> {
    let environment = &ready.unit.environment.name;
    let (release, unproven) = release(ready, asked)?;
    if let Some(running) = ready.head.release() {
        if running.is(&release.digests()) {
            return Err(match asked.release {
                Some(_) if is_stopped(ready.records, &release) => format!(
                    "{release} is what {environment} asks for already: `towpath retry` has it tried again"
                ),
                Some(_) => format!("{release} is what {environment} asks for already"),
                None => format!(
                    "nothing newer than {release}, which {environment} asks for already, may come"
                ),
            });
        }
        if !release.is_newer_than(running) {
            let application = &ready.unit.pipeline.application.name;
            return Err(format!(
                "{release} is older than {running}, which {environment} asks for: \
                 `towpath rollback {application} {environment} --to RELEASE` goes back to what was healthy there"
            ));
        }
    }
    may_now(ready, asked, &release)?;
    let mut statements = Vec::new();
    if is_stopped(ready.records, &release) {
        statements.push(Statement::Retried {
            release: release.clone(),
        });
    }
    statements.push(Statement::Promoted(Promoted {
        release,
        reason: asked.reason.to_owned(),
        unproven,
        during_freeze: asked.during_freeze,
        not_before: asked.not_before,
    }));
    Ok(statements)
}

/// Whether it is said in time, and over a freeze knowingly.
fn may_now(ready: &Ready<'_>, asked: Promote<'_>, release: &Release) -> Result<(), String> {
    let now = ready.unit.now;
    if let Some(past) = asked.not_before.filter(|at| *at <= now) {
        return Err(format!("{past} is past: leave `--not-before` out"));
    }
    let comes = asked.not_before.unwrap_or(now);
    let (environment, standing) = (ready.unit.environment, &ready.infra.standing);
    match frozen(environment, standing, comes).filter(|_| !asked.during_freeze) {
        None => Ok(()),
        Some(frozen) => Err(format!(
            "{} is {}: `--during-freeze --reason …` brings {release} nevertheless",
            environment.name,
            frozen.notice()
        )),
    }
}

/// Which release is meant, and whether it comes without a proof.
fn release(ready: &Ready<'_>, asked: Promote<'_>) -> Result<(Release, bool), String> {
    let environment = &ready.unit.environment.name;
    let may = may_come(ready.unit)?;
    let Some(named) = asked.release else {
        let newest = may.into_iter().max_by(Release::compare);
        let from = sources(ready.unit);
        let none = || format!("nothing may come to {environment}: {from}");
        return newest.map(|release| (release, false)).ok_or_else(none);
    };
    let known = known(ready.unit);
    let release = find(may.iter().chain(&known), named).map_err(|unfound| {
        unfound.say(
            "no release is known",
            &format!("there is no release `{named}`"),
        )
    })?;
    let digests = release.digests();
    if may.iter().any(|it| it.is(&digests)) {
        return Ok((release.clone(), false));
    }
    if asked.unproven {
        return Ok((release.clone(), true));
    }
    if asked.hotfix {
        hotfix::may_be_proven(ready.unit, release)?;
        return Ok((release.clone(), false));
    }
    let why = unproven(ready.unit, release);
    Err(format!(
        "{why}: `--unproven --reason …` promotes it nevertheless, which is recorded and shown"
    ))
}

/// Why it may not come without a word more.
fn unproven(unit: &Unit<'_>, release: &Release) -> String {
    let lacks = evidence::lacking(unit, release);
    let Follow::Environments { all, .. } = &unit.environment.follow else {
        if !lacks.is_empty() {
            return evidence::sentence(release, &lacks);
        }
        let environment = &unit.environment.name;
        return format!("{release} is not what {environment} takes from its registries");
    };
    let mut fates = all.iter().map(|name| {
        let fate = fate(unit.pipeline, unit.world, name, &release.name, unit.now);
        (name, fate)
    });
    match fates.find(|(_, fate)| *fate != Fate::Proven) {
        Some((name, fate)) => format!("{release} is not proven in {name}: {fate}"),
        None if !lacks.is_empty() => evidence::sentence(release, &lacks),
        None => format!("{release} is not proven"),
    }
}

/// What may come without a word more: proven in everything that is followed, or taken from registries.
fn may_come(unit: &Unit<'_>) -> Result<Vec<Release>, String> {
    let follow = &unit.environment.follow;
    let Follow::Environments { all, .. } = follow else {
        let catalogue = unit.world.catalogue.read();
        let unreadable = |it: &super::super::Unreadable| format!("{}: {}", it.source, it.why);
        let mut releases = catalogue.map_err(unreadable)?.releases(follow);
        releases.retain(|release| promotion::is_proven(unit, release));
        return Ok(releases);
    };
    let mut proven: Vec<Release> = Vec::new();
    for name in all {
        let upstream = super::super::upstream::Upstream::read(unit, name);
        let upstream = upstream.map_err(|waiting| waiting.reason.to_string())?;
        let runs = upstream.records.runs.iter().map(|run| &run.release);
        proven.extend(
            runs.filter(|release| promotion::is_proven(unit, release))
                .cloned(),
        );
    }
    Ok(proven)
}

/// Every release that somebody knows: the registries, and the records of every environment.
pub(super) fn known(unit: &Unit<'_>) -> Vec<Release> {
    let catalogue = unit.world.catalogue.read().ok();
    let mut known: Vec<Release> = catalogue.iter().flat_map(|it| it.all()).collect();
    for view in unit.world.units.values() {
        let Some(records) = view
            .infra
            .read()
            .ok()
            .and_then(|it| it.records.as_ref().ok())
        else {
            continue;
        };
        known.extend(records.deployed().cloned());
    }
    known
}

fn sources(unit: &Unit<'_>) -> String {
    match &unit.environment.follow {
        Follow::Environments { all, .. } => {
            let names: Vec<_> = all.iter().map(ToString::to_string).collect();
            let evidence = match unit.environment.evidence.is_empty() {
                true => "",
                false => ", with the evidence that is asked for",
            };
            format!("nothing is proven in {}{evidence}", names.join(", "))
        }
        Follow::Branches(_) | Follow::Tags(_) if !unit.environment.evidence.is_empty() => {
            "no release that it takes has the evidence that is asked for".to_owned()
        }
        Follow::Branches(_) | Follow::Tags(_) => "no release that it takes exists".to_owned(),
    }
}
