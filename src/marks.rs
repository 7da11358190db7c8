//! Marks in source repositories: which commit of an application was deployed where, for whoever works there and
//! does not look into infra repositories.
//!
//! Beside the rounds: what is to be marked is read off the newest records, and each mark is looked for before it is
//! made. Nothing waits for it, nothing is decided on it, and no ref is forced. What may not be written is told, and
//! tried again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use gix::ObjectId;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::backoff::backoff;
use crate::git::{
    CommitDraft, Draft, GitError, Push, Pushed, Reach, Refs, Repository, Signature, TagDraft,
    refusal,
};
use crate::model::{
    ApplicationName, Author, CommitId, DeploymentTags, EnvironmentName, KeepTags, Pipeline,
    Release, RepositoryUrl,
};
use crate::observe::{History, HistorySource};
use crate::reconcile::{Looks, Reconciler};

/// The notes that `git log` shows without being told to.
pub const NOTES: &str = "refs/notes/commits";

/// What could not be marked is left alone for so long, and twice as long each further time.
const AGAIN_MIN: Duration = Duration::from_secs(60);

/// The longest.
const AGAIN_MAX: Duration = Duration::from_secs(3600);

/// How often a lost race is looked at again at once.
const RACES: usize = 3;

/// Rounds come in thousands: it is looked again after each, but not at once.
const LOOKS: Looks = Looks {
    least: Duration::from_millis(500),
    most: Duration::from_secs(60),
};

/// See the module.
pub struct Marker {
    reconciler: Arc<Reconciler>,
    author: Author,
    sources: Vec<Marked>,
}

/// A source repository that is marked.
struct Marked {
    url: RepositoryUrl,
    /// Its notes and tags, apart from the commits that are read of it.
    repository: Repository,
    history: Arc<HistorySource>,
    units: Vec<Unit>,
    state: tokio::sync::Mutex<State>,
}

/// A unit whose deployments are marked, and how its marks are named.
struct Unit {
    application: ApplicationName,
    environment: EnvironmentName,
    tags: DeploymentTags,
}

/// What is remembered: all of it may be forgotten.
#[derive(Default)]
struct State {
    done: BTreeSet<String>,
    /// Of what it was told that it cannot be marked.
    told: BTreeSet<String>,
    /// When those are looked at again.
    look_up: Option<Timestamp>,
    again: Option<Timestamp>,
    failures: u32,
}

/// A deployment to be marked.
struct Mark {
    tag: String,
    commit: CommitId,
    environment: EnvironmentName,
    application: ApplicationName,
    release: String,
    at: Timestamp,
}

impl Marker {
    /// Marks what this reconciler deploys, as these pipelines say. `None`: nothing is marked.
    pub fn new(
        reconciler: &Arc<Reconciler>,
        pipelines: &[Arc<Pipeline>],
        author: &Author,
    ) -> Option<Self> {
        let sources = sources(reconciler, pipelines);
        (!sources.is_empty()).then(|| Self {
            reconciler: reconciler.clone(),
            author: author.clone(),
            sources,
        })
    }

    /// Marks what is to be marked now. Gives when to look again, where something could not be.
    pub async fn turn(&self, now: Timestamp) -> Option<Timestamp> {
        let turns = self.sources.iter().map(|source| self.step(source, now));
        join_all(turns).await.into_iter().flatten().min()
    }

