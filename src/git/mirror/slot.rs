//! Which directory is ours: numbered slots with a lock each.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Slots tried before a mirror goes to a temporary directory.
const SLOTS: usize = 16;

/// What keeps the slot ours.
pub(super) enum Slot {
    Locked { _lock: File },
    Temporary { _directory: TempDir },
}

/// Takes the first slot that no other process holds.
pub(super) fn take(directory: &Path) -> io::Result<(PathBuf, Slot)> {
    fs::create_dir_all(directory)?;
    for number in 0..SLOTS {
        let lock = File::create(directory.join(format!("{number}.lock")))?;
        match lock.try_lock() {
            Ok(()) => {
                let slot = directory.join(format!("{number}.git"));
                return Ok((slot, Slot::Locked { _lock: lock }));
            }
            Err(TryLockError::WouldBlock) => {}
            // A file system without locks cannot be shared safely.
            Err(TryLockError::Error(_)) => break,
        }
    }
    let temporary = TempDir::with_prefix("towpath-mirror-")?;
    let path = temporary.path().join("mirror.git");
    Ok((
        path,
        Slot::Temporary {
            _directory: temporary,
        },
    ))
}
