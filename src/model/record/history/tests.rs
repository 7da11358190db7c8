//! What is made of records: which deployment ended how, and what many of them come to.

use super::*;
use crate::model::{Contents, Digest, ImageVersion, Rank};

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Built at second 0.
fn release(minor: u8) -> Release {
    let image = ImageVersion {
        tag: None,
        digest: Digest::of(&[minor]),
    };
    Release::from(Contents {
        name: format!("v1.{minor}.0"),
        images: [("registry.example.com/acme/shop".parse().unwrap(), image)].into(),
        rank: Rank {
            version: None,
            built: Timestamp::UNIX_EPOCH,
        },
        commit: None,
    })
}

fn record(at: i64, application: &str, statement: Statement) -> Record {
    Record {
        at: second(at),
        environment: "qa".parse().unwrap(),
        application: Some(application.parse().unwrap()),
        by: "towpath".to_owned(),
        commit: "11".repeat(20).parse().unwrap(),
        statement,
    }
}

fn deployed(at: i64, application: &str, number: u64, cause: Cause) -> Record {
    let statement = Statement::Deployment {
        number,
        release: Some(release(1)),
        state: Digest::of(b"state"),
        cause,
    };
    record(at, application, statement)
}

fn judged(at: i64, application: &str, number: u64, verdict: Verdict) -> Record {
    let statement = Statement::Verdict {
        number,
        release: Some(release(1)),
        state: Digest::of(b"state"),
        verdict,
    };
    record(at, application, statement)
}

const HEALTHY: Verdict = Verdict::Healthy { exercised: true };

fn failed() -> Verdict {
    Verdict::Failed {
        reason: "it crashed".to_owned(),
        applied: true,
    }
}

#[test]
fn many_deployments_come_to_four_figures() {
    let happened = history([
        deployed(0, "shop", 1, Cause::Baseline),
        judged(1, "shop", 1, HEALTHY),
        deployed(10, "shop", 2, Cause::Automation),
        judged(20, "shop", 2, HEALTHY),
        // Broken from the first failure on, until the next that is healthy.
        deployed(30, "shop", 3, Cause::Automation),
        judged(40, "shop", 3, failed()),
        deployed(50, "shop", 4, Cause::Automation),
        judged(60, "shop", 4, failed()),
        // Another's health mends nothing.
        deployed(62, "cart", 1, Cause::Automation),
        judged(64, "cart", 1, HEALTHY),
        // To go back mends, and brings nothing new.
        deployed(70, "shop", 5, Cause::Rollback),
        judged(90, "shop", 5, HEALTHY),
        deployed(91, "shop", 6, Cause::Automation),
        deployed(92, "shop", 7, Cause::Automation),
        judged(93, "shop", 7, Verdict::Superseded),
    ]);
    assert_eq!(
        summary(&happened),
        Summary {
            healthy: 3,
            failed: 2,
            other: 2,
            lead_time: Some(SignedDuration::from_secs(64)),
            time_to_restore: Some(SignedDuration::from_secs(50)),
        }
    );
    let of = |application: &str| {
        let all = happened.iter().filter_map(Happening::application);
        all.filter(|it| it.as_str() == application).count()
    };
    assert_eq!((of("shop"), of("cart")), (7, 1));
}

#[test]
fn the_first_verdict_counts_unless_it_was_asked_for_again() {
    for (verdicts, last) in [
        (vec![HEALTHY, failed()], HEALTHY),
        (vec![failed(), HEALTHY], HEALTHY),
        (vec![failed(), failed(), HEALTHY, failed()], HEALTHY),
    ] {
        let mut records = vec![deployed(0, "shop", 1, Cause::Automation)];
        let judgements = (1..).zip(verdicts);
        records.extend(judgements.map(|(at, verdict)| judged(at, "shop", 1, verdict)));
        let past = deployments(records).remove(0);
        assert_eq!(past.judged.map(|it| it.verdict), Some(last));
    }
}

#[test]
fn a_problem_is_what_failed_or_was_noted_of() {
    let noted = |cause: Option<&str>, fix: Option<&str>| {
        let statement = Statement::Annotated {
            number: 1,
            cause: cause.map(str::to_owned),
            fix: fix.map(str::to_owned),
        };
        record(20, "shop", statement)
    };
    let told = |judgement: Verdict, notes: Vec<Record>| {
        let mut records = vec![deployed(0, "shop", 1, Cause::Automation)];
        records.push(judged(10, "shop", 1, judgement));
        records.extend(notes);
        let past = deployments(records).remove(0);
        let [cause, fix] = [past.cause_noted(), past.fix_noted()].map(|it| it.map(str::to_owned));
        (past.is_problem(), cause, fix)
    };
    assert_eq!(told(HEALTHY, vec![]), (false, None, None));
    assert_eq!(told(failed(), vec![]), (true, None, None));
    // What was noted last of each counts.
    let notes = vec![
        noted(Some("a guess"), Some("a restart")),
        noted(Some("a missing table"), None),
    ];
    assert_eq!(
        told(HEALTHY, notes),
        (
            true,
            Some("a missing table".to_owned()),
            Some("a restart".to_owned())
        )
    );
}
