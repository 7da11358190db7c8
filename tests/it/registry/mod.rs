//! The registry client against the demo registry and, where installed, Debian's docker-registry.

mod access;
mod contract;
mod docker;
mod faults;
mod push;
pub(crate) mod referrers;

pub(crate) use docker::DockerRegistry;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::HeaderValue;
use towpath::demo::image::{Image, ImageSpec, Target};
use towpath::demo::registry::{Access, DemoRegistry, User};
use towpath::http::{HttpSettings, client};
use towpath::model::{Digest, ImageRepository};
use towpath::registry::{
    CredentialSource, Environment, HostSettings, HttpRegistry, RegistrySettings,
};
use towpath::secret::Secret;
use url::Url;

/// `ci:s3cret`, the one user of every registry here.
const BASIC: &str = "Basic Y2k6czNjcmV0";

fn user() -> User {
    User {
        name: "ci".to_owned(),
        password: Secret::new("s3cret"),
        forbidden: false,
    }
}

fn tokens(anonymous_pull: bool) -> Access {
    Access::Token {
        user: user(),
        lifetime: Duration::from_secs(300),
        anonymous_pull,
    }
}

/// Making a client reads the system's certificates, so each test (a thread of its own) makes one.
fn http() -> reqwest::Client {
    thread_local! {
        static CLIENT: reqwest::Client = client(&HttpSettings::default()).unwrap();
    }
    CLIENT.with(reqwest::Client::clone)
}

/// An environment with these variables and no others.
fn variables(variables: &[(&str, &str)]) -> Environment {
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    Environment::new(move |name| variables.get(name).cloned())
}

/// A client that knows this of one host, and no environment.
fn reader(host: &Url, settings: HostSettings) -> HttpRegistry {
    HttpRegistry::new(http(), settings_for(host, settings))
}

fn settings_for(host: &Url, settings: HostSettings) -> RegistrySettings {
    let name = host
        .as_str()
        .trim_start_matches("http://")
        .trim_end_matches('/');
    RegistrySettings {
        hosts: BTreeMap::from([(name.to_owned(), settings)]),
        environment: variables(&[]),
        ..RegistrySettings::default()
    }
}

fn anonymous() -> HostSettings {
    with(CredentialSource::Anonymous)
}

fn with(credential: CredentialSource) -> HostSettings {
    HostSettings {
        credential,
        ..HostSettings::default()
    }
}

fn image(content: &str) -> Image {
    let content = content.to_owned();
    ImageSpec {
        content,
        ..ImageSpec::default()
    }
    .build()
}

fn repository(registry: &Url, path: &str) -> ImageRepository {
    let authority = &registry.as_str()["http://".len()..];
    format!("{authority}{path}").parse().unwrap()
}

async fn push(
    registry: &Url,
    image: &Image,
    repository: &str,
    tag: &str,
    authorization: Option<&'static str>,
) -> Digest {
    let target = Target {
        registry,
        repository,
        tag,
        authorization: authorization.map(HeaderValue::from_static),
    };
    image.push(&http(), &target).await.unwrap()
}

/// A demo registry that holds one image as `acme/web:v1`.
async fn stocked() -> (DemoRegistry, ImageRepository, Digest) {
    let registry = DemoRegistry::start(Access::Open, None).await.unwrap();
    let digest = push(&registry.url(), &image("one"), "acme/web", "v1", None).await;
    let repository = registry.repository("acme/web").unwrap();
    (registry, repository, digest)
}

/// Where a program is, or `None` after saying that the test is skipped. CI has them all.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        let ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(!ci, "CI=true, but {name} is not installed");
        println!("SKIPPED: {name} is not installed");
    }
    found
}
