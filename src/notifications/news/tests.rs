//! What is news, and what is a step on the way.

use super::*;
use crate::model::{CommitId, Contents, Digest, ImageVersion, Images, Rank};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + second).unwrap()
}

fn commit(digit: char) -> CommitId {
    digit.to_string().repeat(40).parse().unwrap()
}

fn release(name: &str) -> Release {
    let images = [(
        "registry.example.com/acme/shop".parse().unwrap(),
        ImageVersion {
            digest: Digest::of(name.as_bytes()),
            tag: Some(name.to_owned()),
        },
    )];
    Release::from(Contents {
        images: Images::from_iter(images),
        name: name.to_owned(),
        commit: None,
        rank: Rank {
            version: None,
            built: at(0),
        },
    })
}

fn record(second: i64, statement: Statement) -> Record {
    Record {
        at: at(second),
        environment: "production".parse().unwrap(),
        application: Some("shop".parse().unwrap()),
        by: crate::model::record::TOWPATH.to_owned(),
        commit: commit('a'),
        statement,
    }
}

fn deployment(number: u64, cause: Cause) -> Statement {
    Statement::Deployment {
        number,
        release: Some(release("v1.4.0")),
        state: Digest::of(b"state"),
        cause,
    }
}

fn verdict(number: u64, verdict: Verdict) -> Statement {
    Statement::Verdict {
        number,
        release: Some(release("v1.4.0")),
        state: Digest::of(b"state"),
        verdict,
    }
}

fn healthy() -> Verdict {
    Verdict::Healthy { exercised: true }
}

fn failed() -> Verdict {
    Verdict::Failed {
        reason: "ImagePullBackOff".to_owned(),
        applied: true,
    }
}

fn proposed(name: &str, digit: char) -> Statement {
    Statement::Proposed {
        release: release(name),
        proposal: commit(digit),
    }
}

fn told(records: Vec<Record>, is_gated: bool) -> Vec<News> {
    let known = |_: &ApplicationName| {
        let records = UnitRecords::default();
        Ok::<_, ()>(Known { records, is_gated })
    };
    of_records(records, known).unwrap()
}

#[test]
fn decisions_are_told_and_steps_are_not() {
    use Occasion::{Declined, Failed, Healthy, Proposed, Ungated};
    let cases: [(&str, bool, Vec<Statement>, &[Occasion]); 9] = [
        (
            "a proposal made anew on another base is no news, another release is",
            true,
            vec![
                proposed("v1.4.0", 'b'),
                proposed("v1.4.0", 'c'),
                proposed("v1.5.0", 'd'),
            ],
            &[Proposed, Proposed],
        ),
        (
            "healthy where a gate stands",
            true,
            vec![deployment(2, Cause::Merge), verdict(2, healthy())],
            &[Healthy],
        ),
        (
            "healthy where none does",
            false,
            vec![deployment(2, Cause::Automation), verdict(2, healthy())],
            &[],
        ),
        (
            "failed anywhere",
            false,
            vec![deployment(2, Cause::Automation), verdict(2, failed())],
            &[Failed],
        ),
        (
            "what was there before Towpath",
            true,
            vec![deployment(1, Cause::Baseline), verdict(1, healthy())],
            &[],
        ),
        (
            "the first verdict counts",
            true,
            vec![
                deployment(2, Cause::Merge),
                verdict(2, healthy()),
                verdict(2, failed()),
            ],
            &[Healthy],
        ),
        (
            "asked for again",
            true,
            vec![
                deployment(2, Cause::Merge),
                verdict(2, failed()),
                Statement::Retried {
                    release: release("v1.4.0"),
                },
                verdict(2, healthy()),
            ],
            &[Failed, Healthy],
        ),
        (
            "superseded",
            true,
            vec![deployment(2, Cause::Merge), verdict(2, Verdict::Superseded)],
            &[],
        ),
        (
            "what people did",
            true,
            vec![
                Statement::Declined {
                    release: release("v1.4.0"),
                },
                Statement::Ungated { release: None },
                Statement::Adopted { release: None },
            ],
            &[Declined, Ungated],
        ),
    ];
    for (case, is_gated, statements, expected) in cases {
        let records = statements.into_iter().zip(1..);
        let records = records.map(|(statement, second)| record(second, statement));
        let news = told(records.collect(), is_gated);
        let occasions: Vec<Occasion> = news.iter().map(|news| news.occasion).collect();
        assert_eq!(occasions, expected, "{case}");
        let keys: std::collections::BTreeSet<&String> = news.iter().map(|it| &it.key).collect();
        assert_eq!(keys.len(), news.len(), "{case}: {keys:?}");
    }
}

#[test]
fn the_whole_environment_s_are_told_without_an_application() {
    let mut records = Vec::new();
    for (second, statement) in [
        Statement::Frozen {
            reason: "holidays".to_owned(),
            until: None,
        },
        Statement::Thawed {
            reason: String::new(),
        },
    ]
    .into_iter()
    .enumerate()
    {
        records.push(Record {
            application: None,
            by: "ann@example.com".to_owned(),
            ..record(i64::try_from(second).unwrap(), statement)
        });
    }
    let news = told(records.clone(), true);
    let shown = news
        .iter()
        .map(|it| (it.occasion, it.reason.as_deref(), it.by.as_deref()));
    let by = Some("ann@example.com");
    assert_eq!(
        shown.collect::<Vec<_>>(),
        [
            (Occasion::Frozen, Some("holidays"), by),
            (Occasion::Thawed, None, by)
        ]
    );
    assert_eq!(
        news[0].key,
        "production/*/frozen/aaaaaaa/1767225600000000000"
    );
    assert_eq!(
        told(records, true),
        news,
        "whoever reads the same says the same"
    );
}
