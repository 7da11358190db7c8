//! What a forge's protection means for us: whether a gate holds against ourselves, whether our own pushes are
//! refused, whether required checks can ever succeed. Pure: it judges what forges told.

use super::{Level, Said};
use crate::forge::{Binds, Check, PROVEN, Protection, Reported, Rights, Rule, RuleKind};
use crate::model::{Gate, MergeMethod};

/// An environment's branch, and what is done there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Branch {
    /// What its changes wait for.
    pub(super) gate: Gate,
    /// Whether rollbacks are written past the gate.
    pub(super) direct: bool,
    /// Whether we sign commits.
    pub(super) signs: bool,
    /// How requests are merged by themselves.
    pub(super) auto_merge: Option<MergeMethod>,
}

impl Branch {
    /// What its protection means.
    pub(super) fn judge(&self, us: &Rights, protection: &Protection) -> Vec<Said> {
        let mut said = match self.gate {
            Gate::None => self.open(protection),
            Gate::Branch | Gate::PullRequest => self.gated(us, protection),
        };
        said.extend(untold(protection));
        said
    }

    /// A branch without a gate, or one that rollbacks are written to: every rule that binds us is in the way.
    fn open(&self, protection: &Protection) -> Vec<Said> {
        let is_in_the_way = |kind: &RuleKind| match kind {
            RuleKind::Signed => !self.signs,
            RuleKind::Checks { pushes, .. } => *pushes,
            kind => is_door(kind),
        };
        let mut said = refusals(protection, is_in_the_way, "Towpath's pushes");
        if said.is_empty() {
            said.push(Said::new(Level::Ok, "lets Towpath push"));
        }
        said.extend(others(protection));
        said
    }

    fn gated(&self, us: &Rights, protection: &Protection) -> Vec<Said> {
        let mut said = Vec::new();
        if self.direct {
            said.extend(self.open(protection));
        } else {
            said.push(self.door(protection));
            if us.admin {
                let what = "Towpath administers the repository: whoever has its credential can take the protection away";
                said.push(Said::new(Level::Warning, what).or("give it the role `write`"));
            }
        }
        for rule in binding(protection) {
            let source = &rule.source;
            match &rule.kind {
                RuleKind::Locked => said.push(Said::new(
                    Level::Error,
                    format!("{source} locks it: nothing can be merged"),
                )),
                RuleKind::Signed if !self.signs && !self.direct => {
                    let what = format!(
                        "{source} wants signed commits, and Towpath's are not: its proposals cannot be merged as they are"
                    );
                    said.push(Said::new(Level::Error, what).or(SIGN));
                }
                RuleKind::Linear if self.auto_merge == Some(MergeMethod::Merge) => {
                    let what = format!(
                        "{source} allows no merge commits, and requests are to merge by one"
                    );
                    let instead = "write `auto-merge: squash` or `rebase`";
                    said.push(Said::new(Level::Error, what).or(instead));
                }
                _ => {}
            }
        }
        said
    }

