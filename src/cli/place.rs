//! Where a person's word holds: units of one application, or a whole environment.

use anyhow::{Result, bail};

use super::names;
use super::setup::Setup;
use crate::model::{ApplicationName, EnvironmentName};
use crate::plan::Scope;

/// Which units are meant.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// The application
    #[arg(required_unless_present = "whole", conflicts_with = "whole")]
    application: Option<ApplicationName>,

    /// Only in this environment; without it in every one that the application goes to
    #[arg(value_name = "ENVIRONMENT", conflicts_with = "whole")]
    in_environment: Option<EnvironmentName>,

    /// The whole of this environment, with every application in it
    #[arg(long = "environment", id = "whole", value_name = "ENVIRONMENT")]
    whole: Option<EnvironmentName>,
}

/// One place where it is said.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) application: ApplicationName,
    pub(super) environment: EnvironmentName,
    pub(super) scope: Scope,
}

impl Args {
    /// Every place that is meant.
    ///
    /// # Errors
    /// A name that is not configured.
    pub(super) fn places(&self, setup: &Setup) -> Result<Vec<Place>> {
        if let Some(environment) = &self.whole {
            return Ok(vec![whole(setup, environment)?]);
        }
        let pipelines = names::pipelines(setup, self.application.as_ref())?;
        let mut places = Vec::new();
        for pipeline in pipelines {
            let place = |environment: &EnvironmentName| Place {
                application: pipeline.application.name.clone(),
                environment: environment.clone(),
                scope: Scope::Unit,
            };
            match &self.in_environment {
                Some(environment) => {
                    places.push(place(&names::environment(&pipeline, environment)?.name));
                }
                None => places.extend(pipeline.environments.iter().map(|it| place(&it.name))),
            }
        }
        Ok(places)
    }
}

/// Every unit of an environment knows its records: the first one states what is said of all.
///
/// # Errors
/// There is no such environment, or nothing goes there.
pub(super) fn whole(setup: &Setup, environment: &EnvironmentName) -> Result<Place> {
    names::environments(setup, std::slice::from_ref(environment))?;
    let pipelines = setup.pipelines();
    let mut there = pipelines
        .iter()
        .filter(|it| it.environment(environment).is_some());
    let Some(pipeline) = there.next() else {
        bail!("no application goes to `{environment}`");
    };
    Ok(Place {
        application: pipeline.application.name.clone(),
        environment: environment.clone(),
        scope: Scope::Environment,
    })
}

/// `shop in production`, or `production`.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.scope {
            Scope::Unit => write!(f, "{} in {}", self.application, self.environment),
            Scope::Environment => write!(f, "{}", self.environment),
        }
    }
}
