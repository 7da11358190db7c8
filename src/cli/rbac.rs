//! `towpath rbac`: the least that a cluster must allow. Writes nothing: it holds the reading halves.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::Value;

use super::setup::Setup;
use super::{exit, names, view};
use crate::clock;
use crate::cluster::ReadCluster;
use crate::cluster::rbac::{self, Asked, Resource, Role, Subject, Wanted};
use crate::manifest::{Object, Rendered};
use crate::model::{
    Environment, EnvironmentName, ObjectRef, ServiceAccount, is_dns_label, is_dns_name,
};
use crate::observe::{Observatory, Outside};

/// Print the least that a cluster must allow, as roles for `kubectl apply`
///
/// Renders what the environments' branches ask for, and prints the roles and bindings that Towpath
/// needs to apply it, watch it and read its health: `towpath rbac production | kubectl apply -f -`.
/// Print it again when manifests bring new kinds; a role that lacks one is named in `towpath explain`.
///
/// Clusters are asked only how they serve kinds that neither Kubernetes nor a manifest defines.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this environment
    environment: Option<EnvironmentName>,

    /// A role in each namespace of `access: { namespaces }`, and one for the cluster only for what
    /// lives in no namespace
    #[arg(long)]
    namespaced: bool,

    /// The service account that Towpath is to the cluster
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "towpath/towpath", value_parser = account)]
    service_account: ServiceAccount,

    /// The user that Towpath is to the cluster, in place of a service account
    #[arg(long, value_name = "NAME", conflicts_with = "service_account")]
    user: Option<String>,
}

fn account(text: &str) -> Result<ServiceAccount, String> {
    match text.split_once('/') {
        Some((namespace, name)) if is_dns_label(namespace) && is_dns_name(name) => {
            Ok(ServiceAccount {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            })
        }
        _ => Err(format!(
            "`{text}` is no service account: write NAMESPACE/NAME"
        )),
    }
}

/// Writes the answer.
///
/// # Errors
/// Where the outside cannot be set up or read, manifests cannot be rendered, or nobody knows how a
/// kind is served; the writer's.
pub async fn run(args: &Args, setup: &Setup, out: &mut dyn Write) -> Result<u8> {
    let now = clock::now();
    let only: Vec<_> = args.environment.iter().cloned().collect();
    let environments = names::environments(setup, &only)?;
    let outside = setup.outside(&only)?;
    let units = units(setup, &outside, &environments, now).await?;
    let towpath = match &args.user {
        Some(user) => Subject::User(user.clone()),
        None => Subject::Account(args.service_account.clone()),
    };
    let mut first = true;
    for environment in &environments {
        let units: Vec<_> = units
            .iter()
            .filter(|it| it.0.name == *environment)
            .collect();
        let namespaces = match args.namespaced {
            true => Some(followed(environment, &units)?),
            false => None,
        };
        let cluster = outside.clusters.get(environment).map(AsRef::as_ref);
        let roles = roles(environment, &units, cluster, namespaces.as_ref()).await?;
        for grant in rbac::grants(environment, &roles, &towpath) {
            if !std::mem::take(&mut first) {
                writeln!(out, "---")?;
            }
            writeln!(out, "# {}", grant.about)?;
            out.write_all(yaml(&grant.role).as_bytes())?;
            writeln!(out, "---")?;
            out.write_all(yaml(&grant.binding).as_bytes())?;
        }
    }
    Ok(exit::OK)
}

/// The roles that an environment needs for what its units' branches ask for. With `namespaces`, which are those
/// that are followed, there is one in each of them.
///
/// # Errors
/// Nobody knows how a kind is served.
pub(super) async fn roles(
    environment: &EnvironmentName,
    units: &[&Unit],
    cluster: Option<&dyn ReadCluster>,
    namespaces: Option<&BTreeSet<String>>,
) -> Result<Vec<Role>> {
    let Some((described, _)) = units.first() else {
        return Ok(Vec::new());
    };
    let objects = units.iter().flat_map(|(environment, rendered)| {
        let access = environment.access.as_ref();
        let account = access.and_then(|access| access.impersonate.as_ref());
        rendered.objects.iter().map(move |object| (object, account))
    });
    let objects: Vec<_> = objects.collect();
    let kinds = kinds(environment, &objects, cluster).await?;
    let bound: Vec<Option<ObjectRef>> = objects.iter().map(|(object, _)| bound(object)).collect();
    let wanted = objects
        .iter()
        .zip(&bound)
        .filter_map(|((object, account), bound)| {
            Some(Wanted {
                reference: &object.reference,
                resource: kinds.get(&kind_of(object))?,
                binds: bound.as_ref(),
                applied_as: *account,
            })
        });
    Ok(rbac::roles(&Asked {
        environment,
        namespace: described.cluster.namespace(),
        objects: &wanted.collect::<Vec<_>>(),
        namespaces,
    }))
}

/// The namespaces that are followed for an environment.
///
/// # Errors
/// All of them are.
pub(super) fn followed(environment: &EnvironmentName, units: &[&Unit]) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for (unit, _) in units {
        let access = unit.access.as_ref();
        let Some(namespaces) = access.and_then(|access| access.namespaces.as_ref()) else {
            bail!(
                "{environment}: the whole cluster is followed, which takes a role for all of it — state `access: {{ namespaces: [...] }}` in the environment, or leave out `--namespaced`"
            );
        };
        all.extend(namespaces.iter().cloned());
    }
    Ok(all)
}

