//! A webhook that judges over TLS: its no is the manifest's fault, its silence nobody's.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::post;
use axum::serve::Listener;
use base64::Engine as _;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use towpath::cluster::ClusterError;

use super::super::bed;
use super::super::plane::Plane;
use super::refused::{Helps, check, comes, dry};
use super::site::{Site, config_map};

/// What the webhook does with a question.
const JUDGES: u8 = 0;
const FAILS: u8 = 1;
const IS_SILENT: u8 = 2;

/// A file of the plane's own: `ca.crt`, and `server.crt` and `server.key`, which that signed for 127.0.0.1.
fn file(plane: &Plane, name: &str) -> PathBuf {
    plane.audit_log().with_file_name(name)
}

/// A listener that speaks TLS, with the plane's own certificate for 127.0.0.1.
struct Secured {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Secured {
    async fn bind(plane: &Plane) -> Self {
        let certificates = CertificateDer::pem_file_iter(file(plane, "server.crt")).unwrap();
        let key = PrivateKeyDer::from_pem_file(file(plane, "server.key")).unwrap();
        let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(certificates.map(Result::unwrap).collect(), key);
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            acceptor: TlsAcceptor::from(Arc::new(config.unwrap())),
        }
    }
}

impl Listener for Secured {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            // Whoever does not trust the certificate hangs up.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// Refuses what holds the word `forbidden`.
async fn review(State(does): State<Arc<AtomicU8>>, body: Bytes) -> impl IntoResponse {
    match does.load(Ordering::Relaxed) {
        FAILS => return (StatusCode::SERVICE_UNAVAILABLE, "in maintenance").into_response(),
        IS_SILENT => std::future::pending().await,
        _ => {}
    }
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let allowed = asked["request"]["object"]["data"]["key"] != "forbidden";
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "response": {
            "uid": asked["request"]["uid"], "allowed": allowed,
            "status": { "code": 403, "message": "the word is forbidden here" },
        },
    });
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, answer.to_string()).into_response()
}

fn webhook(site: &Site, name: &str, address: SocketAddr, authority: Option<&str>) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": format!("{}-{name}", site.namespace) },
        "webhooks": [{
            "name": format!("{name}.example.com"), "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail", "timeoutSeconds": 1,
            "clientConfig": { "url": format!("https://{address}/review"), "caBundle": authority },
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": site.namespace } },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"] }],
        }],
    })
}

#[tokio::test]
async fn a_webhook_that_says_no_is_believed_and_one_that_says_nothing_is_waited_for() {
    let Some(site) = Site::new("judged").await else {
        return;
    };
    let plane = &site.bed.plane;
    let secured = Secured::bind(plane).await;
    let address = secured.local_addr().unwrap();
    let does = Arc::new(AtomicU8::new(JUDGES));
    let router = Router::new().route("/review", post(review));
    let serving = axum::serve(secured, router.with_state(does.clone()));
    let mut tasks = JoinSet::new();
    tasks.spawn(async { serving.await.unwrap() });
    let authority = base64::engine::general_purpose::STANDARD
        .encode(std::fs::read(file(plane, "ca.crt")).unwrap());
    let judge = webhook(&site, "judge", address, Some(&authority));
    bed::apply(&site.admin, &judge).await.unwrap();
    let forbidden = json!({ "metadata": { "name": "x" }, "data": { "key": "forbidden" } });
    comes(async || !dry(&site, &forbidden).await).await;

    site.apply(&config_map("one", "allowed")).await.unwrap();
    let before = site.asked();
    let both = config_map("one", "forbidden") + &config_map("two", "allowed");
    let expected =
        "admission webhook \"judge.example.com\" denied the request: the word is forbidden here";
    check(&site, &both, Helps::Manifest, expected).await;
    let asked = site.asked_since(&before);
    assert!(
        asked.iter().all(|line| line.starts_with("dry run")),
        "{asked:?}"
    );

    let fine = config_map("one", "fine");
    for (fate, expected) in [
        (FAILS, "failed calling webhook \"judge.example.com\""),
        (IS_SILENT, "failed calling webhook \"judge.example.com\""),
    ] {
        does.store(fate, Ordering::Relaxed);
        check(&site, &fine, Helps::Patience, expected).await;
    }
    does.store(JUDGES, Ordering::Relaxed);
    site.apply(&fine).await.unwrap();

    // One whose certificate nobody vouches for.
    let stranger = webhook(&site, "stranger", address, None);
    bed::apply(&site.admin, &stranger).await.unwrap();
    let allowed = json!({ "metadata": { "name": "x" }, "data": { "key": "allowed" } });
    comes(async || !dry(&site, &allowed).await).await;
    let error = site
        .refuses(
            &config_map("one", "other"),
            "failed calling webhook \"stranger.example.com\"",
        )
        .await;
    assert!(
        matches!(error, ClusterError::Unavailable { .. }),
        "{error:?}"
    );
    for name in ["judge", "stranger"] {
        let kind = "ValidatingWebhookConfiguration.admissionregistration.k8s.io";
        site.delete(&format!("{kind} {}-{name}", site.namespace))
            .await;
    }
}
