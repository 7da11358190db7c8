//! What the simulator asks of git, in one bare repository. Every answer comes from a `git` of its own.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::Stdio;

use jiff::Timestamp;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::demo::git_server;

/// Between fields of a commit: what no field holds.
const FIELD: char = '\u{1f}';

/// A bare repository.
pub(super) struct Git<'a>(pub(super) &'a Path);

/// A commit, as much of it as the API shows.
pub(super) struct Commit {
    pub(super) sha: String,
    pub(super) tree: String,
    pub(super) parents: Vec<String>,
    pub(super) author: Signed,
    pub(super) committer: Signed,
    pub(super) message: String,
}

/// Who, and when.
#[derive(Clone)]
pub(super) struct Signed {
    pub(super) name: String,
    pub(super) email: String,
    /// As RFC 3339 writes it.
    pub(super) date: String,
}

/// A file that two commits differ in.
pub(super) struct Changed {
    pub(super) path: String,
    /// `added`, `removed` or `modified`.
    pub(super) status: &'static str,
    pub(super) sha: String,
    pub(super) additions: u64,
    pub(super) deletions: u64,
    /// None for what is not text.
    pub(super) patch: Option<String>,
}

impl Git<'_> {
    async fn output(
        &self,
        arguments: &[&str],
        signed: Option<(&Signed, &Signed)>,
        input: &[u8],
    ) -> io::Result<std::process::Output> {
        let mut command = Command::new(git_server::git());
        command.arg("--git-dir").arg(self.0).args(arguments);
        command.env_clear().kill_on_drop(true);
        for name in ["PATH", "HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        if let Some((author, committer)) = signed {
            command
                .env("GIT_AUTHOR_NAME", &author.name)
                .env("GIT_AUTHOR_EMAIL", &author.email)
                .env("GIT_AUTHOR_DATE", &author.date)
                .env("GIT_COMMITTER_NAME", &committer.name)
                .env("GIT_COMMITTER_EMAIL", &committer.email)
                .env("GIT_COMMITTER_DATE", &committer.date);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads nothing may be gone already.
            let _gone = stdin.write_all(input).await;
        }
        child.wait_with_output().await
    }

    /// What the command printed, where it succeeded.
    async fn run(&self, arguments: &[&str]) -> io::Result<String> {
        let output = self.output(arguments, None, &[]).await?;
        text(arguments, output)
    }

    /// The same, where a failure only means that there is nothing.
    async fn ask(&self, arguments: &[&str]) -> Option<String> {
        let output = self.output(arguments, None, &[]).await.ok()?;
        let found = output.status.success().then_some(output.stdout)?;
        Some(String::from_utf8_lossy(&found).trim_end().to_owned())
    }

    /// Every ref and what it names.
    pub(super) async fn refs(&self) -> io::Result<BTreeMap<String, String>> {
        let lines = self
            .run(&["for-each-ref", "--format=%(objectname) %(refname)"])
            .await?;
        let pairs = lines.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs
            .map(|(sha, name)| (name.to_owned(), sha.to_owned()))
            .collect())
    }

    /// Moves a ref from what it was; `None` is that it does not exist. Whether it did.
    pub(super) async fn move_ref(&self, name: &str, old: Option<&str>, new: Option<&str>) -> bool {
        let none = "0".repeat(40);
        let old = old.unwrap_or(&none);
        match new {
            Some(new) => self.ask(&["update-ref", name, new, old]).await.is_some(),
            None => self.ask(&["update-ref", "-d", name, old]).await.is_some(),
        }
    }

    /// The commit that a name, a tag or an abbreviated id means.
    pub(super) async fn resolve(&self, name: &str) -> Option<String> {
        // What begins with a dash is an option to git, and a name to nobody.
        if name.starts_with('-') || name.contains([':', '^', '~', '@', ' ']) {
            return None;
        }
        let wanted = format!("{name}^{{commit}}");
        self.ask(&[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &wanted,
        ])
        .await
        .filter(|sha| !sha.is_empty())
    }

    /// What kind of object it is.
    pub(super) async fn kind(&self, sha: &str) -> Option<String> {
        self.ask(&["cat-file", "-t", sha]).await
    }

    /// Commits of a range (or of one name), newest first, at most so many; of `path` alone where one is given.
    pub(super) async fn commits(
        &self,
        range: &str,
        most: usize,
        path: Option<&str>,
    ) -> io::Result<Vec<Commit>> {
        let format = "--format=%H%x1f%T%x1f%P%x1f%an%x1f%ae%x1f%aI%x1f%cn%x1f%ce%x1f%cI%x1f%B%x00";
        let most = format!("--max-count={most}");
        let mut arguments = vec!["log", format, &most, range, "--"];
        arguments.extend(path);
        let lines = self.run(&arguments).await?;
        Ok(lines.split('\0').filter_map(commit).collect())
    }

    /// One commit.
    pub(super) async fn commit(&self, sha: &str) -> Option<Commit> {
        self.commits(sha, 1, None).await.ok()?.pop()
    }

    /// How many commits the range has.
    pub(super) async fn count(&self, range: &str) -> usize {
        let count = self.ask(&["rev-list", "--count", range]).await;
        count
            .and_then(|count| count.parse().ok())
            .unwrap_or_default()
    }

    pub(super) async fn is_ancestor(&self, old: &str, new: &str) -> bool {
        self.ask(&["merge-base", "--is-ancestor", old, new])
            .await
            .is_some()
    }

    pub(super) async fn merge_base(&self, one: &str, other: &str) -> Option<String> {
        self.ask(&["merge-base", one, other]).await
    }

    /// The tree of a merge; none where there are conflicts.
    pub(super) async fn merge_tree(&self, ours: &str, theirs: &str) -> Option<String> {
        let printed = self
            .ask(&["merge-tree", "--write-tree", "--no-messages", ours, theirs])
            .await?;
        printed.lines().next().map(str::to_owned)
    }

    pub(super) async fn write_commit(
        &self,
        tree: &str,
        parents: &[&str],
        (author, committer): (&Signed, &Signed),
        message: &str,
    ) -> io::Result<String> {
        let mut arguments = vec!["commit-tree", tree];
        for parent in parents {
            arguments.extend(["-p", parent]);
        }
        let output = self
            .output(&arguments, Some((author, committer)), message.as_bytes())
            .await?;
        Ok(text(&arguments, output)?.trim_end().to_owned())
    }

    /// Copies the change that a commit made onto another one: three-way, as `git cherry-pick` does. `None`
    /// where there are conflicts.
    pub(super) async fn copy(
        &self,
        commit: &Commit,
        onto: &str,
        committer: &Signed,
    ) -> io::Result<Option<String>> {
        let Some(parent) = commit.parents.first() else {
            return Ok(None);
        };
        // merge-tree finds the base by history alone, so it gets one: two commits of these trees on a third.
        let both = (committer, committer);
        let old = self
            .write_commit(&format!("{parent}^{{tree}}"), &[], both, "base")
            .await?;
        let ours = self
            .write_commit(&format!("{onto}^{{tree}}"), &[&old], both, "ours")
            .await?;
        let theirs = self
            .write_commit(&commit.tree, &[&old], both, "theirs")
            .await?;
        let Some(tree) = self.merge_tree(&ours, &theirs).await else {
            return Ok(None);
        };
        let author = (&commit.author, committer);
        self.write_commit(&tree, &[onto], author, &commit.message)
            .await
            .map(Some)
    }

    /// What two commits differ in, file by file.
    pub(super) async fn diff(&self, old: &str, new: &str) -> io::Result<Vec<Changed>> {
        let names = ["diff", "--no-renames", "--raw", "--no-abbrev", old, new];
        let raw = self.run(&names).await?;
        let counts = self
            .run(&["diff", "--no-renames", "--numstat", old, new])
            .await?;
        let patches = self.run(&["diff", "--no-renames", old, new]).await?;
        let mut patches = hunks(&patches).into_iter();
        let mut counts = counts.lines();
        Ok(raw
            .lines()
            .filter_map(|line| {
                let mut count = counts.next()?.split('\t');
                let (additions, deletions) = (count.next()?, count.next()?);
                changed(line, additions, deletions, patches.next().flatten())
            })
            .collect())
    }

    /// The number of lines and files in which two commits differ.
    pub(super) async fn difference(&self, old: &str, new: &str) -> io::Result<(u64, u64, usize)> {
        let counts = self
            .run(&["diff", "--no-renames", "--numstat", old, new])
            .await?;
        let mut sum = (0, 0, 0);
        for line in counts.lines() {
            let mut count = line.split('\t').map(|it| it.parse().unwrap_or(0));
            sum.0 += count.next().unwrap_or(0);
            sum.1 += count.next().unwrap_or(0);
            sum.2 += 1;
        }
        Ok(sum)
    }

    /// Entries of a path in a commit: kind, id, size and path of each; the path itself where it is a file.
    pub(super) async fn entries(&self, sha: &str, path: &str) -> Vec<Entry> {
        let listed = match path {
            "" => self.ask(&["ls-tree", "-l", "-z", sha]).await,
            path => {
                let folder = format!("{path}/");
                let inside = self.ask(&["ls-tree", "-l", "-z", sha, "--", &folder]).await;
                match inside.filter(|it| !it.is_empty()) {
                    Some(inside) => Some(inside),
                    None => self.ask(&["ls-tree", "-l", "-z", sha, "--", path]).await,
                }
            }
        };
        let listed = listed.unwrap_or_default();
        listed.split('\0').filter_map(entry).collect()
    }

    pub(super) async fn blob(&self, sha: &str) -> io::Result<Vec<u8>> {
        let arguments = ["cat-file", "blob", sha];
        let output = self.output(&arguments, None, &[]).await?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(failure(&arguments, &output.stderr)),
        }
    }

    /// A tree like that of a commit with these files written, or removed where there is no content.
    pub(super) async fn edit(
        &self,
        sha: &str,
        files: &[(String, Option<Vec<u8>>)],
    ) -> io::Result<String> {
        let index = tempfile::NamedTempFile::new()?;
        let file = index.path().display().to_string();
        std::fs::remove_file(index.path())?;
        let mut script = String::new();
        for (path, content) in files {
            let line = match content {
                Some(content) => {
                    let arguments = ["hash-object", "-w", "--stdin"];
                    let output = self.output(&arguments, None, content).await?;
                    let blob = text(&arguments, output)?;
                    format!("100644 {}\t{path}\n", blob.trim_end())
                }
                None => format!("0 {}\t{path}\n", "0".repeat(40)),
            };
            script.push_str(&line);
        }
        for (arguments, input) in [
            (vec!["read-tree", sha], ""),
            (vec!["update-index", "--index-info"], script.as_str()),
        ] {
            let output = self.indexed(&file, &arguments, input).await?;
            text(&arguments, output)?;
        }
        let tree = self.indexed(&file, &["write-tree"], "").await?;
        Ok(text(&["write-tree"], tree)?.trim_end().to_owned())
    }

    async fn indexed(
        &self,
        index: &str,
        arguments: &[&str],
        input: &str,
    ) -> io::Result<std::process::Output> {
        let mut command = Command::new(git_server::git());
        command.arg("--git-dir").arg(self.0).args(arguments);
        command.env("GIT_INDEX_FILE", index).kill_on_drop(true);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes()).await?;
        }
        child.wait_with_output().await
    }
}

