//! `towpath check --online`: whether everything that the configuration names can be reached, with the rights that
//! are needed, and whether the gates hold. All of it is asked at once, each question with a deadline; nothing is
//! written anywhere.

mod cluster;
mod forge;
mod gate;
mod repository;
mod team;
mod webhook;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{Args, counted};
use crate::cli::Output;
use crate::cli::setup::Setup;
use crate::cli::teams;
use crate::http::Outward;
use crate::model::{
    ApplicationName, CommitId, Digest, Environment, EvidenceCheck, EvidenceEndpoint,
    EvidenceSource, Gate, Notification, RepositoryUrl, Right,
};
use crate::notifications;
use crate::observe::Outside;

/// A question may take as long.
const DEADLINE: Duration = Duration::from_secs(60);

/// One that may have to bring in a whole repository first.
const DEADLINE_LONG: Duration = Duration::from_secs(300);

/// So many are asked at once.
const AT_ONCE: usize = 32;

/// After as long, and as long again, it is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// It works.
    Ok,
    /// Nobody tells.
    Unknown,
    /// It works, and somebody should know this.
    Warning,
    /// It does not work, or a gate does not hold.
    Error,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    /// `repository`, `forge`, `registry`, `cluster`, `webhook`, `notify`, `signature`, `team` or `evidence`.
    pub(super) kind: &'static str,
    pub(super) about: String,
    pub(super) what: String,
    /// What to do.
    pub(super) instead: Option<String>,
}

/// A finding of which only its kind and its subject are to be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    level: Level,
    what: String,
    instead: Option<String>,
}

impl Said {
    fn new(level: Level, what: impl Into<String>) -> Self {
        Self {
            level,
            what: what.into(),
            instead: None,
        }
    }

    fn or(self, instead: impl Into<String>) -> Self {
        Self {
            instead: Some(instead.into()),
            ..self
        }
    }

    fn of(self, kind: &'static str, about: &str) -> Finding {
        // Errors name what they are about, which stands in front already.
        let rest = self.what.strip_prefix(about);
        let rest = rest.map(|it| it.trim_start_matches([':', ' ']).to_owned());
        Finding {
            level: self.level,
            kind,
            about: about.to_owned(),
            what: rest.unwrap_or(self.what),
            instead: self.instead,
        }
    }
}

/// Something to ask.
struct Question<'a> {
    kind: &'static str,
    about: String,
    deadline: Duration,
    asked: Pin<Box<dyn Future<Output = Vec<Said>> + 'a>>,
}

impl<'a> Question<'a> {
    fn new(
        kind: &'static str,
        about: impl Into<String>,
        asked: impl Future<Output = Vec<Said>> + 'a,
    ) -> Self {
        Self {
            kind,
            about: about.into(),
            deadline: DEADLINE,
            asked: Box::pin(asked),
        }
    }

    fn patient(self) -> Self {
        Self {
            deadline: DEADLINE_LONG,
            ..self
        }
    }

    async fn answer(self, permits: &Semaphore) -> Vec<Finding> {
        let _permit = permits.acquire().await;
        let said = tokio::time::timeout(self.deadline, self.asked).await;
        let late = || {
            let what = format!("no answer within {} s", self.deadline.as_secs());
            vec![Said::new(Level::Error, what)]
        };
        let said = said.unwrap_or_else(|_| late());
        let of = |it: Said| it.of(self.kind, &self.about);
        said.into_iter().map(of).collect()
    }
}

/// What is asked about one infra repository.
struct Infra<'a> {
    url: &'a RepositoryUrl,
    /// Its environments, each once, as its first application has it, and that application.
    environments: Vec<(&'a Environment, &'a ApplicationName)>,
}

/// Asks, and writes what came of it. The exit code is 1 where something does not work or a gate does not hold.
///
/// # Errors
/// Where the outside cannot be set up; the writers'.
pub async fn run(
    args: &Args,
    setup: &Setup,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let outside = setup.outside(&[])?;
    let forges = setup.known_forges()?;
    let teams = teams::named(setup, &forges)?;
    let findings = {
        let infra = infra(setup);
        let mut questions = Vec::new();
        for url in sources(setup) {
            questions.push(repository::source(&outside, url, is_marked(setup, url)));
        }
        for infra in &infra {
            questions.push(repository::infra(&outside, infra));
            if let Some(forge) = forges.get(infra.url) {
                questions.push(forge::infra(setup, forge, infra));
                questions.extend(webhook::of_forge(setup, forge, infra));
            }
        }
        questions.extend(forge::sources(setup, &forges));
        questions.extend(registries(setup, &outside));
        questions.extend(evidence(setup, &outside));
        questions.extend(cluster::all(setup, &outside));
        questions.extend(webhook::secrets(setup));
        let outward = setup.outward()?;
        questions.extend(notifications(setup, &outward));
        questions.extend(signing(setup));
        questions.extend(team::all(setup, &teams));
        ask(questions, err).await?
    };
    let failed = findings.iter().any(|it| it.level == Level::Error);
    match args.output {
        Output::Table => in_lines(setup, &findings, out)?,
        form => {
            let mut view = super::View::of(&Ok(setup.config.clone()));
            view.ok &= !failed;
            view.online = Some(findings);
            form.write(&view, out)?;
        }
    }
    Ok(u8::from(failed))
}

