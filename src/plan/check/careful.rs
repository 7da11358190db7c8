//! Deletions that may not be made, and what was stopped: found beside what the cluster runs.

use jiff::Timestamp;

use super::tests::{HEALTHY, apply, check_live, check_step, commit, planned_on, ran, state, write};
use crate::model::record::{BRAKE, Cause, Statement, Verdict};
use crate::model::{Health, Identity, ObjectRef};
use crate::plan::{Apply, Live, LiveObject, Mark, Prune, Scope, Statements, Step};

/// What the cluster runs.
fn live(objects: Vec<(ObjectRef, LiveObject)>, brake: Option<&str>) -> Live {
    Live {
        objects: objects.into_iter().collect(),
        answering_since: None,
        brake: brake.map(str::to_owned),
    }
}

fn object(kind: &str, mark: Option<Mark>) -> (ObjectRef, LiveObject) {
    let reference = ObjectRef::from(Identity {
        group: String::new(),
        kind: kind.to_owned(),
        namespace: Some("default".to_owned()),
        name: "old".to_owned(),
    });
    let found = LiveObject {
        uid: "uid-1".to_owned(),
        version: "1".to_owned(),
        mark,
        engine: None,
        managers: Vec::new(),
        service_type: None,
        health: Health::Current,
        applied_at: Timestamp::UNIX_EPOCH,
        drift: None,
        kept: None,
        claimed: None,
    };
    (reference, found)
}

fn ours() -> Option<Mark> {
    Some(Mark {
        application: "shop".parse().unwrap(),
        environment: "production".parse().unwrap(),
        hash: state(),
        commit: commit(),
    })
}

#[test]
fn what_may_not_be_deleted_is_found() {
    let running = || ran(1, 0, HEALTHY);
    let approved = || {
        let mut here = running();
        here.push(Statement::ApprovedPrune { number: 1 });
        here
    };
    let kept = LiveObject {
        kept: Some("it has an owner".to_owned()),
        ..object("ConfigMap", ours()).1
    };
    let claimed = LiveObject {
        claimed: Some("till in qa".to_owned()),
        ..object("ConfigMap", ours()).1
    };
    let balancer = LiveObject {
        service_type: Some("LoadBalancer".to_owned()),
        ..object("Service", ours()).1
    };
    let again = LiveObject {
        uid: "uid-2".to_owned(),
        ..object("ConfigMap", ours()).1
    };
    let plain = || object("ConfigMap", ours());
    let reference = |kind| object(kind, None).0;
    for (production, here, (gone, found), expected) in [
        ("", running(), plain(), vec![]),
        ("", running(), object("ConfigMap", None), vec!["I8"]),
        (
            "",
            running(),
            (reference("ConfigMap"), kept.clone()),
            vec!["I8"],
        ),
        ("", approved(), (reference("ConfigMap"), kept), vec!["I8"]),
        (
            "",
            approved(),
            (reference("ConfigMap"), claimed),
            vec!["I8"],
        ),
        ("", running(), (reference("ConfigMap"), again), vec!["I8"]),
        (
            "",
            running(),
            object("PersistentVolumeClaim", ours()),
            vec!["I8"],
        ),
        (
            "",
            approved(),
            object("PersistentVolumeClaim", ours()),
            vec![],
        ),
        ("", running(), (reference("Service"), balancer), vec!["I8"]),
        (
            "prune: { confirm: [ConfigMap] }",
            running(),
            plain(),
            vec!["I8"],
        ),
        ("prune: { limit: 0 }", running(), plain(), vec!["I8"]),
        ("prune: { limit: 1 }", running(), plain(), vec![]),
        ("prune: { limit: 0 }", approved(), plain(), vec![]),
    ] {
        let Step::Apply(step) = apply(0) else {
            panic!("it applies");
        };
        let step = Step::Apply(Apply {
            prune: vec![Prune {
                reference: gone.clone(),
                uid: "uid-1".to_owned(),
            }],
            ..step
        });
        let shown = format!("{production} {gone}");
        let live = Some(live(vec![(gone, found)], None));
        let found = check_live(production, vec![], Ok(here), live, step);
        assert_eq!(found, expected, "{shown}");
    }
}

#[test]
fn what_was_stopped_is_found() {
    let running = || ran(1, 0, HEALTHY);
    let braked = || Some(live(vec![], Some("the database moves")));
    let brake = Step::Record(Statements {
        statements: vec![Statement::Held {
            reason: "the database moves".to_owned(),
            until: None,
        }],
        commit: commit(),
        by: BRAKE.to_owned(),
        scope: Scope::Environment,
        closes_proposal: false,
        planned_on: planned_on(),
    });
    // A person's brake on the cluster stops all but its own record.
    assert_eq!(
        check_live("", vec![], Ok(running()), braked(), apply(0)),
        ["I5"]
    );
    assert!(check_live("", vec![], Ok(running()), braked(), brake).is_empty());
    // What failed before it was applied is not applied again.
    let abandoned = Verdict::Failed {
        reason: "refused".to_owned(),
        applied: false,
    };
    let here = ran(1, 0, abandoned);
    assert_eq!(check_step("", vec![], Ok(here), apply(0)), ["I4"]);
    // What nothing ran is not proven upstream.
    let upstream = ran(1, 1, Verdict::Healthy { exercised: false });
    let write = write(1, Cause::Automation);
    assert_eq!(check_step("", upstream, Ok(running()), write), ["I1"]);
}
