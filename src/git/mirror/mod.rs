//! The disk of one mirror: a bare git repository that Towpath alone writes.
//!
//! Below the given directory are numbered slots; a process takes the first that no other holds (an
//! advisory lock, which the system drops when the process dies), so two Towpaths that share a cache
//! directory never share a repository. All in it may be deleted at any time: what is missing or
//! unreadable is made anew from the server. Never talks to a server.

mod bases;
mod ingest;
mod slot;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use gix::ObjectId;
use gix::objs::Find as _;
use gix::odb::{HandleArc, Store};
use tempfile::{NamedTempFile, SpooledTempFile};

use bases::Bases;
use ingest::index;
pub(super) use ingest::size;
pub(super) use unpack::unpack;

use super::object::Object;
use super::{GitError, locked, pack};

/// Packs after which they are put together into one.
const PACKS_MAX: usize = 50;

/// What a mirror may take beyond three times its largest pack (about what the repository itself
/// takes) before it begins anew, in bytes.
const SLACK_BYTES: u64 = 64 << 20;

/// What packs are put together to at most, in bytes: what is written again and again comes to its bound that way, and
/// not with it to a larger one.
const JOINED_BYTES: u64 = SLACK_BYTES / 2;

/// One object may not take more memory than this, in bytes.
const OBJECT_BYTES_MAX: usize = 1 << 30;

/// See the module.
pub(super) struct Mirror {
    directory: PathBuf,
    /// Reading goes on while a pack is taken in.
    reader: Mutex<HandleArc>,
    /// Held while packs are put together: what is taken in meanwhile waits for nothing. Locked in this order.
    joining: Mutex<()>,
    /// Held by whoever takes a pack in, or away.
    writer: Mutex<()>,
    boundary: Mutex<Boundary>,
    distrusted: AtomicBool,
    oversized: AtomicBool,
    crowded: AtomicBool,
    _slot: slot::Slot,
}

#[derive(Default)]
struct Boundary {
    shallow: BTreeSet<ObjectId>,
    tips: BTreeMap<String, ObjectId>,
}

