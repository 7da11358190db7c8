//! Directories, kept as their own bytes with an index over them, so that one of 20,000 entries is
//! neither copied apart to be read nor built again to be edited.

use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use gix::ObjectId;
use gix::bstr::ByteSlice as _;

use super::GitError;
use super::object::{Kind, Object, expect_kind, malformed};

/// What a tree entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// A file.
    File,
    /// A file that may be run.
    Executable,
    /// A symbolic link; its blob is the target.
    Symlink,
    /// A directory.
    Directory,
    /// A commit of another repository.
    Submodule,
}

impl Mode {
    /// Whether the entry's id names a blob.
    pub fn is_blob(self) -> bool {
        matches!(self, Self::File | Self::Executable | Self::Symlink)
    }

    /// Whether it is a file, and not only the way to one.
    pub fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Executable)
    }

    fn parse(octal: &[u8]) -> Option<Self> {
        let mut value = 0_u32;
        for &digit in octal {
            if !(b'0'..=b'7').contains(&digit) || value > 0o177_777 {
                return None;
            }
            value = value << 3 | u32::from(digit - b'0');
        }
        // Old trees hold other permission bits; git itself reads only type and the owner's `x`.
        match value & 0o170_000 {
            0o040_000 => Some(Self::Directory),
            0o120_000 => Some(Self::Symlink),
            0o160_000 => Some(Self::Submodule),
            0o100_000 if value & 0o100 != 0 => Some(Self::Executable),
            0o100_000 => Some(Self::File),
            _ => None,
        }
    }

    fn octal(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Symlink => "120000",
            Self::Directory => "40000",
            Self::Submodule => "160000",
        }
    }
}

/// One name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// What it is.
    pub mode: Mode,
    /// Its name: any bytes but `/` and NUL.
    pub name: &'a [u8],
    /// What it names.
    pub id: ObjectId,
}

impl Entry<'_> {
    /// The name as text, invalid UTF-8 replaced.
    pub fn name_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(self.name)
    }
}

/// A name in a directory, and what it shall name (`None`: it goes).
pub(super) type NameChange<'a> = (&'a [u8], Option<(Mode, ObjectId)>);

/// A directory.
#[derive(Clone)]
pub struct Tree {
    id: ObjectId,
    data: Bytes,
    starts: Vec<u32>,
}

impl Tree {
    /// The directory without entries.
    pub fn empty() -> Self {
        let object = Object::new(Kind::Tree, Bytes::new());
        Self {
            id: object.id,
            data: object.data,
            starts: Vec::new(),
        }
    }

    /// Reads a tree object once; every entry is checked.
    ///
    /// # Errors
    /// [`GitError::Object`] where it is no tree, is malformed or not in git's order.
    pub fn parse(object: &Object) -> Result<Self, GitError> {
        expect_kind(object, Kind::Tree)?;
        let fail = |detail: &str| malformed(object, &detail);
        let data = &object.data;
        let mut starts = Vec::with_capacity(data.len() / 40);
        let mut position = 0;
        let mut last: Option<Entry<'_>> = None;
        while position < data.len() {
            let start = u32::try_from(position).map_err(|_| fail("larger than 4 GiB"))?;
            let (entry, end) = parse_entry(data, position).ok_or_else(|| fail("a broken entry"))?;
            if last
                .is_some_and(|last| compare(last.name, last.mode, entry.name, entry.mode).is_ge())
            {
                return Err(fail("entries out of order"));
            }
            starts.push(start);
            last = Some(entry);
            position = end;
        }
        Ok(Self {
            id: object.id,
            data: object.data.clone(),
            starts,
        })
    }

    /// The tree's id.
    pub fn id(&self) -> ObjectId {
        self.id
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Its entries in git's order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        (0..self.starts.len()).map(|index| self.entry(index))
    }

