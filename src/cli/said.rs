//! What commands need that write what a person said: one look at a unit, and a writer.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};

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
        let now = clock::now();
        let reconciler = setup.reconciler(&[], now)?;
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
