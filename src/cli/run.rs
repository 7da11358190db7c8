//! `towpath run`: the loop, until stopped or until settled.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::setup::Setup;
use super::{Output, exit, moment, view};
use crate::clock;
use crate::config::Location;
use crate::config::watch::{self, Watch};
use crate::event::Event;
use crate::marks::Marker;
use crate::model::EnvironmentName;
use crate::notifications::{Notifier, Pace};
use crate::plan::{Decision, Reason, UnitPlan};
use crate::reconcile::{Posted, Reconciler};
use crate::serve;

/// How long effects on their way may take to end once the program is told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long `--once` goes on telling of what it did, and marking it.
const TELL_TIMEOUT: Duration = Duration::from_secs(20);

/// How soon it is looked again whether all is settled: rounds come in thousands, and each may be the last.
const LOOK: Duration = Duration::from_millis(10);

/// The same where no round ended meanwhile: a deadline may have passed.
const LOOK_ANYWAY: Duration = Duration::from_millis(200);

/// How often a configuration that lives in git is read again.
const CONFIG_POLL: Duration = Duration::from_secs(30);

/// Watch, commit, propose, apply and record, until stopped
///
/// SIGTERM and SIGINT end it once the steps at hand are done, within seconds. A changed configuration
/// takes effect without a restart; one with mistakes is reported, and the last good one goes on.
///
/// With `--once`, until only a person, or a timer beyond `--wait`, is left. Exit codes then: 0 settled,
/// 3 something is held or failed, 4 a timer is pending or it was stopped, 1 a source cannot be read.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End once everything is settled
    #[arg(long)]
    once: bool,

    /// How long `--once` waits for timers: soak, rollouts, retries
    #[arg(long, value_name = "DURATION", default_value = "0s", requires = "once", value_parser = moment::duration)]
    wait: Duration,

    /// Act for these environments alone (`A,B`), with their credentials alone; others are known by
    /// their records
    #[arg(long, value_name = "ENVIRONMENT", value_delimiter = ',')]
    only: Vec<EnvironmentName>,

    /// Take webhooks at this address, such as 127.0.0.1:8080, and answer /healthz, /readyz and /metrics
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<std::net::SocketAddr>,

    /// What stdout tells: `json` one object and `yaml` one document per event; `table`, with `--once`,
    /// what each unit came to
    #[arg(short, long, value_enum, default_value_t, value_name = "FORM")]
    output: Output,
}

/// Runs until stopped or settled.
///
/// # Errors
/// Where the configuration has mistakes at the start, or the outside cannot be set up.
pub async fn run(args: &Args, location: Location, out: &mut dyn Write) -> Result<u8> {
    let stop = CancellationToken::new();
    stop_on_signals(&stop)?;
    // Watched before it is read, so that no change is missed in between.
    let mut watched = watch(&location);
    let mut setup = Setup::load(location.clone()).await?;
    let address = args.listen.or(setup.config.settings.listen);
    let keys_now = match address {
        Some(_) => keys(&setup).await?,
        None => serve::Keys::default(),
    };
    let hooks = serve::Hooks::new(keys_now, setup.meter.clone());
    if let Some(address) = address {
        let tls = setup.config.settings.tls.clone();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let bound = serve::listen(serve::Door { address, tls }, hooks.clone(), stop.clone());
        let bound = bound.await?;
        let senders = setup.config.settings.webhooks.keys();
        let senders: Vec<_> = senders.map(|sender| sender.name()).collect();
        tracing::info!(address = %bound, scheme, senders = senders.join(","), "listens");
    }
    loop {
        let now = clock::now();
        setup.config.forget_places();
        let reconciler = setup.reconciler(&args.only, now)?;
        hooks.serve(&reconciler);
        hooks.show_told(setup.told.clone());
        let pace = match args.once {
            true => Pace::default(),
            false => Pace::among_others(),
        };
        let author = &setup.config.settings.author;
        let beside = Beside {
            notifier: setup.notifier(&reconciler, pace)?,
            marker: Marker::new(&reconciler, &setup.config.pipelines, author).map(Arc::new),
        };
        let end = if args.once {
            tow_once(args, &reconciler, &beside, &stop, out).await?
        } else {
            let changed = changed(&mut watched, &setup);
            tow(args, &reconciler, &beside, changed, &stop, out).await?
        };
        match end {
            End::Code(code) => return Ok(code),
            End::Changed(changed) => {
                let (before, after) = (&setup.config.settings, &changed.config.settings);
                if (before.listen, &before.tls) != (after.listen, &after.tls) {
                    tracing::warn!("`listen` and `tls` are taken up at the next start");
                }
                setup = Setup {
                    meter: setup.meter.clone(),
                    told: setup.told.clone(),
                    ..*changed
                };
                // One that cannot be had now is asked for again by each webhook.
                match keys(&setup).await {
                    _ if address.is_none() => {}
                    Ok(keys) => hooks.admit(keys),
                    Err(error) => {
                        tracing::error!("{error}");
                        hooks.admit(serve::Keys::new(&setup.config.settings.webhooks));
                    }
                }
            }
        }
    }
}

