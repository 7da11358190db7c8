//! What Towpath writes on objects, and how it is read back.
//!
//! Owns the names of labels and annotations, the identity of an environment's
//! [ApplySet](https://github.com/kubernetes/enhancements/tree/master/keps/sig-cli/3659-kubectl-apply-prune),
//! and an object as it is sent. Sends nothing.

use base64::Engine as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::manifest::Object;
use crate::model::{EnvironmentName, Identity, ObjectRef};
use crate::plan::Mark;

/// The field manager of everything that is applied.
pub const MANAGER: &str = "towpath";

/// Label: the application.
pub const APPLICATION: &str = "towpath.dev/application";

/// Label: the environment.
pub const ENVIRONMENT: &str = "towpath.dev/environment";

/// Annotation: the hash of the object's own rendered manifest.
pub const HASH: &str = "towpath.dev/hash";

/// Annotation: the commit where the object last changed.
pub const COMMIT: &str = "towpath.dev/commit";

/// Annotation on the set's parent: why a person holds the environment.
pub const HOLD: &str = "towpath.dev/hold";

/// Annotation: `disabled` keeps an object from being deleted.
pub const PRUNE: &str = "towpath.dev/prune";

/// Label of members: the set's id.
pub const PART_OF: &str = "applyset.kubernetes.io/part-of";

/// Label of the parent: the set's id.
pub const SET_ID: &str = "applyset.kubernetes.io/id";

/// Annotation of the parent: who writes the set.
pub const TOOLING: &str = "applyset.kubernetes.io/tooling";

/// Annotation of the parent: the members' kinds, `Kind.group`, sorted.
pub const GROUP_KINDS: &str = "applyset.kubernetes.io/contains-group-kinds";

/// Annotation of the parent: the members' namespaces beside the parent's own, sorted.
pub const NAMESPACES: &str = "applyset.kubernetes.io/additional-namespaces";

/// The ApplySet of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its id, which members carry as [`PART_OF`].
    pub id: String,
    /// The name of its parent, a ConfigMap.
    pub name: String,
    /// The namespace of its parent.
    pub namespace: String,
}

impl Set {
    /// The set of an environment whose objects without a namespace go to this one.
    pub fn of(environment: &EnvironmentName, namespace: &str) -> Self {
        let name = format!("towpath-{environment}");
        let identity = format!("{name}.{namespace}.ConfigMap.");
        let hash = Sha256::digest(identity.as_bytes());
        let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash);
        Self {
            id: format!("applyset-{hash}-v1"),
            name,
            namespace: namespace.to_owned(),
        }
    }

    /// Its parent.
    pub fn parent(&self) -> ObjectRef {
        ObjectRef::from(Identity {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
            namespace: Some(self.namespace.clone()),
            name: self.name.clone(),
        })
    }
}

/// Our mark on an object; `None` where it is not whole.
pub fn mark(metadata: &ObjectMeta) -> Option<Mark> {
    let labels = metadata.labels.as_ref()?;
    let annotations = metadata.annotations.as_ref()?;
    Some(Mark {
        application: labels.get(APPLICATION)?.parse().ok()?,
        environment: labels.get(ENVIRONMENT)?.parse().ok()?,
        hash: annotations.get(HASH)?.parse().ok()?,
        commit: annotations.get(COMMIT)?.parse().ok()?,
    })
}

/// Whether it has an owner, or says that it is not to be deleted.
pub fn is_kept(metadata: &ObjectMeta) -> bool {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    let annotations = metadata.annotations.as_ref();
    let said = annotations.and_then(|annotations| annotations.get(PRUNE));
    !owners.is_empty() || keeps(said.map(String::as_str))
}

/// Whether an object whose annotation [`PRUNE`] says this is not to be deleted.
pub fn keeps(said: Option<&str>) -> bool {
    said == Some("disabled")
}

/// An object as it is sent: in its namespace, with our marks.
pub fn dressed(object: &Object, namespaced: bool, mark: &Mark, set: &Set) -> Value {
    let mut value = object.value();
    if object.reference.kind == "Secret" && object.reference.group.is_empty() {
        encode(&mut value);
    }
    let metadata = section(&mut value, "metadata");
    match &object.reference.namespace {
        Some(namespace) if namespaced => {
            drop(metadata.insert("namespace".to_owned(), json!(namespace)));
        }
        _ => drop(metadata.shift_remove("namespace")),
    }
    let labels = [
        (APPLICATION, mark.application.as_str()),
        (ENVIRONMENT, mark.environment.as_str()),
        (PART_OF, set.id.as_str()),
    ];
    let (hash, commit) = (mark.hash.to_string(), mark.commit.to_string());
    let annotations = [(HASH, hash.as_str()), (COMMIT, commit.as_str())];
    for (name, entries) in [("labels", &labels[..]), ("annotations", &annotations[..])] {
        let map = section(&mut value["metadata"], name);
        for (key, text) in entries {
            map.insert((*key).to_owned(), json!(text));
        }
    }
    value
}

/// Writes a Secret's `stringData` as the `data` that the server makes of it. Sent as it is, it would be
/// owned as what no object has: whoever changes the data would not be seen.
fn encode(secret: &mut Value) {
    let Some(map) = secret.as_object_mut() else {
        return;
    };
    let Some(Value::Object(texts)) = map.shift_remove("stringData") else {
        return;
    };
    let data = section(secret, "data");
    for (key, text) in texts {
        let encoded = match text {
            Value::String(text) => {
                json!(base64::engine::general_purpose::STANDARD.encode(text))
            }
            // The server says what is wrong with it.
            other => other,
        };
        data.insert(key, encoded);
    }
}

/// The object that stands at a key, made empty where something else stands there.
fn section<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let place = &mut value[key];
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut().expect("an object was just put there")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_known_by_its_parent() {
        let set = Set::of(&"qa".parse().unwrap(), "shop");
        // sha256 of `towpath-qa.shop.ConfigMap.`
        assert_eq!(set.id.len(), 55);
        assert!(
            set.id.starts_with("applyset-") && set.id.ends_with("-v1"),
            "{}",
            set.id
        );
        assert_ne!(set.id, Set::of(&"qa".parse().unwrap(), "other").id);
        assert_eq!(set.parent().to_string(), "ConfigMap shop/towpath-qa");
    }
}
