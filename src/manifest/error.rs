//! What is wrong with a file, where, and what to do about it.

use std::sync::Arc;

use super::asked::RESTART_ON_CONFIG;
use super::limits;
use crate::model::{Denied, ImageRepository, ObjectRef};
use crate::shown::on_lines;

/// A file that Towpath cannot read, render or edit. Shown as `file:line:column: reason — what to do`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", on_lines(&format!("{file}:{line}:{column}: {problem}")))]
pub struct ManifestError {
    /// The file, by its path in the tree.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong, and what to do.
    pub problem: Problem,
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, by its path in the tree.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Place {
    /// The error of this problem at this place.
    pub fn error(&self, problem: Problem) -> ManifestError {
        ManifestError {
            file: Arc::clone(&self.file),
            line: self.line,
            column: self.column,
            problem,
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What can be wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file exceeds a bound.
    #[error("the file is larger than {} MiB — split it", limits::FILE_BYTES >> 20)]
    TooLarge,
    /// Not text.
    #[error("the file is not UTF-8 — save it as UTF-8")]
    NotUtf8,
    /// Not YAML.
    #[error("{0} — correct the YAML here")]
    Syntax(String),
    /// A template that was not rendered.
    #[error(
        "`{{{{` looks like a template, and the file does not parse ({0}) — Towpath has no templating: commit the rendered manifests (render in CI), and keep what differs between environments in `patches:`"
    )]
    Template(String),
    /// A file of another tool.
    #[error(
        "this file belongs to {0}, which Towpath does not run — commit the rendered manifests (render in CI), and keep what differs between environments in `patches:`"
    )]
    ForeignTool(&'static str),
    /// Nested deeper than is sane.
    #[error("nested deeper than {} levels — flatten it", limits::DEPTH)]
    TooDeep,
    /// More values than is sane, aliases counted as often as they stand.
    #[error(
        "more than {} values, aliases expanded — split the file or use fewer aliases",
        limits::NODES
    )]
    TooMany,
    /// Two equal keys in one map.
    #[error("`{0}` stands twice in one map — remove one")]
    DuplicateKey(String),
    /// A key that is a list, a map or an alias.
    #[error("this key is not text — write plain or quoted text")]
    KeyNotText,
    /// A YAML tag without a meaning in a manifest.
    #[error("the tag `{0}` means nothing in a manifest — remove it")]
    Tag(String),
    /// `<<` with something else than maps.
    #[error("`<<` merges maps only — give it a map, or an alias of one")]
    MergeValue,
    /// An alias inside of what it stands for.
    #[error("this alias stands inside of what it repeats — write the value out")]
    SelfAlias,
    /// A number that JSON cannot hold.
    #[error("`{0}` is no number the cluster can read — quote it if it is text")]
    Number(String),
    /// A document that is not an object.
    #[error(
        "this document is not a Kubernetes object — write a map with `apiVersion`, `kind` and `metadata.name`"
    )]
    NotAnObject,
    /// A field without which an object has no identity.
    #[error("the object has no `{0}` — add it")]
    Missing(&'static str),
    /// A field that must be text.
    #[error("`{0}` is not text — quote it")]
    NotText(&'static str),
    /// A text that cannot stand in an API path.
    #[error("`{0}` cannot name a Kubernetes object — use letters, digits, `-` and `.`")]
    NotAName(String),
    /// One object twice.
    #[error("{object} also stands at {other} — remove one")]
    DuplicateObject {
        /// The object.
        object: Box<ObjectRef>,
        /// Where it stands as well.
        other: Place,
    },
    /// A directory without any object.
    #[error(
        "no manifest in this directory — an empty set is never applied; correct `manifests:` or add one"
    )]
    EmptyDirectory,
    /// A file in one of Towpath's own formats is not as it should be.
    #[error("{0}")]
    Format(String),
    /// A patch that applies to nothing.
    #[error("the patch's target ({0}) matches no object — correct the target or remove the patch")]
    PatchMatchesNothing(String),
    /// A patch that does not apply.
    #[error("the patch fails on {object}: {reason} — correct the patch")]
    PatchFails {
        /// The object.
        object: Box<ObjectRef>,
        /// What the patch met.
        reason: String,
    },
    /// A patch whose result is no longer an object.
    #[error("after the patch {object} is no valid object: {reason}")]
    PatchBreaks {
        /// The object.
        object: Box<ObjectRef>,
        /// What is wrong with the result.
        reason: String,
    },
    /// An encrypted document.
    #[error(
        "this document is encrypted by sops, and nothing is named that opens it — write `sops: {{ binary: sops }}` into the environment's environment.yaml"
    )]
    Sealed,
    /// An encrypted document whose plain text makes no sense.
    #[error("this document was decrypted, and {0} — correct it with `sops edit`")]
    Opened(&'static str),
    /// An API version that no cluster serves any more.
    #[error("Kubernetes {since} and later serve no {kind} as `{version}` — {instead}")]
    RemovedVersion {
        /// The version, as in `apps/v1beta1`.
        version: String,
        /// The kind.
        kind: String,
        /// The release that stopped serving it.
        since: &'static str,
        /// What to do.
        instead: String,
    },
    /// An API version that never had the kind.
    #[error("`{version}` has no {kind} — write `apiVersion: {instead}`")]
    WrongVersion {
        /// The version, as in `v1`.
        version: String,
        /// The kind.
        kind: String,
        /// The version that has it.
        instead: &'static str,
    },
    /// An annotation that cannot be followed.
    #[error("{0}")]
    Annotation(String),
    /// A workload that nothing would ever restart.
    #[error(
        "`{}` has no effect: the pods use no ConfigMap or Secret of these manifests — put it there, or remove the annotation",
        RESTART_ON_CONFIG
    )]
    NeverRestarted,
    /// An object that the environment does not allow.
    #[error("{object} is not allowed here: {denied}")]
    Denied {
        /// The object.
        object: Box<ObjectRef>,
        /// Why, and what to do.
        denied: Denied,
    },
    /// An object that no cluster stores.
    #[error("{object} is too large ({bytes} bytes of {what}, at most {most}) — {instead}")]
    TooHeavy {
        /// The object.
        object: Box<ObjectRef>,
        /// What is counted.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// What is allowed.
        most: usize,
        /// What to do.
        instead: &'static str,
    },
    /// A Job without [`super::RUN`] that deletes itself: nothing is wrong with it, and it runs again and again.
    #[error(
        "{0} deletes itself after it finished, and is applied again whenever it is missing, so that it runs again and again — annotate it `towpath.dev/run: before` or `after`, or leave `ttlSecondsAfterFinished` out"
    )]
    Recurring(Box<ObjectRef>),
    /// A Job with [`super::RUN`] that deletes itself soon after it ran: nothing is wrong with it, and it
    /// may be run again.
    #[error(
        "{object} deletes itself {seconds} s after it finished, and is run again where nobody saw it complete by then — write `ttlSecondsAfterFinished: {stays}` or more, or leave it out: each is replaced by the next anyway"
    )]
    Brief {
        /// Which.
        object: Box<ObjectRef>,
        /// How long it stays.
        seconds: u64,
        /// How long it should.
        stays: u64,
    },
    /// An `images.yaml` entry without effect.
    #[error(
        "{0} stands in no object of an earlier directory — remove the entry, or set the image where it stands"
    )]
    ImageSetsNothing(ImageRepository),
    /// An image that cannot be changed in place.
    #[error("{what} is not edited: {why}")]
    Refused {
        /// The image as it stands.
        what: String,
        /// Why, and what to do.
        why: Refused,
    },
}

