//! An object as it comes off the wire, read no further than what is kept of it.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cluster::kubernetes::marks;
use crate::model::{CommitId, Digest};

/// The parts of an object that say what it is and whose.
#[derive(Debug, Deserialize)]
pub(in crate::cluster::kubernetes) struct Head<'a> {
    #[serde(borrow)]
    pub(in crate::cluster::kubernetes) metadata: Metadata<'a>,
    #[serde(borrow)]
    spec: Option<&'a RawValue>,
}

/// The same of an object that says what kind it is.
#[derive(Debug, Deserialize)]
pub(super) struct Named<'a> {
    #[serde(borrow, rename = "apiVersion")]
    api_version: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) metadata: Metadata<'a>,
}

/// See [`Head`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cluster::kubernetes) struct Metadata<'a> {
    #[serde(borrow)]
    pub(in crate::cluster::kubernetes) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(in crate::cluster::kubernetes) namespace: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::cluster::kubernetes) uid: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::cluster::kubernetes) resource_version: Cow<'a, str>,
    pub(in crate::cluster::kubernetes) generation: Option<i64>,
    pub(in crate::cluster::kubernetes) creation_timestamp: Option<Timestamp>,
    pub(in crate::cluster::kubernetes) deletion_timestamp: Option<Timestamp>,
    #[serde(default)]
    pub(in crate::cluster::kubernetes) labels: Labels,
    #[serde(default)]
    pub(in crate::cluster::kubernetes) annotations: Annotations,
    #[serde(borrow, default)]
    managed_fields: Vec<Managed<'a>>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

/// The labels that mean something here.
#[derive(Debug, Default, Deserialize)]
pub(in crate::cluster::kubernetes) struct Labels {
    #[serde(rename = "towpath.dev/application")]
    pub(in crate::cluster::kubernetes) application: Option<String>,
    #[serde(rename = "towpath.dev/environment")]
    pub(in crate::cluster::kubernetes) environment: Option<String>,
    #[serde(rename = "applyset.kubernetes.io/part-of")]
    pub(in crate::cluster::kubernetes) part_of: Option<String>,
    #[serde(rename = "kustomize.toolkit.fluxcd.io/name")]
    flux_kustomization: Option<String>,
    #[serde(rename = "helm.toolkit.fluxcd.io/name")]
    flux_release: Option<String>,
    #[serde(rename = "argocd.argoproj.io/instance")]
    argocd_instance: Option<String>,
}

/// The annotations that mean something here.
#[derive(Debug, Default, Deserialize)]
pub(in crate::cluster::kubernetes) struct Annotations {
    #[serde(rename = "towpath.dev/hash")]
    hash: Option<String>,
    #[serde(rename = "towpath.dev/commit")]
    commit: Option<String>,
    #[serde(rename = "towpath.dev/prune")]
    prune: Option<String>,
    #[serde(rename = "argocd.argoproj.io/tracking-id")]
    argocd_tracking: Option<String>,
    #[serde(rename = "meta.helm.sh/release-name")]
    helm_release: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Managed<'a> {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    subresource: String,
    time: Option<Timestamp>,
    #[serde(borrow, rename = "fieldsV1")]
    fields: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Owner {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct ServiceSpec {
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl<'a> Head<'a> {
    pub(in crate::cluster::kubernetes) fn read(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The type of an object that is a Service.
    pub(in crate::cluster::kubernetes) fn service_type(&self) -> Option<String> {
        let spec: ServiceSpec = serde_json::from_str(self.spec?.get()).ok()?;
        spec.kind
    }
}

impl<'a> Named<'a> {
    pub(super) fn read(text: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str(text)
    }

    /// The group of its kind.
    pub(super) fn group(&self) -> &str {
        let group = self.api_version.split_once('/');
        group.map_or("", |(group, _)| group)
    }
}

impl<'a> Metadata<'a> {
    /// The hash and the commit that its mark names.
    pub(in crate::cluster::kubernetes) fn hash_and_commit(&self) -> Option<(Digest, CommitId)> {
        let hash = self.annotations.hash.as_ref()?.parse().ok()?;
        let commit = self.annotations.commit.as_ref()?.parse().ok()?;
        Some((hash, commit))
    }

    /// What our apply owns of it (FieldsV1), and when that was last applied.
    pub(in crate::cluster::kubernetes) fn applied(&self) -> Option<(&'a str, Option<Timestamp>)> {
        let is_ours = |it: &&Managed<'_>| {
            it.manager == marks::MANAGER && it.operation == "Apply" && it.subresource.is_empty()
        };
        let ours = self.managed_fields.iter().find(is_ours)?;
        Some((ours.fields.map_or("{}", RawValue::get), ours.time))
    }

    /// Why it is not to be deleted though it carries our mark.
    pub(in crate::cluster::kubernetes) fn kept(&self) -> Option<String> {
        if let Some(Owner { kind, name }) = self.owner_references.first() {
            return Some(format!("it belongs to {kind} {name}"));
        }
        if marks::keeps(self.annotations.prune.as_deref()) {
            return Some(format!("its annotation {} says `disabled`", marks::PRUNE));
        }
        match self.applied() {
            None => Some("Towpath never applied it: somebody copied its labels".to_owned()),
            Some(_) => None,
        }
    }

    /// Who else marked it, as an environment's `adopt` names them.
    pub(in crate::cluster::kubernetes) fn engine(&self) -> Option<&'static str> {
        let (labels, annotations) = (&self.labels, &self.annotations);
        if labels.flux_kustomization.is_some() || labels.flux_release.is_some() {
            Some("flux")
        } else if annotations.argocd_tracking.is_some() || labels.argocd_instance.is_some() {
            Some("argocd")
        } else if annotations.helm_release.is_some() {
            Some("helm")
        } else if labels.part_of.is_some() {
            Some("applyset")
        } else {
            None
        }
    }

    /// Who manages its fields, apart from its status.
    pub(in crate::cluster::kubernetes) fn managers(&self) -> Vec<String> {
        let mut managers: Vec<String> = Vec::new();
        for managed in &self.managed_fields {
            if managed.subresource.is_empty() && !managers.contains(&managed.manager) {
                managers.push(managed.manager.clone());
            }
        }
        managers
    }
}
