//! The parent of an environment's [ApplySet](https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune):
//! a ConfigMap that names the kinds and namespaces in which the set's members live.
//!
//! Owns that it names more than there is at any time, never less: what is to come is written before
//! it is applied, what is gone is taken out after it was deleted. Where it names everything already
//! that an apply needs, no request is made; but of what nothing is known to be out there, another
//! process may just have taken the name out, so that it is read again. A parent that another tool wrote
//! is never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::apply::{self, Sight};
use super::kinds::Kind;
use super::marks::{GROUP_KINDS, NAMESPACES, SET_ID, Set, TOOLING};
use super::refusal::Refusal;
use super::request::{NEVER, Patch, Sender, Target, View};
use crate::cluster::{ClusterError, Taken};
use crate::model::{ApplicationName, ObjectRef};

/// Who writes the parent, apart from who writes objects.
const KEEPER: &str = "towpath-applyset";

/// The tool's name, and its version.
const TOOL: (&str, &str) = ("towpath", env!("CARGO_PKG_VERSION"));

/// How often the parent is read anew because another wrote it in between.
const TRIES: usize = 5;

/// Kinds and namespaces of a set's members.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Kinds: `Deployment.apps`, `ConfigMap`.
    pub kinds: BTreeSet<String>,
    /// Namespaces.
    pub namespaces: BTreeSet<String>,
}

impl Members {
    /// Adds an object, which lives in its namespace if its kind is namespaced.
    pub fn add(&mut self, object: &ObjectRef, namespaced: bool) {
        self.kinds.insert(object.group_kind());
        if let Some(namespace) = object.namespace.as_ref().filter(|_| namespaced) {
            self.namespaces.insert(namespace.clone());
        }
    }

    /// These and those.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        Self {
            kinds: &self.kinds | &others.kinds,
            namespaces: &self.namespaces | &others.namespaces,
        }
    }

    /// These but not those.
    #[must_use]
    pub fn without(&self, others: &Self) -> Self {
        Self {
            kinds: &self.kinds - &others.kinds,
            namespaces: &self.namespaces - &others.namespaces,
        }
    }

    /// Whether all of those are among these.
    pub fn hold(&self, others: &Self) -> bool {
        self.kinds.is_superset(&others.kinds) && self.namespaces.is_superset(&others.namespaces)
    }
}

/// An environment's set: what is known of its parent, and what its applies have to tell. Lives as long as
/// the process.
pub struct ApplySet {
    set: Set,
    client: Client,
    state: Mutex<State>,
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    parent: Option<Parent>,
    /// What applies that are under way rely on.
    relied_on: Vec<Arc<Members>>,
    /// What applies took from other managers and could not tell yet, because they did not succeed.
    taken: BTreeMap<ApplicationName, Vec<Taken>>,
}

impl State {
    /// Whether some of these are not known to be out there, nor to be on their way by applies that made
    /// sure of the parent: as far as that is known.
    fn are_news(&self, wanted: &Members, sight: &dyn Sight) -> bool {
        let Some(there) = sight.members() else {
            return false;
        };
        let mut left = wanted.without(&there);
        // A thousand applies may rely on the same: the first of them tells.
        let mut under_way = self.relied_on.iter();
        while left != Members::default() {
            match under_way.next() {
                Some(relied_on) => left = left.without(relied_on),
                None => return true,
            }
        }
        false
    }
}

/// The parent as it stands in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Parent {
    /// `None`: there is none.
    version: Option<String>,
    members: Members,
}

/// Whom the parent is written for.
#[derive(Clone, Copy)]
pub(super) struct Keeper<'a> {
    pub(super) cluster: &'a str,
    pub(super) permits: &'a Semaphore,
    pub(super) sight: &'a dyn Sight,
}

/// While this lives, what it relies on stays in the parent.
pub(super) struct Holding<'a> {
    state: &'a Mutex<State>,
    members: Arc<Members>,
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        let mut state = locked(self.state);
        state.relied_on.retain(|it| !Arc::ptr_eq(it, &self.members));
    }
}

