//! The one HTTP client: git over HTTP and the registries share its connections, its trust and its
//! proxy.
//!
//! Owns how connections are made and how long they may be silent. Knows no credential: whoever
//! sends one adds it to its own request, and it is dropped when a redirect leaves the host.

mod meter;
mod outward;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};
use hyper_util::client::proxy::matcher::Matcher;
use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::{Certificate, Client, NoProxy, Proxy, Response, redirect};
use url::Url;

use outward::Guard;

pub use meter::{Budget, Called, HostMeter, Meter};
pub use outward::{Allowed, Outward};

/// Sent with every request.
pub const USER_AGENT: &str = concat!("towpath/", env!("CARGO_PKG_VERSION"));

/// A CA bundle of all public authorities is about 230 KiB; more than this is another file.
const LARGEST_CA_FILE: u64 = 4 << 20;

/// Registries redirect blobs once, to their storage; git servers once, to the canonical address.
const MOST_REDIRECTS: usize = 5;

/// This machine is never asked through a proxy.
const DIRECT: &str = "localhost,127.0.0.0/8,::1";

/// What may be said about connections.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// PEM certificates to trust in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy for every connection. Without it `https_proxy`, `http_proxy` and `all_proxy` are
    /// obeyed, in lower or upper case. This machine and what `no_proxy` names are always asked directly.
    pub proxy: Option<Url>,
    /// How long making a connection may take.
    pub connect_timeout: Duration,
    /// How long a server may be silent within an answer, or before it begins.
    pub idle_timeout: Duration,
    /// Whether redirects are followed; if not, they are answers like any other.
    pub follow_redirects: bool,
    /// Where names may lead; `None`: anywhere.
    pub outward: Option<Allowed>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            ca_file: None,
            proxy: None,
            connect_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(30),
            follow_redirects: true,
            outward: None,
        }
    }
}

/// Makes the client. Clones of it share one pool.
///
/// # Errors
/// A CA file that cannot be read or holds no certificate, an unusable proxy address, or a system
/// that trusts no certificate authority at all.
pub fn client(settings: &HttpSettings) -> anyhow::Result<Client> {
    let mut builder = Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(settings.connect_timeout)
        .read_timeout(settings.idle_timeout)
        .pool_idle_timeout(Duration::from_secs(90))
        .tcp_keepalive(Duration::from_secs(30))
        .tcp_nodelay(true)
        .referer(false)
        .redirect(match settings.follow_redirects {
            true => redirect::Policy::custom(redirect),
            false => redirect::Policy::none(),
        });
    if let Some(path) = &settings.ca_file {
        builder = builder.tls_certs_merge(certificates(path)?);
    }
    builder = builder.no_proxy();
    for proxy in proxies(settings)? {
        builder = builder.proxy(proxy.no_proxy(direct()));
    }
    if let Some(allowed) = settings.outward {
        let guard = guard(settings, allowed);
        builder = builder.dns_resolver(guard);
    }
    builder.build().context(
        "no HTTP client can be made: is a certificate bundle installed (package `ca-certificates`), \
         or a `ca-file` named?",
    )
}

/// Makes a client for addresses that somebody wrote into the configuration: it follows no redirect, and connects
/// only where that is allowed.
///
/// # Errors
/// As [`client`].
pub fn outward(settings: &HttpSettings, allowed: Allowed) -> anyhow::Result<Outward> {
    let client = client(&HttpSettings {
        follow_redirects: false,
        outward: Some(allowed),
        ..settings.clone()
    })?;
    Ok(Outward::new(client, guard(settings, allowed)))
}

