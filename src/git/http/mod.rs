//! A git server over smart HTTP (gitprotocol-http(5)).
//!
//! Owns what one server is known to be: its capabilities, its credential, where it redirected to. What
//! is known is not asked again, so a warm look, fetch or push is one request. Connections belong to the
//! process's one HTTP client.

mod answer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Response, StatusCode};
use url::Url;

use super::credential::{Login, Source};
use super::error::printable;
use super::remote::{FetchRequest, Fetched, PushReport, PushRequest, Refs, Remote};
use super::wire::{self, Advertisement, ByteStream, Capabilities, Dialect, Packets};
use super::{Access, GitError, locked};
use crate::http::Meter;
use answer::{header, network, stalled};

/// Redirects followed for one question.
const REDIRECTS_MAX: usize = 5;

/// The most a list of refs may take.
const REFS_BYTES_MAX: u64 = 512 << 20;

/// The most a pack or a report may take.
const PACK_BYTES_MAX: u64 = 8 << 30;

/// Bodies beyond this are sent in pieces, so that their progress counts against the idle timeout.
const PIECE_BYTES: usize = 64 << 10;

const UPLOAD: &str = "git-upload-pack";
const RECEIVE: &str = "git-receive-pack";

/// See the module.
pub(super) struct HttpRemote {
    address: Arc<str>,
    client: reqwest::Client,
    idle: Duration,
    meter: Meter,
    source: Source,
    known: Mutex<Known>,
}

/// What was learnt; each part is forgotten when it proves wrong.
struct Known {
    base: Url,
    login: Option<Login>,
    dialect: Option<Arc<Dialect>>,
    receive: Option<Arc<Capabilities>>,
}

impl HttpRemote {
    pub(super) fn new(address: &str, access: &Access) -> Result<Self, GitError> {
        let invalid = |detail: String| GitError::NotSmart {
            url: address.to_owned(),
            detail,
        };
        let mut base = Url::parse(address).map_err(|error| invalid(error.to_string()))?;
        let user = Some(base.username().to_owned()).filter(|user| !user.is_empty());
        // The name goes into the credential, never into an address that is shown or requested.
        base.set_username("")
            .map_err(|()| invalid("no host".to_owned()))?;
        Ok(Self {
            address: address.into(),
            client: access.client.clone(),
            idle: access.idle_timeout,
            meter: access.meter.clone(),
            source: Source {
                url: base.to_string(),
                credential: access.credential.clone(),
                user: user.or_else(|| access.user.clone()),
            },
            known: Mutex::new(Known {
                base,
                login: None,
                dialect: None,
                receive: None,
            }),
        })
    }

    /// The first words of a service; refs under the prefixes where they come with them.
    async fn discover(
        &self,
        service: &str,
        prefixes: &[String],
    ) -> Result<Advertisement, GitError> {
        let response = self.get(service).await?;
        let expected = format!("application/x-{service}-advertisement");
        if header(response.headers(), CONTENT_TYPE) != expected {
            return Err(answer::not_smart(&self.address, &response));
        }
        let mut packets = self.packets(response, REFS_BYTES_MAX);
        let advertisement = Advertisement::read(&mut packets, prefixes).await?;
        packets.finish().await;
        Ok(advertisement)
    }

    /// What the server speaks, with the refs under the prefixes where they came along (version 0).
    async fn dialect(&self, prefixes: &[String]) -> Result<(Arc<Dialect>, Option<Refs>), GitError> {
        let mut advertisement = self.discover(UPLOAD, prefixes).await?;
        let refs = match &mut advertisement {
            Advertisement::V0(_, refs) => Some(std::mem::take(refs)),
            Advertisement::V2(_) => None,
        };
        let dialect = Arc::new(Dialect::from(advertisement));
        locked(&self.known).dialect = Some(Arc::clone(&dialect));
        Ok((dialect, refs))
    }

    /// A server that was exchanged for another may speak otherwise now.
    fn forget_dialect<T>(&self, outcome: &Result<T, GitError>) {
        if matches!(outcome, Err(GitError::Protocol { .. })) {
            locked(&self.known).dialect = None;
        }
    }

    async fn receive(&self) -> Result<Arc<Capabilities>, GitError> {
        if let Some(capabilities) = locked(&self.known).receive.clone() {
            return Ok(capabilities);
        }
        let capabilities = match self.discover(RECEIVE, &[]).await? {
            Advertisement::V0(capabilities, _) | Advertisement::V2(capabilities) => {
                Arc::new(capabilities)
            }
        };
        locked(&self.known).receive = Some(Arc::clone(&capabilities));
        Ok(capabilities)
    }

