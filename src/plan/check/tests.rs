//! Each invariant broken once: the lint must say so, and say nothing of the sound step beside it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::config::Config;
use crate::manifest::{ImageFields, parse};
use crate::model::record::{Promoted, Record, Statement, Verdict};
use crate::model::{CommitId, Contents, Digest, EvidenceResult, Finding, ImageVersion, Rank};
use crate::plan::edit::{Directory, Layers};
use crate::plan::{
    Apply, Change, Desired, Infra, Learned, Live, Observed, PlannedOn, Propose, UnitPlan, UnitView,
    Write,
};

const REPOSITORY: &str = "registry.example.com/acme/shop";

pub(in crate::plan) fn pipeline(production: &str) -> Pipeline {
    let files = [
        (
            "applications/shop.yaml",
            format!(
                "applications:\n  - name: shop\n    images: [ {{ repository: {REPOSITORY}, release-tag: '{{tag}}' }} ]\n    environments: [qa, production]\n"
            ),
        ),
        (
            "qa/environment.yaml",
            "repository: { url: https://git.example.com/qa }\nmanifests: [k]\ncluster: { simulated: {} }\nfollow: { tags: '*' }\n".to_owned(),
        ),
        (
            "production/environment.yaml",
            format!(
                "repository: {{ url: https://git.example.com/production }}\nmanifests: [k]\ncluster: {{ simulated: {{}} }}\nfollow: {{ environment: qa }}\n{production}\n"
            ),
        ),
    ];
    let files = files.map(|(path, text)| (PathBuf::from(path), text.into_bytes()));
    Pipeline::clone(&Config::parse(&files).unwrap().pipelines[0])
}

pub(in crate::plan) fn release(minor: u8) -> Release {
    let image = ImageVersion {
        tag: Some(format!("v1.{minor}.0")),
        digest: Digest::of(&[minor]),
    };
    Release::from(Contents {
        name: format!("v1.{minor}.0"),
        images: [(REPOSITORY.parse().unwrap(), image)].into(),
        rank: Rank {
            version: Some(semver::Version::new(1, minor.into(), 0)),
            built: Timestamp::UNIX_EPOCH,
        },
        commit: None,
    })
}

pub(in crate::plan) fn finding(name: &str, result: EvidenceResult) -> Finding {
    Finding {
        name: name.parse().unwrap(),
        result,
        scores: [].into(),
        link: None,
    }
}

pub(in crate::plan) fn second_of(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(in crate::plan) fn commit() -> CommitId {
    "11".repeat(20).parse().unwrap()
}

pub(super) fn state() -> Digest {
    Digest::of(b"state")
}

fn fold(statements: Vec<Statement>) -> UnitRecords {
    let record = |statement| Record {
        at: Timestamp::UNIX_EPOCH,
        environment: "qa".parse().unwrap(),
        application: None,
        by: "towpath".to_owned(),
        commit: commit(),
        statement,
    };
    UnitRecords::fold(statements.into_iter().map(record))
}

pub(in crate::plan) fn ran(number: u64, minor: u8, verdict: Verdict) -> Vec<Statement> {
    let release = Some(release(minor));
    vec![
        Statement::Deployment {
            number,
            release: release.clone(),
            state: state(),
            cause: Cause::Automation,
        },
        Statement::Verdict {
            number,
            release,
            state: state(),
            verdict,
        },
    ]
}

pub(in crate::plan) const HEALTHY: Verdict = Verdict::Healthy { exercised: true };

pub(in crate::plan) fn failed() -> Verdict {
    Verdict::Failed {
        reason: "it crashed".to_owned(),
        applied: true,
    }
}

pub(in crate::plan) fn desired(minor: u8) -> Desired {
    let digest = Digest::of(&[minor]);
    let text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{ name: shop }}\nspec: {{ containers: [ {{ name: a, image: '{REPOSITORY}@{digest}' }} ] }}\n"
    );
    let fields = ImageFields::default();
    let file = parse("k/pod.yaml", text.as_bytes(), &fields).unwrap();
    let layers = Layers {
        directories: vec![Directory::new(
            "k".to_owned(),
            vec![(commit().0, Arc::new(file))],
            None,
        )],
        patches: Arc::default(),
        namespace: "default".to_owned(),
        fields: Arc::new(fields),
        access: None,
    };
    let rendered = Arc::new(layers.render().unwrap());
    Desired {
        layers: Arc::new(layers),
        rendered,
    }
}

