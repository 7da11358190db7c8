//! What differences are made from, kept while much of a mirror is read.
//!
//! A pack holds most objects as differences from others, up to fifty in a row. Who reads ten thousand of them one by one
//! and keeps nothing undoes each of these differences again and again. Owns the bound of what is kept.

use std::collections::HashMap;

use gix::objs::Kind;
use gix_pack::cache::DecodeEntry;

/// What is kept at most, in bytes; then it begins anew. Ten thousand notes take about ten million.
const BYTES_MAX: usize = 32 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct Bases {
    /// By pack, and where they begin in it.
    kept: HashMap<(u32, u64), Base>,
    bytes: usize,
}

struct Base {
    kind: Kind,
    data: Box<[u8]>,
    compressed: usize,
}

impl DecodeEntry for Bases {
    fn put(&mut self, pack: u32, begins: u64, data: &[u8], kind: Kind, compressed: usize) {
        if data.len() > BYTES_MAX / 8 {
            return;
        }
        if self.bytes + data.len() > BYTES_MAX {
            *self = Self::default();
        }
        let base = Base {
            kind,
            data: data.into(),
            compressed,
        };
        if self.kept.insert((pack, begins), base).is_none() {
            self.bytes += data.len();
        }
    }

    fn get(&mut self, pack: u32, begins: u64, out: &mut Vec<u8>) -> Option<(Kind, usize)> {
        let base = self.kept.get(&(pack, begins))?;
        out.clear();
        out.extend_from_slice(&base.data);
        Some((base.kind, base.compressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let (mut bases, data) = (Bases::default(), vec![7; 1 << 20]);
        for begins in 0..100 {
            bases.put(0, begins, &data, Kind::Blob, 5);
            assert!(bases.kept.len() * data.len() <= BYTES_MAX);
        }
        let mut out = vec![1];
        assert_eq!(bases.get(0, 99, &mut out), Some((Kind::Blob, 5)));
        assert_eq!(out, data);
        assert_eq!(bases.get(0, 0, &mut out), None);
        assert_eq!(bases.get(1, 99, &mut out), None);
        bases.put(0, 100, &vec![7; BYTES_MAX], Kind::Blob, 5);
        assert_eq!(bases.get(0, 100, &mut out), None);
    }
}
