//! Git over smart HTTP: who may fetch and push, what protection refuses, and what follows a push.
//!
//! The git work is done by `git http-backend`; an `update` hook says no where this process has found that it
//! must. Sources: [tokens instead of passwords](https://docs.github.com/en/get-started/git-basics/about-remote-repositories#cloning-with-https-urls),
//! [GH006](https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/managing-protected-branches/troubleshooting-required-status-checks).

use std::io;
use std::path::Path;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::Shared;
use super::access::{self, Grant, Level, Need, Permission, Role, role_of};
use super::merge;
use super::moved;
use super::protection::{Ban, Guard};
use super::state::Repository;
use crate::demo::git_server::cgi::Backend;

/// The largest push that is taken in.
const PUSH: usize = 256 << 20;

/// The variable in which the hook finds what to refuse: ref, kind and words, a line each.
const BANS: &str = "GITHUB_BANS";

/// Run by git for every ref that is pushed (githooks(5), `update`).
const HOOK: &str = r#"#!/bin/sh
tab=$(printf '\t')
printf '%s\n' "$GITHUB_BANS" | while IFS="$tab" read -r ref kind words; do
  [ "$ref" = "$1" ] || continue
  if [ "$kind" = rewrite ] && git merge-base --is-ancestor "$2" "$3"; then continue; fi
  if [ "$kind" = unsigned ]; then
    unsigned=$(git rev-list "$3" --not --all | while read -r commit; do
      git cat-file commit "$commit" | sed '/^$/q' | grep -q '^gpgsig ' || echo "$commit"
    done)
    [ -n "$unsigned" ] || continue
  fi
  printf 'error: GH006: Protected branch update failed for %s.\nerror: %s\n' "$1" "$words" >&2
  exit 1
done
"#;

/// Puts the hook into a bare repository.
pub(super) fn install(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let hooks = path.join("hooks");
    std::fs::create_dir_all(&hooks)?;
    let hook = hooks.join("update");
    std::fs::write(&hook, HOOK)?;
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755))
}

/// One ref of a push: name, old and new id, none where it does not exist.
struct Command {
    name: String,
    old: Option<String>,
    new: Option<String>,
}

/// Serves what lies below `OWNER/NAME.git/`.
pub(super) async fn serve(
    shared: &Arc<Shared>,
    name: &str,
    rest: &str,
    request: Request,
) -> Response {
    let pushes = rest == "git-receive-pack";
    let wants_push = pushes || request.uri().query() == Some("service=git-receive-pack");
    let known = match (request.method(), rest) {
        (&Method::GET, "info/refs") | (&Method::POST, "git-upload-pack") => true,
        (&Method::POST, _) => pushes,
        _ => false,
    };
    if !known {
        return StatusCode::NOT_FOUND.into_response();
    }
    let now = shared.now();
    let sent = request.headers().get(AUTHORIZATION).cloned();
    let grant = match allowed(shared, name, wants_push, sent.as_ref(), now).await {
        Ok(grant) => grant,
        Err(refused) => return refused,
    };
    let answered = match pushes {
        true => receive(shared, name, &grant, request, now).await,
        false => backend(shared).run(request).await,
    };
    answered.unwrap_or_else(|error| {
        let text = format!("git http-backend: {error}");
        (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
    })
}

fn backend(shared: &Shared) -> Backend {
    Backend {
        root: shared.root.clone(),
        version_0: false,
        pushed: None,
        without_hooks: false,
        environment: Vec::new(),
    }
}

/// Who asks, where they may.
async fn allowed(
    shared: &Shared,
    name: &str,
    wants_push: bool,
    sent: Option<&HeaderValue>,
    now: Timestamp,
) -> Result<Grant, Response> {
    let state = shared.state.lock().await;
    let grant = match sent {
        None => Grant::nobody(),
        Some(sent) => password(sent)
            .and_then(|token| access::by_token(&state, &token, now))
            .ok_or_else(|| challenge("Invalid username or token. Password authentication is not supported for Git operations."))?,
    };
    let missing = || (StatusCode::NOT_FOUND, "Repository not found.\n").into_response();
    let Some(repository) = state.repositories.get(name) else {
        return Err(match sent {
            None => challenge("Repository not found."),
            Some(_) => missing(),
        });
    };
    if grant.role(repository).is_none() || (wants_push && sent.is_none()) {
        return Err(match sent {
            None => challenge("Repository not found."),
            Some(_) => missing(),
        });
    }
    let level = if wants_push {
        Level::Write
    } else {
        Level::Read
    };
    let need = match level {
        Level::Read => Need {
            any: &[(Permission::Contents, Level::Read)],
            role: Role::Read,
        },
        Level::Write => Need {
            any: &[(Permission::Contents, Level::Write)],
            role: Role::Write,
        },
    };
    if wants_push && repository.archived {
        let text = "This repository was archived so it is read-only.\n";
        return Err((StatusCode::FORBIDDEN, text).into_response());
    }
    if grant.check(repository, need).is_err() {
        let text = format!("Permission to {name}.git denied to {}.\n", grant.login);
        return Err((StatusCode::FORBIDDEN, text).into_response());
    }
    Ok(grant)
}

/// The token, which goes where a password would, or alone as a bearer's.
fn password(sent: &HeaderValue) -> Option<String> {
    let (scheme, rest) = sent.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.to_owned());
    }
    let pair = BASE64_STANDARD.decode(rest).ok()?;
    let pair = String::from_utf8(pair).ok()?;
    let (user, password) = pair.split_once(':')?;
    let token = if password.is_empty() { user } else { password };
    Some(token.to_owned())
}

