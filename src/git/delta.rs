//! Saying an object relative to another one: git's delta instructions.
//!
//! Format: "Deltified representation" in gitformat-pack(5). Written is only what edits need: runs kept from the
//! base with new bytes between them. Read is all of it; what does not fit its base makes nothing.

use bytes::Bytes;
use gix::ObjectId;

use super::object::{Kind, Object};
use super::tree::Tree;

/// Objects smaller than this are sent whole: a delta would save little.
const BYTES_MIN: usize = 4096;

/// The longest run in one copy instruction; three size bytes are in the format, but old readers take
/// two.
const COPY_MAX: usize = 0xffff;

/// The longest insert instruction.
const INSERT_MAX: usize = 0x7f;

/// An object as a change of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The object that the change starts from.
    pub base: ObjectId,
    /// The instructions, sizes first.
    pub instructions: Bytes,
}

impl Delta {
    /// The change that makes `new` of `base`, where it is worth it.
    pub(super) fn between(base: &Object, new: &Object) -> Option<Self> {
        let worth = new.data.len() >= BYTES_MIN && base.kind == new.kind && base.id != new.id;
        if !worth {
            return None;
        }
        let mut writer = Writer::new(base.data.len(), new.data.len());
        if new.kind == Kind::Tree {
            let (base, new) = (Tree::parse(base).ok()?, Tree::parse(new).ok()?);
            keep_entries(&mut writer, &base, &new);
        } else {
            keep_ends(&mut writer, &base.data, &new.data);
        }
        let instructions = writer.finish();
        (instructions.len() < new.data.len() / 2).then(|| Self {
            base: base.id,
            instructions: instructions.into(),
        })
    }
}

/// How large the object is that these instructions make, as they say.
pub(super) fn size(instructions: &[u8]) -> u64 {
    let mut reader = Reader(instructions);
    reader.size().and_then(|_| reader.size()).unwrap_or(0)
}

/// What these instructions make of their base; `None` where they do not fit it.
pub(super) fn apply(base: &[u8], instructions: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(instructions);
    if reader.size()? != base.len() as u64 {
        return None;
    }
    let size = usize::try_from(reader.size()?).ok()?;
    let mut new = Vec::new();
    while let Some(command) = reader.byte() {
        match command {
            0 => return None,
            length @ 1..=0x7f => new.extend_from_slice(reader.bytes(usize::from(length))?),
            command => {
                let (start, length) = reader.copied(command)?;
                new.extend_from_slice(base.get(start..start.checked_add(length)?)?);
            }
        }
        if new.len() > size {
            return None;
        }
    }
    (new.len() == size).then_some(new)
}

/// Reads instructions.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Seven bits a byte, the lowest first.
    fn size(&mut self) -> Option<u64> {
        let mut size = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            size |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(size);
            }
        }
        None
    }

    /// Where a copy begins, and how long it is.
    fn copied(&mut self, command: u8) -> Option<(usize, usize)> {
        let mut fields = [0_u8; 7];
        for (bit, field) in fields.iter_mut().enumerate() {
            if command & 1 << bit != 0 {
                *field = self.byte()?;
            }
        }
        let [a, b, c, d, e, f, g] = fields;
        let start = u32::from_le_bytes([a, b, c, d]);
        let length = match u32::from_le_bytes([e, f, g, 0]) {
            0 => 0x1_0000,
            length => length,
        };
        Some((usize::try_from(start).ok()?, usize::try_from(length).ok()?))
    }
}

/// Two sorted lists side by side: equal entries are kept, others are new.
fn keep_entries(writer: &mut Writer, base: &Tree, new: &Tree) {
    let mut old = base.raw_entries().peekable();
    for range in new.raw_entries() {
        let entry = &new.data()[range];
        let name = name_of(entry);
        // Entries are ordered nearly by name; a miss only costs bytes, never correctness.
        while old
            .next_if(|range| name_of(&base.data()[range.clone()]) < name)
            .is_some()
        {}
        match old.next_if(|range| base.data()[range.clone()] == *entry) {
            Some(range) => writer.copy(range.start, range.len()),
            None => writer.insert(entry),
        }
    }
}

/// A raw entry's name without its mode and id.
fn name_of(entry: &[u8]) -> &[u8] {
    let start = entry
        .iter()
        .position(|byte| *byte == b' ')
        .map_or(0, |at| at + 1);
    &entry[start..entry.len().saturating_sub(21).max(start)]
}

fn keep_ends(writer: &mut Writer, base: &[u8], new: &[u8]) {
    let head = base.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (base_rest, new_rest) = (&base[head..], &new[head..]);
    let tail = base_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    writer.copy(0, head);
    writer.insert(&new_rest[..new_rest.len() - tail]);
    writer.copy(base.len() - tail, tail);
}

/// Builds instructions; neighbouring runs are joined.
struct Writer {
    out: Vec<u8>,
    copy: (usize, usize),
    insert: Vec<u8>,
}

