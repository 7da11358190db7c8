//! Names that people give on the command line, found in the configuration. The nearest names are not
//! guessed at: there are few, and all are listed.

use std::fmt::Display;
use std::sync::Arc;

use anyhow::{Result, bail};

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
    match application {
        Some(name) => Ok(vec![pipeline(setup, name)?]),
        None => Ok(setup.pipelines()),
    }
}

/// The pipeline of an application.
///
/// # Errors
/// There is no such application.
pub(super) fn pipeline(setup: &Setup, name: &ApplicationName) -> Result<Arc<Pipeline>> {
    let pipelines = setup.pipelines();
    let of_name = |it: &&Arc<Pipeline>| it.application.name == *name;
    if let Some(pipeline) = pipelines.iter().find(of_name) {
        return Ok(pipeline.clone());
    }
    let known = list(pipelines.iter().map(|it| &it.application.name));
    bail!("there is no application `{name}`: there are {known}");
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