    /// Marks until stopped.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let board = self.reconciler.board();
        board.follow(LOOKS, &stop, |now| self.turn(now)).await;
    }

    async fn step(&self, source: &Marked, now: Timestamp) -> Option<Timestamp> {
        let mut state = source.state.lock().await;
        if let Some(again) = state.again.filter(|again| now < *again) {
            return Some(again);
        }
        let history = source.history.source.observed();
        let history = history.read().ok()?;
        let marks = self.open(source, history, &mut state, now);
        if marks.is_empty() {
            return None;
        }
        match self.mark(source, &marks, now).await {
            Ok(()) => {
                state.done.extend(marks.into_iter().map(|mark| mark.tag));
                (state.failures, state.again) = (0, None);
            }
            Err(why) => {
                tracing::warn!(source = %source.url, "what was deployed cannot be marked in its source, which is tried again: {why}");
                let wait = backoff(AGAIN_MIN, state.failures, AGAIN_MAX);
                state.failures = state.failures.saturating_add(1);
                state.again = now.checked_add(wait).ok();
            }
        }
        state.again
    }

    /// The deployments that are remembered as healthy and were not marked yet, oldest first.
    fn open(
        &self,
        source: &Marked,
        history: &History,
        state: &mut State,
        now: Timestamp,
    ) -> Vec<Mark> {
        let mut marks = Vec::new();
        // What is not known by its commit is looked at again now and then: it may be learned.
        let is_looked_up = state.look_up.is_none_or(|at| at <= now);
        if is_looked_up {
            state.look_up = now.checked_add(LOOKS.most).ok();
        }
        let board = self.reconciler.board().all();
        let posted = board.iter().filter(|it| !it.pipeline.removed);
        let posted: HashMap<_, _> = posted.map(|it| (&it.plan.application, it)).collect();
        for unit in &source.units {
            let posted = posted.get(&unit.application);
            let records = posted.and_then(|it| it.records.get(&unit.environment));
            for run in records.iter().flat_map(|records| &records.runs) {
                let tag = unit.tags.name(run.number);
                if state.done.contains(&tag) || state.told.contains(&tag) && !is_looked_up {
                    continue;
                }
                let commit = self.commit_of(unit, &run.release, now);
                let Some(commit) = commit.and_then(|commit| history.find(&commit)) else {
                    if state.told.insert(tag) {
                        let (application, environment) = (&unit.application, &unit.environment);
                        tracing::warn!(%application, %environment, source = %source.url, "from which commit {} was built is not known: deployment {} is not marked there", run.release, run.number);
                    }
                    continue;
                };
                marks.push(Mark {
                    tag,
                    commit,
                    environment: unit.environment.clone(),
                    application: unit.application.clone(),
                    release: run.release.name.clone(),
                    at: run.healthy_at,
                });
            }
        }
        marks.sort_by_key(|mark| mark.at);
        marks
    }

    /// The commit that a release was built from: as recorded, or as was learned since.
    fn commit_of(&self, unit: &Unit, release: &Release, now: Timestamp) -> Option<String> {
        let learned = || {
            let world = self.reconciler.world(&unit.application, now)?;
            let catalogue = world.catalogue.read().ok()?;
            catalogue.find(&release.digests())?.commit.clone()
        };
        release.commit.clone().or_else(learned)
    }

    /// Makes the marks that are not there, in one push.
    async fn mark(&self, source: &Marked, marks: &[Mark], now: Timestamp) -> Result<(), String> {
        let told = |error: GitError| error.to_string();
        for _ in 0..RACES {
            let names = marks.iter().map(|mark| reference(&mark.tag));
            let names: Vec<String> = names.chain([NOTES.to_owned()]).collect();
            let refs = source.repository.look(&names).await.map_err(told)?;
            let push = self.push(source, marks, &refs, now).await.map_err(told)?;
            let Some(push) = push else { return Ok(()) };
            match source.repository.push(push).await.map_err(told)? {
                Pushed::Landed => return Ok(()),
                Pushed::Lost { .. } => {}
                Pushed::Refused {
                    reasons, messages, ..
                } => {
                    let why = refusal(&reasons, &messages);
                    return Err(format!("{} does not take it: {why}", source.url));
                }
            }
        }
        Err(format!("others are always faster at {}", source.url))
    }

    /// What is missing; `None`: nothing.
    async fn push(
        &self,
        source: &Marked,
        marks: &[Mark],
        refs: &Refs,
        now: Timestamp,
    ) -> Result<Option<Push>, GitError> {
        let repository = &source.repository;
        let head = refs.get(NOTES).map(|shown| shown.id);
        let tree = match head {
            Some(head) => {
                repository.fetch(&[head], Reach::Tip).await?;
                Some(repository.commit(CommitId(head))?.tree)
            }
            None => None,
        };
        let author = Signature::of(&self.author, now);
        let mut draft = repository.draft();
        let mut notes: BTreeMap<CommitId, Note> = BTreeMap::new();
        let mut push = Push::new();
        for mark in marks {
            let note = match notes.remove(&mark.commit) {
                Some(note) => note,
                None => Note::read(&draft, tree, mark.commit)?,
            };
            let is_noted = note.tells_of(&mark.tag);
            let name = reference(&mark.tag);
            match refs.get(&name) {
                None if is_noted => {} // Somebody took the tag away.
                None => {
                    let id = draft.tag(&TagDraft {
                        name: mark.tag.clone(),
                        target: mark.commit,
                        tagger: author.clone(),
                        message: mark.message(),
                    })?;
                    push = push.update(name, None, id);
                }
                Some(shown) if shown.commit() != mark.commit => {
                    tracing::warn!(source = %source.url, tag = %mark.tag, "the tag stands on another commit, and is left there");
                }
                Some(_) => {}
            }
            let note = if is_noted { note } else { note.and(mark) };
            notes.insert(mark.commit, note);
        }
        let edits: Vec<_> = notes.into_values().filter_map(Note::edit).collect();
        if !edits.is_empty() {
            let tree = draft.edit(tree, edits)?;
            let commit = draft.commit(&CommitDraft {
                tree,
                parents: head.into_iter().map(CommitId).collect(),
                author: author.clone(),
                committer: author,
                message: "deployed\n".to_owned(),
            });
            push = push.update(NOTES, head, commit.0);
        }
        match push.updates().is_empty() {
            true => Ok(None),
            false => Ok(Some(push.with(&draft)?)),
        }
    }
}

