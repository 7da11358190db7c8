//! Many hostile requests at once, and connections that only hold theirs open.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use towpath::demo::git_server::Endpoint;

use super::site::{PATIENCE, SECRET, Site, signed};
use crate::cli::towpath;

const HOSTILE: usize = 10_000;

/// Requests at a time.
const AT_A_TIME: usize = 64;

/// What a process may have grown by: less than what a single request in twenty would leave behind.
const GROWTH_MAX: u64 = 8 << 20;

/// A process of its own, whose memory is its own.
struct Process {
    child: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    /// `towpath run` of one application whose sources answer nothing.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join("environments").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("secret", SECRET);
        write(
            "towpath.yaml",
            "webhooks: { github: { secrets: [{ file: secret }] } }\ncache: ../cache\n",
        );
        write(
            "qa/environment.yaml",
            "repository: { url: /nowhere/infra.git, branch: main }\nmanifests: [kubernetes]\ncluster: { simulated: { ready-after: 1s } }\nfollow: { tags: '*' }\n",
        );
        write(
            "applications/shop.yaml",
            "applications:\n  - name: shop\n    images: [{ repository: 127.0.0.1:9/acme/shop, release-tag: '{tag}' }]\n    environments: [qa]\n",
        );
        let log = folder.path().join("log");
        let child = towpath(folder.path())
            .args(["run", "--listen", "127.0.0.1:0", "--config"])
            .arg(folder.path().join("environments"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let start = Instant::now();
        let address = loop {
            let text = std::fs::read_to_string(&log).unwrap();
            let told = text.split("address=").nth(1);
            if let Some((address, _)) = told.and_then(|rest| rest.split_once(' ')) {
                break address.to_owned();
            }
            assert!(start.elapsed() < PATIENCE, "{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        Self {
            child,
            address,
            _folder: folder,
        }
    }

    fn memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kibibytes: u64 = line
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap();
        kibibytes << 10
    }
}

/// A hostile request, by its number. Gives what is answered.
async fn hostile(client: &reqwest::Client, address: &str, number: usize) -> u16 {
    let url = format!("http://{address}/hooks/github");
    let push = json!({
        "ref": "refs/heads/main", "after": format!("{number:040x}"),
        "repository": { "clone_url": "https://github.com/acme/other.git" },
        "commits": vec!["x"; 20],
    })
    .to_string();
    let post = |url: String| client.post(url).header("x-github-event", "push");
    let request = match number % 8 {
        0 => post(url).body(push),
        1 => post(url)
            .header("x-hub-signature-256", signed("guess", push.as_bytes()))
            .body(push),
        2 => post(format!("http://{address}/hooks/{number}")).body(push),
        3 => client.get(format!("http://{address}/{number}")),
        4 => post(url)
            .header("x-hub-signature-256", "sha256=\u{7f}")
            .body("x"),
        5 => {
            let body = "[".repeat(500);
            post(url)
                .header("x-hub-signature-256", signed(SECRET, body.as_bytes()))
                .body(body)
        }
        6 => post(url)
            .header("x-hub-signature-256", signed(SECRET, push.as_bytes()))
            .body(push),
        _ => post(url)
            .header("x-hub-signature-256", signed("guess", b""))
            .body(vec![
                b' ';
                100 + (number % 100)
                    * 1000
                    * usize::from(number % 80 == 7)
            ]),
    };
    match request.send().await {
        Ok(response) => response.status().as_u16(),
        Err(_) => 400,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_requests_leave_nothing_behind() {
    let process = Process::start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let flood = |from: usize, to: usize| {
        let (client, address) = (client.clone(), process.address.clone());
        stream::iter(from..to)
            .map(move |number| {
                let (client, address) = (client.clone(), address.clone());
                async move { hostile(&client, &address, number).await }
            })
            .buffer_unordered(AT_A_TIME)
    };
    // What any request needs once.
    let begun = flood(0, HOSTILE / 5).filter(|status| std::future::ready(*status < 400));
    assert_eq!(begun.count().await, 0);
    let before = process.memory();
    let taken = flood(HOSTILE / 5, HOSTILE).filter(|status| std::future::ready(*status < 400));
    assert_eq!(taken.count().await, 0);
    let after = process.memory();
    assert!(after < before + GROWTH_MAX, "{before} became {after}");
    let well = client
        .get(format!("http://{}/healthz", process.address))
        .send();
    assert_eq!(well.await.unwrap().status().as_u16(), 200);
    let metrics = client
        .get(format!("http://{}/metrics", process.address))
        .send();
    let metrics = metrics.await.unwrap().text().await.unwrap();
    let series = metrics
        .lines()
        .filter(|line| line.starts_with("towpath_webhook_deliveries_total"));
    assert!(series.count() < 12, "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_news_is_one_look_after_the_other() {
    let site = Site::start().await;
    let asked = || {
        let name = "pipeline-application-infra-qa";
        site.place.git.count(name, Endpoint::Upload)
    };
    let before = asked();
    let body = json!({ "repositories": [site.infra("qa")] }).to_string();
    let signature = signed(SECRET, body.as_bytes());
    let url = site.url("/hooks/generic");
    let sent = stream::iter(0..1000).map(|_| {
        let send = site.client.post(&url).body(body.clone());
        send.header("x-towpath-signature", &signature).send()
    });
    let taken = sent
        .buffer_unordered(AT_A_TIME)
        .map(|sent| sent.unwrap().status().as_u16());
    assert_eq!(
        taken
            .filter(|status| std::future::ready(*status != 202))
            .count()
            .await,
        0
    );
    let looks = asked() - before;
    assert!((1..1000).contains(&looks), "{looks} looks");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_holds_the_line_makes_room() {
    let site = Site::start_with(Duration::from_secs(3600), None).await;
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        stream
            .write_all(b"POST /hooks/github HTTP/1.1\r\nx-slow: ")
            .await
            .unwrap();
        held.push(stream);
    }
    let asked = tokio::time::timeout(Duration::from_secs(60), site.get("/healthz"));
    assert_eq!(asked.await.unwrap().0, 200);
    // The first of them was closed for it.
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(60), held[0].read_to_end(&mut rest));
    drop(closed.await.expect("it is closed"));
    assert!(rest.is_empty());
    let (_, metrics) = site.get("/metrics").await;
    let evicted = metrics
        .lines()
        .find_map(|line| line.strip_prefix("towpath_connections_evicted_total "));
    assert!(
        evicted.unwrap().parse::<u64>().unwrap() >= 44,
        "{evicted:?}"
    );
    site.end().await;
}

/// What is announced is not waited for, and what is not announced is not read without end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_bounded_however_they_come() {
    let site = Site::start_with(Duration::from_secs(3600), None).await;
    for (head, piece) in [
        ("Content-Length: 25000000", Vec::new()),
        (
            "Transfer-Encoding: chunked",
            [
                b"100000\r\n".to_vec(),
                vec![b' '; 1 << 20],
                b"\r\n1\r\n \r\n".to_vec(),
            ]
            .concat(),
        ),
    ] {
        let mut stream = TcpStream::connect(site.address).await.unwrap();
        let request = format!("POST /hooks/github HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream.write_all(&piece).await);
        let mut answer = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer));
        read.await.expect("it is answered").unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413", "{head}");
    }
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let long = format!(
        "GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n",
        "x".repeat(64 << 10)
    );
    drop(stream.write_all(long.as_bytes()).await);
    let mut answer = Vec::new();
    drop(
        tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("it ends"),
    );
    assert!(!answer.starts_with(b"HTTP/1.1 2"), "{answer:?}");
    site.end().await;
}
