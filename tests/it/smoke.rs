//! Smoke tests against a real server: what passes, and what is said where it does not.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use towpath::http::{self, Allowed, HttpSettings};
use towpath::model::SmokeTest;
use towpath::smoke::{HttpProbe, Probe as _};

/// What is answered below which path.
const ANSWERS: [(&str, &str); 5] = [
    ("/ok", "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nall ok"),
    (
        "/moved",
        "HTTP/1.1 302 Found\r\nlocation: /ok\r\ncontent-length: 0\r\n\r\n",
    ),
    (
        "/down",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
    ),
    ("/silent", ""),
    ("/cut", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nall"),
];

/// Answers until dropped.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            if path == "/endless" {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
                let mut sent = stream.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    sent = stream.write_all(chunk.as_bytes()).await;
                }
                return;
            }
            let answer = ANSWERS.iter().find(|(known, _)| *known == path);
            // Whoever would ask again on the same connection is told that it ends.
            let answer = answer.map_or("", |(_, answer)| answer);
            let answer = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            drop(stream.write_all(answer.as_bytes()).await);
            if answer.is_empty() {
                std::future::pending::<()>().await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_as_expected_is_said() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener));
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let settings = HttpSettings::default();
    let probe = HttpProbe::new(http::outward(&settings, Allowed::ANYWHERE).unwrap());
    for (path, expect, contains, seen) in [
        ("/ok", 200, None, None),
        ("/ok", 200, Some("ok"), None),
        ("/moved", 302, None, None),
        ("/down", 503, None, None),
        (
            "/ok",
            200,
            Some("fine"),
            Some("200 OK, but without `fine` in it"),
        ),
        ("/ok", 204, None, Some("200 OK, 204 is expected")),
        ("/moved", 200, None, Some("302 Found, 200 is expected")),
        (
            "/down",
            200,
            None,
            Some("503 Service Unavailable, 200 is expected"),
        ),
        ("/silent", 200, None, Some("no answer within 1 s")),
        (
            "/cut",
            200,
            Some("ok"),
            Some("error decoding response body"),
        ),
        (
            "/endless",
            200,
            Some("ok"),
            Some("200 OK, but without `ok` in it"),
        ),
        ("gone", 200, None, Some("error sending request")),
    ] {
        let get = match path {
            "gone" => format!("http://{gone}/"),
            path => format!("http://{address}{path}"),
        };
        let test = SmokeTest {
            get: get.parse().unwrap(),
            expect,
            contains: contains.map(str::to_owned),
            // Only silence is waited for: what answers may take its time on a busy machine.
            timeout: Duration::from_secs(if path == "/silent" { 1 } else { 60 }),
        };
        let asked = probe.ask(&test).await;
        match (asked, seen) {
            (Ok(()), None) => {}
            (Err(told), Some(seen)) => {
                assert!(told.starts_with(&format!("{get}: {seen}")), "{told}");
                assert_eq!(told.matches(&get).count(), 1, "{told}");
            }
            (asked, seen) => panic!("{path}: {asked:?} in place of {seen:?}"),
        }
    }
    let guarded = HttpProbe::new(http::outward(&settings, Allowed::default()).unwrap());
    for host in [address.to_string(), format!("localhost:{}", address.port())] {
        let get = format!("http://{host}/ok");
        let test = SmokeTest {
            get: get.parse().unwrap(),
            expect: 200,
            contains: None,
            timeout: Duration::from_secs(60),
        };
        let told = guarded.ask(&test).await.unwrap_err();
        assert!(told.starts_with(&get), "{told}");
        assert!(told.contains("is this machine, which `outward:"), "{told}");
    }
    serving.abort();
}
