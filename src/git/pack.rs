//! Writing packs: the format in which git sends objects.
//!
//! Format: gitformat-pack(5), version 2. Reading packs is left to gix.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::delta::Delta;
use super::object::{Kind, Object};

const HEADER: &[u8; 8] = b"PACK\0\0\0\x02";
const HEADER_BYTES: u64 = 12;
const TRAILER_BYTES: u64 = 20;

/// A pack of these objects, each whole or relative to an object that the reader has.
pub(super) fn encode<'a>(
    objects: impl Iterator<Item = (&'a Object, Option<&'a Delta>)>,
) -> Vec<u8> {
    let mut pack = HEADER.to_vec();
    pack.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    for (object, delta) in objects {
        count += 1;
        match delta {
            Some(delta) => {
                write_entry_header(&mut pack, 7, delta.instructions.len());
                pack.extend_from_slice(delta.base.as_slice());
                compress(&mut pack, &delta.instructions);
            }
            None => {
                let kind = match object.kind {
                    Kind::Commit => 1,
                    Kind::Tree => 2,
                    Kind::Blob => 3,
                    Kind::Tag => 4,
                };
                write_entry_header(&mut pack, kind, object.data.len());
                compress(&mut pack, &object.data);
            }
        }
    }
    pack[8..12].copy_from_slice(&count.to_be_bytes());
    let mut hasher = gix::hash::hasher(gix::hash::Kind::Sha1);
    hasher.update(&pack);
    pack.extend_from_slice(finished(hasher).as_slice());
    pack
}

fn finished(hasher: gix::hash::Hasher) -> gix::ObjectId {
    hasher
        .try_finalize()
        .expect("our own pack is not a SHA-1 collision attack")
}

/// Three bits of kind, then the size in 4 + 7 + 7 … bits.
fn write_entry_header(pack: &mut Vec<u8>, kind: u8, size: usize) {
    let mut byte = kind << 4 | (size & 0xf) as u8;
    let mut rest = size >> 4;
    while rest > 0 {
        pack.push(byte | 0x80);
        byte = (rest & 0x7f) as u8;
        rest >>= 7;
    }
    pack.push(byte);
}

fn compress(pack: &mut Vec<u8>, data: &[u8]) {
    let mut encoder = ZlibEncoder::new(pack, Compression::fast());
    encoder
        .write_all(data)
        .and_then(|()| encoder.try_finish())
        .expect("writing to memory does not fail");
}

/// Writes the entries of all packs behind one another as one pack.
pub(super) fn join(packs: &[PathBuf], out: impl Write) -> io::Result<()> {
    let mut count = 0_u32;
    for path in packs {
        let mut header = [0; HEADER_BYTES as usize];
        File::open(path)?.read_exact(&mut header)?;
        let [.., a, b, c, d] = header;
        if header[..8] != HEADER[..] {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a pack of version 2",
            ));
        }
        count = count
            .checked_add(u32::from_be_bytes([a, b, c, d]))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "too many objects"))?;
    }
    let mut out = Hashed {
        out: BufWriter::new(out),
        hasher: gix::hash::hasher(gix::hash::Kind::Sha1),
    };
    out.write_all(HEADER)?;
    out.write_all(&count.to_be_bytes())?;
    for path in packs {
        let file = File::open(path)?;
        let entries = file
            .metadata()?
            .len()
            .saturating_sub(HEADER_BYTES + TRAILER_BYTES);
        let mut reader = BufReader::new(file);
        reader.seek_relative(HEADER_BYTES as i64)?;
        io::copy(&mut reader.take(entries), &mut out)?;
    }
    let trailer = finished(out.hasher);
    out.out.write_all(trailer.as_slice())?;
    out.out.flush()
}

struct Hashed<W> {
    out: W,
    hasher: gix::hash::Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