/// The secrets of those whose webhooks are taken, each read once.
async fn keys(setup: &Setup) -> Result<serve::Keys, serve::NoSecret> {
    let keys = serve::Keys::new(&setup.config.settings.webhooks);
    keys.read().await?;
    Ok(keys)
}

/// Why a reconciler's run ended.
enum End {
    Code(u8),
    Changed(Box<Setup>),
}

/// Tows until stopped, or until the configuration is a good other one.
async fn tow(
    args: &Args,
    reconciler: &Arc<Reconciler>,
    beside: &Beside,
    changed: impl Future<Output = Setup>,
    stop: &CancellationToken,
    out: &mut dyn Write,
) -> Result<End> {
    let mut events = reconciler.events();
    let ending = stop.child_token();
    let mut towing = tokio::spawn(reconciler.clone().run(ending.clone()));
    let beside = beside.run(&ending);
    let start = clock::now();
    tokio::pin!(changed);
    let end = loop {
        tokio::select! {
            () = stop.cancelled() => break End::Code(exit::OK),
            event = events.recv() => {
                if let Ok(event) = event {
                    tell(args.output, &event, start, out)?;
                }
            }
            setup = &mut changed => break End::Changed(Box::new(setup)),
            ended = &mut towing => {
                ended.context("the loop failed")?;
                // Told to stop, it may end before the telling reaches us here.
                let told = ending.is_cancelled();
                return Ok(End::Code(if told { exit::OK } else { exit::ERROR }));
            }
        }
    };
    ending.cancel();
    if tokio::time::timeout(STOP_TIMEOUT, towing).await.is_err() {
        tracing::warn!("an effect did not end in time: the next start finishes it");
    }
    // What was sent and could not be written down is sent once more, under the same key.
    drop(tokio::time::timeout(STOP_TIMEOUT, beside.wait()).await);
    Ok(end)
}

/// What goes on beside the rounds, and holds up none.
struct Beside {
    notifier: Option<Arc<Notifier>>,
    marker: Option<Arc<Marker>>,
}

impl Beside {
    /// Until stopped.
    fn run(&self, stop: &CancellationToken) -> TaskTracker {
        let tasks = TaskTracker::new();
        if let Some(notifier) = &self.notifier {
            tasks.spawn(notifier.clone().run(stop.clone()));
        }
        if let Some(marker) = &self.marker {
            tasks.spawn(marker.clone().run(stop.clone()));
        }
        tasks.close();
        tasks
    }

    /// What is left of it once all is settled. The next start goes on with what could not be done now.
    async fn finish(&self) {
        let marked = async {
            if let Some(marker) = &self.marker {
                drop(tokio::time::timeout(TELL_TIMEOUT, marker.turn(clock::now())).await);
            }
        };
        let told = async {
            if let Some(notifier) = &self.notifier {
                notifier.finish(TELL_TIMEOUT).await;
            }
        };
        tokio::join!(marked, told);
    }
}

/// An event, for whoever reads them as they come.
fn tell(output: Output, event: &Event, start: Timestamp, out: &mut dyn Write) -> Result<()> {
    let event = event.to_json(start);
    match output {
        Output::Table => return Ok(()),
        Output::Json => writeln!(out, "{event}")?,
        Output::Yaml => write!(out, "---\n{}", serde_yaml::to_string(&event)?)?,
    }
    out.flush()?;
    Ok(())
}

/// The watch over a configuration that lies in a folder.
fn watch(location: &Location) -> Option<Watch> {
    match location {
        Location::Folder(folder) => watch::watch(folder)
            .inspect_err(|error| tracing::warn!(%error, "the configuration is not watched"))
            .ok(),
        Location::Git { .. } => None,
    }
}

/// Resolves once the configuration is another one without mistakes. One with mistakes is reported,
/// and the last good one goes on.
async fn changed(watched: &mut Option<Watch>, before: &Setup) -> Setup {
    let location = &before.location;
    loop {
        match watched {
            Some(watched) => watched.changed().await,
            None => tokio::time::sleep(CONFIG_POLL).await,
        }
        match Setup::load(location.clone()).await {
            Ok(setup) if before.config.says_same(&setup.config) => {}
            Ok(setup) => {
                tracing::info!(%location, "the configuration changed");
                return setup;
            }
            Err(error) => {
                tracing::error!(
                    "the changed configuration is not used, the last good one goes on: {error}"
                );
            }
        }
    }
}

