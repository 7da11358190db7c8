//! What is looked at.

use towpath::git::memory::{Call, MemoryRemote};
use towpath::model::Pipeline;
use towpath::model::record::{PastDeployment, deployments, history, summary};
use towpath::plan::{Decision, Last, Plan, UnitPlan, World, fate, journey, stand};

use super::super::{forge, show};
use super::Teller;

impl Teller {
    /// The decision of each unit, as the last process decided.
    pub(super) fn decisions(&self) -> Vec<(String, Decision)> {
        let units = self.units().into_iter();
        units.map(|(name, _, unit)| (name, unit.decision)).collect()
    }

    /// Each unit's name and plan, as the last process decided.
    pub(super) fn units(&self) -> Vec<(String, Plan, UnitPlan)> {
        let mut units = Vec::new();
        let board = self.site.towpaths.last().map(|it| it.reconciler.board());
        for posted in board.iter().flat_map(|board| board.all()) {
            for unit in &posted.plan.units {
                let name = self.site.unit_name(&unit.environment, &posted.pipeline);
                units.push((name, posted.plan.clone(), unit.clone()));
            }
        }
        units
    }

    /// What each unit waits for, where that changed since it was last shown.
    pub(super) fn changed(&mut self) -> String {
        let mut output = String::new();
        for (unit, decision) in self.decisions() {
            if let Decision::Waiting(waiting) = &decision {
                let text = format!("[{}] {}", waiting.reason.name(), waiting.reason);
                if self.shown.insert(unit.clone(), text.clone()).as_ref() != Some(&text) {
                    let text = show::waiting(waiting);
                    output.push_str(&format!("  {} {unit} {text}\n", show::clock(self.site.now)));
                }
            }
        }
        output
    }

    pub(super) fn status(&mut self, only: Option<&str>) -> String {
        let mut output = String::new();
        for (unit, decision) in self.decisions() {
            if only.is_none_or(|only| only == unit) {
                output.push_str(&format!("  {unit} {}\n", show::decision(&decision)));
            }
            if let Decision::Waiting(waiting) = &decision {
                let text = format!("[{}] {}", waiting.reason.name(), waiting.reason);
                self.shown.insert(unit, text);
            }
        }
        output
    }

    /// An application's pipeline, and what the first process knows of it.
    fn seen_of(&self, application: &str) -> (&Pipeline, World) {
        let application = application.parse().unwrap();
        let mut pipelines = self.site.pipelines.iter();
        let pipeline = pipelines.find(|it| it.application.name == application);
        let reconciler = &self.site.towpaths[0].reconciler;
        let world = reconciler.world(&application, self.site.now);
        (pipeline.unwrap(), world.unwrap())
    }

    /// A release on its way, as `towpath explain --release` tells it.
    async fn journey(&self, application: &str, release: &str) -> String {
        let (pipeline, world) = self.seen_of(application);
        let units = self.units().into_iter();
        let mut plans = units.map(|(_, plan, _)| plan);
        let plan = plans.find(|it| it.application == pipeline.application.name);
        let plan = plan.unwrap();
        let catalogue = world.catalogue.read().unwrap();
        let release = catalogue.all().find(|it| it.is_named(release)).unwrap();
        let mut stands = Vec::new();
        for environment in &pipeline.environments {
            let name = &environment.name;
            let records = show::records(self.site.remote(name.as_str()), name).await;
            let mut past = deployments(records);
            past.retain(|it| it.application == plan.application);
            let is_it = |it: &PastDeployment| {
                let deployed = it.release.as_ref();
                deployed.is_some_and(|it| it.is(&release.digests()))
            };
            let last = past.iter().rposition(is_it).map(|at| Last {
                attempt: &past[at],
                next: past.get(at + 1),
            });
            let stand = stand(pipeline, &world, name, &release, last, self.site.now);
            stands.push((name.clone(), stand));
        }
        let journey = journey(pipeline, &world, &plan, &release, stands, self.site.now);
        show::journey(&journey)
    }

