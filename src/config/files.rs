//! The configuration's folder on disk: which files are read, and how much of them.
//!
//! Knows names and sizes only, never what stands in a file.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::problem::{Place, Problems};

/// The file of what holds for the whole process.
pub const SETTINGS: &str = "towpath.yaml";
/// The file in an environment's folder.
pub const ENVIRONMENT: &str = "environment.yaml";
/// The file of who is in the teams that environments name.
pub const TEAMS: &str = "teams.yaml";
/// The folder of applications.
pub const APPLICATIONS: &str = "applications";

/// The largest file that is read, in bytes: some 10,000 applications.
pub const LARGEST: u64 = 1024 * 1024;
/// The most files that are read.
pub const MOST: usize = 10_000;

/// Whether the name is one of a YAML file.
pub fn is_yaml(name: &str) -> bool {
    name.ends_with(".yaml") || name.ends_with(".yml")
}

/// Whether a path from the configuration's folder may be configuration: a YAML file in it or in one
/// of its folders, none of them hidden.
pub fn is_wanted(path: &Path) -> bool {
    let names: Option<Vec<&str>> = path.iter().map(|name| name.to_str()).collect();
    names.is_some_and(|names| {
        names.len() <= 2
            && names.last().is_some_and(|name| is_yaml(name))
            && names.iter().all(|name| !name.starts_with('.'))
    })
}

/// Reads every file of the folder that may be configuration, each with its path from the folder,
/// in order of path. What cannot be read goes to `problems`.
pub(super) fn read(folder: &Path, problems: &mut Problems) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths = Vec::new();
    for name in entries(folder, problems) {
        let path = PathBuf::from(&name);
        match fs::metadata(folder.join(&path)) {
            Ok(metadata) if metadata.is_dir() => {
                if !name.starts_with('.') {
                    let below = entries(&folder.join(&path), problems);
                    paths.extend(below.into_iter().map(|name| path.join(name)));
                }
            }
            _ => paths.push(path),
        }
    }
    paths.retain(|path| is_wanted(path) && !folder.join(path).is_dir());
    paths.sort();
    if paths.len() > MOST {
        problems.error(
            &Place::whole(folder),
            format!("this folder holds {} YAML files", paths.len()),
            format!("name the folder of the configuration itself; at most {MOST} files are read"),
        );
        return Vec::new();
    }
    let root = fs::canonicalize(folder);
    let root = root.as_deref().unwrap_or(folder);
    paths
        .into_iter()
        .filter_map(|path| match read_one(root, &folder.join(&path)) {
            Ok(bytes) => Some((path, bytes)),
            Err((what, instead)) => {
                problems.error(&Place::whole(folder.join(&path)), what, instead);
                None
            }
        })
        .collect()
}

/// The names in a folder. Names that are not UTF-8 name no configuration.
fn entries(folder: &Path, problems: &mut Problems) -> Vec<String> {
    let names = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().into_string().ok()))
            .filter_map(std::io::Result::transpose)
            .collect()
    });
    names.unwrap_or_else(|error| {
        let (what, instead) = match error.kind() {
            std::io::ErrorKind::NotFound => (
                "there is no such folder".to_owned(),
                "name the configuration's folder with `--config`, or make one",
            ),
            _ => (
                format!("this folder cannot be read: {error}"),
                "name the configuration's folder with `--config`, and let Towpath read it",
            ),
        };
        problems.error(&Place::whole(folder), what, instead);
        Vec::new()
    })
}

/// What is wrong and what to do instead.
type Refusal = (String, String);

fn read_one(root: &Path, path: &Path) -> Result<Vec<u8>, Refusal> {
    let unreadable = |error: std::io::Error| {
        (
            format!("this file cannot be read: {error}"),
            "let Towpath read it, or remove it".to_owned(),
        )
    };
    let real = fs::canonicalize(path).map_err(unreadable)?;
    // Messages show parts of a file, so a link must not lead to a file that is not configuration.
    if !real.starts_with(root) {
        return Err((
            "this link leads out of the folder".to_owned(),
            "put the file itself here".to_owned(),
        ));
    }
    // Reading a pipe or a device would never end.
    if !fs::metadata(&real).map_err(unreadable)?.is_file() {
        return Err((
            "this is not a regular file".to_owned(),
            "put a file here, or remove it".to_owned(),
        ));
    }
    let mut bytes = Vec::new();
    File::open(&real)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    match bytes.len() as u64 > LARGEST {
        true => Err((
            "this file is larger than 1 MiB".to_owned(),
            "spread it over several files; `applications/` takes one per team".to_owned(),
        )),
        false => Ok(bytes),
    }
}
