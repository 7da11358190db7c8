//! The fold over random histories: leaving records out never changes what is true.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::FileFailurePersistence;

use super::*;
use crate::model::evidence::SCORES_MAX;
use crate::model::record::{InvalidRecord, NUMBER_MAX, Promoted, Statement};
use crate::model::{Contents, EvidenceResult, ImageVersion, Rank};

fn digest(seed: u8) -> Digest {
    Digest::of(&[seed])
}

fn release(minor: u8) -> Release {
    let image = ImageVersion {
        tag: minor.is_multiple_of(2).then(|| format!("v1.{minor}.0")),
        digest: digest(minor),
    };
    Release::from(Contents {
        name: format!("v1.{minor}.0"),
        images: [("registry.example.com/acme/shop".parse().unwrap(), image)].into(),
        rank: Rank {
            version: (!minor.is_multiple_of(3)).then(|| semver::Version::new(1, minor.into(), 0)),
            built: Timestamp::from_second(i64::from(minor)).unwrap(),
        },
        commit: (!minor.is_multiple_of(2)).then(|| "abc1234".to_owned()),
    })
}

fn commit(seed: u8) -> CommitId {
    format!("{seed:02x}").repeat(20).parse().unwrap()
}

fn releases() -> impl Strategy<Value = Release> {
    (0..4_u8).prop_map(release)
}

fn statements() -> impl Strategy<Value = Statement> {
    let maybe = || proptest::option::of(releases());
    let number = || 1..6_u64;
    let state = || (0..3_u8).prop_map(digest);
    let text = || "[a-z \"\\\\é]{0,6}";
    let cause = proptest::sample::select(vec![
        Cause::Baseline,
        Cause::Automation,
        Cause::Merge,
        Cause::Hand,
        Cause::Rollback,
    ]);
    let verdict = prop_oneof![
        proptest::bool::ANY.prop_map(|exercised| Verdict::Healthy { exercised }),
        (text(), proptest::bool::ANY)
            .prop_map(|(reason, applied)| Verdict::Failed { reason, applied }),
        Just(Verdict::Superseded),
    ];
    prop_oneof![
        1 => maybe().prop_map(|release| Statement::Adopted { release }),
        6 => (number(), maybe(), state(), cause).prop_map(|(number, release, state, cause)| {
            Statement::Deployment { number, release, state, cause }
        }),
        6 => (number(), maybe(), state(), verdict).prop_map(|(number, release, state, verdict)| {
            Statement::Verdict { number, release, state, verdict }
        }),
        2 => (number(), maybe(), text()).prop_map(|(number, release, reason)| {
            Statement::Degraded { number, release, reason }
        }),
        3 => (releases(), 0..4_u8).prop_map(|(release, proposal)| {
            Statement::Proposed { release, proposal: commit(proposal) }
        }),
        3 => (releases(), proptest::option::of(0..4_u8), text()).prop_map(
            |(release, proposal, reason)| {
                let proposal = proposal.map(commit);
                Statement::Withdrawn { release, proposal, reason }
            }
        ),
        2 => releases().prop_map(|release| Statement::Declined { release }),
        1 => (maybe(), maybe(), proptest::bool::ANY, text()).prop_map(
            |(release, over, serves, reason)| {
                let serves = serves.then(|| "production".parse().unwrap());
                Statement::Pinned { release, over, serves, reason }
            }
        ),
        1 => text().prop_map(|reason| Statement::Unpinned { reason }),
        1 => (text(), proptest::option::of(0..4_i64)).prop_map(|(reason, until)| {
            let until = until.map(|it| Timestamp::from_second(it).unwrap());
            Statement::Held { reason, until }
        }),
        1 => text().prop_map(|reason| Statement::Resumed { reason }),
        2 => releases().prop_map(|release| Statement::Retried { release }),
        2 => (releases(), text(), proptest::bool::ANY, proptest::bool::ANY).prop_map(
            |(release, reason, unproven, during_freeze)| {
                let not_before = during_freeze.then_some(Timestamp::UNIX_EPOCH);
                Statement::Promoted(Promoted { release, reason, unproven, during_freeze, not_before })
            }
        ),
        1 => text().prop_map(|reason| Statement::Frozen { reason, until: None }),
        1 => text().prop_map(|reason| Statement::Thawed { reason }),
        1 => maybe().prop_map(|release| Statement::Ungated { release }),
        2 => (number(), vec(taken(), 0..3)).prop_map(|(number, taken)| {
            Statement::Took { number, taken }
        }),
        1 => number().prop_map(|number| Statement::ApprovedPrune { number }),
        1 => state().prop_map(|state| Statement::ApprovedAdoption { state }),
        1 => (number(), proptest::option::of(text()), proptest::option::of(text())).prop_map(
            |(number, cause, fix)| Statement::Annotated { number, cause, fix }
        ),
        2 => (state(), 0..3_u8, proptest::bool::ANY, proptest::option::of(-1e6..1e6)).prop_map(
            |(digest, name, passes, score): (_, _, _, Option<f64>)| Statement::Evidence {
                digest,
                finding: Finding {
                    name: format!("name-{name}").parse().unwrap(),
                    result: if passes { EvidenceResult::Pass } else { EvidenceResult::Fail },
                    scores: score.map(|it| ("score".parse().unwrap(), it)).into_iter().collect(),
                    link: passes.then(|| "https://ci.example.com/1".parse().unwrap()),
                },
            }
        ),
    ]
}

