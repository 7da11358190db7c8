//! `towpath check --manifests`: every mistake in directories of manifests, offline.
//!
//! Owns finding the files and telling what was found, and what may surprise; what is wrong is [`crate::manifest`]'s to say.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::{Args, counted};
use crate::cli::{Output, exit, files, set_image};
use crate::manifest::{
    self, IMAGES_FILE, ImageFields, ImagesFile, Layer, ManifestError, ManifestFile, PatchFile,
    Problem, Rendering,
};

/// The arguments make no sense.
const USAGE: u8 = 2;

/// What links lead to is nowhere looked at.
const LINK: &str = "this is a symbolic link, and none is followed — put the file itself here, or name the directory it leads to in `manifests:`";

/// Runs the command; `out` takes the answer, `err` what is wrong with the arguments. Returns the exit
/// code: 1 where there is a mistake.
///
/// # Errors
/// The writer's.
pub fn run(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let fields = match set_image::fields(&args.image_fields) {
        Ok(fields) => fields,
        Err(message) => {
            writeln!(err, "error: {message}")?;
            return Ok(USAGE);
        }
    };
    let answer = look(args, &fields);
    match args.output {
        Output::Table => in_lines(&answer, out)?,
        output => output.write(&answer, out)?,
    }
    Ok(match answer.ok {
        true => exit::OK,
        false => exit::ERROR,
    })
}

/// What was found.
#[derive(Serialize)]
struct Answer {
    ok: bool,
    problems: Vec<Wrong>,
    warnings: Vec<Wrong>,
    files: usize,
    objects: usize,
    notes: Vec<String>,
}

/// One mistake.
#[derive(Serialize)]
struct Wrong {
    file: String,
    line: Option<u32>,
    column: Option<u32>,
    what: String,
    instead: String,
}

impl Wrong {
    /// Mistakes are told as `what — what to do`.
    fn new(file: String, message: &str) -> Self {
        let (what, instead) = message.split_once(" — ").unwrap_or((message, ""));
        Self {
            file,
            line: None,
            column: None,
            what: what.to_owned(),
            instead: instead.to_owned(),
        }
    }
}

impl From<&ManifestError> for Wrong {
    fn from(error: &ManifestError) -> Self {
        Self {
            line: Some(error.line),
            column: Some(error.column),
            ..Self::new(error.file.to_string(), &error.problem.to_string())
        }
    }
}

impl Wrong {
    fn write(&self, severity: &str, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{}", self.file)?;
        if let (Some(line), Some(column)) = (self.line, self.column) {
            write!(out, ":{line}:{column}")?;
        }
        write!(out, ": {severity}{}", self.what)?;
        if !self.instead.is_empty() {
            write!(out, " — {}", self.instead)?;
        }
        writeln!(out)
    }
}

