//! Where registries are heard: manifests, lists, headers, errors, tokens, and what docker's configuration holds.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use url::Url;

use super::answer::Answer as Heard;
use super::auth::{self, Challenge};
use super::credential;
use super::document;
use super::{page, referrers};
use crate::doors::{Answer, Door, Knocked, alike, answered, harmless};

const JSON: &[&str] = &[
    "\"schemaVersion\":2",
    "\"schemaVersion\":1",
    "\"manifests\":[",
    "\"config\":{",
    "\"layers\":[",
    "\"annotations\":{",
    "\"mediaType\":",
    "\"digest\":\"sha256:",
    "\"platform\":{",
    "\"os\":\"linux\"",
    "\"architecture\":\"amd64\"",
    "\"created\":\"",
    "\"Labels\":{",
    "org.opencontainers.image.revision",
    "\"tags\":[",
    "\"artifactType\":",
    "application/vnd.towpath.evidence.v1+json",
    "\"subject\":{",
    "\"size\":",
    "18446744073709551616",
    "-1",
    "1e999",
    "null",
    "{}",
    "[]",
    "\\ud800",
    "\\u001b[31m",
    "\"errors\":[",
    "\"message\":",
    "\"code\":\"NAME_UNKNOWN\"",
    "\"token\":\"",
    "\"access_token\":\"",
    "\"expires_in\":",
    "\"auths\":{",
    "\"auth\":\"",
    "\"identitytoken\":\"",
];
const HEADERS: &[&str] = &[
    "Bearer ",
    "Basic ",
    "realm=\"",
    "service=\"",
    "scope=\"",
    "https://auth.example.com/token",
    "http://127.0.0.1/",
    "http://169.254.169.254/",
    "file:///etc/passwd",
    "</v2/a/tags/list?last=b>; rel=\"next\"",
    "rel=next",
    "<",
    ">",
    ";",
    ",",
    "=",
    "\"",
    "\\",
    "//evil.example.com/",
    "https://evil.example.com@registry.example.com/",
    "\t",
    "é",
    "\0",
    "99999999999999999999",
    "Sat, 21 Nov 2026 05:00:00 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "\n",
];

pub(crate) const DOORS: &[Door] = &[
    Door {
        name: "registry-manifest",
        words: JSON,
        knock: manifest,
    },
    Door {
        name: "registry-lists",
        words: JSON,
        knock: lists,
    },
    Door {
        name: "registry-errors",
        words: JSON,
        knock: errors,
    },
    Door {
        name: "registry-token",
        words: JSON,
        knock: token,
    },
    Door {
        name: "registry-link",
        words: HEADERS,
        knock: link,
    },
    Door {
        name: "registry-challenge",
        words: HEADERS,
        knock: challenge,
    },
    Door {
        name: "retry-after",
        words: HEADERS,
        knock: retry_after,
    },
    Door {
        name: "docker-configuration",
        words: JSON,
        knock: docker,
    },
];

/// A manifest or an index, and an image's configuration.
fn manifest(bytes: &[u8]) -> Knocked {
    let read = document::document(bytes);
    let config = document::config(Some(bytes), &[]);
    for told in [read.as_ref().err(), config.as_ref().err()]
        .into_iter()
        .flatten()
    {
        harmless(told)?;
    }
    if let Ok(config) = &config {
        for text in [&config.revision, &config.source, &config.version]
            .into_iter()
            .flatten()
        {
            alike(
                "control characters in a label",
                &text.contains(char::is_control),
                &false,
            )?;
        }
    }
    Ok(answered(&read))
}

/// Tags, or what is attached to an image.
fn lists(bytes: &[u8]) -> Knocked {
    let tags = page::tags(bytes);
    let attached = referrers::listed(bytes);
    let image = format!("sha256:{}", "1".repeat(64))
        .parse()
        .map_err(|_| "a digest of ones")?;
    let artifact = referrers::parts(bytes, &image);
    for told in [tags.as_ref().err(), attached.as_ref().err()]
        .into_iter()
        .flatten()
    {
        harmless(told)?;
    }
    Ok(match artifact {
        Ok(_) => Answer::Taken,
        Err(_) => answered(&tags),
    })
}

fn heard(headers: HeaderMap, body: &[u8]) -> Result<Heard, String> {
    Ok(Heard {
        url: Url::parse(BASE).map_err(|error| error.to_string())?,
        status: StatusCode::SERVICE_UNAVAILABLE,
        headers,
        body: body.to_vec(),
    })
}

/// What it says with an error.
fn errors(bytes: &[u8]) -> Knocked {
    let heard = heard(HeaderMap::new(), bytes)?;
    let said = heard.said().to_string();
    harmless(&said)?;
    Ok(match (said.len(), heard.has_code("NAME_UNKNOWN")) {
        (0, false) => Answer::Refused,
        (..400, _) => Answer::Taken,
        (long, _) => return Err(format!("{long} bytes are shown")),
    })
}

fn token(bytes: &[u8]) -> Knocked {
    let read = auth::token(bytes);
    match &read {
        Ok((text, lifetime)) if text.is_empty() || *lifetime > Duration::from_secs(86_400) => {
            Err(format!("a token of {} bytes for {lifetime:?}", text.len()))
        }
        _ => Ok(answered(&read)),
    }
}

const BASE: &str = "https://registry.example.com/v2/acme/web/tags/list?n=1000";

fn link(bytes: &[u8]) -> Knocked {
    let base = Url::parse(BASE).map_err(|error| error.to_string())?;
    let next = page::next(&base, &String::from_utf8_lossy(bytes));
    match &next {
        Err(told) => harmless(told).map(|()| Answer::Refused),
        Ok(None) => Ok(Answer::Refused),
        Ok(Some(next)) => {
            alike("where the next page is", &next.origin(), &base.origin())?;
            let credential = (next.username(), next.password());
            alike("no credential", &credential, &("", None))?;
            Ok(Answer::Taken)
        }
    }
}

/// One `WWW-Authenticate` a line.
fn challenge(bytes: &[u8]) -> Knocked {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(20) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    match auth::challenge(false, &headers) {
        Err(error) => harmless(&error).map(|()| Answer::Refused),
        Ok(Challenge::Bearer { realm, .. }) if realm.scheme() != "https" || !realm.has_host() => {
            Err(format!("a credential would be sent to {realm}"))
        }
        Ok(_) => Ok(Answer::Taken),
    }
}

/// `Retry-After`, and `Date` in a second line.
fn retry_after(bytes: &[u8]) -> Knocked {
    let mut headers = HeaderMap::new();
    let names = [
        HeaderName::from_static("retry-after"),
        HeaderName::from_static("date"),
    ];
    for (name, line) in names.into_iter().zip(bytes.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.insert(name, value);
        }
    }
    match crate::http::retry_after(&headers) {
        Some(wait) if wait > Duration::from_secs(3600) => Err(format!("{wait:?} is waited")),
        Some(_) => Ok(Answer::Taken),
        None => Ok(Answer::Refused),
    }
}

/// The password in the corpus.
const SECRET: &str = "hunter2";

/// What `docker login` left.
fn docker(bytes: &[u8]) -> Knocked {
    let text = String::from_utf8_lossy(bytes);
    let Ok(config) = serde_json::from_str::<credential::DockerConfig>(&text) else {
        return Ok(Answer::Refused);
    };
    for auth in config.auths.values() {
        if let Some(login) = auth.login() {
            alike(
                "a password that is shown",
                &format!("{login:?}").contains(SECRET),
                &false,
            )?;
        }
    }
    Ok(Answer::Taken)
}