fn taken() -> impl Strategy<Value = Taken> {
    (0..3_u8, 0..2_u8).prop_map(|(object, manager)| Taken {
        object: format!("ConfigMap default/{object}"),
        manager: format!("manager {manager}"),
        fields: vec![".data".to_owned()],
    })
}

/// Statements one second after another.
fn records(statements: Vec<Statement>) -> Vec<Record> {
    let record = |(index, statement): (usize, Statement)| Record {
        at: Timestamp::from_second(i64::try_from(index).unwrap()).unwrap(),
        environment: "qa".parse().unwrap(),
        application: (!index.is_multiple_of(7)).then(|| "shop".parse().unwrap()),
        by: ["towpath", "ann", "bob"][index % 3].to_owned(),
        commit: commit(u8::try_from(index % 5).unwrap()),
        statement,
    };
    statements.into_iter().enumerate().map(record).collect()
}

/// What is true, whatever it is told by.
fn truth(present: &UnitRecords) -> UnitRecords {
    UnitRecords {
        records: Vec::new(),
        ..present.clone()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Cases that once failed are tried first.
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/properties/present.txt"),
        ))),
        ..ProptestConfig::with_cases(200)
    })]

    #[test]
    fn what_is_left_out_changes_nothing(statements in vec(statements(), 0..40)) {
        let all = UnitRecords::fold(records(statements));
        let again = UnitRecords::fold(all.standing());
        prop_assert_eq!(truth(&again), truth(&all));
    }

    /// As it is written: a few records at a time, what is left out before is gone.
    #[test]
    fn leaving_out_as_we_go_changes_nothing(
        statements in vec(statements(), 0..60),
        step in 1..5_usize,
    ) {
        let records = records(statements);
        let mut kept = UnitRecords::default();
        for chunk in records.chunks(step) {
            chunk.iter().for_each(|record| kept.take(record.clone()));
            kept = UnitRecords::fold(kept.standing());
        }
        prop_assert_eq!(truth(&kept), truth(&UnitRecords::fold(records)));
    }

    #[test]
    fn a_line_reads_back_as_it_was_written(statements in vec(statements(), 1..10)) {
        for record in records(statements) {
            let line = record.to_line();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(Record::from_line(&line), Ok(record));
        }
    }
}

#[test]
fn what_is_kept_stays_short() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = vec(statements(), 400);
    for _ in 0..3 {
        let statements = strategy.new_tree(&mut runner).unwrap().current();
        let mut kept = UnitRecords::default();
        for record in records(statements) {
            kept.take(record);
            kept = UnitRecords::fold(kept.standing());
        }
        assert!(kept.records.len() < 80, "{}", kept.records.len());
    }
}

#[test]
fn what_this_version_cannot_read_is_refused() {
    let good = records(vec![Statement::Unpinned {
        reason: "x".to_owned(),
    }]);
    let good = good[0].to_line();
    // A field of a later minor version does no harm.
    let wider = good.replacen('{', "{\"colour\":\"red\",", 1);
    assert!(Record::from_line(&wider).is_ok());
    for (line, refused) in [
        (
            good.replacen("\"v\":1", "\"v\":2", 1),
            InvalidRecord::Version(2),
        ),
        (
            good.replacen("unpinned", "painted", 1),
            InvalidRecord::Unknown("painted".to_owned()),
        ),
        (
            good.replacen("unpinned", "deployment", 1),
            InvalidRecord::Malformed("`number` is missing".to_owned()),
        ),
        (
            good.replacen("unpinned", "declined", 1),
            InvalidRecord::Malformed("`release` is missing".to_owned()),
        ),
    ] {
        assert_eq!(Record::from_line(&line), Err(refused), "{line}");
    }
    for line in ["", "{", "[]", "null", "{\"v\":\"1\"}", "{\"v\":1}"] {
        let read = Record::from_line(line);
        assert!(matches!(read, Err(InvalidRecord::Malformed(_))), "{line}");
    }
    // Of a later version nothing but its number needs to be known.
    assert_eq!(
        Record::from_line("{\"v\":2}"),
        Err(InvalidRecord::Version(2))
    );
}

