//! Manifests: edits, `images.yaml`, rendering and `set-image`, each case a file in
//! `fixtures/manifests/`. Set `TOWPATH_BLESS=1` to record what is expected anew, and read the diff.

mod generated;
mod sealed;
mod set_image;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use std::sync::Arc;

use towpath::manifest::{self, ImageFields, Layer, ManifestError, Rendered, Rendering};
use towpath::model::{Access, Digests, ImageVersion, Images};

fn fixtures(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/manifests")
        .join(below)
}

/// The files of a folder that are cases, not expectations.
fn cases(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| is_case(path)).collect();
    cases.sort();
    assert!(!cases.is_empty(), "{}", folder.display());
    cases
}

fn is_case(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "json")
}

/// Compares with the recorded file `path` + `.` + `kind`; other kinds must not be recorded.
fn expect(path: &Path, kind: &str, actual: &[u8], kinds: &[&str]) {
    let file = |kind: &str| PathBuf::from(format!("{}.{kind}", path.display()));
    if std::env::var_os("TOWPATH_BLESS").is_some() {
        for kind in kinds
            .iter()
            .map(|kind| file(kind))
            .filter(|file| file.exists())
        {
            fs::remove_file(kind).unwrap();
        }
        fs::write(file(kind), actual).unwrap();
    }
    for other in kinds.iter().filter(|other| **other != kind) {
        let text = String::from_utf8_lossy(actual);
        assert!(
            !file(other).exists(),
            "{}: expected {other}, got {kind}:\n{text}",
            path.display()
        );
    }
    let expected = fs::read(file(kind)).unwrap_or_default();
    assert_eq!(
        String::from_utf8_lossy(actual),
        String::from_utf8_lossy(&expected),
        "{}.{kind}",
        path.display()
    );
    assert_eq!(actual, expected, "{}.{kind}", path.display());
}

fn fields() -> ImageFields {
    let mut fields = ImageFields::default();
    fields
        .add(
            "Rollout.argoproj.io",
            "/spec/template/spec/containers/*/image",
        )
        .unwrap();
    fields.add("Widget.example.com", "/spec/images/*").unwrap();
    fields
}

/// What every case is set to: three repositories, `v2` and a digest of twos.
fn images() -> Images {
    [
        "registry.example.com/acme/web",
        "nginx",
        "127.0.0.1:5000/web",
    ]
    .into_iter()
    .map(|repository| {
        let digest = format!("sha256:{}", "2".repeat(64)).parse().unwrap();
        (
            repository.parse().unwrap(),
            ImageVersion {
                tag: Some("v2".to_owned()),
                digest,
            },
        )
    })
    .collect()
}

fn lines(errors: &[ManifestError]) -> String {
    errors.iter().fold(String::new(), |mut text, error| {
        writeln!(text, "{error}").unwrap();
        text
    })
}

#[test]
fn edits_change_the_image_and_nothing_else() {
    for path in cases(&fixtures("edit")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        let edited = manifest::parse(name, &bytes, &fields())
            .map_err(|error| vec![error])
            .and_then(|file| manifest::set_image(&file, &images()));
        let kinds = ["edited", "same", "refused"];
        match edited {
            Ok(Some(edited)) => {
                only_images_differ(&bytes, edited.text.as_bytes(), name);
                let again = manifest::parse(name, edited.text.as_bytes(), &fields()).unwrap();
                assert_eq!(
                    manifest::set_image(&again, &images()),
                    Ok(None),
                    "{name} again"
                );
                expect(&path, "edited", edited.text.as_bytes(), &kinds);
            }
            Ok(None) => expect(&path, "same", b"", &kinds),
            Err(errors) => expect(&path, "refused", lines(&errors).as_bytes(), &kinds),
        }
    }
}