/// Why an image is not edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It comes through an alias.
    #[error("it comes through an alias — write the image out here")]
    Alias,
    /// It comes through a merge key.
    #[error("it comes through a merge key — write the image out here")]
    Merge,
    /// It is repeated elsewhere by an alias.
    #[error(
        "an alias repeats it elsewhere, so that two places would change — write the other one out"
    )]
    Anchored,
    /// A block scalar.
    #[error("it is a block scalar — write it on one line")]
    Block,
    /// A scalar over several lines.
    #[error("it is written over several lines — write it on one line")]
    Lines,
    /// A quoted scalar with escapes.
    #[error("it is written with escapes — write it without")]
    Escapes,
    /// Not a reference.
    #[error(
        "it is not a valid image reference — correct it, or fill in the placeholder before it is committed"
    )]
    NotAReference,
    /// The list in `images.yaml` has a form that cannot be extended.
    #[error("the list is not written one entry per line — write it as `- reference` lines")]
    List,
    /// It stands in a document encrypted by sops, whose seal covers all of it.
    #[error(
        "it stands in a document encrypted by sops, which only `sops edit` can change — keep the object with the image in a file of its own that is not encrypted"
    )]
    Sealed,
    /// The result, read again, would differ elsewhere.
    #[error(
        "reading the result again shows a change elsewhere; nothing was changed — simplify the YAML around it, and please report this"
    )]
    Differs,
    /// The two YAML readers do not agree.
    #[error(
        "a second YAML reader does not accept the file — simplify the YAML, so that every tool reads it alike"
    )]
    SecondReader,
}
