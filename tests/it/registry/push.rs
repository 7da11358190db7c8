//! The demo registry as other clients meet it: uploads, notifications, skopeo.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use reqwest::header::{HeaderValue, LOCATION};
use serde_json::Value;
use tokio::process::Command;
use tokio::sync::mpsc;
use towpath::demo::image::{ImageSpec, Target};
use towpath::demo::registry::{Access, DemoRegistry, Notify};
use towpath::model::Digest;
use towpath::registry::Registry;
use towpath::secret::Secret;

use super::docker::DockerRegistry;
use super::{anonymous, http, image, program, push, reader, repository, stocked, tokens, user};

#[tokio::test]
async fn uploads_come_whole_in_chunks_or_from_elsewhere() {
    let (registry, _, _) = stocked().await;
    let http = http();
    let blob = b"hello world";
    let digest = Digest::of(blob);
    let url = |path: &str| registry.url().join(path).unwrap();
    let begin = || async {
        let begun = http
            .post(url("v2/acme/x/blobs/uploads/"))
            .send()
            .await
            .unwrap();
        assert_eq!(begun.status(), 202);
        url(begun.headers()[LOCATION].to_str().unwrap())
    };
    let chunk = |place: url::Url, range: &'static str, bytes: &'static [u8]| {
        let request = http.patch(place).header("content-range", range).body(bytes);
        async { request.send().await.unwrap().status().as_u16() }
    };
    let finish = |place: &url::Url, digest: Digest| {
        let mut place = place.clone();
        place
            .query_pairs_mut()
            .append_pair("digest", &digest.to_string());
        let request = http.put(place);
        async { request.send().await.unwrap().status().as_u16() }
    };

    let place = begin().await;
    assert_eq!(chunk(place.clone(), "0-4", &blob[..5]).await, 202);
    assert_eq!(chunk(place.clone(), "6-10", &blob[6..]).await, 416, "a gap");
    let progress = http.get(place.clone()).send().await.unwrap();
    assert_eq!(
        (progress.status().as_u16(), &progress.headers()["range"]),
        (204, &"0-4".parse::<HeaderValue>().unwrap())
    );
    assert_eq!(chunk(place.clone(), "5-10", &blob[5..]).await, 202);
    assert_eq!(finish(&place, digest).await, 201);
    assert_eq!(finish(&place, digest).await, 404, "it is finished");

    let place = begin().await;
    assert_eq!(finish(&place, digest).await, 400, "the content is another");
    let place = begin().await;
    assert_eq!(
        http.delete(place.clone()).send().await.unwrap().status(),
        204
    );
    assert_eq!(http.delete(place).send().await.unwrap().status(), 404);

    for (query, status) in [
        (format!("digest={}", Digest::of(b"one")), 201),
        (format!("digest={digest}"), 400),
        (format!("mount={digest}&from=acme/x"), 201),
        (format!("mount={}", Digest::of(b"two")), 202),
        ("digest=md5:1".to_owned(), 400),
    ] {
        let place = url(&format!("v2/acme/y/blobs/uploads/?{query}"));
        let sent = http.post(place).body("one").send().await.unwrap();
        assert_eq!(sent.status(), status, "{query}");
    }
    let read = http
        .get(url(&format!("v2/acme/x/blobs/{digest}")))
        .send()
        .await
        .unwrap();
    assert_eq!(read.bytes().await.unwrap(), &blob[..]);
}

