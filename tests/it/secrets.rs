//! I12: secrets planted wherever one can stand, servers that repeat what they are sent, and the built binary at its
//! most talkative: none of them is said on stdout, on stderr, in `-o json`, in metrics, or kept in the cache, neither
//! plainly nor in the forms in which it travels.
//!
//! What reads single secrets is covered beside it (`registry/access.rs`, `git/faults.rs`, `config.rs`); here the whole
//! is.

#![allow(
    clippy::disallowed_methods,
    reason = "the program is run as people run it"
)]

mod kept;

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::cli::towpath;

/// Each of them once, so that a leak names its place. `+/=` tell base64 and addresses apart.
const SECRETS: [(&str, &str); 12] = [
    ("registry password", "registry-5ecret+/=a?7Qx"),
    ("git password", "infra-5ecret+/=b?8Wy"),
    ("git token of the source", "source-5ecret+/=c?9Ez"),
    ("forge token", "forge-5ecret+/=d?1Ra"),
    ("webhook key", "webhook-5ecret+/=e?2Tb"),
    ("notification key", "notify-5ecret+/=f?3Yc"),
    ("notification address", "hook-address-5ecret-4Ud"),
    ("signing key", "signing-5ecret+/=h?5Ie"),
    ("App's private key", "app-key-5ecret+/=i?6Of"),
    ("cluster's token", "cluster-5ecret+/=j?7Pg"),
    ("proxy's password", "proxy-5ecret-8Ah"),
    ("Secret's data", "kubernetes-5ecret+/=l?9Sj"),
];

fn secret(name: &str) -> &'static str {
    SECRETS.iter().find(|(known, _)| *known == name).unwrap().1
}

/// How a server that knows the credential fails: the status, and what of the request it repeats in which form.
const FAILURES: [(&str, &str); 4] = [
    ("401 Unauthorized", "text/plain"),
    ("403 Forbidden", "application/json"),
    ("500 Internal Server Error", "text/plain"),
    ("307 Temporary Redirect", "text/html"),
];

/// What is run, each with a folder of its own.
const COMMANDS: [&str; 8] = [
    "check -o json",
    "check --online -vv",
    "plan -o json",
    "status -o json -vv",
    "explain -vv",
    "notify --test hook -vv",
    "notify --test chat -vv",
    "run --once -o json -vv",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_said_however_it_goes_wrong() {
    let failures = FAILURES.map(|(status, kind)| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serving = tokio::spawn(serve(listener, status, kind));
        let name = format!("{status} as {kind}");
        let told = tokio::task::spawn_blocking(move || all_said(&address))
            .await
            .unwrap();
        serving.abort();
        (name, told)
    });
    let mut leaks = Vec::new();
    for (failure, told) in futures_util::future::join_all(failures).await {
        assert!(told.len() > 8, "{failure}: too little was run");
        let all: usize = told.iter().map(|(_, bytes)| bytes.len()).sum();
        assert!(all > 4_000, "{failure}: {all} bytes say nothing");
        for (place, bytes) in told {
            leaks.extend(found(&bytes).map(|leak| format!("{failure}: {place}: {leak}")));
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

#[test]
fn what_is_looked_for_is_found() {
    let token = secret("git password");
    let pair = format!("towpath:{token}");
    let percent: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    for form in [
        token.to_owned(),
        percent,
        STANDARD_NO_PAD.encode(&pair),
        URL_SAFE_NO_PAD.encode(token),
    ] {
        assert_eq!(
            found(format!("before {form} after").as_bytes()).count(),
            1,
            "{form}"
        );
    }
    assert_eq!(found(b"nothing of it").count(), 0);
}

/// The secrets in these bytes.
fn found(bytes: &[u8]) -> impl Iterator<Item = String> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    SECRETS.into_iter().filter_map(move |(name, secret)| {
        let form = forms(secret)
            .into_iter()
            .find(|form| text.contains(form.as_str()))?;
        let at = text.find(&form)?;
        let line = text[..at].rfind('\n').map_or(0, |it| it + 1);
        let around: String = text[line..]
            .lines()
            .next()
            .unwrap_or_default()
            .chars()
            .take(400)
            .collect();
        Some(format!("the {name} as {form}: {around}"))
    })
}

/// Plain, percent-encoded, and what of it is in base64 wherever it stands in a longer text.
fn forms(secret: &str) -> Vec<String> {
    let percent = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let mut forms = vec![secret.to_owned(), percent];
    for before in 0..3 {
        let bytes = [&vec![0; before], secret.as_bytes()].concat();
        let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        forms.push(STANDARD_NO_PAD.encode(&bytes)[own.clone()].to_owned());
        forms.push(URL_SAFE_NO_PAD.encode(&bytes)[own].to_owned());
    }
    forms
}

/// Asks who is there first, and then fails, repeating all that it was sent.
async fn serve(listener: TcpListener, status: &'static str, kind: &'static str) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, status, kind));
    }
}

