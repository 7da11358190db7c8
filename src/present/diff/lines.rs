//! One line of a difference.

use std::fmt;
use std::rc::Rc;

/// A line, and in which of the two versions it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// In which.
    pub sign: Sign,
    /// The line of YAML, without its end.
    pub text: String,
}

/// In which of the two versions a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// In both.
    Same,
    /// In the former.
    Removed,
    /// In the latter.
    Added,
}

/// As `diff` writes it.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.sign {
            Sign::Same => ' ',
            Sign::Removed => '-',
            Sign::Added => '+',
        };
        write!(f, "{sign}{}", self.text)
    }
}

/// A line, and what it stands in.
pub(super) struct Placed {
    pub(super) line: Line,
    /// The path of the map or list.
    pub(super) within: Rc<str>,
}
