//! What was observed, as plain values: the only thing a plan is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::edit::{Edit, Layers};
use crate::manifest::{Rendered, carries};
use crate::model::catalogue::Catalogue;
use crate::model::record::{Standing, Taken, UnitRecords};
use crate::model::{
    ApplicationName, CommitId, Digest, EnvironmentName, EvidencePlace, FlatMap, Health,
    ImageReference, ObjectRef, Release, Said,
};

/// Something of the outside world, or why it could not be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed<T> {
    /// It was read.
    Seen {
        /// What was read.
        value: T,
        /// When.
        at: Timestamp,
    },
    /// It could not be read, or what was read is too old to decide on.
    Unreadable(Unreadable),
}

/// Why a source could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Which source.
    pub source: String,
    /// What it answered.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is asked again.
    pub retry: Option<Timestamp>,
}

impl<T> Observed<T> {
    /// What was read, or why it could not be.
    pub fn read(&self) -> Result<&T, &Unreadable> {
        match self {
            Self::Seen { value, .. } => Ok(value),
            Self::Unreadable(unreadable) => Err(unreadable),
        }
    }
}

/// Everything one pipeline's plan is made from.
#[derive(Debug, Clone)]
pub struct World {
    /// The releases that exist.
    pub catalogue: Observed<Arc<Catalogue>>,
    /// What some tags named in manifests point to, where the catalogue does not know them; `None`: they
    /// do not exist. One that is not here was not looked up yet.
    pub resolved: BTreeMap<ImageReference, Option<Digest>>,
    /// What is attached to images as evidence, answered of them, or reported of their commits, where that decides
    /// something. What is not here was not asked for yet.
    pub attached: BTreeMap<(EvidencePlace, Digest), Observed<Said>>,
    /// The units, by environment.
    pub units: BTreeMap<EnvironmentName, UnitView>,
}

/// One unit as it was observed.
#[derive(Debug, Clone)]
pub struct UnitView {
    /// What its infra repository says.
    pub infra: Observed<Arc<Infra>>,
    /// The request that proposes, where the gate has one.
    pub request: Observed<Option<Request>>,
    /// What its cluster runs; `None`: the environment is another Towpath's to act on.
    pub live: Option<Observed<Arc<Live>>>,
    /// What effects on it came to, where that can be seen nowhere else.
    pub learned: Learned,
}

/// What effects on a unit came to. Lost when the process ends, harmlessly: it is learned again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Learned {
    /// The desired state that the cluster will not take.
    pub refused: Option<Refusal>,
    /// Hooks that were seen to complete, by the hash in their mark: some are gone soon after.
    pub completed: BTreeSet<Digest>,
    /// How the last smoke tests went.
    pub smoked: Option<Smoked>,
    /// What applies took from other managers and is not recorded yet.
    pub taken: Option<Taking>,
}

/// A desired state that the cluster will not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The unit's desired state.
    pub state: Digest,
    /// When its deployment was recorded, or asked for again: each asking is an attempt of its own.
    pub asked_at: Timestamp,
    /// The object, and what the cluster said of it.
    pub reason: String,
}

/// How smoke tests of a deployment went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Smoked {
    /// The deployment's number.
    pub number: u64,
    /// When the rollout began that they were about.
    pub begun: Timestamp,
    /// When they ended.
    pub at: Timestamp,
    /// What was seen instead of what was expected, if it was.
    pub failed: Option<String>,
}

/// What the applies of a deployment took from other managers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taking {
    /// The deployment's number.
    pub number: u64,
    /// Its commit.
    pub commit: CommitId,
    /// What.
    pub taken: Vec<Taken>,
}

/// What an infra repository says of one unit.
#[derive(Debug, Clone)]
pub struct Infra {
    /// The head of the environment's branch.
    pub head: CommitId,
    /// When this head was first seen.
    pub head_since: Timestamp,
    /// Whether the newest recorded deployment is no longer behind the head.
    pub went_back: bool,
    /// The head of the environment's records.
    pub records_head: Option<CommitId>,
    /// What the records say of the environment.
    pub standing: Arc<Standing>,
    /// What the records say of the unit; or why they cannot be read.
    pub records: Result<Arc<UnitRecords>, String>,
    /// The same without the newest deployment, where its commit was not seen to reach the branch: the
    /// push that recorded it broke off.
    pub unlanded: Option<Arc<UnitRecords>>,
    /// What the head asks for; or which file is at fault.
    pub desired: Result<Desired, String>,
    /// The commit that brought the unit's desired state, where it is not the recorded one.
    pub changed: Option<ChangedBy>,
    /// The proposal branch.
    pub proposal: Option<Proposal>,
    /// Commits known to be behind the head.
    pub behind: Arc<BTreeSet<CommitId>>,
}

/// Who changed a unit's desired state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedBy {
    /// The first-parent commit that did.
    pub commit: CommitId,
    /// Its committer.
    pub by: String,
}

/// A unit's desired state and what it was rendered from.
#[derive(Debug, Clone)]
pub struct Desired {
    /// The files, for editing and rendering again.
    pub layers: Arc<Layers>,
    /// The objects.
    pub rendered: Arc<Rendered>,
}