/// An oracle that knows no YAML: taking the new tag and digest out of every new image, and the old
/// ones out of every old image on the same line, leaves equal bytes.
fn only_images_differ(before: &[u8], after: &[u8], name: &str) {
    let new = format!(":v2@sha256:{}", "2".repeat(64));
    let (before, after) = (split(before), split(after));
    assert_eq!(before.len(), after.len(), "{name}: the number of lines");
    for (old, mut new_line) in before.into_iter().zip(after) {
        let mut old = old.to_owned();
        while old != new_line {
            let at = new_line
                .find(&new)
                .unwrap_or_else(|| panic!("{name}: {old:?} became {new_line:?}"));
            new_line.replace_range(at..at + new.len(), "");
            let end = |c: char| !(c.is_ascii_alphanumeric() || "._:@-".contains(c));
            let length = old[at..].find(end).unwrap_or(old.len() - at);
            old.replace_range(at..at + length, "");
        }
    }
}

fn split(text: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(text).unwrap();
    text.split_inclusive('\n').map(str::to_owned).collect()
}

#[test]
fn images_yaml_is_edited_line_by_line() {
    for path in cases(&fixtures("images-yaml")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        let edited = manifest::parse_images(name, &bytes)
            .map_err(|error| vec![error])
            .and_then(|file| manifest::set_in_images_yaml(Some(&file), &images()));
        let kinds = ["edited", "same", "refused"];
        match edited {
            Ok(Some(edited)) => {
                let again = manifest::parse_images(name, edited.text.as_bytes()).unwrap();
                assert_eq!(
                    manifest::set_in_images_yaml(Some(&again), &images()),
                    Ok(None)
                );
                expect(&path, "edited", edited.text.as_bytes(), &kinds);
            }
            Ok(None) => expect(&path, "same", b"", &kinds),
            Err(errors) => expect(&path, "refused", lines(&errors).as_bytes(), &kinds),
        }
    }
}

#[test]
fn images_yaml_is_made_where_there_is_none() {
    let made = manifest::set_in_images_yaml(None, &images())
        .unwrap()
        .unwrap();
    expect(
        &fixtures("images-yaml/none"),
        "edited",
        made.text.as_bytes(),
        &["edited"],
    );
    let file = manifest::parse_images("images.yaml", made.text.as_bytes()).unwrap();
    let read: Vec<_> = file.images().map(ToString::to_string).collect();
    let told: Vec<_> = made
        .changes
        .iter()
        .map(|change| change.to.clone())
        .collect();
    assert_eq!(read, told);
    assert_eq!(
        manifest::set_in_images_yaml(None, &Images::default()),
        Ok(None)
    );
}