/// Asks all at once, and says on `err` what is waited for.
async fn ask(questions: Vec<Question<'_>>, err: &mut dyn Write) -> io::Result<Vec<Finding>> {
    writeln!(err, "asking {}", counted(questions.len(), "question"))?;
    let waiting = Mutex::new(BTreeMap::<String, usize>::new());
    for question in &questions {
        *locked(&waiting).entry(question.about.clone()).or_default() += 1;
    }
    let permits = Semaphore::new(AT_ONCE);
    let asked = questions.into_iter().map(|question| async {
        let about = question.about.clone();
        let found = question.answer(&permits).await;
        let mut waiting = locked(&waiting);
        if let Some(left) = waiting.get_mut(&about) {
            *left -= 1;
        }
        waiting.retain(|_, left| *left > 0);
        found
    });
    let mut asked = std::pin::pin!(join_all(asked));
    loop {
        tokio::select! {
            found = &mut asked => return Ok(found.into_iter().flatten().collect()),
            () = tokio::time::sleep(PATIENCE) => {
                let names: Vec<String> = locked(&waiting).keys().cloned().collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                writeln!(err, "waiting for {}", super::first_of(&names))?;
            }
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn in_lines(setup: &Setup, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    super::in_lines(&Ok(setup.config.clone()), out)?;
    writeln!(out)?;
    for finding in findings {
        let Finding {
            level,
            kind,
            about,
            what,
            ..
        } = finding;
        let level = match level {
            Level::Ok => "ok",
            Level::Unknown => "unknown",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        write!(out, "{level:7} {kind:10} {about}: {what}")?;
        match &finding.instead {
            Some(instead) => writeln!(out, " — {instead}")?,
            None => writeln!(out)?,
        }
    }
    let count = |level: Level| findings.iter().filter(|it| it.level == level).count();
    let mut told = vec![counted(count(Level::Error), "problem")];
    for (level, word) in [(Level::Warning, "warning"), (Level::Unknown, "unknown")] {
        match (count(level), word) {
            (0, _) => {}
            (number, "unknown") => told.push(format!("{number} not known")),
            (number, word) => told.push(counted(number, word)),
        }
    }
    writeln!(out, "\n{}", told.join(", "))
}

/// The infra repositories, each with its environments.
fn infra(setup: &Setup) -> Vec<Infra<'_>> {
    let mut all: Vec<Infra<'_>> = Vec::new();
    for pipeline in &setup.config.pipelines {
        let application = &pipeline.application.name;
        for environment in &pipeline.environments {
            let url = &environment.repository;
            let index = all.iter().position(|it| it.url == url);
            let index = index.unwrap_or_else(|| {
                all.push(Infra {
                    url,
                    environments: Vec::new(),
                });
                all.len() - 1
            });
            let known = &mut all[index].environments;
            // Applications may set some things for themselves, none of which is asked about here.
            if !known.iter().any(|(it, _)| it.name == environment.name) {
                known.push((environment, application));
            }
        }
    }
    all
}

/// The source repositories.
fn sources(setup: &Setup) -> BTreeSet<&RepositoryUrl> {
    let sources = setup.config.pipelines.iter();
    let sources = sources.filter_map(|it| it.application.source.as_ref());
    sources.map(|it| &it.url).collect()
}

/// Whether what is deployed is marked there.
fn is_marked(setup: &Setup, source: &RepositoryUrl) -> bool {
    let is_it = |it: &&std::sync::Arc<crate::model::Pipeline>| {
        let of = it.application.source.as_ref();
        of.is_some_and(|of| of.url == *source)
    };
    let mut marking = setup.config.pipelines.iter().filter(is_it);
    marking.any(|it| it.environments.iter().any(|it| it.mark_source))
}

fn registries<'a>(setup: &'a Setup, outside: &'a Outside) -> Vec<Question<'a>> {
    let images = setup.config.pipelines.iter();
    let images = images.flat_map(|it| it.application.images.iter().map(|it| &it.repository));
    let images: BTreeSet<_> = images.collect();
    let ask = |image| {
        Question::new("registry", format!("{image}"), async move {
            vec![match outside.registry.tags(image).await {
                Ok(tags) => Said::new(Level::Ok, counted(tags.len(), "tag")),
                Err(error) => Said::new(Level::Error, error.to_string()),
            }]
        })
    };
    images.into_iter().map(ask).collect()
}

/// Whether those answer whom rules ask for evidence: of an image that nobody has, and of a commit that nobody made.
fn evidence<'a>(setup: &'a Setup, outside: &'a Outside) -> Vec<Question<'a>> {
    let environments = setup.config.pipelines.iter();
    let environments = environments.flat_map(|it| &it.environments);
    let rules = environments.flat_map(|it| &it.evidence);
    let (mut endpoints, mut checks) = (BTreeSet::new(), BTreeSet::new());
    for rule in rules {
        match &rule.from {
            Some(EvidenceSource::Endpoint(endpoint)) => drop(endpoints.insert(&**endpoint)),
            Some(EvidenceSource::Check(check)) => drop(checks.insert(&**check)),
            None => {}
        }
    }
    let ask = |endpoint: &'a EvidenceEndpoint| {
        Question::new("evidence", endpoint.to_string(), async move {
            let nothing = Digest::of(b"");
            vec![match outside.evidence.about(endpoint, &nothing).await {
                Ok(_) => Said::new(Level::Ok, "answers"),
                Err(why) => Said::new(Level::Error, why),
            }]
        })
    };
    let ask_forge = |check: &'a EvidenceCheck| {
        Question::new("evidence", check.to_string(), async move {
            let Some(forge) = outside.forges.get(&check.source) else {
                return Vec::new();
            };
            vec![match forge
                .checked(
                    CommitId(gix::ObjectId::null(gix::hash::Kind::Sha1)),
                    &check.name,
                )
                .await
            {
                Ok(_) => Said::new(Level::Ok, "may be read"),
                Err(error) => Said::new(Level::Error, error.to_string()),
            }]
        })
    };
    let endpoints = endpoints.into_iter().map(ask);
    endpoints.chain(checks.into_iter().map(ask_forge)).collect()
}

/// Whether those who are told of news can be connected to. Nothing is sent.
fn notifications<'a>(setup: &'a Setup, outward: &Outward) -> Vec<Question<'a>> {
    let ask = |notification: &'a Notification| {
        let outward = outward.clone();
        Question::new("notify", notification.name.as_str(), async move {
            vec![match notifications::reach(&outward, notification).await {
                Ok(true) => Said::new(
                    Level::Ok,
                    "can be connected to; `towpath notify --test` sends something",
                ),
                Ok(false) => Said::new(
                    Level::Unknown,
                    "is reached through a proxy, which is not tried",
                )
                .or("try it with `towpath notify --test`"),
                Err(why) => Said::new(Level::Error, why),
            }]
        })
    };
    setup
        .config
        .settings
        .notifications
        .iter()
        .map(ask)
        .collect()
}

