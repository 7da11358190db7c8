//! Does a desired state carry a release?

use std::collections::BTreeMap;
use std::fmt;

use super::error::Place;
use super::render::Rendered;
use crate::model::{Digest, Digests, ImageRepository, ObjectRef};

/// Where rendered objects differ from a release's digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// No object has an image of this repository.
    Absent(ImageRepository),
    /// An image field has something else than the digest.
    Other {
        /// The object.
        object: ObjectRef,
        /// The field, as a JSON pointer into the object.
        pointer: String,
        /// What stands there.
        found: String,
        /// What should.
        expected: Digest,
        /// What put it there: the object's file, or the patch or `images.yaml` that set the image.
        from: Place,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent(repository) => write!(f, "no object has an image of {repository}"),
            Self::Other {
                object,
                pointer,
                found,
                expected,
                from,
            } => {
                write!(
                    f,
                    "{object} has {found} at {pointer} instead of {expected}, set at {from}"
                )
            }
        }
    }
}

/// Checks that every image field of these repositories has exactly the digest given, and that each
/// repository stands somewhere.
pub fn carries(rendered: &Rendered, digests: &Digests) -> Result<(), Vec<Difference>> {
    let mut differences = Vec::new();
    let mut absent: BTreeMap<_, _> = digests.iter().collect();
    for (repository, expected) in digests {
        let objects = rendered.carriers_of(repository);
        for (object, rendered) in
            objects.flat_map(|it| it.images.iter().map(move |image| (it, image)))
        {
            let image = &rendered.image;
            if image.repository.as_ref() != Some(repository) {
                continue;
            }
            absent.remove(repository);
            if image.reference().and_then(|reference| reference.digest) != Some(*expected) {
                differences.push(Difference::Other {
                    object: object.reference.clone(),
                    pointer: image.pointer.clone(),
                    found: image.text.clone(),
                    expected: *expected,
                    from: rendered.set_by.as_ref().unwrap_or(&object.place).clone(),
                });
            }
        }
    }
    differences.extend(absent.into_keys().cloned().map(Difference::Absent));
    match differences.is_empty() {
        true => Ok(()),
        false => Err(differences),
    }
}