fn view(records: Result<UnitRecords, String>, live: Option<Live>) -> UnitView {
    let infra = Infra {
        head: commit(),
        head_since: Timestamp::UNIX_EPOCH,
        went_back: false,
        records_head: None,
        standing: Arc::default(),
        records: records.map(Arc::new),
        unlanded: None,
        desired: Ok(desired(0)),
        changed: None,
        proposal: None,
        behind: Arc::default(),
    };
    let at = Timestamp::UNIX_EPOCH;
    UnitView {
        infra: Observed::Seen {
            value: Arc::new(infra),
            at,
        },
        request: Observed::Seen { value: None, at },
        live: live.map(|live| Observed::Seen {
            value: Arc::new(live),
            at,
        }),
        learned: Learned::default(),
    }
}

pub(in crate::plan) fn planned_on() -> PlannedOn {
    PlannedOn {
        head: commit(),
        records: None,
        proposal: None,
    }
}

pub(in crate::plan) fn write(minor: u8, cause: Cause) -> Step {
    Step::Write(Write {
        release: release(minor),
        files: Vec::new(),
        state: state(),
        cause,
        asked: false,
        from: "qa".to_owned(),
        records: Vec::new(),
        planned_on: planned_on(),
    })
}

pub(in crate::plan) fn propose(minor: u8) -> Step {
    Step::Propose(Propose {
        release: release(minor),
        instead_of: None,
        files: Vec::new(),
        onto: commit(),
        from: "qa".to_owned(),
        planned_on: planned_on(),
    })
}

pub(super) fn apply(minor: u8) -> Step {
    let rendered = desired(minor).rendered;
    let change = Change {
        reference: rendered.objects[0].reference.clone(),
        version: None,
        hash: rendered.objects[0].hash(),
        anew: false,
    };
    Step::Apply(Apply {
        number: 1,
        asked_at: Timestamp::UNIX_EPOCH,
        commit: commit(),
        release: Some(release(minor)),
        rendered,
        change: vec![change],
        later: Vec::new(),
        prune: Vec::new(),
    })
}

/// The invariants that the step would break in production.
pub(super) fn check_step(
    production: &str,
    upstream: Vec<Statement>,
    here: Result<Vec<Statement>, String>,
    step: Step,
) -> Vec<&'static str> {
    check_live(production, upstream, here, None, step)
}

/// The same beside what the cluster runs.
pub(super) fn check_live(
    production: &str,
    upstream: Vec<Statement>,
    here: Result<Vec<Statement>, String>,
    live: Option<Live>,
    step: Step,
) -> Vec<&'static str> {
    let world = world(upstream, here, live);
    check_world(&pipeline(production), &world, step, Timestamp::UNIX_EPOCH)
}

pub(in crate::plan) fn world(
    upstream: Vec<Statement>,
    here: Result<Vec<Statement>, String>,
    live: Option<Live>,
) -> World {
    World {
        catalogue: Observed::Seen {
            value: Arc::default(),
            at: Timestamp::UNIX_EPOCH,
        },
        resolved: std::collections::BTreeMap::new(),
        attached: std::collections::BTreeMap::new(),
        units: [
            ("qa".parse().unwrap(), view(Ok(fold(upstream)), None)),
            ("production".parse().unwrap(), view(here.map(fold), live)),
        ]
        .into(),
    }
}

/// The invariants that the step would break in production of this pipeline at that moment.
pub(super) fn check_world(
    pipeline: &Pipeline,
    world: &World,
    step: Step,
    now: Timestamp,
) -> Vec<&'static str> {
    let plan = Plan {
        application: pipeline.application.name.clone(),
        units: vec![UnitPlan {
            environment: "production".parse().unwrap(),
            release: None,
            number: None,
            decision: Decision::Step(Box::new(step)),
            frozen: None,
            notes: Vec::new(),
        }],
    };
    let findings = check(pipeline, world, &plan, now);
    assert!(findings.iter().all(|it| !it.detail.is_empty()));
    findings.into_iter().map(|it| it.invariant).collect()
}

