//! Declarations into pipelines: `{application}` replaced, overrides laid over the environment's
//! values, environments put upstream first.
//!
//! Pure. Judges nothing: what is missing was reported by whoever read it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::application::{self, Override};
use super::authority;
use super::collide::same_repository;
use super::environment;
use super::form::{At, Effective};
use super::settings::root_credential;
use super::teams::Teams;
use super::terms::APPLICATION;
use super::tunables::Tunables;
use super::{Declarations, EnvironmentFile};
use crate::model::{
    Application, ApplicationName, Authority, ClusterAddress, ClusterSpec, DeploymentTags,
    Environment, EnvironmentName, EvidenceRule, Follow, ForgeKind, Pipeline, Prune, RepositoryUrl,
    SmokeTest, Sops, Source,
};

/// One application in one environment, as far as it is stated.
pub(super) struct Unit<'a> {
    pub(super) application: &'a application::Declared,
    pub(super) environment: &'a EnvironmentName,
    declared: &'a environment::Declared,
    pub(super) repository: At<RepositoryUrl>,
    pub(super) branch: &'a str,
    /// Directories of manifests with the application's name in them. Never empty.
    pub(super) manifests: Vec<At<String>>,
    pub(super) tunables: Tunables,
    over: Option<&'a Override>,
    root: &'a Path,
}

/// Every application in every environment it names, where both are stated well enough to be
/// compared.
pub(super) fn units<'a>(root: &'a Path, declarations: &'a Declarations) -> Vec<Unit<'a>> {
    let mut units = Vec::new();
    let mut urls = Urls::default();
    for application in &declarations.applications {
        let mut seen = BTreeSet::new();
        for name in application.environments.iter().flat_map(|at| &at.value) {
            let known = declarations.environments.get_key_value(&name.value);
            let Some((name, file)) = known.filter(|_| seen.insert(&name.value)) else {
                continue;
            };
            units.extend(unit(root, application, name, file, &mut urls));
        }
    }
    units
}

fn unit<'a>(
    root: &'a Path,
    application: &'a application::Declared,
    environment: &'a EnvironmentName,
    file: &'a EnvironmentFile,
    urls: &mut Urls,
) -> Option<Unit<'a>> {
    let declared = file.declared.as_ref()?;
    let repository = &declared.repository.as_ref()?.value;
    let over = application
        .overrides
        .iter()
        .find(|(name, _)| name.value == *environment)
        .map(|(_, over)| over);
    let name = application.name.value.as_str();
    let manifests = over
        .and_then(|over| over.manifests.as_ref())
        .or(declared.manifests.as_ref())?;
    let mut tunables = match over {
        Some(over) => over.tunables.clone().over(&declared.tunables),
        None => declared.tunables.clone(),
    };
    if let Some(patches) = &mut tunables.patches {
        patches.value = patches.value.replace(APPLICATION, name);
    }
    Some(Unit {
        application,
        environment,
        declared,
        repository: At {
            place: repository.url.place.clone(),
            value: urls.read(repository.url.value.replace(APPLICATION, name))?,
        },
        branch: &repository.branch,
        manifests: manifests
            .value
            .iter()
            .map(|directory| At {
                place: directory.place.clone(),
                value: directory.value.replace(APPLICATION, name),
            })
            .collect(),
        tunables,
        over,
        root,
    })
}

/// Addresses, each kept once however many units it serves.
#[derive(Default)]
struct Urls(BTreeMap<String, RepositoryUrl>);

impl Urls {
    fn read(&mut self, text: String) -> Option<RepositoryUrl> {
        if let Some(known) = self.0.get(&text) {
            return Some(known.clone());
        }
        let url: RepositoryUrl = text.parse().ok()?;
        self.0.insert(text, url.clone());
        Some(url)
    }
}

