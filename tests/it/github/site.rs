//! A simulated GitHub with the people, the app and the repositories that the tests speak of, and a clone to
//! push from with real git.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use octocrab::jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use towpath::demo::github::{self as simulated, Level, NewApp, Permission, Permissions, Role};
use towpath::forge::github::{Access, Budget, Connection, GitHub, Identity};
use towpath::http::{HttpSettings, client};
use towpath::model::RepositoryUrl;
use towpath::secret::Secret;

/// The key of the app in tests. It opens nothing else.
pub(crate) const APP_KEY: &str = include_str!("app.pem");

/// Its public half.
const APP_PUBLIC_KEY: &str = include_str!("app.pub.pem");

/// The repository that most tests are about.
pub(crate) const REPOSITORY: &str = "acme/infra";

/// Everything starts here and stands still until a test says otherwise.
const BEGINNING: i64 = 1_800_000_000;

/// A running site.
pub(crate) struct Site {
    pub(crate) github: simulated::GitHub,
    pub(crate) client: Client,
    pub(crate) app: u64,
    pub(crate) installation: u64,
    seconds: Arc<AtomicI64>,
    tokens: BTreeMap<String, Secret>,
    directory: TempDir,
}

impl Site {
    /// Organisation `acme` with `acme/infra` (private, one file `web.txt`) and `acme/secret`, which nobody but
    /// `root` sees; `root` administrates, `towpath` and `ann` write, `tim` triages, `rita` reads, `sam` is a
    /// stranger; the app `tow` is installed for `acme/infra`.
    pub(crate) async fn start() -> Self {
        Self::start_at(BEGINNING).await
    }

    /// The adapter of a process that was just started: its budget is whole.
    pub(crate) fn adapter(&self, repository: &str, identity: Identity) -> GitHub {
        let client = client(&HttpSettings::default()).unwrap();
        let api = self.github.url();
        let repository: RepositoryUrl = self.github.clone_url(repository).parse().unwrap();
        let access = Access::new(client.clone(), api.clone(), repository.clone(), identity);
        GitHub::new(Connection {
            client,
            api,
            repository,
            access: Arc::new(access),
            budget: Arc::new(Budget::default()),
        })
    }

    /// The same at this moment, in seconds since 1970.
    pub(crate) async fn start_at(beginning: i64) -> Self {
        let directory = TempDir::new().unwrap();
        let seconds = Arc::new(AtomicI64::new(beginning));
        let told = Arc::clone(&seconds);
        let clock = Arc::new(move || {
            Timestamp::from_second(told.load(Ordering::SeqCst)).expect("a test's time is small")
        });
        let github = simulated::GitHub::start(&directory.path().join("served"), clock)
            .await
            .unwrap();
        github.add_organization("acme").await;
        let mut tokens = BTreeMap::new();
        for login in ["root", "towpath", "ann", "tim", "rita", "sam"] {
            github.add_user(login).await;
            tokens.insert(login.to_owned(), github.token(login).await);
        }
        for name in [REPOSITORY, "acme/secret"] {
            github.add_repository(name, "private").await.unwrap();
            github.set_role(name, "root", Some(Role::Admin)).await;
        }
        for (login, role) in [
            ("towpath", Role::Write),
            ("ann", Role::Write),
            ("tim", Role::Triage),
            ("rita", Role::Read),
        ] {
            github.set_role(REPOSITORY, login, Some(role)).await;
        }
        let permissions = [
            Permission::Contents,
            Permission::PullRequests,
            Permission::Statuses,
            Permission::Checks,
            Permission::Deployments,
        ];
        let app = github
            .add_app(NewApp {
                slug: "tow",
                owner: "acme",
                public_key: APP_PUBLIC_KEY,
                permissions: permissions.map(|it| (it, Level::Write)).into(),
            })
            .await;
        let installation = github.install(app, "acme", Some(&[REPOSITORY])).await;
        let site = Self {
            github,
            client: client(&HttpSettings::default()).unwrap(),
            app,
            installation,
            seconds,
            tokens,
            directory,
        };
        site.commit("root", "master", None, "web.txt", "1\n").await;
        site
    }

    /// Lets time pass.
    pub(crate) fn wait(&self, time: SignedDuration) {
        self.seconds.fetch_add(time.as_secs(), Ordering::SeqCst);
    }

    /// The classic token of one of the people.
    pub(crate) fn token(&self, login: &str) -> &Secret {
        &self.tokens[login]
    }

    /// A JWT of the app, as of now.
    pub(crate) fn jwt(&self) -> String {
        let now = self.seconds.load(Ordering::SeqCst);
        let claims = json!({ "iss": self.app.to_string(), "iat": now - 60, "exp": now + 540 });
        let key = EncodingKey::from_rsa_pem(APP_KEY.as_bytes()).unwrap();
        encode(&Header::new(Algorithm::RS256), &claims, &key).unwrap()
    }

