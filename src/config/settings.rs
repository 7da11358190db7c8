//! `towpath.yaml`: what holds for the whole process. The file and every key in it are optional.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::commit::{CommitSettings, commit};
use super::credential::credential;
use super::environment::values;
use super::forge::{self, ForgeSettings};
use super::form::{At, Flag, Words, a_second_or_more};
use super::list::{Table, any_list};
use super::notifications::{self, notifications};
use super::section::{Fields, Section};
use super::terms;
use super::via::Committing;
use super::webhooks::{tls, webhooks};
use crate::http::Allowed;
use crate::model::{
    Admission, Author, Credential, EnvironmentName, Notification, Receiver, SigningKey, TlsFiles,
    WebAddress, Webhooks,
};

/// What holds for the whole process.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// How registries are reached, by host as [`ImageRepository::host`] spells it.
    ///
    /// [`ImageRepository::host`]: crate::model::ImageRepository::host
    pub registries: BTreeMap<String, RegistrySettings>,
    /// How forges are reached, by host.
    pub forges: BTreeMap<String, ForgeSettings>,
    /// PEM certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy for HTTP; `None`: as `HTTPS_PROXY` and its relatives say.
    pub proxy: Option<Url>,
    /// Where smoke tests and notifications may lead.
    pub outward: Allowed,
    /// The author and committer of Towpath's commits and tags.
    pub author: Author,
    /// How those commits are made.
    pub commit: CommitSettings,
    /// How often sources are looked at when nothing wakes Towpath.
    pub poll: Poll,
    /// Where webhooks are taken and questions of probes and metrics answered; `None`: nowhere.
    pub listen: Option<SocketAddr>,
    /// The certificate shown there; `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// Whose webhooks are taken.
    pub webhooks: Webhooks,
    /// Who is told of what was decided.
    pub notifications: Vec<Notification>,
    /// Where mirrors and observations are kept, all of which may be deleted; `None`: see
    /// [`default_cache`].
    pub cache: Option<PathBuf>,
}

/// How one registry is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    /// How to be let in.
    pub credential: Credential,
    /// Whether it is spoken to without TLS. Loopback always may be.
    pub plain_http: bool,
    /// Who is asked in its place.
    pub mirror: Option<Url>,
}

/// How often sources are looked at. At least a second each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poll {
    /// Git repositories.
    pub git: Duration,
    /// Registries.
    pub registry: Duration,
    /// Forges.
    pub forge: Duration,
}

/// The cache directory where none is configured: `towpath` in `XDG_CACHE_HOME`, else in `.cache` of
/// `HOME` ([XDG base directories](https://specifications.freedesktop.org/basedir-spec/latest/)), else
/// in the system's temporary directory. `variable` looks up environment variables.
pub fn default_cache(variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let absolute = |name| variable(name).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("towpath")
}

/// What the file names that stands elsewhere.
#[derive(Default)]
pub(super) struct Named {
    /// The environments of its notifications.
    pub(super) notified: Vec<At<EnvironmentName>>,
    /// The hosts on which GitHub makes the commits.
    pub(super) committing: Committing,
}

/// The form of the whole file.
pub(super) fn file() -> Fields<(Settings, Named)> {
    Fields {
        sample: "poll: { git: 30s }",
        read: settings,
    }
}

impl Settings {
    /// Relative paths start at the configuration's folder.
    pub(super) fn rooted(mut self, root: &Path) -> Self {
        for path in [&mut self.ca_file, &mut self.cache].into_iter().flatten() {
            *path = root.join(&*path);
        }
        for registry in self.registries.values_mut() {
            root_credential(&mut registry.credential, root);
        }
        for forge in self.forges.values_mut() {
            root_credential(&mut forge.credential, root);
            if let Some(app) = &mut forge.app {
                root_credential(&mut app.key, root);
            }
        }
        for notification in &mut self.notifications {
            let (url, secret) = match &mut notification.receiver {
                Receiver::Slack { url } => (url, None),
                Receiver::Webhook { url, secret } => (url, secret.as_mut()),
            };
            if let WebAddress::Named(credential) = url {
                root_credential(credential, root);
            }
            if let Some(secret) = secret {
                root_credential(secret, root);
            }
        }
        match &mut self.commit.sign {
            Some(SigningKey::Ssh(key)) => root_credential(key, root),
            Some(SigningKey::Gpg {
                home: Some(home), ..
            }) => *home = root.join(&*home),
            _ => {}
        }
        if let Some(files) = &mut self.tls {
            files.certificate = root.join(&files.certificate);
            files.key = root.join(&files.key);
        }
        for admission in self.webhooks.values_mut() {
            if let Admission::Secrets(secrets) = admission {
                let secrets = secrets.iter_mut();
                secrets.for_each(|secret| root_credential(secret, root));
            }
        }
        self
    }
}

