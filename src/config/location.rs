//! Where the configuration is: a folder of this machine, or a path in a git repository.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::form_urlencoded;

use super::problem::{nearest, quote};
use crate::model::RepositoryUrl;

/// Where the configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder, re-read when it changes.
    Folder(PathBuf),
    /// A directory of a git repository: `URL?ref=REF&path=DIRECTORY`.
    Git {
        /// The repository.
        url: RepositoryUrl,
        /// The branch or tag; `None`: the repository's default branch.
        reference: Option<String>,
        /// The directory without slashes around it; empty: the repository's root.
        path: String,
    },
}

/// A text that does not say where the configuration is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {instead}")]
pub struct InvalidLocation {
    what: String,
    instead: String,
}

/// What holds `://`, or begins as `user@host:`, is a git repository; all else is a folder.
impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(invalid(
                "no configuration is named",
                "write a folder, or `URL?ref=REF&path=DIRECTORY`",
            ));
        }
        if !names_repository(text) {
            return Ok(Self::Folder(PathBuf::from(text)));
        }
        let (url, query) = text.rsplit_once('?').unwrap_or((text, ""));
        let mut location = Git {
            reference: None,
            path: None,
        };
        // A `+` is a plus here, as in tags, not the blank of web forms.
        for (key, value) in form_urlencoded::parse(query.replace('+', "%2B").as_bytes()) {
            location.take(&key, &value)?;
        }
        let url = url.parse().map_err(|error: crate::model::InvalidUrl| {
            invalid(
                error.to_string(),
                "as in `https://github.com/acme/config?ref=main&path=environments`",
            )
        })?;
        Ok(Self::Git {
            url,
            reference: location.reference,
            path: location.path.unwrap_or_default(),
        })
    }
}

fn names_repository(text: &str) -> bool {
    let scp = text
        .split_once(':')
        .is_some_and(|(host, path)| host.contains('@') && !host.contains('/') && !path.is_empty());
    text.contains("://") || scp
}

struct Git {
    reference: Option<String>,
    path: Option<String>,
}

impl Git {
    fn take(&mut self, key: &str, value: &str) -> Result<(), InvalidLocation> {
        const KEYS: [&str; 2] = ["ref", "path"];
        let (target, value) = match key {
            "ref" => (&mut self.reference, reference(value)?),
            "path" => (&mut self.path, directory(value)?),
            _ => {
                let instead = match nearest(key, KEYS) {
                    Some(known) => format!("write `{known}=…`"),
                    None => "only `ref=…` and `path=…` may follow the `?`".to_owned(),
                };
                return Err(invalid(format!("{} is not known", quote(key)), instead));
            }
        };
        match target.replace(value) {
            None => Ok(()),
            Some(_) => Err(invalid(
                format!("`{key}` stands there twice"),
                "keep one of them",
            )),
        }
    }
}

fn reference(text: &str) -> Result<String, InvalidLocation> {
    let full = format!("refs/heads/{text}");
    match gix::validate::reference::name(full.as_str().into()) {
        Ok(_) if !text.starts_with('-') => Ok(text.to_owned()),
        _ => Err(invalid(
            format!("{} is not a branch or tag", quote(text)),
            "write its name, as in `?ref=main`",
        )),
    }
}

fn directory(text: &str) -> Result<String, InvalidLocation> {
    let parts: Vec<&str> = text
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    match parts.contains(&"..") || text.chars().any(char::is_control) {
        true => Err(invalid(
            format!("{} is not a directory of the repository", quote(text)),
            "write one relative to its root, as in `?path=environments`",
        )),
        false => Ok(parts.join("/")),
    }
}

fn invalid(what: impl Into<String>, instead: impl Into<String>) -> InvalidLocation {
    InvalidLocation {
        what: what.into(),
        instead: instead.into(),
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Git {
                url,
                reference,
                path,
            } => {
                let mut query = Vec::new();
                query.extend(
                    reference
                        .iter()
                        .map(|reference| format!("ref={}", encoded(reference))),
                );
                query.extend((!path.is_empty()).then(|| format!("path={}", encoded(path))));
                let mark = if query.is_empty() { "" } else { "?" };
                write!(f, "{url}{mark}{}", query.join("&"))
            }
        }
    }
}

/// A value with what has a meaning in a query escaped.
fn encoded(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '%' => "%25".to_owned(),
            '&' => "%26".to_owned(),
            '=' => "%3D".to_owned(),
            '?' => "%3F".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_read_and_written() {
        for (text, reference, path) in [
            ("https://example.com/acme/config", None, ""),
            ("https://example.com/acme/config?ref=main", Some("main"), ""),
            ("git@example.com:acme/config?path=a/b", None, "a/b"),
            ("file:///srv/config?ref=v1.0+x&path=a", Some("v1.0+x"), "a"),
            (
                "file:///srv/config?ref=a%26b&path=c%3Fd",
                Some("a&b"),
                "c?d",
            ),
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string(), text);
            let Location::Git {
                reference: read,
                path: directory,
                ..
            } = location
            else {
                panic!("{text} is no folder");
            };
            assert_eq!(
                (read.as_deref(), directory.as_str()),
                (reference, path),
                "{text}"
            );
        }
        for folder in [
            "environments",
            "./a:b",
            "/srv/environments",
            "C:x",
            "a?ref=b",
        ] {
            let location: Location = folder.parse().unwrap();
            assert_eq!(location, Location::Folder(PathBuf::from(folder)));
        }
    }

    #[test]
    fn what_is_no_location_is_refused() {
        for text in [
            "",
            "ftp://example.com/x",
            "https://example.com/x?rev=main",
            "https://example.com/x?ref=",
            "https://example.com/x?ref=-x",
            "https://example.com/x?ref=a&ref=b",
            "https://example.com/x?path=../y",
        ] {
            assert!(text.parse::<Location>().is_err(), "{text}");
        }
        let error = "https://bot:hunter2@example.com/x"
            .parse::<Location>()
            .unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }
}
