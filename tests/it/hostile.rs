//! Whatever others wrote, nothing of it acts on the terminal of who asks: the built binary, told to colour what it
//! says, with texts that steer terminals and turn text around wherever somebody else may write.

use std::process::Output;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use towpath::clock;
use towpath::demo::git_server::{GitServer, commit_first};
use towpath::demo::image::ImageSpec;
use towpath::demo::registry::{Access, DemoRegistry};
use towpath::git::Signature;

/// A title that is set, a screen that is cleared, hidden text, a link, text turned around and text without room.
const EVIL: &str = "evil\u{1b}]0;evil\u{7}\u{1b}[2J\u{1b}[8mevil\u{1b}]8;;https://evil\u{1b}\\\u{9b}2J\u{202e}live\u{200b}\u{e0041}\r";

struct Place {
    folder: TempDir,
}

impl Place {
    async fn towpath(&self, arguments: &[&str]) -> Output {
        tokio::process::Command::new(env!("CARGO_BIN_EXE_towpath"))
            .arg("--config")
            .arg(self.folder.path().join("config"))
            .args(["--color", "always"])
            .args(arguments)
            .env("HOME", self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "Ann \u{202e}live")
            .env("GIT_AUTHOR_EMAIL", "ann@example.com")
            .kill_on_drop(true)
            .output()
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn nothing_that_others_wrote_acts_on_a_terminal() {
    let place = Place {
        folder: TempDir::new().unwrap(),
    };
    let root = place.folder.path();
    let git = GitServer::start(&root.join("git")).await.unwrap();
    let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
    let labels = ["revision", "source", "version", "ref.name", "title"];
    for number in 0..2_i64 {
        let labels = labels.map(|it| (format!("org.opencontainers.image.{it}"), EVIL.to_owned()));
        let image = ImageSpec {
            content: number.to_string(),
            created: Some(clock::now() - jiff::SignedDuration::from_mins(2 - number)),
            labels: labels.into(),
            ..ImageSpec::default()
        };
        let tag = format!("v1.{number}.0");
        registry.show("acme/shop", &tag, &image.build()).unwrap();
    }
    let bare = git.create("qa").await.unwrap();
    let image = format!("{}/acme/shop", registry.address());
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{ name: shop, annotations: {{ note: '{}' }} }}\nspec:\n  \
         selector: {{ matchLabels: {{ app: shop }} }}\n  template:\n    metadata: {{ labels: {{ app: shop }} }}\n    \
         spec: {{ containers: [{{ name: web, image: \"{image}:v1.0.0\" }}] }}\n",
        "evil\u{202e}"
    );
    let by = Signature {
        name: "Ann \u{202e}live".to_owned(),
        email: "ann@example.com".to_owned(),
        time: clock::now(),
    };
    let files = vec![("shop/web.yaml".to_owned(), manifest.into_bytes())];
    commit_first(&bare, files, EVIL, &by).await.unwrap();
    for (file, text) in [
        (
            "config/qa/environment.yaml",
            format!(
                "repository: {{ url: '{}', branch: master }}\nmanifests: [shop]\ncluster: {{ simulated: {{ ready-after: 0s }} }}\nfollow: {{ tags: '>=1.0.0' }}\n",
                git.url("qa")
            ),
        ),
        (
            "config/applications/shop.yaml",
            format!(
                "applications:\n  - name: shop\n    images: [{{ repository: {image}, release-tag: '{{tag}}' }}]\n    environments: [qa]\n"
            ),
        ),
        ("config/towpath.yaml", "cache: ../cache\n".to_owned()),
    ] {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let run = place.towpath(&["run", "--once", "--wait", "30s"]).await;
    assert!(run.status.success(), "{run:?}");
    let held = place
        .towpath(&["hold", "shop", "qa", "--reason", EVIL])
        .await;
    let mut told = String::new();
    for arguments in [
        &["status"][..],
        &["status", "-o", "json"],
        &["explain", "shop", "qa"],
        &["explain", "shop", "qa", "-o", "yaml"],
        &["history", "shop"],
        &["history", "shop", "-o", "json"],
        &["releases", "shop"],
        &["show", "shop", "v1.1.0"],
        &["show", "shop", EVIL],
        &["records", "verify"],
        &["diff", "shop", "qa"],
    ] {
        let output = place.towpath(arguments).await;
        for said in [&output.stdout, &output.stderr, &held.stdout, &held.stderr] {
            let said = String::from_utf8(said.clone()).unwrap();
            assert_eq!(acting(&said), None, "{arguments:?}: {said:?}");
            told += &said;
        }
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!said.contains("Usage"), "{arguments:?}: {said}");
        if arguments.contains(&"json") {
            let read = serde_json::from_slice::<serde_json::Value>(&output.stdout);
            assert!(read.is_ok(), "{arguments:?}: {read:?}");
        }
    }
    assert!(told.contains("evil"), "nothing of it was told: {told}");
}

/// What a server says that wants to harm whoever reads it: to a git client, of an image's tags, to whoever asks a forge
/// or anything else. The rest of a status line may hold bytes that steer terminals, too.
fn hostile(path: &str) -> Vec<u8> {
    let (status, kind, body) = if path.contains("info/refs") {
        let line = format!("ERR {EVIL}\n");
        let advertised = format!("{:04x}{line}", line.len() + 4);
        let kind = "application/x-git-upload-pack-advertisement";
        (
            "200 OK",
            kind,
            format!("001e# service=git-upload-pack\n0000{advertised}"),
        )
    } else if path.contains("tags/list") {
        let tags =
            serde_json::json!({ "name": EVIL, "tags": [EVIL, "v1.0.0", format!("v1.0.1{EVIL}")] });
        ("200 OK", "application/json", tags.to_string())
    } else {
        let said = serde_json::json!({ "message": EVIL, "errors": [{ "code": EVIL, "message": EVIL, "detail": EVIL }] });
        ("403 no\u{9b}2J", "application/json", said.to_string())
    };
    let mut answer = b"HTTP/1.1 ".to_vec();
    answer.extend(status.chars().map(|it| it as u8));
    let rest = format!(
        "\r\ncontent-type: {kind}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    answer.extend(rest.bytes());
    answer
}

/// Answers everybody so, until the test ends.
async fn hostile_server() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 16 << 10];
                let mut length = 0;
                while length < head.len() && !head[..length].windows(4).any(|it| it == b"\r\n\r\n")
                {
                    match stream.read(&mut head[length..]).await {
                        Ok(0) | Err(_) => return,
                        Ok(more) => length += more,
                    }
                }
                let text = String::from_utf8_lossy(&head[..length]).into_owned();
                let path = text.split_whitespace().nth(1).unwrap_or_default();
                drop(stream.write_all(&hostile(path)).await);
            });
        }
    });
    address
}

