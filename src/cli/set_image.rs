//! `towpath set-image`: Towpath's byte-exact image edit for people and CI.
//!
//! Owns finding the files, printing the diff and writing; what an edit is and when it is refused is
//! [`crate::manifest`]'s.

mod diff;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::files;
use crate::manifest::{self, Edited, IMAGES_FILE, ImageFields, ManifestError, Problem, has_image};
use crate::model::{ImageReference, ImageRepository, ImageVersion, Images};

/// Set images in manifests, changing no other byte
///
/// Prints a unified diff that `git apply` accepts, and nothing if nothing changes. Run it at the top
/// of the repository, so that the paths in the diff fit.
///
/// REFERENCE is `TAG@sha256:…`, or `sha256:…` alone (then no tag is written). A tag alone is refused:
/// it may move, and the cluster obeys the digest. An image whose digest already matches is left
/// untouched, whatever its tag.
///
/// A directory is walked for .yaml, .yml and .json files; hidden ones and symbolic links are passed
/// over. A file named images.yaml is read as an environment's list of images.
///
/// What cannot be edited safely (aliases, block scalars, files that do not parse …) is reported as
/// `file:line:column: reason — what to do` on stderr; then nothing is written and the exit code is 1.
/// The same holds for a repository that stands nowhere in these files.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "towpath set-image [OPTIONS] <REPOSITORY=REFERENCE>... <FILE_OR_DIR>..."
)]
pub struct SetImage {
    /// Images as REPOSITORY=REFERENCE, then files and directories
    #[arg(required = true, value_name = "IMAGE_OR_PATH")]
    arguments: Vec<PathBuf>,

    /// Write the files, besides printing the diff
    #[arg(long)]
    write: bool,

    /// An image field of a custom resource, as in
    /// `Rollout.argoproj.io=/spec/template/spec/containers/*/image`
    #[arg(long = "image-field", value_name = "KIND.GROUP=PATH")]
    image_fields: Vec<String>,
}

/// Done, also if nothing changed.
const DONE: u8 = 0;
/// Something was refused or failed; nothing was written.
const FAILED: u8 = 1;
/// The arguments make no sense.
const USAGE: u8 = 2;

/// Runs the command; `out` takes the diff, `err` the refusals. Returns the exit code.
pub fn run(args: &SetImage, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let task = match Task::from_args(args) {
        Ok(task) => task,
        Err(message) => {
            writeln!(err, "error: {message}")?;
            return Ok(USAGE);
        }
    };
    let mut outcome = Outcome::default();
    let found = files::find(&task.paths);
    for (path, error) in &found.failures {
        let failure = format!("{}: {error}", files::display(path));
        outcome.failures.push(failure);
    }
    for path in found.files {
        task.look_at(&path, &mut outcome);
    }
    for repository in task
        .images
        .keys()
        .filter(|name| !outcome.found.contains(name))
    {
        outcome.failures.push(format!(
            "no image field holds {repository} — correct the repository or the files; the fields of custom resources are named by --image-field"
        ));
    }
    if !outcome.failures.is_empty() {
        for failure in &outcome.failures {
            writeln!(err, "{failure}")?;
        }
        return Ok(FAILED);
    }
    for change in &outcome.changes {
        out.write_all(diff::unified(&change.path, &change.before, &change.after).as_bytes())?;
    }
    out.flush()?;
    if args.write {
        for change in &outcome.changes {
            if let Err(error) = files::replace(&change.path, &change.after) {
                writeln!(err, "{}: not written: {error}", change.path.display())?;
                return Ok(FAILED);
            }
        }
    }
    Ok(DONE)
}

/// What is asked for.
struct Task {
    images: Images,
    fields: ImageFields,
    paths: Vec<PathBuf>,
}

/// What was found.
#[derive(Default)]
struct Outcome {
    changes: Vec<Change>,
    failures: Vec<String>,
    found: Vec<ImageRepository>,
}

struct Change {
    path: PathBuf,
    before: String,
    after: String,
}

impl Task {
    fn from_args(args: &SetImage) -> Result<Self, String> {
        let mut images = Images::default();
        let mut arguments = args.arguments.iter().peekable();
        while let Some((repository, reference)) = arguments
            .peek()
            .and_then(|argument| argument.to_str()?.split_once('='))
        {
            let (repository, version) = assignment(repository, reference)?;
            if images.insert(repository.clone(), version).is_some() {
                return Err(format!("{repository} is set twice: name it once"));
            }
            arguments.next();
        }
        let paths: Vec<PathBuf> = arguments.cloned().collect();
        if images.is_empty() || paths.is_empty() {
            return Err(
                "name at least one REPOSITORY=REFERENCE, and then at least one file or directory"
                    .to_owned(),
            );
        }
        let fields = fields(&args.image_fields)?;
        Ok(Self {
            images,
            fields,
            paths,
        })
    }

