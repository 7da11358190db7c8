//! Rounds, and the clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use towpath::plan::Decision;
use towpath::registry::ImageConfig;

use super::super::show;
use super::{Teller, digest_of};

/// Rounds within which all must settle.
const ROUNDS: usize = 60;

/// How far the clock goes on by itself while something rolls out, and while nothing does.
const TICK: Duration = Duration::from_secs(5);
const REST: Duration = Duration::from_secs(30);
/// What an image says that was built then.
fn image_of(created: Option<Timestamp>) -> ImageConfig {
    ImageConfig {
        created,
        ..ImageConfig::default()
    }
}

impl Teller {
    pub(super) async fn time(&mut self, words: &[&str]) -> Option<String> {
        match words {
            ["begin"] => Some(self.begin().await),
            ["round"] => {
                let (mut output, _) = self.round().await;
                output.push_str(&self.changed());
                Some(output)
            }
            ["rounds"] => Some(self.rounds().await),
            ["wait", time] => {
                let time: SignedDuration = time.parse().unwrap();
                let until = self.site.now.checked_add(time).unwrap();
                let mut output = String::new();
                while self.site.now < until {
                    let (lines, busy) = self.round().await;
                    output.push_str(&lines);
                    output.push_str(&self.changed());
                    if !busy {
                        let left = Duration::try_from(until.duration_since(self.site.now));
                        self.site.pass(left.unwrap_or_default().min(self.rest()));
                    }
                }
                output.push_str(&self.rounds().await);
                Some(output)
            }
            _ => None,
        }
    }

    /// Until something may happen by itself.
    fn rest(&self) -> Duration {
        let mut rest = REST;
        for (_, decision) in self.decisions() {
            let Decision::Waiting(waiting) = &decision else {
                return TICK;
            };
            // What is shown may stand before a rollout.
            let progress = ["converging", "pinned", "failed", "outpaced"];
            if progress.contains(&waiting.reason.name()) && waiting.next.is_some() {
                return TICK;
            }
            let next = waiting.next.map(|next| next.duration_since(self.site.now));
            let next = next.and_then(|next| Duration::try_from(next).ok());
            rest = rest.min(next.unwrap_or(REST));
        }
        rest
    }

    /// The usual beginning: every unit runs v1.0.0, adopted and healthy.
    async fn begin(&mut self) -> String {
        let before = self
            .site
            .now
            .checked_sub(SignedDuration::from_hours(24))
            .ok();
        for pipeline in self.site.pipelines.clone() {
            let application = &pipeline.application;
            for image in &application.images {
                let digest = digest_of(&image.repository.to_string(), "v1.0.0", "");
                self.site
                    .registry
                    .push(&image.repository, "v1.0.0", digest, image_of(before));
            }
            for environment in &pipeline.environments {
                let images: Vec<String> = application
                    .images
                    .iter()
                    .map(|image| format!("{}:v1.0.0", image.repository))
                    .collect();
                let directory = environment.manifests.last().unwrap();
                let path = format!("{directory}/{}.yaml", application.name);
                let text = manifest(application.name.as_str(), &images);
                let person = self.site.person(environment.name.as_str());
                if person.read(&environment.branch, &path).is_none() {
                    let files = [(path.as_str(), Some(text.as_str()))];
                    let message = format!("{}: first manifests", application.name);
                    person
                        .commit(&environment.branch, &files, &message, self.site.now)
                        .unwrap();
                }
            }
        }
        for _ in 0..4 {
            self.quiet_rounds().await;
            self.site.pass(Duration::from_secs(10));
        }
        self.quiet_rounds().await;
        self.status(None)
    }

    async fn quiet_rounds(&mut self) {
        self.rounds().await;
    }

    /// One round, a second later.
    async fn round(&mut self) -> (String, bool) {
        self.site.pass(Duration::from_secs(1));
        let writes = self.site.writes();
        let round = self.site.round().await;
        let mut output = String::new();
        for (unit, step) in &round.steps {
            let step = show::short(step);
            output.push_str(&format!(
                "  {} {unit}: {step}\n",
                show::clock(self.site.now)
            ));
        }
        for event in round.events {
            let mut json = event.to_json("2026-01-01T00:00:00Z".parse().unwrap());
            if let Some(commit) = json.get_mut("commit") {
                *commit = commit.as_str().unwrap()[..7].into();
            }
            self.events.push(show::short(&json.to_string()));
        }
        let busy = !round.steps.is_empty() || writes != self.site.writes();
        (output, busy)
    }

    /// Rounds until nothing happens any more.
    pub(super) async fn rounds(&mut self) -> String {
        let mut output = String::new();
        for _ in 0..ROUNDS {
            let (lines, busy) = self.round().await;
            output.push_str(&lines);
            if !busy {
                output.push_str(&self.changed());
                return output;
            }
        }
        panic!("it does not settle:\n{output}");
    }
}

/// A Deployment with these images, and a Service.
pub(in super::super) fn manifest(name: &str, images: &[String]) -> String {
    let containers: String = images
        .iter()
        .enumerate()
        .map(|(index, image)| format!("        - name: c{index}\n          image: {image}\n"))
        .collect();
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: 1\n  \
         template:\n    spec:\n      containers:\n{containers}---\napiVersion: v1\nkind: Service\n\
         metadata:\n  name: {name}\nspec:\n  ports: [{{ port: 80 }}]\n"
    )
}
