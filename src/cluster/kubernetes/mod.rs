//! A Kubernetes cluster: what of an environment runs there, and making it run something else.
//!
//! Owns putting a unit's live view together: what is followed ([`watch`]), what is named and not
//! followed ([`looks`]), what somebody touched ([`drift`]), who else asks for it ([`place`]). Where
//! nothing changed, no request is made. Decides nothing, and knows no other environment's objects.

mod allowed;
pub mod answer;
pub mod apply;
mod balancer;
mod compare;
pub mod connect;
pub(crate) mod doors;
mod drift;
mod fields;
pub mod health;
pub mod kinds;
pub mod logs;
mod looks;
pub mod marks;
mod place;
mod preview;
mod prune;
mod refusal;
mod request;
pub mod set;
mod watch;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use jiff::Timestamp;
use kube::Client;

pub use self::place::Place;

use self::answer::Asked;
use self::apply::{Ahead, Allows, ApplyContext, Seen, Sight};
use self::drift::Fights;
use self::health::Rules;
use self::kinds::Kind;
use self::looks::Looks;
use self::marks::Set;
use self::request::Sender;
use self::set::{ApplySet, Members};
use self::watch::{Key, Subject, Unread, Watch};
use super::rbac::Right;
use super::{Applied, Cluster, ClusterError, Member, Preview, ReadCluster, Served, UnitScope};
use crate::manifest::{Object, Rendered};
use crate::model::{Access, ApplicationName, Conflicts, EnvironmentName, ObjectRef};
use crate::plan::{Apply, Live, LiveObject};

/// A cluster that was not heard of for so long while something is waited for is asked whether it is
/// still there: an API server whose store hangs goes on holding its watches open.
const SILENCE: Duration = Duration::from_secs(5);

/// The logs of so many Jobs are asked for in one look at a unit, all at once; the others' in the next.
const LOGS: usize = 4;

/// What an environment states for one of its applications.
#[derive(Debug, Clone)]
pub struct Policy {
    /// What happens to fields that another manager holds.
    pub conflicts: Conflicts,
    /// Engines whose objects may be taken over: `flux`, `argocd`, `helm`.
    pub engines: Vec<String>,
    /// What the application may touch; `None`: no limits.
    pub access: Option<Access>,
    /// How the health of kinds is read that Towpath does not know.
    pub rules: Rules,
}

/// See the module. One for each environment.
pub struct KubernetesCluster {
    place: Arc<Place>,
    set: Arc<ApplySet>,
    watch: Arc<Watch>,
    looks: Looks,
    ahead: Ahead,
    fights: Fights,
    units: BTreeMap<ApplicationName, Policy>,
    /// Clients that act as somebody else, by whom.
    acting: Mutex<BTreeMap<String, Client>>,
}

impl KubernetesCluster {
    /// An environment on a cluster. Objects without a namespace go to `namespace`. Asks nothing yet; to
    /// be called within the async runtime.
    pub fn new(
        place: &Arc<Place>,
        environment: &EnvironmentName,
        namespace: &str,
        units: BTreeMap<ApplicationName, Policy>,
    ) -> Self {
        let set = Set::of(environment, namespace);
        let client = place.connection.client();
        let looks = Looks::new(
            &place.name,
            environment.clone(),
            set.clone(),
            client.clone(),
        );
        let set = Arc::new(ApplySet::new(set, client));
        let rules = units.iter();
        let watch = Arc::new(Watch::new(Subject {
            place: place.clone(),
            environment: environment.clone(),
            set: set.clone(),
            rules: rules
                .map(|(name, unit)| (name.clone(), unit.rules.clone()))
                .collect(),
            namespaces: namespaces(&units),
        }));
        place.add(environment.clone(), &watch);
        Self {
            place: place.clone(),
            set,
            watch,
            looks,
            ahead: Ahead::default(),
            fights: Fights::default(),
            units,
            acting: Mutex::default(),
        }
    }

    /// A client that acts as whom the unit's objects are applied as.
    fn client_of(&self, unit: &UnitScope) -> Result<Client, ClusterError> {
        let access = self.units.get(&unit.application);
        let access = access.and_then(|policy| policy.access.as_ref());
        let Some(account) = access.and_then(|access| access.impersonate.as_ref()) else {
            return Ok(self.place.connection.client());
        };
        let user = account.user();
        let mut acting = self.acting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = acting.get(&user) {
            return Ok(client.clone());
        }
        let client = self.place.connection.impersonating(&user);
        let client = client.map_err(|_| {
            ClusterError::Unsupported(format!(
                "`{user}` cannot be impersonated: no such name exists"
            ))
        })?;
        acting.insert(user, client.clone());
        Ok(client)
    }