#[test]
fn a_step_that_breaks_an_invariant_is_found() {
    let proven = || ran(1, 1, HEALTHY);
    let running = || ran(1, 0, HEALTHY);
    let open = "";
    let gated = "gate: branch";
    let direct = "gate: branch\non-failure: rollback\nrollback: direct";
    let automation = Cause::Automation;

    // What is sound.
    assert!(check_step(open, proven(), Ok(running()), write(1, automation)).is_empty());
    assert!(check_step(gated, proven(), Ok(running()), propose(1)).is_empty());
    assert!(check_step(open, proven(), Ok(running()), apply(0)).is_empty());

    // I1: nothing is proven upstream, it failed there, or it was taken back.
    assert_eq!(
        check_step(open, vec![], Ok(running()), write(1, automation)),
        ["I1"]
    );
    let upstream = ran(1, 1, failed());
    assert_eq!(
        check_step(gated, upstream, Ok(running()), propose(1)),
        ["I1"]
    );
    let mut upstream = proven();
    upstream.push(Statement::Withdrawn {
        release: release(1),
        proposal: None,
        reason: "a person went back".to_owned(),
    });
    assert_eq!(
        check_step(gated, upstream, Ok(running()), propose(1)),
        ["I1"]
    );

    // What a person forced goes on without a proof, that release alone.
    let forced = |minor| {
        let mut here = running();
        here.push(Statement::Promoted(Promoted {
            release: release(minor),
            reason: "it cannot wait".to_owned(),
            unproven: true,
            during_freeze: false,
            not_before: None,
        }));
        here
    };
    assert!(check_step(open, vec![], Ok(forced(1)), write(1, automation)).is_empty());
    assert!(check_step(gated, vec![], Ok(forced(1)), propose(1)).is_empty());
    assert_eq!(check_step(gated, vec![], Ok(forced(2)), propose(1)), ["I1"]);
    assert_eq!(
        check_step(gated, vec![], Ok(forced(1)), write(1, automation)),
        ["I2"]
    );

    // Evidence: none, another image's, one that does not hold; what is forced or gone back to needs none.
    let ruled = "evidence: [{ rule: scan.high == 0 }]";
    let found = |minor: u8, high| Statement::Evidence {
        digest: Digest::of(&[minor]),
        finding: Finding {
            scores: [("high".parse().unwrap(), high)].into(),
            ..finding("scan", EvidenceResult::Pass)
        },
    };
    for (said, broken) in [
        (vec![], vec!["I1"]),
        (vec![found(2, 0.0)], vec!["I1"]),
        (vec![found(1, 0.0), found(1, 1.0)], vec!["I1"]),
        (vec![found(1, 1.0), found(1, 0.0)], vec![]),
    ] {
        let here = || Ok([running(), said.clone()].concat());
        let gated = format!("gate: branch\n{ruled}");
        assert_eq!(check_step(&gated, proven(), here(), propose(1)), broken);
        let open = check_step(ruled, proven(), here(), write(1, automation));
        assert_eq!(open, broken);
    }
    assert!(check_step(ruled, vec![], Ok(forced(1)), write(1, automation)).is_empty());
    let mut here = running();
    here.extend(ran(2, 1, failed()));
    let back = format!("{direct}\n{ruled}");
    let step = write(0, Cause::Rollback);
    assert!(check_step(&back, proven(), Ok(here), step).is_empty());

    // I2: past the gate; going back is allowed where it is direct.
    assert_eq!(
        check_step(gated, proven(), Ok(running()), write(1, automation)),
        ["I2"]
    );
    let mut here = running();
    here.extend(ran(2, 1, failed()));
    let back = write(0, Cause::Rollback);
    assert!(check_step(direct, proven(), Ok(here.clone()), back.clone()).is_empty());
    let through_the_gate = "gate: branch\non-failure: rollback";
    assert_eq!(
        check_step(through_the_gate, proven(), Ok(here), back),
        ["I2"]
    );

    // I3: an older one, without a failure.
    let here = ran(1, 2, HEALTHY);
    assert_eq!(
        check_step(open, proven(), Ok(here.clone()), write(1, automation)),
        ["I3"]
    );
    assert_eq!(check_step(gated, proven(), Ok(here), propose(1)), ["I3"]);

    // I4: it failed here with this state.
    let mut here = ran(1, 1, failed());
    here.extend(ran(2, 0, Verdict::Superseded));
    assert_eq!(
        check_step(open, proven(), Ok(here), write(1, automation)),
        ["I4"]
    );

    // I5: over a pin, under a hold.
    let mut here = running();
    here.push(Statement::Pinned {
        release: None,
        over: None,
        serves: None,
        reason: "a person".to_owned(),
    });
    assert_eq!(
        check_step(open, proven(), Ok(here), write(1, automation)),
        ["I5"]
    );
    let mut here = running();
    here.push(Statement::Held {
        reason: "a person".to_owned(),
        until: None,
    });
    assert_eq!(check_step(open, proven(), Ok(here), apply(0)), ["I5"]);

    // I6: other digests than were recorded; records that were not read.
    assert_eq!(check_step(open, proven(), Ok(running()), apply(1)), ["I6"]);
    let unread = Err("line 1".to_owned());
    assert_eq!(check_step(open, proven(), unread, apply(0)), ["I6"]);
}

