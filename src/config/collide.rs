//! Units that get into each other's way: one path written twice, one tag made twice, a gate where
//! nobody could open it.
//!
//! Works on units with `{application}` replaced and overrides laid over, so that it sees the very
//! paths that would be written.

use std::collections::{BTreeMap, BTreeSet};

use super::form::At;
use super::problem::{Place, Problems, listed, quote};
use super::resolve::Unit;
use crate::model::{
    ApplicationName, EnvironmentName, Gate, ImageRepository, RepositoryUrl, Scheme,
};

/// Each directory is compared with every other of its unit, and read in every round.
const MOST_DIRECTORIES: usize = 32;

/// Reports every collision between these units.
pub(super) fn all(units: &[Unit<'_>], problems: &mut Problems) {
    gates_can_be_opened(units, problems);
    directories_stand_apart(units, problems);
    paths_are_written_once(units, problems);
    tags_are_told_apart(units, problems);
}

/// One text for every spelling of a repository's address, to compare by.
pub(super) fn same_repository(url: &RepositoryUrl) -> String {
    let text = url.as_str();
    let text = text.strip_suffix(".git").unwrap_or(text);
    let path = |path: &str| path.trim_start_matches('/').to_owned();
    match text.split_once("://") {
        Some(("file", rest)) => format!("/{}", path(rest)),
        Some((_, rest)) => {
            let (authority, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{}/{}", host.to_ascii_lowercase(), path(rest))
        }
        None if text.starts_with('/') => format!("/{}", path(text)),
        None => {
            let (authority, rest) = text.split_once(':').unwrap_or((text, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{}/{}", host.to_ascii_lowercase(), path(rest))
        }
    }
}

fn gates_can_be_opened(units: &[Unit<'_>], problems: &mut Problems) {
    for unit in units {
        let Some(gate) = &unit.tunables.gate else {
            continue;
        };
        let file = unit.repository.value.scheme() == Scheme::File;
        if gate.value == Gate::PullRequest && file {
            problems.error(
                &gate.place,
                format!(
                    "`pull-request` needs a forge, and {} is a directory of this machine",
                    quote(unit.repository.value.as_str())
                ),
                "write `gate: branch`, which works with every git server",
            );
        } else if gate.value == Gate::PullRequest && unit.forge().is_none() {
            problems.error(
                &gate.place,
                format!(
                    "`pull-request` needs a forge, and what serves {} is not known",
                    quote(unit.repository.value.as_str())
                ),
                "write `forge: github` or `forge: gitea` in `repository`, or `gate: branch`",
            );
        }
    }
}

/// Within one unit: directories that are read must not lie in each other.
fn directories_stand_apart(units: &[Unit<'_>], problems: &mut Problems) {
    for unit in units {
        if let Some(surplus) = unit.manifests.get(MOST_DIRECTORIES) {
            let what = format!("more than {MOST_DIRECTORIES} directories of manifests");
            let instead = "put what belongs together into one directory";
            problems.error(&surplus.place, what, instead);
            continue;
        }
        for (index, later) in unit.manifests.iter().enumerate() {
            for earlier in &unit.manifests[..index] {
                if within(&later.value, &earlier.value) || within(&earlier.value, &later.value) {
                    problems.error(
                        &later.place,
                        format!(
                            "{} and {} overlap",
                            shown(&earlier.value),
                            shown(&later.value)
                        ),
                        "name directories of which none lies in another",
                    );
                }
            }
        }
        if let Some(patches) = &unit.tunables.patches {
            for directory in &unit.manifests {
                let (inner, outer) = (&patches.value, &directory.value);
                if within(inner, outer) || within(outer, inner) {
                    problems.error(
                        &patches.place,
                        format!(
                            "patches in {} and manifests in {} overlap, and a patch is no manifest",
                            shown(inner),
                            shown(outer)
                        ),
                        "keep patches in a directory beside the manifests",
                    );
                }
            }
        }
    }
}

/// Whether the first directory is the second or lies in it.
fn within(inner: &str, outer: &str) -> bool {
    outer.is_empty()
        || inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn shown(directory: &str) -> String {
    match directory {
        "" => "the repository's root".to_owned(),
        directory => quote(directory),
    }
}

/// What a unit writes.
struct Written<'a, 'b> {
    unit: &'b Unit<'a>,
    directory: &'b At<String>,
    /// Repository, branch and the parts of the directory: what lies in a directory sorts after it.
    key: Vec<String>,
}

fn paths_are_written_once(units: &[Unit<'_>], problems: &mut Problems) {
    let mut written: Vec<Written<'_, '_>> = units
        .iter()
        .filter_map(|unit| {
            let directory = unit.written()?;
            let mut key = vec![
                same_repository(&unit.repository.value),
                unit.branch.to_owned(),
            ];
            key.extend(
                directory
                    .value
                    .split('/')
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned),
            );
            Some(Written {
                unit,
                directory,
                key,
            })
        })
        .collect();
    written.sort_by(|a, b| {
        a.key
            .cmp(&b.key)
            .then(a.unit.environment.cmp(b.unit.environment))
    });
    let groups: Vec<&[Written<'_, '_>]> = written.chunk_by(|a, b| a.key == b.key).collect();
    let mut around: Vec<&[Written<'_, '_>]> = Vec::new();
    let mut reported = BTreeSet::new();
    for group in groups {
        let Some(first) = group.first() else { continue };
        environments_share(group, &mut reported, problems);
        applications_share(group, problems);
        // Only directories around this one stay; the innermost of them is the one to name.
        while around
            .last()
            .and_then(|outer| outer.first())
            .is_some_and(|outer| !first.key.starts_with(&outer.key))
        {
            around.pop();
        }
        if let Some(outer) = around.last().and_then(|outer| outer.first()) {
            one_lies_in_another(outer, first, &mut reported, problems);
        }
        around.push(group);
    }
}

type Pair<'a> = (&'a EnvironmentName, &'a EnvironmentName);

fn environments_share<'a>(
    group: &[Written<'a, '_>],
    reported: &mut BTreeSet<Pair<'a>>,
    problems: &mut Problems,
) {
    let Some(first) = group.first() else { return };
    for other in group {
        let pair = (first.unit.environment, other.unit.environment);
        // One pair of environments is one mistake, however many applications it hits.
        if pair.0 == pair.1 || !reported.insert(pair) {
            continue;
        }
        problems.error(
            &other.directory.place,
            format!(
                "environments `{}` and `{}` both write {} on branch `{}` of {}",
                pair.0,
                pair.1,
                shown(&other.directory.value),
                other.unit.branch,
                quote(other.unit.repository.value.as_str())
            ),
            "give each environment a repository, branch or last directory of its own",
        );
    }
}

fn applications_share(group: &[Written<'_, '_>], problems: &mut Problems) {
    // Keyed by name, too: one name twice was reported already.
    let mut by_environment =
        BTreeMap::<&EnvironmentName, BTreeMap<&ApplicationName, &Written<'_, '_>>>::new();
    for written in group {
        by_environment
            .entry(written.unit.environment)
            .or_default()
            .entry(&written.unit.application.name.value)
            .or_insert(written);
    }
    for (environment, sharing) in by_environment {
        let sharing: Vec<_> = sharing.into_values().collect();
        let [first, .., last] = sharing.as_slice() else {
            continue;
        };
        let names = names(&sharing);
        let directory = shown(&first.directory.value);
        let what = match common_image(&sharing) {
            Some(image) => format!(
                "{names} edit one image, {}, in {directory} of `{environment}`",
                quote(&image.to_string())
            ),
            None => format!("{names} share {directory} in `{environment}`, which is one unit"),
        };
        problems.error(
            &last.directory.place,
            what,
            "write `{application}` in `manifests`, or make them one application with several images",
        );
    }
}

/// The first few names of those who share, and how many more there are.
fn names(sharing: &[&Written<'_, '_>]) -> String {
    const SHOWN: usize = 4;
    let names = sharing
        .iter()
        .take(SHOWN)
        .map(|written| written.unit.application.name.value.as_str());
    let names = listed(names);
    match sharing.len().saturating_sub(SHOWN) {
        0 => names,
        more => format!("{names} (and {more} more)"),
    }
}

fn common_image<'a>(sharing: &[&Written<'a, '_>]) -> Option<&'a ImageRepository> {
    let mut images = sharing
        .iter()
        .map(|written| -> BTreeSet<&'a ImageRepository> {
            let images = written
                .unit
                .application
                .images
                .iter()
                .flat_map(|at| &at.value);
            images.map(|image| &image.value.repository.value).collect()
        });
    let first = images.next()?;
    images
        .fold(first, |common, other| {
            common.intersection(&other).copied().collect()
        })
        .pop_first()
}

fn one_lies_in_another<'a>(
    outer: &Written<'a, '_>,
    inner: &Written<'a, '_>,
    reported: &mut BTreeSet<Pair<'a>>,
    problems: &mut Problems,
) {
    let (outside, inside) = (outer.unit.environment, inner.unit.environment);
    let directories = format!(
        "{}, which lies in {}",
        shown(&inner.directory.value),
        shown(&outer.directory.value)
    );
    if outside != inside {
        if reported.insert((outside, inside)) {
            problems.error(
                &inner.directory.place,
                format!("environment `{inside}` writes {directories}, which environment `{outside}` writes"),
                "give each environment a repository, branch or last directory of its own",
            );
        }
        return;
    }
    problems.error(
        &inner.directory.place,
        format!(
            "`{}` has {directories}, which is the unit of `{}` in `{inside}`",
            inner.unit.application.name.value, outer.unit.application.name.value
        ),
        "give each application a directory beside the other's",
    );
}

/// A tag is the prefix and a number, so two prefixes meet where one is the other and digits.
fn tags_are_told_apart(units: &[Unit<'_>], problems: &mut Problems) {
    let mut stated = BTreeMap::<String, BTreeMap<&EnvironmentName, &At<String>>>::new();
    for unit in units {
        if let Some(prefix) = unit.stated_prefix() {
            stated
                .entry(same_repository(&unit.repository.value))
                .or_default()
                .insert(unit.environment, prefix);
        }
    }
    let mut reported = BTreeSet::<&Place>::new();
    for prefixes in stated.values() {
        let prefixes: Vec<_> = prefixes.iter().collect();
        for (index, (later, prefix)) in prefixes.iter().enumerate() {
            let earlier = prefixes[..index]
                .iter()
                .find(|(_, other)| meet(&prefix.value, &other.value));
            let Some((earlier, _)) = earlier.filter(|_| reported.insert(&prefix.place)) else {
                continue;
            };
            problems.error(
                &prefix.place,
                format!("`{later}` and `{earlier}` would make the same tags in one repository"),
                format!("write another prefix, such as `{later}/deployment-`"),
            );
        }
    }
}

fn meet(a: &str, b: &str) -> bool {
    let digits = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit());
    a.strip_prefix(b)
        .or_else(|| b.strip_prefix(a))
        .is_some_and(digits)
}
