//! What follows from rules, a case each: what is done on a branch, what protects it, and what is said.

use super::*;

const US: &str = "we";

/// Levels, and a part of the words.
type Wanted = &'static [(Level, &'static str)];

fn us(app: Option<u64>, admin: bool) -> Rights {
    Rights {
        login: Some(US.to_owned()),
        app,
        admin,
        archived: false,
        may: std::collections::BTreeMap::new(),
    }
}

fn branch(gate: Gate) -> Branch {
    Branch {
        gate,
        direct: false,
        signs: false,
        auto_merge: None,
    }
}

fn rule(kind: RuleKind, binds: &str) -> Rule {
    Rule {
        kind,
        source: "protection".to_owned(),
        binds: match binds {
            "yes" => Binds::Yes,
            "no" => Binds::No("it names us".to_owned()),
            _ => Binds::Untold("nobody tells".to_owned()),
        },
    }
}

fn protection(rules: Vec<Rule>) -> Protection {
    Protection {
        rules,
        untold: Vec::new(),
    }
}

fn requests(approvals: u64) -> RuleKind {
    RuleKind::Requests { approvals }
}

fn required(context: &str, app: Option<u64>, pushes: bool) -> RuleKind {
    let checks = vec![Check {
        context: context.to_owned(),
        app,
    }];
    RuleKind::Checks { checks, pushes }
}

/// `level: beginning of the words` of what is said.
fn check(case: &str, said: &[Said], wanted: &[(Level, &str)]) {
    let found: Vec<(Level, &str)> = said.iter().map(|it| (it.level, it.what.as_str())).collect();
    let fits = |((level, what), (wanted, part)): (&(Level, &str), &(Level, &str))| {
        level == wanted && what.contains(part)
    };
    let all = found.len() == wanted.len() && found.iter().zip(wanted).all(fits);
    assert!(all, "{case}: {found:#?}");
}

#[test]
fn a_gate_holds_where_one_rule_binds_us() {
    use Level::{Error, Ok, Unknown, Warning};
    let cases: [(&str, Vec<Rule>, bool, Wanted); 12] = [
        (
            "nothing",
            vec![],
            false,
            &[(Error, "the gate does not hold")],
        ),
        (
            "requests",
            vec![rule(requests(2), "yes")],
            false,
            &[(Ok, "protection asks for pull requests and 2 approvals")],
        ),
        (
            "no approval",
            vec![rule(requests(0), "yes")],
            false,
            &[(Warning, "no approval is asked for")],
        ),
        (
            "no approval, merged by others",
            vec![rule(requests(0), "yes"), rule(RuleKind::Few, "yes")],
            false,
            &[(Ok, "pull requests")],
        ),
        (
            "we are named",
            vec![rule(requests(1), "no")],
            false,
            &[(Error, "does not bind Towpath itself: it names us")],
        ),
        (
            "one of two lets us pass",
            vec![rule(requests(1), "no"), rule(requests(1), "yes")],
            false,
            &[(Ok, "and one approval")],
        ),
        (
            "nobody tells",
            vec![rule(requests(1), "untold")],
            false,
            &[(Unknown, "nobody tells")],
        ),
        (
            "checks alone are no gate",
            vec![rule(required("build", None, true), "yes")],
            false,
            &[(Error, "the gate does not hold")],
        ),
        (
            "we administer",
            vec![rule(requests(1), "yes")],
            true,
            &[(Ok, "one approval"), (Warning, "administers")],
        ),
        (
            "locked",
            vec![rule(RuleKind::Locked, "yes")],
            false,
            &[(Ok, "no changes at all"), (Error, "locks it")],
        ),
        (
            "signed",
            vec![rule(requests(1), "yes"), rule(RuleKind::Signed, "yes")],
            false,
            &[(Ok, "one approval"), (Error, "wants signed commits")],
        ),
        (
            "linear, merged by a person",
            vec![rule(requests(1), "yes"), rule(RuleKind::Linear, "yes")],
            false,
            &[(Ok, "one approval")],
        ),
    ];
    for (case, rules, admin, wanted) in cases {
        let said = branch(Gate::PullRequest).judge(&us(None, admin), &protection(rules));
        check(case, &said, wanted);
    }
    let linear = vec![rule(requests(1), "yes"), rule(RuleKind::Linear, "yes")];
    let merges = Branch {
        auto_merge: Some(MergeMethod::Merge),
        ..branch(Gate::PullRequest)
    };
    let said = merges.judge(&us(None, false), &protection(linear));
    check(
        "linear, merged by itself",
        &said,
        &[(Ok, "one"), (Error, "no merge commits")],
    );
}