impl ApplySet {
    /// The set of an environment. The client acts as Towpath itself, whoever objects are applied as.
    pub fn new(set: Set, client: Client) -> Self {
        Self {
            set,
            client,
            state: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
        }
    }

    /// Which set.
    pub fn set(&self) -> &Set {
        &self.set
    }

    /// The parent was seen in this version, or is gone: if that is not the one that is known, it is
    /// read before it is next relied on.
    pub fn noticed(&self, version: Option<&str>) {
        let mut state = locked(&self.state);
        let known = state
            .parent
            .as_ref()
            .map(|parent| parent.version.as_deref());
        if known != Some(version) {
            state.parent = None;
        }
    }

    /// Keeps what an apply took until [`Self::told`].
    pub(super) fn took(&self, application: &ApplicationName, taken: Vec<Taken>) {
        if !taken.is_empty() {
            let mut state = locked(&self.state);
            let kept = state.taken.entry(application.clone()).or_default();
            for one in taken {
                if !kept.contains(&one) {
                    kept.push(one);
                }
            }
        }
    }

    /// What this and earlier applies of the application took, once.
    pub(super) fn told(&self, application: &ApplicationName) -> Vec<Taken> {
        locked(&self.state)
            .taken
            .remove(application)
            .unwrap_or_default()
    }

