//! One webhook: is it believable, what does it name, what is to be looked at again.
//!
//! In this order, each cheaper than the next: a sender that is listened to, a size that is taken, the
//! signature over the bytes as they came, and only then what they say.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, Request, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Serving;
use super::keys::{Keys, Shown};
use super::payload::{self, Change};
use crate::clock;
use crate::model::{ImageRepository, RepositoryUrl, Sender};
use crate::reconcile::{Heard, Reconciler};

/// The largest body that is taken. GitHub sends up to 25 MB: pushes of thousands of commits, which are
/// found by the next look.
const BODY_MAX: usize = 1 << 20;

/// How long a body may take to come.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The longest address that is compared.
const ADDRESS_MAX: usize = 2048;

/// What came of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Something is looked at again.
    Woke,
    /// What it tells of is known, or is not looked at.
    NoNews,
    /// It names nothing of ours.
    Unknown,
    /// Nobody listens to this sender.
    NotTaken,
    /// It shows no secret.
    Unsigned,
    /// It shows a wrong one.
    WrongSignature,
    TooLarge,
    TooSlow,
    /// It is not what its sender sends.
    Malformed,
    NotJson,
    /// Too many others are being received.
    Busy,
    /// It cannot be checked, or nothing runs yet.
    NotNow,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Woke => "woke",
            Self::NoNews => "no-news",
            Self::Unknown => "unknown",
            Self::NotTaken => "not-taken",
            Self::Unsigned => "unsigned",
            Self::WrongSignature => "wrong-signature",
            Self::TooLarge => "too-large",
            Self::TooSlow => "too-slow",
            Self::Malformed => "malformed",
            Self::NotJson => "not-json",
            Self::Busy => "busy",
            Self::NotNow => "not-now",
        }
    }

    /// The answer, for the list of deliveries that senders show.
    fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Self::Woke => (StatusCode::ACCEPTED, "it is looked at again"),
            Self::NoNews => (StatusCode::ACCEPTED, "no news"),
            Self::Unknown => (
                StatusCode::NOT_FOUND,
                "no repository of the configuration is named",
            ),
            Self::NotTaken => (
                StatusCode::NOT_FOUND,
                "this sender is not listened to: `webhooks` in towpath.yaml names those that are",
            ),
            Self::Unsigned => (
                StatusCode::UNAUTHORIZED,
                "it is not signed: set the secret at the sender",
            ),
            Self::WrongSignature => (
                StatusCode::UNAUTHORIZED,
                "it is signed with another secret than those of the configuration",
            ),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "the body is over 1 MiB"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, "the body took over 10 s"),
            Self::Malformed => (
                StatusCode::BAD_REQUEST,
                "the body is not what this sender sends",
            ),
            Self::NotJson => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "choose the content type application/json at the sender",
            ),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many at once"),
            Self::NotNow => (
                StatusCode::SERVICE_UNAVAILABLE,
                "it cannot be checked now: see the log",
            ),
        }
    }

    /// Whether its sender is who it says.
    fn is_believed(self) -> bool {
        matches!(
            self,
            Self::Woke | Self::NoNews | Self::Unknown | Self::Malformed | Self::NotJson
        )
    }
}

/// Takes a delivery at `/hooks/SENDER`, or `/hooks/SENDER/SECRET` of those that can do no better.
pub(super) async fn receive(
    State(serving): State<Arc<Serving>>,
    Path(rest): Path<String>,
    request: Request<Body>,
) -> Response {
    let (name, address) = match rest.split_once('/') {
        Some((name, address)) => (name, Some(address)),
        None => (rest.as_str(), None),
    };
    let sender = Sender::named(name);
    let (event, outcome) = match sender {
        Some(sender) => take(&serving, sender, address, request).await,
        None => ("other", Outcome::NotTaken),
    };
    let believed_at = outcome.is_believed().then(clock::now);
    (serving.metrics).delivered(sender, event, outcome.name(), believed_at);
    tracing::debug!(
        sender = sender.map(Sender::name),
        event,
        outcome = outcome.name(),
        "webhook"
    );
    let (status, text) = outcome.answer();
    match outcome {
        Outcome::Busy | Outcome::NotNow => {
            (status, [(RETRY_AFTER, "5")], format!("{text}\n")).into_response()
        }
        _ => (status, format!("{text}\n")).into_response(),
    }
}

