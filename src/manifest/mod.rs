//! Manifests: read, rendered into a desired state, and edited byte-exactly.
//!
//! Owns what a manifest file means ([`parse`]), how directories, `images.yaml` and patches become
//! objects ([`render`]), and how one image is changed in a person's file without touching another
//! byte ([`set_image`], [`set_in_images_yaml`]). Pure: it never reads a disk, a network or the clock, and
//! nothing in a file makes it panic or grow without bound.
//!
//! [`parse`] once per blob → [`render`] per unit → [`carries`] says whether a release is in it.
//!
//! A manifest means here what it means to `kubectl apply`: YAML 1.1's `yes` and `0644`, merge keys and
//! aliases included. What `kubectl` passes over in silence is an error: duplicate keys, unknown tags,
//! files of kustomize and Helm, one object twice. Objects are kept as canonical JSON, which is what is
//! hashed, compared and sent.

mod asked;
mod brief;
mod by_key;
mod canonical;
mod carries;
mod draft;
mod edit;
mod error;
mod fields;
mod file;
mod images_yaml;
mod limits;
mod patch;
mod reader;
mod render;
mod resolve;
mod restart;
mod scope;
mod sealed;
mod site;
mod verify;
mod versions;
mod weight;
mod yaml;

pub use asked::{Hook, LOGS, PRUNE, RECREATE, RESTART_ON_CONFIG, RUN};
pub use brief::warnings;
pub use carries::{Difference, carries};
pub use edit::{Edited, ImageChange, has_image, set_image};
pub use error::{ManifestError, Place, Problem, Refused};
pub use fields::{ImageFields, InvalidImageField, ObjectImage};
pub use file::{ManifestFile, ManifestObject, drop_cluster_fields, is_manifest, parse};
pub use images_yaml::{IMAGES_FILE, ImagesFile, parse_images, set_in_images_yaml};
pub use patch::{PatchFile, parse_patches};
pub use render::{Layer, Object, Rendered, RenderedImage, Rendering, judge, render};
pub use scope::is_cluster_scoped;
pub use sealed::{parse_opened, parse_sealed};