    /// `GET info/refs`, following redirects on the same host.
    async fn get(&self, service: &str) -> Result<Response, GitError> {
        for _ in 0..REDIRECTS_MAX {
            let base = locked(&self.known).base.clone();
            let url = endpoint(&base, &format!("info/refs?service={service}"));
            let response = self
                .authorized(|_| versioned(self.client.get(url.clone()), service))
                .await?;
            let target = match response.status() {
                status if status.is_redirection() => {
                    let target = header(response.headers(), LOCATION);
                    url.join(&target)
                        .map_err(|_| answer::not_smart(&self.address, &response))?
                }
                // A client that follows redirects by itself has come to another address.
                _ if *response.url() != url => response.url().clone(),
                _ => return self.accept(response).await,
            };
            let moved = self.follow(&url, &target, service)?;
            locked(&self.known).base = moved;
            if !response.status().is_redirection() {
                return self.accept(response).await;
            }
        }
        Err(GitError::NotSmart {
            url: self.address.to_string(),
            detail: "it redirects without end".to_owned(),
        })
    }

    /// The repository's new address, from where its `info/refs` moved to.
    fn follow(&self, from: &Url, to: &Url, service: &str) -> Result<Url, GitError> {
        let same_host = from.host_str() == to.host_str();
        let upgraded = from.scheme() == "http" && to.scheme() == "https";
        let same_place = same_host
            && (upgraded
                || (from.scheme() == to.scheme()
                    && from.port_or_known_default() == to.port_or_known_default()));
        let is_endpoint = to.path().ends_with("/info/refs")
            && to.query() == Some(format!("service={service}").as_str());
        if !same_place || !is_endpoint {
            let mut shown = to.clone();
            shown.set_query(None);
            return Err(GitError::Redirected {
                url: self.address.to_string(),
                to: printable(shown.as_str().as_bytes()),
            });
        }
        let mut base = to.clone();
        base.set_query(None);
        base.set_path(to.path().trim_end_matches("/info/refs"));
        Ok(base)
    }

    async fn post(&self, service: &str, body: Bytes) -> Result<Response, GitError> {
        let base = locked(&self.known).base.clone();
        let url = endpoint(&base, service);
        let request = |sent: &Arc<AtomicU64>| {
            let request = self
                .client
                .post(url.clone())
                .header(CONTENT_TYPE, format!("application/x-{service}-request"))
                .header(ACCEPT, format!("application/x-{service}-result"))
                .header(CONTENT_LENGTH, body.len())
                .body(pieces(body.clone(), sent));
            versioned(request, service)
        };
        let response = self.authorized(request).await?;
        let response = self.accept(response).await?;
        match header(response.headers(), CONTENT_TYPE) == format!("application/x-{service}-result")
        {
            true => Ok(response),
            false => Err(answer::not_smart(&self.address, &response)),
        }
    }

    /// Sends a request with the credential that is known or named; where the server then wants one, or
    /// another, once more.
    async fn authorized(
        &self,
        request: impl Fn(&Arc<AtomicU64>) -> reqwest::RequestBuilder + Send + Sync,
    ) -> Result<Response, GitError> {
        let mut login = locked(&self.known).login.clone();
        if login.is_none() && self.source.is_named() {
            login = self.source.login().await?;
        }
        let response = self.send(&request, login.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            self.keep(login, &response);
            return Ok(response);
        }
        if let Some(refused) = &login {
            self.source.judge(refused, false).await;
            locked(&self.known).login = None;
        }
        let again = self.source.login().await?;
        if again.is_none() || again == login {
            return Err(self.refusal(response).await);
        }
        let response = self.send(&request, again.as_ref()).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            if let Some(refused) = &again {
                self.source.judge(refused, false).await;
            }
            return Err(self.refusal(response).await);
        }
        if let Some(good) = &again
            && response.status().is_success()
        {
            self.source.judge(good, true).await;
        }
        self.keep(again, &response);
        Ok(response)
    }

    fn keep(&self, login: Option<Login>, response: &Response) {
        if response.status().is_success() && self.source.lasts() {
            locked(&self.known).login = login;
        }
    }

    /// Waits for the answer's head as long as the request makes progress.
    async fn send(
        &self,
        request: impl Fn(&Arc<AtomicU64>) -> reqwest::RequestBuilder,
        login: Option<&Login>,
    ) -> Result<Response, GitError> {
        let sent = Arc::new(AtomicU64::new(0));
        let request = match login.and_then(Login::header) {
            Some(value) => request(&sent).header(AUTHORIZATION, value),
            None => request(&sent),
        };
        let mut answer = std::pin::pin!(request.send());
        loop {
            let before = sent.load(Ordering::Relaxed);
            match tokio::time::timeout(self.idle, &mut answer).await {
                Ok(Ok(answer)) => {
                    (self.meter).answered(answer.url(), answer.status(), answer.headers());
                    return Ok(answer);
                }
                Ok(Err(error)) => {
                    self.meter.failed(&locked(&self.known).base);
                    return Err(network(&self.address, error));
                }
                Err(_) if sent.load(Ordering::Relaxed) > before => {}
                Err(_) => {
                    self.meter.failed(&locked(&self.known).base);
                    return Err(stalled(&self.address, self.idle));
                }
            }
        }
    }

    async fn accept(&self, response: Response) -> Result<Response, GitError> {
        answer::accept(&self.address, &self.source.credential, self.idle, response).await
    }

    async fn refusal(&self, response: Response) -> GitError {
        answer::refusal(&self.address, &self.source.credential, self.idle, response).await
    }

    fn packets(&self, response: Response, limit: u64) -> Packets {
        let (idle, url) = (self.idle, Arc::clone(&self.address));
        let stream: ByteStream = Box::pin(stream::unfold(Some(response), move |response| {
            let url = Arc::clone(&url);
            async move {
                let mut response = response?;
                match tokio::time::timeout(idle, response.chunk()).await {
                    Ok(Ok(Some(chunk))) => Some((Ok(chunk), Some(response))),
                    Ok(Ok(None)) => None,
                    Ok(Err(error)) => Some((Err(network(&url, error)), None)),
                    Err(_) => Some((Err(stalled(&url, idle)), None)),
                }
            }
        }));
        Packets::new(&self.address, stream, limit)
    }
}

