//! Evidence from elsewhere: what endpoints answer over HTTP, what is said where that is none, and what is attached to an
//! image, as the program sees it.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use towpath::evidence::{AskEvidence as _, HttpEvidence};
use towpath::http::{self, Allowed, HttpSettings};
use towpath::model::{Attachment, Credential, Digest, EvidenceEndpoint};

use crate::looks::Site;
use crate::registry::referrers::{EVIDENCE, attach_to};

fn document(digest: &Digest, name: &str) -> String {
    format!(
        r#"{{"name":"{name}","digest":"{digest}","result":"pass","scores":{{"high":0}},"at":"2026-11-21T05:00:00Z"}}"#
    )
}

/// What is answered below which path, of an image.
async fn answer(Path((what, digest)): Path<(String, String)>, headers: HeaderMap) -> Response {
    let digest: Digest = digest.parse().unwrap();
    let authorization = headers.get("authorization");
    let authorization = authorization.map_or("", |it| it.to_str().unwrap());
    let one = document(&digest, "scan");
    match what.as_str() {
        "one" => one.into_response(),
        "two" => format!("[{one}, {}]", document(&digest, "speed")).into_response(),
        "none" => "[]".into_response(),
        "other" => document(&Digest::of(b"other"), "scan").into_response(),
        "page" => "<html>log in</html>".into_response(),
        "large" => " ".repeat(2 << 20).into_response(),
        "many" => format!("[{}]", vec![one; 51].join(",")).into_response(),
        "deep" => "[".repeat(100_000).into_response(),
        "moved" => Redirect::temporary(&format!("/one/{digest}")).into_response(),
        "down" => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        "token" if authorization == "Bearer s3cret" => one.into_response(),
        // ann:s3cret
        "login" if authorization == "Basic YW5uOnMzY3JldA==" => one.into_response(),
        "token" | "login" => StatusCode::UNAUTHORIZED.into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[tokio::test]
async fn endpoints_answer_with_documents_about_the_image() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = axum::Router::new().route("/{what}/{digest}", get(answer));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "s3cret\n").unwrap();
    let secret = |user: Option<&str>| Credential::File {
        path: path.clone(),
        user: user.map(str::to_owned),
    };
    let missing = Credential::File {
        path: folder.path().join("missing"),
        user: None,
    };
    let allowed = Allowed {
        loopback: true,
        ..Allowed::default()
    };
    let asking = HttpEvidence::new(http::outward(&HttpSettings::default(), allowed).unwrap());
    let guarded = http::outward(&HttpSettings::default(), Allowed::default()).unwrap();
    let guarded = HttpEvidence::new(guarded);
    let image = Digest::of(b"image");
    let endpoint = |what: &str, credential: Option<Credential>| {
        let get = format!("http://{address}/{what}/{{digest}}");
        EvidenceEndpoint::new(&get, credential).unwrap()
    };

    for (what, credential, told) in [
        ("one", None, "1 finding"),
        ("two", None, "2 findings"),
        ("none", None, "0 findings"),
        ("gone", None, "nothing"),
        ("token", Some(secret(None)), "1 finding"),
        ("login", Some(secret(Some("ann"))), "1 finding"),
        ("other", None, "its document is about another image"),
        ("page", None, "it is no document of evidence"),
        ("deep", None, "it is no document of evidence"),
        ("many", None, "it has more than 50 documents"),
        ("large", None, "its answer is larger than 1 MiB"),
        (
            "moved",
            None,
            "307 Temporary Redirect, 200 or 404 is expected",
        ),
        (
            "down",
            None,
            "503 Service Unavailable, 200 or 404 is expected",
        ),
        ("token", None, "401 Unauthorized, 200 or 404 is expected"),
        ("token", Some(missing), "No such file"),
    ] {
        let answered = asking.about(&endpoint(what, credential), &image).await;
        let said = match answered {
            Ok(None) => "nothing".to_owned(),
            Ok(Some(answer)) => match Attachment::answered(&answer, &image) {
                Ok(found) if found.len() == 1 => "1 finding".to_owned(),
                Ok(found) => format!("{} findings", found.len()),
                Err(why) => why.to_owned(),
            },
            Err(why) => why,
        };
        assert!(said.contains(told), "{what}: {said}");
        assert!(!said.contains("s3cret"), "{what}: {said}");
    }
    // This machine is asked only where that is allowed.
    let refused = guarded.about(&endpoint("one", None), &image).await;
    assert!(refused.unwrap_err().contains("loopback"));
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_has_asked_what_is_attached() {
    let site = Site::start("evidence", &[]).await;
    site.commit("first");
    let once = ["run", "--once", "--wait", "60s", "-o", "json"];
    site.run(&once, 0);
    let pushed = site.push("shop", "v1.1.0").await;
    let (_, digest) = pushed.split_once('@').unwrap();
    let digest: Digest = digest.parse().unwrap();
    let lacking = site.run(&once, 0);
    assert!(!lacking.contains("committed"), "{lacking}");

    let said = document(&digest, "scan");
    let parts = [(EVIDENCE, said.as_str())];
    attach_to(&site.registry.url(), "acme/shop", digest, EVIDENCE, &parts).await;
    let committed = site.run(&once, 0);
    assert!(committed.contains("committed"), "{committed}");
}
