//! `towpath teams`: who is in the teams that `authority` names, by the forge and by the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;
use serde::Serialize;

use super::files::replace;
use super::forges::KnownForge;
use super::setup::Setup;
use super::{Output, exit};
use crate::config::{Location, files, teams};
use crate::forge::teams::{Difference, differences};
use crate::forge::{ForgeError, SharedReadForge};
use crate::model::{Member, RepositoryUrl, TeamName};

/// See who is in the teams that may let something move, or bring them into the configuration
///
/// Environments name teams of their forge in `authority`. Who is in one is asked here, and nowhere else: what counts is
/// what `teams.yaml` lists, which `--write` makes of what the forge says. Commit it, and have it reviewed.
///
/// Exit code 5 where the forge says otherwise than the file. Nothing is written without `--write`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write `teams.yaml` into the configuration's folder
    #[arg(long)]
    write: bool,

    /// How the answer is written
    #[arg(short, long, value_name = "FORM", default_value = "table")]
    output: Output,
}

/// A team that environments name.
pub(super) struct Named {
    /// Its name.
    pub(super) team: TeamName,
    /// Where it is asked about; `None`: no environment that names it has a forge.
    pub(super) forge: Option<SharedReadForge>,
}

/// What a forge says of a team.
pub(super) struct Found {
    /// Who is in it, in the order of their accounts.
    pub(super) members: Vec<Member>,
    /// Keys that cannot be used, and people who have none.
    pub(super) unusable: Vec<String>,
    /// How that differs from what the configuration lists.
    pub(super) differences: Vec<Difference>,
}

#[derive(Debug, Serialize)]
struct TeamView {
    team: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    forge: Option<String>,
    members: Vec<MemberView>,
    differences: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unusable: Vec<String>,
}

#[derive(Debug, Serialize)]
struct MemberView {
    who: String,
    also: Vec<String>,
    login: Option<String>,
    /// Fingerprints.
    keys: Vec<String>,
}

impl From<&Member> for MemberView {
    fn from(member: &Member) -> Self {
        Self {
            who: member.who.clone(),
            also: member.also.clone(),
            login: member.login.clone(),
            keys: member.keys.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Asks, and writes the answer.
///
/// # Errors
/// No environment names a team, a forge does not tell, or the file cannot be written.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let named = named(setup, &setup.known_forges()?)?;
    if named.is_empty() {
        bail!(
            "no environment names a team: write `authority: [{{ team: acme/releasers }}]` in environment.yaml (docs/records.md)"
        );
    }
    let folder = match (&setup.location, args.write) {
        (Location::Folder(folder), true) => Some(folder),
        (Location::Git { .. }, true) => {
            bail!(
                "`--write` needs the configuration in a folder: clone its repository, and commit there"
            )
        }
        (_, false) => None,
    };
    let mut listed = BTreeMap::new();
    let (mut views, mut differs) = (Vec::new(), false);
    let asked = join_all(named.iter().map(|it| found(setup, it))).await;
    for (one, found) in named.iter().zip(asked) {
        let found = found.with_context(|| format!("who is in {} is not known", one.team))?;
        differs |= !found.differences.is_empty();
        listed.insert(one.team.clone(), found.members.clone());
        views.push(TeamView {
            team: one.team.to_string(),
            forge: one.forge.as_ref().map(|it| it.name().to_owned()),
            members: found.members.iter().map(MemberView::from).collect(),
            differences: found.differences.iter().map(ToString::to_string).collect(),
            unusable: found.unusable,
        });
    }
    match args.output {
        Output::Table => views.iter().try_for_each(|view| in_lines(view, out))?,
        form => form.write(&views, out)?,
    }
    let Some(folder) = folder else {
        return Ok(if differs { exit::DIFFERS } else { exit::OK });
    };
    match write(folder, &listed)? {
        true => writeln!(err, "{} is written: commit it", files::TEAMS)?,
        false => writeln!(err, "{} says the same", files::TEAMS)?,
    }
    Ok(exit::OK)
}

/// The teams that environments name, each with the forge of one that has one.
///
/// # Errors
/// Two environments mean teams of different forges by one name.
pub(super) fn named(
    setup: &Setup,
    forges: &BTreeMap<RepositoryUrl, KnownForge>,
) -> Result<Vec<Named>> {
    let mut named = BTreeMap::<TeamName, Option<SharedReadForge>>::new();
    let mut hosts = BTreeMap::<TeamName, BTreeSet<String>>::new();
    let pipelines = setup.config.pipelines.iter();
    for environment in pipelines.flat_map(|it| &it.environments) {
        let forge = forges.get(&environment.repository).map(|(_, forge)| forge);
        for team in &environment.authority.teams {
            let known = named.entry(team.clone()).or_default();
            *known = known.take().or_else(|| forge.cloned());
            let host = environment.repository.host().filter(|_| forge.is_some());
            let all = hosts.entry(team.clone()).or_default();
            all.extend(host.map(str::to_owned));
            if all.len() > 1 {
                let all: Vec<&str> = all.iter().map(String::as_str).collect();
                bail!(
                    "{team} is named where the forge is another each time ({}): one file cannot say who is in both",
                    all.join(", ")
                );
            }
        }
    }
    let named = named.into_iter();
    Ok(named.map(|(team, forge)| Named { team, forge }).collect())
}

/// What its forge says of a team. What no forge tells of is as it is listed.
///
/// # Errors
/// The forge's.
pub(super) async fn found(
    setup: &Setup,
    Named { team, forge }: &Named,
) -> Result<Found, ForgeError> {
    let listed = setup.config.teams.get(team).map_or(&[][..], Vec::as_slice);
    let Some(forge) = forge else {
        return Ok(Found {
            members: listed.to_vec(),
            unusable: Vec::new(),
            differences: Vec::new(),
        });
    };
    let (mut members, mut unusable) = (Vec::new(), Vec::new());
    for account in forge.members(team).await? {
        let (member, why) = account.member();
        members.push(member);
        unusable.extend(why);
    }
    members.sort_by(|a, b| a.login.cmp(&b.login));
    Ok(Found {
        differences: differences(listed, &members),
        members,
        unusable,
    })
}

fn in_lines(view: &TeamView, out: &mut dyn Write) -> Result<()> {
    match &view.forge {
        Some(forge) => writeln!(out, "{}, of {forge}", view.team)?,
        None => writeln!(
            out,
            "{}, which no forge tells of: as it is listed",
            view.team
        )?,
    }
    for member in &view.members {
        let names: Vec<&str> = std::iter::once(&member.who)
            .chain(&member.also)
            .map(String::as_str)
            .collect();
        let login = member.login.as_deref().unwrap_or("-");
        writeln!(out, "  {login}: {}", names.join(", "))?;
        for key in &member.keys {
            writeln!(out, "    {key}")?;
        }
    }
    for told in view.differences.iter().chain(&view.unusable) {
        writeln!(out, "  ! {told}")?;
    }
    Ok(())
}

/// Writes the file, unless it says the same already; whether it did. What cannot be read back is not written.
fn write(folder: &Path, teams: &BTreeMap<TeamName, Vec<Member>>) -> Result<bool> {
    let text = teams::written(teams)?;
    teams::read_back(&text)?;
    let path = folder.join(files::TEAMS);
    if std::fs::read_to_string(&path).is_ok_and(|it| it == text) {
        return Ok(false);
    }
    let written = match path.exists() {
        true => replace(&path, &text),
        false => std::fs::write(&path, &text),
    };
    written.with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(true)
}