    /// The entry of that name.
    pub fn get(&self, name: &[u8]) -> Option<Entry<'_>> {
        self.find(name).ok().map(|index| self.entry(index))
    }

    /// The entries in which two directories differ, side by side; a file that became a directory stands
    /// there twice.
    pub(super) fn differences<'a>(&'a self, new: &'a Self) -> Vec<[Option<Entry<'a>>; 2]> {
        let mut differences = Vec::new();
        let (mut old, mut new) = (self.entries().peekable(), new.entries().peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (Some(a), Some(b)) => compare(a.name, a.mode, b.name, b.mode),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return differences,
            };
            let pair = match order {
                Ordering::Less => [old.next(), None],
                Ordering::Greater => [None, new.next()],
                Ordering::Equal => [old.next(), new.next()],
            };
            if pair[0] != pair[1] {
                differences.push(pair);
            }
        }
    }

    /// The bytes it takes in memory, for bounded caches.
    pub(super) fn weight(&self) -> usize {
        self.data.len() + self.starts.len() * 4 + 64
    }

    /// The object it was read from.
    pub(super) fn object(&self) -> Object {
        Object {
            id: self.id,
            kind: Kind::Tree,
            data: self.data.clone(),
        }
    }

    /// The tree with these names set (`Some`) or removed (`None`): one copy of its bytes.
    pub(super) fn edited(&self, changes: &[NameChange<'_>]) -> Self {
        // Removals first, then insertions in place: the new bytes are runs of the old ones with new
        // entries between.
        let mut removed: Vec<usize> = Vec::new();
        let mut added: Vec<(usize, &[u8], Mode, ObjectId)> = Vec::new();
        for (name, change) in changes {
            if let Ok(index) = self.find(name) {
                removed.push(index);
            }
            if let Some((mode, id)) = change {
                let place = self.place(name, *mode);
                added.push((place, name, *mode, *id));
            }
        }
        removed.sort_unstable();
        removed.dedup();
        added.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| compare(a.1, a.2, b.1, b.2)));
        let mut data = Vec::with_capacity(self.data.len() + added.len() * 64);
        let mut starts = Vec::with_capacity(self.starts.len() + added.len());
        let (mut removed, mut added) =
            (removed.into_iter().peekable(), added.into_iter().peekable());
        let mut index = 0;
        loop {
            while let Some((_, name, mode, id)) = added.next_if(|(place, ..)| *place == index) {
                starts.push(data.len() as u32);
                write_entry(&mut data, name, mode, &id);
            }
            if index == self.starts.len() {
                break;
            }
            if removed.next_if_eq(&index).is_some() {
                index += 1;
                continue;
            }
            let stop = [
                added.peek().map(|(place, ..)| *place),
                removed.peek().copied(),
            ]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(self.starts.len());
            let (from, to) = (self.range(index).start, self.range(stop - 1).end);
            let moved = data.len();
            starts.extend(
                self.starts[index..stop]
                    .iter()
                    .map(|start| (*start as usize - from + moved) as u32),
            );
            data.extend_from_slice(&self.data[from..to]);
            index = stop;
        }
        let object = Object::new(Kind::Tree, data);
        Self {
            id: object.id,
            data: object.data,
            starts,
        }
    }

    /// The entries' own bytes, in order.
    pub(super) fn raw_entries(&self) -> impl Iterator<Item = Range<usize>> {
        (0..self.starts.len()).map(|index| self.range(index))
    }

    pub(super) fn data(&self) -> &Bytes {
        &self.data
    }

    fn range(&self, index: usize) -> Range<usize> {
        let end = match self.starts.get(index + 1) {
            Some(next) => *next as usize,
            None => self.data.len(),
        };
        self.starts[index] as usize..end
    }

    fn entry(&self, index: usize) -> Entry<'_> {
        parse_entry(&self.data, self.starts[index] as usize)
            .expect("every entry was checked when the tree was read")
            .0
    }

    /// Where the name is. A directory sorts as if its name ended in `/`, so a name has two places.
    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        let search = |mode| {
            self.starts.binary_search_by(|start| {
                let (entry, _) = parse_entry(&self.data, *start as usize)
                    .expect("every entry was checked when the tree was read");
                compare(entry.name, entry.mode, name, mode)
            })
        };
        search(Mode::File).or_else(|_| search(Mode::Directory))
    }

    /// Where an entry of that name and mode belongs.
    fn place(&self, name: &[u8], mode: Mode) -> usize {
        self.starts.partition_point(|start| {
            let (entry, _) = parse_entry(&self.data, *start as usize)
                .expect("every entry was checked when the tree was read");
            compare(entry.name, entry.mode, name, mode).is_lt()
        })
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tree {} ({} entries)", self.id, self.len())
    }
}

/// Git's order of tree entries: by bytes, a directory as if its name ended in `/`
/// (`base_name_compare` in git's read-cache.c).
fn compare(a: &[u8], a_mode: Mode, b: &[u8], b_mode: Mode) -> Ordering {
    let tail = |mode: Mode| (mode == Mode::Directory).then_some(b'/');
    let a = a.iter().copied().chain(tail(a_mode));
    let b = b.iter().copied().chain(tail(b_mode));
    a.cmp(b)
}

fn parse_entry(data: &[u8], start: usize) -> Option<(Entry<'_>, usize)> {
    let rest = data.get(start..)?;
    let space = rest.iter().take(8).position(|byte| *byte == b' ')?;
    let mode = Mode::parse(&rest[..space])?;
    let name_end = space + 1 + rest[space + 1..].find_byte(0)?;
    let name = &rest[space + 1..name_end];
    let id = rest.get(name_end + 1..name_end + 21)?;
    if name.is_empty() || name.contains(&b'/') {
        return None;
    }
    let id = ObjectId::from_bytes_or_panic(id);
    Some((Entry { mode, name, id }, start + name_end + 21))
}

fn write_entry(data: &mut Vec<u8>, name: &[u8], mode: Mode, id: &ObjectId) {
    data.extend_from_slice(mode.octal().as_bytes());
    data.push(b' ');
    data.extend_from_slice(name);
    data.push(0);
    data.extend_from_slice(id.as_slice());
}
