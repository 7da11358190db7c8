//! One attempt to tell a receiver, and what came of it. Never tries twice, follows no redirect, and repeats no
//! address: it may be a secret.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response, StatusCode};
use url::{Position, Url};

use super::words::Message;
use crate::http::{self, Outward};
use crate::model::{Receiver, WebAddress, is_over_http};
use crate::secret::{self, Secret, words};

/// An attempt may take as long.
const DEADLINE: Duration = Duration::from_secs(10);

/// How much of what is answered is read, in bytes: a secret that it repeats is found as a whole.
const READ_MAX: usize = 8 << 10;

/// How much of it is told, in bytes.
const ANSWER_MAX: usize = 200;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was taken.
    Taken,
    /// Not now: it is tried again, and all later ones after it.
    Later {
        /// What was answered, or seen.
        why: String,
        /// How long it asks to wait.
        wait: Option<Duration>,
    },
    /// This one is not wanted as it is.
    Refused {
        /// What was answered.
        why: String,
    },
}

/// Sends it once.
pub(super) async fn send(outward: &Outward, receiver: &Receiver, message: &Message) -> Sent {
    let later = |why: String| Sent::Later { why, wait: None };
    let sent = tokio::time::timeout(DEADLINE, attempt(outward, receiver, message)).await;
    match sent {
        Ok(Ok(sent)) => sent,
        Ok(Err(why)) => later(why),
        Err(_) => later(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

async fn attempt(
    outward: &Outward,
    receiver: &Receiver,
    message: &Message,
) -> Result<Sent, String> {
    let url = address(receiver.url()).await?;
    let mut request = outward.request(Method::POST, &url)?;
    request = request
        .header(CONTENT_TYPE, "application/json")
        .header("idempotency-key", &message.id);
    if let Receiver::Webhook { secret, .. } = receiver {
        request = request
            .header("x-towpath-delivery", &message.id)
            .header("x-towpath-event", message.event);
        if let Some(credential) = secret {
            let secret = secret::named(credential).await?;
            let signature = secret::signature(&secret, &message.body);
            request = request.header("x-towpath-signature-256", format!("sha256={signature}"));
        }
    }
    let request = request.body(message.body.clone());
    let response = request.send().await.map_err(http::plain)?;
    Ok(told(response).await)
}

/// The address itself.
pub(super) async fn address(address: &WebAddress) -> Result<Url, String> {
    let credential = match address {
        WebAddress::Plain(url) => return Ok(url.clone()),
        WebAddress::Named(credential) => credential,
    };
    let text: Secret = secret::named(credential).await?;
    let url = text.expose().parse::<Url>().ok();
    let url = url.filter(is_over_http);
    let url = url.ok_or_else(|| format!("{address} is none over HTTP"))?;
    // A receiver may repeat the part that it was asked for.
    secret::remember(&url[Position::BeforePath..]);
    Ok(url)
}

async fn told(response: Response) -> Sent {
    let status = response.status();
    if status.is_success() {
        return Sent::Taken;
    }
    let wait = http::retry_after(response.headers());
    let why = match status.is_redirection() {
        true => format!("{status}: redirects are not followed, name the address that it leads to"),
        false => match beginning(response).await.as_str() {
            "" => status.to_string(),
            said => format!("{status}: {said}"),
        },
    };
    match status {
        // What is the receiver's own, or our configuration's: every message would end so.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::REQUEST_TIMEOUT
        | StatusCode::GONE
        | StatusCode::TOO_EARLY
        | StatusCode::TOO_MANY_REQUESTS => Sent::Later { why, wait },
        status if status.is_client_error() => Sent::Refused { why },
        _ => Sent::Later { why, wait },
    }
}

/// The beginning of what is answered, on one line.
async fn beginning(mut response: Response) -> String {
    let text = http::beginning(&mut response, READ_MAX).await;
    words(&String::from_utf8_lossy(&text), ANSWER_MAX)
}
