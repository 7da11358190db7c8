//! The story that the demo plays, chapter by chapter.
//!
//! Owns what developers, CI and people do, and what is waited for. What Towpath does about it is
//! its own: nothing here tells it to.

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::builds::{Application, Build};
use super::checkout::Checkout;
use super::example::BAD;
use super::judge::{Found, Story, Told, judge, pinned};
use super::manifests::APPLICATION;
use super::moment::Moment;
use super::place::{ENVIRONMENTS, Place};
use super::reviewer::{Page, Reviewer};
use super::stage::{Stage, happened};
use crate::clock;
use crate::event::{Event, EventKind};

/// As the example has it, shortened for the demo.
const SOAK: Duration = Duration::from_secs(2);

/// What the demo came to.
pub struct Played {
    /// When the last thing had happened.
    pub end: Timestamp,
    /// Every release, in order.
    pub builds: Vec<Build>,
    /// Everything that happened.
    pub log: Vec<Event>,
    /// What the repositories say.
    pub found: Found,
    /// How long releases soaked.
    pub soak: Duration,
    /// The pull requests as they were read, where there were some.
    pub requests: Vec<Page>,
}

/// Plays the story to its end.
///
/// # Errors
/// Something could not be done, or did not happen; a declined proposal is one of these.
pub async fn play(
    place: &Place,
    audience: mpsc::Sender<Moment>,
    pause: bool,
    stop: &CancellationToken,
) -> anyhow::Result<Played> {
    // A watcher that is gone has seen enough.
    let _seen = audience
        .send(Moment::Chapter(match place.ground() {
            None => "three clusters are found running v1.3.0",
            Some(_) => "three empty namespaces get v1.3.0",
        }))
        .await;
    let application = Application::begin(place).await?;
    let baseline = application.tag("v1.3.0", "A shop").await?;
    let image = match place.ground() {
        None => format!("{}:{}", place.image_repository()?, baseline.tag),
        // The tag is the story's: nodes pull what the digest names.
        Some(_) => pinned(place, &baseline)?,
    };
    let infra = futures_util::future::try_join_all(
        ENVIRONMENTS.map(|environment| place.infra(environment, &image)),
    );
    let [_, _, production] = <[Checkout; 3]>::try_from(infra.await?)
        .expect("there is one for each of three environments");
    let mut scene = Scene {
        stage: Stage::start(place, audience, stop).await?,
        application,
        reviewer: match place.site() {
            Some(site) => Reviewer::OnGitHub(site),
            None => Reviewer::WithGit(production),
        },
        requests: Vec::new(),
        pause,
    };
    let played = scene.chapters(place, baseline).await;
    scene.stage.stop().await;
    played
}

struct Scene<'a> {
    stage: Stage,
    application: Application<'a>,
    reviewer: Reviewer<'a>,
    requests: Vec<Page>,
    pause: bool,
}

