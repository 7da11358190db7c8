//! Which fields of which kinds hold an image.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::yaml::push_escaped;
use crate::model::{ImageReference, ImageRepository};

/// The image fields that Towpath knows: those of the Pod-carrying kinds of Kubernetes, and those
/// listed in configuration for custom resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFields {
    /// By kind and group.
    listed: BTreeMap<(String, String), Vec<Path>>,
    /// The last named step of every path: the keys whose scalars are located while reading.
    keys: BTreeSet<String>,
}

/// A text that names no image field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImageField {
    /// The kind is malformed.
    #[error("`{0}` names no kind: write it with its API group, as in `Rollout.argoproj.io`")]
    Kind(String),
    /// The path is malformed.
    #[error(
        "`{0}` is no path of an image field: write a JSON pointer with `*` for every entry of a list, as in `/spec/template/spec/containers/*/image`"
    )]
    Path(String),
}

/// A JSON pointer in which `*` stands for every entry of a list.
type Path = Vec<Step>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Each,
}

/// Below a PodSpec.
const POD_FIELDS: [&str; 4] = [
    "/containers/*/image",
    "/initContainers/*/image",
    "/ephemeralContainers/*/image",
    "/volumes/*/image/reference",
];

/// Where the Pod-carrying kinds of Kubernetes have their PodSpec.
const POD_CARRIERS: [(&str, &str, &str); 9] = [
    ("Pod", "", "/spec"),
    ("PodTemplate", "", "/template/spec"),
    ("ReplicationController", "", "/spec/template/spec"),
    ("Deployment", "apps", "/spec/template/spec"),
    ("StatefulSet", "apps", "/spec/template/spec"),
    ("DaemonSet", "apps", "/spec/template/spec"),
    ("ReplicaSet", "apps", "/spec/template/spec"),
    ("Job", "batch", "/spec/template/spec"),
    ("CronJob", "batch", "/spec/jobTemplate/spec/template/spec"),
];

impl Default for ImageFields {
    fn default() -> Self {
        let mut fields = Self {
            listed: BTreeMap::new(),
            keys: BTreeSet::new(),
        };
        for (kind, group, pod) in POD_CARRIERS {
            for field in POD_FIELDS {
                let path = parse_path(&format!("{pod}{field}"));
                fields.insert(kind, group, path.unwrap_or_default());
            }
        }
        fields
    }
}

impl ImageFields {
    /// Adds a field: `kind` as in `Rollout.argoproj.io`, `path` as in
    /// `/spec/template/spec/containers/*/image`.
    pub fn add(&mut self, kind: &str, path: &str) -> Result<(), InvalidImageField> {
        let (name, group) = kind.split_once('.').unwrap_or((kind, ""));
        let word = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
        };
        if name.is_empty() || !word(kind) || kind.ends_with('.') {
            return Err(InvalidImageField::Kind(kind.to_owned()));
        }
        let steps = parse_path(path).ok_or_else(|| InvalidImageField::Path(path.to_owned()))?;
        self.insert(name, group, steps);
        Ok(())
    }

    fn insert(&mut self, kind: &str, group: &str, path: Path) {
        let last = path.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.clone()),
            Step::Each => None,
        });
        self.keys.extend(last);
        let paths = self
            .listed
            .entry((kind.to_owned(), group.to_owned()))
            .or_default();
        if !paths.contains(&path) {
            paths.push(path);
        }
    }

    /// Whether the scalars under this key may be images.
    pub(super) fn wants(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// The images of an object, in the order of the known fields.
    pub(super) fn images(&self, group: &str, kind: &str, object: &Value) -> Vec<ObjectImage> {
        let mut images = Vec::new();
        // The key type is owned, and a lookup happens once per object.
        if let Some(paths) = self.listed.get(&(kind.to_owned(), group.to_owned())) {
            for path in paths {
                collect(object, path, &mut String::new(), &mut images);
            }
        }
        images
    }
}

/// An image field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectImage {
    /// The field, as a JSON pointer (RFC 6901) into the object.
    pub pointer: String,
    /// The text that stands there.
    pub text: String,
    /// The repository, where the text names one.
    pub repository: Option<ImageRepository>,
}

impl ObjectImage {
    pub(super) fn new(pointer: String, text: String) -> Self {
        // Of a reference with white space around or in it (a block scalar, a folded line) the
        // repository is still told, so that the image is refused instead of passed over.
        let word = text.split_whitespace().next().unwrap_or_default();
        let (repository, _, _) = ImageReference::split(word);
        let repository = repository.parse().ok();
        Self {
            pointer,
            text,
            repository,
        }
    }

    /// The image, if the text is a valid reference.
    pub fn reference(&self) -> Option<ImageReference> {
        self.text.parse().ok()
    }
}

fn parse_path(path: &str) -> Option<Path> {
    let steps = path.strip_prefix('/')?.split('/').map(|token| match token {
        "" => None,
        "*" => Some(Step::Each),
        token => Some(Step::Key(token.replace("~1", "/").replace("~0", "~"))),
    });
    let steps: Path = steps.collect::<Option<_>>()?;
    steps
        .iter()
        .any(|step| matches!(step, Step::Key(_)))
        .then_some(steps)
}

fn collect(value: &Value, path: &[Step], pointer: &mut String, images: &mut Vec<ObjectImage>) {
    let length = pointer.len();
    match (path, value) {
        ([], Value::String(text)) => {
            images.push(ObjectImage::new(pointer.clone(), text.clone()));
        }
        ([Step::Key(key), rest @ ..], Value::Object(map)) => {
            if let Some(value) = map.get(key) {
                pointer.push('/');
                push_escaped(pointer, key);
                collect(value, rest, pointer, images);
            }
        }
        ([Step::Each, rest @ ..], Value::Array(entries)) => {
            for (index, value) in entries.iter().enumerate() {
                pointer.push('/');
                pointer.push_str(&index.to_string());
                collect(value, rest, pointer, images);
                pointer.truncate(length);
            }
        }
        _ => {}
    }
    pointer.truncate(length);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn malformed_fields_are_refused() {
        let mut fields = ImageFields::default();
        for (kind, path) in [
            ("", "/spec/image"),
            (".argoproj.io", "/spec/image"),
            ("Roll out", "/spec/image"),
            ("Rollout.", "/spec/image"),
            ("Rollout", ""),
            ("Rollout", "spec/image"),
            ("Rollout", "/spec//image"),
            ("Rollout", "/*"),
        ] {
            assert!(fields.add(kind, path).is_err(), "{kind} {path}");
        }
        assert_eq!(fields, ImageFields::default());
    }

    #[test]
    fn listed_fields_are_found_and_others_are_not() {
        let mut fields = ImageFields::default();
        fields.add("Widget.example.com", "/spec/images/*").unwrap();
        fields
            .add("Widget.example.com", "/spec/a~1b/image")
            .unwrap();
        let object = json!({"spec": {
            "images": ["r.io/a:1", 7, "r.io/b"],
            "a/b": {"image": "r.io/c"},
            "image": "r.io/d",
        }});
        let found = fields.images("example.com", "Widget", &object);
        let found: Vec<_> = found
            .iter()
            .map(|i| (i.pointer.as_str(), i.text.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("/spec/images/0", "r.io/a:1"),
                ("/spec/images/2", "r.io/b"),
                ("/spec/a~1b/image", "r.io/c"),
            ]
        );
        assert!(fields.images("example.org", "Widget", &object).is_empty());
    }
}