impl Mirror {
    /// Takes a slot below the directory, which is made where it is missing.
    pub(super) fn open(directory: &Path) -> Result<Self, GitError> {
        let (directory, slot) = slot::take(directory).map_err(disk(directory))?;
        let reader = match open_store(&directory) {
            Ok(reader) => reader,
            Err(_) => initialise(&directory).map_err(disk(&directory))?,
        };
        let boundary = Boundary::load(&directory);
        Ok(Self {
            directory,
            reader: Mutex::new(reader),
            joining: Mutex::default(),
            writer: Mutex::default(),
            boundary: Mutex::new(boundary),
            distrusted: AtomicBool::new(false),
            oversized: AtomicBool::new(false),
            crowded: AtomicBool::new(false),
            _slot: slot,
        })
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// An object, if it is here and readable.
    pub(super) fn find(&self, id: &ObjectId) -> Option<Object> {
        let mut data = Vec::new();
        let found = locked(&self.reader)
            .try_find(id, &mut data)
            .map(|found| found.map(|found| found.kind));
        match found {
            Ok(kind) => kind.map(|kind| Object {
                id: *id,
                kind,
                data: data.into(),
            }),
            Err(error) => {
                tracing::warn!(mirror = %self.directory.display(), %id, %error, "the mirror is damaged and will be made anew");
                self.distrust();
                None
            }
        }
    }

    /// Begins to keep, or lets go of, what many objects have in common.
    pub(super) fn keep_bases(&self, keeps: bool) {
        let mut reader = locked(&self.reader);
        match keeps {
            true => reader.set_pack_cache(|| Box::new(Bases::default())),
            false => reader.unset_pack_cache(),
        }
    }

    pub(super) fn contains(&self, id: &ObjectId) -> bool {
        gix::objs::Exists::exists(&*locked(&self.reader), id)
    }

    /// Lets the mirror be made anew, see [`Self::is_spent`].
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Relaxed);
    }

    /// Takes a pack in; bases that a thin pack lacks are added from what is here.
    pub(super) fn ingest(&self, pack: SpooledTempFile) -> Result<(), GitError> {
        let _writing = self.writing();
        let bases = locked(&self.reader).clone();
        let take = || {
            index(pack, &self.directory.join("objects/pack"), bases)?;
            open_store(&self.directory)
        };
        *locked(&self.reader) = take().map_err(disk(&self.directory))?;
        self.measure();
        Ok(())
    }

    /// Writes objects as one pack.
    pub(super) fn write(&self, objects: &[Object]) -> Result<(), GitError> {
        let mut spool = SpooledTempFile::new(1 << 20);
        spool
            .write_all(&pack::encode(objects.iter().map(|object| (object, None))))
            .map_err(disk(&self.directory))?;
        self.ingest(spool)
    }

    /// Commits that are here without their parents.
    pub(super) fn shallow(&self) -> Vec<ObjectId> {
        locked(&self.boundary).shallow.iter().copied().collect()
    }

    /// Moves the shallow boundary as a server told.
    pub(super) fn move_boundary(
        &self,
        added: &[ObjectId],
        removed: &[ObjectId],
    ) -> Result<(), GitError> {
        let mut boundary = locked(&self.boundary);
        let before = boundary.shallow.clone();
        boundary.shallow.extend(added);
        for id in removed {
            boundary.shallow.remove(id);
        }
        if boundary.shallow == before {
            return Ok(());
        }
        let lines: String = boundary
            .shallow
            .iter()
            .map(|id| format!("{id}\n"))
            .collect();
        self.replace("shallow", &lines)
    }

    /// The refs whose objects were here last.
    pub(super) fn tips(&self) -> BTreeMap<String, ObjectId> {
        locked(&self.boundary).tips.clone()
    }

    /// Writes these refs, so that the next process need not fetch what is here, and people can read
    /// the mirror with git.
    pub(super) fn remember_tips(&self, tips: &BTreeMap<String, ObjectId>) -> Result<(), GitError> {
        let mut boundary = locked(&self.boundary);
        if boundary.tips == *tips {
            return Ok(());
        }
        boundary.tips.clone_from(tips);
        let lines: String = tips
            .iter()
            .map(|(name, id)| format!("{id} {name}\n"))
            .collect();
        self.replace(
            "packed-refs",
            &format!("# pack-refs with: sorted \n{lines}"),
        )
    }

    /// Whether the mirror was found to be damaged or too large, and is to be made anew.
    pub(super) fn is_spent(&self) -> bool {
        self.distrusted.load(Ordering::Relaxed) || self.oversized.load(Ordering::Relaxed)
    }

    /// Looks how many packs there are, and how large they are. One that cannot be looked at is damaged.
    pub(super) fn measure(&self) {
        let Ok(packs) = self.packs() else {
            return self.distrust();
        };
        let sizes = packs.iter().map(|(bytes, _)| *bytes);
        let largest = sizes.clone().max().unwrap_or_default();
        let oversized = sizes.sum::<u64>() > SLACK_BYTES + 3 * largest;
        self.oversized.store(oversized, Ordering::Relaxed);
        self.crowded
            .store(packs.len() > PACKS_MAX, Ordering::Relaxed);
    }

    /// Whether packs were many when they were last looked at.
    pub(super) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Whoever has this is alone in changing which packs there are.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        locked(&self.writer)
    }

    /// Puts packs together into one; reading goes on. Where that fails, the mirror is to be made anew.
    pub(super) fn join(&self) {
        let _joining = locked(&self.joining);
        self.crowded.store(false, Ordering::Relaxed);
        if let Err(error) = self.join_packs() {
            tracing::warn!(mirror = %self.directory.display(), error = %error, "packs cannot be put together; the mirror is made anew");
            self.distrust();
        }
    }

    /// Drops all that is here.
    pub(super) fn begin_anew(&self) -> Result<(), GitError> {
        let _joining = locked(&self.joining);
        let _writing = self.writing();
        let mut boundary = locked(&self.boundary);
        let mut reader = locked(&self.reader);
        *reader = initialise(&self.directory).map_err(disk(&self.directory))?;
        *boundary = Boundary::default();
        self.distrusted.store(false, Ordering::Relaxed);
        self.oversized.store(false, Ordering::Relaxed);
        self.crowded.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Writes packs behind one another into one. Deltas stay as they are: they point backwards
    /// within their own pack, and keep their distance.
    fn join_packs(&self) -> io::Result<()> {
        let pack_directory = self.directory.join("objects/pack");
        let old = small(self.packs()?);
        if old.len() < 2 {
            return Ok(());
        }
        let mut spool = tempfile::spooled_tempfile_in(1 << 20, &self.directory);
        pack::join(&old, &mut spool)?;
        // A lock of its own statement: whoever reads does not wait for the index.
        let bases = locked(&self.reader).clone();
        index(spool, &pack_directory, bases)?;
        // Nobody reads meanwhile: what is known of a pack that is gone would be taken for damage.
        let _writing = self.writing();
        let mut reader = locked(&self.reader);
        for path in old {
            // The index first: a pack without one is never read.
            fs::remove_file(path.with_extension("idx"))?;
            fs::remove_file(path)?;
        }
        *reader = open_store(&self.directory)?;
        Ok(())
    }

    /// All packs, with their bytes.
    fn packs(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut packs = Vec::new();
        for entry in fs::read_dir(self.directory.join("objects/pack"))? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "pack")
            {
                packs.push((fs::metadata(&path).map_or(0, |it| it.len()), path));
            }
        }
        Ok(packs)
    }

    fn replace(&self, name: &str, content: &str) -> Result<(), GitError> {
        let write = || {
            let mut file = NamedTempFile::new_in(&self.directory)?;
            file.write_all(content.as_bytes())?;
            file.persist(self.directory.join(name))?;
            Ok(())
        };
        write().map_err(disk(&self.directory))
    }
}

