//! Manifests, patches, lists of images, and what sops made of a manifest.

use std::sync::Arc;

use serde::Deserialize as _;
use serde_json::Value;

use super::{Answer, Door, Knocked, alike, answered, harmless, split};
use crate::manifest::{
    self, Edited, ImageFields, Layer, ManifestError, ManifestFile, PatchFile, Rendered, Rendering,
};
use crate::model::{ImageVersion, Images};

const YAML: &[&str] = &[
    "apiVersion: ",
    "kind: ",
    "metadata:",
    "name: ",
    "spec:",
    "containers:",
    "image: ",
    "items:",
    "List",
    "---\n",
    "...\n",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "!!binary ",
    "|\n",
    ">-\n",
    "|2-\n",
    "'",
    "\"",
    "{",
    "}",
    "[",
    "]",
    "? ",
    ": ",
    ", ",
    "- ",
    "# ",
    "\t",
    "\u{feff}",
    "~",
    "null",
    "yes",
    "0644",
    "0x1F",
    "1e400",
    ".inf",
    ".nan",
    "-0",
    "1_000",
    "18446744073709551616",
    "\\u0041",
    "\\ud83d\\ude00",
    "\\x00",
    "%YAML 1.2\n",
    "%TAG ! x\n",
    "\u{2028}",
    "\u{85}",
    "registry.example.com/acme/web:v1",
    "nginx@sha256:",
    "towpath.dev/run: before",
    "stringData:",
    "sops:",
];
const PATCHES: &[&str] = &[
    "target: ",
    "patch:",
    "merge:",
    "op: ",
    "add",
    "remove",
    "replace",
    "move",
    "copy",
    "test",
    "path: ",
    "from: ",
    "value: ",
    "/spec/replicas",
    "/-",
    "/0",
    "[name=web]",
    "~0",
    "~1",
    "labelSelector: ",
    "in (a,b)",
    "notin",
    "!a",
    "null",
    "{}",
    "[]",
    "-1",
    "99999999999999999999",
    "- ",
    "---\n",
    "kind: Deployment",
];

pub(super) const DOORS: &[Door] = &[
    Door {
        name: "manifest",
        words: YAML,
        knock: manifest,
    },
    Door {
        name: "images-yaml",
        words: YAML,
        knock: images_yaml,
    },
    Door {
        name: "patch",
        words: PATCHES,
        knock: patch,
    },
    Door {
        name: "sops",
        words: YAML,
        knock: opened,
    },
];

/// What stands in the opened part of the corpus, and may be told by nobody.
const SECRET: &str = "hunter2";

fn fields() -> ImageFields {
    let mut fields = ImageFields::default();
    for (kind, path) in [
        (
            "Rollout.argoproj.io",
            "/spec/template/spec/containers/*/image",
        ),
        ("Widget.example.com", "/spec/images/*"),
    ] {
        fields.add(kind, path).expect("both are paths to images");
    }
    fields
}

/// What images are set to: three repositories, `v2` and a digest of twos.
fn images() -> Images {
    let version = || ImageVersion {
        tag: Some("v2".to_owned()),
        digest: format!("sha256:{}", "2".repeat(64))
            .parse()
            .expect("64 digits are a digest"),
    };
    [
        "registry.example.com/acme/web",
        "nginx",
        "127.0.0.1:5000/web",
    ]
    .map(|name| (name.parse().expect("it is a repository"), version()))
    .into_iter()
    .collect()
}

/// What an edit writes ends so.
const WRITTEN: &str = ":v2@sha256:2222222222222222222222222222222222222222222222222222222222222222";

fn manifest(bytes: &[u8]) -> Knocked {
    let fields = fields();
    let read = manifest::parse("web.yaml", bytes, &fields);
    let file = match read {
        Ok(file) => file,
        Err(error) => return refused(&error),
    };
    let before = rendered(&file, &[]);
    match manifest::set_image(&file, &images()) {
        Err(errors) => {
            for error in &errors {
                harmless(&error.to_string())?;
            }
        }
        Ok(None) => {}
        Ok(Some(edited)) => {
            let again = edits(&file.text, &edited)?;
            only_images_differ(&values(&file), &values(&again), "as we read it")?;
            let second = |text: &str| documents(text).map(Value::Array);
            if let (Some(old), Some(new)) = (second(&file.text), second(&edited.text)) {
                only_images_differ(&old, &new, "as serde_yaml reads it")?;
            }
            alike(
                "set twice",
                &manifest::set_image(&again, &images()),
                &Ok(None),
            )?;
            if let (Ok(before), Ok(after)) = (&before, rendered(&again, &[])) {
                let pair = [(Arc::new(file), Arc::new(again))];
                if let Some(quick) = before.with(&pair, rendering(&fields)) {
                    alike(
                        "the desired state, put together and made anew",
                        &quick.state,
                        &after.state,
                    )?;
                }
            }
        }
    }
    Ok(answered(&before))
}

