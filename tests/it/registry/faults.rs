//! A registry that is broken, slow, overloaded or hostile.

use std::time::Duration;

use towpath::demo::registry::{Access, DemoRegistry, Fault, Quirks, Rule, User};
use towpath::http::{HttpSettings, client};
use towpath::model::Digest;
use towpath::registry::{HostSettings, HttpRegistry, Registry, RegistryError, RegistrySettings};

use super::{anonymous, image, push, reader, repository, settings_for, stocked, user};

fn fault(status: u16, headers: &[(&'static str, &str)], body: &str) -> Fault {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    Fault::Answer {
        status,
        headers: headers.collect(),
        body: body.to_owned(),
    }
}

fn rule(path: &'static str, fault: Fault) -> Option<Rule> {
    let times = usize::MAX;
    Some(Rule { path, times, fault })
}

#[tokio::test]
async fn a_broken_tag_list_is_an_error_that_says_what_to_do() {
    let (registry, repository, _) = stocked().await;
    let denied = r#"{"errors":[{"code":"DENIED","message":"no\u001b[2J"}]}"#;
    let evil = r#"<https://evil.example/v2/x>; rel="next""#;
    for (fault, transient, text) in [
        (fault(500, &[], "<html>"), true, "it answered 500"),
        (fault(502, &[], "upstream"), true, "502 (upstream)"),
        (fault(503, &[], ""), true, "503"),
        (
            fault(403, &[], denied),
            false,
            "may not read it (DENIED: no\\u{1b}[2J): grant",
        ),
        (fault(404, &[], ""), false, "does not know the repository"),
        (fault(405, &[], ""), false, "status 405"),
        (fault(204, &[], ""), false, "status 204"),
        (
            fault(200, &[], "<html>hello"),
            false,
            "tag list is not JSON",
        ),
        (fault(200, &[], "{\"tags\":"), false, "tag list is not JSON"),
        (fault(200, &[], ""), false, "tag list is not JSON"),
        (
            fault(200, &[("link", evil)], r#"{"tags":["a"]}"#),
            false,
            "not on the same host",
        ),
        (
            fault(307, &[("location", "ftp://x/")], ""),
            false,
            "redirects where it may not",
        ),
        (
            fault(307, &[("location", "/v2/acme/web/tags/list")], ""),
            false,
            "too many redirects",
        ),
        (fault(401, &[], ""), false, "by neither Basic nor Bearer"),
        (
            fault(401, &[("www-authenticate", "Negotiate")], ""),
            false,
            "nor Bearer (Negotiate)",
        ),
        (
            fault(401, &[("www-authenticate", "Basic realm=\"x")], ""),
            false,
            "neither",
        ),
        (
            fault(401, &[("www-authenticate", "Basic realm=x")], ""),
            false,
            "not authorised with no credential",
        ),
        (
            fault(
                401,
                &[("www-authenticate", "Bearer realm=\"http://t.example/\"")],
                "",
            ),
            false,
            "not https",
        ),
        (
            fault(
                401,
                &[("www-authenticate", "Bearer realm=\"file:///x\"")],
                "",
            ),
            false,
            "not https",
        ),
        (
            fault(401, &[("www-authenticate", "Bearer")], ""),
            false,
            "not https",
        ),
        (Fault::Cut, true, "broke off"),
        (Fault::Flood(17 << 20), false, "more than 16 MiB"),
    ] {
        registry.set_fault(rule("/tags/list", fault.clone()));
        let error = reader(&registry.url(), anonymous())
            .tags(&repository)
            .await
            .unwrap_err();
        let found = error.to_string();
        assert!(found.contains(text), "{fault:?}: {found}");
        assert!(found.contains("acme/web"), "{fault:?}: {found}");
        assert!(!found.contains(char::is_control), "{fault:?}: {found:?}");
        assert_eq!(error.is_transient(), transient, "{fault:?}: {found}");
        assert_eq!(error.retry_after(), None);
    }
}

#[tokio::test]
async fn broken_content_is_refused() {
    let (registry, repository, digest) = stocked().await;
    let path = "manifests/sha256";
    let other = image("other");
    let directory = tempfile::tempdir().unwrap();
    other.write_layout(directory.path(), "v1").unwrap();
    let name = other
        .digest()
        .to_string()
        .replace("sha256:", "blobs/sha256/");
    let other = std::fs::read_to_string(directory.path().join(name)).unwrap();
    for (path, fault, text) in [
        (path, fault(200, &[], &other), "has content of sha256:"),
        (path, Fault::Flood(5 << 20), "more than 4 MiB"),
        (path, Fault::Cut, "broke off"),
        (path, fault(404, &[], ""), "does not know the manifest"),
        ("/blobs/", fault(200, &[], "{}"), "has content of sha256:"),
        ("/blobs/", Fault::Flood(9 << 20), "more than 8 MiB"),
        (
            "/blobs/",
            fault(404, &[], ""),
            "does not know the image configuration",
        ),
    ] {
        registry.set_fault(rule(path, fault.clone()));
        let reader = reader(&registry.url(), anonymous());
        let error = reader
            .image(&repository, &digest)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{fault:?}: {error}");
        registry.set_fault(None);
        assert!(
            reader.image(&repository, &digest).await.is_ok(),
            "an error is not kept"
        );
    }
}

#[tokio::test]
async fn a_manifest_that_is_none_is_refused() {
    let (registry, repository, _) = stocked().await;
    let part = format!(r#"{{"digest":"{}"}}"#, Digest::of(b""));
    for (body, text) in [
        (
            r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(),
            "old schema 1",
        ),
        (
            r#"{"schemaVersion":2}"#.to_owned(),
            "neither an index nor an image",
        ),
        (
            format!(r#"{{"manifests":[{part}],"config":{part}}}"#),
            "at once",
        ),
        (r#"{"manifests":[]}"#.to_owned(), "holds no image"),
        (
            r#"{"manifests":[{"digest":"sha512:00"}]}"#.to_owned(),
            "unusable",
        ),
        ("[]".to_owned(), "not as specified"),
        ("\u{0}".to_owned(), "not as specified"),
        ("[".repeat(100_000), "not as specified"),
    ] {
        registry.set_fault(rule("manifests/sha256", fault(200, &[], &body)));
        let digest = Digest::of(body.as_bytes());
        let reader = reader(&registry.url(), anonymous());
        let error = reader
            .image(&repository, &digest)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(text), "{error}");
    }
}

#[tokio::test]
async fn an_index_that_leads_nowhere_ends() {
    let (registry, repository, _) = stocked().await;
    let leaf = Digest::of(b"leaf");
    let index = format!(r#"{{"manifests":[{{"digest":"{leaf}"}}]}}"#);
    let digest = Digest::of(index.as_bytes());
    registry.set_fault(Some(Rule {
        path: "manifests/sha256",
        times: 1,
        fault: fault(200, &[], &index),
    }));
    let reader = reader(&registry.url(), anonymous());
    let error = reader.image(&repository, &digest).await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn a_silent_registry_is_given_up() {
    let (registry, repository, _) = stocked().await;
    registry.set_fault(rule("", Fault::Hang));
    let short = Duration::from_millis(50);
    let settings = settings_for(&registry.url(), anonymous());
    let impatient = HttpRegistry::new(
        super::http(),
        RegistrySettings {
            deadline: short,
            ..settings.clone()
        },
    );
    let idle = client(&HttpSettings {
        idle_timeout: short,
        ..HttpSettings::default()
    });
    let idle = HttpRegistry::new(idle.unwrap(), settings);
    for reader in [impatient, idle] {
        let error = reader.resolve(&repository, "v1").await.unwrap_err();
        assert!(error.is_transient());
        assert!(error.to_string().contains("no answer in time"), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_went_down_comes_back() {
    let (registry, repository, digest) = stocked().await;
    let reader = reader(&registry.url(), anonymous());
    assert_eq!(reader.resolve(&repository, "v1").await, Ok(Some(digest)));
    registry.set_down(true);
    let error = reader.resolve(&repository, "v1").await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(error.to_string().contains("unavailable"), "{error}");
    registry.set_down(false);
    assert_eq!(reader.resolve(&repository, "v1").await, Ok(Some(digest)));
}

#[tokio::test]
async fn a_registry_that_asks_to_wait_is_left_alone() {
    for (status, retry_after, waits) in [
        (429, Some("7"), true),
        (503, Some("7"), true),
        (429, None, false),
        (429, Some("0"), false),
        (429, Some("soon"), false),
    ] {
        let (registry, repository, _) = stocked().await;
        let headers: Vec<_> = retry_after
            .map(|value| ("retry-after", value))
            .into_iter()
            .collect();
        registry.set_fault(Some(Rule {
            path: "",
            times: 1,
            fault: fault(status, &headers, ""),
        }));
        let reader = reader(&registry.url(), anonymous());
        let before = registry.counts().all();
        let first = reader.tags(&repository).await.unwrap_err();
        assert!(
            matches!(first, RegistryError::TooManyRequests { .. }),
            "{first}"
        );
        assert!(first.is_transient());
        assert_eq!(registry.counts().all(), before + 1);

        let second = reader.resolve(&repository, "v1").await;
        assert_eq!(second.is_err(), waits, "{status} {retry_after:?}");
        if let Err(error) = second {
            let left = error.retry_after().unwrap();
            assert!(left <= Duration::from_secs(7) && left > Duration::from_secs(3));
            assert!(error.to_string().contains("asks to wait"), "{error}");
            assert_eq!(registry.counts().all(), before + 1, "it was not asked");
        }
    }
}

#[tokio::test]
async fn pages_are_followed_until_nothing_new_comes() {
    let (registry, repository, _) = stocked().await;
    let image = image("one");
    for index in 0..1100 {
        let tag = format!("t{index:04}");
        push(&registry.url(), &image, "acme/web", &tag, None).await;
    }
    let [link, absolute, none, whole] = [Quirks::default(); 4];
    for (quirks, requests) in [
        (link, 2),
        (
            Quirks {
                absolute_link: true,
                ..absolute
            },
            2,
        ),
        (
            Quirks {
                no_link: true,
                ..none
            },
            2,
        ),
        (
            Quirks {
                whole_list: true,
                ..whole
            },
            1,
        ),
    ] {
        registry.set_quirks(quirks);
        let before = registry.counts().tag_lists;
        let tags = reader(&registry.url(), anonymous())
            .tags(&repository)
            .await
            .unwrap();
        assert_eq!(tags.len(), 1101);
        assert!(tags.is_sorted());
        assert_eq!(registry.counts().tag_lists - before, requests, "{quirks:?}");
    }
    let page: Vec<String> = (0..1000).map(|index| format!("\"x{index}\"")).collect();
    let page = format!(r#"{{"tags":[{},"a/b","x1"]}}"#, page.join(","));
    let itself = r#"</v2/acme/web/tags/list?n=1000>; rel="next""#;
    registry.set_fault(rule("/tags/list", fault(200, &[("link", itself)], &page)));
    let before = registry.counts().tag_lists;
    let tags = reader(&registry.url(), anonymous())
        .tags(&repository)
        .await
        .unwrap();
    assert_eq!(tags.len(), 1000, "each once, and none that is no tag");
    assert_eq!(
        registry.counts().tag_lists - before,
        2,
        "an endless list ends"
    );
}

#[tokio::test]
async fn what_is_known_is_not_fetched_again() {
    let (registry, repository, digest) = stocked().await;
    let reader = reader(&registry.url(), anonymous());
    for _ in 0..3 {
        assert_eq!(reader.resolve(&repository, "v1").await, Ok(Some(digest)));
        reader.image(&repository, &digest).await.unwrap();
    }
    let counts = registry.counts();
    assert_eq!((counts.manifest_heads, counts.not_modified), (3, 2));
    // One blob is read here; the push asked for its two.
    assert_eq!((counts.manifest_gets, counts.blobs), (1, 3));
}

#[tokio::test]
async fn plain_http_is_for_this_machine_or_where_it_is_named() {
    let (registry, _, digest) = stocked().await;
    let before = registry.counts().all();
    let port = registry.address().port();
    let name = format!("registry.test:{port}");
    let http = reqwest::Client::builder()
        .resolve("registry.test", registry.address())
        .build()
        .unwrap();
    let repository = format!("{name}/acme/web").parse().unwrap();
    for plain_http in [None, Some(false)] {
        let settings = HostSettings {
            plain_http,
            ..anonymous()
        };
        let url = format!("http://{name}/").parse().unwrap();
        let reader = HttpRegistry::new(http.clone(), settings_for(&url, settings));
        let error = reader.resolve(&repository, "v1").await.unwrap_err();
        assert!(
            error.to_string().contains("does it speak plain http?"),
            "{error}"
        );
        assert_eq!(registry.counts().all(), before);
    }
    let settings = HostSettings {
        plain_http: Some(true),
        ..anonymous()
    };
    let url = format!("http://{name}/").parse().unwrap();
    let reader = HttpRegistry::new(http, settings_for(&url, settings));
    assert_eq!(reader.resolve(&repository, "v1").await, Ok(Some(digest)));
}

#[tokio::test]
async fn a_mirror_is_asked_in_the_registrys_place() {
    let (registry, repository, digest) = stocked().await;
    let settings = HostSettings {
        mirror: Some(registry.url()),
        ..anonymous()
    };
    let url = "http://registry.example.com/".parse().unwrap();
    let http = client(&HttpSettings::default()).unwrap();
    let reader = HttpRegistry::new(http, settings_for(&url, settings));
    let named = format!("registry.example.com/{}", repository.path());
    let named = named.parse().unwrap();
    assert_eq!(reader.resolve(&named, "v1").await, Ok(Some(digest)));
    let stored = reader.stored(&named, "v1").await.unwrap().unwrap();
    assert_eq!(stored.digest, digest);
    assert_eq!(Digest::of(&stored.manifests[0]), digest);
    assert_eq!(reader.image(&named, &digest).await, Ok(stored.image));
    assert_eq!(reader.stored(&named, "v2").await, Ok(None));
}

#[tokio::test]
async fn a_proxy_is_asked_for_other_machines_only() {
    let (registry, repository, digest) = stocked().await;
    let proxied = |proxy: &str| {
        let settings = HttpSettings {
            proxy: Some(proxy.parse().unwrap()),
            ..HttpSettings::default()
        };
        let plain = HostSettings {
            plain_http: Some(true),
            ..anonymous()
        };
        let host = "http://registry.test/".parse().unwrap();
        HttpRegistry::new(client(&settings).unwrap(), settings_for(&host, plain))
    };
    // The demo registry stands in for the proxy: that the name is never looked up is the proof.
    let other = "registry.test/acme/web".parse().unwrap();
    let reader = proxied(registry.url().as_str());
    assert_eq!(reader.resolve(&other, "v1").await, Ok(Some(digest)));
    // Port 1 has no proxy, and is not asked for this machine.
    let reader = proxied("http://127.0.0.1:1/");
    assert_eq!(reader.resolve(&repository, "v1").await, Ok(Some(digest)));
    let error = reader.resolve(&other, "v1").await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_redirect_takes_no_credential_along() {
    let (registry, repository, digest) = stocked().await;
    let (storage, _, _) = stocked().await;
    let source = towpath::registry::CredentialSource::Variable {
        variable: "PASSWORD".to_owned(),
        user: Some("ci".to_owned()),
    };
    let settings = RegistrySettings {
        environment: super::variables(&[("USER", "ci"), ("PASSWORD", "s3cret")]),
        ..settings_for(&registry.url(), super::with(source))
    };
    registry.set_access(Access::Basic(user()));
    for (access, good) in [(Access::Open, true), (Access::Basic(user()), false)] {
        storage.set_access(access);
        let place = storage
            .url()
            .join(&format!("v2/acme/web/manifests/{digest}"))
            .unwrap();
        let place = place.as_str().to_owned();
        registry.set_fault(rule(
            "manifests/sha256",
            fault(307, &[("location", &place)], ""),
        ));
        let reader = HttpRegistry::new(super::http(), settings.clone());
        let found = reader.image(&repository, &digest).await;
        assert_eq!(found.is_ok(), good, "{found:?}");
        if let Err(error) = found {
            assert!(error.to_string().contains("none is sent"), "{error}");
        }
    }
}

#[tokio::test]
async fn no_more_requests_than_allowed_are_under_way() {
    let (registry, repository, _) = stocked().await;
    registry.set_fault(rule("/tags/list", Fault::Hang));
    let settings = HostSettings {
        concurrency: 2,
        ..anonymous()
    };
    let reader = reader(&registry.url(), settings);
    let questions = futures_util::future::join_all((0..5).map(|_| reader.tags(&repository)));
    // All five are polled again and again meanwhile; without a limit five arrive.
    assert!(
        tokio::time::timeout(Duration::from_millis(300), questions)
            .await
            .is_err()
    );
    assert_eq!(registry.counts().tag_lists, 2);
}

#[tokio::test]
async fn a_known_user_without_rights_is_told_apart() {
    let (registry, repository, _) = stocked().await;
    registry.set_access(Access::Basic(User {
        forbidden: true,
        ..user()
    }));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("credential");
    std::fs::write(&path, "ci:s3cret\n").unwrap();
    let source = towpath::registry::CredentialSource::File {
        user: None,
        path: path.clone(),
    };
    let error = reader(&registry.url(), super::with(source))
        .tags(&repository)
        .await
        .unwrap_err();
    assert!(matches!(error, RegistryError::Forbidden { .. }), "{error}");
    assert!(
        error.to_string().contains(&path.display().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_repository_the_registry_does_not_know_is_not_a_missing_tag() {
    let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
    let unknown = r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no"}]}"#;
    registry.set_fault(rule("/manifests/", fault(404, &[], unknown)));
    let web = repository(&registry.url(), "acme/web");
    let reader = reader(&registry.url(), anonymous());
    let error = reader.resolve(&web, "v1").await.unwrap_err();
    assert!(matches!(error, RegistryError::NotFound { .. }), "{error}");
    registry.set_fault(rule("/manifests/", fault(404, &[], "<html>")));
    assert_eq!(reader.resolve(&web, "v1").await, Ok(None));
}