    fn look_at(&self, path: &Path, outcome: &mut Outcome) {
        let name = files::display(path);
        let bytes = match files::read(path) {
            Ok(bytes) => bytes,
            Err(error) => return outcome.failures.push(format!("{name}: {error}")),
        };
        if !self.may_concern(&bytes) {
            return;
        }
        match self.edit(&name, &bytes, &mut outcome.found) {
            Ok(None) => {}
            Ok(Some(Edited { text: after, .. })) => {
                // An edit is only ever made of UTF-8.
                let before = String::from_utf8_lossy(&bytes).into_owned();
                outcome.changes.push(Change {
                    path: path.to_owned(),
                    before,
                    after,
                });
            }
            Err(errors) => outcome
                .failures
                .extend(errors.iter().map(ToString::to_string)),
        }
    }

    /// A cheap look before the file is parsed: broken or templated files that do not name the image
    /// are none of our business.
    fn may_concern(&self, bytes: &[u8]) -> bool {
        self.images.keys().any(|repository| {
            let name = repository
                .path()
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .as_bytes();
            bytes
                .windows(name.len().max(1))
                .any(|window| window == name)
        })
    }

    fn edit(
        &self,
        name: &str,
        bytes: &[u8],
        found: &mut Vec<ImageRepository>,
    ) -> Result<Option<Edited>, Vec<ManifestError>> {
        if name.rsplit('/').next() == Some(IMAGES_FILE) {
            let file = manifest::parse_images(name, bytes).map_err(|error| vec![error])?;
            let images: Images = self
                .images
                .iter()
                .filter(|(name, _)| file.images().any(|image| image.repository == **name))
                .map(|(name, version)| (name.clone(), version.clone()))
                .collect();
            found.extend(images.keys().cloned());
            return manifest::set_in_images_yaml(Some(&file), &images);
        }
        let file = match manifest::parse(name, bytes, &self.fields) {
            // What is encrypted may hold anything; what stands openly in it cannot be edited.
            Err(error) if error.problem == Problem::Sealed => {
                match manifest::parse_sealed(name, bytes, &self.fields) {
                    Ok(file) => file,
                    Err(_) => return Ok(None),
                }
            }
            read => read.map_err(|error| vec![error])?,
        };
        found.extend(
            self.images
                .keys()
                .filter(|name| has_image(&file, name))
                .cloned(),
        );
        manifest::set_image(&file, &self.images)
    }
}

/// The image fields of Kubernetes' own kinds, and those named by `--image-field`.
pub(super) fn fields(named: &[String]) -> Result<ImageFields, String> {
    let mut fields = ImageFields::default();
    for field in named {
        let (kind, path) = field.split_once('=').ok_or_else(|| {
            format!("`{field}` is no image field: write KIND.GROUP=PATH, as in `Rollout.argoproj.io=/spec/template/spec/containers/*/image`")
        })?;
        fields.add(kind, path).map_err(|error| error.to_string())?;
    }
    Ok(fields)
}

/// Reads `TAG@sha256:…`, `@sha256:…` or `sha256:…` for a repository.
fn assignment(
    repository: &str,
    reference: &str,
) -> Result<(ImageRepository, ImageVersion), String> {
    let reference = match reference {
        digest if digest.starts_with("sha256:") => format!("{repository}@{digest}"),
        digest if digest.starts_with('@') => format!("{repository}{digest}"),
        tagged => format!("{repository}:{tagged}"),
    };
    // The repository must not bring a tag of its own.
    let repository: ImageRepository = repository
        .parse()
        .map_err(|error: crate::model::InvalidImage| error.to_string())?;
    let ImageReference { tag, digest, .. } = reference
        .parse()
        .map_err(|error: crate::model::InvalidImage| error.to_string())?;
    match digest {
        Some(digest) => Ok((repository, ImageVersion { tag, digest })),
        None => Err(format!(
            "`{reference}` names no digest, and a tag may move: write TAG@sha256:… (`skopeo inspect --format '{{{{.Digest}}}}' docker://{reference}` shows it)"
        )),
    }
}
