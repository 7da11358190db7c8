//! Our block among the words of people: found by its marks, replaced as a whole.

use std::ops::Range;

use crate::model::{ApplicationName, EnvironmentName};

const BEGIN: &str = "<!-- towpath:begin";
const END: &str = "<!-- towpath:end -->";

/// The two lines around our block: comments, which no forge shows.
pub(super) struct Marks {
    pub(super) begin: String,
    pub(super) end: &'static str,
}

pub(super) fn marks(environment: &EnvironmentName, application: &ApplicationName) -> Marks {
    Marks {
        begin: format!("{BEGIN} {environment}/{application} -->"),
        end: END,
    }
}

/// The body with our block in it; `None` where it is as it should be.
///
/// A block that is there is replaced where it stands, further ones go away. Without any, ours stands
/// below what people wrote. A mark without its partner is left to them. Line ends count for nothing:
/// forges' own editors change them.
pub fn merge(existing: &str, block: &str) -> Option<String> {
    let blocks = blocks(existing);
    let Some((first, further)) = blocks.split_first() else {
        let words = existing.trim_end();
        let gap = if words.is_empty() { "" } else { "\n\n" };
        return Some(format!("{words}{gap}{block}"));
    };
    if further.is_empty() && existing[first.clone()].replace("\r\n", "\n") == block {
        return None;
    }
    let mut body = format!("{}{block}", &existing[..first.start]);
    let mut kept = first.end;
    for range in further {
        body.push_str(&existing[kept..range.start]);
        kept = range.end;
    }
    body.push_str(&existing[kept..]);
    Some(body)
}

/// How many bytes people's words take once ours stand among them.
pub(super) fn others(existing: &str) -> usize {
    let blocks = blocks(existing);
    match (blocks.is_empty(), existing.trim_end().len()) {
        (true, 0) => 0,
        (true, words) => words + "\n\n".len(),
        (false, _) => existing.len() - blocks.iter().map(Range::len).sum::<usize>(),
    }
}

/// The blocks with both their marks, each at the beginning of a line.
fn blocks(text: &str) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut open = None;
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with(BEGIN) && line.contains("-->") {
            open = Some(at);
        } else if line.starts_with(END)
            && let Some(begin) = open.take()
        {
            blocks.push(begin..at + END.len());
        }
        at += line.len();
    }
    blocks
}
