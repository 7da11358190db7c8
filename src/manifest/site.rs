//! An image field and how it is written in its file.

use std::ops::Range;
use std::sync::Arc;

use granit_parser::ScalarStyle;

use super::error::{Place, Refused};
use super::fields::ObjectImage;
use super::yaml::{RawDocument, WrittenScalar};

/// An image field of an object, with the bytes that state it.
#[derive(Debug)]
pub(super) struct ImageSite {
    pub(super) image: Arc<ObjectImage>,
    pub(super) place: Place,
    /// Which of the file's documents it stands in, empty ones not counted.
    pub(super) document: usize,
    /// Where it stands in that document, as a JSON pointer.
    pub(super) pointer: String,
    /// The bytes of the scalar, quotes included; or why they cannot be edited.
    pub(super) written: Result<Written, Refused>,
}

/// A scalar that stands on one line, written out once.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) range: Range<usize>,
    pub(super) style: ScalarStyle,
}

/// Finds how an image of an object (at `prefix` in its document) is written.
pub(super) fn locate(image: ObjectImage, prefix: &str, document: &RawDocument) -> ImageSite {
    let pointer = format!("{prefix}{}", image.pointer);
    let (place, written) = match document.scalars.get(&pointer) {
        Some(scalar) => (scalar.place.clone(), written(scalar, document)),
        None => origin(&pointer, document),
    };
    ImageSite {
        image: Arc::new(image),
        place,
        document: document.index,
        pointer,
        written,
    }
}

fn written(scalar: &WrittenScalar, document: &RawDocument) -> Result<Written, Refused> {
    match scalar.style {
        ScalarStyle::Literal | ScalarStyle::Folded => Err(Refused::Block),
        _ if scalar
            .anchors
            .iter()
            .any(|anchor| document.repeated.contains(anchor)) =>
        {
            Err(Refused::Anchored)
        }
        style => Ok(Written {
            range: scalar.range.clone(),
            style,
        }),
    }
}

/// Where a value that is not written out at its own place comes from.
fn origin(pointer: &str, document: &RawDocument) -> (Place, Result<Written, Refused>) {
    let mut prefix = pointer;
    loop {
        if let Some(borrowed) = document.borrowed.get(prefix) {
            let refused = if borrowed.merge {
                Refused::Merge
            } else {
                Refused::Alias
            };
            return (borrowed.place.clone(), Err(refused));
        }
        match prefix.rfind('/') {
            Some(slash) => prefix = &prefix[..slash],
            None => return (document.place.clone(), Err(Refused::Alias)),
        }
    }
}
