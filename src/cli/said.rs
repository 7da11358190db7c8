//! What commands need that write what a person said: one look at a unit, and a writer.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};

use super::names;
use super::setup::Setup;
use crate::clock;
use crate::model::{ApplicationName, EnvironmentName, Pipeline};
use crate::plan::{Step, World};
use crate::reconcile::Reconciler;

/// One unit, looked at.
pub(super) struct Said {
    reconciler: Arc<Reconciler>,
    pipeline: Arc<Pipeline>,
    environment: EnvironmentName,
}

impl Said {
    /// Looks at everything that the application needs.
    pub(super) async fn to(
        setup: &Setup,
        application: &ApplicationName,
        environment: &EnvironmentName,
    ) -> Result<Self> {
        let pipelines = names::pipelines(setup, Some(application))?;
        let Some(pipeline) = pipelines.first().cloned() else {
            bail!("there is no application `{application}`");
        };
        names::environment(&pipeline, environment)?;
        let now = clock::now();
        let reconciler = setup.reconciler(&[], now)?;
        reconciler.observatory().read_all(&pipelines, now).await;
        Ok(Self {
            reconciler,
            pipeline,
            environment: environment.clone(),
        })
    }

    pub(super) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// What was seen.
    pub(super) fn world(&self) -> World {
        let observatory = self.reconciler.observatory();
        observatory.world(&self.pipeline, clock::now())
    }

    /// Writes a record.
    pub(super) async fn say(
        &self,
        say: impl Fn(&Pipeline, &World) -> Result<Step, String>,
    ) -> Result<()> {
        let application = &self.pipeline.application.name;
        let said = self
            .reconciler
            .say(application, &self.environment, say, clock::now());
        said.await.map_err(|why| anyhow!(why))
    }
}