#[tokio::test]
async fn nothing_that_servers_say_acts_on_a_terminal() {
    let place = Place {
        folder: TempDir::new().unwrap(),
    };
    let root = place.folder.path();
    let server = hostile_server().await;
    let signed = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIASefP9uCCoNNczQ7fJSVP9+k1kwsD6y7pBGje10X3Vw";
    for (file, text) in [
        (
            "config/qa/environment.yaml",
            format!(
                "repository: {{ url: 'http://{server}/acme/infra.git', branch: main, forge: gitea, credential: {{ file: token }} }}\nmanifests: [shop]\ncluster: {{ simulated: {{}} }}\nfollow: {{ tags: '>=1.0.0' }}\ngate: pull-request\nauthority: [{{ who: towpath, key: {signed}, may: [record] }}, {{ team: acme/releasers }}]\n"
            ),
        ),
        (
            "config/applications/shop.yaml",
            format!(
                "applications:\n  - name: shop\n    images: [{{ repository: {server}/acme/shop, release-tag: '{{tag}}' }}]\n    environments: [qa]\n"
            ),
        ),
        (
            "config/towpath.yaml",
            format!(
                "cache: ../cache\nforges: {{ '{server}': {{ api: 'http://{server}/api/v1' }} }}\ncommit: {{ sign: {{ ssh: {{ file: key }} }} }}\n"
            ),
        ),
        ("config/token", "a token".to_owned()),
    ] {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let mut told = String::new();
    for arguments in [
        &["status"][..],
        &["status", "-vv", "-o", "json"],
        &["explain", "shop", "qa"],
        &["releases", "shop"],
        &["plan"],
        &["teams"],
        &["hold", "shop", "qa", "--reason", "a look"],
        &["check", "--online"],
        &["run", "--once", "-vv"],
    ] {
        let output = place.towpath(arguments).await;
        for said in [&output.stdout, &output.stderr] {
            let said = String::from_utf8(said.clone()).unwrap();
            assert_eq!(acting(&said), None, "{arguments:?}: {said:?}");
            told += &said;
        }
    }
    assert!(
        told.matches("evil").count() > 8,
        "little of it was told: {told}"
    );
}

/// The first thing in a text that acts on a terminal, but for a colour.
fn acting(text: &str) -> Option<&str> {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| {
        (c.is_control() && !"\n\t".contains(c))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    }) {
        let from = &rest[at..];
        let codes = from.strip_prefix("\u{1b}[");
        let Some((codes, after)) = codes.and_then(|it| it.split_once('m')) else {
            return Some(from);
        };
        let shows = |it: &str| it.is_empty() || it.parse::<u8>().is_ok_and(|it| it < 5 || (30..38).contains(&it) || (90..98).contains(&it));
        if !codes.split(';').all(shows) {
            return Some(from);
        }
        rest = after;
    }
    None
}