fn challenge(text: &str) -> Response {
    let basic = [(WWW_AUTHENTICATE, "Basic realm=\"GitHub\"")];
    (StatusCode::UNAUTHORIZED, basic, format!("{text}\n")).into_response()
}

/// Lets git take the push in, and the site follow it before the answer ends: from its first word on nobody
/// is shown a site that does not know of the push.
async fn receive(
    shared: &Arc<Shared>,
    name: &str,
    grant: &Grant,
    request: Request,
    now: Timestamp,
) -> io::Result<Response> {
    let (mut head, body) = request.into_parts();
    let body = to_bytes(body, PUSH).await.map_err(io::Error::other)?;
    let bans = {
        let state = shared.state.lock().await;
        let repository = state.repositories.get(name);
        repository.map(|it| bans(it, &grant.login, &commands(&body)))
    };
    // What came in chunks goes on whole.
    head.headers.remove("transfer-encoding");
    head.headers
        .insert("content-length", HeaderValue::from(body.len()));
    let mut backend = backend(shared);
    let bans = bans.unwrap_or_default();
    backend.without_hooks = bans.is_empty();
    backend.environment.push((BANS, bans));
    let response = backend
        .run(Request::from_parts(head, Body::from(body)))
        .await?;
    let (head, answer) = response.into_parts();
    let (sender, chunks) = mpsc::unbounded_channel();
    let (shared, name, by) = (shared.clone(), name.to_owned(), grant.login.clone());
    tokio::spawn(async move {
        let mut answer = answer.into_data_stream();
        let first = answer.next().await;
        let mut state = shared.state.lock().await;
        let mut next = first;
        while let Some(chunk) = next {
            // Who asked may be gone: the push is followed all the same.
            let _gone = sender.send(chunk);
            next = answer.next().await;
        }
        let followed = moved::after(&shared, &mut state, &name, &by, now).await;
        if let Err(error) = followed {
            tracing::warn!(?error, "a push was not followed");
        }
    });
    let chunks = stream::unfold(chunks, |mut chunks| async {
        chunks.recv().await.map(|chunk| (chunk, chunks))
    });
    Ok(Response::from_parts(head, Body::from_stream(chunks)))
}

/// The commands at the beginning of a push (gitprotocol-pack(5), "Reference update request").
fn commands(body: &Bytes) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut rest: &[u8] = body;
    while let Some((length, after)) = rest.split_at_checked(4) {
        let length = std::str::from_utf8(length).ok();
        let length = length.and_then(|it| usize::from_str_radix(it, 16).ok());
        let Some(line) = length
            .and_then(|it| it.checked_sub(4))
            .and_then(|it| after.split_at_checked(it))
        else {
            break;
        };
        rest = line.1;
        let text = String::from_utf8_lossy(line.0);
        let text = text.split('\0').next().unwrap_or_default().trim_end();
        let mut words = text.splitn(3, ' ');
        let (old, new) = (words.next(), words.next());
        let Some(name) = words.next() else { continue };
        commands.push(Command {
            name: name.to_owned(),
            old: id(old),
            new: id(new),
        });
    }
    commands
}

/// An object's id; none where it is all zeroes.
fn id(word: Option<&str>) -> Option<String> {
    let exists = |word: &&str| word.bytes().any(|byte| byte != b'0');
    word.filter(exists).map(str::to_owned)
}

fn bans(repository: &Repository, login: &str, commands: &[Command]) -> String {
    let is_admin = role_of(repository, login) == Some(Role::Admin);
    let mut lines = String::new();
    for command in commands {
        let branch = command.name.strip_prefix("refs/heads/");
        let tag = command.name.strip_prefix("refs/tags/");
        let guard = match (branch, tag) {
            (Some(branch), _) => Guard::of(repository, branch, login, is_admin),
            (None, Some(tag)) => Guard::of_tag(repository, tag, login),
            (None, None) => continue,
        };
        let sha = command.new.clone().unwrap_or_default();
        let (old, new) = (command.old.as_deref(), command.new.as_deref());
        let passed = |check: &_| merge::passed(repository, &sha, check);
        for ban in guard.bans(old, new, passed) {
            let (kind, words) = match ban {
                Ban::Always(words) => ("always", words),
                Ban::Rewrite(words) => ("rewrite", words),
                Ban::Unsigned(words) => ("unsigned", words),
            };
            lines.push_str(&format!("{}\t{kind}\t{words}\n", command.name));
        }
    }
    lines
}
