//! The servers that are killed: how each is started, when it dies, and how it comes again.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use towpath::demo::git_server::{GitServer, init_bare};

use super::super::site::{self, Gitea, Given, NEAR, Near, authority, cluster};
use super::trap::{At, MERGE, Trap, locks};
use crate::registry::DockerRegistry;
use crate::testbed::lasting_port;
use crate::{gitea, kube};

/// Set where this process is the git server: its address, and the directory that it serves.
const SERVES: &str = "TOWPATH_WIRES_SERVES";

/// What a server does at most between two things that are waited for.
const WAIT: Duration = Duration::from_secs(90);

const ASK: Duration = Duration::from_millis(5);

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Server {
    /// `git http-backend` behind the tests' server, with all its children.
    Git,
    /// Debian's docker-registry.
    Registry,
    /// A Gitea, as git server and as forge; its children live on.
    Gitea,
    Api,
    Etcd,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Git => "git",
            Self::Registry => "registry",
            Self::Gitea => "Gitea",
            Self::Api => "apiserver",
            Self::Etcd => "etcd",
        })
    }
}

/// When a server dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// At any moment.
    Any,
    /// In a push, before any ref is touched.
    Received,
    /// In a push, with all refs locked.
    Locked,
    /// In a push, with its branch moved and the other refs not.
    Torn,
    /// In a push, with all refs moved.
    Moved,
    /// In a merge, before any ref is touched.
    Merging,
    /// In a merge, with the branch moved, and nothing written down of it.
    Merged,
    /// In a look, once one of its requests was answered.
    Reading,
    /// In an apply, once it has come.
    Applying,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Any => "at any moment",
            Self::Received => "in a push, nothing moved",
            Self::Locked => "in a push, all locked",
            Self::Torn => "in a push, the branch alone moved",
            Self::Moved => "in a push, all moved",
            Self::Merging => "in a merge, nothing moved",
            Self::Merged => "in a merge, the branch moved",
            Self::Reading => "in a look",
            Self::Applying => "in an apply",
        })
    }
}

/// A running server; it ends when dropped.
pub(super) enum Victim {
    Git(Box<Git>),
    Registry(DockerRegistry),
    Gitea(Box<gitea::Bed>, Trap),
    Api(Box<kube::Bed>),
    Etcd(Box<kube::Bed>),
}

/// The git server, which is this program once more.
pub(super) struct Git {
    folder: TempDir,
    address: SocketAddr,
    server: Child,
    trap: Trap,
}

impl Victim {
    /// Starts one, and says what a site needs of it. `None` where it is not installed.
    pub(super) async fn start(server: Server) -> Option<(Self, Given)> {
        Some(match server {
            Server::Git => {
                let git = Git::start().await;
                let near = Near::Process { bare: git.bare() };
                let given = Given {
                    server: site::Server::Git,
                    door: git.address,
                    near: Some(near),
                    place: None,
                };
                (Self::Git(Box::new(git)), given)
            }
            Server::Registry => {
                let registry = DockerRegistry::start(false).await?;
                let given = Given {
                    server: site::Server::Registry,
                    door: authority(registry.url.as_str()),
                    near: None,
                    place: None,
                };
                (Self::Registry(registry), given)
            }
            Server::Gitea => {
                let bed = gitea::own().await?;
                let (near, trap) = on_gitea(&bed).await;
                let given = Given {
                    server: site::Server::Forge,
                    door: authority(&bed.url),
                    near: Some(near),
                    place: None,
                };
                (Self::Gitea(Box::new(bed), trap), given)
            }
            Server::Api | Server::Etcd => {
                let bed = kube::own().await?;
                let place = cluster(&bed).await;
                let given = Given {
                    server: site::Server::Cluster,
                    door: place.address(),
                    near: None,
                    place: Some(place),
                };
                let bed = Box::new(bed);
                match server {
                    Server::Etcd => (Self::Etcd(bed), given),
                    _ => (Self::Api(bed), given),
                }
            }
        })
    }

    /// Waits for the moment and kills it; `anywhere`: how long to wait where there is none.
    pub(super) async fn die(&mut self, moment: Moment, anywhere: Duration) {
        if moment == Moment::Any {
            tokio::time::sleep(anywhere).await;
        }
        match self {
            Self::Git(git) => git.die(moment).await,
            Self::Registry(registry) => {
                if moment == Moment::Reading {
                    until_read(registry).await;
                }
                registry.kill().await;
            }
            Self::Gitea(bed, trap) => {
                let pid = bed.pid();
                match moment {
                    Moment::Received => trap.spring(At::Received, "refs/heads/towpath/", pid).await,
                    Moment::Moved => trap.spring(At::Moved, "refs/heads/towpath/", pid).await,
                    Moment::Merging => trap.spring(At::Received, MERGE, pid).await,
                    Moment::Merged => trap.spring(At::Moved, MERGE, pid).await,
                    _ => kill(pid).await,
                }
            }
            Self::Api(bed) => {
                if moment == Moment::Applying {
                    until_applied(bed).await;
                }
                bed.plane.kill_apiserver().await;
            }
            Self::Etcd(bed) => {
                if moment == Moment::Applying {
                    until_applied(bed).await;
                }
                bed.plane.kill_etcd().await;
            }
        }
    }

