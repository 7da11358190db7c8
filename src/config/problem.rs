//! Mistakes in the configuration: where, what is wrong, and what to write instead.
//!
//! Never prints a value that may be a secret; whoever makes a problem sees to that.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::shown::visible;

/// A place in a configuration file, counted from 1 as editors do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, with the folder it was read from before it.
    pub file: Arc<Path>,
    /// Line and column (in characters); `None`: the file or folder as a whole.
    pub position: Option<(usize, usize)>,
}

impl Place {
    /// A file or folder as a whole.
    pub fn whole(file: impl Into<Arc<Path>>) -> Self {
        Self {
            file: file.into(),
            position: None,
        }
    }
}

/// `file:line:column`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.file.as_os_str().is_empty() {
            true => f.write_str(".")?,
            false => write!(f, "{}", self.file.display())?,
        }
        match self.position {
            Some((line, column)) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// The configuration can be used, but probably says something else than was meant.
    Warning,
}

/// One mistake in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

/// `file:line:column: what is wrong — what to write instead`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let warning = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(
            f,
            "{}: {warning}{} — {}",
            self.place, self.what, self.instead
        )
    }
}

/// Every mistake of a configuration that cannot be used, warnings included, in order of file and
/// line. Printed one to a line.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems in order of file and line.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// How many of them are errors.
    pub fn errors(&self) -> usize {
        let error = |problem: &&Problem| problem.severity == Severity::Error;
        self.0.iter().filter(error).count()
    }

    /// How many of them are warnings.
    pub fn warnings(&self) -> usize {
        self.0.len() - self.errors()
    }

    pub(super) fn error(
        &mut self,
        place: &Place,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.add(place, Severity::Error, what.into(), instead.into());
    }

    pub(super) fn warning(
        &mut self,
        place: &Place,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.add(place, Severity::Warning, what.into(), instead.into());
    }

    fn add(&mut self, place: &Place, severity: Severity, what: String, instead: String) {
        self.0.push(Problem {
            place: place.clone(),
            severity,
            what,
            instead,
        });
    }

    /// A configuration that is refused though nothing was found wrong with it.
    pub(super) fn unexplained(root: &Path) -> Self {
        let mut problems = Self::default();
        problems.error(
            &Place::whole(root),
            "this configuration cannot be resolved, and Towpath does not know why",
            "report this as a mistake of Towpath, with the configuration",
        );
        problems
    }

    pub(super) fn append(&mut self, mut other: Problems) {
        self.0.append(&mut other.0);
    }

    /// The problems as errors where there is one, else as mere warnings.
    pub(super) fn settle(mut self) -> Result<Vec<Problem>, Self> {
        self.0.sort();
        self.0.dedup();
        match self.errors() {
            0 => Ok(self.0),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// A value as a message shows it: on one line, cut to a readable length.
pub(super) fn quote(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.is_empty() {
        return "an empty text".to_owned();
    }
    let mut shown: String = text.chars().take(LONGEST).flat_map(visible).collect();
    if text.chars().count() > LONGEST {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The known name that `text` was probably meant to be.
pub(crate) fn nearest<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Below this, suggestions are more often puzzling than helpful.
    const ALIKE: f64 = 0.8;
    // Comparing costs the product of the lengths.
    if text.len() > 100 {
        return None;
    }
    let text = text.to_lowercase().replace('_', "-");
    known
        .into_iter()
        .map(|name| (likeness(&text, name), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, name)| name)
}

/// How alike two words are, up to 1. A word's beginning says more than its end, which Jaro–Winkler
/// knows; in short words two letters that changed places are the commonest slip.
fn likeness(text: &str, name: &str) -> f64 {
    match strsim::osa_distance(text, name) {
        0 => 1.0,
        1 if name.chars().count() >= 3 => 0.9,
        _ => strsim::jaro_winkler(text, name),
    }
}

/// `a`, `b` and `c`, for messages.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    joined(names, "and")
}

/// `a`, `b` or `c`, for messages.
pub(super) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    joined(names, "or")
}

fn joined<'a>(names: impl IntoIterator<Item = &'a str>, last_by: &str) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {last_by} {last}", rest.join(", ")),
        None => String::new(),
    }
}
