//! What the commands of a scenario do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use towpath::git::memory::{Call, Merge, Strike};
use towpath::git::notes::{NotesDraft, records_ref};
use towpath::git::{Push, Repository};
use towpath::model::record::{Record, Statement};
use towpath::model::{CommitId, Digest, EnvironmentName, Pipeline, proposal_branch};
use towpath::plan::{Decision, Plan, Step, UnitPlan, World, approve_adoption, approve_prune};

use super::cluster;
use super::forge;
use super::registry::Mood;
use super::show;
use super::site::Site;
use super::story::Command;
use super::{ending, link};

/// Rounds within which all must settle.
const ROUNDS: usize = 60;

/// How far the clock goes on by itself while something rolls out, and while nothing does.
const TICK: Duration = Duration::from_secs(5);
const REST: Duration = Duration::from_secs(30);

/// See the module.
pub(super) struct Teller {
    pub(super) site: Site,
    begun: bool,
    shown: BTreeMap<String, String>,
    events: Vec<String>,
    /// What a person was answered.
    answer: String,
    pushes: BTreeMap<String, usize>,
    asked: usize,
}

impl Teller {
    pub(super) fn new() -> Self {
        Self {
            site: Site::new(),
            begun: false,
            shown: BTreeMap::new(),
            events: Vec::new(),
            answer: String::new(),
            pushes: BTreeMap::new(),
            asked: 0,
        }
    }

    pub(super) async fn run(&mut self, command: &Command) -> String {
        let words: Vec<String> = command.words.iter().map(|word| self.fill(word)).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let block = self.fill(&command.block);
        match self.try_run(&words, &block).await {
            Some(output) => output,
            None => panic!("line {}: `{}` is no command", command.number, command.text),
        }
    }

    async fn try_run(&mut self, words: &[&str], block: &str) -> Option<String> {
        if let Some(output) = self.configure(words, block) {
            return Some(output);
        }
        if !self.begun {
            self.begun = true;
            self.site.open();
            if self.site.towpaths.is_empty() {
                self.site.start();
            }
        }
        if self.outside(words) || self.person(words, block).await {
            return Some(std::mem::take(&mut self.answer));
        }
        if let Some(output) = self.time(words).await {
            return Some(output);
        }
        self.look(words).await
    }

