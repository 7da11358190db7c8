//! A run where everything goes well, with every secret in use: none of them is in what is written then (commits,
//! records, tags, requests, messages), said, kept, or seen in the list of processes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::process::Command;
use towpath::demo::image::ImageSpec;
use towpath::demo::registry::{Access, DemoRegistry, User};
use towpath::secret::Secret;

use super::{forms, keep};
use crate::github::Site;

const REPOSITORY: &str = "acme/infra";
const PASSWORD: &str = "registry-5ecret+/=m?1Kd";
const NOTIFY: &str = "notify-5ecret+/=n?2Lf";
const DATA: &str = "kubernetes-5ecret+/=o?3Mg";

/// How often it is looked which processes there are: a signature takes some milliseconds.
const LOOK: Duration = Duration::from_micros(500);

struct Place {
    folder: TempDir,
    site: Site,
    registry: DemoRegistry,
}

impl Place {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// QA takes tags, production is proposed; every credential is asked for, and every commit is signed.
    async fn start(told: std::net::SocketAddr) -> Self {
        let site = Site::start().await;
        let user = User {
            name: "ci".to_owned(),
            password: Secret::new(PASSWORD),
            forbidden: false,
        };
        let registry = DemoRegistry::start(Access::Basic(user), None)
            .await
            .unwrap();
        let place = Self {
            folder: TempDir::new().unwrap(),
            site,
            registry,
        };
        place.show("v1.0.0");
        let image = format!("{}/acme/shop", place.registry.address());
        let manifests = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: shop }}\nspec:\n  template:\n    spec:\n      containers: [{{ name: shop, image: {image}:v1.0.0 }}]\n---\napiVersion: v1\nkind: Secret\nmetadata: {{ name: db }}\nstringData: {{ password: \"{DATA}\" }}\n"
        );
        let file = "kubernetes/shop.yaml";
        let site = &place.site;
        site.commit("root", "master", None, file, &manifests).await;
        site.commit("root", "qa", Some("master"), "qa.txt", "1\n")
            .await;
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "towpath", "-f"])
            .arg(place.path("signing"))
            .output();
        assert!(made.await.unwrap().status.success());
        place.write("password", PASSWORD);
        place.write("notify", NOTIFY);
        let url = site.github.clone_url(REPOSITORY);
        let host = site.github.address();
        let infra = |branch: &str| {
            format!(
                "repository: {{ url: \"{url}\", branch: {branch}, forge: github, credential: {{ env: TOKEN }} }}\nmanifests: [kubernetes]\ncluster: {{ simulated: {{ ready-after: 0s }} }}\n"
            )
        };
        let own = infra("qa") + "follow: { tags: \"*\" }\n";
        place.write("config/qa/environment.yaml", &own);
        let own = infra("master")
            + "follow: { environment: qa }\ngate: pull-request\nrequest: { diff: full }\n";
        place.write("config/production/environment.yaml", &own);
        place.write("config/applications/shop.yaml", &format!(
            "applications:\n  - name: shop\n    source: {{ url: \"{url}\", credential: {{ env: TOKEN }} }}\n    images: [{{ repository: {image}, release-tag: \"{{tag}}\" }}]\n    environments: [qa, production]\n"
        ));
        place.write("config/towpath.yaml", &format!(
            "cache: ../cache\noutward: {{ allow: [loopback] }}\nregistries: {{ \"{}\": {{ credential: {{ file: ../password, user: ci }} }} }}\nforges: {{ \"{host}\": {{ api: \"http://{host}\", deployments: true }} }}\ncommit: {{ sign: {{ ssh: {{ file: ../signing }} }} }}\nnotifications: [{{ name: all, webhook: {{ url: \"http://{told}/hook\", secret: {{ file: ../notify }} }}, on: [proposed, healthy] }}]\n",
            place.registry.address()
        ));
        place
    }

    fn show(&self, tag: &str) {
        let spec = ImageSpec {
            content: tag.to_owned(),
            ..ImageSpec::default()
        };
        self.registry.show("acme/shop", tag, &spec.build()).unwrap();
    }

    async fn run(&self) -> Output {
        let run = Command::new(env!("CARGO_BIN_EXE_towpath"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TOKEN", self.site.token("towpath").expose())
            .env("TOWPATH_LOG", "trace")
            .arg("--config")
            .arg(self.path("config"))
            .args(["run", "--once", "--wait", "30s", "-o", "json"])
            .kill_on_drop(true)
            .output();
        run.await.unwrap()
    }

    /// Every object of the repository as git shows it, but for those that were there before.
    async fn objects(&self, before: &BTreeSet<String>) -> (BTreeSet<String>, Vec<u8>) {
        let path = self.site.github.path(REPOSITORY);
        let git = async |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.arg("--git-dir").arg(&path).args(arguments);
            git.output().await.unwrap().stdout
        };
        let check = "--batch-check=%(objectname) %(objecttype)";
        let all = git(&["cat-file", "--batch-all-objects", check]).await;
        let all = String::from_utf8(all).unwrap();
        let ids: BTreeSet<String> = all.lines().map(str::to_owned).collect();
        let mut texts = Vec::new();
        for line in ids.difference(before) {
            let (id, kind) = line.split_once(' ').unwrap();
            texts.extend(git(&["cat-file", kind, id]).await);
            texts.push(b'\n');
        }
        (ids, texts)
    }
}

