//! The written form of what a simulated cluster keeps.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::journal::Line;
use super::state::{Content, Oddity, Stored, StoredDrift};
use crate::manifest::ObjectImage;
use crate::model::{Identity, ObjectRef};
use crate::plan::Mark;

/// What is counted, and said on the cluster itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) serial: u64,
    /// How many objects were ever written or deleted: what an idle round must not raise.
    pub(super) writes: u64,
    /// How often something was to be applied.
    pub(super) attempts: u64,
    /// Why a person holds the environment.
    pub(super) brake: Option<String>,
}

/// Which object.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Name {
    group: String,
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// An object.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Written {
    #[serde(flatten)]
    name: Name,
    born: u64,
    version: u64,
    applied_at: Timestamp,
    images: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<WrittenMark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    oddity: Option<Box<Oddity>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    drift: Option<Box<StoredDrift>>,
    /// What was applied, as JSON; `None`: somebody else put it there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<String>,
}

#[derive(Clone, Serialize, Deserialize)]
struct WrittenMark {
    application: String,
    environment: String,
    hash: String,
    commit: String,
}

impl Name {
    pub(super) fn of(reference: &ObjectRef) -> Self {
        let Identity {
            group,
            kind,
            namespace,
            name,
        } = Identity::clone(reference);
        Self {
            group,
            kind,
            namespace,
            name,
        }
    }

    pub(super) fn reference(self) -> ObjectRef {
        ObjectRef::from(Identity {
            group: self.group,
            kind: self.kind,
            namespace: self.namespace,
            name: self.name,
        })
    }
}

impl Stored {
    pub(super) fn written(&self, reference: &ObjectRef, content: Option<String>) -> Written {
        let images = self.images.iter();
        Written {
            name: Name::of(reference),
            born: self.born,
            version: self.version,
            applied_at: self.applied_at,
            images: images.map(|image| image.text.clone()).collect(),
            mark: self.mark.as_ref().map(|mark| WrittenMark {
                application: mark.application.to_string(),
                environment: mark.environment.to_string(),
                hash: mark.hash.to_string(),
                commit: mark.commit.to_string(),
            }),
            oddity: self.oddity.clone(),
            drift: self.drift.clone(),
            content,
        }
    }
}

impl Written {
    /// The object, as it stands in this line.
    pub(super) fn read(self, line: Line) -> (ObjectRef, Stored) {
        let image = |text: String| {
            Arc::new(ObjectImage {
                pointer: String::new(),
                text,
                repository: None,
            })
        };
        let stored = Stored {
            born: self.born,
            version: self.version,
            applied_at: self.applied_at,
            images: self.images.into_iter().map(image).collect(),
            mark: self.mark.and_then(WrittenMark::read),
            oddity: self.oddity,
            drift: self.drift,
            content: match self.content {
                Some(_) => Content::Written(line),
                None => Content::Nothing,
            },
        };
        (self.name.reference(), stored)
    }
}

impl WrittenMark {
    fn read(self) -> Option<Mark> {
        Some(Mark {
            application: self.application.parse().ok()?,
            environment: self.environment.parse().ok()?,
            hash: self.hash.parse().ok()?,
            commit: self.commit.parse().ok()?,
        })
    }
}
