//! One manifest file → its objects.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::asked::{self, Asked};
use super::canonical::Canonical;
use super::error::{ManifestError, Place, Problem};
use super::fields::{ImageFields, ObjectImage};
use super::site::{self, ImageSite};
use super::{sealed, versions, yaml};
use crate::model::{Identity, ObjectRef};

/// One manifest file as read from a tree: parsed once per blob, shared by `Arc`.
pub struct ManifestFile {
    /// The path in the tree.
    pub path: Arc<str>,
    /// The whole text, a byte order mark included.
    pub text: Arc<str>,
    /// The objects in the order they stand; a `List` is expanded.
    pub objects: Vec<ManifestObject>,
}

/// Not its text, in which secrets may stand.
impl fmt::Debug for ManifestFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, objects, .. } = self;
        write!(f, "ManifestFile({path}, {} objects)", objects.len())
    }
}

/// An object as a file states it.
#[derive(Debug)]
pub struct ManifestObject {
    /// Which object; without a namespace where the file names none.
    pub reference: ObjectRef,
    /// The object, without what only a cluster writes (`status`, `metadata.uid` and the like).
    pub(super) content: Canonical,
    /// Where it begins.
    pub place: Place,
    /// Its images, and how each is written.
    pub(super) images: Vec<ImageSite>,
    /// What it asks of Towpath, or why it cannot be applied: told where it is rendered, so that a file
    /// that is only edited need not be right.
    pub(super) asked: Result<Asked, Box<ManifestError>>,
}

impl ManifestObject {
    /// The object as a value.
    pub fn value(&self) -> Value {
        self.content.value()
    }

    /// The images of the object.
    pub fn images(&self) -> impl Iterator<Item = &Arc<ObjectImage>> {
        self.images.iter().map(|site| &site.image)
    }
}

/// Whether a file is read as a manifest, by its path below one of an environment's directories.
///
/// `.yaml`, `.yml` and `.json` files are, and a `Kustomization`, so that it is refused with a reason
/// instead of passed over. Hidden files are not. Which `images.yaml` is Towpath's own is for the
/// caller to say: the one at the top of a directory (see [`super::IMAGES_FILE`]).
pub fn is_manifest(path: &str) -> bool {
    let hidden = path.split('/').any(|component| component.starts_with('.'));
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    !hidden && (matches!(extension, Some("yaml" | "yml" | "json")) || name == "Kustomization")
}

/// Reads a manifest file. Empty documents are skipped.
///
/// # Errors
/// What is wrong; [`Problem::Sealed`] where the file is encrypted, see [`super::parse_opened`].
pub fn parse(
    path: &str,
    bytes: &[u8],
    fields: &ImageFields,
) -> Result<ManifestFile, ManifestError> {
    let path: Arc<str> = path.into();
    if let Some(tool) = foreign_name(&path) {
        let place = Place {
            file: path,
            line: 1,
            column: 1,
        };
        return Err(place.error(Problem::ForeignTool(tool)));
    }
    let text = yaml::text(&path, bytes)?;
    let documents = yaml::read(&path, text, &|key| is_located(key, fields))
        .map_err(|error| blame_template(error, text))?;
    if let Some(place) = sealed::begins(&documents) {
        return Err(place.error(Problem::Sealed));
    }
    let mut objects = Vec::new();
    for document in documents {
        objects_of(document, fields, &mut objects)?;
    }
    // Most files hold one object, and thousands of files are kept.
    objects.shrink_to_fit();
    Ok(ManifestFile {
        path,
        text: text.into(),
        objects,
    })
}

/// Whether it matters where the scalars under this key stand.
pub(super) fn is_located(key: &str, fields: &ImageFields) -> bool {
    fields.wants(key) || key == "apiVersion" || key.starts_with(asked::PREFIX)
}

fn foreign_name(path: &str) -> Option<&'static str> {
    match path.rsplit('/').next().unwrap_or(path) {
        "kustomization.yaml" | "kustomization.yml" | "Kustomization" => Some("kustomize"),
        "Chart.yaml" | "Chart.yml" => Some("Helm"),
        _ => None,
    }
}

fn blame_template(mut error: ManifestError, text: &str) -> ManifestError {
    let reading = matches!(error.problem, Problem::Syntax(_) | Problem::KeyNotText);
    if reading && text.contains("{{") {
        error.problem = Problem::Template(match error.problem {
            Problem::Syntax(message) => message,
            _ => "a map stands where a key is due".to_owned(),
        });
    }
    error
}