async fn answer(mut stream: TcpStream, status: &str, kind: &str) {
    let mut request = Vec::new();
    let mut part = [0; 8192];
    while !request.windows(4).any(|it| it == b"\r\n\r\n") && request.len() < 1 << 20 {
        match stream.read(&mut part).await {
            Ok(read) if read > 0 => request.extend_from_slice(&part[..read]),
            _ => return,
        }
    }
    let sent = String::from_utf8_lossy(&request).into_owned();
    let known = sent.to_lowercase().contains("authorization:") || sent.starts_with("CONNECT");
    let (status, more) = match known || sent.starts_with("POST /hook") {
        true => (
            status,
            format!("location: /{}?{}\r\n", "elsewhere", sent.lines().count()),
        ),
        false => (
            "401 Unauthorized",
            "www-authenticate: Basic realm=\"git\"\r\n".to_owned(),
        ),
    };
    let said = match kind {
        "application/json" => {
            let message = format!("you sent {sent}");
            serde_json::json!({ "message": message, "errors": [{ "code": "DENIED", "message": message }], "kind": "Status", "code": 403 }).to_string()
        }
        _ => format!("you sent {sent}"),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\n{more}content-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{said}",
        said.len()
    );
    drop(stream.write_all(answer.as_bytes()).await);
    drop(stream.shutdown().await);
}

/// All that the program says and keeps of these, by place.
fn all_said(server: &str) -> Vec<(String, Vec<u8>)> {
    let mut told = std::thread::scope(|scope| {
        let runs = COMMANDS.map(|arguments| scope.spawn(move || said_by(arguments, server)));
        runs.into_iter()
            .flat_map(|run| run.join().unwrap())
            .collect::<Vec<_>>()
    });
    let folder = tempfile::tempdir().unwrap();
    plant(&folder, server);
    told.push(("the metrics".to_owned(), metrics(folder.path())));
    keep(&folder.path().join("cache"), &mut told);
    told
}

fn said_by(arguments: &str, server: &str) -> Vec<(String, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    plant(&folder, server);
    let output = run(folder.path(), arguments);
    let mut told = vec![
        (format!("stdout of `{arguments}`"), output.stdout),
        (format!("stderr of `{arguments}`"), output.stderr),
    ];
    keep(&folder.path().join("cache"), &mut told);
    told
}

