//! What is attached to an image as evidence: listed by the registry, or by the tag that stands in for that.

use reqwest::header::{CONTENT_TYPE, LOCATION};
use serde_json::{Value, json};
use towpath::demo::registry::{Access, DemoRegistry, Quirks};
use towpath::model::Digest;
use towpath::registry::{Attached, Registry, RegistryError};
use url::Url;

use super::docker::DockerRegistry;
use super::{anonymous, http, image, push, reader, repository};

/// What a document of evidence is called.
pub(crate) const EVIDENCE: &str = "application/vnd.towpath.evidence.v1+json";
/// What its signature is called.
pub(crate) const SIGNATURE: &str = "application/vnd.towpath.evidence.v1.sshsig";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[tokio::test]
async fn the_demo_registry_lists_what_is_attached() {
    let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
    attached_is_read(&registry.url(), false).await;
    let subject = one_is_attached(&registry.url()).await;
    let before = registry.counts();
    it_is_looked_at_twice(&registry.url(), subject).await;
    let after = registry.counts();
    // The list of each of two looks, and what it names once.
    assert_eq!(after.others - before.others, 2);
    assert_eq!(after.manifest_gets - before.manifest_gets, 1);
    assert_eq!(after.blobs - before.blobs, 2);
}

#[tokio::test]
async fn a_tag_stands_in_for_the_list() {
    let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
    registry.set_quirks(Quirks {
        no_referrers: true,
        ..Quirks::default()
    });
    attached_is_read(&registry.url(), true).await;
    let subject = one_is_attached(&registry.url()).await;
    let before = registry.counts();
    it_is_looked_at_twice(&registry.url(), subject).await;
    let after = registry.counts();
    // The second look is told that nothing has changed.
    assert_eq!(after.manifest_heads - before.manifest_heads, 2);
    assert_eq!(after.not_modified - before.not_modified, 1);
    assert_eq!(after.manifest_gets - before.manifest_gets, 2);
}

#[tokio::test]
async fn docker_registry_has_the_tag() {
    let Some(registry) = DockerRegistry::start(false).await else {
        return;
    };
    attached_is_read(&registry.url, true).await;
}

/// Nothing, one signed and one unsigned document; what is something else, or of another image, is left out.
async fn attached_is_read(registry: &Url, by_tag: bool) {
    let subject = push(registry, &image("one"), "acme/web", "v1", None).await;
    let other = push(registry, &image("two"), "acme/web", "v2", None).await;
    let place = repository(registry, "acme/web");
    let ask = async || {
        reader(registry, anonymous())
            .attached(&place, &subject)
            .await
    };
    assert_eq!(ask().await.unwrap(), []);
    let mut listed = Vec::new();
    for (of, kind, parts) in [
        (
            subject,
            EVIDENCE,
            vec![(EVIDENCE, "first"), (SIGNATURE, "by ann")],
        ),
        (subject, EVIDENCE, vec![(EVIDENCE, "second")]),
        (
            subject,
            "application/vnd.example.sbom",
            vec![(EVIDENCE, "third")],
        ),
        (subject, EVIDENCE, vec![(SIGNATURE, "by nobody")]),
        (
            subject,
            EVIDENCE,
            vec![(EVIDENCE, "fourth"), (EVIDENCE, "fifth")],
        ),
        (other, EVIDENCE, vec![(EVIDENCE, "of another")]),
    ] {
        listed.push(attach(registry, of, kind, &parts).await);
    }
    if by_tag {
        list(registry, subject, &listed).await;
    }
    let mut found = ask().await.unwrap();
    found.sort_by(|a, b| a.document.cmp(&b.document));
    let expected = |document: &str, signature: Option<&str>| Attached {
        document: document.as_bytes().to_vec(),
        signature: signature.map(str::to_owned),
    };
    let all = [expected("first", Some("by ann")), expected("second", None)];
    assert_eq!(found, all);
    // More than anybody reads.
    let many: Vec<Value> = (0..51).map(|_| listed[1].clone()).collect();
    if by_tag {
        list(registry, subject, &many).await;
        let refused = ask().await.unwrap_err();
        assert!(
            matches!(refused, RegistryError::Malformed { .. }),
            "{refused}"
        );
    }
}

/// An image with one document and its signature.
async fn one_is_attached(registry: &Url) -> Digest {
    let subject = push(registry, &image("kept"), "acme/kept", "v1", None).await;
    let parts = [(EVIDENCE, "kept"), (SIGNATURE, "by ann")];
    let listed = attach_to(registry, "acme/kept", subject, EVIDENCE, &parts).await;
    list_at(registry, "acme/kept", subject, &[listed]).await;
    subject
}

/// By one reader.
async fn it_is_looked_at_twice(registry: &Url, subject: Digest) {
    let (place, reader) = (
        repository(registry, "acme/kept"),
        reader(registry, anonymous()),
    );
    for _ in 0..2 {
        assert_eq!(reader.attached(&place, &subject).await.unwrap().len(), 1);
    }
}

async fn attach(registry: &Url, subject: Digest, kind: &str, parts: &[(&str, &str)]) -> Value {
    attach_to(registry, "acme/web", subject, kind, parts).await
}

/// Pushes an artifact about an image; gives how lists describe it.
pub(crate) async fn attach_to(
    registry: &Url,
    path: &str,
    subject: Digest,
    kind: &str,
    parts: &[(&str, &str)],
) -> Value {
    let mut layers = Vec::new();
    for (media_type, text) in parts {
        let digest = blob(registry, path, text.as_bytes()).await;
        layers.push(
            json!({ "mediaType": media_type, "digest": digest.to_string(), "size": text.len() }),
        );
    }
    let config = blob(registry, path, b"{}").await;
    let body = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": config.to_string(), "size": 2 },
        "layers": layers,
        "subject": { "mediaType": MANIFEST, "digest": subject.to_string(), "size": 1 },
    });
    let body = body.to_string();
    let digest = Digest::of(body.as_bytes());
    let size = body.len();
    put(
        registry,
        &format!("v2/{path}/manifests/{digest}"),
        MANIFEST,
        body,
    )
    .await;
    json!({ "mediaType": MANIFEST, "digest": digest.to_string(), "size": size, "artifactType": kind })
}

async fn list(registry: &Url, subject: Digest, listed: &[Value]) {
    list_at(registry, "acme/web", subject, listed).await;
}

/// Writes the tag that stands in for the list.
async fn list_at(registry: &Url, path: &str, subject: Digest, listed: &[Value]) {
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
    let tag = subject.to_string().replace(':', "-");
    let place = format!("v2/{path}/manifests/{tag}");
    put(registry, &place, INDEX, index.to_string()).await;
}

async fn put(registry: &Url, path: &str, media_type: &'static str, body: String) {
    let url = registry.join(path).unwrap();
    let put = http().put(url).header(CONTENT_TYPE, media_type).body(body);
    let answer = put.send().await.unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
}

async fn blob(registry: &Url, path: &str, content: &[u8]) -> Digest {
    let begin = registry.join(&format!("v2/{path}/blobs/uploads/")).unwrap();
    let begun = http().post(begin).send().await.unwrap();
    let place = begun.headers()[LOCATION].to_str().unwrap();
    let mut place = registry.join(place).unwrap();
    let digest = Digest::of(content);
    place
        .query_pairs_mut()
        .append_pair("digest", &digest.to_string());
    let done = http()
        .put(place)
        .body(content.to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(done.status(), 201);
    digest
}