/// One entry of a tree.
pub(super) struct Entry {
    /// `blob`, `tree` or `commit`.
    pub(super) kind: String,
    pub(super) sha: String,
    pub(super) size: u64,
    pub(super) path: String,
}

fn entry(line: &str) -> Option<Entry> {
    let (meta, path) = line.split_once('\t')?;
    let mut meta = meta.split_whitespace().skip(1);
    Some(Entry {
        kind: meta.next()?.to_owned(),
        sha: meta.next()?.to_owned(),
        size: meta.next()?.parse().unwrap_or_default(),
        path: path.to_owned(),
    })
}

fn commit(record: &str) -> Option<Commit> {
    let mut fields = record.trim_start().split(FIELD).map(str::to_owned);
    let mut next = || fields.next();
    let sha = next().filter(|sha| !sha.is_empty())?;
    let (tree, parents) = (next()?, next()?);
    let mut signed = || {
        Some(Signed {
            name: next()?,
            email: next()?,
            date: utc(&next()?),
        })
    };
    let (author, committer) = (signed()?, signed()?);
    Some(Commit {
        sha,
        tree,
        parents: parents.split_whitespace().map(str::to_owned).collect(),
        author,
        committer,
        message: next()?.trim_end().to_owned(),
    })
}

/// GitHub shows times in UTC, to the second.
fn utc(date: &str) -> String {
    match date.parse::<Timestamp>() {
        Ok(time) => time.to_string(),
        Err(_) => date.to_owned(),
    }
}

