//! Where a git repository lives, and what is an address over HTTP.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use url::Url;

use crate::shown::given;

/// Whether somebody may answer there over HTTP.
pub fn is_over_http(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https") && url.has_host()
}

/// A text that is not a repository's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// No known form of address.
    #[error(
        "`{0}` is not a repository's address: write https://…, ssh://…, user@host:path, file:///… or an absolute path"
    )]
    Form(String),
    /// A secret stands in the address. The address itself is not repeated here.
    #[error(
        "the address holds a password: name a credential instead (`credential: {{ env: NAME }}` or a git credential helper)"
    )]
    Password,
}

/// How a repository is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Smart HTTP, plain or over TLS.
    Http,
    /// The `ssh` program.
    Ssh,
    /// A directory on this machine.
    File,
}

/// The address of a git repository, without secrets in it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryUrl {
    text: Arc<str>,
    scheme: Scheme,
}

impl RepositoryUrl {
    /// The address as written, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// How the repository is reached.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The server's name, without its port; `None`: this machine.
    pub fn host(&self) -> Option<&str> {
        let (host, _) = self.parts()?;
        match host.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').map(|(host, _)| host),
            None => Some(host.split_once(':').map_or(host, |(host, _)| host)),
        }
    }

    /// The names under which its server may be configured, the most exact first: with its port, and without; none:
    /// this machine.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        let with_port = self.parts().map(|(host, _)| host);
        with_port.into_iter().chain(self.host())
    }

    /// The server with its port, and the path there without slashes around it and without `.git`;
    /// `None`: this machine.
    pub fn parts(&self) -> Option<(&str, &str)> {
        let (authority, path) = match (self.scheme, self.text.split_once("://")) {
            (Scheme::File, _) => return None,
            (_, Some((_, rest))) => rest.split_once('/').unwrap_or((rest, "")),
            (_, None) => self.text.split_once(':')?,
        };
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let path = path.trim_matches('/');
        Some((host, path.strip_suffix(".git").unwrap_or(path)))
    }
}

impl FromStr for RepositoryUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidUrl::Form(given(text));
        let text = text.trim_end_matches('/');
        if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
            return Err(invalid());
        }
        // Looked for in front of all else: an error about the form repeats the address.
        if let Some((_, rest)) = text.split_once("://") {
            let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
            let userinfo = authority.rsplit_once('@').map_or("", |(user, _)| user);
            if userinfo.contains(':') {
                return Err(InvalidUrl::Password);
            }
        }
        let scheme = match text.split_once("://") {
            Some(("http" | "https" | "ssh" | "git+ssh", rest)) => {
                let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
                let host = authority.rsplit('@').next().unwrap_or_default();
                // A leading dash would reach `ssh` as an option (CVE-2017-1000117).
                if host.is_empty() || host.starts_with('-') {
                    return Err(invalid());
                }
                if text.starts_with("http") {
                    Scheme::Http
                } else {
                    Scheme::Ssh
                }
            }
            Some(("file", path)) if path.starts_with('/') => Scheme::File,
            Some(_) => return Err(invalid()),
            None if text.starts_with('/') => Scheme::File,
            None => match text.split_once(':') {
                Some((host, path)) if !host.contains('/') && !path.is_empty() => Scheme::Ssh,
                _ => return Err(invalid()),
            },
        };
        Ok(Self {
            text: text.into(),
            scheme,
        })
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for (text, scheme) in [
            ("https://example.com/acme/infra", Scheme::Http),
            ("http://127.0.0.1:8080/infra.git/", Scheme::Http),
            ("ssh://git@example.com:2222/infra", Scheme::Ssh),
            ("git@example.com:acme/infra", Scheme::Ssh),
            ("file:///srv/git/infra", Scheme::File),
            ("/srv/git/infra", Scheme::File),
        ] {
            assert_eq!(
                text.parse::<RepositoryUrl>().unwrap().scheme(),
                scheme,
                "{text}"
            );
        }
    }

    #[test]
    fn a_server_and_what_it_serves_are_told_apart() {
        for (text, parts, host) in [
            (
                "https://github.com/acme/infra.git",
                ("github.com", "acme/infra"),
                "github.com",
            ),
            (
                "http://127.0.0.1:80/a/b/",
                ("127.0.0.1:80", "a/b"),
                "127.0.0.1",
            ),
            (
                "ssh://git@example.com:22/a/b",
                ("example.com:22", "a/b"),
                "example.com",
            ),
            (
                "git@example.com:acme/infra",
                ("example.com", "acme/infra"),
                "example.com",
            ),
            ("https://[::1]:80/a/b", ("[::1]:80", "a/b"), "::1"),
        ] {
            let url: RepositoryUrl = text.parse().unwrap();
            assert_eq!(
                (url.parts(), url.host()),
                (Some(parts), Some(host)),
                "{text}"
            );
        }
        assert_eq!(
            "/srv/git/infra".parse::<RepositoryUrl>().unwrap().parts(),
            None
        );
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_is_not_repeated() {
        for text in [
            "",
            "infra",
            "ftp://x/y",
            "-oProxyCommand=x:y",
            "ssh://-oProxyCommand=x/y",
            "https:///x",
            "file://srv/git",
            "srv/git:infra",
            "example.com:",
        ] {
            assert!(text.parse::<RepositoryUrl>().is_err(), "{text}");
        }
        for scheme in ["https", "htps"] {
            let error = format!("{scheme}://bot:hunter2@example.com/x")
                .parse::<RepositoryUrl>()
                .unwrap_err();
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