impl Scene<'_> {
    async fn chapters(&mut self, place: &Place, baseline: Build) -> anyhow::Result<Played> {
        self.adopted(&baseline).await?;
        let branch = self.branch().await?;
        self.application.merge().await?;
        let good = self
            .good("v1.4.0", "CI pushes the tag v1.4.0", "The basket")
            .await?;
        let bad = self.bad().await?;
        let fixed = self.good(
            "v1.5.1",
            "CI pushes the tag v1.5.1",
            "An express checkout, mended",
        );
        let fixed = fixed.await?;
        self.stage.until_settled(9).await?;
        let end = clock::now();
        let told = |build, cause, verdict| Told {
            build,
            cause,
            verdict,
        };
        let first = || told(&baseline, "baseline", "healthy");
        let [staging, qa, production] = ENVIRONMENTS;
        let story = Story {
            builds: vec![&baseline, &branch, &good, &bad, &fixed],
            deployments: vec![
                (
                    staging,
                    vec![first(), told(&branch, "automation", "healthy")],
                ),
                (
                    qa,
                    vec![
                        first(),
                        told(&good, "automation", "healthy"),
                        told(&bad, "automation", "failed"),
                        told(&fixed, "automation", "healthy"),
                    ],
                ),
                (
                    production,
                    vec![
                        first(),
                        told(&good, "merge", "healthy"),
                        told(&fixed, "merge", "healthy"),
                    ],
                ),
            ],
            proposed: vec![&good, &fixed],
            bad: &bad,
            soak: SOAK,
        };
        let log = std::mem::take(&mut self.stage.log);
        let found = judge(place, &story, &log).await?;
        let builds = story.builds.into_iter().cloned().collect();
        Ok(Played {
            end,
            builds,
            log,
            found,
            soak: SOAK,
            requests: std::mem::take(&mut self.requests),
        })
    }

    /// What runs is adopted as it was found.
    async fn adopted(&mut self, baseline: &Build) -> anyhow::Result<()> {
        let everywhere = |log: &[Event]| {
            let recorded =
                |environment| happened(log, EventKind::Recorded, environment, &baseline.tag);
            ENVIRONMENTS.into_iter().all(recorded)
        };
        self.stage
            .until("the adoption of v1.3.0", everywhere)
            .await?;
        self.done("v1.3.0 → adopted in all three environments")
            .await;
        Ok(())
    }

    /// A branch's image goes to staging.
    async fn branch(&mut self) -> anyhow::Result<Build> {
        self.begins("CI pushes an image of the branch basket").await;
        let build = self.application.branch().await?;
        self.until(EventKind::Healthy, "staging", &build).await?;
        self.done(&format!(
            "{} → staging: committed, applied, healthy",
            build.tag
        ))
        .await;
        Ok(build)
    }

    /// A tag's image goes all the way.
    async fn good(
        &mut self,
        tag: &str,
        chapter: &'static str,
        change: &str,
    ) -> anyhow::Result<Build> {
        self.begins(chapter).await;
        let build = self.application.tag(tag, change).await?;
        self.until(EventKind::Healthy, "qa", &build).await?;
        self.until(EventKind::Proposed, "production", &build)
            .await?;
        self.merged(&build).await?;
        self.until(EventKind::Healthy, "production", &build).await?;
        self.done(&format!(
            "{tag} → qa: soaked → production: proposed, merged, healthy"
        ))
        .await;
        Ok(build)
    }

    /// A tag's image that fails goes no further.
    async fn bad(&mut self) -> anyhow::Result<Build> {
        self.begins("CI pushes the tag v1.5.0, a bad one").await;
        let build = self.application.tag(BAD, "An express checkout").await?;
        self.until(EventKind::Failed, "qa", &build).await?;
        self.until(EventKind::Held, "qa", &build).await?;
        self.done("v1.5.0 → qa: failed, held, never proposed").await;
        Ok(build)
    }

    /// A person reads the pull request, where there is one, and merges the proposal.
    async fn merged(&mut self, build: &Build) -> anyhow::Result<()> {
        if self.reviewer.is_on_github() {
            self.until(EventKind::Opened, "production", build).await?;
        }
        let page = self.reviewer.read().await?;
        if let Some(page) = &page {
            self.requests.push(page.clone());
            self.stage
                .show(Moment::Request(Box::new(page.clone())))
                .await;
        }
        let merged = |log: &[Event]| happened(log, EventKind::Merged, "production", &build.tag);
        if !self.pause {
            let message = format!("Release {APPLICATION} {} to production", build.tag);
            self.reviewer.merge(&message, page.as_ref()).await?;
            return self.stage.until("the merge", merged).await;
        }
        let command = self.reviewer.command(page.as_ref())?;
        self.stage.show(Moment::Merge(command)).await;
        let declined = |log: &[Event]| happened(log, EventKind::Declined, "production", &build.tag);
        self.stage
            .until_a_person(|log| merged(log) || declined(log))
            .await?;
        anyhow::ensure!(
            !declined(&self.stage.log),
            "the proposal of {} was declined: Towpath does not propose it again, and the story ends here",
            build.tag
        );
        Ok(())
    }

    async fn until(
        &mut self,
        kind: EventKind,
        environment: &str,
        build: &Build,
    ) -> anyhow::Result<()> {
        let what = format!("`{}` of {} in {environment}", kind.name(), build.tag);
        self.stage
            .until(&what, |log| happened(log, kind, environment, &build.tag))
            .await
    }

    async fn begins(&self, chapter: &'static str) {
        self.stage.show(Moment::Chapter(chapter)).await;
    }

    async fn done(&self, how: &str) {
        self.stage.show(Moment::Done(how.to_owned())).await;
    }
}

/// A text as one word of a command line.
pub fn quoted(text: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
    match text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}
