//! `towpath check`: every mistake in the configuration, or what it says; with `--manifests`, every
//! mistake in directories of manifests.

pub mod manifests;
pub mod online;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;

use super::Output;
use crate::config::{Config, Problem, Problems, Severity, in_words};
use crate::model::{Admission, Environment, Follow, Gate, Pipeline};

/// Report every mistake in the configuration, or in manifests
///
/// Reads the configuration alone: no infra repository, registry or cluster is asked. Exit code 1 where there
/// is a mistake; warnings leave it at 0.
///
/// With --online it then asks everything that the configuration names, all at once, and writes nothing anywhere:
/// whether repositories can be read and written, registries read and forges used, whether clusters grant the
/// rights that `towpath rbac` prints, whether webhooks come; whether gates hold against Towpath itself, and
/// whether protection refuses what Towpath does or requires checks that nobody reports. A line each: `ok`,
/// `unknown` where nobody tells, `warning`, `error`. Exit code 1 where there is an error.
///
/// With --manifests it reads these directories instead, and no configuration: what an infra repository runs
/// before a change is merged. They are rendered as an environment renders them, and all that no cluster would
/// take is told with file and line: files that do not parse, objects that stand there twice, API versions
/// that are gone, objects too large to store, annotations and patches without effect. What is encrypted by
/// sops is looked at as far as it stands openly.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// Look at this directory of manifests instead; repeat it in the order of `manifests:`
    #[arg(long, value_name = "DIRECTORY")]
    pub manifests: Vec<PathBuf>,

    /// With --manifests: the directory of patches
    #[arg(long, value_name = "DIRECTORY", requires = "manifests")]
    pub patches: Option<PathBuf>,

    /// With --manifests: an image field of a custom resource, as in
    /// `Rollout.argoproj.io=/spec/template/spec/containers/*/image`
    #[arg(
        long = "image-field",
        value_name = "KIND.GROUP=PATH",
        requires = "manifests"
    )]
    pub image_fields: Vec<String>,

    /// Ask everything that the configuration names whether it works; write nothing
    #[arg(long, conflicts_with_all = ["manifests", "patches", "image_fields"])]
    pub online: bool,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Output,
}

impl Args {
    /// Whether manifests are looked at, and no configuration.
    pub fn is_of_manifests(&self) -> bool {
        !self.manifests.is_empty()
    }
}

/// Writes the answer for a configuration that was read. The exit code is 0 where it has no mistake,
/// else 1.
///
/// # Errors
/// The writer's.
pub fn run(
    args: &Args,
    configuration: &Result<Config, Problems>,
    out: &mut dyn Write,
) -> io::Result<u8> {
    match args.output {
        Output::Table => in_lines(configuration, out)?,
        Output::Json => writeln!(out, "{:#}", serde_json::json!(View::of(configuration)))?,
        Output::Yaml => {
            let text = serde_yaml::to_string(&View::of(configuration)).map_err(io::Error::other)?;
            out.write_all(text.as_bytes())?;
        }
    }
    Ok(u8::from(configuration.is_err()))
}

