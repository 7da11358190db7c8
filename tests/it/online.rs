//! `towpath check --online` as people and scripts meet it: the built binary, against a simulated GitHub, a
//! registry and a directory that is a repository. What it says of each rule stands with the judge's own tests.

use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;
use towpath::demo::github::{Protection, RequiredReviews, Role};
use towpath::demo::image::ImageSpec;
use towpath::demo::registry::{Access, DemoRegistry};
use towpath::secret::Secret;

use crate::github::{Site, check_exchanges};

const REPOSITORY: &str = "acme/infra";

struct Bed {
    site: Site,
    registry: DemoRegistry,
    directory: TempDir,
}

impl Bed {
    /// One application, whose QA takes tags from `qa`, and whose production is `master` behind a gate.
    async fn start() -> Self {
        let site = Site::start().await;
        site.commit("root", "qa", Some("master"), "qa.txt", "1\n")
            .await;
        let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
        let image = ImageSpec::default().build();
        registry.show("acme/shop", "v1.0.0", &image).unwrap();
        let directory = TempDir::new().unwrap();
        let bed = Self {
            site,
            registry,
            directory,
        };
        let host = bed.site.github.address().to_string();
        let url = bed.site.github.clone_url(REPOSITORY);
        let infra = |branch: &str| {
            format!(
                "repository: {{ url: \"{url}\", branch: {branch}, forge: github, credential: {{ env: TOKEN }} }}\nmanifests: [kubernetes]\ncluster: {{ simulated: {{}} }}\n"
            )
        };
        let image = format!("{}/acme/shop", bed.registry.address());
        let scans = format!("http://{}/scans/{{digest}}", bed.registry.address());
        let evidence = format!(
            "evidence: [{{ rule: scan, from: {{ get: \"{scans}\" }} }}, {{ rule: lighthouse, from: {{ check: lighthouse }} }}]\n"
        );
        for (file, text) in [
            (
                "qa/environment.yaml",
                infra("qa") + "follow: { tags: \">=1.0.0\" }\n",
            ),
            (
                "production/environment.yaml",
                infra("master") + "follow: { environment: qa }\ngate: pull-request\n" + &evidence,
            ),
            (
                "applications/shop.yaml",
                format!(
                    "applications:\n  - name: shop\n    source: {{ url: \"{url}\", credential: {{ env: TOKEN }} }}\n    images: [{{ repository: {image}, release-tag: \"{{tag}}\" }}]\n    environments: [qa, production]\n"
                ),
            ),
            (
                "towpath.yaml",
                format!(
                    "cache: cache\noutward: {{ allow: [loopback] }}\nforges: {{ \"{host}\": {{ api: \"http://{host}\" }} }}\nwebhooks: {{ github: {{ secrets: [{{ env: HOOK }}] }} }}\n"
                ),
            ),
        ] {
            let path = bed.directory.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        bed
    }

    async fn check(&self, token: &Secret, more: &[&str]) -> Output {
        let mut towpath = self.towpath(token);
        towpath.args(["check", "--online"]).args(more);
        towpath.output().await.unwrap()
    }

    fn towpath(&self, token: &Secret) -> tokio::process::Command {
        let mut towpath = tokio::process::Command::new(env!("CARGO_BIN_EXE_towpath"));
        towpath
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.directory.path())
            .env("TOKEN", token.expose())
            .env("HOOK", "a webhook's secret")
            .arg("--config")
            .arg(self.directory.path())
            .kill_on_drop(true);
        towpath
    }

    async fn git(&self, directory: &str, arguments: &[&str]) -> Result<String, String> {
        let output = tokio::process::Command::new("git")
            .current_dir(self.directory.path().join(directory))
            .args(["-c", "user.name=root", "-c", "user.email=root@example.com"])
            .args(arguments)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        match output.status.success() {
            true => Ok(text),
            false => Err(text),
        }
    }

    /// What is said to one of the people: level, kind and words, and how it ends.
    async fn said(&self, login: &str) -> (Vec<String>, i32) {
        let output = self.check(self.site.token(login), &[]).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let host = self.site.github.address().to_string();
        let registry = self.registry.address().to_string();
        let text = text.replace(&host, "FORGE").replace(&registry, "REGISTRY");
        let is_said = |line: &&str| {
            let levels = ["ok ", "unknown ", "warning ", "error "];
            levels.iter().any(|level| line.starts_with(level))
        };
        let lines = text.lines().filter(is_said).map(str::to_owned).collect();
        (lines, output.status.code().unwrap())
    }

