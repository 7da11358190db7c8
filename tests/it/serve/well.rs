//! Probes, and the certificate.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use towpath::model::TlsFiles;
use towpath::serve::{self, Door, Hooks};

use super::site::{PATIENCE, Site};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_ready_once_every_source_was_tried() {
    let site = Site::start_with(Duration::from_secs(3600), None).await;
    let start = Instant::now();
    loop {
        assert_eq!(site.get("/healthz").await, (200, "ok\n".to_owned()));
        match site.get("/readyz").await {
            (200, _) => break,
            (status, said) => {
                let told = "not ready: pipeline-application: a source of it was not tried yet\n";
                assert_eq!((status, said.as_str()), (503, told));
            }
        }
        assert!(start.elapsed() < PATIENCE);
    }
    // A source that does not answer later on is no reason to send it nothing.
    site.place.registry.set_down(true);
    assert_eq!(site.get("/readyz").await.0, 200);
    site.end().await;
    let hooks = Hooks::open();
    let stop = tokio_util::sync::CancellationToken::new();
    let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let address = serve::listen(any, hooks, stop.clone()).await.unwrap();
    let get = |path: &str| reqwest::get(format!("http://{address}{path}"));
    assert_eq!(get("/readyz").await.unwrap().status().as_u16(), 503);
    assert_eq!(get("/healthz").await.unwrap().status().as_u16(), 200);
    stop.cancel();
}

fn certificate(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tls");
    folder.join(name)
}

/// A client that trusts this certificate alone, on a connection of its own.
async fn asks(address: std::net::SocketAddr, trusted: &str) -> Option<u16> {
    let pem = std::fs::read(certificate(trusted)).unwrap();
    let root = reqwest::Certificate::from_pem(&pem).unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([root]);
    let client = client.build().unwrap();
    let response = client.get(format!("https://{address}/healthz")).send();
    Some(response.await.ok()?.status().as_u16())
}

async fn shows(address: std::net::SocketAddr, trusted: &str) {
    let start = Instant::now();
    while asks(address, trusted).await != Some(200) {
        assert!(start.elapsed() < PATIENCE, "{trusted} is not shown");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_changes_is_shown_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let files = TlsFiles {
        certificate: folder.path().join("tls.crt"),
        key: folder.path().join("tls.key"),
    };
    let put = |name: &str| {
        std::fs::copy(certificate(&format!("{name}.crt")), &files.certificate).unwrap();
        std::fs::copy(certificate(&format!("{name}.key")), &files.key).unwrap();
    };
    let stop = tokio_util::sync::CancellationToken::new();
    let listen = || {
        let door = Door {
            address: ([127, 0, 0, 1], 0).into(),
            tls: Some(files.clone()),
        };
        serve::listen(door, Hooks::open(), stop.clone())
    };
    let missing = listen().await.unwrap_err().to_string();
    assert!(missing.contains("tls.crt cannot be read"), "{missing}");
    put("first");
    std::fs::copy(certificate("second.key"), &files.key).unwrap();
    let unfit = listen().await.unwrap_err().to_string();
    assert!(unfit.contains("do not go together"), "{unfit}");
    std::fs::write(&files.key, "no key").unwrap();
    let empty = listen().await.unwrap_err().to_string();
    assert!(empty.contains("holds no private key"), "{empty}");
    put("first");
    let address = listen().await.unwrap();
    shows(address, "first.crt").await;
    assert_eq!(asks(address, "second.crt").await, None);
    put("second");
    shows(address, "second.crt").await;
    std::fs::write(&files.certificate, "broken").unwrap();
    let broken = Instant::now();
    while broken.elapsed() < Duration::from_millis(1200) {
        assert_eq!(asks(address, "second.crt").await, Some(200));
    }
    let plain = reqwest::get(format!("http://{address}/healthz")).await;
    assert!(plain.is_err(), "{plain:?}");
    stop.cancel();
}
