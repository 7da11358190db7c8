//! Names that people give on the command line, found in the configuration; or what there is instead.

use std::sync::Arc;

use anyhow::{Result, bail};

use super::setup::Setup;
use crate::config::nearest;
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
    let known = pipelines.iter().map(|it| it.application.name.as_str());
    let instead = instead(name.as_str(), "there are", known);
    bail!("there is no application `{name}`: {instead}");
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
        let known = pipeline.environments.iter().map(|it| it.name.as_str());
        bail!(
            "{} does not go to `{name}`: {}",
            pipeline.application.name,
            instead(name.as_str(), "it goes to", known)
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
        let known = known.iter().map(EnvironmentName::as_str);
        bail!(
            "there is no environment `{name}`: {}",
            instead(name.as_str(), "there are", known)
        );
    }
    Ok(match only.is_empty() {
        true => known.clone(),
        false => only.to_vec(),
    })
}

/// So many names are told, the others counted.
const TOLD: usize = 12;

/// What may have been meant by a name that is not there, and what there is: ``did you mean `shop`? there are cart, shop``.
pub(super) fn instead<'a>(
    named: &str,
    there_are: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let meant = nearest(named, known.clone());
    let question = meant.map(|it| format!("did you mean `{it}`? "));
    format!(
        "{}{there_are} {}",
        question.unwrap_or_default(),
        list(known)
    )
}

/// The names, as far as people read on: `a, b and 988 more`.
pub(super) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    match names.split_at_checked(TOLD) {
        Some((told, more @ [_, ..])) => format!("{} and {} more", told.join(", "), more.len()),
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_is_told_as_far_as_people_read() {
        let names: Vec<String> = (0..1000).map(|it| format!("application-{it}")).collect();
        for (count, named, told) in [
            (1, "shop", "there are application-0"),
            (
                1,
                "aplication-0",
                "did you mean `application-0`? there are application-0",
            ),
            (
                12,
                "shop",
                "there are application-0, application-1, application-2, application-3, application-4, application-5, application-6, application-7, application-8, application-9, application-10, application-11",
            ),
            (
                13,
                "shop",
                "there are application-0, application-1, application-2, application-3, application-4, application-5, application-6, application-7, application-8, application-9, application-10, application-11 and 1 more",
            ),
        ] {
            let known = names[..count].iter().map(String::as_str);
            assert_eq!(instead(named, "there are", known), told);
        }
        let known = names.iter().map(String::as_str);
        assert!(list(known).ends_with(", application-11 and 988 more"));
    }
}
