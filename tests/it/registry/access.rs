//! Credentials: where they are found, how they are shown, and what the registry says of them.

use std::path::Path;

use towpath::demo::registry::{Access, Fault, Rule};
use towpath::registry::{
    CredentialSource, HttpRegistry, Registry, RegistryError, RegistrySettings,
};

use super::{settings_for, stocked, tokens, user, variables, with};

fn token_variable() -> CredentialSource {
    CredentialSource::Variable {
        variable: "TOKEN".to_owned(),
        user: None,
    }
}

fn password() -> CredentialSource {
    CredentialSource::Variable {
        variable: "PASSWORD".to_owned(),
        user: Some("ci".to_owned()),
    }
}

#[tokio::test]
async fn tokens_are_fetched_once_and_again_when_they_end() {
    let (registry, repository, digest) = stocked().await;
    let settings = RegistrySettings {
        environment: variables(&[("USER", "ci"), ("PASSWORD", "s3cret")]),
        ..settings_for(&registry.url(), with(password()))
    };
    registry.set_access(tokens(false));
    let reader = HttpRegistry::new(super::http(), settings.clone());
    let questions = (0..4).map(|_| reader.resolve(&repository, "v1"));
    for answer in futures_util::future::join_all(questions).await {
        assert_eq!(answer, Ok(Some(digest)));
    }
    reader.tags(&repository).await.unwrap();
    reader.image(&repository, &digest).await.unwrap();
    assert_eq!(
        registry.counts().tokens,
        1,
        "concurrent questions share one"
    );

    registry.withdraw_tokens();
    assert_eq!(reader.resolve(&repository, "v1").await, Ok(Some(digest)));
    assert_eq!(
        registry.counts().tokens,
        2,
        "a refused token is replaced once"
    );

    // Tokens that have ended when they arrive: one is fetched before the question, one after the
    // registry refused it, and then no more.
    registry.set_access(Access::Token {
        user: user(),
        lifetime: std::time::Duration::ZERO,
        anonymous_pull: false,
    });
    let reader = HttpRegistry::new(super::http(), settings);
    for fetched in [3, 5] {
        let error = reader.tags(&repository).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Unauthorized { .. }),
            "{error}"
        );
        assert_eq!(registry.counts().tokens, fetched);
    }
}

#[tokio::test]
async fn each_form_of_credential_is_used_and_named() {
    let (registry, repository, _) = stocked().await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        CredentialSource::File { path, user: None }
    };
    let missing = CredentialSource::File {
        user: None,
        path: directory.path().join("missing"),
    };
    let basic = || Access::Basic(user());
    let good = [("USER", "ci"), ("PASSWORD", "s3cret"), ("TOKEN", "s3cret")];
    let bad = [
        ("USER", "ci"),
        ("PASSWORD", "hunter2"),
        ("TOKEN", "hunter2"),
    ];
    // The empty text stands for success.
    for (access, source, variables_set, text) in [
        (basic(), password(), &good[..], ""),
        (
            basic(),
            password(),
            &bad,
            "not authorised with the environment variable PASSWORD",
        ),
        (basic(), password(), &[], "PASSWORD is not set"),
        (basic(), file("good", "ci:s3cret\n"), &[], ""),
        (
            basic(),
            file("bad", "ci:hunter2"),
            &[],
            "not authorised with the file",
        ),
        (basic(), file("empty", " \n"), &[], "it is empty"),
        (
            basic(),
            file("token", "hunter2"),
            &[],
            "not authorised with the file",
        ),
        (
            basic(),
            file("lines", "a\nhunter2"),
            &[],
            "not one line of ASCII",
        ),
        (basic(), missing, &[], "No such file"),
        (
            basic(),
            CredentialSource::Anonymous,
            &good,
            "not authorised with no credential",
        ),
        (
            basic(),
            token_variable(),
            &bad,
            "not authorised with the environment variable TOKEN",
        ),
        (tokens(false), password(), &good, ""),
        (
            tokens(false),
            password(),
            &bad,
            "not authorised with the environment variable PASSWORD",
        ),
        (
            tokens(false),
            CredentialSource::Anonymous,
            &good,
            "not authorised with no credential",
        ),
        (tokens(true), CredentialSource::Anonymous, &good, ""),
        (
            tokens(true),
            password(),
            &bad,
            "not authorised with the environment variable PASSWORD",
        ),
        (
            tokens(false),
            token_variable(),
            &bad,
            "not authorised with the environment variable TOKEN",
        ),
        (Access::Open, password(), &[], ""),
    ] {
        registry.set_access(access);
        let case = format!("{source} {variables_set:?}");
        let settings = RegistrySettings {
            environment: variables(variables_set),
            ..settings_for(&registry.url(), with(source))
        };
        expect(
            &HttpRegistry::new(super::http(), settings),
            &repository,
            text,
            &case,
        )
        .await;
    }
}

async fn expect(
    reader: &HttpRegistry,
    repository: &towpath::model::ImageRepository,
    text: &str,
    case: &str,
) {
    match reader.tags(repository).await {
        Ok(tags) => assert!(text.is_empty() && tags == ["v1"], "{case}: {tags:?}"),
        Err(error) => {
            let found = format!("{error} {error:?}");
            assert!(!text.is_empty() && found.contains(text), "{case}: {found}");
            for secret in ["hunter2", "s3cret"] {
                assert!(!found.contains(secret), "{case}: {found}");
            }
        }
    }
}