    /// Whether the gate holds against ourselves: one rule that binds us is enough.
    fn door(&self, protection: &Protection) -> Said {
        let doors: Vec<&Rule> = protection
            .rules
            .iter()
            .filter(|it| is_door(&it.kind))
            .collect();
        let instead = match self.gate {
            Gate::PullRequest => "let its protection ask for pull requests, of everybody",
            _ => "let its protection say who may push to it, without Towpath",
        };
        if let Some(rule) = doors.iter().find(|it| it.binds == Binds::Yes) {
            let approvals = doors.iter().filter_map(|it| match it.kind {
                RuleKind::Requests { approvals } => Some(approvals),
                _ => None,
            });
            let is_merged_by_few = doors
                .iter()
                .any(|it| it.kind == RuleKind::Few && it.binds == Binds::Yes);
            return match (approvals.max(), is_merged_by_few) {
                (Some(0), false) if self.gate == Gate::PullRequest => {
                    let what = "no approval is asked for: whoever may write there, Towpath too, may merge its requests";
                    Said::new(Level::Warning, what).or("ask for one approval")
                }
                (approvals, _) => {
                    let with = match approvals {
                        None | Some(0) => String::new(),
                        Some(1) => " and one approval".to_owned(),
                        Some(number) => format!(" and {number} approvals"),
                    };
                    let what = format!("{} asks for {}{with}", rule.source, asked(&rule.kind));
                    Said::new(Level::Ok, what)
                }
            };
        }
        let why: Vec<&str> = doors
            .iter()
            .filter_map(|it| match &it.binds {
                Binds::Untold(why) => Some(why.as_str()),
                _ => None,
            })
            .collect();
        if let Some(why) = why.first() {
            return Said::new(Level::Unknown, *why);
        }
        let free: Vec<String> = doors
            .iter()
            .filter_map(|it| match &it.binds {
                Binds::No(why) => Some(why.clone()),
                _ => None,
            })
            .collect();
        let what = match free.is_empty() {
            true => "the gate does not hold: nothing keeps Towpath, or whoever may push, from changing it without a merged request"
                .to_owned(),
            false => format!("the gate does not bind Towpath itself: {}", free.join("; ")),
        };
        Said::new(Level::Error, what).or(instead)
    }
}

const SIGN: &str = "write `commit: { sign: … }` in towpath.yaml, with a key that the forge knows as Towpath's; on GitHub \
     `commit: { via: github-api }` in `forges` will do, too";

/// The branch of a proposal: it is made, rewritten in place, and deleted in the end.
pub(super) fn proposal(signs: bool, protection: &Protection) -> Vec<Said> {
    let is_in_the_way = |kind: &RuleKind| match kind {
        RuleKind::Signed => !signs,
        RuleKind::Checks { pushes, .. } => *pushes,
        RuleKind::NoRewrite | RuleKind::NoDeletion | RuleKind::NoCreation => true,
        kind => is_door(kind),
    };
    let mut said = refusals(protection, is_in_the_way, "Towpath's proposals");
    said.extend(untold(protection));
    said
}

/// A deployment's tag: it is made, and deleted where only the newest are kept.
pub(super) fn tag(signs: bool, deleted: bool, protection: &Protection) -> Vec<Said> {
    let is_in_the_way = |kind: &RuleKind| match kind {
        RuleKind::Signed => !signs,
        RuleKind::NoCreation => true,
        RuleKind::NoDeletion => deleted,
        // Tags are made, and never moved.
        RuleKind::Few => false,
        kind => is_door(kind),
    };
    let mut said = refusals(protection, is_in_the_way, "Towpath's tags");
    said.extend(untold(protection));
    said
}

/// Whether required checks can succeed: ours because Towpath reports it, others because somebody does.
pub(super) fn checks(
    gate: Gate,
    us: &Rights,
    protection: &Protection,
    reported: Option<&Reported>,
) -> Vec<Said> {
    let required = protection.rules.iter().filter_map(|rule| match &rule.kind {
        RuleKind::Checks { checks, .. } => Some(checks.iter().map(move |it| (rule, it))),
        _ => None,
    });
    let required = required.flatten();
    required
        .filter_map(|(rule, check)| match check.is_ours() {
            true => ours(gate, us, rule, check),
            false => reported.and_then(|it| others_check(rule, check, it)),
        })
        .collect()
}

fn ours(gate: Gate, us: &Rights, rule: &Rule, check: &Check) -> Option<Said> {
    let source = &rule.source;
    if gate != Gate::PullRequest {
        let what =
            format!("{source} requires `{PROVEN}`, which Towpath sets on pull requests alone");
        let instead = "require it where `gate: pull-request` is set, and nowhere else";
        return Some(Said::new(Level::Error, what).or(instead));
    }
    let bound = check.app?;
    if us.app == Some(bound) {
        return None;
    }
    let we_are = match us.app {
        Some(app) => format!("App {app}"),
        None => "no App".to_owned(),
    };
    let what = format!(
        "{source} requires `{PROVEN}` from App {bound}, and Towpath is {we_are}: nothing can be merged"
    );
    Some(Said::new(Level::Error, what).or("require it from Towpath's own App, or from any source"))
}

