//! Names that people give on the command line, found in the configuration. The nearest names are not
//! guessed at: there are few, and all are listed.

use std::fmt::Display;
use std::sync::Arc;

use anyhow::{Result, anyhow, bail};

use super::setup::Setup;
use crate::model::{ApplicationName, Environment, EnvironmentName, Pipeline};

/// The pipeline of an application; all of them where none is named.
///
/// # Errors
/// There is no such application.
pub(super) fn pipelines(
    setup: &Setup,
    application: Option<&ApplicationName>,
) -> Result<Vec<Arc<Pipeline>>> {
    let mut pipelines = setup.pipelines();
    if let Some(name) = application {
        pipelines.retain(|pipeline| pipeline.application.name == *name);
        if pipelines.is_empty() {
            return Err(no_application(setup, name));
        }
    }
    Ok(pipelines)
}

/// Says that there is no such application.
pub(super) fn no_application(setup: &Setup, name: &ApplicationName) -> anyhow::Error {
    let all = setup.config.pipelines.iter();
    let known = list(all.map(|it| &it.application.name));
    anyhow!("there is no application `{name}`: there are {known}")
}

/// An application's environment.
///
/// # Errors
/// The application does not go there.
pub(super) fn environment<'a>(
    pipeline: &'a Pipeline,
    name: &EnvironmentName,
) -> Result<&'a Environment> {
    let Some(environment) = pipeline.environment(name) else {
        bail!(
            "{} does not go to `{name}`: it goes to {}",
            pipeline.application.name,
            list(pipeline.environments.iter().map(|it| &it.name))
        );
    };
    Ok(environment)
}

/// The environments of these names; all of them where none is named.
///
/// # Errors
/// One of them does not exist.
pub(super) fn environments(
    setup: &Setup,
    only: &[EnvironmentName],
) -> Result<Vec<EnvironmentName>> {
    let known = &setup.config.environments;
    if let Some(name) = only.iter().find(|name| !known.contains(*name)) {
        bail!(
            "there is no environment `{name}`: there are {}",
            list(known.iter())
        );
    }
    Ok(match only.is_empty() {
        true => known.clone(),
        false => only.to_vec(),
    })
}

fn list(names: impl Iterator<Item = impl Display>) -> String {
    names
        .map(|name| name.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