/// Whether commits can be signed: something is, and thrown away; and whether what is recorded with the key counts
/// where keys are listed.
fn signing(setup: &Setup) -> Option<Question<'_>> {
    let signer = setup.signer()?;
    Some(Question::new("signature", "commits", async move {
        if let Err(error) = signer.sign(b"towpath check --online\n").await {
            return vec![Said::new(Level::Error, error.to_string())];
        }
        let mut said = vec![Said::new(Level::Ok, "can be signed")];
        let environments = setup
            .config
            .pipelines
            .iter()
            .flat_map(|it| &it.environments);
        let listing = environments.filter(|it| !it.authority.is_open());
        let listing: BTreeMap<_, _> = listing.map(|it| (&it.name, &it.authority)).collect();
        if listing.is_empty() {
            return said;
        }
        let key = match signer.public_key().await {
            Ok(key) => key,
            Err(error) => return vec![Said::new(Level::Error, error.to_string())],
        };
        for (name, authority) in listing {
            let known = authority.of(&key).filter(|it| it.may(Right::Record));
            if known.is_none() {
                let what = format!(
                    "the key {key} may not `record` in {name}: nothing that Towpath states counts there"
                );
                let instead = format!("list it in `authority` of {name}, with `may: [record]`");
                said.push(Said::new(Level::Error, what).or(instead));
            }
        }
        said
    }))
}

/// Whether the environment cannot do without its forge.
fn needs_forge(setup: &Setup, environment: &Environment) -> bool {
    environment.gate == Gate::PullRequest || setup.forge_settings(&environment.repository).statuses
}
