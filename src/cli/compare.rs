//! `towpath compare`: is one environment a copy of another?

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use anyhow::{Result, anyhow, bail};
use serde::Serialize;
use serde_json::Value;

use super::setup::Setup;
use super::{Output, exit, names, view};
use crate::clock;
use crate::model::{ApplicationName, Environment, EnvironmentName, ImageRepository, Pipeline};
use crate::observe::Observatory;
use crate::present::diff::{Change, ObjectDiff, Sign};
use crate::present::unlike::{Side, unlike};

/// Show how two environments differ, other than by the release
///
/// Compares what the heads of their branches ask for, object by object. Left out is what being two environments implies:
/// which of the application's images run, and the namespace of objects that name none. What Secrets and encrypted
/// manifests hold is hidden. Reads git alone.
///
/// Exit code 5 with `--exit-code` where anything differs.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The one, such as the environment that others follow
    first: EnvironmentName,

    /// The other
    second: EnvironmentName,

    /// Only this application; all that go to both where none is named
    application: Option<ApplicationName>,

    /// Let the exit code tell whether anything differs
    #[arg(long)]
    exit_code: bool,

    /// How the answer is written
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// How an application's objects differ.
struct Compared {
    application: ApplicationName,
    objects: Vec<ObjectDiff>,
}

/// Writes the answer.
///
/// # Errors
/// Names are unknown, a branch cannot be read or rendered, or the writer's.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let both = [args.first.clone(), args.second.clone()];
    names::environments(setup, &both)?;
    if args.first == args.second {
        bail!("name two environments: {} is as it is", args.first);
    }
    let compared = look(args, setup).await?;
    match args.output {
        Output::Table => table(args, &compared, out)?,
        form => {
            let objects = compared.iter().flat_map(|it| {
                let objects = it.objects.iter();
                objects.map(|object| ObjectView::of(args, &it.application, object))
            });
            form.write(&objects.collect::<Vec<_>>(), out)?;
        }
    }
    let differs = compared.iter().any(|it| !it.objects.is_empty());
    Ok(match args.exit_code && differs {
        true => exit::DIFFERS,
        false => exit::OK,
    })
}

async fn look(args: &Args, setup: &Setup) -> Result<Vec<Compared>> {
    let mut pipelines = names::pipelines(setup, args.application.as_ref())?;
    if args.application.is_some() {
        for pipeline in &pipelines {
            names::environment(pipeline, &args.first)?;
            names::environment(pipeline, &args.second)?;
        }
    }
    pipelines.retain(|pipeline| sides(pipeline, args).is_some());
    if pipelines.is_empty() {
        bail!(
            "no application goes to both {} and {}",
            args.first,
            args.second
        );
    }
    let now = clock::now();
    let outside = setup.outside_clusters_apart()?;
    let observatory = Observatory::new(&pipelines, &setup.pipelines(), &outside, now);
    let environments = pipelines.iter().filter_map(|it| sides(it, args));
    let urls = environments.flat_map(|(first, second)| [&first.repository, &second.repository]);
    observatory.read_infra(urls, now).await;
    // Encrypted files are asked for by making a world, and then opened.
    for pipeline in &pipelines {
        drop(observatory.world(pipeline, now));
    }
    observatory.open_asked(&pipelines, now).await;
    let compared = pipelines.iter().map(|it| compare(args, it, &observatory));
    compared.collect()
}

fn sides<'a>(pipeline: &'a Pipeline, args: &Args) -> Option<(&'a Environment, &'a Environment)> {
    let first = pipeline.environment(&args.first)?;
    Some((first, pipeline.environment(&args.second)?))
}

