//! What the files mean to each other: names that are used and defined, who follows whom, what an
//! application needs where it runs.
//!
//! Each check is a function of its own and reports everything it finds. Units that get into each
//! other's way are found in `collide`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::application::{self, Tag};
use super::authority;
use super::environment::Follow;
use super::form::At;
use super::problem::{Place, Problems, listed, nearest, quote};
use super::teams::{named_teams_are_listed, names_are_their_owners, people_are_themselves};
use super::via::nobody_signs_twice;
use super::{Declarations, files};
use crate::model::{ApplicationName, Authorised, Authority, EnvironmentName, Right, SigningKey};

/// Runs every check; what is found joins the declarations' problems.
pub(super) fn all(root: &Path, declarations: &mut Declarations) {
    let mut problems = Problems::default();
    for check in [
        something_is_configured,
        applications_have_one_name,
        followed_environments_exist,
        nobody_follows_himself,
        applications_run_somewhere_known,
        applications_run_upstream_too,
        images_are_named_once,
        tags_can_be_read,
        overrides_are_allowed,
        applications_can_name_namespaces,
        environments_are_reached,
        authority_lets_towpath_record,
        notified_environments_exist,
        marked_sources_are_named,
        nobody_signs_twice,
        named_teams_are_listed,
        people_are_themselves,
        names_are_their_owners,
    ] {
        check(root, declarations, &mut problems);
    }
    declarations.problems.append(problems);
}

fn something_is_configured(root: &Path, declarations: &Declarations, problems: &mut Problems) {
    // A folder that could not be read was reported already.
    if declarations.problems.errors() > 0 {
        return;
    }
    let place = Place::whole(root);
    if declarations.environments.is_empty() {
        let instead = format!(
            "write `<environment>/{}` for each environment",
            files::ENVIRONMENT
        );
        problems.error(&place, "there is no environment", instead);
    }
    if declarations.applications.is_empty() {
        let instead = format!(
            "write `{}/<team>.yaml` with a list `applications:`",
            files::APPLICATIONS
        );
        problems.error(&place, "there is no application", instead);
    }
}

fn applications_have_one_name(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    let mut seen = BTreeMap::<&ApplicationName, &Place>::new();
    for application in &declarations.applications {
        let At { place, value: name } = &application.name;
        match seen.get(name) {
            Some(first) => {
                let what = format!("the application `{name}` is there twice, first in {first}");
                problems.error(place, what, "give one of them another name, or remove it");
            }
            None => {
                seen.insert(name, place);
            }
        }
    }
}

fn followed_environments_exist(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    for environment in declarations.environments.keys() {
        let mut seen = BTreeSet::new();
        for followed in declarations.followed_at(environment) {
            known_once(followed, &mut seen, declarations, problems);
        }
    }
}

fn notified_environments_exist(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    for named in &declarations.notified {
        known_once(named, &mut BTreeSet::new(), declarations, problems);
    }
}

fn marked_sources_are_named(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    for (name, file) in &declarations.environments {
        let declared = file.declared.as_ref();
        let marks = declared.and_then(|it| it.mark_source.as_ref());
        let Some(At { place, .. }) = marks.filter(|it| it.value) else {
            continue;
        };
        let goes_there = |it: &&application::Declared| {
            environments(it).iter().any(|at| at.value == *name) && it.source.is_none()
        };
        if let Some(without) = declarations.applications.iter().find(goes_there) {
            let without = &without.name.value;
            let what =
                format!("`{without}` goes there without a `source`: nothing is marked of it");
            let instead = format!("name its `source`, or leave `mark-source` out of `{name}`");
            problems.warning(place, what, instead);
        }
    }
}

/// Reports an environment that does not exist or stands there twice.
fn known_once<'a>(
    name: &'a At<EnvironmentName>,
    seen: &mut BTreeSet<&'a EnvironmentName>,
    declarations: &Declarations,
    problems: &mut Problems,
) {
    let At { place, value: name } = name;
    if !seen.insert(name) {
        problems.error(
            place,
            format!("`{name}` stands here twice"),
            "keep one of them",
        );
    } else if !declarations.environments.contains_key(name) {
        let known = || {
            declarations
                .environments
                .keys()
                .map(EnvironmentName::as_str)
        };
        let instead = match nearest(name.as_str(), known()) {
            Some(known) => format!("write `{known}`, or make `{name}/{}`", files::ENVIRONMENT),
            None if declarations.environments.is_empty() => {
                format!("make `{name}/{}`", files::ENVIRONMENT)
            }
            None => format!(
                "make `{name}/{}` (known: {})",
                files::ENVIRONMENT,
                listed(known())
            ),
        };
        problems.error(place, format!("there is no environment `{name}`"), instead);
    }
}

