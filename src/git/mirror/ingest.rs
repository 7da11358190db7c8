//! Taking packs in: checked, completed and indexed by gix.

use std::fs;
use std::io::{self, BufReader, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use gix::ObjectId;
use tempfile::{SpooledTempFile, TempDir};

use super::{OBJECT_BYTES_MAX, disk};
use crate::git::error::chain;
use crate::git::{GitError, Object};

/// Checks a pack, resolves its deltas and puts it with an index into the directory.
pub(super) fn index(
    mut pack: SpooledTempFile,
    directory: &Path,
    bases: impl gix::objs::Find,
) -> io::Result<gix_pack::bundle::write::Outcome> {
    pack.seek(SeekFrom::Start(0))?;
    let options = gix_pack::bundle::write::Options {
        thread_limit: Some(1),
        alloc_limit_bytes: Some(OBJECT_BYTES_MAX),
        ..Default::default()
    };
    let outcome = gix_pack::Bundle::write_to_directory(
        &mut BufReader::new(pack),
        Some(directory),
        &mut gix::progress::Discard,
        &AtomicBool::new(false),
        Some(bases),
        gix::hash::Kind::Sha1,
        options,
    )
    .map_err(io_error)?;
    if let Some(keep) = &outcome.keep_path {
        fs::remove_file(keep)?;
    }
    Ok(outcome)
}

/// The file system's own error where one is the cause, so that a full disk is told as one.
fn io_error(error: gix::error::Error) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(io) = current.downcast_ref::<io::Error>() {
            return io::Error::new(io.kind(), io.to_string());
        }
        cause = current.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, chain(&error))
}

/// How many bytes a pack has.
pub(in crate::git) fn size(pack: &mut SpooledTempFile) -> Result<u64, GitError> {
    let size = pack.seek(SeekFrom::End(0));
    size.map_err(disk(&std::env::temp_dir()))
}

/// The objects of a pack one by one, for those that stay in memory.
pub(in crate::git) fn unpack(
    pack: SpooledTempFile,
    find: impl Fn(&ObjectId) -> Option<Object>,
) -> Result<Vec<Object>, GitError> {
    let temporary = std::env::temp_dir();
    let directory = TempDir::with_prefix("towpath-pack-").map_err(disk(&temporary))?;
    let outcome = index(pack, directory.path(), Lookup(find)).map_err(disk(&temporary))?;
    let read = || -> gix::error::Result<Vec<Object>> {
        let mut objects = Vec::new();
        let Some(bundle) = outcome.to_bundle().transpose()? else {
            return Ok(objects);
        };
        let mut inflate = Default::default();
        for entry in bundle.index.iter() {
            let mut data = Vec::new();
            let found = bundle.find(
                &entry.oid,
                &mut data,
                &mut inflate,
                &mut gix_pack::cache::Never,
            )?;
            if let Some((found, _)) = found {
                let kind = found.kind;
                objects.push(Object {
                    id: entry.oid,
                    kind,
                    data: data.into(),
                });
            }
        }
        Ok(objects)
    };
    read().map_err(|error| disk(&temporary)(io_error(error)))
}

/// Bases of thin packs from memory.
struct Lookup<F>(F);

impl<F: Fn(&ObjectId) -> Option<Object>> gix::objs::Find for Lookup<F> {
    fn try_find<'a>(
        &self,
        id: &gix::hash::oid,
        buffer: &'a mut Vec<u8>,
    ) -> gix::error::Result<Option<gix::objs::Data<'a>>> {
        let Some(object) = (self.0)(&id.to_owned()) else {
            return Ok(None);
        };
        buffer.clear();
        buffer.extend_from_slice(&object.data);
        Ok(Some(gix::objs::Data::new(
            buffer,
            object.kind,
            gix::hash::Kind::Sha1,
        )))
    }
}
