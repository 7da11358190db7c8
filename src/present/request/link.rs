//! Addresses of pages about commits and tags, made from the address of a repository.

use std::fmt::Write as _;

use url::Url;

use super::quote::inert;
use crate::model::{RepositoryUrl, Scheme};

/// A repository's page on its forge.
pub(super) struct Page {
    base: String,
    /// GitLab shows things elsewhere; GitHub, Gitea and Forgejo agree.
    gitlab: bool,
}

impl Page {
    /// The page of this repository; `None` where it has none: a directory, or no host that is one.
    pub(super) fn of(repository: &RepositoryUrl) -> Option<Self> {
        let text = repository.as_str();
        let url = match (repository.scheme(), text.split_once("://")) {
            (Scheme::File, _) => return None,
            (_, Some(_)) => Url::parse(text).ok()?,
            // `user@host:path`, as ssh and git take it.
            (_, None) => {
                let (host, path) = text.split_once(':')?;
                let host = host.rsplit('@').next()?;
                Url::parse(&format!("ssh://{host}/{}", path.trim_start_matches('/'))).ok()?
            }
        };
        let host = url.host_str().filter(|host| !host.is_empty())?;
        let (scheme, port) = match url.scheme() {
            "http" => ("http", url.port()),
            "https" => ("https", url.port()),
            // The port of an ssh server says nothing of its pages.
            _ => ("https", None),
        };
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let path = url.path().trim_end_matches('/');
        let path = encoded(path.strip_suffix(".git").unwrap_or(path));
        Some(Self {
            base: format!("{scheme}://{host}{port}{path}"),
            gitlab: host.starts_with("gitlab."),
        })
    }

    /// The commits between two.
    pub(super) fn compare(&self, before: &str, after: &str) -> String {
        let (before, after) = (encoded(before), encoded(after));
        format!("{}/compare/{before}...{after}", self.repository())
    }

    /// One commit.
    pub(super) fn commit(&self, id: &str) -> String {
        format!("{}/commit/{}", self.repository(), encoded(id))
    }

    /// One tag.
    pub(super) fn tag(&self, tag: &str) -> String {
        let tags = if self.gitlab { "tags" } else { "releases/tag" };
        format!("{}/{tags}/{}", self.repository(), encoded(tag))
    }

    fn repository(&self) -> String {
        let within = if self.gitlab { "/-" } else { "" };
        format!("{}{within}", self.base)
    }
}

/// An address that others gave, where it is one that acts nowhere: without its fragment, and with its query.
pub(super) fn given(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    let port = url
        .port()
        .map_or_else(String::new, |port| format!(":{port}"));
    let query = url.query().map(|query| {
        let pairs = query.split('&').map(|pair| {
            let parts = pair.split('=').map(encoded);
            parts.collect::<Vec<_>>().join("=")
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    let (scheme, path) = (url.scheme(), encoded(url.path()));
    let address = format!("{scheme}://{host}{port}{path}{}", query.unwrap_or_default());
    (inert(&address) == address).then_some(address)
}

/// Every byte that could end a link, or mean anything in Markdown, by its number
/// ([RFC 3986, 2.1](https://www.rfc-editor.org/rfc/rfc3986#section-2.1)). What is encoded already stays.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'%' => {
                encoded.push(char::from(byte));
            }
            byte => write!(encoded, "%{byte:02X}").expect("writing into a string cannot fail"),
        }
    }
    encoded
}
