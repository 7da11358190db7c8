//! Which Kubernetes object is meant.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// Which Kubernetes object is meant. It is named wherever it is rendered, compared and seen: a clone
/// is the same one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef(Arc<Identity>);

/// The identity of a Kubernetes object.
///
/// The API version is left out on purpose: `apps/v1` and `apps/v1beta1` show one and the same
/// Deployment, and what was recorded stays true when a manifest moves to a newer version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The API group; empty for the core group.
    pub group: String,
    /// The kind, as in `Deployment`.
    pub kind: String,
    /// The namespace; `None` for objects that live in none.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl From<Identity> for ObjectRef {
    fn from(identity: Identity) -> Self {
        Self(Arc::new(identity))
    }
}

impl Deref for ObjectRef {
    type Target = Identity;

    fn deref(&self) -> &Identity {
        &self.0
    }
}

impl DerefMut for ObjectRef {
    fn deref_mut(&mut self) -> &mut Identity {
        Arc::make_mut(&mut self.0)
    }
}

impl ObjectRef {
    /// `Deployment.apps`, or `Service` for the core group.
    pub fn group_kind(&self) -> String {
        match self.group.as_str() {
            "" => self.kind.clone(),
            group => format!("{}.{group}", self.kind),
        }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        f.write_str(" ")?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

impl fmt::Debug for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_reads_as_people_write_it() {
        for (group, namespace, expected) in [
            ("apps", Some("default"), "Thing.apps default/web"),
            ("", Some("default"), "Thing default/web"),
            ("", None, "Thing web"),
        ] {
            let reference = ObjectRef::from(Identity {
                group: group.to_owned(),
                kind: "Thing".to_owned(),
                namespace: namespace.map(str::to_owned),
                name: "web".to_owned(),
            });
            assert_eq!(reference.to_string(), expected);
        }
    }
}
