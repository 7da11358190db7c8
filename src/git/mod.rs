//! Git: reading repositories, building commits, and pushing them with expectations.
//!
//! Read in this order: [`remote`] is the seam to a server (http, ssh, file, memory); a
//! [`Repository`] is one kept mirror over it; a [`Draft`] holds new objects; a [`Push`] moves refs
//! from what was expected to what is wanted, or changes nothing. Storage and formats are gix's, the
//! wire is our own (`docs/decisions/0003-git-wire.md`). This layer decides nothing about releases,
//! never forces a ref and never reads the clock.

mod delta;
mod draft;
mod error;
pub mod memory;
mod mirror;
pub mod notes;
mod object;
mod objects;
mod pack;
mod push;
pub mod remote;
mod repository;
mod walk;

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

pub use delta::Delta;
pub use draft::{Draft, Edit};
pub use error::{GitError, MESSAGE_BYTES_MAX, printable};
pub use object::{Commit, CommitDraft, Entry, Kind, Mode, Object, Signature, Tag, TagDraft, Tree};
pub use objects::{Change, Found};
pub use push::{Push, Pushed};
pub use remote::{Ref, RefUpdate, Refs, Remote};
pub use repository::{Reach, Repository};
pub use walk::{End, Walk};

// What the locks guard is whole between any two statements, so a panic elsewhere does not spoil it.

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn written<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