fn nobody_follows_himself(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    let mut done = BTreeSet::new();
    for start in declarations.environments.keys() {
        let mut path: Vec<&EnvironmentName> = Vec::new();
        let mut next = vec![(0, start)];
        while let Some((depth, name)) = next.pop() {
            path.truncate(depth);
            if let Some(begin) = path.iter().position(|on_path| *on_path == name) {
                circle(&path[begin..], declarations, problems);
                continue;
            }
            if !done.insert(name) {
                continue;
            }
            path.push(name);
            next.extend(
                declarations
                    .followed(name)
                    .map(|followed| (depth + 1, followed)),
            );
        }
    }
}

/// Reports a circle where the first of it says what it follows.
fn circle(circle: &[&EnvironmentName], declarations: &Declarations, problems: &mut Problems) {
    let Some(first) = circle.first() else { return };
    let Some(at) = declarations.followed_at(first).next() else {
        return;
    };
    let names: Vec<&str> = circle
        .iter()
        .chain([first])
        .map(|name| name.as_str())
        .collect();
    problems.error(
        &at.place,
        format!(
            "environments follow each other in a circle: {}",
            names.join(" → ")
        ),
        "let one of them follow `branches` or `tags`",
    );
}

fn applications_run_somewhere_known(
    _: &Path,
    declarations: &Declarations,
    problems: &mut Problems,
) {
    for application in &declarations.applications {
        let mut seen = BTreeSet::new();
        for name in environments(application) {
            known_once(name, &mut seen, declarations, problems);
        }
    }
}

fn environments(application: &application::Declared) -> &[At<EnvironmentName>] {
    application
        .environments
        .as_ref()
        .map_or(&[], |at| at.value.as_slice())
}

fn applications_run_upstream_too(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    for application in &declarations.applications {
        let names: BTreeSet<_> = environments(application)
            .iter()
            .map(|at| &at.value)
            .collect();
        for environment in environments(application) {
            for followed in declarations.followed(&environment.value) {
                // One that does not exist was reported where it is followed.
                if names.contains(followed) || !declarations.environments.contains_key(followed) {
                    continue;
                }
                let follower = &environment.value;
                problems.error(
                    &environment.place,
                    format!(
                        "`{follower}` follows `{followed}`, where `{}` does not run",
                        application.name.value
                    ),
                    format!("add `{followed}` to this list, or remove `{follower}`"),
                );
            }
        }
    }
}

fn images_are_named_once(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    for application in &declarations.applications {
        let mut seen = BTreeSet::new();
        for image in application.images.iter().flat_map(|at| &at.value) {
            let At {
                place,
                value: repository,
            } = &image.value.repository;
            if !seen.insert(repository) {
                let what = format!(
                    "the image {} stands here twice",
                    quote(&repository.to_string())
                );
                problems.error(place, what, "keep one of them");
            }
        }
    }
}

fn tags_can_be_read(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    for application in &declarations.applications {
        for name in environments(application) {
            let declared = declarations.environments.get(&name.value);
            let follow = declared.and_then(|file| file.declared.as_ref()?.follow.as_ref());
            let follow = follow.map(|follow| &follow.value);
            for image in application.images.iter().flat_map(|at| &at.value) {
                let (key, what, tag, sample) = match follow {
                    Some(Follow::Branches(_)) => (
                        "branch-tag",
                        "branches",
                        &image.value.branch_tag,
                        "{branch}-{commit:7}",
                    ),
                    Some(Follow::Tags(_)) => {
                        ("release-tag", "tags", &image.value.release_tag, "{tag}")
                    }
                    Some(Follow::Environments { .. }) | None => continue,
                };
                let place = &image.value.repository.place;
                let environment = &name.value;
                match tag {
                    Tag::Refused => {}
                    Tag::Absent => problems.error(
                        place,
                        format!("`{key}` is missing, and `{environment}` follows {what}"),
                        format!("write `{key}: \"{sample}\"`, as CI names its images"),
                    ),
                    Tag::Stated(template) => {
                        let named = match key {
                            "branch-tag" => template.names_branch(),
                            _ => template.names_tag(),
                        };
                        if !named && application.source.is_none() {
                            problems.error(
                                place,
                                format!("`{key}: \"{template}\"` does not say what was built, and `{environment}` follows {what}"),
                                "name the `source` repository, where the commit is looked up, or put the name into the tag",
                            );
                        }
                    }
                }
            }
        }
    }
}

