//! A running Gitea, and what tests need of it: people with tokens, repositories, protection, webhooks.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use towpath::http::{HttpSettings, client};
use towpath::secret::Secret;

use crate::testbed::lasting_port;

/// It starts within this, also on a machine that does other things at the same time.
const START: Duration = Duration::from_secs(120);

/// How often it is asked whether it is there.
const ASK: Duration = Duration::from_millis(20);

/// Somebody may have taken the port between our looking for it and Gitea's binding it.
const TRIES: usize = 3;

/// What a token of Towpath needs: requests and statuses are part of `repository`, comments and labels of
/// `issue`; and who we are.
const SCOPES: [&str; 3] = ["write:repository", "write:issue", "read:user"];

/// A running Gitea with the organisation `acme`. It ends when this is dropped, or when this process ends.
pub(crate) struct Bed {
    /// Its root.
    pub(crate) url: String,
    root: Secret,
    repositories: AtomicUsize,
    directory: PathBuf,
    pid: String,
    lines: Lines<BufReader<ChildStdout>>,
    script: Child,
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    /// The login.
    pub(crate) login: String,
    /// The token.
    pub(crate) token: Secret,
}

impl Bed {
    /// Starts one and makes the organisation.
    ///
    /// # Errors
    /// It does not start: with the end of its log.
    pub(crate) async fn start(binary: &Path) -> anyhow::Result<Self> {
        let mut tried = 0;
        let bed = loop {
            tried += 1;
            match Self::try_start(binary).await {
                Ok(bed) => break bed,
                Err(error) if tried == TRIES => return Err(error),
                Err(_) => {}
            }
        };
        let organization = json!({ "username": "acme" });
        bed.ask(Method::POST, "orgs", &organization).await?;
        Ok(bed)
    }

