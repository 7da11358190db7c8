//! Lines that differ, with some around them, and where they stand.

use std::ops::Range;

use super::lines::{Line, Placed, Sign};
use super::text;

/// Lines of context around a change, as `diff -u` has them.
const CONTEXT: usize = 3;

/// A stretch of lines with something that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// The path of what everything that differs in it stands in, for people; empty: the object itself.
    pub within: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// The stretches of these lines that hold something that differs.
pub(super) fn of(lines: Vec<Placed>) -> Vec<Hunk> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (index, _) in lines.iter().enumerate().filter(|(_, it)| it.differs()) {
        let range = index.saturating_sub(CONTEXT)..(index + CONTEXT + 1).min(lines.len());
        match ranges.last_mut() {
            Some(last) if range.start <= last.end => last.end = range.end,
            _ => ranges.push(range),
        }
    }
    let hunk = |range: &Range<usize>| {
        let stretch = &lines[range.clone()];
        let differing = stretch.iter().filter(|it| it.differs());
        Hunk {
            within: text::path(&common(differing.map(|it| &*it.within))),
            lines: stretch.iter().map(|it| it.line.clone()).collect(),
        }
    };
    ranges.iter().map(hunk).collect()
}

impl Placed {
    fn differs(&self) -> bool {
        self.line.sign != Sign::Same
    }
}

/// The longest path that all of these begin with.
fn common<'a>(mut paths: impl Iterator<Item = &'a str>) -> String {
    let mut common: Vec<&str> = paths.next().unwrap_or_default().split('/').collect();
    for path in paths {
        let same = common
            .iter()
            .zip(path.split('/'))
            .take_while(|(a, b)| *a == b);
        let same = same.count();
        common.truncate(same);
    }
    common.join("/")
}
