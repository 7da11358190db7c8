//! What commands need that write what a person said: one look at a unit, and a writer.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;

use super::setup::Setup;
use super::{dry_run, names, person};
use crate::clock;
use crate::model::record::{Promoted, Statement, UnitRecords};
use crate::model::{
    ApplicationName, Authority, EnvironmentName, Pipeline, PublicKey, Release, Right, StatedHold,
};
use crate::plan::{Person, Step, UnitPlan, World};
use crate::reconcile::Reconciler;

/// One unit, looked at.
pub(super) struct Said {
    reconciler: Arc<Reconciler>,
    pipeline: Arc<Pipeline>,
    environment: EnvironmentName,
    /// Whose key signs what is said; `None`: nobody's.
    key: Option<PublicKey>,
}

impl Said {
    /// Looks at the environment's repository alone: stopping must not wait for a registry or a cluster.
    pub(super) async fn in_git(
        setup: &Setup,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Result<Self> {
        let now = clock::now();
        let pipeline = names::pipeline(setup, application)?;
        let there = names::environment(&pipeline, environment)?;
        let (reconciler, key) = speaking(setup, environment, now).await?;
        let observatory = reconciler.observatory();
        observatory.read_infra([&there.repository], now).await;
        Ok(Self {
            reconciler,
            pipeline,
            environment: environment.clone(),
            key,
        })
    }

    /// Looks at everything that the application needs.
    pub(super) async fn to(
        setup: &Setup,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Result<Self> {
        let now = clock::now();
        let (reconciler, key) = speaking(setup, environment, now).await?;
        let observatory = reconciler.observatory();
        let mut pipelines = setup.pipelines();
        pipelines.retain(|pipeline| pipeline.application.name == *application);
        observatory.read_all(&pipelines, now).await;
        pipelines.extend(observatory.removed());
        let unit = |pipeline: &&Arc<Pipeline>| {
            pipeline.application.name == *application && pipeline.environment(environment).is_some()
        };
        let Some(pipeline) = pipelines.iter().find(unit).cloned() else {
            bail!("{application} does not go to `{environment}`, and nothing of it runs there");
        };
        Ok(Self {
            reconciler,
            pipeline,
            environment: environment.clone(),
            key,
        })
    }

    /// The same application in another environment, as it was looked at.
    pub(super) fn at(&self, environment: &EnvironmentName) -> Self {
        Self {
            reconciler: self.reconciler.clone(),
            pipeline: self.pipeline.clone(),
            environment: environment.clone(),
            key: self.key.clone(),
        }
    }

    /// What was seen.
    fn world(&self) -> World {
        let observatory = self.reconciler.observatory();
        observatory.world(&self.pipeline, clock::now())
    }

    /// What a person chose there.
    pub(super) fn pinned(&self) -> Option<Release> {
        self.records()?.pin.as_ref()?.release.clone()
    }

    /// What is proposed there.
    pub(super) fn proposed(&self) -> Option<Release> {
        Some(self.records()?.proposal.as_ref()?.release.clone())
    }

    /// What a person asked for there.
    pub(super) fn promoted(&self) -> Option<Promoted> {
        let records = self.records()?;
        Some(records.promotion.as_ref()?.promoted.clone())
    }

    fn records(&self) -> Option<Arc<UnitRecords>> {
        let world = self.world();
        let infra = world.units.get(&self.environment)?.infra.read().ok()?;
        infra.records.as_ref().ok().cloned()
    }

    /// Asks what a person would be shown.
    pub(super) fn ask<T>(&self, ask: impl Fn(&Person<'_>) -> Result<T, String>) -> Result<T> {
        let asked = ask(&Person {
            pipeline: &self.pipeline,
            world: &self.world(),
            environment: &self.environment,
            by: "",
            now: clock::now(),
        });
        asked.map_err(|why| anyhow!(why))
    }

    /// Writes a record.
    pub(super) async fn say(
        &self,
        by: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
    ) -> Result<()> {
        let application = &self.pipeline.application.name;
        let say = self.counting(by, say);
        let said = self
            .reconciler
            .say(application, &self.environment, by, say, clock::now());
        said.await.map_err(|why| anyhow!(why))
    }

    /// Refuses a choice whose images are gone, and warns of those that could not be asked for.
    pub(super) async fn has_images(
        &self,
        by: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
        err: &mut dyn Write,
    ) -> Result<()> {
        let application = &self.pipeline.application.name;
        let asked =
            self.reconciler
                .has_images(application, &self.environment, by, say, clock::now());
        for unknown in asked.await.map_err(|why| anyhow!(why))? {
            writeln!(
                err,
                "warning: it is not known whether it is still there: {unknown}"
            )?;
        }
        Ok(())
    }

    /// Writes a record, or shows what would be written; `carries`: also what [`Self::carry_out`] would write first.
    /// Says whether it was written.
    pub(super) async fn say_or_show(
        &self,
        by: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
        dry: dry_run::Args,
        carries: bool,
        out: &mut dyn Write,
    ) -> Result<bool> {
        match dry.dry_run {
            true => self.show(by, say, carries, out).await?,
            false => self.say(by, say).await?,
        }
        Ok(!dry.dry_run)
    }

    async fn show(
        &self,
        by: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
        carries: bool,
        out: &mut dyn Write,
    ) -> Result<()> {
        let application = &self.pipeline.application.name;
        let rehearsed = self.reconciler.rehearse(
            application,
            &self.environment,
            by,
            self.counting(by, say),
            carries && self.may_record(),
            clock::now(),
        );
        let (rehearsal, next) = rehearsed.await.map_err(|why| anyhow!(why))?;
        dry_run::show(&rehearsal, next.as_ref(), out)
    }

    /// The hold that stands in the environment's file, if it holds.
    pub(super) fn held_by_file(&self) -> Option<&StatedHold> {
        let environment = self.pipeline.environment(&self.environment)?;
        let hold = environment.hold.as_ref();
        hold.filter(|hold| hold.holds(clock::now()))
    }

    /// The same, where what it states would count: what does not is not written.
    fn counting(
        &self,
        by: &str,
        say: impl Fn(&Person<'_>) -> Result<Step, String>,
    ) -> impl Fn(&Person<'_>) -> Result<Step, String> {
        move |person| {
            let step = say(person)?;
            self.counts(&step, by).map(|()| step)
        }
    }

    fn counts(&self, step: &Step, by: &str) -> Result<(), String> {
        let (Some(authority), Step::Record(stated)) = (self.authority(), step) else {
            return Ok(());
        };
        let rights = stated.statements.iter().filter_map(Statement::right);
        let objection = |right| authority.objection(right, self.key.as_ref(), by);
        match rights.filter_map(objection).next() {
            Some(why) => Err(format!(
                "it would not count in {}: {why}. People sign as git does: {}",
                self.environment,
                person::SIGNING
            )),
            None => Ok(()),
        }
    }

    /// Whether what this process does would count when it is recorded.
    fn may_record(&self) -> bool {
        let known = |it: &Authority| {
            let known = self.key.as_ref().and_then(|key| it.of(key));
            known.is_some_and(|it| it.may(Right::Record))
        };
        self.authority().is_none_or(known)
    }

    /// Whose records count there; `None`: everybody's.
    fn authority(&self) -> Option<&Authority> {
        let there = self.pipeline.environment(&self.environment)?;
        Some(&*there.authority).filter(|it| !it.is_open())
    }

    /// Carries out in git what was said; gives what comes next. Where this person's key may not `record`, it is left
    /// to Towpath.
    pub(super) async fn carry_out(&self) -> Result<Option<UnitPlan>> {
        if !self.may_record() {
            return Ok(None);
        }
        let application = &self.pipeline.application.name;
        let carried = self
            .reconciler
            .carry_out(application, &self.environment, clock::now());
        carried.await.map_err(|why| anyhow!(why))
    }
}

/// What a person writes with, and whose key signs it: where the environment lists keys, the one that git signs with
/// for this person.
async fn speaking(
    setup: &Setup,
    environment: &EnvironmentName,
    now: Timestamp,
) -> Result<(Arc<Reconciler>, Option<PublicKey>)> {
    let pipelines = setup.pipelines();
    let there = pipelines.iter().find_map(|it| it.environment(environment));
    if there.is_none_or(|it| it.authority.is_open()) {
        return Ok((setup.reconciler(&[], now)?, None));
    }
    let (signer, key) = person::signer().await?;
    Ok((setup.reconciler_signing(&[], signer, now)?, key))
}
