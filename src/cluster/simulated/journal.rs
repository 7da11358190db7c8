//! The file of a simulated cluster: one line of JSON for each object that was put or is gone, so
//! that an apply writes what it changed and not the whole cluster.
//!
//! ```text
//! {"cluster":{"serial":8,"writes":8,"attempts":2,"brake":null}}
//! {"put":{"group":"apps","kind":"Deployment","namespace":"default","name":"shop",…}}
//! {"gone":{"group":"apps","kind":"Deployment","namespace":"default","name":"shop"}}
//! ```
//!
//! The last line of an object counts; one that was cut short was never written. What was applied is
//! left in the file and read where somebody asks for it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::state::{Content, State};
use super::written::{Counts, Name, Written};
use crate::model::ObjectRef;

/// A file that holds so many times more lines than there are objects is written anew.
const STALE: usize = 4;

/// See the module.
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    /// Whether its last line was cut short: nothing can be added behind it.
    cut_short: bool,
    /// The next line's place.
    end: u64,
    /// How many there are.
    lines: usize,
}

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    at: u64,
    length: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Entry {
    Cluster(Counts),
    Put(Box<Written>),
    Gone(Name),
}

impl Journal {
    /// Reads what the file tells, if there is one. Changes nothing: whoever only looks opens it too.
    ///
    /// # Errors
    /// Where the file cannot be read, or tells of something else.
    pub(super) fn open(path: &Path) -> io::Result<(Self, State)> {
        let mut file = match OpenOptions::new().read(true).append(true).open(path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        if let Some(file) = &mut file {
            file.read_to_end(&mut bytes)?;
        }
        let (state, lines, end) = read(&bytes)?;
        let journal = Self {
            path: path.to_owned(),
            file,
            cut_short: end < bytes.len() as u64,
            end,
            lines,
        };
        Ok((journal, state))
    }

    /// Writes what changed since the last time.
    ///
    /// # Errors
    /// Where the file cannot be written; then it is written with the next change.
    pub(super) fn write(&mut self, state: &mut State) -> io::Result<()> {
        let is_stale = self.lines > STALE * (state.objects.len() + 1);
        if self.file.is_none() || self.cut_short || is_stale {
            return self.begin_anew(state);
        }
        let lines = self.lines(state, self.file.as_ref())?;
        self.append(state, lines)
    }

    /// What a line tells was applied.
    pub(super) fn content(&self, line: Line) -> io::Result<Option<String>> {
        content(self.file.as_ref(), line)
    }

    fn begin_anew(&mut self, state: &mut State) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        let process = std::process::id();
        let beside = self.path.with_extension(format!("new-{process}"));
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create_new(true);
        let mut new = Self {
            path: self.path.clone(),
            file: Some(file.open(&beside)?),
            cut_short: false,
            end: 0,
            lines: 0,
        };
        state.unwritten = state.objects.keys().cloned().collect();
        let lines = new.lines(state, self.file.as_ref())?;
        new.append(state, lines)?;
        fs::rename(&beside, &self.path)?;
        *self = new;
        Ok(())
    }

    /// The lines of what is not written yet. What was written before, and stays, is in `old`.
    fn lines(&self, state: &State, old: Option<&File>) -> io::Result<Lines> {
        let mut lines = Lines::default();
        lines.push(&Entry::Cluster(state.counts.clone()))?;
        for reference in &state.unwritten {
            let entry = match state.objects.get(reference) {
                Some(stored) => {
                    let content = match &stored.content {
                        Content::Nothing => None,
                        Content::Here(content) => Some(content.to_string()),
                        Content::Written(line) => content(old, *line)?,
                    };
                    Entry::Put(Box::new(stored.written(reference, content)))
                }
                None => Entry::Gone(Name::of(reference)),
            };
            let line = lines.push(&entry)?;
            let at = self.end + line.at;
            lines.of.push((reference.clone(), Line { at, ..line }));
        }
        Ok(lines)
    }