/// Follows a redirect unless it would take a request off TLS, off HTTP, to this machine or this link from elsewhere,
/// or never end.
fn redirect(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let from_tls = attempt
        .previous()
        .last()
        .is_some_and(|from| from.scheme() == "https");
    match attempt.url().scheme() {
        "https" => {}
        "http" if !from_tls => {}
        _ => return attempt.error("a redirect away from https is not followed"),
    }
    let is_near = |url: &Url| Allowed::default().objection_to(url).is_some();
    if is_near(attempt.url()) && !attempt.previous().last().is_some_and(is_near) {
        return attempt.error("a redirect to this machine, or to this link, is not followed");
    }
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

fn certificates(path: &PathBuf) -> anyhow::Result<Vec<Certificate>> {
    let size = std::fs::metadata(path)
        .with_context(|| format!("the CA file {} cannot be read", path.display()))?
        .len();
    if size > LARGEST_CA_FILE {
        bail!(
            "the CA file {} has {size} bytes: name a PEM file of certificates, at most 4 MiB",
            path.display()
        );
    }
    let pem = std::fs::read(path)
        .with_context(|| format!("the CA file {} cannot be read", path.display()))?;
    let certificates = Certificate::from_pem_bundle(&pem)
        .with_context(|| format!("the CA file {} is not PEM", path.display()))?;
    if certificates.is_empty() {
        bail!(
            "the CA file {} holds no certificate: write PEM, beginning with -----BEGIN CERTIFICATE-----",
            path.display()
        );
    }
    Ok(certificates)
}

/// Why an answer's body is not here.
#[derive(Debug)]
pub enum Unread {
    /// The connection broke, or was silent.
    Cut(reqwest::Error),
    /// There is more than is read.
    TooLarge,
}

/// What an answer says, at most so many bytes of it.
///
/// # Errors
/// [`Unread`]; no more than `most` bytes and what came with the last of them are held.
pub async fn body(mut response: Response, most: usize) -> Result<Bytes, Unread> {
    if response
        .content_length()
        .is_some_and(|length| length > most as u64)
    {
        return Err(Unread::TooLarge);
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(Unread::Cut)? {
        if body.len() + chunk.len() > most {
            return Err(Unread::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// What an answer says of itself in a few words: at most so many bytes of its beginning, and what came until the
/// connection broke.
pub async fn beginning(response: &mut Response, most: usize) -> Bytes {
    let mut body = BytesMut::new();
    while body.len() < most
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(most);
    body.freeze()
}

/// A server is asked again after an hour, however much longer it asks to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How long an answer asks to wait: seconds, or a date (RFC 9110, 10.2.3) that is taken relative to the answer's
/// own; an hour at most.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    asked(headers).map(bounded_wait)
}

/// The wait that a server asks for; an hour at most.
pub fn bounded_wait(asked: Duration) -> Duration {
    asked.min(LONGEST_WAIT)
}

fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let value = text(RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text: &str| DateTimeParser::new().parse_timestamp(text.trim()).ok();
    let wait = date(value)?.duration_since(date(text(DATE)?)?);
    // A date that has passed asks for no wait.
    Some(wait.try_into().unwrap_or_default())
}

/// What went wrong, with what it came from and without the address: whoever asks names it, or may not.
pub fn plain(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The proxies in the order they are tried. An address may hold a password, so no error repeats it.
fn proxies(settings: &HttpSettings) -> anyhow::Result<Vec<Proxy>> {
    if let Some(address) = &settings.proxy {
        let proxy = Proxy::all(address.clone());
        return Ok(vec![proxy.context(
            "the proxy's address cannot be used: write http://host:port",
        )?]);
    }
    let mut proxies = Vec::new();
    for (name, scheme) in [
        (
            "https_proxy",
            Proxy::https as fn(String) -> reqwest::Result<Proxy>,
        ),
        ("http_proxy", Proxy::http),
        ("all_proxy", Proxy::all),
    ] {
        if let Some(address) = variable(name) {
            proxies.push(scheme(address).with_context(|| {
                format!("the address in {name} cannot be used: write http://host:port")
            })?);
        }
    }
    Ok(proxies)
}

/// What lets names lead where that is allowed, and to the proxies that may be used.
fn guard(settings: &HttpSettings, allowed: Allowed) -> Guard {
    let named = settings.proxy.iter().cloned();
    let variables = ["https_proxy", "http_proxy", "all_proxy"].into_iter();
    let variables = variables.filter_map(|name| Url::parse(&variable(name)?).ok());
    let hosts = named.chain(variables);
    let proxies = hosts.filter_map(|url| Some(url.host_str()?.to_owned()));
    Guard {
        allowed,
        proxies: proxies.collect(),
    }
}

/// The proxy for connections towards this server that other clients make: the one that is named, or
/// that the environment names; none for this machine and what `no_proxy` names.
pub fn proxy_towards(named: Option<&Url>, server: &http::Uri) -> Option<String> {
    let proxy = match named {
        Some(named) => named.to_string(),
        None => variable("https_proxy").or_else(|| variable("all_proxy"))?,
    };
    let direct = format!("{DIRECT},{}", variable("no_proxy").unwrap_or_default());
    let matcher = Matcher::builder().all(proxy.clone()).no(direct).build();
    matcher.intercept(server).map(|_| proxy)
}

/// What no proxy is asked for: this machine, and what `no_proxy` names.
fn direct() -> Option<NoProxy> {
    let named = variable("no_proxy").unwrap_or_default();
    NoProxy::from_string(&format!("{DIRECT},{named}"))
}

/// An environment variable by its lower-case name, or the same in upper case.
fn variable(name: &str) -> Option<String> {
    [name.to_owned(), name.to_uppercase()]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_server_is_waited_for_longer_than_an_hour() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (value, date, waited) in [
            ("5", None, Some(5)),
            ("0", None, Some(0)),
            (" 7 ", Some(now), Some(7)),
            ("18446744073709551615", None, Some(3600)),
            ("99999999999999999999", None, None),
            ("-5", None, None),
            ("soon", Some(now), None),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(now), Some(60)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(now), Some(0)),
            ("Sun, 06 Nov 2094 08:49:00 GMT", Some(now), None),
            ("Sat, 06 Nov 2094 08:49:00 GMT", Some(now), Some(3600)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", None, None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            headers.extend(date.map(|date| (DATE, date.parse().unwrap())));
            let seconds = retry_after(&headers).map(|wait| wait.as_secs());
            assert_eq!(seconds, waited, "{value}");
        }
    }

    #[test]
    fn a_client_is_made_and_a_bad_ca_file_is_named() {
        assert!(client(&HttpSettings::default()).is_ok());
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing.pem");
        let empty = directory.path().join("empty.pem");
        let broken = directory.path().join("broken.pem");
        std::fs::write(&empty, "no certificate\n").unwrap();
        std::fs::write(
            &broken,
            "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        )
        .unwrap();
        for path in [missing, empty, broken] {
            let settings = HttpSettings {
                ca_file: Some(path.clone()),
                ..HttpSettings::default()
            };
            let error = client(&settings).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
    }
}