fn others_check(rule: &Rule, check: &Check, reported: &Reported) -> Option<Said> {
    if reported.contexts.iter().any(|it| check.is_met_by(it)) {
        return None;
    }
    let context = &check.context;
    let source = &rule.source;
    Some(match (&reported.untold, reported.requests) {
        (Some(why), _) => {
            let what = format!(
                "whether anybody reports the required check `{context}` is not known: {why}"
            );
            Said::new(Level::Unknown, what)
        }
        (None, 0) => {
            let what = format!(
                "whether anybody reports the required check `{context}` is not known: there was no request yet"
            );
            Said::new(Level::Unknown, what)
        }
        (None, number) => {
            let what = format!(
                "{source} requires the check `{context}`, which nobody reported on the last {number} requests: nothing can be merged"
            );
            Said::new(Level::Error, what).or("let something report it, or do not require it")
        }
    })
}

/// Whether a rule keeps changes from being pushed.
fn is_door(kind: &RuleKind) -> bool {
    matches!(
        kind,
        RuleKind::Requests { .. } | RuleKind::Queue | RuleKind::Few | RuleKind::Locked
    )
}

fn binding(protection: &Protection) -> impl Iterator<Item = &Rule> {
    protection.rules.iter().filter(|it| it.binds == Binds::Yes)
}

/// The rules in the way of what we do, and those of which it is not known.
fn refusals(
    protection: &Protection,
    is_in_the_way: impl Fn(&RuleKind) -> bool,
    whose: &str,
) -> Vec<Said> {
    let rules = protection.rules.iter().filter(|it| is_in_the_way(&it.kind));
    let say = |rule: &Rule| {
        let (source, asks) = (&rule.source, asked(&rule.kind));
        let instead = match rule.kind {
            RuleKind::Signed => SIGN,
            _ => "let the rule leave Towpath out",
        };
        match &rule.binds {
            Binds::No(_) => None,
            Binds::Yes => {
                let what = format!("{source} asks for {asks}: {whose} are refused");
                Some(Said::new(Level::Error, what).or(instead))
            }
            Binds::Untold(why) => {
                let what = format!("{source} asks for {asks}, which may refuse {whose}: {why}");
                Some(Said::new(Level::Unknown, what))
            }
        }
    };
    rules.filter_map(say).collect()
}

/// Rules in a forge's own words.
fn others(protection: &Protection) -> Vec<Said> {
    let say = |rule: &Rule| match &rule.kind {
        RuleKind::Other(what) => {
            let what = format!(
                "whether our commits pass {} ({what}) is not known",
                rule.source
            );
            Some(Said::new(Level::Unknown, what))
        }
        _ => None,
    };
    binding(protection).filter_map(say).collect()
}

fn untold(protection: &Protection) -> impl Iterator<Item = Said> {
    let untold = protection.untold.iter();
    untold.map(|why| Said::new(Level::Unknown, why.as_str()))
}

fn asked(kind: &RuleKind) -> String {
    match kind {
        RuleKind::Requests { .. } => "pull requests".to_owned(),
        RuleKind::Queue => "a merge queue".to_owned(),
        RuleKind::Checks { checks, .. } => {
            let names: Vec<String> = checks
                .iter()
                .map(|it| format!("`{}`", it.context))
                .collect();
            format!("the checks {}", names.join(", "))
        }
        RuleKind::Few => "pushes by some alone".to_owned(),
        RuleKind::Locked => "no changes at all".to_owned(),
        RuleKind::Signed => "signed commits".to_owned(),
        RuleKind::Linear => "no merge commits".to_owned(),
        RuleKind::NoRewrite => "history that is not rewritten".to_owned(),
        RuleKind::NoDeletion => "no deletion".to_owned(),
        RuleKind::NoCreation => "nothing new".to_owned(),
        RuleKind::Other(what) => what.clone(),
    }
}

#[cfg(test)]
mod tests;