fn compare(args: &Args, pipeline: &Arc<Pipeline>, observatory: &Observatory) -> Result<Compared> {
    let world = observatory.world(pipeline, clock::now());
    let application = pipeline.application.name.clone();
    let (first, second) = sides(pipeline, args)
        .ok_or_else(|| anyhow!("{application} does not go to both environments"))?;
    let desired = |environment: &Environment| {
        let desired = view::desired(&world, environment);
        desired.map_err(|why| anyhow!("{application} in {}: {why}", environment.name))
    };
    let (before, after) = (desired(first)?, desired(second)?);
    let images = pipeline.application.images.iter();
    let images: Vec<ImageRepository> = images.map(|it| it.repository.clone()).collect();
    let objects = unlike(
        Side {
            rendered: &before.rendered,
            namespace: first.cluster.namespace(),
        },
        Side {
            rendered: &after.rendered,
            namespace: second.cluster.namespace(),
        },
        &images,
    );
    Ok(Compared {
        application,
        objects,
    })
}

fn table(args: &Args, compared: &[Compared], out: &mut dyn Write) -> Result<()> {
    let bold = Style::new().bold();
    let place = AnsiColor::Cyan.on_default();
    let (red, green) = (AnsiColor::Red.on_default(), AnsiColor::Green.on_default());
    writeln!(out, "{red}-{red:#} {}", args.first)?;
    writeln!(out, "{green}+{green:#} {}", args.second)?;
    for it in compared {
        for object in &it.objects {
            let (application, reference) = (&it.application, &object.reference);
            let how = word(args, object.change);
            writeln!(out, "\n{bold}{application}: {reference}{bold:#} {how}")?;
            // What one alone has is told by its name.
            let hunks = object
                .hunks
                .iter()
                .filter(|_| object.change == Change::Changed);
            for hunk in hunks {
                if !hunk.within.is_empty() {
                    writeln!(out, "{place}@@ {} @@{place:#}", hunk.within)?;
                }
                for line in &hunk.lines {
                    let style = match line.sign {
                        Sign::Same => Style::new(),
                        Sign::Removed => red,
                        Sign::Added => green,
                    };
                    writeln!(out, "{style}{line}{style:#}")?;
                }
            }
        }
    }
    let differing: usize = compared.iter().map(|it| it.objects.len()).sum();
    match differing {
        0 => writeln!(out, "\nnothing differs besides the release")?,
        1 => writeln!(out, "\n1 object differs")?,
        count => writeln!(out, "\n{count} objects differ")?,
    }
    Ok(())
}

fn word(args: &Args, change: Change) -> String {
    match change {
        Change::Created => format!("is in {} alone", args.second),
        Change::Deleted => format!("is in {} alone", args.first),
        Change::Changed | Change::Unchanged => "differs".to_owned(),
    }
}

/// How an object differs, as scripts read it.
#[derive(Serialize)]
struct ObjectView<'a> {
    application: String,
    kind: &'a str,
    group: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    /// The environments that have it.
    environments: Vec<String>,
    /// Where it differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldView<'a>>,
}

#[derive(Serialize)]
struct FieldView<'a> {
    path: &'a str,
    /// What stands there, by environment; left out where nothing does.
    values: BTreeMap<String, &'a Value>,
}

impl<'a> ObjectView<'a> {
    fn of(args: &Args, application: &ApplicationName, object: &'a ObjectDiff) -> Self {
        let (first, second) = (args.first.to_string(), args.second.to_string());
        let environments = match object.change {
            Change::Created => vec![second.clone()],
            Change::Deleted => vec![first.clone()],
            Change::Changed | Change::Unchanged => vec![first.clone(), second.clone()],
        };
        let fields = object.fields.iter().map(|field| {
            let before = field.before.iter().map(|it| (first.clone(), it));
            let after = field.after.iter().map(|it| (second.clone(), it));
            FieldView {
                path: &field.path,
                values: before.chain(after).collect(),
            }
        });
        Self {
            application: application.to_string(),
            kind: &object.reference.kind,
            group: &object.reference.group,
            namespace: object.reference.namespace.as_deref(),
            name: &object.reference.name,
            environments,
            fields: fields
                .filter(|_| object.change == Change::Changed)
                .collect(),
        }
    }
}
