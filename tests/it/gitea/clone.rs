//! A clone that real git pushes from.

use tempfile::TempDir;

use super::{Bed, Person};

/// A clone that real git pushes from.
pub(crate) struct Clone {
    directory: TempDir,
    url: String,
}

impl Clone {
    /// Clones a repository as somebody.
    pub(crate) async fn of(bed: &Bed, repository: &str, person: &Person) -> Self {
        let directory = TempDir::new().unwrap();
        let url = bed.clone_url(repository, person);
        let clone = Self { directory, url };
        clone.git(&["clone", "-q", &clone.url, "."]).await.unwrap();
        clone
    }

    /// Runs git in it. The error is what git printed.
    pub(crate) async fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let output = tokio::process::Command::new("git")
            .current_dir(self.directory.path())
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Commits the first file of an empty repository and pushes it to `master`.
    pub(crate) async fn commit_first(&self, file: &str, text: &str) {
        let path = self.directory.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        for arguments in [
            &["add", file][..],
            &["commit", "-q", "-m", "first"],
            &["push", "-q", "origin", "HEAD:refs/heads/master"],
        ] {
            self.git(arguments).await.unwrap();
        }
    }

    /// Commits a file on top of `master`'s head, as the branch that is then checked out.
    pub(crate) async fn commit(&self, branch: &str, file: &str) -> String {
        self.git(&["checkout", "-q", "-B", branch]).await.unwrap();
        std::fs::write(self.directory.path().join(file), "x\n").unwrap();
        self.git(&["add", file]).await.unwrap();
        self.git(&["commit", "-q", "--allow-empty", "-m", file])
            .await
            .unwrap();
        self.git(&["rev-parse", "HEAD"]).await.unwrap()
    }

    /// Commits a file on a branch, which begins at `base` where it does not exist, and pushes it.
    pub(crate) async fn commit_on(
        &self,
        branch: &str,
        base: &str,
        file: &str,
        text: &str,
    ) -> String {
        let fetched = self.git(&["fetch", "-q", "origin", branch]).await;
        if fetched.is_err() {
            self.git(&["fetch", "-q", "origin", base]).await.unwrap();
        }
        self.git(&["checkout", "-q", "--detach", "FETCH_HEAD"])
            .await
            .unwrap();
        std::fs::write(self.directory.path().join(file), text).unwrap();
        self.git(&["add", file]).await.unwrap();
        self.git(&["commit", "-q", "--allow-empty", "-m", file])
            .await
            .unwrap();
        let target = format!("HEAD:refs/heads/{branch}");
        self.git(&["push", "-q", "origin", &target]).await.unwrap();
        self.git(&["rev-parse", "HEAD"]).await.unwrap()
    }
}