impl Unit<'_> {
    /// The directory that is written, and where that is stated.
    pub(super) fn written(&self) -> Option<&At<String>> {
        self.manifests.last()
    }

    /// The beginning of its deployment tags, where one is stated.
    pub(super) fn stated_prefix(&self) -> Option<&At<String>> {
        self.declared.tags.as_ref()?.prefix.as_ref()
    }

    fn resolved(&self, shared: &Shared) -> Option<Environment> {
        let tunables = &self.tunables;
        let repository = &self.declared.repository.as_ref()?.value;
        let tags = self.declared.tags.as_ref()?;
        let mut credential = repository.credential.clone();
        root_credential(&mut credential, self.root);
        let prefix = match &tags.prefix {
            Some(prefix) => prefix.value.clone(),
            None if shared.serves_several(self) => format!("{}/deployment-", self.environment),
            None => "deployment-".to_owned(),
        };
        Some(Environment {
            name: self.environment.clone(),
            repository: self.repository.value.clone(),
            credential,
            branch: self.branch.to_owned(),
            manifests: self.manifests.iter().map(|at| at.value.clone()).collect(),
            patches: tunables.patches.as_ref().map(|at| at.value.clone()),
            cluster: rooted(self.declared.cluster.clone()?, self.root),
            access: match &self.declared.access {
                Some(limits) => Some(limits.resolved(&self.application.name.value)?),
                None => None,
            },
            sops: self.sops(),
            follow: self.follow()?,
            gate: tunables.gate.as_ref()?.value,
            forge: self.forge(),
            request: tunables.request.clone()?,
            health: tunables.health.clone()?,
            smoke: self.smoke()?,
            on_failure: tunables.on_failure?,
            rollback: tunables.rollback?,
            hold: self.declared.hold.clone(),
            freeze: tunables.freeze.clone()?,
            stop_the_line: tunables.stop_the_line?,
            pace: tunables.pace?,
            rate: tunables.rate,
            min_age: tunables.min_age?,
            evidence: self.evidence()?,
            drift: tunables.drift?,
            conflicts: tunables.conflicts?,
            prune: Prune {
                // An application that is taken out says nothing any more.
                removed: self.declared.tunables.prune.as_ref()?.removed,
                ..tunables.prune.clone()?
            },
            adopt: tunables.adopt.clone()?,
            tags: DeploymentTags {
                keep: tags.keep,
                prefix,
            },
            image_fields: tunables.image_fields.clone()?,
            mark_source: self.declared.mark_source.as_ref()?.value,
            authority: shared.authorities.get(self.environment)?.clone(),
        })
    }

    /// What serves its repository: stated, or told by the host's name.
    pub(super) fn forge(&self) -> Option<ForgeKind> {
        let stated = self.declared.repository.as_ref()?.value.forge;
        stated.or_else(|| ForgeKind::of_host(self.repository.value.host()?))
    }

    fn sops(&self) -> Option<Sops> {
        let mut sops = self.declared.sops.clone()?;
        sops.age_key_file = sops.age_key_file.map(|path| self.root.join(path));
        Some(sops)
    }

    fn smoke(&self) -> Option<Vec<SmokeTest>> {
        let name = self.application.name.value.as_str();
        let tests = self.tunables.smoke.iter().flatten();
        tests.map(|test| test.resolved(name)).collect()
    }

    fn evidence(&self) -> Option<Vec<EvidenceRule>> {
        let source = self.application.source.as_ref().map(|it| &it.url);
        let rules = self.tunables.evidence.as_ref()?.iter();
        rules.map(|rule| rule.resolved(source)).collect()
    }

    fn follow(&self) -> Option<Follow> {
        Some(match &self.declared.follow.as_ref()?.value {
            environment::Follow::Branches(filter) => Follow::Branches(filter.clone()),
            environment::Follow::Tags(range) => Follow::Tags(range.clone()),
            environment::Follow::Environments { all, soak } => Follow::Environments {
                all: all.iter().map(|at| at.value.clone()).collect(),
                soak: self
                    .over
                    .and_then(|over| over.soak.as_ref())
                    .map_or(*soak, |soak| soak.value),
            },
        })
    }
}