#[test]
fn directories_render_as_recorded() {
    let mut folders: Vec<_> = fs::read_dir(fixtures("render"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    assert!(!folders.is_empty());
    for folder in folders {
        let (kind, text) = match render(&folder) {
            Ok(rendered) => ("rendered", describe(&rendered)),
            Err(error) => ("error", format!("{error}\n")),
        };
        expect(&folder, kind, text.as_bytes(), &["rendered", "error"]);
    }
}

/// Renders a folder: its directories in order are the environment's, `patches` holds the patches.
fn render(folder: &Path) -> Result<Rendered, ManifestError> {
    let fields = fields();
    let mut layers = Vec::new();
    let mut patches = Vec::new();
    let mut directories: Vec<_> = walk(folder, 1);
    directories.retain(|path| path.is_dir());
    for directory in directories {
        let name = |path: &Path| {
            path.strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        let (mut files, mut images) = (Vec::new(), None);
        for path in walk(&directory, 3).iter().filter(|path| path.is_file()) {
            let (name, bytes) = (name(path), fs::read(path).unwrap());
            if name.starts_with("patches/") {
                patches.push(manifest::parse_patches(&name, &bytes)?);
            } else if path.strip_prefix(&directory).unwrap() == Path::new(manifest::IMAGES_FILE) {
                images = Some(manifest::parse_images(&name, &bytes)?);
            } else if manifest::is_manifest(&name) {
                files.push(Arc::new(manifest::parse(&name, &bytes, &fields)?));
            }
        }
        if !directory.ends_with("patches") {
            layers.push((name(&directory), files, images));
        }
    }
    let layers: Vec<_> = layers
        .iter()
        .map(|(directory, files, images)| Layer {
            directory,
            files,
            images: images.as_ref(),
        })
        .collect();
    manifest::render(
        &layers,
        &patches,
        Rendering {
            default_namespace: "default",
            fields: &fields,
            access: access(folder).as_ref(),
        },
    )
}

/// The limits of a case, in its `access.yaml`.
fn access(folder: &Path) -> Option<Access> {
    let text = fs::read_to_string(folder.join("access.yaml")).ok()?;
    let stated: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let texts = |key: &str| {
        let listed = stated.get(key)?.as_array()?;
        let texts = listed.iter().map(|it| it.as_str().unwrap().to_owned());
        Some(texts.collect::<Vec<_>>())
    };
    let kinds = texts("cluster-scoped").unwrap_or_default();
    Some(Access {
        namespaces: texts("namespaces").map(BTreeSet::from_iter),
        impersonate: None,
        cluster_scoped: kinds.iter().map(|kind| kind.parse().unwrap()).collect(),
    })
}

/// A workload that asks for it changes with the configuration its pods use, and with no other.
#[test]
fn pods_are_replaced_when_their_configuration_changes() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {towpath.dev/restart-on-config: 'true'}}\nspec: {template: {spec: {containers: [{name: web, env: [{name: A, valueFrom: {secretKeyRef: {name: used, key: a}}}]}]}}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: used}\nstringData: {a: one}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: used}\ndata: {a: two}\n";
    let before = rendered(text);
    let changed = |from: &str, to: &str| {
        let after = rendered(&text.replace(from, to));
        let pairs = before.objects.iter().zip(&after.objects);
        let changed = pairs.filter(|(before, after)| before.hash() != after.hash());
        let names = changed.map(|(before, _)| before.reference.kind.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(changed("a: one", "a: 1"), ["Secret", "Deployment"]);
    assert_eq!(changed("a: two", "a: 2"), ["ConfigMap"]);
    // What one file says may change what stands in another: then all is rendered anew.
    let fields = fields();
    let file = |text: &str| {
        let file = manifest::parse("web.yaml", text.as_bytes(), &fields).unwrap();
        Arc::new(file)
    };
    let rendering = Rendering {
        default_namespace: "default",
        fields: &fields,
        access: None,
    };
    let same = [(file(text), file(text))];
    assert!(before.with(&same, rendering).is_none());
    let plain = text.replace("'true'", "'false'");
    let same = [(file(&plain), file(&plain))];
    assert!(rendered(&plain).with(&same, rendering).is_some());
}

/// Whoever checks a directory is told all that is wrong in it, not the first of it.
#[test]
fn all_that_is_wrong_is_told_at_once() {
    let text = "apiVersion: v1\nkind: Deployment\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a, annotations: {towpath.dev/run: after}}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: b}\n";
    let fields = fields();
    let file = Arc::new(manifest::parse("web.yaml", text.as_bytes(), &fields).unwrap());
    let access = Access {
        namespaces: Some(["default".to_owned()].into()),
        impersonate: None,
        cluster_scoped: BTreeSet::new(),
    };
    let layer = Layer {
        directory: ".",
        files: &[file],
        images: None,
    };
    let rendering = Rendering {
        default_namespace: "default",
        fields: &fields,
        access: Some(&access),
    };
    let faults = manifest::judge(&[layer], &[], rendering).unwrap_err();
    let lines: Vec<_> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [1, 7, 9], "{faults:?}");
    let first = manifest::render(&[layer], &[], rendering).unwrap_err();
    assert_eq!(first, faults[0]);
}

fn walk(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    let below = |path: &PathBuf| match path.is_dir() && depth > 1 {
        true => walk(path, depth - 1),
        false => Vec::new(),
    };
    entries
        .iter()
        .flat_map(|path| [vec![path.clone()], below(path)].concat())
        .collect()
}

fn describe(rendered: &Rendered) -> String {
    let mut text = String::new();
    for object in &rendered.objects {
        writeln!(text, "{}  {}", object.reference, object.place).unwrap();
        if let Some(hook) = object.run {
            writeln!(text, "  runs {hook:?}").unwrap();
        }
        for image in &object.images {
            let by = image
                .set_by
                .as_ref()
                .map(|by| format!("  set by {by}"))
                .unwrap_or_default();
            writeln!(text, "  {} {}{by}", image.image.pointer, image.image.text).unwrap();
        }
        writeln!(
            text,
            "{}",
            serde_json::to_string_pretty(&object.value()).unwrap()
        )
        .unwrap();
    }
    writeln!(text, "images:").unwrap();
    let images = rendered.objects.iter().flat_map(|object| &object.images);
    let references: BTreeSet<_> = images.filter_map(|image| image.image.reference()).collect();
    for reference in references {
        writeln!(text, "  {reference}").unwrap();
    }
    text
}

/// One object rendered from a text.
fn rendered(text: &str) -> Rendered {
    let fields = fields();
    let file = Arc::new(manifest::parse("web.yaml", text.as_bytes(), &fields).unwrap());
    let layer = Layer {
        directory: ".",
        files: &[file],
        images: None,
    };
    manifest::render(
        &[layer],
        &[],
        Rendering {
            default_namespace: "default",
            fields: &fields,
            access: None,
        },
    )
    .unwrap()
}

#[test]
fn the_desired_state_is_what_is_said_not_how() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: '1', y: '2'}}\n";
    let state = rendered(text).state;
    for same in [
        "# comment\nmetadata:\n  labels: {y: \"2\", x: '1'} # note\n  name: a\nkind: 'Pod'\napiVersion: v1\n",
        "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"labels\":{\"x\":\"1\",\"y\":\"2\"}}}",
        "apiVersion: v1\r\nkind: Pod\r\nmetadata: {name: a, labels: {x: '1', y: '2'}}\r\nstatus: {phase: Running}\r\n",
        "---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {uid: x, name: a, labels: {x: '1', y: '2'}}}\n",
    ] {
        assert_eq!(rendered(same).state, state, "{same}");
    }
    for other in [
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: '1', y: '3'}}\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: '1'}}\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: b, labels: {x: '1', y: '2'}}\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {namespace: b, name: a, labels: {x: '1', y: '2'}}\n",
        "apiVersion: example.com/v1\nkind: Pod\nmetadata: {name: a, labels: {x: '1', y: '2'}}\n",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: {x: '1', y: '2'}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n",
    ] {
        assert_ne!(rendered(other).state, state, "{other}");
    }
}

