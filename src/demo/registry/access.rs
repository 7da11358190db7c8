//! Who may ask the demo registry what, and its token server.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::store::Refusal;
use crate::secret::Secret;

const MOST_TOKENS: usize = 4096;

/// How the registry asks who is there.
#[derive(Debug, Clone, Default)]
pub enum Access {
    /// Not at all.
    #[default]
    Open,
    /// User and password with every request.
    Basic(User),
    /// Tokens from the registry's own token server.
    Token {
        /// The one user there is; the password is taken as identity token too.
        user: User,
        /// How long tokens last.
        lifetime: Duration,
        /// Whether who shows no credential gets tokens to pull.
        anonymous_pull: bool,
    },
}

/// The one user.
#[derive(Debug, Clone)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// Whether the user is known but may read nothing.
    pub forbidden: bool,
}

/// Tokens that were given out: what each is for, and until when.
#[derive(Default)]
pub(super) struct Tokens {
    given: HashMap<String, (String, Instant)>,
    count: u64,
    seed: RandomState,
}

impl Tokens {
    /// Withdraws them all.
    pub(super) fn clear(&mut self) {
        self.given.clear();
    }

    fn give(&mut self, scope: &str, lifetime: Duration) -> String {
        if self.given.len() >= MOST_TOKENS {
            self.given.clear();
        }
        self.count += 1;
        let token = format!("{:016x}", self.seed.hash_one(self.count));
        let until = Instant::now() + lifetime;
        self.given.insert(token.clone(), (scope.to_owned(), until));
        token
    }

    fn allow(&self, token: &str, repository: &str, action: &str) -> bool {
        self.given.get(token).is_some_and(|(scope, until)| {
            let actions = scope
                .strip_prefix("repository:")
                .and_then(|scope| scope.strip_prefix(repository)?.strip_prefix(':'));
            *until > Instant::now()
                && (repository.is_empty()
                    || actions.is_some_and(|actions| actions.split(',').any(|one| one == action)))
        })
    }
}

/// Judges a request for this repository (empty for the registry itself). The error is the refusal
/// and, with a 401, the challenge.
pub(super) fn judge(
    access: &Access,
    tokens: &Tokens,
    headers: &HeaderMap,
    realm: &str,
    (repository, action): (&str, &str),
) -> Result<(), (Refusal, Option<String>)> {
    let sent = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let user = match access {
        Access::Open => return Ok(()),
        Access::Basic(user) if user.is(sent) => user,
        Access::Basic(_) => return Err((unauthorized(), Some("Basic realm=\"demo\"".to_owned()))),
        Access::Token { user, .. } => {
            let token = sent.and_then(|sent| sent.strip_prefix("Bearer "));
            if !token.is_some_and(|token| tokens.allow(token, repository, action)) {
                let scope = match repository {
                    "" => String::new(),
                    repository => format!(",scope=\"repository:{repository}:{action}\""),
                };
                let challenge = format!("Bearer realm=\"{realm}\",service=\"demo\"{scope}");
                return Err((unauthorized(), Some(challenge)));
            }
            user
        }
    };
    match user.forbidden {
        true => Err((Refusal(403, "DENIED", "not yours".to_owned()), None)),
        false => Ok(()),
    }
}

/// The token server's answer to a request for this scope.
pub(super) fn token(
    access: &Access,
    tokens: &mut Tokens,
    headers: &HeaderMap,
    query: &HashMap<String, String>,
) -> Result<Value, Refusal> {
    let Access::Token {
        user,
        lifetime,
        anonymous_pull,
    } = access
    else {
        return Err(Refusal(
            404,
            "UNSUPPORTED",
            "no tokens are given".to_owned(),
        ));
    };
    let sent = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let refresh = query.get("refresh_token").map(String::as_str);
    let scope = query.get("scope").map_or("", String::as_str);
    let pull = scope.is_empty() || scope.ends_with(":pull");
    let known = user.is(sent) || refresh == Some(user.password.expose());
    let anonymous = sent.is_none() && refresh.is_none() && *anonymous_pull && pull;
    if !known && !anonymous {
        return Err(unauthorized());
    }
    let token = tokens.give(scope, *lifetime);
    Ok(json!({"token": token, "access_token": token, "expires_in": lifetime.as_secs()}))
}

impl User {
    fn is(&self, sent: Option<&str>) -> bool {
        let pair = STANDARD.encode(format!("{}:{}", self.name, self.password.expose()));
        sent.and_then(|sent| sent.strip_prefix("Basic ")) == Some(&pair)
    }
}

fn unauthorized() -> Refusal {
    Refusal(401, "UNAUTHORIZED", "authentication required".to_owned())
}
