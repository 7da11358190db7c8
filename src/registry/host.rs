//! One registry host: its address, its limits, and when it wants to be left alone.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use reqwest::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::answer::Answer;
use super::auth::Session;
use super::error::RegistryError;
use super::settings::HostSettings;
use crate::http;

pub(super) struct Host {
    name: String,
    /// `https://host/v2/`.
    pub(super) base: Url,
    /// Whether it is asked over plain http.
    pub(super) plain: bool,
    pub(super) settings: HostSettings,
    pub(super) permits: Semaphore,
    pub(super) session: Session,
    quiet_until: Mutex<Option<Instant>>,
}

impl Host {
    /// A host as image names write it.
    pub(super) fn new(name: &str, settings: HostSettings) -> Result<Self, url::ParseError> {
        // Docker Hub's API does not live where its images' names say.
        let server = match name {
            "docker.io" => "registry-1.docker.io",
            name => name,
        };
        let base = match &settings.mirror {
            Some(mirror) => mirror.join("/v2/")?,
            None => {
                let plain = settings
                    .plain_http
                    .unwrap_or_else(|| is_loopback(without_port(server)));
                let scheme = if plain { "http" } else { "https" };
                Url::parse(&format!("{scheme}://{server}/v2/"))?
            }
        };
        Ok(Self {
            name: name.to_owned(),
            plain: base.scheme() == "http",
            base,
            permits: Semaphore::new(settings.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            session: Session::default(),
            quiet_until: Mutex::new(None),
            settings,
        })
    }

    /// An error while the host wants to be left alone.
    pub(super) fn check_quiet(&self) -> Result<(), RegistryError> {
        let until = *self.quiet();
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match left.filter(|left| !left.is_zero()) {
            Some(left) => Err(self.too_many(Some(left))),
            None => Ok(()),
        }
    }

    /// Whether this answer asks to be left alone: a 429, or a 503 that says for how long. The host is
    /// not asked again before that has passed.
    pub(super) fn asked_to_wait(&self, answer: &Answer) -> Option<RegistryError> {
        let retry_after = http::retry_after(&answer.headers);
        let asked = match answer.status {
            StatusCode::TOO_MANY_REQUESTS => true,
            StatusCode::SERVICE_UNAVAILABLE => retry_after.is_some(),
            _ => false,
        };
        if !asked {
            return None;
        }
        if let Some(wait) = retry_after {
            let mut quiet = self.quiet();
            *quiet = (*quiet).max(Some(Instant::now() + wait));
        }
        Some(self.too_many(retry_after))
    }

    fn too_many(&self, retry_after: Option<std::time::Duration>) -> RegistryError {
        RegistryError::TooManyRequests {
            host: self.name.clone(),
            retry_after,
        }
    }

    fn quiet(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.quiet_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a host without its port is this machine, by its spelling: names are not looked up.
pub(super) fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        // `[::1]` has colons of its own.
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_plain_unless_named() {
        for (name, plain_http, base) in [
            ("docker.io", None, "https://registry-1.docker.io/v2/"),
            ("r.example.com:5000", None, "https://r.example.com:5000/v2/"),
            ("r.example.com", Some(true), "http://r.example.com/v2/"),
            ("localhost", None, "http://localhost/v2/"),
            ("localhost:5000", None, "http://localhost:5000/v2/"),
            ("localhost:5000", Some(false), "https://localhost:5000/v2/"),
            ("127.0.0.1:5000", None, "http://127.0.0.1:5000/v2/"),
            ("127.9.9.9", None, "http://127.9.9.9/v2/"),
            ("[::1]:5000", None, "http://[::1]:5000/v2/"),
            ("[::1]", None, "http://[::1]/v2/"),
            (
                "localhost.example.com",
                None,
                "https://localhost.example.com/v2/",
            ),
            (
                "127.0.0.1.example.com",
                None,
                "https://127.0.0.1.example.com/v2/",
            ),
            ("10.0.0.1", None, "https://10.0.0.1/v2/"),
            ("0.0.0.0", None, "https://0.0.0.0/v2/"),
        ] {
            let settings = HostSettings {
                plain_http,
                ..HostSettings::default()
            };
            let host = Host::new(name, settings).map_err(|error| error.to_string());
            assert_eq!(host.unwrap().base.as_str(), base, "{name}");
        }
        assert!(Host::new("a:99999", HostSettings::default()).is_err());
        let mirrored = HostSettings {
            mirror: Some("http://127.0.0.1:5000".parse().unwrap()),
            ..HostSettings::default()
        };
        let host = Host::new("r.example.com", mirrored).unwrap();
        assert_eq!(host.base.as_str(), "http://127.0.0.1:5000/v2/");
        assert!(host.plain);
    }
}