fn in_lines(configuration: &Result<Config, Problems>, out: &mut dyn Write) -> io::Result<()> {
    let config = match configuration {
        Ok(config) => config,
        Err(problems) => {
            writeln!(out, "{problems}\n")?;
            let errors = counted(problems.errors(), "problem");
            return match problems.warnings() {
                0 => writeln!(out, "{errors}"),
                warnings => writeln!(out, "{errors}, {}", counted(warnings, "warning")),
            };
        }
    };
    let applications = counted(config.pipelines.len(), "application");
    let environments = counted(config.environments.len(), "environment");
    writeln!(out, "{applications} in {environments}, no problems")?;
    // What most applications share is said once.
    let mut shapes: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
    for pipeline in &config.pipelines {
        let lines = lines(pipeline);
        let name = pipeline.application.name.as_str();
        match shapes.iter_mut().find(|(shape, _)| *shape == lines) {
            Some((_, names)) => names.push(name),
            None => shapes.push((lines, vec![name])),
        }
    }
    for (lines, names) in shapes {
        writeln!(out, "\n{}", first_of(&names))?;
        for line in lines {
            writeln!(out, "  {line}")?;
        }
    }
    let notes = notes(config);
    if !(config.warnings.is_empty() && notes.is_empty()) {
        writeln!(out)?;
    }
    for warning in &config.warnings {
        writeln!(out, "{warning}")?;
    }
    for note in notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// What holds beyond the pipelines and should be known.
fn notes(config: &Config) -> Vec<String> {
    let open = config.settings.webhooks.iter();
    let open = open.filter(|(_, admission)| matches!(admission, Admission::Unauthenticated));
    let open: Vec<_> = open.map(|(sender, _)| format!("`{sender}`")).collect();
    let mut notes: Vec<String> = trusting(config).into_iter().collect();
    if !open.is_empty() {
        notes.push(format!(
            "webhooks of {} are taken without authentication: whoever reaches the address can have sources looked at again",
            open.join(", ")
        ));
    }
    notes
}

/// Where nobody is asked for a signature.
fn trusting(config: &Config) -> Option<String> {
    let environments = config.pipelines.iter().flat_map(|it| &it.environments);
    let open = environments.filter(|it| it.authority.is_open());
    let open: BTreeSet<&str> = open.map(|it| it.name.as_str()).collect();
    let open: Vec<&str> = open.into_iter().collect();
    (!open.is_empty()).then(|| {
        format!(
            "no keys are listed in {}: everyone who can push to the infra repository is trusted to let releases go on there (`authority`, docs/records.md)",
            first_of(&open)
        )
    })
}

/// The first few names, and how many more there are.
fn first_of(names: &[&str]) -> String {
    const SHOWN: usize = 8;
    let (shown, more) = names.split_at(names.len().min(SHOWN));
    match more.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// So many of them, in words.
pub(super) fn counted(number: usize, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        number => format!("{number} {noun}s"),
    }
}

fn lines(pipeline: &Pipeline) -> Vec<String> {
    let width = pipeline
        .environments
        .iter()
        .map(|environment| environment.name.as_str().len())
        .max();
    pipeline
        .environments
        .iter()
        .map(|environment| {
            let width = width.unwrap_or_default();
            format!("{:width$}  {}", environment.name, taken(environment))
        })
        .collect()
}

/// Where an environment's releases come from and what they wait for.
fn taken(environment: &Environment) -> String {
    let from = match &environment.follow {
        Follow::Branches(filter) => format!("branches {filter}"),
        Follow::Tags(range) => format!("tags {range}"),
        Follow::Environments { all, soak } => {
            let names: Vec<&str> = all.iter().map(|name| name.as_str()).collect();
            let soak = match soak.is_zero() {
                true => String::new(),
                false => format!(" for {}", in_words(*soak)),
            };
            format!("proven in {}{soak}", names.join(" and "))
        }
    };
    match environment.gate {
        Gate::None => from,
        Gate::Branch => format!("{from}, by a merged branch"),
        Gate::PullRequest => format!("{from}, by a merged pull request"),
    }
}

/// The answer for scripts.
#[derive(Serialize)]
struct View {
    ok: bool,
    problems: Vec<ProblemView>,
    applications: Vec<ApplicationView>,
    notes: Vec<String>,
    /// What was asked, with --online.
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<Vec<online::Finding>>,
}

#[derive(Serialize)]
struct ProblemView {
    severity: &'static str,
    file: String,
    line: Option<usize>,
    column: Option<usize>,
    what: String,
    instead: String,
}

#[derive(Serialize)]
struct ApplicationView {
    name: String,
    images: Vec<String>,
    environments: Vec<EnvironmentView>,
}

#[derive(Serialize)]
struct EnvironmentView {
    name: String,
    repository: String,
    branch: String,
    manifests: Vec<String>,
    takes: String,
    gate: &'static str,
}

impl View {
    fn of(configuration: &Result<Config, Problems>) -> Self {
        match configuration {
            Ok(config) => Self {
                ok: true,
                problems: config.warnings.iter().map(ProblemView::of).collect(),
                applications: config
                    .pipelines
                    .iter()
                    .map(|it| ApplicationView::of(it))
                    .collect(),
                notes: notes(config),
                online: None,
            },
            Err(problems) => Self {
                ok: false,
                problems: problems.iter().map(ProblemView::of).collect(),
                applications: Vec::new(),
                notes: Vec::new(),
                online: None,
            },
        }
    }
}

impl ProblemView {
    fn of(problem: &Problem) -> Self {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        Self {
            severity,
            file: problem.place.file.display().to_string(),
            line: problem.place.position.map(|(line, _)| line),
            column: problem.place.position.map(|(_, column)| column),
            what: problem.what.clone(),
            instead: problem.instead.clone(),
        }
    }
}

impl ApplicationView {
    fn of(pipeline: &Pipeline) -> Self {
        let application = &pipeline.application;
        let images = application.images.iter();
        Self {
            name: application.name.to_string(),
            images: images.map(|image| image.repository.to_string()).collect(),
            environments: pipeline
                .environments
                .iter()
                .map(EnvironmentView::of)
                .collect(),
        }
    }
}

impl EnvironmentView {
    fn of(environment: &Environment) -> Self {
        Self {
            name: environment.name.to_string(),
            repository: environment.repository.to_string(),
            branch: environment.branch.clone(),
            manifests: environment.manifests.clone(),
            takes: taken(environment),
            gate: match environment.gate {
                Gate::None => "none",
                Gate::Branch => "branch",
                Gate::PullRequest => "pull-request",
            },
        }
    }
}
