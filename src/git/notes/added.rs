//! What was added to records since they were last looked at.

use std::collections::HashSet;

use gix::ObjectId;

use super::{NotesError, PRESENT, lines};
use crate::git::Repository;
use crate::model::record::Record;

/// The records that stand in the notes of one tree and not in those of an earlier one, in the order in which they
/// were stated. Reads only what differs.
///
/// # Errors
/// [`NotesError::Invalid`] names the line that cannot be read.
pub fn read_added(
    repository: &Repository,
    before: Option<ObjectId>,
    after: ObjectId,
) -> Result<Vec<Record>, NotesError> {
    let mut added = Vec::new();
    for file in repository.changed(before, Some(after))? {
        let Some((_, new)) = file.new.filter(|_| !file.path.starts_with(PRESENT)) else {
            continue;
        };
        let new = repository.blob(new)?;
        let old = match file.old {
            Some((_, old)) => repository.blob(old)?,
            None => bytes::Bytes::new(),
        };
        // Notes only grow; where one was changed otherwise, what stood there before says nothing new.
        match new.strip_prefix(&old[..]) {
            Some(rest) => added.extend(lines(rest, &file.path)?),
            None => {
                let known: HashSet<&[u8]> = old.split(|byte| *byte == b'\n').collect();
                let rest = new.split(|byte| *byte == b'\n');
                let rest: Vec<&[u8]> = rest.filter(|line| !known.contains(line)).collect();
                added.extend(lines(&rest.join(&b'\n'), &file.path)?);
            }
        }
    }
    // Stable: of one note the lines stay in their order.
    added.sort_by_key(|record| record.at);
    Ok(added)
}