/// The proposal branch of a unit.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// Its head.
    pub head: CommitId,
    /// What its head asks for; or which file is at fault.
    pub desired: Result<Desired, String>,
    /// An encrypted file of it that is not open: what it asks for is not known.
    pub unopened: Option<Unreadable>,
    /// Whether the base touched a file that it edits.
    pub conflicts: bool,
    /// Whether its head stands on another commit than the recorded one: on people's.
    pub by_people: bool,
    /// The files that it changes otherwise than by setting its release's images.
    pub beside: Vec<String>,
}

impl Proposal {
    /// Whether what its head asks for is this release.
    pub fn asks_for(&self, release: &Release) -> bool {
        self.desired
            .as_ref()
            .is_ok_and(|desired| carries(&desired.rendered, &release.digests()).is_ok())
    }

    /// The branch as what stands in for a request.
    pub fn as_request(&self, branch: &str, since: Timestamp) -> Request {
        Request {
            name: format!("branch {branch}"),
            number: None,
            url: None,
            state: RequestState::Open,
            head: self.head,
            armed: None,
            behind: false,
            says: None,
            labels: BTreeSet::new(),
            since,
        }
    }

    /// Sets a release in the files of the branch.
    ///
    /// # Errors
    /// Says in one sentence why nothing is written.
    pub fn set(&self, release: &Release) -> Result<Edit, String> {
        self.desired.as_ref().map_err(Clone::clone)?.set(release)
    }
}

/// The newest request about a unit's proposals: a pull request, or the branch that stands in for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What people call it: `#12`, or the branch.
    pub name: String,
    /// Its number; `None`: the branch is the request.
    pub number: Option<u64>,
    /// Where it is seen.
    pub url: Option<String>,
    /// Whether it is open, and how it ended if not.
    pub state: RequestState,
    /// The commit it is about; where it is closed, the one it was about last.
    pub head: CommitId,
    /// Who or what may merge it at any moment, such as `approved by ann`; `None`: nobody said so.
    pub armed: Option<String>,
    /// Whether the forge merges it only once it stands on its base's head, which has moved on.
    pub behind: bool,
    /// What our part of its text was made from; `None`: we said nothing there, or a person changed it.
    pub says: Option<Digest>,
    /// Its labels.
    pub labels: BTreeSet<String>,
    /// Since when it is seen to be open, or to have ended.
    pub since: Timestamp,
}

/// Whether a request is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestState {
    /// It is.
    Open,
    /// It was closed unmerged.
    Closed,
    /// It was merged.
    Merged {
        /// The commit that this made on the base, where the forge tells.
        commit: Option<CommitId>,
    },
}

impl Request {
    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.state == RequestState::Open
    }
}

/// What a cluster runs of one unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Live {
    /// The unit's objects, and those that its manifests name.
    pub objects: FlatMap<ObjectRef, LiveObject>,
    /// Since when the cluster answers again, if it did not for a while.
    pub answering_since: Option<Timestamp>,
    /// Why a person holds the environment, said on the cluster itself.
    pub brake: Option<String>,
}

/// A live object.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveObject {
    /// The server's id of this very object.
    pub uid: String,
    /// The server's version of it.
    pub version: String,
    /// Our mark on it; `None`: it is not ours.
    pub mark: Option<Mark>,
    /// Who else marked it: `helm`, `flux`, `argocd`.
    pub engine: Option<String>,
    /// Who manages its fields, as the server tells; empty where it is ours.
    pub managers: Vec<String>,
    /// A Service's type: a load balancer gives up its address when it is deleted.
    pub service_type: Option<String>,
    /// How it does.
    pub health: Health,
    /// When it was last applied.
    pub applied_at: Timestamp,
    /// How it differs from what its mark says was applied, if somebody changed it since.
    pub drift: Option<Drifted>,
    /// Why it is not to be deleted though it carries our mark: it has an owner, we never applied it,
    /// it says so itself.
    pub kept: Option<String>,
    /// The other unit whose desired state names it, as `APPLICATION in ENVIRONMENT`: what that asks
    /// for is handed over, not deleted; what both ask for is taken from neither.
    pub claimed: Option<String>,
}

impl LiveObject {
    /// Whether its mark says that it is this unit's.
    pub fn is_of(&self, application: &ApplicationName, environment: &EnvironmentName) -> bool {
        let mark = self.mark.as_ref();
        mark.is_some_and(|mark| {
            mark.application == *application && mark.environment == *environment
        })
    }
}

/// How a live object differs from what was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drifted {
    /// The fields that another apply would change back, as paths.
    pub fields: Vec<String>,
    /// Who changed them, as far as the server tells.
    pub by: Option<String>,
    /// How often in a row they were set back and changed again.
    pub rounds: u32,
    /// Until when they are left alone because somebody keeps changing them.
    pub rest_until: Option<Timestamp>,
}

/// What Towpath writes on every object it applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The application.
    pub application: ApplicationName,
    /// The environment.
    pub environment: EnvironmentName,
    /// The hash of the object's own rendered manifest.
    pub hash: Digest,
    /// The commit where it last changed.
    pub commit: CommitId,
}