    /// What a unit may hold.
    fn allows(&self, unit: &UnitScope) -> impl Fn(&ObjectRef) -> Result<(), String> + Send + Sync {
        let policy = self.units.get(&unit.application);
        let access = policy.and_then(|policy| policy.access.as_ref());
        move |object| match access {
            Some(access) => access.allows(object).map_err(|denied| denied.to_string()),
            None => Ok(()),
        }
    }

    fn context<'a>(
        &'a self,
        unit: &UnitScope,
        allows: Allows<'a>,
    ) -> Result<ApplyContext<'a>, ClusterError> {
        let policy = self.units.get(&unit.application);
        Ok(ApplyContext {
            cluster: &self.place.name,
            client: self.client_of(unit)?,
            kinds: &self.place.kinds,
            set: &self.set,
            conflicts: policy.map_or(Conflicts::Refuse, |policy| policy.conflicts),
            engines: policy.map_or(&[], |policy| &policy.engines),
            allows,
            permits: &self.place.permits,
            sight: self,
            ahead: &self.ahead,
        })
    }

    /// A kind, if the cluster serves it.
    async fn kind(&self, group: &str, kind: &str) -> Result<Option<Arc<Kind>>, ClusterError> {
        let found = self.place.kinds.find(group, kind).await;
        found.map_err(|error| {
            let asked = Asked {
                verb: "get",
                resource: "the kinds it serves".to_owned(),
                namespace: None,
            };
            answer::unavailable(&self.place.name, &asked, &error)
        })
    }

    /// An object that is not followed, as the cluster has it, if it is there.
    async fn look(
        &self,
        object: &Object,
        now: Timestamp,
    ) -> Result<Option<LiveObject>, ClusterError> {
        let reference = &object.reference;
        let found = self.kind(&reference.group, &reference.kind).await?;
        let Some(kind) = found else { return Ok(None) };
        let namespace = reference.namespace.as_deref().filter(|_| kind.namespaced);
        let key = Key {
            namespace: namespace.unwrap_or_default().into(),
            name: reference.name.as_str().into(),
        };
        let since = self.watch.departed(&kind);
        self.looks.find(&kind, &key, since, now).await
    }

    /// Asks what Jobs wrote that failed, of each once. What could not be had is not asked for again: a
    /// verdict waits for it.
    async fn read_logs(&self, unread: Vec<Unread>) {
        let client = self.place.connection.client();
        let asked = unread.iter().take(LOGS).map(|unread| async {
            let lines = unread.log.last_lines(&client).await;
            self.watch.wrote(unread, lines);
        });
        join_all(asked).await;
    }

    /// Asks whether the cluster still answers from its store.
    async fn probe(&self) -> Result<(), ClusterError> {
        let parent = self.set.set().parent();
        let client = self.place.connection.client();
        let namespace = parent.namespace.as_deref().unwrap_or_default();
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{}", parent.name);
        let request = http::Request::get(path).body(Vec::new());
        let Ok(request) = request else { return Ok(()) };
        match client.request_text(request).await {
            Ok(_) => {}
            Err(error) if answer::status(&error).is_some_and(|it| it.code < 500) => {}
            Err(error) => {
                let asked = Asked {
                    verb: "get",
                    resource: "configmaps".to_owned(),
                    namespace: parent.namespace.clone(),
                };
                return Err(answer::unavailable(&self.place.name, &asked, &error));
            }
        }
        self.watch.heard();
        Ok(())
    }

    /// The same step on the newest versions of objects of which nothing changed that the plan saw:
    /// a controller wrote their status since.
    fn freshened<'a>(&self, apply: &'a Apply) -> Cow<'a, Apply> {
        let mut apply = Cow::Borrowed(apply);
        for index in 0..apply.change.len() {
            let change = &apply.change[index];
            let newer = change
                .version
                .as_ref()
                .and_then(|version| self.watch.same_as(&change.reference, version));
            if newer.is_some() {
                apply.to_mut().change[index].version = newer;
            }
        }
        apply
    }
}

/// The namespaces that an environment's applications may touch; `None`: any.
fn namespaces(units: &BTreeMap<ApplicationName, Policy>) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for unit in units.values() {
        let access = unit.access.as_ref()?;
        all.extend(access.namespaces.as_ref()?.iter().cloned());
    }
    Some(all)
}

#[async_trait]
impl ReadCluster for KubernetesCluster {
    fn name(&self) -> &str {
        &self.place.name
    }