    /// `$name` is what was remembered under that name, such as a commit's short id.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.site.labels {
            text = text.replace(&format!("${name}"), value);
        }
        text
    }

    fn configure(&mut self, words: &[&str], block: &str) -> Option<String> {
        match words {
            ["config", environment] => self.site.configure(environment, block),
            ["applications"] => block.clone_into(&mut self.site.applications),
            ["pipeline", environments @ ..] => {
                let list = format!("environments: [{}]", environments.join(", "));
                let (before, _) = self.site.applications.split_once("environments:")?;
                self.site.applications = format!("{before}{list}\n");
            }
            ["only", environments @ ..] => {
                self.site.only = environments.iter().map(|it| it.parse().unwrap()).collect();
            }
            _ => return None,
        }
        // A configuration that changes is a process that starts anew.
        if self.begun {
            self.site.open();
            self.site.restart();
        }
        Some(String::new())
    }

    /// Servers and clusters.
    fn outside(&mut self, words: &[&str]) -> bool {
        let site = &mut self.site;
        if cluster::run(site, words) || forge::run(site, words) {
            return true;
        }
        match words {
            ["push", image, tag, rest @ ..] => push(site, image, tag, rest),
            ["untag", image, tag] => {
                for repository in images(site, image) {
                    site.registry.untag(&repository, tag);
                }
            }
            ["registry", mood] => site.registry.set(match *mood {
                "up" => Mood::Up,
                "down" => Mood::Down,
                "429" => Mood::TooMany,
                "401" => Mood::Unauthorized,
                other => panic!("no mood `{other}`"),
            }),
            ["answer", address, status, body @ ..] => {
                let body = body.first().unwrap_or(&"");
                site.endpoints
                    .answer(address, status.parse().unwrap(), body);
            }
            ["refuse", environment, part, message] => {
                let (part, message) = ((*part).to_owned(), (*message).to_owned());
                site.remote(environment)
                    .set_hook(Some(Arc::new(move |updates| {
                        let named = |it: &towpath::git::RefUpdate| {
                            it.name.contains(&part) && it.old != it.new
                        };
                        match updates.iter().any(named) {
                            true => Err(message.clone()),
                            false => Ok(()),
                        }
                    })));
            }
            ["accept", environment] => site.remote(environment).set_hook(None),
            ["non-atomic", environment] => site.remote(environment).set_atomic(false),
            ["cut", environment, what, when] => {
                let remote = site.remote(environment);
                let call = match *what {
                    "push" => Call::Push,
                    "fetch" => Call::Fetch,
                    "look" => Call::Advertise,
                    other => panic!("no call `{other}`"),
                };
                let strike = match *when {
                    "before" => Strike::Before,
                    "after" => Strike::After,
                    other => panic!("no moment `{other}`"),
                };
                remote.fail_next(call, strike, remote.cut());
            }
            ["cut-source"] => {
                let url = &site.pipelines[0].application.source.as_ref().unwrap().url;
                let remote = &site.remotes[url];
                remote.fail_next(Call::Advertise, Strike::Before, remote.cut());
            }
            ["race", environment, path, old, new] => {
                race(site, environment, path, old, new);
            }
            ["restart"] => {
                site.restart();
                self.shown.clear();
            }
            ["second", "towpath"] => site.start(),
            ["slow-git", state] => site.slow_git = *state == "on",
            ["clock", change] => {
                let change: SignedDuration = change.parse().unwrap();
                site.now = site.now.checked_add(change).unwrap();
            }
            _ => return false,
        }
        true
    }

    /// People.
    async fn person(&mut self, words: &[&str], block: &str) -> bool {
        let now = self.site.now;
        match words {
            ["file", environment, path] if !block.is_empty() => {
                let person = self.site.person(environment);
                let branch = self.branch(environment);
                person
                    .commit(
                        &branch,
                        &[(path, Some(block))],
                        &format!("write {path}"),
                        now,
                    )
                    .unwrap();
            }
            ["link", environment, path, target] => {
                let (remote, branch) = (self.site.remote(environment), self.branch(environment));
                link::put(remote, &branch, path, target, now).await;
            }
            ["delete", environment, paths @ ..] => {
                let person = self.site.person(environment);
                let branch = self.branch(environment);
                let files: Vec<_> = paths.iter().map(|path| (*path, None)).collect();
                let message = format!("delete {}", paths.join(", "));
                person.commit(&branch, &files, &message, now).unwrap();
            }
            ["move", environment, from, to] => {
                let person = self.site.person(environment);
                let branch = self.branch(environment);
                let text = person.read(&branch, from).unwrap();
                let files = [(*from, None), (*to, Some(text.as_str()))];
                let message = format!("move {from} to {to}");
                person.commit(&branch, &files, &message, now).unwrap();
            }
            ["edit", environment, path, old, new] => {
                let branch = self.branch(environment);
                edit(&self.site, environment, &branch, path, old, new);
            }
            ["edit-proposal", environment, path, old, new] => {
                let branch = self.proposal(environment, "shop");
                edit(&self.site, environment, &branch, path, old, new);
            }
            ["rewrite-proposal", environment, path, old, new] => {
                let branch = self.proposal(environment, "shop");
                let person = self.site.person(environment);
                let base = person.head(&self.branch(environment)).unwrap();
                person.force(&branch, base);
                edit(&self.site, environment, &branch, path, old, new);
            }
            ["merge", environment, how @ ..] => {
                let (how, application) = match how {
                    [] => ("commit", "shop"),
                    [how] => (*how, "shop"),
                    [how, application, ..] => (*how, *application),
                };
                self.merge(environment, application, how);
            }
            ["decline", environment, application @ ..] => {
                let branch = self.proposal(environment, application.first().unwrap_or(&"shop"));
                self.site.person(environment).delete(&branch);
            }
            ["delete-branch", environment, branch] => self.site.person(environment).delete(branch),
            ["revert", environment, which] => {
                let branch = self.branch(environment);
                let commit = self.ancestor(environment, which).await;
                let person = self.site.person(environment);
                person.revert(&branch, commit, now).unwrap();
            }
            ["force-push", environment, which] => {
                let branch = self.branch(environment);
                let commit = self.ancestor(environment, which).await;
                self.site.person(environment).force(&branch, commit);
            }
            ["remember", name, environment] => {
                let head = self
                    .site
                    .person(environment)
                    .head(&self.branch(environment));
                self.site
                    .labels
                    .insert((*name).to_owned(), head.unwrap().to_string());
            }
            ["source", label, "on", branch] => {
                let remote = self.source();
                let file = format!("{label}\n");
                let commit = remote
                    .person("Ann")
                    .commit(branch, &[("code", Some(&file))], label, now)
                    .unwrap();
                self.site.labels.insert((*label).to_owned(), commit.short());
            }
            ["say", environment, what, rest @ ..] => self.say(environment, what, rest).await,
            ["approve", environment, application, number] => {
                let number = number.parse().unwrap();
                self.ask(environment, application, |pipeline, world, environment| {
                    approve_prune(pipeline, world, environment, number, "ann@example.com", now)
                })
                .await;
            }
            ["adopt", environment, application] => {
                self.ask(environment, application, |pipeline, world, environment| {
                    approve_adoption(pipeline, world, environment, "ann@example.com", now)
                })
                .await;
            }
            ["tag", environment, name] => {
                let person = self.site.person(environment);
                let head = person.head(&self.branch(environment)).unwrap();
                person
                    .tag(name, head, "made by another tool\n", now)
                    .unwrap();
            }
            ["rewrite-records", environment, count] => {
                let name = records_ref(&environment.parse().unwrap());
                let mirror = show::mirror(self.site.remote(environment)).await;
                let head = CommitId(mirror.seen()[&name].id);
                let mut back = head;
                for _ in 0..count.parse().unwrap() {
                    back = mirror.commit(back).unwrap().parents[0];
                }
                force_ref(&self.site, environment, &name, Some(back)).await;
                self.site
                    .labels
                    .insert("records".to_owned(), head.to_string());
            }
            ["restore-records", environment, id] => {
                let name = records_ref(&environment.parse().unwrap());
                force_ref(&self.site, environment, &name, Some(id.parse().unwrap())).await;
            }
            ["scribble-records", environment] => self.scribble(environment).await,
            ["forget-records", environment] => {
                let name = records_ref(&environment.parse().unwrap());
                let head = self.site.remote(environment).refs()[&name].id;
                self.site
                    .labels
                    .insert("records".to_owned(), head.to_string());
                force_ref(&self.site, environment, &name, None).await;
            }
            _ => return false,
        }
        true
    }

    fn source(&self) -> &towpath::git::memory::MemoryRemote {
        let source = self.site.pipelines[0].application.source.as_ref().unwrap();
        &self.site.remotes[&source.url]
    }

    fn branch(&self, environment: &str) -> String {
        self.site.environment(environment).branch.clone()
    }

    fn proposal(&self, environment: &str, application: &str) -> String {
        proposal_branch(&environment.parse().unwrap(), &application.parse().unwrap())
    }

    fn merge(&self, environment: &str, application: &str, how: &str) {
        let person = self.site.person(environment);
        let from = self.proposal(environment, application);
        let into = self.branch(environment);
        let now = self.site.now;
        match how {
            "commit" => drop(person.merge(&from, &into, Merge::Commit, now).unwrap()),
            "squash" | "rebase" => drop(person.merge(&from, &into, Merge::Squash, now).unwrap()),
            "ff" => drop(person.merge(&from, &into, Merge::FastForward, now).unwrap()),
            other => panic!("no way to merge `{other}`"),
        }
    }

    /// `HEAD`, `HEAD~2`, or a commit's id.
    async fn ancestor(&self, environment: &str, which: &str) -> CommitId {
        if let Ok(id) = which.parse() {
            return id;
        }
        let back = which
            .strip_prefix("HEAD~")
            .map_or(0, |it| it.parse::<usize>().unwrap());
        let mirror = show::mirror(self.site.remote(environment)).await;
        let mut id = self
            .site
            .person(environment)
            .head(&self.branch(environment))
            .unwrap();
        for _ in 0..back {
            id = mirror.commit(id).unwrap().parents[0];
        }
        id
    }

    /// A person's yes, as the commands write it.
    async fn ask(
        &mut self,
        environment: &str,
        application: &str,
        say: impl Fn(&Pipeline, &World, &EnvironmentName) -> Result<Step, String>,
    ) {
        let (environment, application) =
            (environment.parse().unwrap(), application.parse().unwrap());
        let reconciler = self.site.towpaths[0].reconciler.clone();
        let said = reconciler
            .say(
                &application,
                &environment,
                |pipeline, world| say(pipeline, world, &environment),
                self.site.now,
            )
            .await;
        // Seconds are what the output counts in.
        self.site.pass(Duration::from_secs(1));
        if let Err(why) = said {
            self.answer = format!("  no: {why}\n");
        }
    }

    /// A person's own record: hold, resume, pin, unpin, retry.
    async fn say(&self, environment: &str, what: &str, rest: &[&str]) {
        let reason = rest.last().map(|it| (*it).to_owned()).unwrap_or_default();
        let application = match rest {
            [application, _] => Some(*application),
            _ => None,
        };
        let statement = match what {
            "hold" => Statement::Held { reason },
            "resume" => Statement::Resumed { reason },
            "unpin" => Statement::Unpinned { reason },
            "retry" => {
                let records =
                    show::records(self.site.remote(environment), &environment.parse().unwrap())
                        .await;
                let mut releases = records.iter().filter_map(|record| match &record.statement {
                    Statement::Deployment {
                        release: Some(release),
                        ..
                    }
                    | Statement::Proposed { release, .. } => Some(release.clone()),
                    _ => None,
                });
                let release = releases.find(|release| release.name == reason).unwrap();
                Statement::Retried { release }
            }
            other => panic!("nobody says `{other}`"),
        };
        let name: EnvironmentName = environment.parse().unwrap();
        let mirror = show::mirror(self.site.remote(environment)).await;
        let held = mirror.seen().get(&records_ref(&name)).map(|held| held.id);
        let mut draft = mirror.draft();
        let mut notes = NotesDraft::begin(&draft, held.map(CommitId)).unwrap();
        let record = Record {
            at: self.site.now,
            environment: name.clone(),
            application: application.map(|it| it.parse().unwrap()),
            by: "ann@example.com".to_owned(),
            commit: self
                .site
                .person(environment)
                .head(&self.branch(environment))
                .unwrap(),
            statement,
        };
        notes.add(&draft, vec![record]).unwrap();
        let author = towpath::git::Signature {
            name: "Ann".to_owned(),
            email: "ann@example.com".to_owned(),
            time: self.site.now,
        };
        let commit = notes.commit(&mut draft, &author).unwrap();
        let push = Push::new().update(records_ref(&name), held, commit.0);
        mirror.push(push.with(&draft).unwrap()).await.unwrap();
    }

    /// A line that this version cannot read, as a newer Towpath would write it.
    async fn scribble(&self, environment: &str) {
        let name = records_ref(&environment.parse().unwrap());
        let mirror = show::mirror(self.site.remote(environment)).await;
        let head = mirror.seen()[&name].id;
        let mut draft = mirror.draft();
        let tree = mirror.commit(CommitId(head)).unwrap().tree;
        let line = "{\"v\":2,\"record\":\"verdict\"}\n";
        let tree = draft
            .put(Some(tree), "present/applications/shop", line)
            .unwrap();
        let author = towpath::git::Signature {
            name: "Towpath".to_owned(),
            email: "towpath@example.com".to_owned(),
            time: self.site.now,
        };
        let commit = draft.commit(&towpath::git::CommitDraft {
            tree,
            parents: vec![CommitId(head)],
            author: author.clone(),
            committer: author,
            message: "of a newer version\n".to_owned(),
        });
        let push = Push::new().update(name, Some(head), commit.0);
        mirror.push(push.with(&draft).unwrap()).await.unwrap();
    }

    async fn time(&mut self, words: &[&str]) -> Option<String> {
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
                    .push(&image.repository, "v1.0.0", digest, before, None);
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
    async fn rounds(&mut self) -> String {
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

    /// The decision of each unit, as the last process decided.
    fn decisions(&self) -> Vec<(String, Decision)> {
        let units = self.units().into_iter();
        units.map(|(name, _, unit)| (name, unit.decision)).collect()
    }

    /// Each unit's name and plan, as the last process decided.
    fn units(&self) -> Vec<(String, Plan, UnitPlan)> {
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
    fn changed(&mut self) -> String {
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

    fn status(&mut self, only: Option<&str>) -> String {
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

    async fn look(&mut self, words: &[&str]) -> Option<String> {
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

    /// What the runner adds to every scenario.
    pub(super) async fn end(mut self) {
        if !self.begun {
            return;
        }
        self.rounds().await;
        ending::check(&mut self.site).await;
    }
}

fn images(site: &Site, name: &str) -> Vec<towpath::model::ImageRepository> {
    let (application, image) = match name.split_once('/') {
        Some((application, image)) => (application, Some(image)),
        None => (name, None),
    };
    let images = &site.pipeline(application).application.images;
    let repositories = images.iter().map(|image| image.repository.clone());
    repositories
        .filter(|it| image.is_none_or(|image| it.to_string().ends_with(image)))
        .collect()
}

fn digest_of(repository: &str, tag: &str, salt: &str) -> Digest {
    Digest::of(format!("{repository}:{tag}{salt}").as_bytes())
}

/// `push shop v1.1.0`, `… like v1.0.0`, `… built -1h`, `… built never`, `… of <commit>`, `… anew`.
fn push(site: &Site, image: &str, tag: &str, rest: &[&str]) {
    for repository in images(site, image) {
        let mut created: Option<Timestamp> = Some(site.now);
        let (mut revision, mut digest) = (None, digest_of(&repository.to_string(), tag, ""));
        let mut words = rest.iter();
        while let Some(word) = words.next() {
            match (*word, words.next()) {
                ("like", Some(other)) => digest = site.registry.digest(&repository, other).unwrap(),
                ("built", Some(&"never")) => created = None,
                ("built", Some(change)) => {
                    let change: SignedDuration = change.parse().unwrap();
                    created = site.now.checked_add(change).ok();
                }
                ("of", Some(commit)) => revision = Some((*commit).to_owned()),
                ("as", Some(salt)) => digest = digest_of(&repository.to_string(), tag, salt),
                (word, _) => panic!("no way to push `{word}`"),
            }
        }
        site.registry
            .push(&repository, tag, digest, created, revision);
    }
}

/// A Deployment with these images, and a Service.
fn manifest(name: &str, images: &[String]) -> String {
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

fn edit(site: &Site, environment: &str, branch: &str, path: &str, old: &str, new: &str) {
    let person = site.person(environment);
    let text = person.read(branch, path).unwrap();
    assert!(text.contains(old), "{path} does not hold `{old}`:\n{text}");
    let text = text.replace(old, new);
    let message = format!("{path}: {new}");
    person
        .commit(branch, &[(path, Some(&text))], &message, site.now)
        .unwrap();
}

/// A person edits between the plan and its push, once.
fn race(site: &Site, environment: &str, path: &str, old: &str, new: &str) {
    let remote = site.remote(environment).clone();
    let (branch, now) = (site.environment(environment).branch.clone(), site.now);
    let (path, old, new) = (path.to_owned(), old.to_owned(), new.to_owned());
    let done = std::sync::atomic::AtomicBool::new(false);
    let hook_remote = remote.clone();
    remote.set_hook(Some(Arc::new(move |_| {
        if !done.swap(true, std::sync::atomic::Ordering::Relaxed) {
            let person = hook_remote.person("Ann");
            let text = person.read(&branch, &path).unwrap().replace(&old, &new);
            let files = [(path.as_str(), Some(text.as_str()))];
            person.commit(&branch, &files, "in between", now).unwrap();
        }
        Ok(())
    })));
}

async fn force_ref(site: &Site, environment: &str, name: &str, to: Option<CommitId>) {
    let mirror: Repository = show::mirror(site.remote(environment)).await;
    let held = mirror.seen().get(name).map(|held| held.id);
    let push = match (to, held) {
        (Some(to), held) => Push::new().update(name, held, to.0),
        (None, Some(held)) => Push::new().delete(name, held),
        (None, None) => return,
    };
    mirror.push(push).await.unwrap();
}
