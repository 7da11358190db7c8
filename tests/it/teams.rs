//! Teams of a forge whose people let things move: from the forge into git with `towpath teams`, and from there on with
//! their signatures, as people meet it; the built binary against a simulated GitHub and real signatures.

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use towpath::demo::image::ImageSpec;
use towpath::demo::registry::{Access, DemoRegistry};

use crate::github::{Site, check_exchanges};

const REPOSITORY: &str = "acme/infra";

struct Bed {
    site: Site,
    registry: DemoRegistry,
    directory: TempDir,
}

impl Bed {
    /// An application whose QA takes tags, where a team lets things move.
    async fn start() -> Self {
        let site = Site::start().await;
        let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
        let image = ImageSpec::default().build();
        registry.show("acme/shop", "v1.0.0", &image).unwrap();
        let bed = Self {
            site,
            registry,
            directory: TempDir::new().unwrap(),
        };
        let image = format!("{}/acme/shop", bed.registry.address());
        let manifest = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: shop }}\nspec:\n  template:\n    spec:\n      containers: [{{ name: shop, image: {image}:v1.0.0 }}]\n"
        );
        let file = "kubernetes/shop.yaml";
        bed.site
            .commit("root", "master", None, file, &manifest)
            .await;
        let towpath = bed.key("towpath").await;
        let url = bed.site.github.clone_url(REPOSITORY);
        let host = bed.site.github.address();
        bed.write("qa/environment.yaml", &format!(
            "repository: {{ url: \"{url}\", branch: master, forge: github, credential: {{ env: TOKEN }} }}\nmanifests: [kubernetes]\ncluster: {{ simulated: {{}} }}\nfollow: {{ tags: \"*\" }}\nauthority:\n  - {{ who: towpath, key: {towpath}, may: [record] }}\n  - {{ team: acme/releasers, may: [resume] }}\n"
        ));
        bed.write("applications/shop.yaml", &format!(
            "applications:\n  - name: shop\n    images: [{{ repository: {image}, release-tag: \"{{tag}}\" }}]\n    environments: [qa]\n"
        ));
        bed.write("towpath.yaml", &format!(
            "cache: cache\nforges: {{ \"{host}\": {{ api: \"http://{host}\" }} }}\ncommit: {{ sign: {{ ssh: {{ file: home-towpath/key }} }} }}\n"
        ));
        bed
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.directory.path().join("config").join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Somebody's home: a key that git signs with. Its public half.
    async fn key(&self, who: &str) -> String {
        let home = self.path(&format!("home-{who}"));
        std::fs::create_dir_all(&home).unwrap();
        let key = home.join("key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", who, "-f"])
            .arg(&key)
            .output();
        assert!(made.await.unwrap().status.success());
        let config = format!(
            "[user]\n\tname = {who}\n\temail = {who}@example.com\n\tsigningkey = {}\n[gpg]\n\tformat = ssh\n",
            key.display()
        );
        std::fs::write(home.join(".gitconfig"), config).unwrap();
        let public = std::fs::read_to_string(home.join("key.pub")).unwrap();
        let words: Vec<&str> = public.split_whitespace().take(2).collect();
        words.join(" ")
    }

    async fn towpath(&self, who: &str, arguments: &[&str]) -> Output {
        let home = self.path(&format!("home-{who}"));
        let run = Command::new(env!("CARGO_BIN_EXE_towpath"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("TOKEN", self.site.token("towpath").expose())
            .arg("--config")
            .arg(self.directory.path().join("config"))
            .args(arguments)
            .kill_on_drop(true)
            .output();
        run.await.unwrap()
    }

    /// What is said on stdout and stderr, without what differs each time, and how it ends.
    async fn says(&self, who: &str, arguments: &[&str]) -> (String, i32) {
        let output = self.towpath(who, arguments).await;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        (text, output.status.code().unwrap())
    }
}

fn file(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_team_lets_things_move_once_git_says_who_is_in_it() {
    let bed = Bed::start().await;
    let (ann, bob) = (bed.key("ann").await, bed.key("bob").await);
    let github = &bed.site.github;
    github.add_user("bob").await;
    github
        .set_profile("ann", Some("ann@example.com"), &[&ann])
        .await;
    github
        .set_profile("bob", Some("bob@example.com"), &[&bob])
        .await;
    github.set_team("acme/releasers", &["ann"]).await;

    // Before the file is there nobody of the team counts, which is told.
    let (said, code) = bed.says("ann", &["check"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains(
            "`teams.yaml` does not list acme/releasers: nothing that its people sign counts"
        ),
        "{said}"
    );
    let (said, code) = bed
        .says("towpath", &["run", "--once", "--wait", "20s"])
        .await;
    assert_eq!(code, 0, "{said}");
    let (said, code) = bed
        .says("ann", &["hold", "shop", "qa", "--reason", "a look"])
        .await;
    assert_eq!(code, 0, "{said}");
    let (said, code) = bed.says("ann", &["resume", "shop", "qa"]).await;
    assert!(
        code == 1 && said.contains("which `authority` does not list"),
        "{said}"
    );

    // The forge says who they are; nothing is written unasked.
    let (said, code) = bed.says("ann", &["teams"]).await;
    assert_eq!(code, 5, "{said}");
    assert!(
        said.contains("! ann is in the team, and is not listed"),
        "{said}"
    );
    assert_eq!(file(&bed.path("teams.yaml")), "");
    let (said, code) = bed.says("ann", &["check", "--online"]).await;
    assert!(code == 0 && said.contains("warning team       acme/releasers: ann is in the team, and is not listed — `towpath teams --write`"), "{said}");
    let (said, code) = bed.says("ann", &["teams", "--write"]).await;
    assert!(
        code == 0 && said.ends_with("teams.yaml is written: commit it\n"),
        "{said}"
    );
    let written = file(&bed.path("teams.yaml"));
    assert!(
        written.contains("- who: ann@example.com\n    also:\n    - ") && written.contains(&ann),
        "{written}"
    );
    let (said, code) = bed.says("ann", &["teams", "--write"]).await;
    assert!(
        code == 0 && said.ends_with("teams.yaml says the same\n"),
        "{said}"
    );
    let (said, code) = bed.says("ann", &["teams", "-o", "json"]).await;
    let view: Value = serde_json::from_str(&said).unwrap();
    assert!(
        code == 0
            && view[0]["members"][0]["login"] == "ann"
            && view[0]["differences"] == Value::Array(vec![]),
        "{said}"
    );

    // What ann signs counts now; bob's does not, who is not in the team.
    let (said, code) = bed.says("bob", &["resume", "shop", "qa"]).await;
    assert!(
        code == 1 && said.contains("which `authority` does not list"),
        "{said}"
    );
    let (said, code) = bed.says("ann", &["resume", "shop", "qa"]).await;
    assert_eq!(code, 0, "{said}");
    let (said, code) = bed.says("towpath", &["status", "--exit-code"]).await;
    assert!(code == 0 && !said.contains("held"), "{said}");

    // bob takes ann's place: until that is written she counts still, which is an error.
    github.set_team("acme/releasers", &["bob"]).await;
    let (said, code) = bed.says("ann", &["check", "--online"]).await;
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("error   team       acme/releasers: ann is not in the team any more"),
        "{said}"
    );
    let (said, code) = bed.says("ann", &["teams", "--write"]).await;
    assert_eq!(code, 0, "{said}");
    let (said, code) = bed
        .says("bob", &["hold", "shop", "qa", "--reason", "a look"])
        .await;
    assert_eq!(code, 0, "{said}");
    let (said, code) = bed.says("ann", &["resume", "shop", "qa"]).await;
    assert!(
        code == 1 && said.contains("which `authority` does not list"),
        "{said}"
    );
    let (said, code) = bed.says("bob", &["resume", "shop", "qa"]).await;
    assert_eq!(code, 0, "{said}");

    // Somebody who shows another one's address is not let in under it, and the file stays as it was.
    let before = file(&bed.path("teams.yaml"));
    github
        .set_profile("ann", Some("bob@example.com"), &[&ann])
        .await;
    github.set_team("acme/releasers", &["ann", "bob"]).await;
    let (said, code) = bed.says("ann", &["teams", "--write"]).await;
    assert!(
        code == 1 && said.contains("bob@example.com is both ann and bob"),
        "{said}"
    );
    assert_eq!(file(&bed.path("teams.yaml")), before);
    let findings = check_exchanges(&github.take_exchanges());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}
