//! What a person chooses for a unit: to go back, to try again, to decline, to let automation go on.

use super::named::find;
use super::{Person, on_forge};
use crate::model::record::{Statement, UnitRecords};
use crate::model::{Gate, Release};
use crate::plan::settle::newest_over;
use crate::plan::{Ready, Scope, Statements, Step, Walk};

impl Person<'_> {
    /// The records of going back: to the release that ran healthy here before what runs now, or to the one that is
    /// named. What runs now no longer counts as proven, and the choice is pinned. The loop then brings it, through
    /// the gate unless the environment lets rollbacks go directly.
    ///
    /// # Errors
    /// Why there is nothing to go back to, in one sentence.
    pub fn roll_back(&self, to: Option<&str>, reason: &str) -> Result<Step, String> {
        self.with(|unit| {
            let ready = unit.ready()?;
            let statements = goes_back(&ready, to, reason);
            Walk::Continue(
                statements.map(|statements| self.state(ready.infra, Scope::Unit, statements)),
            )
        })
    }
}

fn goes_back(ready: &Ready<'_>, to: Option<&str>, reason: &str) -> Result<Vec<Statement>, String> {
    let (records, environment) = (ready.records, &ready.unit.environment.name);
    let running = ready.head.release();
    let runs = |release: &Release| running.is_some_and(|it| it.is(&release.digests()));
    let healthy = records.runs.iter().rev().map(|run| &run.release);
    let target = match to {
        Some(named) => find(healthy, named).map_err(|unfound| {
            unfound.say(
                &format!("nothing was healthy in {environment} yet"),
                &format!("`{named}` is not one of the releases that were healthy in {environment}"),
            )
        })?,
        None => {
            let mut sound = records
                .runs
                .iter()
                .rev()
                .filter(|run| run.spoiled.is_none());
            let before = sound.find(|run| !runs(&run.release));
            let none =
                || format!("no other release was healthy in {environment}: name one with `--to`");
            &before.ok_or_else(none)?.release
        }
    };
    if runs(target) {
        return Err(format!("{target} is what {environment} asks for already"));
    }
    let mut statements = Vec::new();
    if is_stopped(records, target) {
        statements.push(Statement::Retried {
            release: target.clone(),
        });
    }
    if let Some(running) = running.filter(|running| running.is_newer_than(target)) {
        statements.push(Statement::Withdrawn {
            release: running.clone(),
            proposal: None,
            reason: reason.to_owned(),
        });
    }
    statements.push(Statement::Pinned {
        release: Some(target.clone()),
        over: newest_over(records.pin.as_ref(), running),
        serves: None,
        reason: reason.to_owned(),
    });
    Ok(statements)
}

/// Whether something keeps it from being brought again.
pub(super) fn is_stopped(records: &UnitRecords, release: &Release) -> bool {
    let digests = release.digests();
    let mut failed = records.failures.iter().map(|it| &it.release);
    records.has_declined(&digests) || failed.any(|it| it.is(&digests))
}

impl Person<'_> {
    /// The record that ends a pin.
    ///
    /// # Errors
    /// That nothing is pinned, or why it cannot be recorded now.
    pub fn unpin(&self, reason: &str) -> Result<Step, String> {
        let environment = self.environment;
        self.with(|unit| {
            let (infra, records) = unit.read()?;
            let reason = reason.to_owned();
            Walk::Continue(match records.pin {
                Some(_) => Ok(self.say(infra, Statement::Unpinned { reason })),
                None => Err(format!(
                    "nothing pins {} in {environment}",
                    self.pipeline.application.name
                )),
            })
        })
    }

    /// The record that lets a failed or declined release be tried again: the newest such, or the one that is named.
    ///
    /// # Errors
    /// That none is, or why it cannot be recorded now.
    pub fn retry(&self, named: Option<&str>) -> Result<Step, String> {
        let environment = self.environment;
        self.with(|unit| {
            let (infra, records) = unit.read()?;
            let stopped = stopped(records);
            let none = || format!("nothing failed or was declined in {environment}");
            let release = match named {
                None => stopped.first().copied().ok_or_else(none),
                Some(named) => find(stopped.into_iter(), named).map_err(|unfound| {
                    unfound.say(
                        &none(),
                        &format!(
                            "`{named}` did not fail in {environment} and was not declined; these did, or were"
                        ),
                    )
                }),
            };
            Walk::Continue(release.map(|release| {
                let release = release.clone();
                self.say(infra, Statement::Retried { release })
            }))
        })
    }
}

/// What failed or was declined, the newest statement first.
fn stopped(records: &UnitRecords) -> Vec<&Release> {
    let newest = records
        .deployment
        .as_ref()
        .filter(|it| it.failed().is_some());
    let newest = newest.and_then(|it| Some((it.verdict.as_ref()?.at, it.release.as_ref()?)));
    let failed = records.failures.iter().map(|it| (it.at, &it.release));
    let declined = records.declined.iter().map(|it| (it.at, &it.release));
    let mut all: Vec<_> = newest.into_iter().chain(failed).chain(declined).collect();
    all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let mut releases: Vec<&Release> = Vec::new();
    for (_, release) in all {
        if !releases.iter().any(|it| it.is(&release.digests())) {
            releases.push(release);
        }
    }
    releases
}

impl Person<'_> {
    /// The record that declines what is proposed with `gate: branch`; its branch goes with it.
    ///
    /// # Errors
    /// That nothing is proposed, that its request is to be closed instead, or why it cannot be recorded now.
    pub fn decline(&self) -> Result<Step, String> {
        let environment = self.environment;
        self.with(|unit| {
            let ready = unit.ready()?;
            let Some(proposed) = &ready.records.proposal else {
                let application = &self.pipeline.application.name;
                return Walk::Continue(Err(format!(
                    "nothing of {application} is proposed in {environment}"
                )));
            };
            if unit.environment.gate == Gate::PullRequest {
                let request = on_forge(unit);
                return Walk::Continue(Err(format!("close {request} on the forge to decline it")));
            }
            let planned_on = ready.planned_on();
            Walk::Continue(Ok(Step::Record(Statements {
                statements: vec![Statement::Declined {
                    release: proposed.release.clone(),
                }],
                commit: ready.infra.head,
                by: self.by.to_owned(),
                scope: Scope::Unit,
                closes_proposal: planned_on.proposal.is_some(),
                planned_on,
            })))
        })
    }
}
