//! Whether the demo may do on a cluster what it does there, asked before it does anything
//! ([SelfSubjectAccessReview](https://kubernetes.io/docs/reference/access-authn-authz/authorization/#checking-api-access)).

use std::collections::BTreeSet;

use anyhow::{Context as _, anyhow};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Client;
use kube::api::{Api, PostParams};

use super::manifests::APPLICATION;
use super::place::ENVIRONMENTS;
use crate::cluster::kubernetes::answer::{self, Asked};
use crate::cluster::rbac::{self, Wanted};
use crate::model::{Identity, ObjectRef};

/// How many questions are asked at once.
const IN_FLIGHT: usize = 16;

/// What the demo itself does: namespaces come and go, and pods need their service account.
const OWN: [(&str, &[&str]); 1] = [("namespaces", &["get", "create", "delete"])];

/// The kinds that the demo's manifests hold.
const KINDS: [(&str, &str); 2] = [("", "Service"), ("apps", "Deployment")];

/// The rights that are missing, a line each. `namespaces` are those of the environments, in their order.
///
/// # Errors
/// The cluster does not answer.
pub async fn missing(client: &Client, namespaces: &[String; 3]) -> anyhow::Result<Vec<String>> {
    let mut questions = Vec::new();
    for (resource, verbs) in OWN {
        questions.extend(
            verbs
                .iter()
                .map(|verb| question(verb, ("", resource), None)),
        );
    }
    for (environment, namespace) in ENVIRONMENTS.iter().zip(namespaces) {
        questions.push(question("get", ("", "serviceaccounts"), Some(namespace)));
        questions.extend(towing(environment, namespace)?);
    }
    let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
    let answers = stream::iter(questions).map(|attributes| ask(&reviews, attributes));
    let mut answers = answers.buffered(IN_FLIGHT);
    let mut missing = Vec::new();
    while let Some(answer) = answers.next().await {
        missing.extend(answer?);
    }
    Ok(missing)
}

/// What Towpath does in the namespace of an environment.
fn towing(environment: &str, namespace: &str) -> anyhow::Result<Vec<ResourceAttributes>> {
    let kinds = KINDS.map(|(group, kind)| {
        let reference = ObjectRef::from(Identity {
            group: group.to_owned(),
            kind: kind.to_owned(),
            namespace: Some(namespace.to_owned()),
            name: APPLICATION.to_owned(),
        });
        Some((reference, rbac::built_in(group, kind)?))
    });
    let kinds: Option<Vec<_>> = kinds.into_iter().collect();
    let kinds = kinds.context("Kubernetes serves Services and Deployments")?;
    let wanted = kinds.iter().map(|(reference, resource)| Wanted {
        reference,
        resource,
        binds: None,
        applied_as: None,
    });
    let wanted: Vec<_> = wanted.collect();
    let roles = rbac::roles(&rbac::Asked {
        environment: &environment.parse()?,
        namespace,
        objects: &wanted,
        namespaces: Some(&BTreeSet::from([namespace.to_owned()])),
    });
    let mut questions = Vec::new();
    for rule in roles.iter().flat_map(|role| &role.rules) {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let mut attributes = question(verb, (&rule.group, resource), Some(namespace));
                attributes.name = rule.names.first().cloned();
                questions.push(attributes);
            }
        }
    }
    Ok(questions)
}

fn question(
    verb: &str,
    (group, resource): (&str, &str),
    namespace: Option<&str>,
) -> ResourceAttributes {
    ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        namespace: namespace.map(str::to_owned),
        ..ResourceAttributes::default()
    }
}

/// What is missing, where it is not allowed.
async fn ask(
    reviews: &Api<SelfSubjectAccessReview>,
    attributes: ResourceAttributes,
) -> anyhow::Result<Option<String>> {
    let line = line(&attributes);
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let answer = reviews.create(&PostParams::default(), &review).await;
    let answer = answer.map_err(|error| {
        let asked = Asked {
            verb: "create",
            resource: "selfsubjectaccessreviews.authorization.k8s.io".to_owned(),
            namespace: None,
        };
        anyhow!("the cluster: {}", answer::detail(&asked, &error))
    })?;
    let allowed = answer.status.is_some_and(|status| status.allowed);
    Ok((!allowed).then_some(line))
}

fn line(attributes: &ResourceAttributes) -> String {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let group = match part(&attributes.group) {
        group if group.is_empty() => group,
        group => format!(".{group}"),
    };
    let place = match &attributes.namespace {
        Some(namespace) => format!(" in namespace {namespace}"),
        None => String::new(),
    };
    let (verb, resource) = (part(&attributes.verb), part(&attributes.resource));
    format!("{verb} {resource}{group}{place}")
}