impl Tunables {
    /// These values, and the environment's where there is none.
    fn over(self, environment: &Self) -> Self {
        let environment = environment.clone();
        Self {
            patches: self.patches.or(environment.patches),
            gate: self.gate.or(environment.gate),
            request: self.request.or(environment.request),
            health: self.health.or(environment.health),
            smoke: self.smoke.or(environment.smoke),
            on_failure: self.on_failure.or(environment.on_failure),
            rollback: self.rollback.or(environment.rollback),
            freeze: self.freeze.or(environment.freeze),
            stop_the_line: self.stop_the_line.or(environment.stop_the_line),
            pace: self.pace.or(environment.pace),
            rate: self.rate.or(environment.rate),
            min_age: self.min_age.or(environment.min_age),
            evidence: self.evidence.or(environment.evidence),
            drift: self.drift.or(environment.drift),
            conflicts: self.conflicts.or(environment.conflicts),
            prune: self.prune.or(environment.prune),
            adopt: self.adopt.or(environment.adopt),
            image_fields: self.image_fields.or(environment.image_fields),
        }
    }
}

/// Relative paths start at the configuration's folder.
fn rooted(mut cluster: ClusterSpec, root: &Path) -> ClusterSpec {
    let path = match &mut cluster {
        ClusterSpec::Kubernetes(kubernetes) => match &mut kubernetes.found {
            ClusterAddress::Context { kubeconfig, .. } => kubeconfig.as_mut(),
            ClusterAddress::InCluster => None,
        },
        ClusterSpec::Simulated(simulated) => simulated.state.as_mut(),
    };
    if let Some(path) = path {
        *path = root.join(&*path);
    }
    cluster
}

/// What units have together: which environments each repository serves, and whom each of these lets do what.
struct Shared {
    repositories: BTreeMap<String, BTreeSet<EnvironmentName>>,
    /// Whose records count in each environment.
    authorities: BTreeMap<EnvironmentName, Arc<Authority>>,
}

impl Shared {
    fn of(units: &[Unit<'_>], teams: &Teams) -> Self {
        let mut repositories = BTreeMap::<_, BTreeSet<_>>::new();
        let mut authorities = BTreeMap::new();
        for unit in units {
            repositories
                .entry(same_repository(&unit.repository.value))
                .or_default()
                .insert(unit.environment.clone());
            authorities
                .entry(unit.environment.clone())
                .or_insert_with(|| authority::resolved(&unit.declared.authority, teams).into());
        }
        Self {
            repositories,
            authorities,
        }
    }

    fn serves_several(&self, unit: &Unit<'_>) -> bool {
        self.repositories
            .get(&same_repository(&unit.repository.value))
            .is_some_and(|environments| environments.len() > 1)
    }
}

/// One pipeline per application, by name. `None` where something is missing, which was reported.
pub(super) fn pipelines(
    units: &[Unit<'_>],
    declarations: &Declarations,
) -> Option<Vec<Arc<Pipeline>>> {
    let shared = Shared::of(units, &declarations.teams);
    let mut by_application = BTreeMap::<&ApplicationName, Vec<&Unit<'_>>>::new();
    for unit in units {
        by_application
            .entry(&unit.application.name.value)
            .or_default()
            .push(unit);
    }
    let forges = forges_by_host(units);
    let mut pipelines = Vec::new();
    for declared in &declarations.applications {
        let units_of = by_application.remove(&declared.name.value)?;
        let mut pipeline = pipeline(declared, &units_of, &shared, declarations)?;
        if let Some(source) = &mut pipeline.application.source {
            source.forge = source_forge(source, &forges);
        }
        pipelines.push(Arc::new(pipeline));
    }
    pipelines.sort_by(|a, b| a.application.name.cmp(&b.application.name));
    Some(pipelines)
}

fn pipeline(
    declared: &application::Declared,
    units: &[&Unit<'_>],
    shared: &Shared,
    declarations: &Declarations,
) -> Option<Pipeline> {
    let names = units.iter().map(|unit| unit.environment);
    let environments = upstream_first(names, declarations)
        .into_iter()
        .map(|name| {
            let unit = units.iter().find(|unit| unit.environment == name)?;
            unit.resolved(shared)
        })
        .collect::<Option<Vec<_>>>()?;
    let mut source = declared.source.clone();
    if let (Some(source), Some(unit)) = (&mut source, units.first()) {
        root_credential(&mut source.credential, unit.root);
    }
    let images = &declared.images.as_ref()?.value;
    Some(Pipeline {
        application: Application {
            name: declared.name.value.clone(),
            labels: declared.labels.clone(),
            source,
            images: images.iter().map(|image| image.value.resolved()).collect(),
        },
        environments,
        removed: false,
    })
}

/// What serves the hosts where environments have their repositories, as the first that knows it has it.
pub(super) fn forges_by_host<'a>(units: &'a [Unit<'_>]) -> BTreeMap<&'a str, ForgeKind> {
    let forges = units
        .iter()
        .filter_map(|unit| Some((unit.repository.value.host()?, unit.forge()?)));
    forges.rev().collect()
}

/// What serves a source repository: stated, told by the host's name, or by an environment with a repository there.
pub(super) fn source_forge(
    source: &Source,
    forges: &BTreeMap<&str, ForgeKind>,
) -> Option<ForgeKind> {
    let host = source.url.host()?;
    let told = source.forge.or_else(|| ForgeKind::of_host(host));
    told.or_else(|| forges.get(host).copied())
}

/// Every environment, upstream first.
pub(super) fn in_order(declarations: &Declarations) -> Vec<EnvironmentName> {
    upstream_first(declarations.environments.keys(), declarations)
        .into_iter()
        .cloned()
        .collect()
}

/// These environments, each after those of them that it follows, else in the order given. Ends also
/// where they follow each other in a circle.
fn upstream_first<'a>(
    names: impl Iterator<Item = &'a EnvironmentName>,
    declarations: &'a Declarations,
) -> Vec<&'a EnvironmentName> {
    let mut waiting: Vec<_> = names.collect();
    let names: BTreeSet<_> = waiting.iter().copied().collect();
    waiting.reverse();
    let mut begun = BTreeSet::new();
    let mut done = BTreeSet::new();
    let mut ordered = Vec::new();
    while let Some(&name) = waiting.last() {
        if begun.insert(name) {
            let followed = declarations
                .followed(name)
                .filter(|name| names.contains(name));
            let mut followed: Vec<_> = followed.filter(|name| !begun.contains(name)).collect();
            followed.reverse();
            waiting.extend(followed);
        } else {
            waiting.pop();
            if done.insert(name) {
                ordered.push(name);
            }
        }
    }
    ordered
}

impl Declarations {
    /// The environments that this one follows.
    pub(super) fn followed<'a>(
        &'a self,
        name: &EnvironmentName,
    ) -> impl Iterator<Item = &'a EnvironmentName> {
        self.followed_at(name).map(|at| &at.value)
    }