#[test]
fn a_release_is_carried_or_what_is_in_its_way_is_named() {
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64)).parse().unwrap();
    let digests = |digits: &[(&str, &str)]| -> Digests {
        let repository = |name: &str| format!("registry.example.com/acme/{name}").parse().unwrap();
        digits
            .iter()
            .map(|(name, digit)| (repository(name), digest(digit)))
            .collect()
    };
    for (case, release, expected) in [
        (
            "one-directory",
            &[("web", "1")][..],
            &[
                "Pod default/a has registry.example.com/acme/web:v2@sha256:2222222222222222222222222222222222222222222222222222222222222222 at /spec/containers/0/image instead of sha256:1111111111111111111111111111111111111111111111111111111111111111, set at 1-base/b.yaml:8",
            ][..],
        ),
        ("images-then-patch", &[("web", "2")], &[]),
        (
            "images-then-patch",
            &[("web", "3")],
            &[
                "Pod default/a has registry.example.com/acme/web:v2@sha256:2222222222222222222222222222222222222222222222222222222222222222 at /spec/containers/0/image instead of sha256:3333333333333333333333333333333333333333333333333333333333333333, set at 2-env/images.yaml:1",
            ],
        ),
        (
            "patch-image",
            &[("web", "1")],
            &[
                "Deployment.apps default/web has registry.example.com/acme/web:v5@sha256:3333333333333333333333333333333333333333333333333333333333333333 at /spec/template/spec/containers/0/image instead of sha256:1111111111111111111111111111111111111111111111111111111111111111, set at patches/p.yaml:5",
            ],
        ),
        (
            "patch-image",
            &[("api", "1"), ("web", "3")],
            &["no object has an image of registry.example.com/acme/api"],
        ),
    ] {
        let rendered = render(&fixtures("render").join(case)).unwrap();
        let found = manifest::carries(&rendered, &digests(release))
            .err()
            .unwrap_or_default();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{case}");
    }
}