/// What is as high or as many as may be reads back; one more is refused.
#[test]
fn what_is_too_much_is_refused() {
    let read = |statement| {
        let record = records(vec![statement]).remove(0);
        Record::from_line(&record.to_line()).map(|it| assert_eq!(it, record))
    };
    let told = format!(
        "no deployment has the number {}: {NUMBER_MAX} is the highest",
        NUMBER_MAX + 1
    );
    let beyond = Err(InvalidRecord::Malformed(told));
    let approved = |number| read(Statement::ApprovedPrune { number });
    assert_eq!(approved(NUMBER_MAX), Ok(()));
    assert_eq!(approved(NUMBER_MAX + 1), beyond);
    let standing = |number| {
        let standing = Standing {
            number,
            ..Standing::default()
        };
        Standing::from_json(&standing.to_json()).map(|it| assert_eq!(it, standing))
    };
    assert_eq!(standing(NUMBER_MAX), Ok(()));
    assert_eq!(standing(NUMBER_MAX + 1), beyond);
    let scored = |count| {
        read(Statement::Evidence {
            digest: digest(0),
            finding: Finding {
                name: "scan".parse().unwrap(),
                result: EvidenceResult::Pass,
                scores: (0..count)
                    .map(|it| (format!("score-{it}").parse().unwrap(), 1.0))
                    .collect(),
                link: None,
            },
        })
    };
    assert_eq!(scored(SCORES_MAX), Ok(()));
    assert!(scored(SCORES_MAX + 1).is_err());
}

/// What one more record leaves of what was said before.
#[test]
fn a_record_ends_what_it_is_about_and_nothing_else() {
    let fold = |statements| UnitRecords::fold(records(statements));
    let declined = |minor| Statement::Declined {
        release: release(minor),
    };
    let names = |present: &UnitRecords| {
        let declined = present.declined.iter().map(|it| it.release.name.clone());
        declined.collect::<Vec<_>>()
    };
    let proposed = Statement::Proposed {
        release: release(1),
        proposal: commit(1),
    };
    let present = fold(vec![declined(1), declined(2), proposed]);
    assert_eq!(names(&present), ["v1.2.0"]);

    let deployment = |number, minor, state| Statement::Deployment {
        number,
        release: Some(release(minor)),
        state: digest(state),
        cause: Cause::Automation,
    };
    let verdict = |number, minor, verdict| Statement::Verdict {
        number,
        release: Some(release(minor)),
        state: digest(0),
        verdict,
    };
    let healthy = || Verdict::Healthy { exercised: true };
    let pinned = Statement::Pinned {
        release: Some(release(1)),
        over: None,
        serves: None,
        reason: String::new(),
    };
    // Of what is older only what is pinned, and does not run, stays declined.
    let ran = |minor| vec![deployment(1, minor, 0), verdict(1, minor, healthy())];
    for (ran, left) in [(ran(2), vec!["v1.1.0", "v1.5.0"]), (ran(1), vec!["v1.5.0"])] {
        let before = vec![declined(0), declined(1), declined(5), pinned.clone()];
        assert_eq!(names(&fold([before, ran].concat())), left);
    }

    // A spoiled run goes once the same release is healthy again; another's stays.
    let degraded = |number| Statement::Degraded {
        number,
        release: None,
        reason: "it crashed".to_owned(),
    };
    let runs = fold(vec![
        deployment(1, 1, 0),
        verdict(1, 1, healthy()),
        degraded(1),
        deployment(2, 2, 0),
        verdict(2, 2, healthy()),
        degraded(2),
        deployment(3, 1, 0),
        verdict(3, 1, healthy()),
    ]);
    let runs = runs.runs.iter().map(|it| (it.number, it.spoiled.is_some()));
    assert_eq!(runs.collect::<Vec<_>>(), [(2, true), (3, false)]);

    // A yes to a desired state stands for its deployment alone.
    for (state, stands) in [(1, true), (2, false)] {
        let approved = Statement::ApprovedAdoption { state: digest(1) };
        let present = fold(vec![approved, deployment(1, 1, state)]);
        assert_eq!(present.approved_adoption.is_some(), stands);
    }

    // What was taken is remembered once each, and not without end.
    let taken = |object: usize| Taken {
        object: format!("ConfigMap default/{object}"),
        manager: "kubectl".to_owned(),
        fields: Vec::new(),
    };
    let took = |number, all| Statement::Took { number, taken: all };
    let count = |statement| fold(vec![deployment(2, 1, 0), statement]).taken.len();
    assert_eq!(count(took(2, vec![taken(0), taken(1), taken(0)])), 2);
    assert_eq!(count(took(1, vec![taken(0)])), 0);
    let many: Vec<Taken> = (0..=TAKEN).map(taken).collect();
    assert_eq!(count(took(2, many)), TAKEN);
}
