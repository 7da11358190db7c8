//! The objects of a small pack one by one, for those that stay in memory: nothing is written.
//!
//! gix reads the entries and checks the whole against its trailer; what is told relative to another object
//! is put together here (gitformat-pack(5)).

use std::collections::HashMap;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};

use flate2::bufread::ZlibDecoder;
use gix::ObjectId;
use gix::objs::Kind;
use gix_pack::data::entry::Header;
use gix_pack::data::input::{BytesToEntriesIter, Entry, EntryDataMode, Mode};
use tempfile::SpooledTempFile;

use super::ingest::io_error;
use crate::git::Object;
use crate::git::delta;

/// An entry that tells of an object relative to another one.
struct Open {
    offset: u64,
    base: Base,
    instructions: Vec<u8>,
}

enum Base {
    /// Where it stands in the pack.
    At(u64),
    /// Which it is; here, or in the pack.
    Is(ObjectId),
}

/// What is put together so far.
#[derive(Default)]
struct Made {
    objects: Vec<Object>,
    at: HashMap<u64, usize>,
    by_id: HashMap<ObjectId, usize>,
    bytes: u64,
}

/// The objects of a pack; bases that a thin pack lacks are found elsewhere. `None` where they take more than
/// so many bytes.
///
/// # Errors
/// Where the pack is cut, changed on its way, or does not fit together.
pub(in crate::git) fn unpack(
    pack: &mut SpooledTempFile,
    bytes_max: u64,
    find: impl Fn(&ObjectId) -> Option<Object>,
) -> io::Result<Option<Vec<Object>>> {
    pack.seek(SeekFrom::Start(0))?;
    let entries = BytesToEntriesIter::new_from_header(
        BufReader::new(pack),
        Mode::Verify,
        EntryDataMode::Keep,
        gix::hash::Kind::Sha1,
    );
    let mut made = Made::default();
    let mut open = Vec::new();
    for entry in entries.map_err(io_error)? {
        let entry = entry.map_err(io_error)?;
        made.bytes = made.bytes.saturating_add(entry.decompressed_size);
        if made.bytes > bytes_max {
            return Ok(None);
        }
        let data = inflated(&entry)?;
        let offset = entry.pack_offset;
        let kind = match entry.header {
            Header::Commit => Kind::Commit,
            Header::Tree => Kind::Tree,
            Header::Blob => Kind::Blob,
            Header::Tag => Kind::Tag,
            Header::RefDelta { base_id } => {
                open.push(Open {
                    offset,
                    base: Base::Is(base_id),
                    instructions: data,
                });
                continue;
            }
            Header::OfsDelta { base_distance } => {
                let base = offset.checked_sub(base_distance);
                open.push(Open {
                    offset,
                    base: Base::At(base.ok_or_else(|| broken("a base before its beginning"))?),
                    instructions: data,
                });
                continue;
            }
        };
        made.add(offset, kind, data)?;
    }
    // A base may stand behind what is told relative to it.
    while !open.is_empty() {
        let before = open.len();
        let mut left = Vec::new();
        for delta in open {
            let Some(base) = made.base(&delta.base, &find) else {
                left.push(delta);
                continue;
            };
            made.bytes = made.bytes.saturating_add(delta::size(&delta.instructions));
            if made.bytes > bytes_max {
                return Ok(None);
            }
            let data = delta::apply(&base.data, &delta.instructions);
            let data = data.ok_or_else(|| broken("a change that does not fit its base"))?;
            made.add(delta.offset, base.kind, data)?;
        }
        if left.len() == before {
            return Err(broken("a base that is not here"));
        }
        open = left;
    }
    Ok(Some(made.objects))
}

impl Made {
    fn add(&mut self, offset: u64, kind: Kind, data: Vec<u8>) -> io::Result<()> {
        let id = gix::objs::compute_hash(gix::hash::Kind::Sha1, kind, &data)
            .map_err(|_| broken("an object that is made to be taken for another"))?;
        let index = self.objects.len();
        self.at.insert(offset, index);
        self.by_id.insert(id, index);
        let data = data.into();
        self.objects.push(Object { id, kind, data });
        Ok(())
    }