/// The object as YAML, its lists of words in one line each, as people write roles.
fn yaml(object: &Value) -> String {
    let mut text = String::new();
    entries(object, 0, &mut text);
    text
}

fn entries(map: &Value, indent: usize, text: &mut String) {
    for (key, value) in map.as_object().into_iter().flatten() {
        let lead = format!("{:indent$}{key}:", "");
        match value {
            Value::Object(_) => {
                text.push_str(&format!("{lead}\n"));
                entries(value, indent + 2, text);
            }
            Value::Array(list) if list.iter().any(Value::is_object) => {
                text.push_str(&format!("{lead}\n"));
                for element in list {
                    let first = text.len() + indent;
                    entries(element, indent + 2, text);
                    text.replace_range(first..first + 2, "- ");
                }
            }
            Value::Array(list) => {
                let words: Vec<String> = list.iter().map(Value::to_string).collect();
                text.push_str(&format!("{lead} [{}]\n", words.join(", ")));
            }
            Value::String(word) if is_plain(word) => text.push_str(&format!("{lead} {word}\n")),
            // JSON is YAML.
            word => text.push_str(&format!("{lead} {word}\n")),
        }
    }
}

/// Whether YAML reads these letters as this very word.
fn is_plain(word: &str) -> bool {
    let truth = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let begins = word.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-./".contains(&b);
    begins && word.bytes().all(known) && !truth.iter().any(|it| word.eq_ignore_ascii_case(it))
}

/// A unit's environment, and what its branch asks for.
pub(super) type Unit = (Environment, Arc<Rendered>);

/// Every unit of these environments.
///
/// # Errors
/// One that cannot be read or rendered.
pub(super) async fn units(
    setup: &Setup,
    outside: &Outside,
    environments: &[EnvironmentName],
    now: Timestamp,
) -> Result<Vec<Unit>> {
    let pipelines = setup.pipelines();
    let observatory = Observatory::new(&pipelines, &pipelines, outside, now);
    let asked = |environment: &&Environment| environments.contains(&environment.name);
    let all = || {
        pipelines
            .iter()
            .flat_map(|it| &it.environments)
            .filter(asked)
    };
    let urls = all().map(|it| &it.repository);
    observatory.read_infra(urls, now).await;
    let (mut units, mut wrong) = (Vec::new(), Vec::new());
    for pipeline in &pipelines {
        let world = observatory.world(pipeline, now);
        for environment in pipeline.environments.iter().filter(asked) {
            match view::desired(&world, environment) {
                Ok(desired) => units.push((environment.clone(), desired.rendered.clone())),
                Err(why) => wrong.push(format!(
                    "{} {}: {why}",
                    pipeline.application.name, environment.name
                )),
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(units)
}

/// Group and kind.
type Kind = (String, String);

fn kind_of(object: &Object) -> Kind {
    let reference = &object.reference;
    (reference.group.clone(), reference.kind.clone())
}

fn bound(object: &Object) -> Option<ObjectRef> {
    let is_binding = object.reference.kind.ends_with("RoleBinding");
    is_binding.then(|| rbac::bound(&object.value())).flatten()
}

/// How each kind is served: by Kubernetes' own description, the manifests', or the cluster's.
async fn kinds(
    environment: &EnvironmentName,
    objects: &[(&Arc<Object>, Option<&ServiceAccount>)],
    cluster: Option<&dyn ReadCluster>,
) -> Result<BTreeMap<Kind, Resource>> {
    let definitions = objects
        .iter()
        .filter(|(it, _)| it.reference.kind == "CustomResourceDefinition");
    let defined: BTreeMap<Kind, Resource> = definitions
        .filter_map(|(object, _)| rbac::defined(&object.reference, &object.value()))
        .collect();
    let used: BTreeSet<Kind> = objects.iter().map(|(object, _)| kind_of(object)).collect();
    let (mut kinds, mut unknown) = (BTreeMap::new(), Vec::new());
    for kind in used {
        let (group, name) = &kind;
        let known = rbac::built_in(group, name).or_else(|| defined.get(&kind).cloned());
        let found = match (known, cluster) {
            (Some(known), _) => Ok(known),
            (None, Some(cluster)) => served(cluster, group, name).await,
            (None, None) => Err("there is no cluster to ask".to_owned()),
        };
        match found {
            Ok(resource) => drop(kinds.insert(kind, resource)),
            Err(why) => unknown.push(format!(
                "{environment}: what `{name}.{group}` is called is not known: {why}"
            )),
        }
    }
    if !unknown.is_empty() {
        bail!("{}", unknown.join("\n"));
    }
    Ok(kinds)
}

async fn served(cluster: &dyn ReadCluster, group: &str, kind: &str) -> Result<Resource, String> {
    match cluster.served(group, kind).await {
        Ok(Some(served)) => Ok(Resource {
            group: group.to_owned(),
            plural: served.plural,
            namespaced: served.namespaced,
            custom: true,
        }),
        Ok(None) => Err(format!(
            "no manifest defines it, and {} does not serve it — add its CustomResourceDefinition to the manifests, or to the cluster",
            cluster.name()
        )),
        Err(error) => Err(error.to_string()),
    }
}
