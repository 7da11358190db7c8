//! Whether forges let us do what the configuration asks for, and what their protection means for us.

use std::collections::{BTreeMap, BTreeSet};

use super::gate::{self, Branch};
use super::{Infra, Level, Question, Said, needs_forge};
use crate::cli::setup::Setup;
use crate::config::CommitVia;
use crate::forge::{ForgeError, May, Protection, Rights, RuleKind, SharedReadForge, Work};
use crate::model::{
    ApplicationName, Environment, ForgeKind, Gate, KeepTags, RepositoryUrl, Rollback,
    proposal_branch, scratch_branch,
};

/// What is asked of the forge of an infra repository.
pub(super) fn infra<'a>(
    setup: &'a Setup,
    (_, forge): &'a (ForgeKind, SharedReadForge),
    infra: &'a Infra<'_>,
) -> Question<'a> {
    Question::new("forge", forge.name(), async move {
        let mut environments = infra.environments.iter();
        let needed = environments.any(|(it, _)| needs_forge(setup, it));
        let rights = match forge.rights().await {
            Ok(rights) => rights,
            // It would only have told more.
            Err(ForgeError::Denied { reason, .. }) if !needed => {
                let what = format!("what protects it is not known: {reason}");
                return vec![Said::new(Level::Unknown, what)];
            }
            Err(error) => return vec![Said::new(Level::Error, error.to_string())],
        };
        let mut said = may(&rights, &works(setup, infra));
        let branches = infra.environments.iter().map(|(environment, application)| {
            let commits = Commits {
                elsewhere: setup.forge_settings(infra.url).commit == CommitVia::GitHubApi,
                signed: setup.config.settings.commit.sign.is_some(),
            };
            branch(forge, &rights, (environment, application), commits)
        });
        let branches = futures_util::future::join_all(branches).await;
        let mut known = BTreeSet::new();
        for one in branches.into_iter().flatten() {
            // Environments of one branch say the same.
            if known.insert(one.what.clone()) {
                said.push(one);
            }
        }
        said
    })
}

/// Where application commits get deployments.
pub(super) fn sources<'a>(
    setup: &'a Setup,
    forges: &'a BTreeMap<RepositoryUrl, (ForgeKind, SharedReadForge)>,
) -> Vec<Question<'a>> {
    let ask = |url: &'a RepositoryUrl| {
        let (_, forge) = forges.get(url)?;
        let shows = setup.forge_settings(url).deployments;
        shows.then(|| {
            Question::new("forge", forge.name(), async move {
                match forge.rights().await {
                    Ok(rights) => may(&rights, &[Work::Deployments]),
                    Err(error) => vec![Said::new(Level::Error, error.to_string())],
                }
            })
        })
    };
    super::sources(setup).into_iter().filter_map(ask).collect()
}

/// What is done in a repository beside git.
fn works(setup: &Setup, infra: &Infra<'_>) -> Vec<Work> {
    let mut works = BTreeSet::new();
    for (environment, _) in &infra.environments {
        if environment.gate == Gate::PullRequest {
            works.extend([Work::Requests, Work::Statuses]);
        } else if needs_forge(setup, environment) {
            works.insert(Work::Statuses);
        }
    }
    works.into_iter().collect()
}

fn may(us: &Rights, works: &[Work]) -> Vec<Said> {
    let mut said = Vec::new();
    if us.archived {
        said.push(Said::new(
            Level::Error,
            "it is archived: nothing can be written",
        ));
    }
    let who = us.login.as_deref().unwrap_or("somebody it does not name");
    let mut allowed = Vec::new();
    for work in works {
        match us.may.get(work) {
            Some(May::Yes) => allowed.push(name(*work)),
            Some(May::No(lacking)) => {
                let what = format!(
                    "Towpath may not write {} there as {who}: it lacks {lacking}",
                    name(*work)
                );
                said.push(Said::new(Level::Error, what));
            }
            Some(May::Untold(why)) => {
                let what = format!(
                    "whether Towpath may write {} there as {who} is not known: {why}",
                    name(*work)
                );
                said.push(Said::new(Level::Unknown, what));
            }
            None => {}
        }
    }
    if !allowed.is_empty() {
        let what = format!("Towpath may write {} there as {who}", allowed.join(" and "));
        said.insert(0, Said::new(Level::Ok, what));
    }
    said
}

fn name(work: Work) -> &'static str {
    match work {
        Work::Contents => "commits",
        Work::Requests => "requests",
        Work::Statuses => "statuses",
        Work::Deployments => "deployments",
    }
}

/// How commits come about.
#[derive(Clone, Copy)]
struct Commits {
    /// GitHub makes them, and signs them.
    elsewhere: bool,
    /// We sign them.
    signed: bool,
}

/// What protects an environment's branch, its proposals and its tags.
async fn branch(
    forge: &SharedReadForge,
    us: &Rights,
    (environment, application): (&Environment, &ApplicationName),
    commits: Commits,
) -> Vec<Said> {
    let is_gated = environment.gate != Gate::None;
    let signs = commits.signed || commits.elsewhere;
    let mut said = Vec::new();
    let branch = format!("refs/heads/{}", environment.branch);
    match forge.protection(&branch, us).await {
        Ok(protection) => {
            let means = Branch {
                gate: environment.gate,
                direct: environment.rollback == Rollback::Direct,
                signs,
                auto_merge: environment.request.auto_merge,
            };
            said.extend(means.judge(us, &protection));
            let reported = match has_others(&protection) && is_gated {
                true => match forge.reported(&environment.branch).await {
                    Ok(reported) => Some(reported),
                    Err(error) => {
                        said.push(Said::new(Level::Unknown, error.to_string()));
                        None
                    }
                },
                false => None,
            };
            let checks = gate::checks(environment.gate, us, &protection, reported.as_ref());
            said.extend(checks);
        }
        Err(error) => said.push(Said::new(Level::Unknown, error.to_string())),
    }
    let mut said: Vec<Said> = said
        .into_iter()
        .map(|it| of(&environment.branch, it))
        .collect();
    let proposal = || proposal_branch(&environment.name, application);
    let scratch = || scratch_branch(&environment.name, application);
    let ours = [is_gated.then(proposal), commits.elsewhere.then(scratch)];
    for ours in ours.into_iter().flatten() {
        let reference = format!("refs/heads/{ours}");
        let found = forge.protection(&reference, us).await;
        let found = found.map(|it| gate::proposal(signs, &it));
        said.extend(told(found).map(|it| of(&ours, it)));
    }
    let tags = &environment.tags;
    if tags.keep != KeepTags::None {
        let tag = tags.name(1);
        let reference = format!("refs/tags/{tag}");
        let found = forge.protection(&reference, us).await;
        let deleted = matches!(tags.keep, KeepTags::Newest(_));
        let found = found.map(|it| gate::tag(signs, deleted, &it));
        said.extend(told(found).map(|it| of(&tag, it)));
    }
    said
}

fn told(found: Result<Vec<Said>, ForgeError>) -> impl Iterator<Item = Said> {
    let said = found.unwrap_or_else(|error| vec![Said::new(Level::Unknown, error.to_string())]);
    said.into_iter()
}

/// Whether checks are required that others report.
fn has_others(protection: &Protection) -> bool {
    protection.rules.iter().any(|rule| match &rule.kind {
        RuleKind::Checks { checks, .. } => checks.iter().any(|it| !it.is_ours()),
        _ => false,
    })
}

fn of(reference: &str, said: Said) -> Said {
    Said {
        what: format!("`{reference}`: {}", said.what),
        ..said
    }
}