#[tokio::test]
async fn docker_s_configuration_is_read() {
    let (registry, repository, _) = stocked().await;
    let host = registry.address();
    let helpers = tempfile::tempdir().unwrap();
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/registry/docker-credential-fixture");
    for name in ["known", "identity", "empty", "garbage", "failing"] {
        let link = helpers.path().join(format!("docker-credential-{name}"));
        std::os::unix::fs::symlink(&fixture, link).unwrap();
    }
    let path = helpers.path().to_str().unwrap();
    let auth = |key: &str, entry: &str| format!(r#"{{"auths":{{"{key}":{entry}}}}}"#);
    let good = r#"{"auth":"Y2k6czNjcmV0"}"#;
    let basic = || Access::Basic(user());
    for (access, config, text) in [
        (basic(), auth(&host.to_string(), good), ""),
        (basic(), auth(&format!("https://{host}"), good), ""),
        (basic(), auth(&format!("http://{host}/v1/"), good), ""),
        (
            basic(),
            auth("other.example", good),
            "no credential (none for 127.0.0.1:",
        ),
        (
            basic(),
            auth(&host.to_string(), "{}"),
            "no credential (none for",
        ),
        (
            basic(),
            auth(
                &host.to_string(),
                r#"{"username":"ci","password":"s3cret"}"#,
            ),
            "",
        ),
        (
            basic(),
            auth(&host.to_string(), r#"{"auth":"!"}"#),
            "not base64 of user:password",
        ),
        (
            basic(),
            auth(&host.to_string(), r#"{"auth":"aHVudGVyMg=="}"#),
            "not base64 of user:password",
        ),
        (
            basic(),
            auth(&host.to_string(), r#"{"identitytoken":"s3cret"}"#),
            "has an identity token",
        ),
        (
            tokens(false),
            auth(&host.to_string(), r#"{"identitytoken":"s3cret"}"#),
            "",
        ),
        (
            tokens(false),
            auth(&host.to_string(), r#"{"identitytoken":"hunter2"}"#),
            "not authorised with the docker configuration",
        ),
        (
            tokens(false),
            auth(&host.to_string(), r#"{"registrytoken":"hunter2"}"#),
            "not authorised with the docker configuration",
        ),
        (tokens(false), auth(&host.to_string(), good), ""),
        (basic(), "{}".to_owned(), "no credential (none for"),
        (
            basic(),
            String::new(),
            "line 1, column 0 is not as expected",
        ),
        (
            basic(),
            auth(&host.to_string(), r#""hunter2""#),
            "is not as expected",
        ),
        (
            basic(),
            format!(r#"{{"credHelpers":{{"{host}":"known"}}}}"#),
            "",
        ),
        (
            tokens(false),
            format!(r#"{{"credHelpers":{{"{host}":"identity"}}}}"#),
            "",
        ),
        (basic(), r#"{"credsStore":"known"}"#.to_owned(), ""),
        (
            basic(),
            format!(r#"{{"credsStore":"empty","auths":{{"{host}":{good}}}}}"#),
            "",
        ),
        (
            basic(),
            r#"{"credsStore":"empty"}"#.to_owned(),
            "no credential (none for",
        ),
        (
            basic(),
            r#"{"credsStore":"garbage"}"#.to_owned(),
            "docker-credential-garbage (named in",
        ),
        (
            basic(),
            r#"{"credsStore":"failing"}"#.to_owned(),
            "the keychain is locked",
        ),
        (
            basic(),
            r#"{"credsStore":"absent"}"#.to_owned(),
            "cannot be started",
        ),
        (
            basic(),
            r#"{"credsStore":"../known"}"#.to_owned(),
            "letters, digits",
        ),
    ] {
        registry.set_access(access);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, &config).unwrap();
        let home = directory.path().to_str().unwrap();
        for (path_named, variable) in [(Some(file.clone()), "NONE"), (None, "DOCKER_CONFIG")] {
            let settings = RegistrySettings {
                environment: variables(&[("PATH", path), (variable, home)]),
                ..settings_for(
                    &registry.url(),
                    with(CredentialSource::DockerConfig { path: path_named }),
                )
            };
            let reader = HttpRegistry::new(super::http(), settings);
            expect(&reader, &repository, text, &config).await;
        }
    }
    let nothing = RegistrySettings {
        environment: variables(&[("HOME", "/nowhere")]),
        ..RegistrySettings::default()
    };
    let reader = HttpRegistry::new(super::http(), nothing);
    expect(
        &reader,
        &repository,
        "(/nowhere/.docker/config.json does not exist)",
        "no file",
    )
    .await;
}

#[tokio::test]
async fn a_broken_token_server_is_told_apart() {
    let (registry, repository, _) = stocked().await;
    registry.set_access(tokens(true));
    for (status, body, text, transient) in [
        (500, "", "unavailable: it answered 500", true),
        (429, "", "asks to wait", true),
        (403, r#"{"details":"no"}"#, "may not read it (no)", false),
        (404, "", "token server answered 404", false),
        (200, "", "is not a token", false),
        (200, "{}", "holds no token", false),
        (200, r#"{"token":""}"#, "holds no token", false),
        (200, r#"{"token":"a\nb"}"#, "not one line of ASCII", false),
        (200, r#"{"token":"hunter2"}"#, "not authorised", false),
    ] {
        registry.set_fault(Some(Rule {
            path: "/token",
            times: usize::MAX,
            fault: Fault::Answer {
                status,
                headers: Vec::new(),
                body: body.to_owned(),
            },
        }));
        let settings = settings_for(&registry.url(), with(CredentialSource::Anonymous));
        let reader = HttpRegistry::new(super::http(), settings);
        let error: RegistryError = reader.tags(&repository).await.unwrap_err();
        assert!(error.to_string().contains(text), "{body}: {error}");
        assert_eq!(error.is_transient(), transient, "{body}: {error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