    /// A token of the installation, for all that it may do or for less.
    pub(crate) async fn installation_token(&self, permissions: Option<Value>) -> String {
        let path = format!("/app/installations/{}/access_tokens", self.installation);
        let body = permissions.map(|it| json!({ "permissions": it }));
        let answer = self
            .ask(Method::POST, &path, Some(&self.jwt()), &[], body.as_ref())
            .await;
        let body: Value = answer.json().await.unwrap();
        body["token"].as_str().unwrap().to_owned()
    }

    /// A fine-grained token: `contents=write,pull_requests=read`.
    pub(crate) async fn fine_grained(&self, login: &str, rights: &str) -> Secret {
        let known = [
            ("contents", Permission::Contents),
            ("pull_requests", Permission::PullRequests),
            ("issues", Permission::Issues),
            ("statuses", Permission::Statuses),
            ("checks", Permission::Checks),
            ("deployments", Permission::Deployments),
            ("administration", Permission::Administration),
            ("repository_hooks", Permission::RepositoryHooks),
            ("members", Permission::Members),
        ];
        let mut permissions = Permissions::new();
        for right in rights.split(',').filter(|it| !it.is_empty()) {
            let (name, level) = right.split_once('=').unwrap();
            let permission = known.iter().find(|it| it.0 == name).unwrap().1;
            let level = match level {
                "read" => Level::Read,
                "write" => Level::Write,
                other => panic!("no level: {other}"),
            };
            permissions.insert(permission, level);
        }
        self.github
            .fine_grained_token(login, permissions, &[REPOSITORY])
            .await
    }

    /// Asks the API.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        headers: &[(String, String)],
        body: Option<&Value>,
    ) -> Response {
        let url = format!("http://{}{path}", self.github.address());
        let mut request = self.client.request(method, url);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await.unwrap()
    }

    /// Commits one file and pushes it, as somebody; from another branch where one is named. The commit's id.
    pub(crate) async fn commit(
        &self,
        login: &str,
        branch: &str,
        from: Option<&str>,
        path: &str,
        content: &str,
    ) -> String {
        let pushed = self
            .try_commit(self.token(login).expose(), branch, from, (path, content))
            .await;
        pushed.unwrap()
    }

    /// The same with any token. The error is what git printed.
    pub(crate) async fn try_commit(
        &self,
        token: &str,
        branch: &str,
        from: Option<&str>,
        (path, content): (&str, &str),
    ) -> Result<String, String> {
        let clone = self.clone_with(token).await?;
        let start = from.unwrap_or(branch);
        let known = self.git(&["fetch", "-q", &clone, start]).await;
        if known.is_ok() {
            self.git(&["reset", "-q", "--hard", "FETCH_HEAD"]).await?;
        }
        let file = self.work().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
        self.git(&["add", path]).await?;
        let message = format!("{path}: {}", content.trim());
        self.git(&["commit", "-q", "--allow-empty", "-m", &message])
            .await?;
        let target = match branch.strip_prefix('+') {
            Some(branch) => format!("+HEAD:refs/heads/{branch}"),
            None => format!("HEAD:refs/heads/{branch}"),
        };
        self.git(&["push", "-q", &clone, &target]).await?;
        Ok(self.git(&["rev-parse", "HEAD"]).await?.trim().to_owned())
    }

    /// Makes a file of a branch executable, as somebody.
    pub(crate) async fn set_executable(&self, login: &str, branch: &str, path: &str) {
        let clone = self.clone_with(self.token(login).expose()).await.unwrap();
        let (message, target) = (format!("{path} runs"), format!("HEAD:refs/heads/{branch}"));
        for arguments in [
            &["fetch", "-q", &clone, branch][..],
            &["reset", "-q", "--hard", "FETCH_HEAD"],
            &["update-index", "--chmod=+x", path],
            &["commit", "-q", "-m", &message],
            &["push", "-q", &clone, &target],
        ] {
            self.git(arguments).await.unwrap();
        }
    }

    /// Pushes refs as git's command line names them.
    pub(crate) async fn push(&self, token: &str, refs: &[&str]) -> Result<String, String> {
        let clone = self.clone_with(token).await?;
        let mut arguments = vec!["push", "-q", &clone];
        arguments.extend(refs);
        self.git(&arguments).await
    }

    fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    /// Makes the clone, and says where to push with the token.
    async fn clone_with(&self, token: &str) -> Result<String, String> {
        if !self.work().exists() {
            std::fs::create_dir(self.work()).unwrap();
            self.git(&["init", "-q", "-b", "master"]).await?;
        }
        let host = self.github.address();
        Ok(format!(
            "http://x-access-token:{token}@{host}/{REPOSITORY}.git"
        ))
    }

    async fn git(&self, arguments: &[&str]) -> Result<String, String> {
        let output = tokio::process::Command::new("git")
            .current_dir(self.work())
            .args(["-c", "user.name=test", "-c", "user.email=test@example.com"])
            .args(arguments)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}