    /// The same with their places.
    pub(super) fn followed_at<'a>(
        &'a self,
        name: &EnvironmentName,
    ) -> impl Iterator<Item = &'a At<EnvironmentName>> {
        let follow = self
            .environments
            .get(name)
            .and_then(|file| file.declared.as_ref()?.follow.as_ref());
        let all = match follow.map(|follow| &follow.value) {
            Some(environment::Follow::Environments { all, .. }) => all.as_slice(),
            _ => &[],
        };
        all.iter()
    }
}

/// What holds for one application in an environment: the environment's values with its own laid over.
pub(super) fn effective(
    resolved: &Environment,
    application: &ApplicationName,
    of_environment: &[Effective],
    of_application: &[Effective],
) -> Vec<Effective> {
    let prefix = format!("in.{}.", resolved.name);
    let own: Vec<Effective> = of_application
        .iter()
        .filter_map(|value| {
            let key = match value.key.strip_prefix(&prefix)? {
                "soak" => "follow.soak",
                key => key,
            };
            let key = key.to_owned();
            Some(Effective {
                key,
                ..value.clone()
            })
        })
        .collect();
    // Lists and sections are replaced as a whole, but for the one key that is not the section's own.
    let name = |value: &Effective| match value.key.as_str() {
        key if key.starts_with("follow.") => key.to_owned(),
        key => key.split(['.', '[']).next().unwrap_or_default().to_owned(),
    };
    let replaced: BTreeSet<String> = own.iter().map(name).collect();
    let mut values: Vec<Effective> = of_environment
        .iter()
        .filter(|value| !replaced.contains(&name(value)))
        .cloned()
        .chain(own)
        .collect();
    if !values.iter().any(|value| value.key == "tags.prefix") {
        values.push(Effective {
            key: "tags.prefix".to_owned(),
            value: resolved.tags.prefix.clone(),
            place: None,
        });
    }
    for value in &mut values {
        value.value = value.value.replace(APPLICATION, application.as_str());
    }
    values
}
