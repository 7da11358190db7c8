//! `towpath inventory`: every object that is Towpath's in a cluster. Writes nothing: it holds the
//! reading halves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use comfy_table::{Table, presets};
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::setup::Setup;
use super::{Output, exit, names};
use crate::clock;
use crate::cluster::{ClusterError, Member};
use crate::model::{EnvironmentName, Health};
use crate::observe::{Claims, Observatory, Outside};

/// List every object of the environments' sets, and what is to become of it
///
/// `managed` objects are applied, corrected and deleted by Towpath. `claimed` ones another unit asks for
/// than the one that has them: they are handed over to it, or stay as they are while both ask. `removed`
/// ones are of an application that is no longer configured for the environment: they are left running,
/// unless it says `prune: { removed: true }`. `kept` ones are never deleted. Of
/// `damaged` ones somebody changed the marks: nobody knows whose they are.
///
/// Asks the clusters, and the branches only for who claims what. Exit code 1 where a cluster cannot be
/// asked; the others are listed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this environment
    environment: Option<EnvironmentName>,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Writes the answer.
///
/// # Errors
/// Where the outside cannot be set up, a cluster cannot be asked, or the writer's.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let now = clock::now();
    let only: Vec<_> = args.environment.iter().cloned().collect();
    let environments = names::environments(setup, &only)?;
    let outside = setup.outside(&only)?;
    let clusters = environments
        .iter()
        .filter_map(|name| Some((name, outside.clusters.get(name)?)));
    let asked = clusters.map(|(name, cluster)| async move { (name, cluster.inventory(now).await) });
    let asked: Vec<(&EnvironmentName, Result<Vec<Member>, ClusterError>)> = join_all(asked).await;
    let (mut members, mut silent) = (Vec::new(), false);
    for (environment, answer) in asked {
        match answer {
            Ok(found) => members.extend(found.into_iter().map(|it| (environment, it))),
            Err(error) => {
                silent = true;
                writeln!(err, "{environment}: {error}")?;
            }
        }
    }
    members.sort_by(|a, b| (a.0, &a.1.reference).cmp(&(b.0, &b.1.reference)));
    let named = configured(setup);
    let claims = claims(setup, &outside, &members, now).await;
    let unreadable: BTreeSet<&str> = claims
        .values()
        .flat_map(|it| &it.unreadable)
        .map(String::as_str)
        .collect();
    if !unreadable.is_empty() {
        let units: Vec<&str> = unreadable.into_iter().collect();
        writeln!(
            err,
            "note: what these ask for cannot be read, so that none of it is shown as claimed: {}",
            units.join(", ")
        )?;
    }
    let views: Vec<_> = members
        .iter()
        .map(|(environment, member)| {
            let claims = claims.get(environment);
            let claim = claims.and_then(|claims| claims.by.get(&member.reference));
            MemberView::of(environment, member, claim, &named)
        })
        .collect();
    match args.output {
        Output::Table => table(&views, out)?,
        form => form.write(&views, out)?,
    }
    Ok(if silent { exit::ERROR } else { exit::OK })
}

/// Who asks for what, by environment.
async fn claims<'a>(
    setup: &Setup,
    outside: &Outside,
    members: &[(&'a EnvironmentName, Member)],
    now: Timestamp,
) -> BTreeMap<&'a EnvironmentName, Claims> {
    let pipelines = setup.pipelines();
    let observatory = Observatory::new(&pipelines, &pipelines, outside, now);
    let environments = pipelines.iter().flat_map(|pipeline| &pipeline.environments);
    let looked_at = environments.filter(|it| outside.clusters.contains_key(&it.name));
    let urls = looked_at.map(|it| &it.repository);
    observatory.read_infra(urls, now).await;
    let mut claims: BTreeMap<&EnvironmentName, Claims> = BTreeMap::new();
    for of in members.chunk_by(|a, b| a.0 == b.0) {
        let Some((environment, _)) = of.first() else {
            continue;
        };
        let marked = of.iter().filter_map(|(_, member)| {
            let mark = member.mark.as_ref()?;
            Some((&member.reference, (&mark.application, &mark.environment)))
        });
        let found = observatory.claims(environment, marked, now);
        claims.insert(environment, found);
    }
    claims
}