    pub(super) async fn look(&mut self, words: &[&str]) -> Option<String> {
        let output = match words {
            ["status"] => self.status(None),
            ["status", unit] => self.status(Some(unit)),
            ["explain", unit] => {
                let mut output = self.status(Some(unit));
                for (name, plan, shown) in self.units() {
                    if name == *unit {
                        output.push_str(&show::explain(&plan.application, &shown));
                    }
                }
                output
            }
            ["fate", environment, application, release] => {
                let (pipeline, world) = self.seen_of(application);
                let environment = environment.parse().unwrap();
                let fate = fate(pipeline, &world, &environment, release, self.site.now);
                format!("  {fate}\n")
            }
            ["journey", application, release] => self.journey(application, release).await,
            ["history", environment] => {
                let name = environment.parse().unwrap();
                let records = show::records(self.site.remote(environment), &name).await;
                let happenings = history(records);
                let summary = summary(&happenings);
                let lines = happenings
                    .iter()
                    .map(|it| format!("  {}\n", show::happening(it)));
                lines.chain([format!("  {summary:?}\n")]).collect()
            }
            ["left-behind"] => {
                let towpath = self.site.towpaths.last().unwrap();
                let observatory = towpath.reconciler.observatory();
                let left = observatory.read_left_behind().await;
                let lines = left.iter().map(|it| format!("  {it}\n"));
                lines.collect()
            }
            ["log", environment] => {
                let branch = self.branch(environment);
                show::log(self.site.remote(environment), &branch).await
            }
            ["proposal", environment, application @ ..] => {
                let branch = self.proposal(environment, application.first().unwrap_or(&"shop"));
                match self.site.person(environment).head(&branch) {
                    Some(_) => show::log(self.site.remote(environment), &branch).await,
                    None => "  there is none\n".to_owned(),
                }
            }
            ["records", environment] => {
                let name = environment.parse().unwrap();
                let records = show::records(self.site.remote(environment), &name).await;
                records
                    .iter()
                    .map(|record| format!("  {}\n", show::record(record)))
                    .collect()
            }
            ["live", environment] => {
                let objects = self.site.cluster(environment).everything(self.site.now);
                objects.iter().map(show::live).collect()
            }
            ["asked"] => {
                let asked = self.site.endpoints.asked();
                format!("  {}\n", asked - std::mem::replace(&mut self.asked, asked))
            }
            ["pushes", environment] => {
                let count = self.site.remote(environment).calls(Call::Push);
                let before = self.pushes.insert((*environment).to_owned(), count);
                format!("  {}\n", count - before.unwrap_or_default())
            }
            ["branches", environment] => {
                let refs = self.site.remote(environment).refs();
                let names = refs.iter().filter_map(|(name, held)| {
                    let name = name.strip_prefix("refs/heads/")?;
                    Some(format!("  {name} {}\n", held.commit().short()))
                });
                names.collect()
            }
            ["made", environment] => {
                let made = self.site.committer(environment).made();
                format!("  {made} made elsewhere\n")
            }
            ["checks", environment, branches @ ..] => {
                let mut branches: Vec<_> = branches.iter().map(|it| (*it).to_owned()).collect();
                if branches.is_empty() {
                    branches = queued(self.site.remote(environment));
                }
                forge::checks(&self.site, environment, &branches)
            }
            ["requests", environment] => forge::requests(&self.site, environment, "shop"),
            ["requests", environment, application] => {
                forge::requests(&self.site, environment, application)
            }
            ["text", environment] => forge::text(&self.site, environment, "shop"),
            ["tags", environment] => show::tags(self.site.remote(environment)).await,
            ["show", environment, path] => {
                let branch = self.branch(environment);
                let text = self.site.person(environment).read(&branch, path);
                let text = text.unwrap_or_else(|| "there is no such file".to_owned());
                text.lines()
                    .map(|line| format!("  {}\n", show::short(line)))
                    .collect()
            }
            ["events"] => {
                let events = std::mem::take(&mut self.events);
                events.iter().map(|event| format!("  {event}\n")).collect()
            }
            ["images", environment] => {
                let branch = self.branch(environment);
                let person = self.site.person(environment);
                let mut output = String::new();
                for pipeline in &self.site.pipelines {
                    let environment = self.site.environment(environment);
                    let directory = environment.manifests.last().unwrap();
                    let path = format!("{directory}/{}.yaml", pipeline.application.name);
                    let text = person.read(&branch, &path).unwrap_or_default();
                    for line in text.lines().filter(|line| line.contains("image:")) {
                        output.push_str(&format!("  {path}: {}\n", show::short(line.trim())));
                    }
                }
                output
            }
            _ => return None,
        };
        Some(output)
    }
}

/// The branches of a merge queue.
pub(super) fn queued(remote: &MemoryRemote) -> Vec<String> {
    let refs = remote.refs();
    let branches = refs.keys().filter_map(|it| it.strip_prefix("refs/heads/"));
    let queued = branches.filter(|it| it.starts_with("gh-readonly-queue/"));
    queued.map(str::to_owned).collect()
}
