//! What holds for every registry, checked against ours and a real one.

use towpath::demo::image::ImageSpec;
use towpath::demo::registry::{Access, DemoRegistry, Quirks};
use towpath::model::Digest;
use towpath::registry::{
    CredentialSource, HttpRegistry, ImageConfig, Registry, RegistryError, RegistrySettings,
};
use url::Url;

use super::docker::DockerRegistry;
use super::{
    BASIC, anonymous, image, push, reader, repository, settings_for, user, variables, with,
};

/// A registry to hold to the contract: where it is and what pushing to it takes.
struct Subject {
    url: Url,
    pushing: Option<&'static str>,
}

impl Subject {
    /// A fresh client with the right credential.
    fn reader(&self) -> HttpRegistry {
        match self.pushing {
            None => reader(&self.url, anonymous()),
            Some(_) => self.reader_as("s3cret"),
        }
    }

    fn reader_as(&self, password: &str) -> HttpRegistry {
        let source = CredentialSource::Variable {
            variable: "REGISTRY_PASSWORD".to_owned(),
            user: Some("ci".to_owned()),
        };
        let settings = RegistrySettings {
            environment: variables(&[("REGISTRY_USER", "ci"), ("REGISTRY_PASSWORD", password)]),
            ..settings_for(&self.url, with(source))
        };
        HttpRegistry::new(super::http(), settings)
    }

    async fn push(&self, spec: &ImageSpec, repository: &str, tag: &str) -> Digest {
        let image = spec.build();
        let digest = push(&self.url, &image, repository, tag, self.pushing).await;
        assert_eq!(digest, image.digest());
        digest
    }
}

#[tokio::test]
async fn the_demo_registry_keeps_the_contract() {
    let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
    let url = registry.url();
    contract(&Subject { url, pushing: None }).await;
}

#[tokio::test]
async fn the_demo_registry_keeps_the_contract_with_every_quirk() {
    let registry = DemoRegistry::start(Access::Basic(user()), None)
        .await
        .unwrap();
    let url = registry.url();
    let pushing = Some(BASIC);
    registry.set_quirks(Quirks {
        whole_list: true,
        no_digest: true,
        no_etag: true,
        ..Quirks::default()
    });
    contract(&Subject { url, pushing }).await;
}

#[tokio::test]
async fn docker_registry_keeps_the_contract() {
    let Some(registry) = DockerRegistry::start(false).await else {
        return;
    };
    let url = registry.url.clone();
    contract(&Subject { url, pushing: None }).await;
}

#[tokio::test]
async fn docker_registry_with_passwords_keeps_the_contract() {
    let Some(registry) = DockerRegistry::start(true).await else {
        return;
    };
    let url = registry.url.clone();
    let pushing = Some(BASIC);
    contract(&Subject { url, pushing }).await;
}

async fn contract(subject: &Subject) {
    tag_lists(subject).await;
    tags_resolve(subject).await;
    images_describe_themselves(subject).await;
    passwords_are_checked(subject).await;
}

async fn tag_lists(subject: &Subject) {
    let reader = subject.reader();
    let unknown = repository(&subject.url, "acme/unknown");
    let error = reader.tags(&unknown).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("acme/unknown"), "{error}");

    assert_eq!(reader.resolve(&unknown, "v1").await, Ok(None));

    let digest = subject
        .push(&ImageSpec::default(), "acme/emptied", "v1")
        .await;
    let place = format!("v2/acme/emptied/manifests/{digest}");
    let mut delete = super::http().delete(subject.url.join(&place).unwrap());
    if let Some(authorization) = subject.pushing {
        delete = delete.header("authorization", authorization);
    }
    assert_eq!(delete.send().await.unwrap().status(), 202);
    let emptied = repository(&subject.url, "acme/emptied");
    assert_eq!(reader.tags(&emptied).await, Ok(Vec::new()));

    for count in [1, 250] {
        let path = format!("acme/tags-{count}");
        let mut expected: Vec<String> = (0..count).map(|index| format!("v1.{index}.0")).collect();
        for tag in &expected {
            subject.push(&ImageSpec::default(), &path, tag).await;
        }
        expected.sort();
        let found = reader.tags(&repository(&subject.url, &path)).await;
        assert_eq!(found.unwrap(), expected, "{count} tags");
    }
}

async fn tags_resolve(subject: &Subject) {
    let reader = subject.reader();
    let web = repository(&subject.url, "acme/web");
    let [one, two] = ["one", "two"].map(|content| ImageSpec {
        content: content.to_owned(),
        ..ImageSpec::default()
    });
    let first = subject.push(&one, "acme/web", "v1").await;
    for _ in 0..3 {
        assert_eq!(reader.resolve(&web, "v1").await, Ok(Some(first)));
    }
    let second = subject.push(&two, "acme/web", "v1").await;
    assert_ne!(first, second);
    for _ in 0..2 {
        assert_eq!(reader.resolve(&web, "v1").await, Ok(Some(second)), "moved");
    }
    let unusable = "x".repeat(129);
    for missing in ["v2", "", "../../secret", "a b", &unusable] {
        assert_eq!(reader.resolve(&web, missing).await, Ok(None), "{missing}");
    }
    let missing = Digest::of(b"missing");
    let error = reader.image(&web, &missing).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    assert!(!error.is_transient());
}