fn changed(line: &str, additions: &str, deletions: &str, patch: Option<String>) -> Option<Changed> {
    let (meta, path) = line.split_once('\t')?;
    let meta: Vec<&str> = meta.split_whitespace().collect();
    let [_, _, old, new, letter] = meta.as_slice() else {
        return None;
    };
    let status = match *letter {
        "A" => "added",
        "D" => "removed",
        _ => "modified",
    };
    let sha = if *letter == "D" { old } else { new };
    Some(Changed {
        path: path.to_owned(),
        status,
        sha: (*sha).to_owned(),
        additions: additions.parse().unwrap_or(0),
        deletions: deletions.parse().unwrap_or(0),
        patch,
    })
}

/// The hunks of each file of a patch.
fn hunks(patch: &str) -> Vec<Option<String>> {
    let mut files: Vec<Option<String>> = Vec::new();
    for line in patch.lines() {
        if line.starts_with("diff --git ") {
            files.push(None);
        } else if let Some(last) = files.last_mut() {
            match last {
                Some(text) => {
                    text.push('\n');
                    text.push_str(line);
                }
                None if line.starts_with("@@ ") => *last = Some(line.to_owned()),
                None => {}
            }
        }
    }
    files
}

fn text(arguments: &[&str], output: std::process::Output) -> io::Result<String> {
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(failure(arguments, &output.stderr)),
    }
}

fn failure(arguments: &[&str], stderr: &[u8]) -> io::Error {
    let said = crate::git::printable(stderr);
    io::Error::other(format!("git {}: {said}", arguments.join(" ")))
}