pub(super) fn objects_of(
    document: yaml::RawDocument,
    fields: &ImageFields,
    objects: &mut Vec<ManifestObject>,
) -> Result<(), ManifestError> {
    let yaml::RawDocument { value, .. } = &document;
    let Value::Object(map) = value else {
        return Err(document.place.error(Problem::NotAnObject));
    };
    let kustomize = [
        "kustomize.config.k8s.io/v1beta1",
        "kustomize.config.k8s.io/v1alpha1",
    ];
    if kustomize
        .iter()
        .any(|version| map.get("apiVersion").is_some_and(|value| value == version))
    {
        return Err(document.place.error(Problem::ForeignTool("kustomize")));
    }
    let Some(items) = list_items(map) else {
        let value = value.clone();
        objects.push(object(
            value,
            document.place.clone(),
            "",
            &document,
            fields,
        )?);
        return Ok(());
    };
    for (index, item) in items.iter().enumerate() {
        let place = document.items.get(index).unwrap_or(&document.place).clone();
        let prefix = format!("/items/{index}");
        objects.push(object(item.clone(), place, &prefix, &document, fields)?);
    }
    Ok(())
}

/// The entries of a `List` (or `DeploymentList` and the like, which have no name of their own).
fn list_items(map: &Map<String, Value>) -> Option<&Vec<Value>> {
    let kind = map.get("kind")?.as_str()?;
    let items = map.get("items")?.as_array()?;
    let named = map
        .get("metadata")
        .is_some_and(|metadata| metadata.get("name").is_some());
    (kind.ends_with("List") && !named).then_some(items)
}

fn object(
    mut value: Value,
    place: Place,
    prefix: &str,
    document: &yaml::RawDocument,
    fields: &ImageFields,
) -> Result<ManifestObject, ManifestError> {
    let reference = identity(&value).map_err(|problem| place.error(problem))?;
    drop_cluster_fields(&mut value);
    let images = fields.images(&reference.group, &reference.kind, &value);
    let images = images
        .into_iter()
        .map(|image| site::locate(image, prefix, document))
        .collect();
    let asked = asked_of(&reference, &value, |pointer| {
        let scalar = document.scalars.get(&format!("{prefix}{pointer}"));
        scalar.map_or(&place, |scalar| &scalar.place).clone()
    });
    Ok(ManifestObject {
        asked,
        reference,
        content: Canonical::new(&value),
        place,
        images,
    })
}

/// What an object asks of Towpath; else what is wrong with it, where `place` finds that.
pub(super) fn asked_of(
    reference: &ObjectRef,
    value: &Value,
    place: impl Fn(&str) -> Place,
) -> Result<Asked, Box<ManifestError>> {
    let api_version = value.get("apiVersion").and_then(Value::as_str);
    if let Some(problem) = versions::fault(api_version.unwrap_or_default(), &reference.kind) {
        return Err(Box::new(place("/apiVersion").error(problem)));
    }
    asked::read(reference, value).map_err(|refused| {
        let mut pointer = "/metadata/annotations/".to_owned();
        yaml::push_escaped(&mut pointer, &refused.key);
        Box::new(place(&pointer).error(Problem::Annotation(refused.why)))
    })
}

/// The identity that an object states about itself.
pub(super) fn identity(value: &Value) -> Result<ObjectRef, Problem> {
    let Value::Object(map) = value else {
        return Err(Problem::NotAnObject);
    };
    let api_version = text_of(map.get("apiVersion"), "apiVersion")?;
    let kind = text_of(map.get("kind"), "kind")?;
    let metadata = map.get("metadata").unwrap_or(&Value::Null);
    let name = text_of(metadata.get("name"), "metadata.name")?;
    let namespace = match metadata.get("namespace") {
        None | Some(Value::Null) => None,
        some => text_of(some, "metadata.namespace")
            .map(Some)
            .or_else(|problem| match problem {
                Problem::Missing(_) => Ok(None),
                problem => Err(problem),
            })?,
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if !is_segment(group) || !is_segment(version) {
        return Err(Problem::NotAName(api_version.to_owned()));
    }
    Ok(ObjectRef::from(Identity {
        group: group.to_owned(),
        kind: kind.to_owned(),
        namespace: namespace.map(str::to_owned),
        name: name.to_owned(),
    }))
}

fn text_of<'a>(value: Option<&'a Value>, field: &'static str) -> Result<&'a str, Problem> {
    match value {
        None | Some(Value::Null) => Err(Problem::Missing(field)),
        Some(Value::String(text)) if text.is_empty() => Err(Problem::Missing(field)),
        Some(Value::String(text)) if field != "apiVersion" && !is_segment(text) => {
            Err(Problem::NotAName(text.clone()))
        }
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Problem::NotText(field)),
    }
}

/// Names become segments of API paths, where these would lead elsewhere.
fn is_segment(text: &str) -> bool {
    text != "." && text != ".." && !text.contains(|c: char| c.is_control() || "/%?#".contains(c))
}

/// Takes out what only a cluster, or whoever applies, writes: it is no part of what is desired, and the
/// server refuses or ignores it.
pub fn drop_cluster_fields(value: &mut Value) {
    let Value::Object(map) = value else {
        return;
    };
    // The order of the keys has no meaning, so the cheap removal will do.
    map.swap_remove("status");
    if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
        for field in [
            "managedFields",
            "resourceVersion",
            "uid",
            "creationTimestamp",
            "generation",
            "selfLink",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            metadata.swap_remove(field);
        }
        asked::drop_books(metadata);
    }
}
