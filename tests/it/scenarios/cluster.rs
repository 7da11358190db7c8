//! What the commands of a scenario do to clusters.

use towpath::cluster::simulated::Contest;
use towpath::model::{Identity, ObjectRef, Simulated};

use super::site::Site;

/// Whether it was such a command.
pub(super) fn run(site: &Site, words: &[&str]) -> bool {
    let [command, environment, rest @ ..] = words else {
        return false;
    };
    behaves(site, command, environment, rest)
        || takes(site, command, environment, rest)
        || changes(site, command, environment, rest)
}

/// How its objects do.
fn behaves(site: &Site, command: &str, environment: &str, rest: &[&str]) -> bool {
    let behave = |change: fn(&mut Simulated)| site.cluster(environment).behave(change);
    match (command, rest) {
        ("fail", [tag]) => site
            .cluster(environment)
            .behave(|it| it.fail.push((*tag).to_owned())),
        ("hang", [tag]) => site
            .cluster(environment)
            .behave(|it| it.hang.push((*tag).to_owned())),
        ("mend", []) => behave(|it| {
            it.fail.clear();
            it.hang.clear();
        }),
        ("unreachable", []) => behave(|it| it.unreachable = true),
        ("reachable", []) => behave(|it| it.unreachable = false),
        _ => return false,
    }
    true
}

/// What it does with what it is sent.
fn takes(site: &Site, command: &str, environment: &str, rest: &[&str]) -> bool {
    match (command, rest) {
        ("reject", [tag, reason]) => site.cluster(environment).temper(|it| {
            it.refused.insert((*tag).to_owned(), (*reason).to_owned());
        }),
        ("prevent", [reason]) => site
            .cluster(environment)
            .temper(|it| it.prevented = Some((*reason).to_owned())),
        ("admit", []) => site.cluster(environment).temper(|it| {
            it.refused.clear();
            it.prevented = None;
        }),
        ("holds", [by, object, field]) => site.cluster(environment).temper(|it| {
            it.held.insert(object_reference(object), contest(field, by));
        }),
        ("contest", [by, object, field]) => site.cluster(environment).temper(|it| {
            it.contested
                .insert(object_reference(object), contest(field, by));
        }),
        ("relent", []) => site.cluster(environment).temper(|it| it.contested.clear()),
        _ => return false,
    }
    true
}

/// What somebody else does there.
fn changes(site: &Site, command: &str, environment: &str, rest: &[&str]) -> bool {
    let now = site.now;
    match (command, rest) {
        ("foreign", [object, engine @ ..]) => {
            let engine = engine.first().copied();
            let cluster = || site.cluster(environment);
            cluster().put_foreign(&object_reference(object), engine, now);
        }
        ("vanish", [object]) => site.cluster(environment).delete(&object_reference(object)),
        ("drift", [by, object, field]) => {
            let changed = contest(field, by);
            site.cluster(environment)
                .drift(&object_reference(object), &changed, now);
        }
        ("keep", [object, why]) => site
            .cluster(environment)
            .keep(&object_reference(object), Some(why)),
        ("brake", [reason]) => site.cluster(environment).brake(Some(reason)),
        ("unbrake", []) => site.cluster(environment).brake(None),
        _ => return false,
    }
    true
}

fn contest(field: &str, by: &str) -> Contest {
    Contest {
        field: field.to_owned(),
        by: by.to_owned(),
        rounds: 0,
    }
}

/// `Deployment.apps/shop`, in the default namespace.
fn object_reference(text: &str) -> ObjectRef {
    let (kind, name) = text.split_once('/').unwrap();
    let (kind, group) = kind.split_once('.').unwrap_or((kind, ""));
    ObjectRef::from(Identity {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: Some("default".to_owned()),
        name: name.to_owned(),
    })
}