    fn append(&mut self, state: &mut State, lines: Lines) -> io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(&lines.text)?;
        }
        self.end += lines.text.len() as u64;
        self.lines += lines.of.len() + 1;
        for (reference, line) in lines.of {
            if let Some(stored) = state.objects.get_mut(&reference)
                && !matches!(stored.content, Content::Nothing)
            {
                stored.content = Content::Written(line);
            }
        }
        state.unwritten.clear();
        Ok(())
    }
}

/// Lines to be written, and which of them is which object's.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    of: Vec<(ObjectRef, Line)>,
}

impl Lines {
    /// Adds one; gives its place among these.
    fn push(&mut self, entry: &Entry) -> io::Result<Line> {
        let begin = self.text.len();
        serde_json::to_writer(&mut self.text, entry)?;
        self.text.push(b'\n');
        Ok(Line {
            at: begin as u64,
            length: self.text.len() - begin,
        })
    }
}

fn content(file: Option<&File>, line: Line) -> io::Result<Option<String>> {
    let Some(file) = file else { return Ok(None) };
    let mut bytes = vec![0; line.length];
    file.read_exact_at(&mut bytes, line.at)?;
    match serde_json::from_slice(&bytes)? {
        Entry::Put(written) => Ok(written.content),
        _ => Ok(None),
    }
}

/// What the lines tell, how many they are, and where the last whole one ends.
fn read(bytes: &[u8]) -> io::Result<(State, usize, u64)> {
    let mut counts = Counts::default();
    let mut objects = BTreeMap::new();
    let (mut at, mut lines) = (0, 0);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.last() != Some(&b'\n') {
            break;
        }
        let place = Line {
            at,
            length: line.len(),
        };
        match serde_json::from_slice(line)? {
            Entry::Cluster(told) => counts = told,
            Entry::Put(written) => {
                let (reference, stored) = written.read(place);
                objects.insert(reference, stored);
            }
            Entry::Gone(name) => drop(objects.remove(&name.reference())),
        }
        at += line.len() as u64;
        lines += 1;
    }
    Ok((State::new(counts, objects), lines, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Identity;

    fn reference(name: &str) -> ObjectRef {
        ObjectRef::from(Identity {
            group: String::new(),
            kind: "Thing".to_owned(),
            namespace: None,
            name: name.to_owned(),
        })
    }

    #[test]
    fn what_was_written_is_there_again_and_a_line_cut_short_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clusters/qa.json");
        let now = jiff::Timestamp::UNIX_EPOCH;
        let names = |state: &State| {
            let objects = state.objects.keys();
            objects.map(|it| it.name.clone()).collect::<Vec<_>>()
        };
        let (mut journal, mut state) = Journal::open(&path).unwrap();
        assert!(!path.exists(), "whoever only looks writes nothing");
        for name in ["a", "b", "c"] {
            state.put_foreign(&reference(name), None, now);
            journal.write(&mut state).unwrap();
        }
        state.remove(&reference("b"));
        journal.write(&mut state).unwrap();
        let (mut journal, mut state) = Journal::open(&path).unwrap();
        assert_eq!(names(&state), ["a", "c"]);
        state.put_foreign(&reference("d"), None, now);
        journal.write(&mut state).unwrap();

        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 2]).unwrap();
        let (mut journal, mut state) = Journal::open(&path).unwrap();
        assert_eq!(names(&state), ["a", "c"]);
        state.put_foreign(&reference("e"), None, now);
        journal.write(&mut state).unwrap();
        assert_eq!(names(&Journal::open(&path).unwrap().1), ["a", "c", "e"]);

        // One object that changes again and again does not make the file grow for ever.
        for _ in 0..100 {
            state.keep(&reference("a"), Some("still"));
            journal.write(&mut state).unwrap();
        }
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines < 20, "{lines} lines of three objects");
        assert_eq!(names(&Journal::open(&path).unwrap().1), ["a", "c", "e"]);
    }
}