async fn take(
    serving: &Serving,
    sender: Sender,
    address: Option<&str>,
    request: Request<Body>,
) -> (&'static str, Outcome) {
    let keys = serving.now().keys.clone();
    if !keys.listen_to(sender) {
        return ("other", Outcome::NotTaken);
    }
    let (head, body) = request.into_parts();
    let taken = body_of(&head.headers, body, &serving.bodies).await;
    let (body, _permit) = match taken {
        Ok(taken) => taken,
        Err(outcome) => return ("other", outcome),
    };
    if let Some(outcome) = disbelieve(&keys, sender, &head.headers, address, &body).await {
        return ("other", outcome);
    }
    if !is_json(sender, &head.headers) {
        return ("other", Outcome::NotJson);
    }
    let said = match payload::read(sender, event_of(sender, &head.headers), &body) {
        Ok(said) => said,
        Err(error) => {
            tracing::warn!(%sender, %error, "a webhook is not understood");
            return ("other", Outcome::Malformed);
        }
    };
    let Some(reconciler) = serving.reconciler() else {
        return (said.event, Outcome::NotNow);
    };
    let heard = said.changes.iter().map(|change| wake(&reconciler, change));
    let outcome = match heard.max() {
        Some(Heard::LooksAgain) => Outcome::Woke,
        Some(Heard::Known) | None => Outcome::NoNews,
        Some(Heard::Unknown) => Outcome::Unknown,
    };
    (said.event, outcome)
}

/// The body, as soon as it is whole. What it takes of the memory for all bodies is held as it comes, so
/// that who announces much and sends nothing takes nothing.
async fn body_of(
    headers: &HeaderMap,
    body: Body,
    room: &Arc<Semaphore>,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Outcome> {
    let announced = headers.get(CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_MAX as u64) {
        return Err(Outcome::TooLarge);
    }
    let receiving = async {
        let (mut whole, mut held) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Outcome::Malformed)?;
            if whole.len() + piece.len() > BODY_MAX {
                return Err(Outcome::TooLarge);
            }
            let size = u32::try_from(piece.len()).map_err(|_| Outcome::TooLarge)?;
            let more = room.clone().try_acquire_many_owned(size);
            let more = more.map_err(|_| Outcome::Busy)?;
            match &mut held {
                Some(held) => held.merge(more),
                None => held = Some(more),
            }
            whole.extend_from_slice(&piece);
        }
        Ok((whole.freeze(), held))
    };
    let received = tokio::time::timeout(BODY_TIME, receiving).await;
    received.unwrap_or(Err(Outcome::TooSlow))
}

/// Why the delivery is not believed to be its sender's; `None`: it is.
async fn disbelieve(
    keys: &Keys,
    sender: Sender,
    headers: &HeaderMap,
    address: Option<&str>,
    body: &[u8],
) -> Option<Outcome> {
    match keys.check(sender, headers, address, body).await {
        Ok(Shown::Good) => None,
        Ok(Shown::Nothing) => Some(Outcome::Unsigned),
        Ok(Shown::Wrong) => Some(Outcome::WrongSignature),
        Err(error) => {
            tracing::error!("{error}");
            Some(Outcome::NotNow)
        }
    }
}

