//! Image repositories and references.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{Digest, InvalidDigest};
use crate::shown::given;

/// A text that is not an image repository or reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImage {
    /// The repository part is malformed.
    #[error(
        "`{0}` is not an image repository: write `registry.example.com/path/name` in lower case"
    )]
    Repository(String),
    /// The tag part is malformed.
    #[error("`{0}` is not an image tag: use up to 128 letters, digits, `_`, `.` and `-`")]
    Tag(String),
    /// The digest part is malformed.
    #[error(transparent)]
    Digest(#[from] InvalidDigest),
}

/// Where an image lives: a registry host and a path, without tag or digest.
///
/// Normalised as container engines do: `web` is `docker.io/library/web`
/// ([distribution/reference](https://github.com/distribution/reference/blob/main/normalize.go)), so that two
/// spellings of one repository are equal.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ImageRepository {
    /// `host/path`: one text that is shared by all who name the repository.
    text: Arc<str>,
    /// Where the host ends.
    host: usize,
}

impl ImageRepository {
    /// The registry's host, with its port where one is given.
    pub fn host(&self) -> &str {
        &self.text[..self.host]
    }

    /// The path below the host, as the distribution API names it.
    pub fn path(&self) -> &str {
        &self.text[self.host + 1..]
    }
}

impl FromStr for ImageRepository {
    type Err = InvalidImage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidImage::Repository(given(text));
        let (host, path) = match text.split_once('/') {
            Some((host, path)) if is_host(host) => (host, path.to_owned()),
            Some(_) => ("docker.io", text.to_owned()),
            None => ("docker.io", format!("library/{text}")),
        };
        let host = if host == "index.docker.io" {
            "docker.io"
        } else {
            host
        };
        let path = match path.contains('/') || host != "docker.io" {
            true => path,
            false => format!("library/{path}"),
        };
        let host_ok = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]_".contains(&byte));
        if !host_ok || path.len() > 255 || !path.split('/').all(is_component) {
            return Err(invalid());
        }
        Ok(Self {
            text: format!("{host}/{path}").into(),
            host: host.len(),
        })
    }
}

impl Ord for ImageRepository {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.host(), self.path()).cmp(&(other.host(), other.path()))
    }
}

impl PartialOrd for ImageRepository {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first component is a host when it could not be a path: it has a dot, a port, or is localhost.
fn is_host(component: &str) -> bool {
    component.contains(['.', ':']) || component == "localhost"
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*` of the distribution spec.
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let edges = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    let separators = component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-'));
    edges && separators
}

impl fmt::Display for ImageRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ImageRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An image as a manifest names it: `repository[:tag][@digest]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImageReference {
    /// Where the image lives.
    pub repository: ImageRepository,
    /// The tag people read.
    pub tag: Option<String>,
    /// The digest the cluster obeys.
    pub digest: Option<Digest>,
}

impl ImageReference {
    /// Splits `repository[:tag][@digest]` without judging the repository: used to find the bytes
    /// that a person wrote for it.
    pub fn split(text: &str) -> (&str, Option<&str>, Option<&str>) {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash belongs to a port.
        let name = rest.rfind('/').map_or(0, |slash| slash + 1);
        match rest[name..].find(':') {
            Some(colon) => (
                &rest[..name + colon],
                Some(&rest[name + colon + 1..]),
                digest,
            ),
            None => (rest, None, digest),
        }
    }
}

impl FromStr for ImageReference {
    type Err = InvalidImage;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (repository, tag, digest) = Self::split(text);
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(InvalidImage::Tag(given(tag)));
        }
        Ok(Self {
            repository: repository.parse()?,
            tag: tag.map(str::to_owned),
            digest: digest.map(str::parse).transpose()?,
        })
    }
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}` of the distribution spec.
pub(crate) fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag
            .bytes()
            .all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A version of an image: what stands behind the repository in a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageVersion {
    /// The tag people read. Without one the old tag is dropped: beside another digest it would lie.
    pub tag: Option<String>,
    /// The digest the cluster obeys.
    pub digest: Digest,
}

impl fmt::Display for ImageVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        write!(f, "@{}", self.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_normalised() {
        let digest = Digest::of(b"");
        let (longest, tag) = ("a".repeat(255), "a".repeat(128));
        for (text, expected) in [
            ("web", "docker.io/library/web".to_owned()),
            ("acme/web:1", "docker.io/acme/web:1".to_owned()),
            ("index.docker.io/web", "docker.io/library/web".to_owned()),
            ("localhost/web", "localhost/web".to_owned()),
            (
                "127.0.0.1:5000/a/b_c__d--e:v1",
                "127.0.0.1:5000/a/b_c__d--e:v1".to_owned(),
            ),
            (
                &format!("r.io/x:v1@{digest}"),
                format!("r.io/x:v1@{digest}"),
            ),
            (
                &format!("r.io/{longest}:{tag}"),
                format!("r.io/{longest}:{tag}"),
            ),
        ] {
            let reference: ImageReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), expected);
        }
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in [
            "",
            "Acme/web",
            "r.io/",
            "r.io/a//b",
            "r.io/a:",
            "r.io/a:é",
            "r.io/a@sha256:1",
            "a b",
            "r.ä/a",
            "/a",
            "r.io/-a",
            "r.io/a-",
            &format!("r.io/{}", "a".repeat(256)),
            &format!("r.io/a:{}", "a".repeat(129)),
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }
}