fn in_lines(answer: &Answer, out: &mut dyn Write) -> io::Result<()> {
    for wrong in &answer.problems {
        wrong.write("", out)?;
    }
    for warning in &answer.warnings {
        warning.write("warning: ", out)?;
    }
    if !answer.ok {
        writeln!(out, "\n{}", counted(answer.problems.len(), "problem"))?;
    } else {
        let objects = counted(answer.objects, "object");
        let files = counted(answer.files, "file");
        writeln!(out, "{objects} in {files}, no problems")?;
    }
    for note in &answer.notes {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

/// What is read so far.
struct Looked<'a> {
    fields: &'a ImageFields,
    wrong: Vec<Wrong>,
    warnings: Vec<Wrong>,
    files: usize,
    /// Files that are encrypted as a whole.
    hidden: Vec<String>,
    /// Whether there is a file that is not known, so that others may lack something.
    incomplete: bool,
}

/// Whether it may be right once all files are read.
fn may_be_missing(fault: &ManifestError) -> bool {
    matches!(
        fault.problem,
        Problem::PatchMatchesNothing(_)
            | Problem::ImageSetsNothing(_)
            | Problem::EmptyDirectory
            | Problem::NeverRestarted
    )
}

/// A directory's files.
struct Directory {
    name: String,
    files: Vec<Arc<ManifestFile>>,
    images: Option<ImagesFile>,
}

fn look(args: &Args, fields: &ImageFields) -> Answer {
    let mut looked = Looked {
        fields,
        wrong: Vec::new(),
        warnings: Vec::new(),
        files: 0,
        hidden: Vec::new(),
        incomplete: false,
    };
    let directories = args.manifests.iter().map(|path| looked.directory(path));
    let directories: Vec<Directory> = directories.collect();
    let patches = args.patches.iter().flat_map(|path| looked.patches(path));
    let patches: Vec<PatchFile> = patches.collect();
    let objects = looked.render(&directories, &patches);
    let notes = looked.hidden.iter().map(|file| {
        format!("{file} is encrypted as a whole: neither it nor what needs it was looked at")
    });
    Answer {
        ok: looked.wrong.is_empty(),
        notes: notes.collect(),
        files: looked.files,
        objects,
        problems: looked.wrong,
        warnings: looked.warnings,
    }
}

impl Looked<'_> {
    fn directory(&mut self, path: &Path) -> Directory {
        let (mut files, mut images) = (Vec::new(), None);
        for file in self.find(path) {
            let name = files::display(&file);
            let Some(bytes) = self.bytes(&file, &name) else {
                continue;
            };
            if file.strip_prefix(path) == Ok(Path::new(IMAGES_FILE)) {
                let read = manifest::parse_images(&name, &bytes);
                images = self.good(read);
                continue;
            }
            let read = match manifest::parse(&name, &bytes, self.fields) {
                Err(error) if error.problem == Problem::Sealed => {
                    match manifest::parse_sealed(&name, &bytes, self.fields) {
                        Ok(read) => Ok(read),
                        Err(_) => {
                            self.incomplete = true;
                            self.hidden.push(name);
                            continue;
                        }
                    }
                }
                read => read,
            };
            files.extend(self.good(read).map(Arc::new));
        }
        Directory {
            name: files::display(path),
            files,
            images,
        }
    }

    fn patches(&mut self, path: &Path) -> Vec<PatchFile> {
        let mut patches = Vec::new();
        for file in self.find(path) {
            let name = files::display(&file);
            if let Some(bytes) = self.bytes(&file, &name) {
                let read = manifest::parse_patches(&name, &bytes);
                patches.extend(self.good(read));
            }
        }
        patches
    }

    /// Renders as an environment does. Gives how many objects there are.
    fn render(&mut self, directories: &[Directory], patches: &[PatchFile]) -> usize {
        let layers = directories.iter().map(|directory| Layer {
            directory: &directory.name,
            files: &directory.files,
            images: directory.images.as_ref(),
        });
        let layers: Vec<Layer<'_>> = layers.collect();
        let rendering = Rendering {
            default_namespace: "default",
            fields: self.fields,
            access: None,
        };
        let mut judged = manifest::judge(&layers, patches, rendering);
        if let Err(faults) = &judged
            && self.incomplete
            && faults.iter().any(may_be_missing)
        {
            judged = manifest::judge(&layers, &[], rendering);
        }
        if let Ok(rendered) = &judged {
            let warnings = manifest::warnings(rendered);
            self.warnings.extend(warnings.iter().map(Wrong::from));
        }
        let faults = judged.err().unwrap_or_default();
        let faults = faults
            .iter()
            .filter(|fault| !self.incomplete || !may_be_missing(fault));
        self.wrong.extend(faults.map(Wrong::from));
        let files = directories.iter().flat_map(|directory| &directory.files);
        files.map(|file| file.objects.len()).sum()
    }

    fn find(&mut self, path: &Path) -> Vec<PathBuf> {
        let found = files::find(&[path.to_owned()]);
        self.incomplete |= !found.failures.is_empty() || !found.links.is_empty();
        for (path, error) in &found.failures {
            self.wrong
                .push(Wrong::new(files::display(path), &error.to_string()));
        }
        for link in found.links {
            self.wrong.push(Wrong::new(files::display(&link), LINK));
        }
        found.files
    }

    fn bytes(&mut self, path: &Path, name: &str) -> Option<Vec<u8>> {
        self.files += 1;
        match files::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                self.wrong
                    .push(Wrong::new(name.to_owned(), &error.to_string()));
                None
            }
        }
    }

    fn good<T>(&mut self, read: Result<T, ManifestError>) -> Option<T> {
        read.map_err(|error| self.wrong.push(Wrong::from(&error)))
            .ok()
    }
}