impl Boundary {
    /// What stands on disk; lines that cannot be read are as if absent, which costs a fetch.
    fn load(directory: &Path) -> Self {
        let lines = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
        let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).ok();
        Self {
            shallow: lines("shallow").lines().filter_map(id).collect(),
            tips: lines("packed-refs")
                .lines()
                .filter_map(|line| line.split_once(' '))
                .filter_map(|(hex, name)| Some((name.to_owned(), id(hex)?)))
                .collect(),
        }
    }
}

/// Those that are worth joining: half of what there may be at least, then none that is more than twice as large as all
/// smaller ones together, and no more than [`JOINED_BYTES`]. So each object is written anew a few times only, however many packs come
/// ([geometric repacking](https://git-scm.com/docs/git-repack#Documentation/git-repack.txt---geometricfactor)).
fn small(mut packs: Vec<(u64, PathBuf)>) -> Vec<PathBuf> {
    packs.sort();
    let (mut bytes, mut small) = (0, Vec::new());
    for (size, path) in packs {
        let costs_more = small.len() >= PACKS_MAX / 2 && size > 2 * bytes;
        if costs_more || bytes + size > JOINED_BYTES {
            break;
        }
        bytes += size;
        small.push(path);
    }
    small
}

pub(super) fn disk(directory: &Path) -> impl FnOnce(io::Error) -> GitError {
    let directory = directory.to_owned();
    move |source| GitError::Disk { directory, source }
}

fn initialise(directory: &Path) -> io::Result<HandleArc> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    for part in ["objects/pack", "objects/info", "refs"] {
        fs::create_dir_all(directory.join(part))?;
    }
    fs::write(
        directory.join("config"),
        "[core]\n\trepositoryformatversion = 0\n\tbare = true\n",
    )?;
    fs::write(directory.join("HEAD"), "ref: refs/heads/none\n")?;
    open_store(directory)
}

fn open_store(directory: &Path) -> io::Result<HandleArc> {
    // All three are written when a mirror is made; what lacks one is not ours or was cut short.
    for part in ["HEAD", "config", "objects/pack"] {
        fs::metadata(directory.join(part))?;
    }
    let options = gix::odb::store::init::Options {
        alloc_limit_bytes: Some(OBJECT_BYTES_MAX),
        slots: gix::odb::store::init::Slots::Given(4 * PACKS_MAX as u16),
        current_dir: Some(directory.to_owned()),
        ..Default::default()
    };
    let objects = directory.join("objects");
    let store = Store::at_opts(
        objects,
        gix::hash::Kind::Sha1,
        &mut std::iter::empty(),
        options,
    )?;
    let mut reader = Arc::new(store).to_cache_arc();
    // Only we write here, and open anew when we did: what is missing now will not come by itself.
    reader.refresh_never();
    Ok(reader)
}
