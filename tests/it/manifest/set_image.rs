//! `towpath set-image` on real files, its diffs read by real git.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::{Args as _, FromArgMatches as _};
use tempfile::TempDir;
use towpath::cli::set_image::{SetImage, run};

use super::{cases, expect, fixtures};

/// Runs the command: exit code, stdout, stderr.
fn set_image(arguments: &[&str]) -> (u8, String, String) {
    let command = SetImage::augment_args(clap::Command::new("set-image").no_binary_name(true));
    command.clone().debug_assert();
    let matches = command.try_get_matches_from(arguments).unwrap();
    let arguments = SetImage::from_arg_matches(&matches).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&arguments, &mut out, &mut err).unwrap();
    (
        code,
        String::from_utf8(out).unwrap(),
        String::from_utf8(err).unwrap(),
    )
}

fn assignments() -> Vec<String> {
    let digest = "2".repeat(64);
    [
        "registry.example.com/acme/web",
        "nginx",
        "127.0.0.1:5000/web",
    ]
    .map(|repository| format!("{repository}=v2@sha256:{digest}"))
    .to_vec()
}

#[expect(clippy::disallowed_methods, reason = "git is the judge of the diff")]
fn git_apply(directory: &Path, diff: &str) {
    let mut git = Command::new("git")
        .args([
            "-c",
            "core.autocrlf=false",
            "apply",
            "--whitespace=nowarn",
            "-",
        ])
        .current_dir(directory)
        .env("GIT_CEILING_DIRECTORIES", directory.parent().unwrap())
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    git.stdin
        .take()
        .unwrap()
        .write_all(diff.as_bytes())
        .unwrap();
    let output = git.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}\n{diff}");
}

/// A directory with all edit cases that are edited, under names that a diff must quote.
fn edited_cases() -> (TempDir, Vec<(String, Vec<u8>)>) {
    let directory = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for (index, path) in cases(&fixtures("edit")).into_iter().enumerate() {
        let Ok(edited) = fs::read(format!("{}.edited", path.display())) else {
            continue;
        };
        let name = path.file_name().unwrap().to_str().unwrap();
        let name = match index % 4 {
            0 => format!("plain/{name}"),
            1 => format!("with space/{name}"),
            2 => format!("größe/\"quoted\"\t{name}"),
            _ => name.to_owned(),
        };
        let copy = directory.path().join(&name);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(&path, copy).unwrap();
        expected.push((name, edited));
    }
    (directory, expected)
}

fn arguments<'a>(assignments: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let fields = [
        "--image-field=Rollout.argoproj.io=/spec/template/spec/containers/*/image",
        "--image-field=Widget.example.com=/spec/images/*",
    ];
    fields
        .into_iter()
        .chain(assignments.iter().map(String::as_str))
        .chain(more.iter().copied())
        .collect()
}

#[test]
fn git_applies_the_diff_and_gets_what_write_writes() {
    let assignments = assignments();
    for write in [false, true] {
        let (directory, expected) = edited_cases();
        let path = directory.path().to_str().unwrap();
        let mut arguments = arguments(&assignments, &[path]);
        arguments.extend(write.then_some("--write"));
        let (code, diff, errors) = set_image(&arguments);
        assert_eq!((code, errors.as_str()), (0, ""));
        if !write {
            // Outside of the working directory the diff names the path from the root.
            let inside = diff.replace(&format!("{}/", &path[1..]), "");
            git_apply(directory.path(), &inside);
        }
        for (name, expected) in &expected {
            let found = fs::read(directory.path().join(name)).unwrap();
            assert!(
                found == *expected,
                "{name}: {}",
                String::from_utf8_lossy(&found)
            );
        }
        let (code, diff, errors) = set_image(&arguments);
        assert_eq!(
            (code, diff.as_str(), errors.as_str()),
            (0, "", ""),
            "a second time"
        );
    }
}