/// Tows until nothing but a person, or a timer beyond `--wait`, is left.
async fn tow_once(
    args: &Args,
    reconciler: &Arc<Reconciler>,
    beside: &Beside,
    stop: &CancellationToken,
    out: &mut dyn Write,
) -> Result<End> {
    let mut events = reconciler.events();
    let mut changes = reconciler.board().changes();
    let ending = stop.child_token();
    let towing = tokio::spawn(reconciler.clone().run(ending.clone()));
    let start = clock::now();
    let deadline = start.checked_add(args.wait).unwrap_or(Timestamp::MAX);
    let mut look = tokio::time::interval(LOOK);
    let mut looked = None;
    let code = loop {
        tokio::select! {
            event = events.recv() => {
                if let Ok(event) = event {
                    tell(args.output, &event, start, out)?;
                }
            }
            now = look.tick() => {
                let is_news = changes.has_changed().unwrap_or(true);
                changes.mark_unchanged();
                let is_due = looked.is_none_or(|looked| now.duration_since(looked) >= LOOK_ANYWAY);
                if is_news || is_due {
                    looked = Some(now);
                    if let Some(code) = left(reconciler, deadline) {
                        break code;
                    }
                }
            }
            () = stop.cancelled() => break exit::PENDING,
        }
    };
    ending.cancel();
    tokio::time::timeout(STOP_TIMEOUT, towing)
        .await
        .context("an effect did not end in time")??;
    if !stop.is_cancelled() {
        beside.finish().await;
    }
    while let Ok(event) = events.try_recv() {
        tell(args.output, &event, start, out)?;
    }
    if args.output == Output::Table {
        for posted in reconciler.board().all() {
            for unit in &posted.plan.units {
                let name = format!("{} {}", posted.plan.application, unit.environment);
                let style = view::style(unit);
                writeln!(out, "{style}·{style:#} {name}: {}", view::sentence(unit))?;
            }
        }
    }
    Ok(End::Code(code))
}

/// The exit code, if all pipelines were looked at and nothing is left but for a person or a later moment.
fn left(reconciler: &Reconciler, deadline: Timestamp) -> Option<u8> {
    let posted = reconciler.board().all();
    let configured = posted.iter().filter(|posted| !posted.pipeline.removed);
    if configured.count() != reconciler.len() || !reconciler.has_looked_for_removed() {
        return None;
    }
    settled(&posted, clock::now(), deadline)
}

/// The exit code, if all that is left is a person's or a later moment's.
fn settled(posted: &[Arc<Posted>], now: Timestamp, deadline: Timestamp) -> Option<u8> {
    if !posted.iter().all(|posted| posted.is_idle()) {
        return None;
    }
    let (mut stopped, mut pending, mut unreadable) = (false, false, false);
    for (posted, unit) in posted
        .iter()
        .flat_map(|it| it.plan.units.iter().map(move |unit| (it, unit)))
    {
        let Decision::Waiting(waiting) = &unit.decision else {
            return None;
        };
        if let Reason::Unreadable(it) = &waiting.reason {
            // Without a moment to ask again it is being read right now.
            it.retry?;
            unreadable = true;
        }
        stopped |= waiting.reason.is_stopped();
        if rolls_out(posted, unit) {
            // The cluster may be done at any moment, long before the deadline.
            if now < deadline {
                return None;
            }
            pending = true;
        } else if let Some(next) = waiting.next {
            if next <= deadline {
                return None;
            }
            pending = true;
        }
    }
    if unreadable && now < deadline {
        return None;
    }
    Some(match () {
        () if unreadable => exit::ERROR,
        () if stopped => exit::STOPPED,
        () if pending => exit::PENDING,
        () => exit::OK,
    })
}

/// Whether the unit's newest deployment has no verdict yet and nothing keeps it from getting one.
fn rolls_out(posted: &Posted, unit: &UnitPlan) -> bool {
    let Decision::Waiting(waiting) = &unit.decision else {
        return false;
    };
    if waiting.reason.is_stopped() || matches!(waiting.reason, Reason::NotOurs) {
        return false;
    }
    let records = posted.records.get(&unit.environment);
    let newest = records.and_then(|records| records.deployment.as_ref());
    newest.is_some_and(|newest| newest.verdict.is_none())
}

pub(super) fn stop_on_signals(stop: &CancellationToken) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stops once the steps at hand are done");
        stop.cancel();
    });
    Ok(())
}