pub(super) fn root_credential(credential: &mut Credential, root: &Path) {
    if let Credential::File { path, .. } = credential {
        *path = root.join(&*path);
    }
}

fn settings(section: &mut Section<'_>) -> Option<(Settings, Named)> {
    let registries = section.or(
        "registries",
        "How image registries are reached, by host. A registry that is not named here is reached over TLS with docker's configuration.",
        Table {
            key: terms::registry_host(),
            value: Fields { sample: "{ credential: { env: REGISTRY_TOKEN } }", read: registry },
        },
        "{}",
    );
    let forges = section.or(
        "forges",
        "How forges are reached, by host. One that is not named here is reached with the repository's own credential.",
        Table {
            key: forge::host(),
            value: Fields { sample: "{ credential: { env: FORGE_TOKEN } }", read: forge::forge },
        },
        "{}",
    );
    let ca_file = section.optional(
        "ca-file",
        "PEM certificates to trust in addition to the system's, for git, registries and forges. A relative path starts at this folder.",
        terms::path(),
    );
    let proxy = section.optional(
        "proxy",
        "The HTTP proxy for every connection except those to this machine. Left out: as HTTPS_PROXY, HTTP_PROXY and NO_PROXY say.",
        terms::proxy(),
    );
    let outward = section.or(
        "outward",
        "Where smoke tests and notifications may lead.",
        Fields {
            sample: "{ allow: [loopback] }",
            read: outward,
        },
        "{}",
    );
    let author = section.or(
        "author",
        "The author and committer of Towpath's commits and tags.",
        Fields {
            sample: "{ name: Towpath, email: towpath@example.com }",
            read: author,
        },
        "{}",
    );
    let commit = section.or("commit", "How those commits are made.", commit(), "{}");
    let poll = section.or(
        "poll",
        "How often sources are looked at when nothing wakes Towpath.",
        Fields {
            sample: "{ git: 30s, registry: 30s, forge: 30s }",
            read: poll,
        },
        "{}",
    );
    let listen = section.optional(
        "listen",
        "The address at which webhooks are taken and `/healthz`, `/readyz` and `/metrics` answered. Left out: none. It is taken up at the start.",
        terms::socket(),
    );
    let tls = section.optional(
        "tls",
        "The certificate that is shown at `listen`. Left out: plain HTTP, for loopback or behind a proxy. It is taken up at the start.",
        Fields {
            sample: "{ certificate: tls.crt, key: tls.key }",
            read: tls,
        },
    );
    let webhooks = section.or(
        "webhooks",
        "Whose webhooks are taken, each at `/hooks/` and this name: `github`, `gitea` (Forgejo too), `registry` (distribution's), `harbor`, `docker-hub`, `quay`, `generic`. Who does not stand here is not listened to.",
        webhooks(),
        "{}",
    );
    let notifications = section.or(
        "notifications",
        "Who is told of what was decided (docs/notifications.md).",
        notifications(),
        "[]",
    );
    let cache = section.optional(
        "cache",
        "The directory of mirrors and observations, all of which may be deleted. Left out: `towpath` in the user's cache directory. A relative path starts at this folder.",
        terms::path(),
    );
    let (notifications, notified) = apart(section, values(notifications?.value));
    let (forges, committing) = committing(forges?.value);
    let settings = Settings {
        registries: by_host(section, "registry", registries?.value),
        forges: by_host(section, "forge", forges),
        ca_file: ca_file.map(|at| at.value),
        proxy: proxy.map(|at| at.value),
        outward: outward?.value,
        author: author?.value,
        commit: commit?.value,
        poll: poll?.value,
        listen: listen.map(|at| at.value),
        tls: tls.map(|at| at.value),
        webhooks: webhooks?
            .value
            .into_iter()
            .map(|(at, it)| (at.value, it))
            .collect(),
        notifications,
        cache: cache.map(|at| at.value),
    };
    let named = Named {
        notified,
        committing,
    };
    Some((settings, named))
}

