//! Taking packs in: checked, completed and indexed by gix.

use std::fs;
use std::io::{self, BufReader, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use tempfile::SpooledTempFile;

use super::{OBJECT_BYTES_MAX, disk};
use crate::git::GitError;
use crate::git::error::chain;

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
pub(super) fn io_error(error: gix::error::Error) -> io::Error {
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