    async fn protect(&self, branch: &str, approvals: usize) {
        let protection = Protection {
            enforce_admins: Some(true),
            required_pull_request_reviews: Some(RequiredReviews {
                required_approving_review_count: approvals,
                ..RequiredReviews::default()
            }),
            ..Protection::default()
        };
        let github = &self.site.github;
        github.protect(REPOSITORY, branch, Some(protection)).await;
    }
}

fn has(lines: &[String], level: &str, part: &str) -> bool {
    lines
        .iter()
        .any(|it| it.starts_with(level) && it.contains(part))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_that_does_not_hold_is_an_error_and_one_that_holds_is_none() {
    let bed = Bed::start().await;
    let (lines, code) = bed.said("towpath").await;
    assert_eq!(code, 1, "{lines:#?}");
    assert!(
        has(&lines, "error", "`master`: the gate does not hold"),
        "{lines:#?}"
    );
    for (level, part) in [
        (
            "ok",
            "repository http://FORGE/acme/infra.git: readable, writable",
        ),
        (
            "ok",
            "Towpath may write requests and statuses there as towpath",
        ),
        ("ok", "`qa`: lets Towpath push"),
        ("ok", "registry   REGISTRY/acme/shop: 1 tag"),
        ("ok", "evidence   127.0.0.1: answers"),
        (
            "ok",
            "evidence   `lighthouse` on FORGE/acme/infra: may be read",
        ),
        ("ok", "cluster    production: simulated"),
        ("ok", "webhook    github: can be checked"),
        ("unknown", "told to administrators alone"),
    ] {
        assert!(has(&lines, level, part), "{part}: {lines:#?}");
    }
    // One that we administer and that binds administrators holds; that we could lift it is told.
    bed.protect("master", 1).await;
    let github = &bed.site.github;
    github
        .set_role(REPOSITORY, "towpath", Some(Role::Admin))
        .await;
    let address = "https://towpath.example.com/hooks/github";
    github
        .add_hook(REPOSITORY, address, None, &["push", "pull_request"])
        .await;
    let (lines, code) = bed.said("towpath").await;
    assert_eq!(code, 0, "{lines:#?}");
    for (level, part) in [
        ("ok", "asks for pull requests and one approval"),
        ("warning", "Towpath administers the repository"),
        ("ok", "tells us of news"),
    ] {
        assert!(has(&lines, level, part), "{part}: {lines:#?}");
    }
    // What protects the other branch is in our way.
    bed.protect("qa", 0).await;
    let (lines, code) = bed.said("towpath").await;
    assert_eq!(code, 1);
    assert!(
        has(
            &lines,
            "error",
            "`qa`: branch protection asks for pull requests"
        ),
        "{lines:#?}"
    );
    let findings = check_exchanges(&github.take_exchanges());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_told_and_nothing_is_written() {
    let bed = Bed::start().await;
    let before = refs(&bed).await;
    bed.site.github.take_exchanges();
    let (lines, code) = bed.said("rita").await;
    assert_eq!(code, 1);
    for (level, part) in [
        ("ok", "acme/infra.git: readable"),
        ("error", "it may not be written"),
        ("error", "may not write requests there as rita"),
    ] {
        assert!(has(&lines, level, part), "{part}: {lines:#?}");
    }
    let output = bed.check(&Secret::new("ghp_nobody"), &["-o", "json"]).await;
    assert_eq!(output.status.code(), Some(1));
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(view["ok"], json!(false));
    let online = view["online"].as_array().unwrap();
    let failed = |kind: &str| {
        let mut of_kind = online.iter().filter(|it| it["kind"] == kind);
        of_kind.any(|it| it["level"] == "error")
    };
    assert!(
        failed("repository") && failed("forge") && !failed("registry"),
        "{view:#}"
    );
    let said = String::from_utf8(output.stderr).unwrap() + &view.to_string();
    assert!(!said.contains("ghp_nobody"), "{said}");
    assert!(said.contains("asking 10 questions"), "{said}");
    assert_eq!(refs(&bed).await, before);
    let exchanges = bed.site.github.take_exchanges();
    let writes = exchanges
        .iter()
        .filter(|it| it.method != "GET" && it.path != "/graphql");
    assert_eq!(writes.count(), 0);
}

/// A branch that takes signed commits alone: said before, refused to one who does not sign, and taken from one
/// who does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_branch_that_wants_signed_commits_gets_them() {
    let bed = Bed::start().await;
    let token = bed.site.token("root").expose();
    let host = bed.site.github.address();
    let clone = format!("http://x-access-token:{token}@{host}/{REPOSITORY}.git");
    bed.git(".", &["clone", "-q", "-b", "qa", &clone, "clone"])
        .await
        .unwrap();
    let file = bed.directory.path().join("clone/kubernetes/shop.yaml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    let image = format!("{}/acme/shop:v1.0.0", bed.registry.address());
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: shop }}\nspec:\n  template:\n    spec:\n      containers: [{{ name: shop, image: {image} }}]\n"
    );
    std::fs::write(file, manifest).unwrap();
    bed.git("clone", &["add", "."]).await.unwrap();
    bed.git("clone", &["commit", "-q", "-m", "the shop"])
        .await
        .unwrap();
    bed.git("clone", &["push", "-q", "origin", "HEAD:qa", "HEAD:master"])
        .await
        .unwrap();
    let protection = Protection {
        required_signatures: true,
        ..Protection::default()
    };
    bed.site
        .github
        .protect(REPOSITORY, "qa", Some(protection))
        .await;
    let newer = ImageSpec {
        content: "newer".to_owned(),
        ..ImageSpec::default()
    };
    bed.registry
        .show("acme/shop", "v1.1.0", &newer.build())
        .unwrap();

    let (lines, _) = bed.said("towpath").await;
    let said = "`qa`: branch protection asks for signed commits: Towpath's pushes are refused";
    assert!(has(&lines, "error", said), "{lines:#?}");
    let towpath = bed.site.token("towpath");
    let run = ["run", "--once", "--wait", "20s", "--only", "qa"];
    let refused = bed.towpath(towpath).args(run).output().await.unwrap();
    let refused = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(
        refused.contains("Commits must have verified signatures"),
        "{refused}"
    );

    let keygen = [
        "-q", "-t", "ed25519", "-N", "", "-C", "towpath", "-f", "key",
    ];
    let mut make = tokio::process::Command::new("ssh-keygen");
    let made = make.current_dir(bed.directory.path()).args(keygen).output();
    assert!(made.await.unwrap().status.success());
    let settings = bed.directory.path().join("towpath.yaml");
    let text = std::fs::read_to_string(&settings).unwrap();
    let text = text + "commit: { sign: { ssh: { env: SIGNING_KEY } } }\n";
    std::fs::write(&settings, text).unwrap();
    let key = std::fs::read_to_string(bed.directory.path().join("key")).unwrap();
    let mut signing = bed.towpath(towpath);
    let done = signing
        .env("SIGNING_KEY", &key)
        .args(run)
        .output()
        .await
        .unwrap();
    let said = format!("{done:?}");
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(!said.contains("PRIVATE KEY"), "{said}");
    let public = std::fs::read_to_string(bed.directory.path().join("key.pub")).unwrap();
    std::fs::write(
        bed.directory.path().join("signers"),
        format!("towpath@localhost {public}"),
    )
    .unwrap();
    bed.git("clone", &["fetch", "-q", "origin", "qa"])
        .await
        .unwrap();
    let verify = [
        "-c",
        "gpg.ssh.allowedSignersFile=../signers",
        "verify-commit",
        "FETCH_HEAD",
    ];
    let verified = bed.git("clone", &verify).await.unwrap();
    assert!(
        verified.contains("Good \"git\" signature for towpath@localhost"),
        "{verified}"
    );
    let shown = bed
        .git("clone", &["show", "--format=%an %s", "FETCH_HEAD"])
        .await
        .unwrap();
    assert!(
        shown.starts_with("Towpath qa: deploy shop v1.1.0"),
        "{shown}"
    );
}

async fn refs(bed: &Bed) -> String {
    let output = tokio::process::Command::new("git")
        .arg("--git-dir")
        .arg(bed.site.github.path(REPOSITORY))
        .arg("show-ref")
        .output()
        .await
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}