    async fn try_start(binary: &Path) -> anyhow::Result<Self> {
        let port = lasting_port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/gitea/run");
        let mut script = Command::new(script)
            .arg(binary)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let stdout = script.stdout.take().context("no pipe")?;
        let mut lines = BufReader::new(stdout).lines();
        let directory = PathBuf::from(line(&mut lines, &mut script).await?);
        let pid = line(&mut lines, &mut script).await?;
        let root = Secret::new(line(&mut lines, &mut script).await?);
        let bed = Self {
            url: format!("http://127.0.0.1:{port}"),
            root,
            repositories: AtomicUsize::new(0),
            directory,
            pid,
            lines,
            script,
        };
        bed.wait().await?;
        Ok(bed)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> &str {
        &self.pid
    }

    /// Where a repository lies.
    pub(crate) fn path(&self, repository: &str) -> PathBuf {
        let all = self.directory.join("data/repositories");
        all.join(format!("{repository}.git"))
    }

    /// Starts it again after it was killed, on the same port and data, and returns when it serves.
    ///
    /// # Errors
    /// It does not start: with the end of its log.
    pub(crate) async fn revive(&mut self) -> anyhow::Result<()> {
        let stdin = self.script.stdin.as_mut().context("no pipe")?;
        tokio::io::AsyncWriteExt::write_all(stdin, b"again\n").await?;
        self.pid = line(&mut self.lines, &mut self.script).await?;
        self.wait().await
    }

    async fn wait(&self) -> anyhow::Result<()> {
        let log = self.directory.join("log");
        let began = Instant::now();
        let healthz = format!("{}/api/healthz", self.url);
        let asking = http();
        loop {
            let answer = asking.get(&healthz).timeout(START).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let is_over = text.contains("[F]") || text.contains("address already in use");
            if is_over || began.elapsed() > START {
                bail!("Gitea does not serve:\n{text}");
            }
            tokio::time::sleep(ASK).await;
        }
    }

    /// The administrator.
    pub(crate) fn root(&self) -> Person {
        Person {
            login: "root".to_owned(),
            token: self.root.clone(),
        }
    }

    /// A new person whose name begins so, with a token for Towpath's work.
    pub(crate) async fn person(&self, prefix: &str) -> Person {
        self.person_with(prefix, &SCOPES).await
    }

    /// A new person with a token of these scopes.
    pub(crate) async fn person_with(&self, prefix: &str, scopes: &[&str]) -> Person {
        let login = format!("{prefix}-{}", self.number());
        let password = "a person's password";
        let account = json!({
            "username": login,
            "email": format!("{login}@example.com"),
            "password": password,
            "must_change_password": false,
        });
        self.ask(Method::POST, "admin/users", &account)
            .await
            .unwrap();
        let token = json!({ "name": "test", "scopes": scopes });
        let made = http()
            .post(format!("{}/api/v1/users/{login}/tokens", self.url))
            .basic_auth(&login, Some(password))
            .json(&token)
            .send()
            .await
            .unwrap();
        let made: Value = made.json().await.unwrap();
        let token = Secret::new(made["sha1"].as_str().unwrap());
        Person { login, token }
    }

    /// A new private repository with one commit on `master`: `acme/NAME`.
    pub(crate) async fn repository(&self, prefix: &str) -> String {
        self.make_repository(prefix, true).await
    }

    /// The same without any commit.
    pub(crate) async fn empty_repository(&self, prefix: &str) -> String {
        self.make_repository(prefix, false).await
    }

    async fn make_repository(&self, prefix: &str, auto_init: bool) -> String {
        let name = format!("{prefix}-{}", self.number());
        let repository = json!({ "name": name, "private": true, "auto_init": auto_init, "default_branch": "master" });
        let made = self.ask(Method::POST, "orgs/acme/repos", &repository).await;
        made.unwrap();
        format!("acme/{name}")
    }

    fn number(&self) -> usize {
        self.repositories.fetch_add(1, Ordering::Relaxed)
    }

    /// Lets somebody `read`, `write` or `admin` a repository.
    pub(crate) async fn allow(&self, repository: &str, person: &Person, permission: &str) {
        let path = format!("repos/{repository}/collaborators/{}", person.login);
        let body = json!({ "permission": permission });
        self.ask(Method::PUT, &path, &body).await.unwrap();
    }

    /// Protects a branch, as the API's `branch_protections` says.
    pub(crate) async fn protect(&self, repository: &str, protection: &Value) {
        let path = format!("repos/{repository}/branch_protections");
        self.ask(Method::POST, &path, protection).await.unwrap();
    }

    /// Sends these events to an address, signed.
    pub(crate) async fn add_hook(
        &self,
        repository: &str,
        url: &str,
        secret: &str,
        events: &[&str],
    ) {
        let path = format!("repos/{repository}/hooks");
        let config = json!({ "url": url, "content_type": "json", "secret": secret });
        let hook = json!({ "type": "gitea", "active": true, "events": events, "config": config });
        self.ask(Method::POST, &path, &hook).await.unwrap();
    }

    /// Where a repository is pushed to by git's command line, as somebody.
    pub(crate) fn clone_url(&self, repository: &str, person: &Person) -> String {
        let host = self.url.trim_start_matches("http://");
        let (login, token) = (&person.login, person.token.expose());
        format!("http://{login}:{token}@{host}/{repository}.git")
    }

    /// Asks the API as the administrator.
    ///
    /// # Errors
    /// What it says, where that is no success.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<Value> {
        let (status, answer) = self.ask_as(&self.root(), method, path, body).await;
        if !(200..300).contains(&status) {
            bail!("{path}: {status} {answer}");
        }
        Ok(answer)
    }

    /// Asks the API as somebody: the status and the body.
    pub(crate) async fn ask_as(
        &self,
        person: &Person,
        method: Method,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        let mut request = http()
            .request(method, format!("{}/api/v1/{path}", self.url))
            .bearer_auth(person.token.expose());
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }
}

/// The next line that the script prints.
async fn line(
    lines: &mut Lines<BufReader<ChildStdout>>,
    script: &mut Child,
) -> anyhow::Result<String> {
    if let Some(line) = tokio::time::timeout(START, lines.next_line()).await?? {
        return Ok(line);
    }
    let mut said = String::new();
    if let Some(stderr) = &mut script.stderr {
        tokio::io::AsyncReadExt::read_to_string(stderr, &mut said).await?;
    }
    bail!("Gitea cannot be started:\n{said}")
}

/// Making a client reads the system's certificates, so each test (a thread of its own) makes one.
pub(super) fn http() -> Client {
    thread_local! {
        static CLIENT: Client = client(&HttpSettings::default()).unwrap();
    }
    CLIENT.with(Client::clone)
}
