//! Evidence that is attached to an image, in plans and in their check: whose counts, of which name, from when on.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::tests::{
    HEALTHY, check_world, commit, finding, pipeline, ran, release, second_of, world, write,
};
use crate::model::record::{Cause, Statement};
use crate::model::{
    Attachment, Authorised, Digest, EnvironmentName, EvidenceResult, Pipeline, PublicKey, Right,
    Weighed,
};
use crate::plan::{Observed, World, evidence, is_known};

/// Of Ann, who may say what was found out, and of Bob, who may not.
const KEYS: [(&str, Right); 2] = [
    (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPKHVJ32HronXuXLt7wZOfG/9Q1Q7S8Fncd/h+pdoWMH",
        Right::Evidence,
    ),
    (
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIASefP9uCCoNNczQ7fJSVP9+k1kwsD6y7pBGje10X3Vw",
        Right::Approve,
    ),
];

const RULE: &str = "evidence: [{ rule: scan }]";

const ENDPOINT: &str =
    "evidence: [{ rule: scan, from: { get: \"https://scans.example.com/{digest}\" } }]";

/// Its name, its result, the second of its date, and whose of `KEYS` signed it.
type Said<'a> = (&'a str, EvidenceResult, i64, Option<usize>);

/// Release 1 is proven in QA, and this was found out about its image: recorded in second 0, and attached. `None`: nobody
/// asked yet what is attached. With `keyed` production lists both keys.
fn observed(
    production: &str,
    keyed: bool,
    recorded: Option<EvidenceResult>,
    attached: Option<&[Said<'_>]>,
) -> (Pipeline, World) {
    let mut pipeline = pipeline(production);
    let key = |index: usize| -> PublicKey { KEYS[index].0.parse().unwrap() };
    if keyed {
        let of = |index: usize| Authorised {
            who: index.to_string(),
            also: BTreeSet::new(),
            key: key(index),
            may: [KEYS[index].1].into(),
        };
        let mut environments = pipeline.environments.iter_mut();
        let production = environments.find(|it| it.name == production_name());
        Arc::make_mut(&mut production.unwrap().authority).keys = vec![of(0), of(1)];
    }
    let environment = pipeline.environment(&production_name()).unwrap();
    let attachment = |(name, result, second, signer): &Said<'_>| Attachment {
        finding: finding(name, *result),
        at: second_of(*second),
        signer: signer.map(key),
    };
    let digest = Digest::of(&[1]);
    let mut here = ran(1, 0, HEALTHY);
    here.extend(recorded.map(|result| Statement::Evidence {
        digest,
        finding: finding("scan", result),
    }));
    here.push(Statement::Proposed {
        release: release(1),
        proposal: commit(),
    });
    let mut world = world(ran(1, 1, HEALTHY), Ok(here), None);
    let repository = &pipeline.application.images[0].repository;
    let place = environment.evidence[0].place(repository);
    let attached = attached.map(|all| Observed::Seen {
        value: all.iter().map(attachment).collect::<Vec<_>>().into(),
        at: Timestamp::UNIX_EPOCH,
    });
    world
        .attached
        .extend(attached.map(|it| ((place, digest), it)));
    (pipeline, world)
}

fn production_name() -> EnvironmentName {
    "production".parse().unwrap()
}

#[test]
fn attached_evidence_counts_as_its_rule_says() {
    use EvidenceResult::{Fail, Pass};
    for (production, keyed, recorded, attached, is_enough) in [
        (RULE, false, None, vec![("scan", Pass, 2, None)], true),
        (RULE, false, None, vec![("scan", Fail, 2, None)], false),
        // Of another name, of a later date: also beside what holds.
        (RULE, false, None, vec![("test", Pass, 2, None)], false),
        (RULE, false, None, vec![("scan", Pass, 3, None)], false),
        (
            RULE,
            false,
            None,
            vec![
                ("scan", Pass, 2, None),
                ("test", Fail, 2, None),
                ("scan", Fail, 3, None),
            ],
            true,
        ),
        // The newest counts, and of two that are as old the one that is told last.
        (
            RULE,
            false,
            None,
            vec![("scan", Fail, 2, None), ("scan", Pass, 1, None)],
            false,
        ),
        (
            RULE,
            false,
            None,
            vec![("scan", Pass, 2, None), ("scan", Fail, 1, None)],
            true,
        ),
        (
            RULE,
            false,
            None,
            vec![("scan", Fail, 2, None), ("scan", Pass, 2, None)],
            true,
        ),
        // The same beside a record, which counts where it is as old.
        (
            RULE,
            false,
            Some(Fail),
            vec![("scan", Pass, 0, None)],
            false,
        ),
        (RULE, false, Some(Pass), vec![("scan", Fail, 0, None)], true),
        (RULE, false, Some(Fail), vec![("scan", Pass, 1, None)], true),
        (
            RULE,
            false,
            Some(Pass),
            vec![("scan", Fail, 1, None)],
            false,
        ),
        // Where keys are listed, one that may say so; of an answer, none.
        (RULE, true, None, vec![("scan", Pass, 2, Some(0))], true),
        (RULE, true, None, vec![("scan", Pass, 2, Some(1))], false),
        (RULE, true, None, vec![("scan", Pass, 2, None)], false),
        (ENDPOINT, true, None, vec![("scan", Pass, 2, None)], true),
    ] {
        let shown = format!("{production} {keyed} {recorded:?} {attached:?}");
        let (pipeline, world) = observed(production, keyed, recorded, Some(&attached));
        let (name, now) = (production_name(), second_of(2));
        let told = evidence(&pipeline, &world, &name, &release(1), now);
        let holds = told.iter().map(|it| it.weighed == Weighed::Holds);
        assert_eq!(holds.collect::<Vec<_>>(), [is_enough], "{shown}");
        let step = write(1, Cause::Automation);
        let expected = if is_enough { vec![] } else { vec!["I1"] };
        assert_eq!(
            check_world(&pipeline, &world, step, now),
            expected,
            "{shown}"
        );
    }
}

/// What is said of a proposal waits for what may be attached, as long as that decides anything.
#[test]
fn what_is_proposed_is_known_once_it_was_asked_about() {
    use EvidenceResult::{Fail, Pass};
    for (recorded, attached, known) in [
        (None, None, false),
        (None, Some(vec![]), true),
        (None, Some(vec![("scan", Fail, 0, None)]), true),
        (Some(Pass), None, true),
        (Some(Fail), None, true),
    ] {
        let (pipeline, world) = observed(RULE, false, recorded, attached.as_deref());
        let is_known = is_known(&pipeline, &world, &production_name(), second_of(2));
        assert_eq!(is_known, known, "{recorded:?} {attached:?}");
    }
}