    fn base(&self, base: &Base, find: &impl Fn(&ObjectId) -> Option<Object>) -> Option<Object> {
        let index = match base {
            Base::At(offset) => self.at.get(offset),
            Base::Is(id) => match self.by_id.get(id) {
                None => return find(id),
                index => index,
            },
        };
        self.objects.get(*index?).cloned()
    }
}

/// What an entry holds: gix has read it once already, and knows its size.
fn inflated(entry: &Entry) -> io::Result<Vec<u8>> {
    let compressed = entry.compressed.as_deref().unwrap_or_default();
    let mut data = Vec::new();
    ZlibDecoder::new(compressed)
        .take(entry.decompressed_size)
        .read_to_end(&mut data)?;
    Ok(data)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the pack tells of {what}"),
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::git::delta::Delta;
    use crate::git::pack;

    const MANY: u64 = 1 << 20;

    fn spooled(bytes: &[u8]) -> SpooledTempFile {
        let mut spool = SpooledTempFile::new(1 << 20);
        spool.write_all(bytes).unwrap();
        spool
    }

    /// A base, and the same with one word changed.
    fn two() -> (Object, Object) {
        let text = "all of it stays but for this: ".repeat(400);
        let object = |end: &str| Object::new(Kind::Blob, format!("{text}{end}{text}"));
        (object("one"), object("another"))
    }

    #[test]
    fn a_pack_is_put_together_whatever_its_order() {
        let (base, new) = two();
        let commit = Object::new(Kind::Commit, "tree 0\n");
        let delta = Delta::between(&base, &new).unwrap();
        let whole = [(&commit, None), (&base, None), (&new, Some(&delta))];
        let mut turned = whole;
        turned.reverse();
        let thin = [(&new, Some(&delta)), (&commit, None)];
        for (case, entries) in [
            ("in order", &whole[..]),
            ("turned", &turned),
            ("thin", &thin),
        ] {
            let packed = pack::encode(entries.iter().copied());
            let find = |id: &ObjectId| (case == "thin" && *id == base.id).then(|| base.clone());
            let mut found = unpack(&mut spooled(&packed), MANY, find).unwrap().unwrap();
            let mut expected: Vec<Object> = entries.iter().map(|it| it.0.clone()).collect();
            found.sort_by_key(|object| object.id);
            expected.sort_by_key(|object| object.id);
            assert!(found == expected, "{case}: {found:?}");
        }
    }

    #[test]
    fn hostile_packs_are_errors_or_too_large() {
        let (base, new) = two();
        let delta = Delta::between(&base, &new).unwrap();
        let thin = pack::encode([(&new, Some(&delta))].into_iter());
        let whole = pack::encode([(&base, None)].into_iter());
        let none = |_: &ObjectId| None;
        let mut turned = whole.clone();
        turned[20] ^= 1;
        let other = Object::new(Kind::Blob, "short");
        for (case, pack, find) in [
            ("no base", &thin[..], None),
            ("another base", &thin, Some(&other)),
            ("cut", &whole[..whole.len() - 1], None),
            ("changed", &turned, None),
            ("nothing", b"", None),
        ] {
            let find = |_: &ObjectId| find.cloned();
            assert!(unpack(&mut spooled(pack), MANY, find).is_err(), "{case}");
        }
        let least = base.data.len() as u64;
        let fits = |pack: &[u8], max| {
            let find = |id: &ObjectId| (*id == base.id).then(|| base.clone());
            unpack(&mut spooled(pack), max, find).unwrap().is_some()
        };
        assert!(fits(&whole, least) && !fits(&whole, least - 1));
        // What is small in the pack may be large when it is put together.
        assert!(!fits(&thin, least));
        assert!(unpack(&mut spooled(&whole), 1, none).unwrap().is_none());
    }
}
