//! Says when the configuration's folder has changed, and never what: whoever hears it reads again.
//!
//! Sees files that editors save by renaming, folders that come and go, links that are switched (as
//! Kubernetes switches mounted ConfigMaps), and the folder itself removed and made again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// Saving one file makes several events, and checking out a branch many: this much quiet ends them.
const QUIET: Duration = Duration::from_millis(200);
/// A folder that never is quiet is read this often.
const LONGEST: Duration = Duration::from_secs(2);

/// A watched folder. Dropping it ends the watching.
pub struct Watch {
    folder: PathBuf,
    parent: PathBuf,
    watcher: RecommendedWatcher,
    events: watch::Receiver<Seen>,
    /// The replacement after which the folder was last looked for.
    looked_for: u64,
}

/// How many events were seen, by what they mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    /// Something is different in the folder.
    changes: u64,
    /// The folder itself may be another one now.
    replacements: u64,
}

/// Begins to watch a folder. What changed before is not told.
///
/// # Errors
/// The folder does not exist, or the system cannot watch any more.
pub fn watch(folder: &Path) -> anyhow::Result<Watch> {
    let folder = std::path::absolute(folder)
        .with_context(|| format!("cannot watch {}", folder.display()))?;
    let parent = folder.parent().unwrap_or(&folder).to_owned();
    let (sender, events) = watch::channel(Seen::default());
    let itself: Arc<Path> = folder.as_path().into();
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let seen = judge(&itself, event.as_ref().ok());
        if seen != Seen::default() {
            sender.send_modify(|total| {
                total.changes = total.changes.wrapping_add(seen.changes);
                total.replacements = total.replacements.wrapping_add(seen.replacements);
            });
        }
    });
    let mut watch = Watch {
        watcher: watcher.context("cannot watch for changed files")?,
        folder,
        parent,
        events,
        looked_for: 0,
    };
    watch.watch_folder()?;
    // The folder's own coming and going is seen in the folder around it.
    watch
        .watcher
        .watch(&watch.parent, RecursiveMode::NonRecursive)
        .with_context(|| format!("cannot watch {}", watch.parent.display()))?;
    Ok(watch)
}

impl Watch {
    /// Waits until something changed since the last call and things are quiet again. Several
    /// changes are told once. Nothing is lost when the waiting is given up and begun again.
    pub async fn changed(&mut self) {
        let mut events = self.events.clone();
        // The sender lives as long as the watcher; were it gone, nothing would change any more.
        if events.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let latest = Instant::now() + LONGEST;
        loop {
            let replacements = events.borrow_and_update().replacements;
            if replacements != self.looked_for {
                self.looked_for = replacements;
                // Not there yet? Its coming is the next event.
                let _watched = self.watch_folder();
            }
            let quiet = latest.min(Instant::now() + QUIET);
            match timeout_at(quiet, events.changed()).await {
                Ok(Ok(())) if Instant::now() < latest => {}
                _ => break,
            }
        }
        // Only now is it told; an event from here on is the next one.
        events.borrow_and_update();
        self.events = events;
    }

    /// Watches the folder that is there now.
    fn watch_folder(&mut self) -> anyhow::Result<()> {
        // The folder of this name may be another one than before.
        let _unknown = self.watcher.unwatch(&self.folder);
        self.watcher
            .watch(&self.folder, RecursiveMode::Recursive)
            .with_context(|| format!("cannot watch {}", self.folder.display()))
    }
}

/// What an event means for the folder; an event that is an error or lost others means everything.
fn judge(folder: &Path, event: Option<&Event>) -> Seen {
    const ALL: Seen = Seen {
        changes: 1,
        replacements: 1,
    };
    let Some(event) = event.filter(|event| !event.need_rescan()) else {
        return ALL;
    };
    // Our own reading is an access, too, and must not wake us.
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    if event.kind.is_access() && event.kind != written {
        return Seen::default();
    }
    if event.paths.iter().any(|path| path == folder) {
        return ALL;
    }
    let inside = event.paths.iter().any(|path| path.starts_with(folder));
    Seen {
        changes: u64::from(inside),
        replacements: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_wakes_nobody_and_losing_events_does() {
        use notify::event::{CreateKind, Flag, ModifyKind, RemoveKind};
        let folder = Path::new("/c/environments");
        let open = EventKind::Access(AccessKind::Open(AccessMode::Any));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        for (kind, path, changes, replacements) in [
            (open, "/c/environments/qa/environment.yaml", 0, 0),
            (open, "/c/environments", 0, 0),
            (written, "/c/environments/towpath.yaml", 1, 0),
            (
                EventKind::Modify(ModifyKind::Any),
                "/c/environments/x",
                1,
                0,
            ),
            (
                EventKind::Create(CreateKind::Folder),
                "/c/environments",
                1,
                1,
            ),
            (
                EventKind::Remove(RemoveKind::Folder),
                "/c/environments",
                1,
                1,
            ),
            (
                EventKind::Create(CreateKind::File),
                "/c/environments-old",
                0,
                0,
            ),
            (EventKind::Create(CreateKind::File), "/c/other", 0, 0),
        ] {
            let event = Event::new(kind).add_path(PathBuf::from(path));
            let seen = Seen {
                changes,
                replacements,
            };
            assert_eq!(judge(folder, Some(&event)), seen, "{event:?}");
        }
        let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        for event in [Some(&lost), None] {
            assert_eq!(judge(folder, event).replacements, 1);
        }
    }
}