impl Writer {
    fn new(base_size: usize, new_size: usize) -> Self {
        let mut out = Vec::new();
        write_size(&mut out, base_size);
        write_size(&mut out, new_size);
        Self {
            out,
            copy: (0, 0),
            insert: Vec::new(),
        }
    }

    fn copy(&mut self, start: usize, length: usize) {
        if length == 0 {
            return;
        }
        if self.insert.is_empty() && self.copy.0 + self.copy.1 == start {
            self.copy.1 += length;
            return;
        }
        self.flush();
        self.copy = (start, length);
    }

    fn insert(&mut self, bytes: &[u8]) {
        self.insert.extend_from_slice(bytes);
    }

    /// A run is written before the insertion that came after it.
    fn flush(&mut self) {
        let (mut start, mut length) = std::mem::take(&mut self.copy);
        while length > 0 {
            let size = length.min(COPY_MAX);
            write_copy(&mut self.out, start, size);
            start += size;
            length -= size;
        }
        for chunk in std::mem::take(&mut self.insert).chunks(INSERT_MAX) {
            self.out.push(chunk.len() as u8);
            self.out.extend_from_slice(chunk);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        self.flush();
        self.out
    }
}

fn write_size(out: &mut Vec<u8>, mut size: usize) {
    while size >= 0x80 {
        out.push(size as u8 | 0x80);
        size >>= 7;
    }
    out.push(size as u8);
}

/// One byte says which of four offset bytes and three size bytes follow; zero bytes are left out.
fn write_copy(out: &mut Vec<u8>, start: usize, size: usize) {
    let command = out.len();
    out.push(0x80);
    let bytes = (start as u32)
        .to_le_bytes()
        .into_iter()
        .chain((size as u16).to_le_bytes());
    for (bit, byte) in bytes.enumerate() {
        if byte != 0 {
            out[command] |= 1 << bit;
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]
        #[test]
        fn a_delta_rebuilds_its_object(
            head in 0_usize..200_000, cut in 0_usize..3_000, put in 0_usize..3_000, tail in 0_usize..9_000,
        ) {
            let bytes = |length: usize, seed: usize| -> Vec<u8> { (0..length).map(|n| ((n * 31 + n / 251 + seed) % 253) as u8).collect() };
            let (head, tail) = (bytes(head, 1), bytes(tail, 7));
            let base = Object::new(Kind::Blob, [&head[..], &bytes(cut, 3), &tail].concat());
            let new = Object::new(Kind::Blob, [&head[..], &bytes(put, 5), &tail].concat());
            if let Some(delta) = Delta::between(&base, &new) {
                prop_assert_eq!(apply(&base.data, &delta.instructions), Some(new.data.to_vec()));
                prop_assert_eq!(size(&delta.instructions), new.data.len() as u64);
            }
        }
    }

    #[test]
    fn instructions_that_do_not_fit_make_nothing() {
        let base = b"0123456789";
        let fits: [(&[u8], &[u8]); 3] = [
            (&[10, 3, 0x90, 3], b"012"),
            (&[10, 4, 0x91, 8, 2, 2, b'a', b'b'], b"89ab"),
            (&[10, 0], b""),
        ];
        for (instructions, new) in fits {
            assert_eq!(apply(base, instructions).as_deref(), Some(new));
        }
        let broken: [&[u8]; 9] = [
            &[],
            &[10],
            &[9, 3, 0x90, 3],
            &[10, 4, 0x90, 3],
            &[10, 2, 0x90, 3],
            &[10, 3, 0x91, 8, 3],
            &[10, 2, 2, b'a'],
            &[10, 0, 0],
            &[0x80; 11],
        ];
        for instructions in broken {
            assert_eq!(apply(base, instructions), None, "{instructions:?}");
        }
    }

    #[test]
    fn editing_a_large_directory_costs_a_few_bytes() {
        let id = Object::new(Kind::Blob, "one").id;
        let other = Object::new(Kind::Blob, "two").id;
        let names: Vec<String> = (0..20_000)
            .map(|n| format!("application-{n:05}.yaml"))
            .collect();
        let fill: Vec<_> = names
            .iter()
            .map(|name| (name.as_bytes(), Some((super::super::Mode::File, id))))
            .collect();
        let base = Tree::empty().edited(&fill);
        let edits: Vec<_> = (0..100)
            .map(|n| {
                (
                    names[n * 199].as_bytes(),
                    Some((super::super::Mode::File, other)),
                )
            })
            .collect();
        for (count, limit) in [(1, 300), (100, 9_000)] {
            let new = base.edited(&edits[..count]);
            let delta = Delta::between(&base.object(), &new.object()).unwrap();
            assert!(
                delta.instructions.len() < limit,
                "{}",
                delta.instructions.len()
            );
            assert_eq!(
                apply(base.data(), &delta.instructions),
                Some(new.data().to_vec())
            );
        }
    }
}
