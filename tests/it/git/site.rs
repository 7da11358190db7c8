//! The servers that the contract cases run against.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::TempDir;
use towpath::demo::git_server::{GitServer, init_bare};
use towpath::git::memory::MemoryRemote;
use towpath::git::{
    Access, CommitDraft, Credential, GitError, Push, Pushed, Reach, Remote, Repository, Signature,
};
use towpath::model::CommitId;

use super::sshd::Sshd;

/// One empty repository on one kind of server.
pub(crate) struct Site {
    pub(crate) directory: TempDir,
    kind: Kind,
}

enum Kind {
    Memory(MemoryRemote),
    File(PathBuf),
    Http(GitServer),
    Ssh(Sshd, PathBuf),
}

impl Site {
    pub(crate) async fn memory() -> Option<Self> {
        Some(Self {
            directory: TempDir::new().unwrap(),
            kind: Kind::Memory(MemoryRemote::new("memory:infra")),
        })
    }

    pub(crate) async fn file() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let bare = directory.path().join("infra.git");
        init_bare(&bare).await.unwrap();
        Some(Self {
            directory,
            kind: Kind::File(bare),
        })
    }

    pub(crate) async fn http() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let server = GitServer::start(&directory.path().join("served"))
            .await
            .unwrap();
        server.create("infra").await.unwrap();
        Some(Self {
            directory,
            kind: Kind::Http(server),
        })
    }

    /// The same server as one that has not heard of version 2.
    pub(crate) async fn http_version_0() -> Option<Self> {
        let site = Self::http().await?;
        site.server().set_version_2(false);
        Some(site)
    }

    pub(crate) async fn ssh() -> Option<Self> {
        let directory = TempDir::new().unwrap();
        let bare = directory.path().join("it's infra.git");
        init_bare(&bare).await.unwrap();
        let sshd = Sshd::start(directory.path()).await?;
        Some(Self {
            directory,
            kind: Kind::Ssh(sshd, bare),
        })
    }

    /// A new client, without anything known.
    pub(crate) fn remote(&self) -> Arc<dyn Remote> {
        self.remote_with(&access())
    }

    pub(crate) fn remote_with(&self, access: &Access) -> Arc<dyn Remote> {
        let url = match &self.kind {
            Kind::Memory(remote) => return Arc::new(remote.clone()),
            Kind::File(bare) => bare.display().to_string(),
            Kind::Http(server) => server.url("infra"),
            Kind::Ssh(sshd, bare) => sshd.url(bare),
        };
        towpath::git::remote(&url.parse().unwrap(), access).unwrap()
    }

    /// The HTTP server, where it is one.
    pub(crate) fn server(&self) -> &GitServer {
        match &self.kind {
            Kind::Http(server) => server,
            _ => panic!("not an HTTP server"),
        }
    }

    /// A new mirror, without anything known.
    pub(crate) fn repository(&self, name: &str) -> Repository {
        Repository::on_disk(self.remote(), &self.directory.path().join(name)).unwrap()
    }

    /// Lets the server refuse every push with this text.
    pub(crate) fn refuse(&self, text: &'static str) {
        match &self.kind {
            Kind::Memory(remote) => {
                remote.set_hook(Some(Arc::new(move |_| Err(text.to_owned()))));
            }
            _ => self.hook(
                "pre-receive",
                &format!("printf '%s\\n' '{text}' >&2; exit 1"),
            ),
        }
    }

    /// How many writers race, and how often each has to win. An `ssh` takes long to connect.
    pub(crate) fn race(&self) -> (i64, usize) {
        match &self.kind {
            Kind::Ssh(..) => (3, 1),
            _ => (8, 3),
        }
    }

    /// Whether the server can leave out trees.
    pub(crate) fn set_filter(&self, filter: bool) {
        match &self.kind {
            Kind::Memory(remote) => remote.set_filter(filter),
            _ => self.configure("uploadpack.allowFilter", &filter.to_string()),
        }
    }

    /// Gives the server a hook.
    pub(crate) fn hook(&self, name: &str, script: &str) {
        let path = self.bare().unwrap().join("hooks").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Sets one of the server's own options, where it has a configuration.
    pub(crate) fn configure(&self, key: &str, value: &str) {
        if let Some(bare) = self.bare() {
            git(&bare, &["config", key, value]);
        }
    }

    /// The server's own directory, where it has one.
    pub(crate) fn bare(&self) -> Option<PathBuf> {
        match &self.kind {
            Kind::Memory(_) => None,
            Kind::File(bare) | Kind::Ssh(_, bare) => Some(bare.clone()),
            Kind::Http(server) => Some(server.path("infra")),
        }
    }

    /// `git fsck --strict`, where the server has a disk.
    pub(crate) fn check(&self) {
        if let Some(bare) = self.bare() {
            git(&bare, &["fsck", "--strict", "--no-dangling"]);
        }
    }
}