fn overrides_are_allowed(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    for application in &declarations.applications {
        let mut seen = BTreeSet::new();
        let runs: BTreeSet<_> = environments(application)
            .iter()
            .map(|at| &at.value)
            .collect();
        for (name, over) in &application.overrides {
            known_once(name, &mut seen, declarations, problems);
            let At { place, value: name } = name;
            let Some(file) = declarations.environments.get(name) else {
                continue;
            };
            if !runs.contains(name) && application.environments.is_some() {
                let what = format!("`{}` does not run in `{name}`", application.name.value);
                let instead = format!("add `{name}` to its `environments`, or remove this");
                problems.error(place, what, instead);
            }
            let Some(declared) = &file.declared else {
                continue;
            };
            for At { place, value: key } in &over.stated {
                if !declared.overridable.contains(key) {
                    problems.error(
                        place,
                        format!("`{name}` does not let applications set `{key}`"),
                        format!("remove it, or add `{key}` to `override` in {}", file.place),
                    );
                }
            }
            let alone = matches!(
                declared.follow.as_ref().map(|follow| &follow.value),
                Some(Follow::Branches(_) | Follow::Tags(_))
            );
            if let (true, Some(soak)) = (alone, &over.soak) {
                problems.error(
                    &soak.place,
                    format!("`soak` means nothing in `{name}`, which follows no environment"),
                    "remove it",
                );
            }
        }
    }
}

fn applications_can_name_namespaces(
    _: &Path,
    declarations: &Declarations,
    problems: &mut Problems,
) {
    for application in &declarations.applications {
        let At { place, value: name } = &application.name;
        if !name.as_str().contains('.') {
            continue;
        }
        for environment in environments(application) {
            let file = declarations.environments.get(&environment.value);
            let limits = file.and_then(|file| file.declared.as_ref()?.access.as_ref());
            if let Some(at) = limits.and_then(|limits| limits.named_by_application().next()) {
                problems.error(
                    place,
                    format!(
                        "`{name}` cannot name a namespace, which {} makes it do",
                        at.place
                    ),
                    "remove the `.` from the name, or write the namespace out there",
                );
            }
        }
    }
}

fn environments_are_reached(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    // An application that is not readable may run there.
    let reached: BTreeSet<_> = declarations
        .applications
        .iter()
        .flat_map(environments)
        .map(|at| &at.value)
        .collect();
    // And a name that means nothing may be meant for it.
    let misspelt = reached
        .iter()
        .any(|name| !declarations.environments.contains_key(*name));
    if declarations.incomplete || declarations.applications.is_empty() || misspelt {
        return;
    }
    for (name, file) in &declarations.environments {
        if !reached.contains(name) {
            problems.warning(
                &file.place,
                format!("no application runs in `{name}`"),
                "add it to an application's `environments`, or remove its folder",
            );
        }
    }
}

/// What takes the word of two people needs two.
fn only_one_may_promote(place: &Place, authority: &Authority, problems: &mut Problems) {
    let Some(first) = authority.keys.iter().find(|it| it.overrides()) else {
        return;
    };
    // Towpath's own key may promote as well, and is nobody's word.
    let promotes = |it: &&Authorised| it.overrides() || it.may.contains(&Right::Promote);
    let promoters = authority.keys.iter().filter(promotes);
    let people: BTreeSet<&str> = promoters.map(|it| it.who.as_str()).collect();
    if people.len() < 2 {
        let who = &first.who;
        let what = format!(
            "nobody but {who} may promote: what is not proven could never come by the word of two people"
        );
        let instead = "list another person's key that may `promote`, or leave `override` out";
        problems.error(place, what, instead);
    }
}

/// Without a key of its own nothing that Towpath states would count.
fn authority_lets_towpath_record(_: &Path, declarations: &Declarations, problems: &mut Problems) {
    let Some(settings) = &declarations.settings else {
        return;
    };
    let signs = matches!(settings.commit.sign, Some(SigningKey::Ssh(_)));
    for file in declarations.environments.values() {
        let entries = file.declared.as_ref().map(|it| it.authority.as_slice());
        let entries = entries.unwrap_or_default();
        let Some(first) = entries.first() else {
            continue;
        };
        let authority = authority::resolved(entries, &declarations.teams);
        // A team that is not listed yet was told of.
        let complete = authority
            .teams
            .iter()
            .all(|it| declarations.teams.lists(it));
        let records = |it: &Authorised| it.may.contains(&Right::Record);
        let is_meant = !complete
            && entries
                .iter()
                .any(|it| it.value.may.contains(&Right::Record));
        if !is_meant && !authority.keys.iter().any(records) {
            let what =
                "no key of `authority` may `record`: nothing that Towpath states would count";
            let instead = "add Towpath's own: `{ who: towpath, key: …, may: [record] }`";
            problems.error(&first.place, what, instead);
        }
        let overrides = entries
            .iter()
            .find(|it| it.value.may.contains(&Right::Override));
        if let Some(entry) = overrides.filter(|_| complete) {
            only_one_may_promote(&entry.place, &authority, problems);
        }
        if !signs {
            let what = "`authority` lists keys, and Towpath signs with none";
            let instead = "write `commit: { sign: { ssh: { file: … } } }` in towpath.yaml";
            problems.error(&first.place, what, instead);
        }
    }
}
