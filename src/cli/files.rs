//! Finding, reading and replacing files.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::manifest::is_manifest;

/// Read no more than this; the parser refuses less.
const MOST_BYTES: u64 = 64 << 20;

/// What stands at some paths.
#[derive(Default)]
pub(super) struct Found {
    /// Manifest files, sorted within each directory, each once.
    pub(super) files: Vec<PathBuf>,
    /// Symbolic links below a directory, hidden ones apart; none is followed.
    pub(super) links: Vec<PathBuf>,
    /// Paths that cannot be read, and why.
    pub(super) failures: Vec<(PathBuf, io::Error)>,
}

/// What stands at these paths: a file is taken as it is, a directory is walked.
pub(super) fn find(paths: &[PathBuf]) -> Found {
    let mut seen = BTreeSet::new();
    let mut found = Found::default();
    for path in paths {
        let mut below = Found::default();
        if let Err(error) = visit(path, &mut below) {
            found.failures.push((path.clone(), error));
        }
        for file in below.files {
            let identity = file.canonicalize().unwrap_or_else(|_| file.clone());
            if seen.insert(identity) {
                found.files.push(file);
            }
        }
        found.links.extend(below.links);
    }
    found
}

/// A path named by a person may be a symbolic link; below it none is followed.
fn visit(path: &Path, found: &mut Found) -> io::Result<()> {
    if !fs::metadata(path)?.is_dir() {
        found.files.push(path.to_owned());
        return Ok(());
    }
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut below = Vec::new();
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let kind = entry.file_type()?;
            if name.starts_with('.') {
                continue;
            } else if kind.is_dir() {
                below.push(entry.path());
            } else if kind.is_symlink() {
                found.links.push(entry.path());
            } else if kind.is_file() && is_manifest(&name) {
                found.files.push(entry.path());
            }
        }
        directories.extend(below.into_iter().rev());
    }
    Ok(())
}

pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces a file in one step, keeping its mode.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    // Behind a symbolic link it is the file itself that is replaced.
    let path = path.canonicalize()?;
    let directory = path
        .parent()
        .ok_or_else(|| io::Error::other("the file has no directory"))?;
    let mut file = tempfile::Builder::new()
        .prefix(".towpath-")
        .tempfile_in(directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file()
        .set_permissions(fs::metadata(&path)?.permissions())?;
    file.as_file().sync_all()?;
    file.persist(&path)?;
    Ok(())
}

/// The path as it stands in errors: without a leading `./`.
pub(super) fn display(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path);
    path.to_string_lossy().into_owned()
}