#[async_trait]
impl Remote for HttpRemote {
    fn address(&self) -> &str {
        &self.address
    }

    async fn advertise(&self, prefixes: &[String]) -> Result<Refs, GitError> {
        let known = locked(&self.known).dialect.clone();
        let dialect = match known {
            Some(dialect) if matches!(*dialect, Dialect::V2(_)) => dialect,
            _ => match self.dialect(prefixes).await? {
                (_, Some(refs)) => return Ok(refs),
                (dialect, None) => dialect,
            },
        };
        let Dialect::V2(capabilities) = &*dialect else {
            return Ok(Refs::new());
        };
        let response = self
            .post(UPLOAD, wire::ls_refs(capabilities, prefixes).into())
            .await?;
        let mut packets = self.packets(response, REFS_BYTES_MAX);
        let refs = wire::read_refs(&mut packets, prefixes).await;
        packets.finish().await;
        self.forget_dialect(&refs);
        refs
    }

    async fn fetch(&self, request: &FetchRequest) -> Result<Fetched, GitError> {
        let known = locked(&self.known).dialect.clone();
        let dialect = match known {
            Some(dialect) => dialect,
            None => self.dialect(&[]).await?.0,
        };
        let response = self.post(UPLOAD, dialect.request(request).into()).await?;
        let mut packets = self.packets(response, PACK_BYTES_MAX);
        let fetched = dialect.read(&mut packets, request).await;
        packets.finish().await;
        self.forget_dialect(&fetched);
        fetched
    }

    async fn push(&self, request: &PushRequest) -> Result<PushReport, GitError> {
        let capabilities = self.receive().await?;
        let body = wire::push_request(&self.address, &capabilities, request)?;
        let response = self.post(RECEIVE, body.into()).await?;
        let mut packets = self.packets(response, PACK_BYTES_MAX);
        let report = wire::read_report(&mut packets, &capabilities).await;
        match &request.ends {
            Some(ends) if report.as_ref().is_ok_and(PushReport::is_clean) => {
                drop(ends.spawn(packets.finish()));
            }
            _ => packets.finish().await,
        }
        if matches!(report, Err(GitError::Protocol { .. })) {
            locked(&self.known).receive = None;
        }
        report
    }

    async fn receives(&self) -> Result<bool, GitError> {
        let said = self.discover(RECEIVE, &[]).await?;
        Ok(said.is_atomic())
    }
}

fn endpoint(base: &Url, rest: &str) -> Url {
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut url = base.clone();
    url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
    url.set_query(Some(query).filter(|query| !query.is_empty()));
    url
}

/// Asks for version 2 where there is one: pushing has none.
fn versioned(request: reqwest::RequestBuilder, service: &str) -> reqwest::RequestBuilder {
    match service {
        UPLOAD => request.header("Git-Protocol", "version=2"),
        _ => request,
    }
}

fn pieces(body: Bytes, sent: &Arc<AtomicU64>) -> reqwest::Body {
    if body.len() <= PIECE_BYTES {
        return body.into();
    }
    let sent = Arc::clone(sent);
    reqwest::Body::wrap_stream(stream::unfold(body, move |mut rest| {
        let sent = Arc::clone(&sent);
        async move {
            if rest.is_empty() {
                return None;
            }
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Some((Ok::<_, std::io::Error>(piece), rest))
        }
    }))
}
