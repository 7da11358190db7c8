//! Smoke tests: whether what was deployed answers over HTTP as its configuration expects.
//!
//! Asks once, with a deadline, and says what it saw. When and how often is decided in
//! [`crate::plan`]; nothing is sent but a GET without credentials.

use async_trait::async_trait;
use futures_util::StreamExt as _;
use reqwest::{Method, Response};

use crate::http::{Outward, plain};
use crate::model::SmokeTest;

/// How much of an answer is looked at for the expected text, in bytes.
const BODY_MAX: usize = 1 << 20;

/// Asks what was deployed.
#[async_trait]
pub trait Probe: Send + Sync {
    /// Asks once, within the test's own timeout.
    ///
    /// # Errors
    /// What was seen in place of what is expected, the address named first.
    async fn ask(&self, test: &SmokeTest) -> Result<(), String>;
}

/// Asks over HTTP.
pub struct HttpProbe {
    outward: Outward,
}

impl HttpProbe {
    /// Asks with this client, which follows no redirects: their status is an answer like any other.
    pub fn new(outward: Outward) -> Self {
        Self { outward }
    }
}

#[async_trait]
impl Probe for HttpProbe {
    async fn ask(&self, test: &SmokeTest) -> Result<(), String> {
        let asked = tokio::time::timeout(test.timeout, self.try_ask(test)).await;
        let seen = asked.unwrap_or_else(|_| {
            let seconds = test.timeout.as_secs();
            Err(format!("no answer within {seconds} s"))
        });
        seen.map_err(|seen| format!("{}: {seen}", test.get))
    }
}

impl HttpProbe {
    async fn try_ask(&self, test: &SmokeTest) -> Result<(), String> {
        let request = self.outward.request(Method::GET, &test.get)?;
        let response = request.send().await;
        let response = response.map_err(plain)?;
        let status = response.status();
        if status.as_u16() != test.expect {
            return Err(format!("{status}, {} is expected", test.expect));
        }
        match &test.contains {
            Some(text) if !contains(response, text.as_bytes()).await? => {
                Err(format!("{status}, but without `{text}` in it"))
            }
            _ => Ok(()),
        }
    }
}

async fn contains(response: Response, text: &[u8]) -> Result<bool, String> {
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        body.extend_from_slice(&chunk.map_err(plain)?);
        if holds(&body, text) {
            return Ok(true);
        }
        if body.len() > BODY_MAX {
            return Ok(false);
        }
    }
    Ok(holds(&body, text))
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    text.is_empty() || body.windows(text.len()).any(|part| part == text)
}