/// What ran here before, was chosen or failed excuses a step in its own case alone.
#[test]
fn what_is_excused_is_excused_in_its_case_alone() {
    let proven = || ran(1, 1, HEALTHY);
    let then = |first: Vec<Statement>, second: Vec<Statement>| Ok([first, second].concat());
    let pinned_on = |minor| {
        vec![Statement::Pinned {
            release: Some(release(minor)),
            over: None,
            serves: None,
            reason: "a person".to_owned(),
        }]
    };
    let automation = |minor| write(minor, Cause::Automation);
    let back = |minor| write(minor, Cause::Rollback);
    let ruled = "evidence: [{ rule: scan.high == 0 }]";
    let returns = "on-failure: rollback";
    let gated = "gate: branch\non-failure: rollback";

    // Once healthy here is no proof for what does not go back, and no evidence.
    let here = || then(ran(1, 1, HEALTHY), ran(2, 0, HEALTHY));
    assert_eq!(check_step("", vec![], here(), automation(1)), ["I1"]);
    assert_eq!(check_step(ruled, proven(), here(), automation(1)), ["I1"]);
    // Chosen alone is no evidence; chosen and once healthy here needs none.
    let here = || then(ran(1, 0, HEALTHY), pinned_on(1));
    assert_eq!(check_step(ruled, proven(), here(), automation(1)), ["I1"]);
    let here = [ran(1, 1, HEALTHY), ran(2, 0, HEALTHY), pinned_on(1)].concat();
    assert!(check_step(ruled, proven(), Ok(here), automation(1)).is_empty());

    // Only a rollback goes back after a failure, and only where failures are answered so.
    let here = || then(ran(1, 1, HEALTHY), ran(2, 2, HEALTHY));
    assert_eq!(check_step(returns, proven(), here(), automation(1)), ["I3"]);
    assert_eq!(check_step("", proven(), here(), back(1)), ["I3"]);
    assert!(check_step(returns, proven(), here(), back(1)).is_empty());

    // A proposal goes back after a failure or to what was chosen, to what was healthy here.
    let neither = check_step(gated, vec![], here(), propose(1));
    assert_eq!(neither, ["I1", "I3"]);
    let failed_here = || then(ran(1, 0, HEALTHY), ran(2, 1, failed()));
    assert!(check_step(gated, vec![], failed_here(), propose(0)).is_empty());
    let here = [ran(1, 1, HEALTHY), ran(2, 2, HEALTHY), pinned_on(1)].concat();
    assert!(check_step("gate: branch", vec![], Ok(here), propose(1)).is_empty());
    let never_healthy = then(ran(1, 2, failed()), pinned_on(1));
    assert_eq!(check_step(gated, vec![], never_healthy, propose(1)), ["I1"]);
}

#[test]
fn an_apply_that_only_deletes_is_a_prune() {
    let Step::Apply(mut apply) = apply(1) else {
        unreachable!("it applies");
    };
    assert_eq!(Step::Apply(apply.clone()).kind(), "apply");
    apply.change.clear();
    assert_eq!(Step::Apply(apply).kind(), "prune");
}