    async fn live(
        &self,
        unit: &UnitScope,
        desired: Option<&Arc<Rendered>>,
        now: Timestamp,
    ) -> Result<Live, ClusterError> {
        if let Some(desired) = desired
            && let Ok(before) = self.watch.wants(&unit.application, desired)
        {
            self.place.asks(before.as_deref(), desired);
        }
        self.watch.know(desired).await?;
        let mut view = self.watch.view(unit, desired);
        if !view.suspects.is_empty() || !view.unread.is_empty() {
            let sender = Sender::new(self.client_of(unit)?, &self.place.permits);
            let suspects = std::mem::take(&mut view.suspects);
            let unread = std::mem::take(&mut view.unread);
            let settled = drift::settle(&self.watch, &self.fights, &sender, suspects, now);
            let (settled, ()) = tokio::join!(settled, self.read_logs(unread));
            settled?;
            view = self.watch.view(unit, desired);
        }
        if view.in_progress && self.watch.silence() > SILENCE {
            self.probe().await?;
        }
        let mut objects = view.objects;
        for object in view.unknown {
            if let Some(found) = self.look(&object, now).await? {
                objects.insert(object.reference.clone(), found);
            }
        }
        for (reference, found) in &mut objects {
            let asks = desired.is_some_and(|desired| {
                let found = desired
                    .objects
                    .binary_search_by(|it| it.reference.cmp(reference));
                found.is_ok()
            });
            found.claimed = self.place.claimed(unit, reference, asks);
        }
        Ok(Live {
            objects: objects.into_iter().collect(),
            brake: self.watch.hold(),
            ..Live::default()
        })
    }

    async fn changed(&self, now: Timestamp) -> BTreeSet<ApplicationName> {
        self.watch.changed(now).await
    }

    async fn preview(
        &self,
        unit: &UnitScope,
        desired: &Arc<Rendered>,
        _now: Timestamp,
    ) -> Result<Vec<Preview>, ClusterError> {
        self.watch.know(Some(desired)).await?;
        let view = self.watch.view(unit, Some(desired));
        let is_kept = |it: &ObjectRef| view.objects.get(it).is_some_and(|it| it.kept.is_some());
        let surplus = view.surplus.iter().filter(|it| !is_kept(it)).cloned();
        let surplus = surplus.collect();
        let sender = Sender::new(self.client_of(unit)?, &self.place.permits);
        preview::preview(
            &self.place,
            self.watch.set(),
            &sender,
            unit,
            desired,
            surplus,
        )
        .await
    }

    async fn inventory(&self, _now: Timestamp) -> Result<Vec<Member>, ClusterError> {
        self.watch.know(None).await?;
        Ok(self.watch.all())
    }

    async fn served(&self, group: &str, kind: &str) -> Result<Option<Served>, ClusterError> {
        let found = self.kind(group, kind).await?;
        Ok(found.map(|kind| Served {
            plural: kind.plural.clone(),
            namespaced: kind.namespaced,
        }))
    }

    async fn balanced_at(&self, service: &ObjectRef) -> Result<Vec<String>, ClusterError> {
        let found = self.kind(&service.group, &service.kind).await?;
        let Some(kind) = found else {
            return Ok(Vec::new());
        };
        balancer::hosts(&self.place, &kind, service).await
    }

    async fn lacks(&self, rights: &[Right]) -> Result<Vec<Right>, ClusterError> {
        allowed::lacks(&self.place, rights).await
    }
}

#[async_trait]
impl Cluster for KubernetesCluster {
    async fn apply(
        &self,
        unit: &UnitScope,
        apply: &Apply,
        now: Timestamp,
    ) -> Result<Applied, ClusterError> {
        let allows = self.allows(unit);
        let context = self.context(unit, &allows)?;
        let applied = apply::apply(&context, unit, &self.freshened(apply), now).await;
        if let Err(ClusterError::Changed { object }) = &applied {
            self.looks.forget(&object.group, &object.kind);
        }
        applied
    }

    async fn judge_ahead(&self, unit: &UnitScope, apply: &Apply, now: Timestamp) {
        let allows = self.allows(unit);
        if let Ok(context) = self.context(unit, &allows) {
            apply::judge_ahead(&context, unit, &self.freshened(apply), now).await;
        }
    }
}

impl Sight for KubernetesCluster {
    fn seen(&self, object: &ObjectRef) -> Option<Seen> {
        self.watch.seen(object)
    }

    fn returned(&self, object: &str) {
        self.watch.learn(object);
    }

    fn deleted(&self, object: &ObjectRef, uid: &str) {
        self.watch.deleted(object, uid);
    }

    fn members(&self) -> Option<Members> {
        self.watch.members()
    }
}