async fn images_describe_themselves(subject: &Subject) {
    let reader = subject.reader();
    let path = "acme/described";
    let described = repository(&subject.url, path);
    let label =
        |name: &str, value: &str| (format!("org.opencontainers.image.{name}"), value.to_owned());
    let schema = |name: &str, value: &str| (format!("org.label-schema.{name}"), value.to_owned());
    let platforms = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let config = |created: Option<&str>, texts: [&str; 3]| {
        let [revision, source, version] =
            texts.map(|text| (!text.is_empty()).then(|| text.to_owned()));
        ImageConfig {
            created: created.map(|text| text.parse().unwrap()),
            revision,
            source,
            version,
        }
    };
    let day = "2024-05-06T07:08:09.123Z";
    let full = [
        label("revision", "0123456"),
        label("source", "https://example.com/web"),
        label("version", "1.4.0"),
        label("created", "2001-01-01T00:00:00Z"),
    ];
    let bare = ImageSpec::default();
    let labelled = ImageSpec {
        content: "labelled".to_owned(),
        created: Some(day.parse().unwrap()),
        labels: full.into(),
        ..ImageSpec::default()
    };
    let everything = config(Some(day), ["0123456", "https://example.com/web", "1.4.0"]);
    for (case, spec, expected) in [
        ("bare", bare.clone(), ImageConfig::default()),
        ("oci", labelled.clone(), everything.clone()),
        (
            "docker",
            ImageSpec {
                docker: true,
                ..labelled.clone()
            },
            everything.clone(),
        ),
        (
            "index",
            ImageSpec {
                platforms: platforms(&["linux/arm64", "linux/amd64"]),
                ..labelled.clone()
            },
            everything.clone(),
        ),
        (
            "docker-list-without-amd64",
            ImageSpec {
                docker: true,
                platforms: platforms(&["unknown/unknown", "linux/arm64", "linux/arm"]),
                ..labelled.clone()
            },
            everything.clone(),
        ),
        (
            "label-schema",
            ImageSpec {
                labels: [
                    schema("vcs-ref", "abcdef0"),
                    schema("vcs-url", "https://example.com/old"),
                    schema("version", "0.9"),
                    schema("build-date", day),
                ]
                .into(),
                ..bare.clone()
            },
            config(Some(day), ["abcdef0", "https://example.com/old", "0.9"]),
        ),
        (
            "dated-zero",
            ImageSpec {
                created: Some("1970-01-01T00:00:00Z".parse().unwrap()),
                ..bare.clone()
            },
            ImageConfig::default(),
        ),
        (
            "dated-zero-with-label",
            ImageSpec {
                created: Some("0001-01-01T00:00:00Z".parse().unwrap()),
                labels: [label("created", day)].into(),
                ..bare.clone()
            },
            config(Some(day), ["", "", ""]),
        ),
        (
            "hostile-labels",
            ImageSpec {
                labels: [
                    label("revision", "a\u{1b}[2J"),
                    label("source", &"x".repeat(5000)),
                    label("version", "a\nb"),
                    label("created", "yesterday"),
                ]
                .into(),
                ..bare.clone()
            },
            ImageConfig::default(),
        ),
    ] {
        let digest = subject.push(&spec, path, case).await;
        assert_eq!(
            reader.resolve(&described, case).await,
            Ok(Some(digest)),
            "{case}"
        );
        for _ in 0..2 {
            let found = reader.image(&described, &digest).await;
            assert_eq!(found.as_ref(), Ok(&expected), "{case}");
        }
    }
}

async fn passwords_are_checked(subject: &Subject) {
    if subject.pushing.is_none() {
        return;
    }
    let web = repository(&subject.url, "acme/web");
    for (reader, origin) in [
        (subject.reader_as("wrong"), "variable REGISTRY_PASSWORD"),
        (reader(&subject.url, anonymous()), "no credential"),
    ] {
        let error = reader.tags(&web).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Unauthorized { .. }),
            "{error}"
        );
        let text = error.to_string();
        assert!(text.contains(origin) && !text.contains("wrong"), "{text}");
    }
}

#[test]
fn a_digest_is_known_before_the_push() {
    // Recorded: it must not depend on the day, the machine or the place in the source.
    let digest = image("one").digest().to_string();
    assert_eq!(
        digest,
        "sha256:9c3ed5a69d9e4c1f94b7ed39cd4dd57355f82490d375486619c671e68a445519"
    );
}