/// The edited text is a manifest, and differs by nothing but the images that are told.
fn edits(before: &str, edited: &Edited) -> Result<ManifestFile, String> {
    let (mut old, mut new) = (before, edited.text.as_str());
    for change in &edited.changes {
        let (Some(from), to) = (&change.from, &change.to) else {
            return Err(format!("a manifest's image was added: {change:?}"));
        };
        let unseen = || format!("{change:?} does not stand in {new:?}");
        let at = new.find(to.as_str()).ok_or_else(unseen)?;
        let same = old.get(..at) == new.get(..at);
        let (Some(rest), true) = (
            old.get(at..).and_then(|it| it.strip_prefix(from.as_str())),
            same,
        ) else {
            return Err(format!(
                "more than {change:?} differs in front of {:?}",
                &new[at..]
            ));
        };
        (old, new) = (rest, &new[at + to.len()..]);
    }
    alike("what follows the last image", &old, &new)?;
    let again = manifest::parse("web.yaml", edited.text.as_bytes(), &fields());
    again.map_err(|error| format!("the edit is no manifest: {error}"))
}

fn values(file: &ManifestFile) -> Value {
    file.objects
        .iter()
        .map(manifest::ManifestObject::value)
        .collect()
}

/// What another reader makes of the documents; `None`: nothing, for it knows less of YAML.
fn documents(text: &str) -> Option<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(text.trim_start_matches('\u{feff}'));
    let documents = documents.map(|it| serde_yaml::Value::deserialize(it).ok());
    documents.map(|it| serde_json::to_value(it?).ok()).collect()
}

fn only_images_differ(old: &Value, new: &Value, how: &str) -> Result<(), String> {
    match (old, new) {
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let mut pairs = old.iter().zip(new);
            pairs.try_for_each(|(old, new)| only_images_differ(old, new, how))
        }
        (Value::Object(old), Value::Object(new)) if old.len() == new.len() => {
            let mut pairs = old.iter().zip(new);
            pairs.try_for_each(|((key, old), (name, new))| {
                alike(how, key, name)?;
                only_images_differ(old, new, how)
            })
        }
        (Value::String(_), Value::String(new)) if new.ends_with(WRITTEN) => Ok(()),
        (old, new) => alike(how, old, new),
    }
}

fn rendering(fields: &ImageFields) -> Rendering<'_> {
    Rendering {
        default_namespace: "default",
        fields,
        access: None,
    }
}

fn rendered(file: &ManifestFile, patches: &[PatchFile]) -> Result<Rendered, ManifestError> {
    let fields = fields();
    // A file is shared by those who keep it, and is read here once more.
    let file = manifest::parse(&file.path, file.text.as_bytes(), &fields)?;
    let layer = Layer {
        directory: ".",
        files: &[Arc::new(file)],
        images: None,
    };
    manifest::render(&[layer], patches, rendering(&fields))
}

fn refused(error: &ManifestError) -> Knocked {
    harmless(&error.to_string())?;
    Ok(Answer::Refused)
}

fn images_yaml(bytes: &[u8]) -> Knocked {
    let file = match manifest::parse_images("images.yaml", bytes) {
        Ok(file) => file,
        Err(error) => return refused(&error),
    };
    if let Ok(Some(edited)) = manifest::set_in_images_yaml(Some(&file), &images()) {
        let again = manifest::parse_images("images.yaml", edited.text.as_bytes());
        let again = again.map_err(|error| format!("the edit is no list of images: {error}"))?;
        let twice = manifest::set_in_images_yaml(Some(&again), &images());
        alike("set twice", &twice, &Ok(None))?;
    }
    Ok(Answer::Taken)
}

/// Patches, and the manifest that they are for.
fn patch(bytes: &[u8]) -> Knocked {
    let [patches, objects] = split(bytes);
    let patches = match manifest::parse_patches("patches.yaml", patches) {
        Ok(patches) => patches,
        Err(error) => return refused(&error),
    };
    let Ok(file) = manifest::parse("web.yaml", objects, &fields()) else {
        return Ok(Answer::Refused);
    };
    let patches = [patches];
    let once = rendered(&file, &patches).map(|it| it.state);
    alike(
        "rendered twice",
        &once,
        &rendered(&file, &patches).map(|it| it.state),
    )?;
    if let Err(error) = &once {
        harmless(&error.to_string())?;
    }
    Ok(answered(&once))
}

/// An encrypted manifest, and what it is opened to.
fn opened(bytes: &[u8]) -> Knocked {
    let [sealed, opened] = split(bytes);
    let opened = String::from_utf8_lossy(opened);
    let seen = manifest::parse_sealed("secret.yaml", sealed, &fields());
    let Err(error) = manifest::parse_opened("secret.yaml", sealed, &opened, &fields()) else {
        return Ok(answered(&seen));
    };
    let told = error.to_string();
    harmless(&told)?;
    let sealed = String::from_utf8_lossy(sealed);
    match told.contains(SECRET) && !sealed.contains(SECRET) {
        true => Err(format!("what was encrypted is told: {told}")),
        false => Ok(Answer::Refused),
    }
}
