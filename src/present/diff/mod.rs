//! How an object differs from another version of itself.
//!
//! Compared as values and written as YAML, so that neither the order of keys nor how a file was
//! written shows. What only servers and Towpath itself write is left out ([`drop_cluster_fields`]);
//! values of Secrets and of encrypted documents never get as far as the text ([`mask`]).

mod align;
mod hunks;
mod lines;
mod mask;
mod text;
mod tried;
mod walk;

use serde_json::Value;

use crate::manifest::drop_cluster_fields;
use crate::model::ObjectRef;
pub use hunks::Hunk;
pub use lines::{Line, Sign};
pub use tried::{Trial, Tried};

/// An object in two versions.
#[derive(Debug, Clone, Copy)]
pub struct Versions<'a> {
    /// Which object.
    pub reference: &'a ObjectRef,
    /// The former; `None`: it is created.
    pub before: Option<&'a Value>,
    /// The latter; `None`: it is deleted.
    pub after: Option<&'a Value>,
    /// Whether every value but its name is to be hidden: it stood in an encrypted document. Of a Secret
    /// what it holds is hidden, and no more, in either case.
    pub secret: bool,
}

/// How an object differs.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectDiff {
    /// Which object.
    pub reference: ObjectRef,
    /// In one word.
    pub change: Change,
    /// The fields that differ, where both versions are there.
    pub fields: Vec<FieldDiff>,
    /// The lines that differ, with those around them: all of an object that is created, none of one
    /// that is deleted.
    pub hunks: Vec<Hunk>,
    /// The object as it will be, without what is left out; only of one that is created.
    pub created: Option<Value>,
}

/// What becomes of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It is not there yet.
    Created,
    /// Some of its fields differ.
    Changed,
    /// It goes away.
    Deleted,
    /// Nothing differs.
    Unchanged,
}

impl Change {
    /// All of them, in the order in which they are counted up.
    pub const ALL: [Self; 4] = [Self::Created, Self::Changed, Self::Deleted, Self::Unchanged];

    /// The word, stable for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
        }
    }

    /// What stands before the object's name.
    pub fn sign(self) -> char {
        match self {
            Self::Created => '+',
            Self::Changed => '~',
            Self::Deleted => '-',
            Self::Unchanged => '=',
        }
    }
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldDiff {
    /// Where: a JSON pointer (RFC 6901) in which `[name=web]` stands for the element of a list that
    /// has this name; the form that patches take.
    pub path: String,
    /// What stood there.
    pub before: Option<Value>,
    /// What stands there now.
    pub after: Option<Value>,
}

/// How an object differs.
pub fn compare(versions: Versions<'_>) -> ObjectDiff {
    let desired = |value: &Value| {
        let mut value = value.clone();
        drop_cluster_fields(&mut value);
        value
    };
    let (mut before, mut after) = (versions.before.map(desired), versions.after.map(desired));
    mask::hide(
        versions.reference,
        versions.secret,
        before.as_mut(),
        after.as_mut(),
    );
    let walk = walk::walk(before.as_ref(), after.as_ref());
    let change = match (&before, &after) {
        (None, Some(_)) => Change::Created,
        (Some(_), None) => Change::Deleted,
        _ if walk.fields.is_empty() => Change::Unchanged,
        _ => Change::Changed,
    };
    ObjectDiff {
        reference: versions.reference.clone(),
        change,
        fields: walk.fields,
        hunks: hunks::of(walk.lines),
        created: after.filter(|_| change == Change::Created),
    }
}
