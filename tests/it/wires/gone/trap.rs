//! Hooks of a repository that kill its server inside a push (githooks(5)).

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often it is asked whether it has sprung, and for how long at most.
const ASK: Duration = Duration::from_millis(5);
const WAIT: Duration = Duration::from_secs(90);

/// Where in a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// What came stands beside the repository, and no ref was touched.
    Received,
    /// All refs are locked, their new values written beside them.
    Locked,
    /// All refs have moved; nobody was told.
    Moved,
}

/// A push with which a Gitea merges: it tells its hooks the number of the request.
pub(super) const MERGE: &str = "^request [1-9]";

impl At {
    fn hook(self) -> &'static str {
        match self {
            Self::Received => "pre-receive",
            Self::Locked => "reference-transaction",
            Self::Moved => "post-receive",
        }
    }
}

/// The hooks of one repository.
pub(super) struct Trap {
    hooks: PathBuf,
}

impl Trap {
    /// Puts the hooks there; a Gitea runs what lies in folders beside its own.
    pub(super) fn set(bare: &Path, is_gitea: bool) -> Self {
        let trap = Self {
            hooks: bare.join("hooks"),
        };
        for at in [At::Received, At::Locked, At::Moved] {
            let name = at.hook();
            let (armed, sprung) = (trap.file(at, "armed"), trap.file(at, "sprung"));
            let script = format!(
                "#!/bin/sh\n[ -e '{armed}' ] || exit 0\n\
                 [ {name} != reference-transaction ] || [ \"$1\" = prepared ] || exit 0\n\
                 {{ read -r of && read -r process; }} < '{armed}' || exit 0\n\
                 {{ cat; echo \"request $GITEA_PR_ID\"; }} | grep -q \"$of\" || exit 0\n\
                 mv '{armed}' '{sprung}' 2>/dev/null || exit 0\n\
                 kill -s KILL -- \"$process\"\n",
                armed = armed.display(),
                sprung = sprung.display()
            );
            let path = match is_gitea && at != At::Locked {
                true => trap.hooks.join(format!("{name}.d/killed")),
                false => trap.hooks.join(name),
            };
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, script).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        trap
    }

    /// Lets the next push that moves such a ref, or that a Gitea makes to merge a request ([`MERGE`]), kill this process,
    /// and waits for it. A process group has a `-`.
    pub(super) async fn spring(&self, at: At, of: &str, process: &str) {
        let (armed, sprung) = (self.file(at, "armed"), self.file(at, "sprung"));
        let beside = self.file(at, "new");
        std::fs::write(&beside, format!("{of}\n{process}\n")).unwrap();
        std::fs::rename(&beside, &armed).unwrap();
        let waited = tokio::time::timeout(WAIT, async {
            while !sprung.exists() {
                tokio::time::sleep(ASK).await;
            }
        });
        assert!(waited.await.is_ok(), "nothing was pushed to {of}");
        std::fs::remove_file(sprung).unwrap();
    }

    fn file(&self, at: At, what: &str) -> PathBuf {
        self.hooks.join(format!("{what}-{}", at.hook()))
    }
}

/// The locks that a server left which was killed: nobody but its keeper takes them away.
pub(super) fn locks(bare: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![bare.join("refs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "lock") {
                found.push(path);
            }
        }
    }
    found.sort();
    let beside = ["HEAD.lock", "packed-refs.lock"].map(|it| bare.join(it));
    found.extend(beside.into_iter().filter(|it| it.exists()));
    found
}
