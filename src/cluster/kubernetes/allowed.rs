//! Whether the cluster grants rights, as it tells of itself: each is one `SelfSubjectAccessReview`, which every
//! authenticated user may ask for, and which is kept nowhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Asked};
use super::place::Place;
use crate::cluster::ClusterError;
use crate::cluster::rbac::{Holder, Right, Scope};

/// So many questions travel at once.
const AT_ONCE: usize = 8;

const REVIEWS: &str = "selfsubjectaccessreviews.authorization.k8s.io";

#[derive(Deserialize)]
struct Review {
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    allowed: bool,
}

/// Those that are not granted.
pub(super) async fn lacks(
    place: &Arc<Place>,
    rights: &[Right],
) -> Result<Vec<Right>, ClusterError> {
    let mut clients: BTreeMap<&Holder, Client> = BTreeMap::new();
    for right in rights {
        if !clients.contains_key(&right.holder) {
            clients.insert(&right.holder, client(place, &right.holder)?);
        }
    }
    // Owned, so that each question is a future of its own.
    let asked = rights.iter().cloned().map(|right| {
        let (place, client) = (place.clone(), clients.get(&right.holder).cloned());
        async move {
            let Some(client) = client else {
                return Ok(None);
            };
            let allowed = is_allowed(&place, &client, &right).await?;
            Ok::<_, ClusterError>((!allowed).then_some(right))
        }
    });
    let asked: Vec<Option<Right>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
    Ok(asked.into_iter().flatten().collect())
}

fn client(place: &Arc<Place>, holder: &Holder) -> Result<Client, ClusterError> {
    let Holder::Account(account) = holder else {
        return Ok(place.connection.client());
    };
    let user = account.user();
    place.connection.impersonating(&user).map_err(|_| {
        ClusterError::Unsupported(format!(
            "`{user}` cannot be impersonated: no such name exists"
        ))
    })
}

async fn is_allowed(place: &Place, client: &Client, right: &Right) -> Result<bool, ClusterError> {
    let unavailable = |error: &kube::Error| {
        let asked = Asked {
            verb: "create",
            resource: REVIEWS.to_owned(),
            namespace: None,
        };
        answer::unavailable(&place.name, &asked, error)
    };
    let request = http::Request::post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(question(right).to_string().into_bytes())
        .map_err(|error| ClusterError::Unsupported(error.to_string()))?;
    let answered = client.request::<Review>(request).await;
    let review = answered.map_err(|error| unavailable(&error))?;
    Ok(review.status.is_some_and(|status| status.allowed))
}

fn question(right: &Right) -> Value {
    let (resource, below) = match right.resource.split_once('/') {
        Some((resource, below)) => (resource, below),
        None => (right.resource.as_str(), ""),
    };
    let namespace = match &right.scope {
        // No namespace means all of them.
        Scope::Cluster => "",
        Scope::Namespace(namespace) => namespace,
    };
    json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "namespace": namespace,
            "verb": right.verb,
            "group": right.group,
            "resource": resource,
            "subresource": below,
            "name": right.name.as_deref().unwrap_or_default(),
        } },
    })
}