/// The forges, and on which of them commits are made, with the places where that stands.
fn committing(
    stated: Vec<(At<String>, forge::Stated)>,
) -> (Vec<(At<String>, ForgeSettings)>, Committing) {
    let (mut forges, mut committing) = (Vec::new(), Committing::new());
    for (host, (settings, place)) in stated {
        let at = |place| At {
            place,
            value: host.value.clone(),
        };
        committing.extend(place.map(at));
        forges.push((host, settings));
    }
    (forges, committing)
}

/// The notifications, each by its own name, and the environments that they name.
fn apart(
    section: &mut Section<'_>,
    declared: Vec<notifications::Declared>,
) -> (Vec<Notification>, Vec<At<EnvironmentName>>) {
    let (mut all, mut environments): (Vec<Notification>, _) = (Vec::new(), Vec::new());
    for one in declared {
        let At { place, value: name } = one.name;
        if all.iter().any(|it| it.name == name) {
            let what = format!("the notification `{name}` stands here twice");
            let instead = "give one of them another name";
            section.reading.problems.error(&place, what, instead);
        }
        all.push(one.notification);
        environments.extend(one.environments);
    }
    (all, environments)
}

fn by_host<T>(
    section: &mut Section<'_>,
    kind: &str,
    stated: Vec<(At<String>, T)>,
) -> BTreeMap<String, T> {
    let mut by_host = BTreeMap::new();
    for (At { place, value: host }, settings) in stated {
        if by_host.insert(host.clone(), settings).is_some() {
            let what = format!("the {kind} `{host}` stands here twice");
            let problems = &mut section.reading.problems;
            problems.error(&place, what, "keep one of them");
        }
    }
    by_host
}

fn registry(section: &mut Section<'_>) -> Option<RegistrySettings> {
    let credential = credential(section);
    let plain_http = section.or(
        "plain-http",
        "Whether it is spoken to without TLS. A registry on this machine always may be.",
        Flag,
        "false",
    );
    let mirror = section.optional(
        "mirror",
        "Who is asked in its place, such as a pull-through cache: `http://HOST:PORT` or `https://HOST`. Manifests go on naming the registry. The credential is the mirror's.",
        terms::mirror(),
    );
    Some(RegistrySettings {
        credential,
        plain_http: plain_http?.value,
        mirror: mirror.map(|at| at.value),
    })
}

fn outward(section: &mut Section<'_>) -> Option<Allowed> {
    let allow = section.or(
        "allow",
        "What they may lead to beside all else, also where a name leads there: `loopback` (this machine) and `link-local` (where clouds keep a machine's credentials).",
        any_list(Words(&[("loopback", Near::Loopback), ("link-local", Near::Link)])),
        "[]",
    );
    let allow = values(allow?.value);
    Some(Allowed {
        loopback: allow.contains(&Near::Loopback),
        link_local: allow.contains(&Near::Link),
    })
}

/// What is not led to unless that is allowed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Near {
    Loopback,
    Link,
}

fn author(section: &mut Section<'_>) -> Option<Author> {
    let name = section.or(
        "name",
        "The author's name.",
        terms::author_part(),
        "Towpath",
    );
    let email = section.or(
        "email",
        "The author's e-mail address.",
        terms::author_part(),
        "towpath@localhost",
    );
    Some(Author {
        name: name?.value,
        email: email?.value,
    })
}

fn poll(section: &mut Section<'_>) -> Option<Poll> {
    let git = section.or("git", "Git repositories.", a_second_or_more(), "30s");
    let registry = section.or("registry", "Registries.", a_second_or_more(), "30s");
    let forge = section.or("forge", "Forges.", a_second_or_more(), "30s");
    Some(Poll {
        git: git?.value,
        registry: registry?.value,
        forge: forge?.value,
    })
}