#[tokio::test]
async fn manifests_are_checked_and_deleted() {
    let (registry, web, digest) = stocked().await;
    let url = |path: &str| registry.url().join(&format!("v2/{path}")).unwrap();
    let http = http();
    let part = |digest: Digest| format!(r#"{{"config":{{"digest":"{digest}"}}}}"#);
    let other = Digest::of(b"other");
    for (path, body, status) in [
        ("acme/web/manifests/v2", part(other), 404),
        ("acme/web/manifests/v2", "{".to_owned(), 400),
        ("acme/web/manifests/a%20b", "{}".to_owned(), 400),
        ("ACME/web/manifests/v2", "{}".to_owned(), 400),
        (&format!("acme/web/manifests/{other}"), "{}".to_owned(), 400),
        ("acme/web/manifests/v2", "{}".to_owned(), 201),
        ("acme/web/nothing/v2", "{}".to_owned(), 404),
    ] {
        let request = http
            .put(url(path))
            .header("content-type", "application/json");
        assert_eq!(
            request.body(body).send().await.unwrap().status(),
            status,
            "{path}"
        );
    }
    push(&registry.url(), &image("one"), "acme/web", "also-v1", None).await;
    let reader = reader(&registry.url(), anonymous());
    for (reference, tags) in [
        ("v2".to_owned(), vec!["also-v1", "v1"]),
        (digest.to_string(), vec![]),
    ] {
        let deleted = http.delete(url(&format!("acme/web/manifests/{reference}")));
        assert_eq!(deleted.send().await.unwrap().status(), 202);
        assert_eq!(reader.tags(&web).await.unwrap(), tags);
    }
    assert_eq!(reader.resolve(&web, "v1").await, Ok(None));
}

#[tokio::test]
async fn pushes_are_announced_until_the_receiver_takes_them() {
    let (sender, mut received) = mpsc::channel(8);
    let tries = std::sync::Arc::new(AtomicUsize::new(0));
    let receiver = Router::new().route(
        "/hook",
        post(move |headers: HeaderMap, body: String| async move {
            if tries.fetch_add(1, Ordering::SeqCst) < 2 {
                return StatusCode::SERVICE_UNAVAILABLE;
            }
            let header = |name: &str| headers[name].to_str().unwrap().to_owned();
            let kept = (header("authorization"), header("content-type"), body);
            sender.send(kept).await.unwrap();
            StatusCode::OK
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = format!("http://{}/hook", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, receiver).await });

    let notify = Notify {
        client: http(),
        url: hook.parse().unwrap(),
        host: None,
        authorization: Some(Secret::new("Bearer knock")),
    };
    let registry = DemoRegistry::start(Access::Open, Some(notify))
        .await
        .unwrap();
    let digest = push(&registry.url(), &image("one"), "acme/web", "v1", None).await;
    let (authorization, content_type, body) = received.recv().await.unwrap();
    assert_eq!(authorization, "Bearer knock");
    assert_eq!(
        content_type,
        "application/vnd.docker.distribution.events.v1+json"
    );
    let body: Value = serde_json::from_str(&body).unwrap();
    let event = &body["events"][0];
    assert_eq!(event["action"], "push");
    assert_eq!(event["target"]["repository"], "acme/web");
    assert_eq!(event["target"]["tag"], "v1");
    assert_eq!(event["target"]["digest"], digest.to_string());
    server.abort();
}

#[tokio::test]
async fn skopeo_pushes_to_the_demo_registry() {
    let Some(skopeo) = program("skopeo") else {
        return;
    };
    for access in [Access::Open, Access::Basic(user()), tokens(false)] {
        let registry = DemoRegistry::start(access.clone(), None).await.unwrap();
        copied_by(&skopeo, &registry.url(), &access).await;
    }
}

#[tokio::test]
async fn skopeo_pushes_to_docker_registry() {
    let (Some(skopeo), Some(registry)) = (program("skopeo"), DockerRegistry::start(true).await)
    else {
        return;
    };
    copied_by(&skopeo, &registry.url, &Access::Basic(user())).await;
}

/// Pushes an image and an index with skopeo and reads them back.
async fn copied_by(skopeo: &std::path::Path, registry: &url::Url, access: &Access) {
    let directory = tempfile::tempdir().unwrap();
    let platforms = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    for (tag, names) in [
        ("v1", &["linux/amd64"][..]),
        ("v2", &["linux/arm64", "linux/amd64"]),
    ] {
        let spec = ImageSpec {
            content: tag.to_owned(),
            created: Some("2024-05-06T07:08:09Z".parse().unwrap()),
            platforms: platforms(names),
            ..ImageSpec::default()
        };
        let layout = directory.path().join(tag);
        spec.build().write_layout(&layout, tag).unwrap();
        let pushed = Command::new(skopeo)
            .args([
                "--insecure-policy",
                "copy",
                "-q",
                "--all",
                "--dest-tls-verify=false",
            ])
            .args(match access {
                Access::Open => &[][..],
                _ => &["--dest-creds", "ci:s3cret"],
            })
            .arg(format!("oci:{}:{tag}", layout.display()))
            .arg(format!(
                "docker://{}acme/web:{tag}",
                &registry.as_str()["http://".len()..]
            ))
            .kill_on_drop(true)
            .output()
            .await
            .unwrap();
        assert!(
            pushed.status.success(),
            "{}",
            String::from_utf8_lossy(&pushed.stderr)
        );

        let path = directory.path().join("credential");
        std::fs::write(&path, "ci:s3cret").unwrap();
        let source = towpath::registry::CredentialSource::File { path, user: None };
        let reader = reader(registry, super::with(source));
        let web = repository(registry, "acme/web");
        let digest = spec.build().digest();
        assert_eq!(reader.resolve(&web, tag).await, Ok(Some(digest)), "{tag}");
        let found = reader.image(&web, &digest).await.unwrap();
        assert_eq!(found.created, spec.created);
    }
}

#[tokio::test]
async fn a_refused_push_says_what_was_refused() {
    let registry = DemoRegistry::start(Access::Basic(user()), None)
        .await
        .unwrap();
    let target = Target {
        registry: &registry.url(),
        repository: "acme/web",
        tag: "v1",
        authorization: None,
    };
    let error = image("one")
        .push(&http(), &target)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("401") && error.contains("UNAUTHORIZED"),
        "{error}"
    );
}
