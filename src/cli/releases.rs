//! `towpath releases`: every release of an application, and where it stands.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use comfy_table::{Table, presets};
use jiff::Timestamp;
use serde::Serialize;

use super::known::{self, Known, KnownRelease};
use super::setup::Setup;
use super::view::{self, ReleaseView};
use super::{Output, exit};
use crate::clock;
use crate::model::ApplicationName;
use crate::plan::{Stand, Word};

/// List an application's releases, the newest first, and where each one stands
///
/// A word for each environment: `proven`, `soaking`, `rolling out`, `running` (healthy where nobody follows),
/// `proposed`, `failed`, `superseded` (a newer one came before it was proven), `declined`, or `-` where it never came; a `*` marks
/// what runs there. Reads registries and the records in git; clusters are not asked. Where a registry does not
/// answer, what it alone knows is left out, and that is said on stderr.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The application; not needed where there is one
    application: Option<ApplicationName>,

    /// So many at most; 0 is all
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: usize,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// A release, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct KnownView {
    application: String,
    #[serde(flatten)]
    release: ReleaseView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    also: Vec<String>,
    built: Timestamp,
    /// By environment.
    environments: BTreeMap<String, StandView>,
}

/// Where it stands, as scripts read it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct StandView {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deployment: Option<u64>,
    /// Whether it is what runs there.
    runs: bool,
}

impl StandView {
    pub(super) fn of(stand: &Stand) -> Self {
        Self {
            state: stand.word.as_str(),
            reason: stand.why.clone(),
            deployment: stand.number,
            runs: stand.current,
        }
    }
}

/// Writes the answer.
///
/// # Errors
/// Names are unknown, the outside cannot be set up, or the writer's.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let now = clock::now();
    let pipeline = known::one(setup, args.application.as_ref())?;
    let known = Known::read(setup, &pipeline, now).await?;
    known.tell_unread(err)?;
    let limit = match args.limit {
        0 => usize::MAX,
        limit => limit,
    };
    let shown: Vec<_> = known.releases.iter().take(limit).collect();
    match args.output {
        Output::Table => table(&known, &shown, now, out)?,
        form => {
            let views: Vec<_> = shown.iter().map(|it| view(&known, it, now)).collect();
            form.write(&views, out)?;
        }
    }
    if args.output == Output::Table {
        let left_out = known.releases.len() - shown.len();
        if left_out > 0 {
            writeln!(
                err,
                "note: {left_out} older ones are left out: `--limit 0` lists all"
            )?;
        }
        for (name, missing) in &known.incomplete {
            let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
            writeln!(err, "note: {name} lacks an image: {}", missing.join(", "))?;
        }
    }
    Ok(exit::OK)
}

fn view(known: &Known, it: &KnownRelease, now: Timestamp) -> KnownView {
    let environments = known.pipeline.environments.iter().map(|environment| {
        let stand = known.stand(&environment.name, &it.release, now);
        (environment.name.to_string(), StandView::of(&stand))
    });
    KnownView {
        application: known.pipeline.application.name.to_string(),
        release: ReleaseView::of(&it.release),
        also: it.also.clone(),
        built: it.release.rank.built,
        environments: environments.collect(),
    }
}

fn table(
    known: &Known,
    shown: &[&KnownRelease],
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<()> {
    if shown.is_empty() {
        writeln!(out, "no release is known")?;
        return Ok(());
    }
    let environments = &known.pipeline.environments;
    let mut header = ["RELEASE", "DIGEST", "BUILT", "COMMIT"]
        .map(str::to_owned)
        .to_vec();
    header.extend(
        environments
            .iter()
            .map(|it| it.name.as_str().to_uppercase()),
    );
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for it in shown {
        let release = &it.release;
        let commit = release.commit.as_deref().map(short);
        let mut row = vec![
            it.names().collect::<Vec<_>>().join(", "),
            release.short_digest(),
            built(release.rank.built, now),
            commit.unwrap_or("–").to_owned(),
        ];
        for environment in environments {
            let stand = known.stand(&environment.name, release, now);
            row.push(word(&stand));
        }
        table.add_row(row);
    }
    writeln!(out, "{}", table.trim_fmt())?;
    Ok(())
}

/// How long ago it was built; images built reproducibly do not tell.
pub(super) fn built(at: Timestamp, now: Timestamp) -> String {
    match at == Timestamp::UNIX_EPOCH {
        true => "–".to_owned(),
        false => view::ago(at, now),
    }
}

/// A commit's first seven digits.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

/// The word in its colour, and a star where it runs.
pub(super) fn word(stand: &Stand) -> String {
    use anstyle::AnsiColor::{Cyan, Green, Red, Yellow};
    let style = match stand.word {
        Word::Proven | Word::Running => Green.on_default(),
        Word::Soaking | Word::RollingOut => Cyan.on_default(),
        Word::Proposed => Yellow.on_default(),
        Word::Failed | Word::Unknown => Red.on_default(),
        Word::Superseded | Word::Declined | Word::Nowhere => anstyle::Style::new(),
    };
    let star = if stand.current { " *" } else { "" };
    format!("{style}{}{style:#}{star}", stand.word)
}
