//! What stops a release, by where it stands and what was decided of the unit there.

use super::*;
use crate::model::record::{Cause, Verdict};
use crate::plan::check::tests::{
    commit, pipeline, planned_on, propose, ran, release, world, write,
};
use crate::plan::{Open, Scope, Withdraw};

/// The state and the sentence for a release in production, where v1.1.0 runs, and that was decided.
fn told(minor: u8, word: Word, decision: Decision) -> String {
    let now = Timestamp::UNIX_EPOCH;
    let (qa, production): (EnvironmentName, EnvironmentName) =
        ("qa".parse().unwrap(), "production".parse().unwrap());
    let pipeline = pipeline("gate: branch");
    let running = ran(1, 1, Verdict::Healthy { exercised: true });
    let world = world(
        ran(1, minor, Verdict::Healthy { exercised: true }),
        Ok(running),
        None,
    );
    let plan = Plan {
        application: pipeline.application.name.clone(),
        units: vec![UnitPlan {
            environment: production.clone(),
            release: Some(release(1)),
            number: Some(1),
            decision,
            frozen: None,
            notes: Vec::new(),
        }],
    };
    let stand = |word| Stand {
        word,
        why: Some("it crashed".to_owned()),
        number: None,
        current: false,
    };
    let stands = vec![(qa, stand(Word::Proven)), (production, stand(word))];
    let stopped = journey(&pipeline, &world, &plan, &release(minor), stands, now).stopped;
    stopped.map_or("nothing".to_owned(), |it| {
        format!("{}: {}", it.state, it.sentence)
    })
}

fn open(minor: u8) -> Step {
    Step::Open(Open {
        release: release(minor),
        instead_of: None,
        branch: "towpath/production/shop".to_owned(),
        head: commit(),
        base: "main".to_owned(),
    })
}

fn withdraw(minor: u8) -> Step {
    Step::Withdraw(Withdraw {
        release: release(minor),
        proposal: commit(),
        reason: "it lost its proof".to_owned(),
        keeps_branch: false,
        planned_on: planned_on(),
    })
}

#[test]
fn what_is_about_to_be_done_is_told_of_the_release_it_is_done_with() {
    for step in [
        write as fn(u8, Cause) -> Step,
        |minor, _| propose(minor),
        |minor, _| open(minor),
        |minor, _| withdraw(minor),
    ] {
        let step = |minor| Decision::Step(Box::new(step(minor, Cause::Automation)));
        let text = told(3, Word::Nowhere, step(3));
        assert!(text.starts_with("step: "), "{text}");
        let text = told(2, Word::Nowhere, step(3));
        let before = "not-there: v1.3.0 is newer and stands before v1.2.0: ";
        assert!(text.starts_with(before), "{text}");
        assert_eq!(
            told(2, Word::Failed, step(2)),
            "failed: v1.2.0 failed: it crashed"
        );
    }
    // What a person chose comes first, also where it is older.
    let chosen = Reason::Declined {
        release: release(1),
    };
    let text = told(2, Word::Nowhere, Decision::Waiting(Waiting::on(chosen)));
    let before = "not-there: v1.1.0 stands before v1.2.0: ";
    assert!(text.starts_with(before), "{text}");
    // An older one than what is there never comes, whatever is done.
    let step = Decision::Step(Box::new(write(3, Cause::Automation)));
    assert_eq!(
        told(0, Word::Nowhere, step),
        "not-there: v1.1.0 came before v1.0.0"
    );
}

#[test]
fn a_reason_is_told_of_the_releases_that_it_concerns() {
    let waiting = |reason| Decision::Waiting(Waiting::on(reason));
    let held = || {
        waiting(Reason::Held {
            reason: "an audit".to_owned(),
            by: "ann".to_owned(),
            scope: Scope::Unit,
            place: None,
        })
    };
    let frozen = |release| {
        let frozen = super::super::freeze::Frozen {
            reason: "a fair".to_owned(),
            by: "ann".to_owned(),
            since: Timestamp::UNIX_EPOCH,
            until: None,
            by_person: true,
        };
        waiting(Reason::Frozen { release, frozen })
    };
    let refused = || {
        waiting(Reason::Refused {
            reason: "no".to_owned(),
        })
    };
    for (minor, word, decision, state) in [
        (2, Word::Nowhere, held(), "held"),
        (2, Word::RollingOut, held(), "held"),
        (0, Word::Nowhere, held(), "not-there"),
        (2, Word::Failed, held(), "failed"),
        (2, Word::Nowhere, frozen(None), "frozen"),
        (2, Word::Nowhere, frozen(Some(release(2))), "frozen"),
        (2, Word::Nowhere, frozen(Some(release(3))), "not-there"),
        (1, Word::RollingOut, frozen(None), "converging"),
        (1, Word::Soaking, frozen(None), "soaking"),
        (1, Word::RollingOut, refused(), "refused"),
        (2, Word::Nowhere, refused(), "not-there"),
    ] {
        let about = format!("v1.{minor}.0, {word}");
        let text = told(minor, word, decision);
        assert_eq!(text.split(':').next(), Some(state), "{about}: {text}");
    }
}