    /// Has the parent name what is wanted and what is to be deleted, if it does not yet.
    ///
    /// # Errors
    /// [`ClusterError`], about the parent.
    pub(super) async fn hold(
        &self,
        keeper: Keeper<'_>,
        wanted: &Members,
        surplus: &Members,
    ) -> Result<Holding<'_>, ClusterError> {
        let members = Arc::new(wanted.with(surplus));
        let (holding, is_first) = {
            let mut state = locked(&self.state);
            let are_news = state.are_news(wanted, keeper.sight);
            // Relied on first and looked up then, so that nobody takes it out in between.
            state.relied_on.push(members.clone());
            let holding = Holding {
                state: &self.state,
                members: members.clone(),
            };
            (holding, are_news)
        };
        if is_first {
            let _writing = self.writing.lock().await;
            locked(&self.state).parent = None;
            self.name(keeper, &members).await?;
        } else {
            self.keep(keeper, &members).await?;
        }
        Ok(holding)
    }

    /// Has the parent go on naming what an apply relies on: while that was under way, somebody may have
    /// changed the parent.
    ///
    /// # Errors
    /// As [`Self::hold`].
    pub(super) async fn confirm(
        &self,
        keeper: Keeper<'_>,
        holding: &Holding<'_>,
    ) -> Result<(), ClusterError> {
        self.keep(keeper, &holding.members).await
    }

    async fn keep(&self, keeper: Keeper<'_>, members: &Members) -> Result<(), ClusterError> {
        if self.names(members) {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        match self.names(members) {
            true => Ok(()),
            false => self.name(keeper, members).await,
        }
    }

    /// Has the parent name these, and what else is known to be out there: nobody but us adds it again
    /// where somebody took it out.
    async fn name(&self, keeper: Keeper<'_>, members: &Members) -> Result<(), ClusterError> {
        let there = keeper.sight.members().unwrap_or_default();
        let wanted = members.with(&there);
        let written = self.write(keeper, |parent| parent.members.with(&wanted));
        let written = written.await;
        written.map_err(|refusal| apply::error(keeper.cluster, &self.set.parent(), None, refusal))
    }

    /// Takes out of the parent what was deleted and what nothing else needs. Where that fails, the
    /// parent goes on naming too much, which is no harm.
    pub(super) async fn release(&self, keeper: Keeper<'_>, gone: Members, wanted: &Members) {
        let gone = gone.without(wanted);
        if gone == Members::default() {
            return;
        }
        let Some(left) = keeper.sight.members() else {
            return;
        };
        let _writing = self.writing.lock().await;
        let unused = {
            let mut state = locked(&self.state);
            let mut unused = gone.without(&left);
            for relied_on in &state.relied_on {
                unused = unused.without(relied_on);
            }
            let known = state.parent.as_ref();
            if known.is_some_and(|parent| parent.members == parent.members.without(&unused)) {
                return;
            }
            // From here on nobody relies on it without asking.
            state.parent = None;
            unused
        };
        let written = self
            .write(keeper, |parent| parent.members.without(&unused))
            .await;
        if let Err(refusal) = written {
            tracing::debug!(
                set = self.set.name,
                ?refusal,
                "the set goes on naming more than it has"
            );
        }
    }

    /// Whether the parent is known to name these.
    fn names(&self, members: &Members) -> bool {
        let state = locked(&self.state);
        let mut needed = members.clone();
        // Members are looked for in the parent's own namespace anyway.
        needed.namespaces.remove(&self.set.namespace);
        let parent = state.parent.as_ref();
        parent.is_some_and(|parent| parent.version.is_some() && parent.members.hold(&needed))
    }

    /// Writes the parent with the members that it shall have, made from those it has.
    async fn write(
        &self,
        keeper: Keeper<'_>,
        change: impl Fn(&Parent) -> Members,
    ) -> Result<(), Refusal> {
        let sender = Sender::new(self.client.clone(), keeper.permits);
        let target = Target::new(&config_map(), None, &self.set.parent());
        for _ in 0..TRIES {
            let known = locked(&self.state).parent.take();
            let parent = match known {
                Some(parent) => parent,
                None => match sender.get(&target, View::Metadata).await? {
                    Some(found) => self.read(&found)?,
                    None => Parent::default(),
                },
            };
            let mut members = change(&parent);
            members.namespaces.remove(&self.set.namespace);
            if parent.version.is_some() && members == parent.members {
                locked(&self.state).parent = Some(parent);
                return Ok(());
            }
            let patch = Patch {
                manager: KEEPER,
                dry_run: false,
                // The parent is known as ours by its id and its tooling.
                force: true,
                view: View::Metadata,
            };
            let body = self.body(&parent, &members).to_string().into_bytes();
            match sender.apply(&target, patch, body).await {
                Ok(reply) => {
                    locked(&self.state).parent = Some(self.read(&reply.value()?)?);
                    return Ok(());
                }
                Err(Refusal::Stale) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::Stale)
    }

    fn body(&self, parent: &Parent, members: &Members) -> Value {
        let listed = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(",");
        let (tool, version) = TOOL;
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.set.name,
                "namespace": self.set.namespace,
                "resourceVersion": parent.version.as_deref().unwrap_or(NEVER),
                "labels": { SET_ID: self.set.id },
                "annotations": {
                    TOOLING: format!("{tool}/v{version}"),
                    GROUP_KINDS: listed(&members.kinds),
                    NAMESPACES: listed(&members.namespaces),
                },
            },
        })
    }

    /// Reads the parent, which must be ours.
    fn read(&self, found: &Value) -> Result<Parent, Refusal> {
        let metadata = &found["metadata"];
        let annotation = |name: &str| metadata["annotations"][name].as_str().unwrap_or_default();
        let id = metadata["labels"][SET_ID].as_str().unwrap_or_default();
        if id != self.set.id {
            return Err(Refusal::Prevented(format!(
                "it has the name of this environment's set, and is not: its label `{SET_ID}` is `{id}`, not `{}`. Delete it, or rename the environment",
                self.set.id
            )));
        }
        let tool = annotation(TOOLING).split('/').next().unwrap_or_default();
        if tool != TOOL.0 {
            return Err(Refusal::Prevented(format!(
                "the set belongs to the tool `{tool}`: delete it there, or rename the environment"
            )));
        }
        let names = |name: &str| {
            let names = annotation(name).split(',').map(str::trim);
            names
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Ok(Parent {
            version: metadata["resourceVersion"].as_str().map(str::to_owned),
            members: Members {
                kinds: names(GROUP_KINDS),
                namespaces: names(NAMESPACES),
            },
        })
    }
}

/// The parent's kind, which every cluster serves.
fn config_map() -> Arc<Kind> {
    Arc::new(Kind {
        group: String::new(),
        kind: "ConfigMap".to_owned(),
        plural: "configmaps".to_owned(),
        namespaced: true,
        versions: vec!["v1".to_owned()],
        verbs: Vec::new(),
    })
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
