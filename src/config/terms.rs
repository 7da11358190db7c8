//! The single values that configuration is written in: names, addresses, directories, patterns.
//!
//! Each is judged alone; what values mean to each other is judged in `check`.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::json;
use url::Url;

use super::form::{Text, Wrong};
use super::problem::quote;
use crate::model::{
    ApplicationName, BranchFilter, EnvironmentName, ImageRepository, InvalidFilter,
    InvalidTemplate, InvalidUrl, RepositoryUrl, TagTemplate, VersionRange, is_over_http,
};

/// What stands for the application's name in addresses and directories.
pub(super) const APPLICATION: &str = "{application}";

const NAME: &str = "use 1 to 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit";
const NAME_PATTERN: &str = "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$";

/// The name of an application.
pub(super) fn application_name() -> Text<ApplicationName> {
    Text {
        wanted: "an application's name",
        sample: "pipeline-application",
        parse: |text| text.parse().map_err(|_| no_name(text)),
        schema: || json!({ "pattern": NAME_PATTERN }),
    }
}

/// The name of an environment.
pub(super) fn environment_name() -> Text<EnvironmentName> {
    Text {
        wanted: "an environment's name",
        sample: "qa",
        parse: |text| text.parse().map_err(|_| no_name(text)),
        schema: || json!({ "pattern": NAME_PATTERN }),
    }
}

fn no_name(text: &str) -> Wrong {
    Wrong::new(format!("{} is not a name", quote(text)), NAME)
}

