//! Evidence that others answer over HTTP: asked for once, within a deadline and a size.
//!
//! Owns the request and the limits of its answer. What the answer means, and when anybody is asked, is decided
//! elsewhere; where connections may lead is [`Outward`]'s.

use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Method, RequestBuilder, StatusCode};

use crate::http::{self, Outward, Unread, plain};
use crate::model::{Credential, Digest, EvidenceEndpoint};
use crate::secret;

/// How long one request may take.
const WITHIN: Duration = Duration::from_secs(10);

/// The largest answer, in bytes: as many documents as are read of what is attached to an image.
const BODY_MAX: usize = 1 << 20;

/// Asks endpoints for evidence.
#[async_trait]
pub trait AskEvidence: Send + Sync {
    /// What an endpoint answers of an image; `None`: it knows nothing of it.
    ///
    /// # Errors
    /// What was seen in place of an answer.
    async fn about(
        &self,
        endpoint: &EvidenceEndpoint,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, String>;
}

/// Asks over HTTP.
pub struct HttpEvidence {
    outward: Outward,
}

impl HttpEvidence {
    /// Asks with this client, which follows no redirects.
    pub fn new(outward: Outward) -> Self {
        Self { outward }
    }

    async fn ask(
        &self,
        endpoint: &EvidenceEndpoint,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, String> {
        let url = endpoint.about(digest);
        let url = url.ok_or("its address is none with the digest in it")?;
        let request = self.outward.request(Method::GET, &url)?;
        let request = authorised(request, endpoint.credential()).await?;
        let response = request.send().await.map_err(plain)?;
        match response.status() {
            StatusCode::OK => {
                let body = http::body(response, BODY_MAX).await;
                body.map(|it| Some(it.into())).map_err(unread)
            }
            StatusCode::NOT_FOUND | StatusCode::NO_CONTENT => Ok(None),
            status => Err(format!("{status}, 200 or 404 is expected")),
        }
    }
}

#[async_trait]
impl AskEvidence for HttpEvidence {
    async fn about(
        &self,
        endpoint: &EvidenceEndpoint,
        digest: &Digest,
    ) -> Result<Option<Vec<u8>>, String> {
        let asked = tokio::time::timeout(WITHIN, self.ask(endpoint, digest)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {} s", WITHIN.as_secs())))
    }
}

/// With the secret that is named: as a token, or as the password of the user that goes with it.
async fn authorised(
    request: RequestBuilder,
    credential: Option<&Credential>,
) -> Result<RequestBuilder, String> {
    let Some(credential) = credential else {
        return Ok(request);
    };
    let secret = secret::named(credential).await?;
    Ok(match credential.user() {
        Some(user) => request.basic_auth(user, Some(secret.expose())),
        None => request.bearer_auth(secret.expose()),
    })
}

fn unread(unread: Unread) -> String {
    match unread {
        Unread::Cut(error) => plain(error),
        Unread::TooLarge => "its answer is larger than 1 MiB".to_owned(),
    }
}
