//! `towpath demo`: the whole pipeline on this machine, played, shown and checked.

mod abroad;
mod live;
mod page;
mod report;
mod show;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::run::stop_on_signals;
use super::{Output, exit, is_broken_pipe};
use crate::clock;
use crate::demo::ground::Chosen;
use crate::demo::lent;
use crate::demo::place::{Keep, Place};
use crate::demo::story;
use crate::model::ImageRepository;

/// More than happens in the whole demo.
const MOMENTS: usize = 4096;

/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// Watch a release travel from an image push to production, on this machine alone or on a cluster
///
/// Makes an application repository and three infra repositories, serves them and an image registry
/// on loopback, and tows real image pushes through them to simulated clusters. Then it reads the
/// repositories and says whether all is as told: exit code 0 if so, else 1.
///
/// With `--github` production's repository lies on a simulated GitHub of this machine: what is proposed is a
/// pull request there, shown as its reviewer reads it, and merged through the API.
///
/// With `--context` it plays on a real cluster: in the namespaces `towpath-demo-staging`, `-qa` and
/// `-production`, which it makes, and deletes at the end, also when it is interrupted or fails. It
/// touches nothing else there, and neither asks nor changes anything before it has said which cluster
/// that is. The cluster must let you make and delete namespaces and, in these, Deployments, Services and
/// ConfigMaps; five small pods must find room; and its nodes must be able to pull `registry.k8s.io/pause`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Leave the directory to look around in; without a name it is a temporary one
    #[arg(long, value_name = "DIRECTORY", num_args = 0..=1, require_equals = false)]
    keep: Option<Option<PathBuf>>,

    /// Wait for you to merge each proposal, with the command that is printed
    #[arg(long)]
    pause: bool,

    /// Play production on a simulated GitHub: show each pull request, and merge it there
    #[arg(long, conflicts_with = "context")]
    github: bool,

    /// Play on the cluster of this context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// The kubeconfig with the context; without it, KUBECONFIG or the home directory's
    #[arg(long, value_name = "FILE", requires = "context")]
    kubeconfig: Option<PathBuf>,

    /// Where the cluster's nodes pull `pause` with its tags 3.6, 3.7, 3.9 and 3.10 from
    #[arg(long, value_name = "REPOSITORY", requires = "context", default_value = lent::REPOSITORY)]
    images: ImageRepository,

    /// Draw lines for people, or print one JSON object (YAML document) per event and a summary
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

impl Args {
    fn keep(&self) -> Keep {
        match &self.keep {
            None => Keep::Nothing,
            Some(None) => Keep::Temporary,
            Some(Some(directory)) => Keep::At(directory.clone()),
        }
    }

    /// The real cluster that it is to play on.
    fn chosen(&self) -> Result<Option<Chosen>> {
        let Some(context) = self.context.clone() else {
            return Ok(None);
        };
        let kubeconfig = self.kubeconfig.as_ref();
        let kubeconfig = kubeconfig.map(|path| {
            let absolute = std::path::absolute(path);
            absolute.with_context(|| format!("{} has no absolute path", path.display()))
        });
        Ok(Some(Chosen {
            context,
            kubeconfig: kubeconfig.transpose()?,
            images: self.images.clone(),
        }))
    }
}

/// Plays the demo. The exit code is 0 where everything is as told, 1 where not, 130 where it was
/// interrupted.
///
/// # Errors
/// Something could not be done at all, or did not happen.
pub async fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8> {
    let interrupted = CancellationToken::new();
    stop_on_signals(&interrupted)?;
    let ended = play(args, &interrupted.child_token(), out, err).await;
    code(ended, interrupted.is_cancelled())
}

/// Whoever interrupts it often reads no more either: that it was interrupted is the answer then, whichever
/// came first.
fn code(ended: Result<u8>, interrupted: bool) -> Result<u8> {
    match ended {
        Err(error) if interrupted && is_broken_pipe(&error) => Ok(INTERRUPTED),
        ended => ended,
    }
}