fn reference(tag: &str) -> String {
    format!("refs/tags/{tag}")
}

impl Mark {
    /// What the note says.
    fn text(&self) -> String {
        let at = self.at.round(jiff::Unit::Second).unwrap_or(self.at);
        format!(
            "state: deployed\nenvironment: {}\ndeployment: {}\nrelease: {}\nat: {at}\n",
            self.environment, self.tag, self.release
        )
    }

    /// The tag's message.
    fn message(&self) -> String {
        let (environment, application) = (&self.environment, &self.application);
        let release = &self.release;
        format!("Successfully Deployed\n\n{environment}: {application} {release}\n")
    }
}

/// The note of a commit.
struct Note {
    path: String,
    text: String,
    is_changed: bool,
}

impl Note {
    /// Reads it where git put it: notes lie deeper the more there are.
    fn read(draft: &Draft, tree: Option<ObjectId>, commit: CommitId) -> Result<Self, GitError> {
        let hex = commit.to_string();
        let shallow = format!("{}/{}", &hex[..2], &hex[2..]);
        let deep = format!("{}/{}/{}", &hex[..2], &hex[2..4], &hex[4..]);
        if let Some(tree) = tree {
            for path in [&shallow, &hex, &deep] {
                if let Some(found) = draft.lookup(tree, path)? {
                    let text = draft.blob(found.id)?;
                    return Ok(Self {
                        path: path.clone(),
                        text: String::from_utf8_lossy(&text).into_owned(),
                        is_changed: false,
                    });
                }
            }
        }
        Ok(Self {
            path: shallow,
            text: String::new(),
            is_changed: false,
        })
    }

    fn tells_of(&self, tag: &str) -> bool {
        let line = format!("deployment: {tag}");
        self.text.lines().any(|it| it == line)
    }

    /// With a paragraph more.
    fn and(mut self, mark: &Mark) -> Self {
        if !self.text.is_empty() {
            let text = self.text.trim_end_matches('\n');
            self.text = format!("{text}\n\n");
        }
        self.text.push_str(&mark.text());
        self.is_changed = true;
        self
    }

    fn edit(self) -> Option<crate::git::Edit> {
        let text = self.text.into_bytes().into();
        self.is_changed.then_some((self.path, Some(text)))
    }
}

/// The source repositories of units that are marked, and that this process acts for.
fn sources(reconciler: &Reconciler, pipelines: &[Arc<Pipeline>]) -> Vec<Marked> {
    let observatory = reconciler.observatory();
    let acts_for = observatory.acts_for();
    let mut sources: BTreeMap<&RepositoryUrl, Marked> = BTreeMap::new();
    for pipeline in pipelines {
        let Some(source) = &pipeline.application.source else {
            continue;
        };
        let Some(history) = observatory.histories.get(&source.url) else {
            continue;
        };
        let marking = || pipeline.environments.iter().filter(|it| it.mark_source);
        for environment in marking().filter(|it| acts_for.contains(&it.name)) {
            let marked = sources.entry(&source.url).or_insert_with(|| Marked {
                url: source.url.clone(),
                repository: history.reader.repository().beside(),
                history: history.clone(),
                units: Vec::new(),
                state: tokio::sync::Mutex::default(),
            });
            let of_source = |it: &&Arc<Pipeline>| {
                let other = it.application.source.as_ref();
                other.is_some_and(|other| other.url == source.url)
                    && it.environments.iter().any(|it| it.mark_source)
            };
            let is_shared = pipelines.iter().filter(of_source).nth(1).is_some();
            marked.units.push(Unit {
                application: pipeline.application.name.clone(),
                environment: environment.name.clone(),
                tags: tags(
                    &pipeline.application.name,
                    &environment.name,
                    is_shared,
                    marking().nth(1).is_some(),
                ),
            });
        }
    }
    sources.into_values().collect()
}

/// `deployment-`, behind whatever several of them are told apart by.
fn tags(
    application: &ApplicationName,
    environment: &EnvironmentName,
    is_shared: bool,
    are_several: bool,
) -> DeploymentTags {
    let application = is_shared.then(|| format!("{application}/"));
    let environment = are_several.then(|| format!("{environment}/"));
    let parts = [application, environment].into_iter().flatten();
    DeploymentTags {
        keep: KeepTags::All,
        prefix: parts.collect::<String>() + "deployment-",
    }
}