#[test]
fn what_refuses_our_pushes_is_told() {
    use Level::{Error, Ok, Unknown};
    let cases: [(&str, RuleKind, &str, Wanted); 10] = [
        (
            "requests",
            requests(1),
            "yes",
            &[(Error, "Towpath's pushes are refused")],
        ),
        (
            "requests, not ours",
            requests(1),
            "no",
            &[(Ok, "lets Towpath push")],
        ),
        (
            "requests, untold",
            requests(1),
            "untold",
            &[(Unknown, "may refuse")],
        ),
        (
            "a queue",
            RuleKind::Queue,
            "yes",
            &[(Error, "a merge queue")],
        ),
        (
            "signed",
            RuleKind::Signed,
            "yes",
            &[(Error, "signed commits")],
        ),
        (
            "checks",
            required("build", None, true),
            "yes",
            &[(Error, "the checks `build`")],
        ),
        (
            "checks of merges",
            required("build", None, false),
            "yes",
            &[(Ok, "lets")],
        ),
        ("not rewritten", RuleKind::NoRewrite, "yes", &[(Ok, "lets")]),
        ("linear", RuleKind::Linear, "yes", &[(Ok, "lets")]),
        (
            "its own words",
            RuleKind::Other("commit_message_pattern".to_owned()),
            "yes",
            &[(Ok, "lets"), (Unknown, "commit_message_pattern")],
        ),
    ];
    for (case, kind, binds, wanted) in cases {
        let protection = protection(vec![rule(kind, binds)]);
        let said = branch(Gate::None).judge(&us(None, false), &protection);
        check(case, &said, wanted);
        // The same is in the way of a rollback that is written past the gate.
        let direct = Branch {
            direct: true,
            ..branch(Gate::PullRequest)
        };
        let said = direct.judge(&us(None, false), &protection);
        check(case, &said, wanted);
    }
    let signs = Branch {
        signs: true,
        ..branch(Gate::None)
    };
    let signed = protection(vec![rule(RuleKind::Signed, "yes")]);
    check(
        "we sign",
        &signs.judge(&us(None, false), &signed),
        &[(Ok, "lets")],
    );
}

#[test]
fn proposals_are_rewritten_and_deleted_and_tags_made() {
    use Level::Error;
    for (kind, of_proposal, of_tag, of_kept_tag) in [
        (RuleKind::NoRewrite, true, false, false),
        (RuleKind::NoDeletion, true, true, false),
        (RuleKind::NoCreation, true, true, true),
        (RuleKind::Signed, true, true, true),
        (RuleKind::Linear, false, false, false),
        (requests(0), true, true, true),
    ] {
        let name = format!("{kind:?}");
        let protection = protection(vec![rule(kind, "yes")]);
        let errs = |said: Vec<Said>| said.iter().any(|it| it.level == Error);
        assert_eq!(errs(proposal(false, &protection)), of_proposal, "{name}");
        assert_eq!(errs(tag(false, true, &protection)), of_tag, "{name}");
        assert_eq!(errs(tag(false, false, &protection)), of_kept_tag, "{name}");
    }
}

#[test]
fn required_checks_must_be_reported_by_whom_they_are_bound_to() {
    use Level::{Error, Unknown};
    let reported = |requests: usize, contexts: &[&str], untold: Option<&str>| Reported {
        requests,
        contexts: contexts.iter().map(|&it| it.to_owned()).collect(),
        untold: untold.map(str::to_owned),
    };
    let pull_request = Gate::PullRequest;
    for (case, gate, context, bound, app, reported, wanted) in [
        (
            "ours, of anybody",
            pull_request,
            PROVEN,
            None,
            None,
            None,
            None,
        ),
        (
            "ours, of our App",
            pull_request,
            PROVEN,
            Some(7),
            Some(7),
            None,
            None,
        ),
        (
            "ours, of another",
            pull_request,
            PROVEN,
            Some(8),
            Some(7),
            None,
            Some((Error, "from App 8")),
        ),
        (
            "ours, by a token",
            pull_request,
            PROVEN,
            Some(8),
            None,
            None,
            Some((Error, "is no App")),
        ),
        (
            "ours, without requests",
            Gate::None,
            PROVEN,
            None,
            None,
            None,
            Some((Error, "pull requests alone")),
        ),
        (
            "reported",
            pull_request,
            "build",
            None,
            None,
            Some(reported(2, &["build"], None)),
            None,
        ),
        (
            "of a pattern",
            pull_request,
            "ci/*",
            None,
            None,
            Some(reported(2, &["ci/build"], None)),
            None,
        ),
        (
            "of nobody",
            pull_request,
            "build",
            None,
            None,
            Some(reported(2, &["lint"], None)),
            Some((Error, "nobody reported on the last 2 requests")),
        ),
        (
            "before the first request",
            pull_request,
            "build",
            None,
            None,
            Some(reported(0, &[], None)),
            Some((Unknown, "no request yet")),
        ),
        (
            "not to be read",
            pull_request,
            "build",
            None,
            None,
            Some(reported(2, &[], Some("checks: read"))),
            Some((Unknown, "checks: read")),
        ),
    ] {
        let protection = protection(vec![rule(required(context, bound, true), "yes")]);
        let said = checks(gate, &us(app, false), &protection, reported.as_ref());
        check(case, &said, wanted.as_slice());
    }
}