#[test]
fn every_refusal_is_reported_and_then_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    for path in cases(&fixtures("edit")) {
        if !path.ends_with("alias-bomb.yaml") {
            fs::copy(&path, directory.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let before = fs::read(directory.path().join("plain.yaml")).unwrap();
    let path = directory.path().to_str().unwrap();
    let assignments = assignments();
    let (code, diff, errors) = set_image(&arguments(&assignments, &[path, "--write"]));
    assert_eq!((code, diff.as_str()), (1, ""));
    let errors = errors.replace(&format!("{path}/"), "");
    expect(
        &fixtures("set-image/refusals"),
        "err",
        errors.as_bytes(),
        &["err"],
    );
    assert_eq!(
        fs::read(directory.path().join("plain.yaml")).unwrap(),
        before
    );
}

#[cfg(unix)]
#[test]
fn the_walk_is_careful_and_the_mode_is_kept() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let plain = fs::read(fixtures("edit/plain.yaml")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("tree/.hidden")).unwrap();
    fs::create_dir_all(at("elsewhere")).unwrap();
    for name in [
        "tree/a.yaml",
        "tree/.b.yaml",
        "tree/.hidden/c.yaml",
        "tree/d.txt",
        "elsewhere/e.yaml",
    ] {
        fs::write(at(name), &plain).unwrap();
    }
    fs::write(at("tree/broken.yaml"), "image: [unclosed").unwrap();
    fs::write(
        at("tree/images.yaml"),
        "images:\n  - registry.example.com/acme/web:v1\n",
    )
    .unwrap();
    symlink(at("elsewhere"), at("tree/link")).unwrap();
    symlink(at("elsewhere/e.yaml"), at("tree/link.yaml")).unwrap();
    fs::set_permissions(at("tree/a.yaml"), fs::Permissions::from_mode(0o640)).unwrap();

    let assignment = format!("registry.example.com/acme/web=sha256:{}", "3".repeat(64));
    let tree = at("tree");
    let (tree, twice) = (tree.to_str().unwrap(), at("tree/a.yaml"));
    let (code, diff, errors) = set_image(&[&assignment, tree, twice.to_str().unwrap(), "--write"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert_eq!(diff.matches("\n+++ ").count(), 2, "{diff}");
    let read = |name: &str| fs::read_to_string(at(name)).unwrap();
    let image = format!("registry.example.com/acme/web@sha256:{}", "3".repeat(64));
    assert!(
        read("tree/a.yaml").ends_with(&format!("image: {image}\n")),
        "no tag beside the digest"
    );
    assert_eq!(read("tree/images.yaml"), format!("images:\n  - {image}\n"));
    assert_eq!(
        fs::metadata(at("tree/a.yaml"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o640
    );
    for name in [
        "tree/.b.yaml",
        "tree/.hidden/c.yaml",
        "tree/d.txt",
        "elsewhere/e.yaml",
    ] {
        assert_eq!(fs::read(at(name)).unwrap(), plain, "{name}");
    }

    // A link that a person names is followed, and stays a link.
    let link = at("tree/link.yaml");
    let (code, _, errors) = set_image(&[&assignment, link.to_str().unwrap(), "--write"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(link.is_symlink() && read("elsewhere/e.yaml").contains(&image));
}

#[test]
fn arguments_without_sense_are_explained() {
    let digest = format!("sha256:{}", "2".repeat(64));
    let good = format!("r.io/a={digest}");
    let tagged = format!("r.io/a:v1={digest}");
    let file = fixtures("edit/plain.yaml");
    let file = file.to_str().unwrap();
    for (arguments, code, expected) in [
        (vec!["r.io/a=v1", file], 2, "names no digest"),
        (vec!["r.io/a=v1@sha256:12", file], 2, "is not a digest"),
        (vec!["R.io/A=v1", file], 2, "is not an image repository"),
        (vec![tagged.as_str(), file], 2, "is not an image repository"),
        (vec![&good, &good, file], 2, "is set twice"),
        (
            vec![file, file],
            2,
            "name at least one REPOSITORY=REFERENCE",
        ),
        (
            vec![&good, &format!("r.io/b=@{digest}")],
            2,
            "then at least one file",
        ),
        (
            vec!["--image-field=Rollout", &good, file],
            2,
            "is no image field",
        ),
        (
            vec!["--image-field=Rollout=spec", &good, file],
            2,
            "is no path",
        ),
        (vec![&good, file], 1, "no image field holds r.io/a"),
        (
            vec![&good, "/nowhere/at/all"],
            1,
            "/nowhere/at/all: No such file",
        ),
    ] {
        let (actual, out, errors) = set_image(&arguments);
        assert_eq!((actual, out.as_str()), (code, ""), "{arguments:?}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}