/// The applications that each environment is configured for.
fn configured(setup: &Setup) -> BTreeMap<&str, Vec<&str>> {
    let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for pipeline in &setup.config.pipelines {
        for environment in &pipeline.environments {
            let of = named.entry(environment.name.as_str()).or_default();
            of.push(pipeline.application.name.as_str());
        }
    }
    named
}

/// An object of a set, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct MemberView<'a> {
    environment: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    application: Option<&'a str>,
    kind: &'a str,
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    /// The commit where it last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    /// The hash of its manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
    /// `current`, `not-exercised`, `in-progress` or `failed`.
    health: &'static str,
    /// What the cluster says of its health.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    /// `managed`, `claimed`, `removed`, `kept` or `damaged`.
    state: &'static str,
    /// Why it is kept, or who asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip)]
    reference: String,
    #[serde(skip)]
    style: Style,
}

impl<'a> MemberView<'a> {
    fn of(
        environment: &'a EnvironmentName,
        member: &'a Member,
        claim: Option<&'a String>,
        configured: &BTreeMap<&str, Vec<&str>>,
    ) -> Self {
        let Member {
            reference,
            mark,
            health,
            kept,
            ..
        } = member;
        let mark = mark.as_ref();
        let application = mark.map(|mark| mark.application.as_str());
        let here = configured.get(environment.as_str());
        let is_configured =
            application.is_some_and(|name| here.is_some_and(|it| it.contains(&name)));
        let (health, style, message) = match health {
            Health::Current => ("current", AnsiColor::Green.on_default(), None),
            Health::NotExercised(message) => {
                ("not-exercised", AnsiColor::Cyan.on_default(), Some(message))
            }
            Health::InProgress(message) => {
                ("in-progress", AnsiColor::Yellow.on_default(), Some(message))
            }
            Health::Failed(message) => ("failed", AnsiColor::Red.on_default(), Some(message)),
        };
        let (state, reason) = match (claim, kept) {
            _ if mark.is_none() => ("damaged", None),
            (Some(unit), _) => ("claimed", Some(unit.as_str())),
            _ if !is_configured => ("removed", None),
            (None, Some(why)) => ("kept", Some(why.as_str())),
            (None, None) => ("managed", None),
        };
        Self {
            environment: environment.as_str(),
            application,
            kind: &reference.kind,
            group: &reference.group,
            namespace: reference.namespace.as_deref(),
            name: &reference.name,
            commit: mark.map(|mark| mark.commit.to_string()),
            hash: mark.map(|mark| mark.hash.to_string()),
            health,
            message: message.map(String::as_str),
            state,
            reason,
            reference: reference.to_string(),
            style,
        }
    }

    fn row(&self) -> [String; 7] {
        let style = self.style;
        let short = |text: &Option<String>, of: usize| {
            let text = text.as_deref().map(|it| it.trim_start_matches("sha256:"));
            text.map_or_else(|| "–".to_owned(), |it| it.chars().take(of).collect())
        };
        let health = match self.message {
            Some(message) => {
                // What the row is about need not be said again.
                let message = message.strip_prefix(&self.reference).unwrap_or(message);
                let message = message.trim_start_matches(": ");
                format!("{style}{}{style:#}: {message}", self.health)
            }
            None => format!("{style}{}{style:#}", self.health),
        };
        let state = match self.reason {
            Some(reason) if self.state == "claimed" => format!("claimed by {reason}"),
            Some(reason) => format!("{}: {reason}", self.state),
            None => self.state.to_owned(),
        };
        [
            self.environment.to_owned(),
            self.application.unwrap_or("–").to_owned(),
            self.reference.clone(),
            short(&self.commit, 7),
            short(&self.hash, 12),
            health,
            state,
        ]
    }
}

fn table(views: &[MemberView<'_>], out: &mut dyn Write) -> Result<()> {
    if views.is_empty() {
        writeln!(out, "no objects")?;
        return Ok(());
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header([
        "ENVIRONMENT",
        "APPLICATION",
        "OBJECT",
        "COMMIT",
        "HASH",
        "HEALTH",
        "STATE",
    ]);
    table.add_rows(views.iter().map(MemberView::row));
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}
