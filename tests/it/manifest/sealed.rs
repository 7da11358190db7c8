//! Manifests encrypted by sops: what is made of them says nothing of what is in them. The files in
//! `fixtures/manifests/sealed/` were made by sops 3.13; `.opened` is what it decrypts them to.

use std::fs;
use std::sync::Arc;

use towpath::manifest::{
    self, Layer, ManifestError, ManifestFile, PatchFile, Problem, Rendered, Rendering,
};
use towpath::model::{ImageRepository, Images};

use super::{cases, fields, fixtures, images};

/// The word that all plain texts hold where they are encrypted, and nothing else does.
const SECRET: &str = "hunter2";

fn sealed(name: &str) -> (Vec<u8>, String) {
    let path = fixtures("sealed").join(name);
    let opened = fs::read_to_string(format!("{}.opened", path.display())).unwrap();
    (fs::read(path).unwrap(), opened)
}

fn open(name: &str, bytes: &[u8], opened: &str) -> Result<ManifestFile, ManifestError> {
    manifest::parse_opened(name, bytes, opened, &fields())
}

fn render(file: ManifestFile, patches: &[PatchFile]) -> Result<Rendered, ManifestError> {
    let fields = fields();
    let files = [Arc::new(file)];
    let layer = Layer {
        directory: ".",
        files: &files,
        images: None,
    };
    let rendering = Rendering {
        default_namespace: "default",
        fields: &fields,
        access: None,
    };
    manifest::render(&[layer], patches, rendering)
}

#[test]
fn encrypted_files_are_opened_and_told_apart() {
    for path in cases(&fixtures("sealed")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let (bytes, opened) = sealed(name);
        assert!(opened.contains(SECRET) && !String::from_utf8_lossy(&bytes).contains(SECRET));
        let error = manifest::parse(name, &bytes, &fields()).unwrap_err();
        assert_eq!(
            (&error.problem, error.line),
            (&Problem::Sealed, 1),
            "{name}"
        );
        let file = open(name, &bytes, &opened).unwrap();
        let shown = format!("{file:?} {:?}", file.objects);
        let rendered = render(file, &[]).unwrap();
        let secret = &rendered.objects[0];
        assert_eq!(secret.reference.to_string(), "Secret default/db");
        assert!(secret.json().contains(SECRET));
        for object in &rendered.objects {
            assert!(object.is_encrypted() && object.is_secret(), "{name}");
            // The place is the encrypted document's: the second one begins further down.
            let first = object.reference.kind == "Secret";
            assert_eq!(object.place.line == 1, first, "{name}");
        }
        let shown = format!("{shown} {rendered:?}");
        assert!(!shown.contains(SECRET), "{shown}");
    }
}

#[test]
fn the_hash_tells_nothing_of_the_plain_text() {
    let name = "some-values.yaml";
    let (bytes, opened) = sealed(name);
    let hashes = |bytes: &[u8], opened: &str, patches: &[&str]| {
        let patches = patches
            .iter()
            .map(|patch| manifest::parse_patches("p.yaml", patch.as_bytes()).unwrap());
        let patches: Vec<_> = patches.collect();
        let rendered = render(open(name, bytes, opened).unwrap(), &patches).unwrap();
        let hashes = rendered.objects.iter().map(|object| object.hash());
        hashes.collect::<Vec<_>>()
    };
    let before = hashes(&bytes, &opened, &[]);
    assert_ne!(before[0], before[1]);
    // Whoever guesses the plain text has nothing to compare it with.
    let guessed = opened.replace(SECRET, "hunter3");
    assert_eq!(hashes(&bytes, &guessed, &[]), before);
    // What is encrypted anew, or patched, is something else.
    let anew = [&bytes[..], b"# anew\n"].concat();
    let patch = "target: {kind: Secret}\nmerge: {metadata: {labels: {a: b}}}\n";
    let other = "target: {kind: Secret}\nmerge: {metadata: {labels: {a: c}}}\n";
    let secrets = [
        before[0],
        hashes(&anew, &opened, &[])[0],
        hashes(&bytes, &opened, &[patch])[0],
        hashes(&bytes, &opened, &[other])[0],
        hashes(&bytes, &opened, &[patch, other])[0],
    ];
    for (index, secret) in secrets.iter().enumerate() {
        assert!(!secrets[..index].contains(secret), "{index}");
    }
    // The workload that uses it carries what is made of that hash, and so changes with it.
    assert_ne!(hashes(&bytes, &opened, &[patch])[1], before[1]);
}

#[test]
fn what_cannot_be_read_is_told_without_a_value() {
    let (bytes, opened) = sealed("some-values.yaml");
    for (from, to, expected) in [
        (
            "kind: Secret",
            "kind: {a: hunter2}",
            "some-values.yaml:1:1: `kind` is not text",
        ),
        ("name: db", "nom: db", "the object has no `metadata.name`"),
        (
            "name: db",
            "name: hunter2/x",
            "it is no manifest; why is not shown",
        ),
        (
            "password: hunter2",
            "password: [hunter2",
            "it is no manifest; why is not shown",
        ),
        (
            "password: hunter2",
            "hunter2: 1\n    hunter2: 2",
            "it is no manifest; why is not shown",
        ),
        ("---", "", "it is no manifest; why is not shown"),
        (
            "---",
            "---\na: b\n---",
            "it holds another number of documents",
        ),
        (
            "stringData:",
            "sops: {mac: hunter2}\nstringData:",
            "it is still encrypted",
        ),
        (
            "kind: Deployment",
            "kind: hunter2",
            "stands on hunter2.apps",
        ),
    ] {
        let broken = opened.replace(from, to);
        let error = open("some-values.yaml", &bytes, &broken);
        let error = error
            .and_then(|file| render(file, &[]))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
        // A kind is an object's identity, which is told.
        assert!(!error.contains(SECRET) || to == "kind: hunter2", "{error}");
    }
}

#[test]
fn images_in_encrypted_files_are_not_edited() {
    for (name, opens) in [("some-values.yaml", true), ("all-values.yaml", false)] {
        let (bytes, opened) = sealed(name);
        let file = open(name, &bytes, &opened).unwrap();
        let refused = manifest::set_image(&file, &images()).unwrap_err();
        let refused: Vec<_> = refused.iter().map(ToString::to_string).collect();
        assert_eq!(refused.len(), 1);
        assert!(
            refused[0].contains("only `sops edit` can change"),
            "{refused:?}"
        );
        // Unopened, only what stands openly is seen.
        let repository: ImageRepository = "registry.example.com/acme/web".parse().unwrap();
        let seen = manifest::parse_sealed(name, &bytes, &fields());
        let seen = seen
            .as_ref()
            .is_ok_and(|file| manifest::has_image(file, &repository));
        assert_eq!(seen, opens, "{name}");
        let only = |name: &str| {
            let mut images = images();
            images.retain(|repository, _| repository.to_string().contains(name));
            images
        };
        assert_eq!(manifest::set_image(&file, &only("nginx")), Ok(None));
        assert_eq!(manifest::set_image(&file, &Images::default()), Ok(None));
    }
}

#[test]
fn patches_and_lists_of_images_are_not_encrypted() {
    let text = "target: {kind: Secret}\nmerge: {a: b}\nsops: {mac: x}\n";
    let error = manifest::parse_patches("p.yaml", text.as_bytes()).unwrap_err();
    let expected = "p.yaml:1:1: a patch cannot be encrypted by sops — put what is secret into an encrypted manifest";
    assert_eq!(error.to_string(), expected);
    assert!(manifest::parse_images("images.yaml", b"images: []\nsops: {mac: x}\n").is_err());
}