/// Writes every secret where it stands, and a configuration that names them.
fn plant(folder: &TempDir, server: &str) {
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("secrets/registry", secret("registry password"));
    write("secrets/infra", secret("git password"));
    write("secrets/webhook", secret("webhook key"));
    write("secrets/notify", secret("notification key"));
    let hook = format!("http://{server}/hook/{}", secret("notification address"));
    write("secrets/address", &hook);
    write(
        "secrets/signing",
        &format!(
            "-----BEGIN OPENSSH PRIVATE KEY-----\n{}\n-----END OPENSSH PRIVATE KEY-----\n",
            secret("signing key")
        ),
    );
    write(
        "secrets/app",
        &format!(
            "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n",
            secret("App's private key")
        ),
    );
    write(
        "secrets/kubeconfig",
        &format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{ name: c, cluster: {{ server: \"http://{server}\" }} }}, {{ name: t, cluster: {{ server: \"https://{server}\" }} }}]\nusers: [{{ name: u, user: {{ token: \"{}\" }} }}]\ncontexts: [{{ name: plain, context: {{ cluster: c, user: u }} }}, {{ name: tls, context: {{ cluster: t, user: u }} }}]\n",
            secret("cluster's token")
        ),
    );
    write(
        "environments/towpath.yaml",
        &format!(
            "registries:\n  \"{server}\": {{ credential: {{ file: ../secrets/registry, user: towpath }} }}\nforges:\n  \"{server}\": {{ credential: {{ env: FORGE_TOKEN }}, api: \"http://{server}/api/v3\" }}\n  github.com: {{ app: {{ id: 7, key: {{ file: ../secrets/app }} }}, api: \"http://{server}/api/v3\" }}\nwebhooks: {{ github: {{ secrets: [{{ file: ../secrets/webhook }}] }} }}\nnotifications:\n  - {{ name: hook, webhook: {{ url: {{ file: ../secrets/address }}, secret: {{ file: ../secrets/notify }} }} }}\n  - {{ name: chat, slack: {{ url: {{ file: ../secrets/address }} }} }}\noutward: {{ allow: [loopback] }}\ncommit: {{ sign: {{ ssh: {{ file: ../secrets/signing }} }} }}\ncache: ../cache\n"
        ),
    );
    write(
        "environments/staging/environment.yaml",
        &format!(
            "repository: {{ url: \"http://{server}/acme/infra.git\", credential: {{ file: ../secrets/infra, user: towpath }}, forge: github }}\nmanifests: [kubernetes]\ncluster: {{ kubeconfig: ../secrets/kubeconfig, context: plain }}\nfollow: {{ tags: '*' }}\ngate: pull-request\n"
        ),
    );
    let infra = folder.path().join("infra");
    write(
        "infra/kubernetes/db.yaml",
        &format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{ name: db }}\nstringData: {{ password: \"{}\" }}\n",
            secret("Secret's data")
        ),
    );
    for arguments in [
        "init -q -b main",
        "add .",
        "-c user.name=a -c user.email=a@example.com commit -q -m one",
    ] {
        let git = std::process::Command::new("git")
            .args(arguments.split(' '))
            .current_dir(&infra)
            .status();
        assert!(git.unwrap().success());
    }
    write(
        "environments/qa/environment.yaml",
        &format!(
            "repository: {{ url: \"{}\" }}\nmanifests: [kubernetes]\ncluster: {{ kubeconfig: ../secrets/kubeconfig, context: tls }}\nfollow: {{ tags: '*' }}\n",
            infra.display()
        ),
    );
    write(
        "environments/applications/shop.yaml",
        &format!(
            "applications:\n  - name: shop\n    source: {{ url: \"http://{server}/acme/shop.git\", credential: {{ env: SOURCE_TOKEN }} }}\n    images:\n      - {{ repository: \"{server}/acme/shop\", release-tag: '{{tag}}' }}\n      - {{ repository: registry.example.com/acme/shop, release-tag: '{{tag}}' }}\n    environments: [staging, qa]\n"
        ),
    );
}

fn command(folder: &Path, arguments: &str) -> std::process::Command {
    let address = fs::read_to_string(folder.join("secrets/address")).unwrap();
    let server = address.split('/').nth(2).unwrap().to_owned();
    let mut command = towpath(folder);
    command
        .args(arguments.split(' '))
        .arg("--config")
        .arg(folder.join("environments"))
        .env("FORGE_TOKEN", secret("forge token"))
        .env("SOURCE_TOKEN", secret("git token of the source"))
        .env(
            "https_proxy",
            format!("http://bot:{}@{server}", secret("proxy's password")),
        )
        .env("TOWPATH_LOG", "trace")
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "1");
    command
}

fn run(folder: &Path, arguments: &str) -> Output {
    let output = command(folder, arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("panicked at"), "`{arguments}`: {said}");
    assert!(
        output.status.code().is_some_and(|code| code != 2),
        "`{arguments}`: {said}"
    );
    output
}

/// What the running program answers at `/metrics`, after it has looked around.
fn metrics(folder: &Path) -> Vec<u8> {
    let log = folder.join("log");
    let mut child = command(folder, "run --listen 127.0.0.1:0")
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let mut page = Vec::new();
    while page.is_empty() && begun.elapsed() < Duration::from_secs(20) {
        let text = fs::read_to_string(&log).unwrap();
        let address = text
            .split("address=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        let unreadable = text.contains("cannot be read");
        if let (Some(address), true) = (address, unreadable) {
            let stream = std::net::TcpStream::connect(address);
            page = stream.map(asked).unwrap_or_default();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(child.kill());
    drop(child.wait());
    let text = fs::read(&log).unwrap();
    assert!(!page.is_empty(), "{}", String::from_utf8_lossy(&text));
    [page, text].concat()
}

fn asked(mut stream: std::net::TcpStream) -> Vec<u8> {
    use std::io::{Read as _, Write as _};
    let mut page = Vec::new();
    let request = b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answered = stream
        .write_all(request)
        .and_then(|()| stream.read_to_end(&mut page));
    answered.map(|_| page).unwrap_or_default()
}

/// What is kept on the disk: of the infra repositories their own objects, which are compressed.
fn keep(folder: &Path, told: &mut Vec<(String, Vec<u8>)>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.map(Result::unwrap) {
        let path = entry.path();
        match path.is_dir() {
            true => keep(&path, told),
            false => told.push((path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
}