/// Access without credentials.
pub(crate) fn access() -> Access {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .unwrap();
    Access {
        credential: Credential::Anonymous,
        ssh: super::sshd::ssh_command(),
        ..Access::new(client)
    }
}

/// Runs git in a directory and returns what it printed.
pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests look at repositories with the real git"
    )]
    let output = std::process::Command::new("git")
        .current_dir(directory)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", directory)
        .envs([
            ("GIT_AUTHOR_NAME", "t"),
            ("GIT_AUTHOR_EMAIL", "t@example.com"),
        ])
        .envs([
            ("GIT_COMMITTER_NAME", "t"),
            ("GIT_COMMITTER_EMAIL", "t@example.com"),
        ])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "git {arguments:?}: {}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

pub(crate) fn signature(second: i64) -> Signature {
    Signature {
        name: "Towpath".to_owned(),
        email: "towpath@example.com".to_owned(),
        time: Timestamp::from_second(1_700_000_000 + second).unwrap(),
    }
}

pub(crate) const MASTER: &str = "refs/heads/master";

/// Looks, fetches the branch's head, commits one file onto it and pushes: what every edit does.
pub(crate) async fn commit(
    repository: &Repository,
    path: &str,
    content: &str,
    second: i64,
) -> Result<(CommitId, Pushed), GitError> {
    let refs = repository.look(&[MASTER.to_owned()]).await?;
    let head = refs.get(MASTER).map(|shown| shown.id);
    repository.fetch(head.as_slice(), Reach::Tip).await?;
    commit_on(repository, head.map(CommitId), path, content, second).await
}

/// The same on a head that is here already: no look, no fetch.
pub(crate) async fn commit_on(
    repository: &Repository,
    head: Option<CommitId>,
    path: &str,
    content: &str,
    second: i64,
) -> Result<(CommitId, Pushed), GitError> {
    let mut draft = repository.draft();
    let tree = head
        .map(|head| repository.commit(head))
        .transpose()?
        .map(|commit| commit.tree);
    let tree = draft.put(tree, path, content.to_owned())?;
    let id = draft.commit(&CommitDraft {
        tree,
        parents: head.into_iter().collect(),
        author: signature(second),
        committer: signature(second),
        message: format!("{path}: {content}"),
    });
    let push = Push::new()
        .update(MASTER, head.map(|head| head.0), id.0)
        .with(&draft)?;
    Ok((id, repository.push(push).await?))
}

/// A linear history of that many commits; returns the newest.
pub(crate) async fn history(repository: &Repository, count: i64) -> CommitId {
    let mut draft = repository.draft();
    let (mut tree, mut head) = (None, None);
    for second in 0..count {
        let new = draft
            .put(tree, &format!("d/f{}", second % 10), format!("{second}"))
            .unwrap();
        tree = Some(new);
        head = Some(draft.commit(&CommitDraft {
            tree: new,
            parents: head.into_iter().collect(),
            author: signature(second),
            committer: signature(second),
            message: format!("commit {second}"),
        }));
    }
    let head = head.unwrap();
    let push = Push::new()
        .update(MASTER, None, head.0)
        .with(&draft)
        .unwrap();
    assert_eq!(repository.push(push).await.unwrap(), Pushed::Landed);
    head
}