/// Plays until the end or until it is to stop, which it also is once nobody looks any more.
async fn play(
    args: &Args,
    stop: &CancellationToken,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let start = clock::now();
    let (abroad, left) = match args.chosen()? {
        Some(chosen) => {
            let (abroad, left) = abroad::arrive(chosen, args.keep.is_some(), start, err).await?;
            (Some(abroad), left)
        }
        None => (None, Vec::new()),
    };
    let place = Place::open(&args.keep(), abroad, args.github).await?;
    if let Some(ground) = place.ground()
        && let Err(error) = ground.make(&left, stop).await
    {
        let cleared = abroad::leave(ground, false, err).await;
        if stop.is_cancelled() {
            return cleared.map(|()| INTERRUPTED);
        }
        say_too(&cleared, err)?;
        return Err(error);
    }
    let (tell, told) = mpsc::channel(MOMENTS);
    let mut show = show::Show::new(args.output, start, out, err);
    let showing = async {
        let shown = show.all(told).await;
        // Whoever closed our stdout has seen enough.
        if shown.is_err() {
            stop.cancel();
        }
        shown
    };
    let (played, shown) = tokio::join!(story::play(&place, tell, args.pause, stop), showing);
    let cleared = match place.ground() {
        Some(ground) => abroad::leave(ground, args.keep.is_some(), err).await,
        None => Ok(()),
    };
    let root = place.root().to_owned();
    let summary = played.as_ref().ok();
    let summary = summary.map(|played| report::summary(played, start, &root, place.ground()));
    let temporary = place.stop().await;
    if let Err(shown) = shown {
        cleared?;
        return Err(shown.into());
    }
    let kept = temporary.is_none().then_some(root.as_path());
    let (played, summary) = match played {
        Ok(played) => (played, summary.unwrap_or_default()),
        Err(_) if stop.is_cancelled() => {
            if let Some(root) = kept {
                writeln!(
                    err,
                    "stopped; what there is so far is kept in {}",
                    root.display()
                )?;
            }
            return cleared.map(|()| INTERRUPTED);
        }
        Err(error) => {
            say_too(&cleared, err)?;
            return Err(error.context(match kept {
                Some(root) => format!(
                    "the demo did not end well; it is kept in {}",
                    root.display()
                ),
                None => "the demo did not end well".to_owned(),
            }));
        }
    };
    if let Some(root) = kept {
        let file = root.join("summary.json");
        std::fs::write(&file, format!("{summary:#}\n"))
            .with_context(|| format!("{} cannot be written", file.display()))?;
    }
    match args.output {
        Output::Table => report::table(&played, start, kept, out)?,
        Output::Json => writeln!(out, "{summary}")?,
        Output::Yaml => write!(out, "---\n{}", serde_yaml::to_string(&summary)?)?,
    }
    cleared?;
    Ok(if played.found.wrong.is_empty() {
        exit::OK
    } else {
        exit::ERROR
    })
}

/// Says what is left on the cluster, where something else went wrong before.
fn say_too(cleared: &Result<()>, err: &mut dyn Write) -> std::io::Result<()> {
    match cleared {
        Ok(()) => Ok(()),
        Err(error) => writeln!(err, "{error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::{INTERRUPTED, code};

    #[test]
    fn an_interruption_wins_over_a_closed_pipe_and_over_nothing_else() {
        let pipe = || anyhow::Error::new(io::Error::from(io::ErrorKind::BrokenPipe));
        let other = || anyhow::anyhow!("the namespace is still there");
        let told = |ended, interrupted| match code(ended, interrupted) {
            Ok(code) => code.to_string(),
            Err(error) => error.to_string(),
        };
        let interrupted = INTERRUPTED.to_string();
        assert_eq!(told(Err(pipe()), true), interrupted);
        assert_eq!(told(Ok(INTERRUPTED), true), interrupted);
        assert_eq!(told(Ok(0), true), "0");
        assert_eq!(told(Err(pipe()), false), "broken pipe");
        assert_eq!(told(Err(other()), true), "the namespace is still there");
    }
}