/// A repository's address in which `{application}` may stand. What is returned is the text as written.
pub(super) fn repository_url() -> Text<String> {
    Text {
        wanted: "a repository's address",
        sample: "https://github.com/acme/infra",
        parse: |text| {
            url(&text.replace(APPLICATION, "application"))?;
            placeholders(text)?;
            Ok(text.to_owned())
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// A repository's address.
pub(super) fn source_url() -> Text<RepositoryUrl> {
    Text {
        wanted: "a repository's address",
        sample: "https://github.com/acme/pipeline-application",
        parse: url,
        schema: || json!({ "minLength": 1 }),
    }
}

fn url(text: &str) -> Result<RepositoryUrl, Wrong> {
    text.parse().map_err(|error| match error {
        InvalidUrl::Password => Wrong::new(
            "this address holds a password",
            "remove it and name a credential: `credential: { env: NAME }` or a git credential helper",
        ),
        InvalidUrl::Form(text) => Wrong::new(
            format!("{} is not a repository's address", quote(&text)),
            "write https://…, ssh://…, user@host:path, file:///… or an absolute path",
        ),
    })
}

/// Refuses every placeholder but `{application}`.
pub(super) fn placeholders(text: &str) -> Result<(), Wrong> {
    match text.replace(APPLICATION, "").contains(['{', '}']) {
        true => Err(Wrong::new(
            format!("{} holds a placeholder that means nothing", quote(text)),
            "the only placeholder here is `{application}`",
        )),
        false => Ok(()),
    }
}

/// A directory of the infra repository, in which `{application}` may stand; without `./` and `/`
/// around it, empty for the repository's root.
pub(super) fn directory() -> Text<String> {
    Text {
        wanted: "a directory of the repository",
        sample: "kubernetes",
        parse: |text| {
            let wrong = |why: &str| {
                Wrong::new(
                    format!("{} {why}", quote(text)),
                    "write a directory relative to the repository's root, such as `kubernetes`",
                )
            };
            if text.trim() != text || text.is_empty() || text.chars().any(char::is_control) {
                return Err(wrong("is not a directory"));
            }
            if text.starts_with('/') {
                return Err(wrong("is an absolute path"));
            }
            let parts: Vec<&str> = text
                .split('/')
                .filter(|part| !matches!(*part, "" | "."))
                .collect();
            if parts.contains(&"..") {
                return Err(wrong("leads out of the repository (`..`)"));
            }
            if parts.iter().any(|part| part.eq_ignore_ascii_case(".git")) {
                return Err(wrong("names git's own directory"));
            }
            placeholders(text)?;
            Ok(parts.join("/"))
        },
        schema: || json!({ "minLength": 1, "pattern": "^[^/]" }),
    }
}

/// A branch.
pub(super) fn branch() -> Text<String> {
    Text {
        wanted: "a branch",
        sample: "main",
        parse: |text| {
            let full = format!("refs/heads/{text}");
            match gix::validate::reference::name(full.as_str().into()) {
                Ok(_) if !text.starts_with('-') && !text.starts_with("refs/") => {
                    Ok(text.to_owned())
                }
                _ => Err(Wrong::new(
                    format!("{} is not a branch", quote(text)),
                    "write its short name, such as `main`",
                )),
            }
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// A tag's name up to its number.
pub(super) fn tag_prefix() -> Text<String> {
    Text {
        wanted: "the beginning of a tag",
        sample: "deployment-",
        parse: |text| {
            let full = format!("refs/tags/{text}0001");
            let valid = gix::validate::reference::name(full.as_str().into()).is_ok();
            match valid && !text.is_empty() && !text.starts_with('-') {
                true => Ok(text.to_owned()),
                false => Err(Wrong::new(
                    format!("{} cannot begin a tag", quote(text)),
                    "write something like `deployment-`",
                )),
            }
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// A branch pattern, judged alone: a later `!pattern` leaves branches out again.
pub(super) fn branch_pattern() -> Text<String> {
    Text {
        wanted: "a branch pattern",
        sample: "\"*\"",
        parse: |text| match BranchFilter::new([text]) {
            Ok(_) | Err(InvalidFilter::TakesNothing) => Ok(text.to_owned()),
            Err(InvalidFilter::Empty(_)) => Err(Wrong::new(
                format!("{} is not a branch pattern", quote(text)),
                "write a branch or a glob such as `release/*`, without blanks",
            )),
            Err(InvalidFilter::Glob { reason, .. }) => Err(Wrong::new(
                format!("{} is not a branch pattern ({reason})", quote(text)),
                "write a branch or a glob such as `release/*`",
            )),
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// A range of versions.
pub(super) fn version_range() -> Text<VersionRange> {
    Text {
        wanted: "a range of versions",
        sample: "\">=1.0.0\"",
        parse: |text| {
            text.parse().map_err(|error: crate::model::InvalidRange| {
                let what = format!(
                    "{} is not a range of versions ({})",
                    quote(text),
                    error.reason
                );
                Wrong::new(
                    what,
                    "write it like `\">=1.0.0\"`, `1.x` or `\">=1.2, <2\"`",
                )
            })
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// An image repository without tag or digest.
pub(super) fn image_repository() -> Text<ImageRepository> {
    Text {
        wanted: "an image repository",
        sample: "registry.example.com/acme/pipeline-application",
        parse: |text| {
            text.parse().map_err(|_| {
                let what = format!("{} is not an image repository", quote(text));
                let instead =
                    "write `registry.example.com/path/name` in lower case, without tag and digest";
                Wrong::new(what, instead)
            })
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// The form of an image's tags.
pub(super) fn tag_template() -> Text<TagTemplate> {
    Text {
        wanted: "the form of a tag",
        sample: "\"{branch}-{commit:7}\"",
        parse: |text| text.parse().map_err(no_template),
        schema: || json!({ "minLength": 1 }),
    }
}

fn no_template(error: InvalidTemplate) -> Wrong {
    let (what, instead) = match error {
        InvalidTemplate::Unknown(field) => (
            format!("{} is not a field", quote(&format!("{{{field}}}"))),
            "write {branch}, {tag}, {commit} or {commit:7}",
        ),
        InvalidTemplate::Length(field) => (
            format!("{} has no usable length", quote(&format!("{{{field}}}"))),
            "only commit takes one, from {commit:7} to {commit:40}",
        ),
        InvalidTemplate::Brace(text) => (
            format!("{} has a brace without its partner", quote(&text)),
            "write fields as {branch}, {tag}, {commit} or {commit:7}",
        ),
        InvalidTemplate::Adjacent(text) => (
            format!("{} has two fields without text between them", quote(&text)),
            "write a separator such as `-`",
        ),
        InvalidTemplate::Twice(text) => (
            format!("{} has one field twice", quote(&text)),
            "keep one of them",
        ),
        InvalidTemplate::NoField(text) => (
            format!(
                "{} is one fixed tag, which tells no releases apart",
                quote(&text)
            ),
            "write one of {branch}, {tag} and {commit} in it",
        ),
        InvalidTemplate::Character(text) => (
            format!("{} cannot be a tag", quote(&text)),
            "use letters, digits, `_`, `.` and `-`, not beginning with `.` or `-`, at most 128",
        ),
    };
    Wrong::new(what, instead)
}

/// The name of an environment variable that holds a secret. What looks like the secret itself is
/// refused without being repeated.
pub(super) fn variable() -> Text<String> {
    Text {
        wanted: "the name of an environment variable",
        sample: "INFRA_TOKEN",
        parse: |text| {
            let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            let shaped = text.bytes().all(word)
                && text
                    .bytes()
                    .next()
                    .is_some_and(|first| !first.is_ascii_digit());
            match shaped && !looks_secret(text) {
                true => Ok(text.to_owned()),
                false => Err(Wrong::new(
                    "this is not the name of an environment variable (it is not repeated here: it may be a secret)",
                    "write the variable's name, such as `INFRA_TOKEN`, and put the secret into the variable",
                )),
            }
        },
        schema: || json!({ "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }),
    }
}

/// Whether a word has the looks of a token: a known beginning, or long with letters of both cases
/// and digits mixed.
fn looks_secret(text: &str) -> bool {
    // As GitHub, GitLab, Slack, AWS, npm and PyPI begin theirs.
    const BEGINNINGS: [&str; 12] = [
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat",
        "xox",
        "AKIA",
        "ASIA",
        "npm_",
        "pypi",
    ];
    const LONG: usize = 24;
    let mixed = text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
        && text.bytes().any(|byte| byte.is_ascii_digit());
    BEGINNINGS
        .iter()
        .any(|beginning| text.starts_with(beginning))
        || (text.len() >= LONG && mixed)
        || text.len() > 128
}

/// A file or directory of this machine; a relative one starts at the configuration's folder.
pub(super) fn path() -> Text<PathBuf> {
    Text {
        wanted: "a path",
        sample: "/etc/towpath/token",
        parse: |text| match text.trim().is_empty() || text.contains('\0') {
            true => Err(Wrong::new("this is not a path", "write the path of a file")),
            false if text.starts_with('~') => {
                Err(Wrong::new("`~` is not expanded", "write the path in full"))
            }
            false => Ok(PathBuf::from(text)),
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// A registry's host, with its port where it has one; spelled as image repositories spell it.
pub(super) fn registry_host() -> Text<String> {
    Text {
        wanted: "a registry's host",
        sample: "registry.example.com",
        parse: |text| match format!("{text}/name").parse::<ImageRepository>() {
            Ok(repository)
                if repository.path() == "name"
                    || repository.host() == "docker.io"
                        && (text == "docker.io" || text == "index.docker.io") =>
            {
                Ok(repository.host().to_owned())
            }
            _ => Err(Wrong::new(
                format!("{} is not a registry's host", quote(text)),
                "write the host as it stands in image names, such as `registry.example.com` or `127.0.0.1:5000`",
            )),
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// The address over HTTP that a text is; `None`: it is none.
///
/// # Errors
/// It holds a password, in whose place this is to be done.
pub(super) fn over_http(text: &str, instead: &str) -> Result<Option<Url>, Wrong> {
    let url = Url::parse(text).ok();
    // Told before anything else is: what is wrong in another way is quoted.
    if url.as_ref().is_some_and(|url| url.password().is_some()) {
        return Err(Wrong::new("this address holds a password", instead));
    }
    Ok(url.filter(is_over_http))
}

/// A proxy's address.
pub(super) fn proxy() -> Text<Url> {
    Text {
        wanted: "a proxy's address",
        sample: "http://proxy.example.com:3128",
        parse: |text| {
            let url = over_http(
                text,
                "remove it; a proxy that asks for one is named by the variable HTTPS_PROXY",
            )?;
            url.ok_or_else(|| {
                Wrong::new("this is not a proxy's address", "write `http://host:port`")
            })
        },
        schema: || json!({ "pattern": "^https?://" }),
    }
}

/// The address of a registry's mirror.
pub(super) fn mirror() -> Text<Url> {
    Text {
        wanted: "a mirror's address",
        sample: "https://mirror.example.com",
        parse: |text| {
            let url = over_http(
                text,
                "name it beside: `credential: { env: NAME, user: USER }`",
            )?;
            let url = url.filter(|url| url.path() == "/" && url.query().is_none());
            url.ok_or_else(|| {
                Wrong::new(
                    "this is not a mirror's address",
                    "write `https://host` or `http://host:port`, without a path",
                )
            })
        },
        schema: || json!({ "pattern": "^https?://[^/]+/?$" }),
    }
}

/// An address and port to listen on.
pub(super) fn socket() -> Text<SocketAddr> {
    Text {
        wanted: "an address and port",
        sample: "127.0.0.1:8080",
        parse: |text| {
            text.parse().map_err(|_| {
                let what = format!("{} is not an address and port", quote(text));
                Wrong::new(what, "write it like `127.0.0.1:8080` or `[::]:8080`")
            })
        },
        schema: || json!({ "pattern": ":[0-9]+$" }),
    }
}

/// Text that may stand in a commit's author line.
pub(super) fn author_part() -> Text<String> {
    Text {
        wanted: "a name or an address",
        sample: "Towpath",
        parse: |text| {
            // What git itself strips or takes for the line's own punctuation.
            let clean = text.trim() == text
                && !text.is_empty()
                && !text.contains(['<', '>'])
                && !text.chars().any(char::is_control);
            match clean {
                true => Ok(text.to_owned()),
                false => Err(Wrong::new(
                    format!("{} cannot stand in a commit", quote(text)),
                    "write one line without `<` and `>`",
                )),
            }
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// A JSON pointer in which `*` stands for every element of a list.
pub(super) fn pointer() -> Text<String> {
    Text {
        wanted: "a path in an object",
        sample: "/spec/template/spec/containers/*/image",
        parse: |text| match text.starts_with('/') && text.len() > 1 {
            true => Ok(text.to_owned()),
            false => Err(Wrong::new(
                format!("{} is not a path in an object", quote(text)),
                "write a JSON pointer such as `/spec/containers/*/image`",
            )),
        },
        schema: || json!({ "pattern": "^/." }),
    }
}