/// Takes messages, and keeps them whole.
async fn receiver(kept: Arc<std::sync::Mutex<Vec<u8>>>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut part = vec![0; 64 << 10];
            // Requests are small, and wait for their answer.
            let read = stream.read(&mut part).await.unwrap_or(0);
            kept.lock().unwrap().extend_from_slice(&part[..read]);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            drop(stream.write_all(answer).await);
        }
    });
    address
}

/// The command lines of all processes, until told to end.
fn processes(end: &AtomicBool) -> Vec<u8> {
    let mut seen = BTreeSet::new();
    while !end.load(Ordering::Relaxed) {
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let is_process = entry.file_name().to_string_lossy().parse::<u32>().is_ok();
            if let (true, Ok(line)) = (is_process, std::fs::read(entry.path().join("cmdline"))) {
                seen.insert(line);
            }
        }
        std::thread::sleep(LOOK);
    }
    seen.into_iter().collect::<Vec<_>>().join(&b'\n')
}

/// Where one of these stands, in any of its forms.
fn leaks(place: &str, bytes: &[u8], secrets: &[(&str, &str)]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let stands = |secret: &str| {
        forms(secret)
            .iter()
            .any(|form| text.contains(form.as_str()))
    };
    let found = secrets.iter().filter(|(_, secret)| stands(secret));
    found
        .map(|(name, _)| format!("{place}: the {name}"))
        .collect()
}

fn has(bytes: &[u8], part: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(part)
}

/// The middle of a private key: its end is filled up alike in all of them.
fn middle(key: &Path) -> String {
    let text = std::fs::read_to_string(key).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len() / 2].to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_written_down_while_all_goes_well() {
    let messages = Arc::default();
    let told = receiver(Arc::clone(&messages)).await;
    let place = Place::start(told).await;
    let (before, _) = place.objects(&BTreeSet::new()).await;
    let end = Arc::new(AtomicBool::new(false));
    let looking = Arc::clone(&end);
    let looks = tokio::task::spawn_blocking(move || processes(&looking));
    let first = place.run().await;
    place.show("v1.1.0");
    let second = place.run().await;
    end.store(true, Ordering::Relaxed);
    let listed = looks.await.unwrap();

    let (_, objects) = place.objects(&before).await;
    let exchanges = place.site.github.take_exchanges();
    let asked = exchanges.iter().filter(|it| it.method != "GET");
    let requests: String = asked
        .map(|it| format!("{} {}\n", it.path, it.request))
        .collect();
    let messages = messages.lock().unwrap().clone();
    // That all of it took place, or there is nothing to find.
    let said = [second.stdout.clone(), second.stderr.clone()].concat();
    assert!(
        first.status.success() && second.status.success(),
        "{}",
        String::from_utf8_lossy(&said)
    );
    for (place, bytes, part) in [
        ("objects", &objects, "-----BEGIN SSH SIGNATURE-----"),
        ("objects", &objects, "\"record\":\"deployment\""),
        ("objects", &objects, "Successfully Deployed"),
        ("requests", &requests.clone().into_bytes(), "towpath:"),
        ("messages", &messages, "v1.1.0"),
        ("the list of processes", &listed, "ssh-keygen\0-Y\0sign"),
    ] {
        assert!(has(bytes, part), "{place} do not tell of {part}");
    }

    let key = middle(&place.path("signing"));
    let token = place.site.token("towpath").expose();
    let ours = [
        ("registry's password", PASSWORD),
        ("token", token),
        ("signing key", key.as_str()),
        ("notification key", NOTIFY),
    ];
    // What a Secret holds stands in the infra repository, where people put it, and in the simulated cluster's memory.
    let all = [&ours[..], &[("Secret's data", DATA)]].concat();
    let mut found = Vec::new();
    for (name, output) in [("first", first), ("second", second)] {
        found.extend(leaks(
            &format!("stdout of the {name}"),
            &output.stdout,
            &all,
        ));
        found.extend(leaks(
            &format!("stderr of the {name}"),
            &output.stderr,
            &all,
        ));
    }
    found.extend(leaks("the list of processes", &listed, &all));
    found.extend(leaks("the requests", requests.as_bytes(), &all));
    found.extend(leaks("the messages", &messages, &all));
    let rewritten = String::from_utf8_lossy(&objects)
        .replace(&format!("stringData: {{ password: \"{DATA}\" }}"), "");
    found.extend(leaks("the objects", rewritten.as_bytes(), &all));
    let mut cache = Vec::new();
    keep(&place.path("cache"), &mut cache);
    assert!(!cache.is_empty());
    for (path, bytes) in cache {
        found.extend(leaks(&path, &bytes, &ours));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