/// Forges can send forms as well, which is said in so many words. Of others the body tells enough:
/// registries name types of their own, and `curl` calls everything a form.
fn is_json(sender: Sender, headers: &HeaderMap) -> bool {
    let chosen = matches!(sender, Sender::GitHub | Sender::Gitea);
    let Some(value) = headers.get(CONTENT_TYPE).filter(|_| chosen) else {
        return true;
    };
    let Ok(text) = value.to_str() else {
        return false;
    };
    let kind = text.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// The kind of event, of senders that tell it in a header.
fn event_of(sender: Sender, headers: &HeaderMap) -> Option<&str> {
    let names: &[&str] = match sender {
        Sender::GitHub => &["x-github-event"],
        Sender::Gitea => &["x-gitea-event", "x-forgejo-event"],
        _ => &[],
    };
    let mut values = names.iter().filter_map(|name| headers.get(*name));
    values.next()?.to_str().ok()
}

fn wake(reconciler: &Reconciler, change: &Change) -> Heard {
    match change {
        Change::Nothing(addresses) => each(reconciler, addresses, |url| reconciler.is_about(url)),
        Change::Requests(addresses) => each(reconciler, addresses, |url| {
            reconciler.hear_of_requests(url)
        }),
        Change::Check(addresses, name) => each(reconciler, addresses, |url| {
            reconciler.hear_of_check(url, name)
        }),
        Change::Git(addresses, moved) => each(reconciler, addresses, |url| {
            let moved = moved.as_ref();
            reconciler.hear_of_git(url, moved.map(|it| (it.reference.as_str(), it.after)))
        }),
        Change::Image(repository, tag) => {
            let tag = tag.as_ref().map(|(tag, digest)| (tag.as_str(), *digest));
            match reconciler.hear_of_images(repository, tag) {
                Heard::Unknown => {
                    let same = same_path(reconciler, repository);
                    let heard = same.map(|it| reconciler.hear_of_images(it, tag));
                    heard.max().unwrap_or(Heard::Unknown)
                }
                heard => heard,
            }
        }
    }
}

/// A registry may know itself by another name than we do, behind a proxy or within a cluster.
fn same_path<'a>(
    reconciler: &'a Reconciler,
    told: &'a ImageRepository,
) -> impl Iterator<Item = &'a ImageRepository> {
    let known = |host: &str| {
        let mut all = reconciler.image_repositories();
        all.any(|it| it.host() == host)
    };
    let foreign = !known(told.host());
    let all = reconciler.image_repositories();
    all.filter(move |it| foreign && it.path() == told.path())
}

/// Tells of every repository that one of these addresses may be of.
fn each(
    reconciler: &Reconciler,
    addresses: &[String],
    tell: impl Fn(&RepositoryUrl) -> Heard,
) -> Heard {
    let places: Vec<_> = addresses.iter().filter_map(|it| place(it)).collect();
    let ours = reconciler.repositories().filter(|url| {
        place(url.as_str()).is_some_and(|(host, path)| {
            places.iter().any(|(told_host, told_path)| {
                host.eq_ignore_ascii_case(told_host) && path.eq_ignore_ascii_case(told_path)
            })
        })
    });
    ours.map(tell).max().unwrap_or(Heard::Unknown)
}

/// Host and path of a repository's address, however it is written: with or without `.git`, a user, a
/// port, over https or ssh. Two that agree in these are looked at both, which does no harm.
pub(super) fn place(address: &str) -> Option<(&str, &str)> {
    if address.len() > ADDRESS_MAX {
        return None;
    }
    let (authority, path) = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/').unwrap_or((rest, "")),
        None if address.starts_with('/') => ("", address),
        None => address.split_once(':')?,
    };
    let host = authority.rsplit('@').next().unwrap_or_default();
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    };
    let path = path.trim_matches('/');
    let path = match path.len().checked_sub(4) {
        Some(end) if path.is_char_boundary(end) && path[end..].eq_ignore_ascii_case(".git") => {
            &path[..end]
        }
        _ => path,
    };
    (!path.is_empty()).then_some((host, path))
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn one_repository_is_known_in_all_its_spellings() {
        for address in [
            "https://git.example.com/acme/infra",
            "https://git.example.com/acme/infra.git",
            "https://git.example.com:8443/acme/infra/",
            "ssh://git@git.example.com:2222/acme/infra.git",
            "git@git.example.com:acme/infra.git",
            "git://git.example.com/acme/infra.git",
        ] {
            assert_eq!(
                place(address),
                Some(("git.example.com", "acme/infra")),
                "{address}"
            );
        }
        assert_eq!(place("/srv/git/infra.git"), Some(("", "srv/git/infra")));
        assert_eq!(place("file:///srv/git/infra"), Some(("", "srv/git/infra")));
        for address in [
            "",
            "infra",
            "https://git.example.com",
            "git@host:",
            &"/a".repeat(2000),
        ] {
            assert_eq!(place(address), None, "{address}");
        }
    }
}
