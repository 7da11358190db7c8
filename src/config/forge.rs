//! The key `forges` of `towpath.yaml`: how forges are reached, and what is shown there.

use serde_json::json;
use url::Url;

use super::credential::{credential, login};
use super::form::{Flag, Text, Wrong, count};
use super::problem::{Place, quote};
use super::section::{Fields, Section};
use super::via::{self, CommitVia};
use crate::model::{Credential, RepositoryUrl, is_over_http};

/// How one forge is reached, and what is shown there beside requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForgeSettings {
    /// The token; [`Credential::Default`]: that of the repository, else git's credential helper's.
    pub credential: Credential,
    /// The App that Towpath is there, instead of a token.
    pub app: Option<AppSettings>,
    /// Where its API is; `None`: as the host's name says.
    pub api: Option<Url>,
    /// Who makes the commits on branches.
    pub commit: CommitVia,
    /// Whether infra commits get statuses also where the gate needs no request.
    pub statuses: bool,
    /// Whether application commits get deployments.
    pub deployments: bool,
}

/// A GitHub App.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppSettings {
    /// Its id.
    pub id: u64,
    /// Its private key, in PEM.
    pub key: Credential,
}

/// An entry of `forges`, and where it stands that the forge makes the commits.
pub(super) type Stated = (ForgeSettings, Option<Place>);

/// Reads an entry of `forges`.
pub(super) fn forge(section: &mut Section<'_>) -> Option<Stated> {
    let credential = credential(section);
    let app = section.optional(
        "app",
        "The GitHub App that Towpath is there, instead of a token.",
        Fields {
            sample: "{ id: 12345, key: { file: towpath.pem } }",
            read: app,
        },
    );
    section.not_with("app", "credential", "keep one of them");
    let api = section.optional(
        "api",
        "Where its API is. Left out: https://api.github.com for github.com, https://HOST/api/v3 for GitHub Enterprise, https://HOST/api/v1 for Gitea.",
        api(),
    );
    let commit = section.or(
        "commit",
        "Who makes the commits on branches of repositories there.",
        via::commit(),
        "{}",
    );
    let statuses = section.or(
        "statuses",
        "Whether infra commits get statuses also where the gate needs no request.",
        Flag,
        "false",
    );
    let deployments = section.or(
        "deployments",
        "Whether application commits get deployments, which needs the right to write them in the source repositories.",
        Flag,
        "false",
    );
    let commit = commit?.value;
    let elsewhere = commit.value != CommitVia::Git;
    let settings = ForgeSettings {
        credential,
        app: app.map(|app| app.value),
        api: api.map(|api| api.value),
        commit: commit.value,
        statuses: statuses?.value,
        deployments: deployments?.value,
    };
    Some((settings, elsewhere.then_some(commit.place)))
}

fn app(section: &mut Section<'_>) -> Option<AppSettings> {
    let id = section.required("id", "The App's id.", count());
    let key = section.required(
        "key",
        "The name of the App's private key, in PEM.",
        Fields {
            sample: "{ file: towpath.pem }",
            read: login,
        },
    );
    Some(AppSettings {
        id: id?.value as u64,
        key: key?.value,
    })
}

/// A forge's host, with its port where it has one.
pub(super) fn host() -> Text<String> {
    Text {
        wanted: "a forge's host",
        sample: "github.com",
        parse: |text| {
            let address = format!("https://{text}/acme/infra").parse::<RepositoryUrl>();
            match address.as_ref().map(RepositoryUrl::parts) {
                Ok(Some((host, "acme/infra"))) if host == text => Ok(text.to_owned()),
                _ => Err(Wrong::new(
                    format!("{} is not a forge's host", quote(text)),
                    "write the host as it stands in repositories' addresses, such as `github.com`",
                )),
            }
        },
        schema: || json!({ "minLength": 1 }),
    }
}

/// Where a forge's API is.
fn api() -> Text<Url> {
    Text {
        wanted: "the address of an API",
        sample: "https://github.example.com/api/v3",
        parse: |text| match text.parse::<Url>() {
            Ok(url) if is_over_http(&url) && url.password().is_none() => Ok(url),
            _ => Err(Wrong::new(
                "this is not the address of an API",
                "write something like `https://github.example.com/api/v3`, without a user or a password",
            )),
        },
        schema: || json!({ "pattern": "^https?://" }),
    }
}
