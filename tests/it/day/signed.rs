//! Where the day's environments list keys: the configuration that does, whose keys there are, and what somebody attaches
//! to an image.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::{Day, EVIDENCE, SIGNATURE, attach_to, fs, image};

/// What production asks for there, and whose word counts.
const PRODUCTION: &str = "evidence: [{ rule: acceptance }]
authority:
  - { who: towpath, key: TOWPATH, may: [record] }
  - { who: bob@example.com, key: BOB, may: [resume, roll-back] }
  - { who: ann@example.com, key: ANN, may: [evidence] }
";

/// Whom it tells of news, and what Towpath signs with.
pub(super) const SETTINGS: &str = "commit: { sign: { ssh: { file: ../towpath-signing } } }
outward: { allow: [loopback] }
notifications: [{ name: ops, webhook: { url: { file: ../hook } } }]
";

/// Of the keys that tests sign with.
fn key(name: &str) -> PathBuf {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/keys");
    keys.join(name)
}

impl Day {
    /// What the configuration `keyed` adds to production, and whom it tells of news; a git configuration for each person.
    pub(super) async fn keys(&self) -> String {
        let mut production = PRODUCTION.to_owned();
        for name in ["towpath", "bob", "ann"] {
            let public = fs::read_to_string(key(&format!("{name}.pub"))).unwrap();
            production = production.replace(&name.to_uppercase(), public.trim());
            let own = self.path(&format!("{name}-signing"));
            fs::copy(key(name), &own).unwrap();
            fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).unwrap();
            let git = format!(
                "[gpg]\nformat = ssh\n[user]\nsigningkey = {}\n",
                own.display()
            );
            self.write(&format!("{name}.gitconfig"), &git);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.write("hook", &format!("http://{address}/news"));
        let taking = axum::Router::new().route("/news", post(|| async { StatusCode::OK }));
        // It ends with the test's runtime.
        tokio::spawn(async move { axum::serve(listener, taking).await });
        production
    }

    /// `v1.6.0 acceptance pass critical=0 by ann`: each is a minute newer than the one before.
    pub(super) async fn attach(&self, words: &str) -> String {
        let (finding, by) = words.split_once(" by ").unwrap();
        let mut finding = finding.split(' ');
        let mut next = || finding.next().unwrap();
        let (tag, name, result) = (next(), next(), next());
        let scores: Map<String, Value> = finding
            .map(|it| {
                let (name, score) = it.split_once('=').unwrap();
                (name.to_owned(), score.parse::<f64>().unwrap().into())
            })
            .collect();
        let digest = image("shop", tag, self.at(150)).digest();
        let attached = self
            .attached
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let document = json!({
            "name": name, "digest": digest.to_string(), "result": result, "scores": scores,
            "at": self.at(151 + attached).to_string(),
        });
        let document = document.to_string();
        let signature = match by {
            "nobody" => None,
            name => Some(self.signed(name, &document).await),
        };
        let mut parts = vec![(EVIDENCE, document.as_str())];
        parts.extend(signature.as_deref().map(|it| (SIGNATURE, it)));
        attach_to(&self.registry.url(), "acme/shop", digest, EVIDENCE, &parts).await;
        format!("$ attach {words}\n")
    }

    /// As CI signs it.
    async fn signed(&self, name: &str, document: &str) -> String {
        let own = self.path("signs-evidence");
        fs::copy(key(name), &own).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o600)).unwrap();
        let file = self.path("evidence.json");
        fs::write(&file, document).unwrap();
        let signature = self.path("evidence.json.sig");
        drop(fs::remove_file(&signature));
        let signing = tokio::process::Command::new("ssh-keygen")
            .args(["-Y", "sign", "-q", "-n", "towpath-evidence", "-f"])
            .args([&own, &file])
            .kill_on_drop(true)
            .output();
        let signing = signing.await.unwrap();
        assert!(signing.status.success(), "{signing:?}");
        fs::read_to_string(signature).unwrap()
    }
}