    /// Starts it again on the same port and data, and returns when it serves.
    pub(super) async fn revive(&mut self) {
        match self {
            Self::Git(git) => git.revive().await,
            Self::Registry(registry) => registry.revive().await,
            Self::Gitea(bed, _) => bed.revive().await.unwrap(),
            Self::Api(bed) => {
                bed.plane.revive_apiserver().await;
                // They pause longer with each time it was away, and rollouts with them.
                bed.plane.renew_controllers().await;
            }
            Self::Etcd(bed) => bed.plane.revive_etcd().await,
        }
    }

    /// What was done twice, as it tells itself.
    pub(super) fn doubled(&self) -> Vec<String> {
        match self {
            Self::Api(bed) | Self::Etcd(bed) => {
                kube::applied_twice(&bed.plane, &kube::Plane::admin())
            }
            _ => Vec::new(),
        }
    }
}

/// Whether this process is the git server.
pub(super) fn is_a_server() -> bool {
    std::env::var_os(SERVES).is_some()
}

/// Serves until standard input ends.
pub(super) async fn serve() {
    let said = std::env::var(SERVES).unwrap();
    let (address, root) = said.split_once(' ').unwrap();
    let server = GitServer::start_at(root.as_ref(), address.parse().unwrap()).await;
    let server = server.unwrap();
    let ended =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    ended.await.unwrap().unwrap();
    server.stop().await;
}

impl Git {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], lasting_port()));
        let bare = folder.path().join(format!("{NEAR}.git"));
        init_bare(&bare).await.unwrap();
        let server = begin(&folder, address);
        let git = Self {
            trap: Trap::set(&bare, false),
            folder,
            address,
            server,
        };
        git.until_it_serves().await;
        git
    }

    fn bare(&self) -> PathBuf {
        self.folder.path().join(format!("{NEAR}.git"))
    }

    async fn die(&mut self, moment: Moment) {
        // Its children are of its group.
        let group = format!("-{}", self.server.id().unwrap());
        let master = "refs/heads/master";
        match moment {
            Moment::Received => self.trap.spring(At::Received, master, &group).await,
            Moment::Moved => self.trap.spring(At::Moved, master, &group).await,
            Moment::Locked | Moment::Torn => {
                self.trap.spring(At::Locked, master, &group).await;
            }
            _ => kill(&group).await,
        }
        self.server.wait().await.unwrap();
        // What git does with each lock in turn, and was about to do next; of a ref that was only read it is empty.
        let branch = self.bare().join("refs/heads/master.lock");
        let moves = std::fs::metadata(&branch).is_ok_and(|it| it.len() > 0);
        if moment == Moment::Torn && moves {
            std::fs::rename(&branch, branch.with_extension("")).unwrap();
        }
    }

    async fn revive(&mut self) {
        // As whoever keeps the server has to.
        for lock in locks(&self.bare()) {
            std::fs::remove_file(lock).unwrap();
        }
        self.server = begin(&self.folder, self.address);
        self.until_it_serves().await;
    }

    async fn until_it_serves(&self) {
        let serves = async {
            while TcpStream::connect(self.address).await.is_err() {
                tokio::time::sleep(ASK).await;
            }
        };
        let serves = tokio::time::timeout(WAIT, serves).await;
        assert!(serves.is_ok(), "the git server does not come");
    }
}

fn begin(folder: &TempDir, address: SocketAddr) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "wires::gone::servers_that_are_killed_lose_and_double_nothing",
        ])
        .env(SERVES, format!("{address} {}", folder.path().display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn on_gitea(bed: &gitea::Bed) -> (Near, Trap) {
    let repository = bed.empty_repository("near").await;
    let (towpath, ann) = (bed.person("towpath").await, bed.person("ann").await);
    for person in [&towpath, &ann] {
        bed.allow(&repository, person, "write").await;
    }
    let clone = gitea::Clone::of(bed, &repository, &ann).await;
    let bare = bed.path(&repository);
    let trap = Trap::set(&bare, true);
    let near = Near::Gitea(Box::new(Gitea {
        repository,
        bare,
        towpath,
        ann,
        clone,
    }));
    (near, trap)
}

/// Kills a process, or with a `-` before it a group.
async fn kill(process: &str) {
    let killed = Command::new("kill").args(["-9", "--", process]).status();
    assert!(killed.await.unwrap().success(), "{process} is not there");
}

/// Waits until Towpath was answered once.
async fn until_read(registry: &DockerRegistry) {
    let mut log = registry.log();
    let read = async {
        loop {
            let line = log.recv().await.unwrap();
            if line.contains("response completed") && line.contains("towpath/") {
                return;
            }
        }
    };
    let read = tokio::time::timeout(WAIT, read).await;
    assert!(read.is_ok(), "nothing is read");
}

/// Waits until an apply has come.
async fn until_applied(bed: &kube::Bed) {
    let log = bed.plane.audit_log();
    let mut seen = std::fs::metadata(&log).unwrap().len();
    let applied = async {
        loop {
            let (come, next) = kube::apply_has_come(&log, seen, &kube::Plane::admin());
            if come {
                return;
            }
            seen = next;
            tokio::time::sleep(ASK).await;
        }
    };
    let applied = tokio::time::timeout(WAIT, applied).await;
    assert!(applied.is_ok(), "nothing is applied");
}
