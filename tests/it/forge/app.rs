//! A GitHub App: the same tokens let its requests and git in, are replaced before they expire and once they
//! are not accepted, and are shown nowhere.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use tempfile::TempDir;
use towpath::cli::setup::Setup;
use towpath::clock;
use towpath::config::Location;
use towpath::forge::Requests;
use towpath::git::{GitError, Push, Pushed, Repository};
use towpath::model::RepositoryUrl;
use towpath::observe::Outside;

use crate::cli::towpath;
use crate::github::{APP_KEY, Site};

/// The repository that the App is installed for.
const REPOSITORY: &str = "acme/infra";

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const PATIENCE: Duration = Duration::from_secs(20);

/// What the configuration of an App opens.
struct Bed {
    site: Site,
    url: RepositoryUrl,
    outside: Outside,
    folder: TempDir,
}

impl Bed {
    async fn start() -> Self {
        let site = Site::start_at(clock::now().as_second()).await;
        let folder = TempDir::new().unwrap();
        let clone = site.github.clone_url(REPOSITORY);
        let write = |path: &str, text: String| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("app.pem", APP_KEY.to_owned());
        write(
            "towpath.yaml",
            format!(
                "cache: cache\nforges: {{ \"{}\": {{ api: \"{}\", app: {{ id: {}, key: {{ file: app.pem }} }} }} }}\n",
                site.github.address(),
                site.github.url(),
                site.app,
            ),
        );
        write(
            "production/environment.yaml",
            format!(
                "repository: {{ url: \"{clone}\", branch: master, forge: github }}\nmanifests: [kubernetes]\n\
                 cluster: {{ simulated: {{ ready-after: 1s }} }}\nfollow: {{ tags: \"*\" }}\ngate: pull-request\n"
            ),
        );
        write(
            "applications/shop.yaml",
            "applications: [{ name: shop, images: [{ repository: registry.example.com/acme/shop, release-tag: \"{tag}\" }], environments: [production] }]\n".to_owned(),
        );
        let location = Location::Folder(folder.path().to_owned());
        let setup = Setup::load(location).await.unwrap();
        Self {
            outside: setup.outside(&[]).unwrap(),
            url: clone.parse().unwrap(),
            site,
            folder,
        }
    }

    fn git(&self) -> &Repository {
        &self.outside.repositories[&self.url]
    }

    async fn look(&self) -> Result<(), GitError> {
        self.git().look(&["refs/heads/".to_owned()]).await.map(drop)
    }

    async fn ask(&self) -> Result<Requests, towpath::forge::ForgeError> {
        let forge = &self.outside.forges[&self.url];
        forge.requests(&Requests::default(), clock::now()).await
    }

    /// How many tokens were given since this was last asked.
    fn given(&self) -> usize {
        let exchanges = self.site.github.take_exchanges();
        let asked = exchanges
            .iter()
            .filter(|it| it.path.ends_with("/access_tokens"));
        asked.filter(|it| it.status == 201).count()
    }

    /// Pushes a branch, as git does.
    async fn push(&self, branch: &str) -> Result<Pushed, GitError> {
        let refs = self.git().look(&["refs/heads/".to_owned()]).await?;
        let head = refs["refs/heads/master"].id;
        let push = Push::new().update(format!("refs/heads/{branch}"), None, head);
        self.git().push(push).await
    }
}

fn is_discreet(text: &str) {
    let key = APP_KEY.lines().nth(1).unwrap();
    assert!(!text.contains("ghs_") && !text.contains(key), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_of_an_app_serves_its_requests_and_git_until_it_is_replaced() {
    let bed = Bed::start().await;
    bed.given();
    bed.look().await.unwrap();
    bed.ask().await.unwrap();
    assert_eq!(bed.push("one").await.unwrap(), Pushed::Landed);
    assert_eq!(bed.given(), 1);

    // It was to last, and is not accepted any more: another one is, at once.
    bed.site.github.set_token_lifetime(HOUR).await;
    assert_eq!(bed.push("two").await.unwrap(), Pushed::Landed);
    bed.ask().await.unwrap();
    assert_eq!(bed.given(), 1);

    // Told that it does not last, the next is asked for before it expires, here by git alone.
    let soon = SignedDuration::from_millis(2500);
    bed.site.github.set_token_lifetime(soon).await;
    let (start, mut given) = (Instant::now(), 0);
    while given < 3 {
        bed.look().await.unwrap();
        given += bed.given();
        assert!(start.elapsed() < PATIENCE, "{given} were asked for");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_is_shut_out_is_named_and_comes_back_by_itself() {
    let bed = Bed::start().await;
    bed.look().await.unwrap();
    let (github, installation) = (&bed.site.github, bed.site.installation);
    github.set_suspended(installation, true).await;
    for _ in 0..2 {
        let git = bed.look().await.unwrap_err();
        let forge = bed.ask().await.unwrap_err();
        for told in [git.to_string(), forge.to_string()] {
            let named = format!("App {}", bed.site.app);
            assert!(told.contains(&named), "{told}");
            is_discreet(&told);
        }
        is_discreet(&format!("{git:?} {forge:?}"));
    }
    github.set_suspended(installation, false).await;
    bed.look().await.unwrap();
    bed.ask().await.unwrap();

    // A key that cannot be read, or is another's, is told by its name.
    let key = bed.folder.path().join("app.pem");
    std::fs::write(&key, "no key").unwrap();
    github.set_token_lifetime(HOUR).await;
    let told = bed.look().await.unwrap_err().to_string();
    assert!(told.contains("cannot be used"), "{told}");
    std::fs::write(&key, APP_KEY).unwrap();
    bed.look().await.unwrap();
}

/// What the program logs and prints while an App is let in, shut out and told wrong things.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_log_shows_a_token_or_the_key() {
    let bed = Bed::start().await;
    let (github, installation) = (&bed.site.github, bed.site.installation);
    for suspended in [false, true] {
        github.set_suspended(installation, suspended).await;
        let mut program = tokio::process::Command::from(towpath(bed.folder.path()));
        program
            .args(["--config", ".", "run", "--once", "-o", "json"])
            .current_dir(bed.folder.path())
            .env("TOWPATH_LOG", "trace")
            .kill_on_drop(true);
        let output = program.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.is_empty());
        is_discreet(&said);
        is_discreet(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(
            said.contains(&format!("App {}", bed.site.app)),
            suspended,
            "{said}"
        );
    }
}
