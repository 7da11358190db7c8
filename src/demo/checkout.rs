//! What people and CI do in the demo, with the `git` program: clones, commits, tags, merges, pushes.
//!
//! Towpath itself never goes this way. Nothing of the user's own git configuration takes part.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::git::printable;

/// On loopback a command takes some milliseconds; a busy machine is given time.
const DEADLINE: Duration = Duration::from_secs(30);

/// Runs `git` with these arguments in a directory and gives what it writes.
///
/// # Errors
/// It cannot be run, does not end in time, or fails: with its words.
pub async fn git(directory: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let shown = || format!("git {} in {}", arguments.join(" "), directory.display());
    let mut command = Command::new("git");
    command
        .args(["-c", "http.proxy=", "-c", "core.hooksPath=/dev/null"])
        .args(arguments)
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    // Set where the demo is started by a git hook.
    for name in [
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
    ] {
        command.env_remove(name);
    }
    let output = tokio::time::timeout(DEADLINE, command.output())
        .await
        .with_context(|| format!("{} does not end", shown()))?
        .with_context(|| format!("{} cannot be run: is git installed?", shown()))?;
    if !output.status.success() {
        bail!("{}: {}", shown(), printable(&output.stderr));
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} writes no text", shown()))
}

/// A clone with a work tree, and who works in it.
#[derive(Debug, Clone)]
pub struct Checkout {
    directory: PathBuf,
}

impl Checkout {
    /// Begins a repository whose `origin` is an empty one.
    ///
    /// # Errors
    /// As [`git`], or the directory cannot be made.
    pub async fn begin(directory: &Path, origin: &str, person: &str) -> anyhow::Result<Self> {
        tokio::fs::create_dir_all(directory)
            .await
            .with_context(|| format!("{} cannot be made", directory.display()))?;
        let this = Self {
            directory: directory.to_owned(),
        };
        this.git(&["init", "--quiet", "--template=", "--initial-branch=master"])
            .await?;
        let email = format!("{}@example.com", person.to_lowercase());
        // Kept in the clone, so that a person at the keyboard finds it ready.
        let configuration = format!(
            "[user]\n\tname = {person}\n\temail = {email}\n\
             [commit]\n\tgpgSign = false\n[tag]\n\tgpgSign = false\n[http]\n\tproxy =\n\
             [remote \"origin\"]\n\turl = {origin}\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n\
             [branch \"master\"]\n\tremote = origin\n\tmerge = refs/heads/master\n"
        );
        let file = directory.join(".git/config");
        let mut text = tokio::fs::read_to_string(&file).await.unwrap_or_default();
        text.push_str(&configuration);
        tokio::fs::write(&file, text)
            .await
            .with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(this)
    }

    /// Where it lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Runs `git` in it.
    ///
    /// # Errors
    /// As [`git`].
    pub async fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        git(&self.directory, arguments).await
    }

    /// Writes these files and commits them; gives the commit.
    ///
    /// # Errors
    /// As [`git`], or a file cannot be written.
    pub async fn commit(&self, files: &[(&str, String)], message: &str) -> anyhow::Result<String> {
        for (path, text) in files {
            let file = self.directory.join(path);
            let parent = file.parent().unwrap_or(&self.directory);
            let written = async {
                tokio::fs::create_dir_all(parent).await?;
                tokio::fs::write(&file, text).await
            };
            written
                .await
                .with_context(|| format!("{} cannot be written", file.display()))?;
        }
        self.git(&["add", "--all"]).await?;
        self.git(&["commit", "--quiet", "--message", message])
            .await?;
        self.head().await
    }

    /// The commit that is checked out.
    ///
    /// # Errors
    /// As [`git`].
    pub async fn head(&self) -> anyhow::Result<String> {
        Ok(self.git(&["rev-parse", "HEAD"]).await?.trim().to_owned())
    }
}
