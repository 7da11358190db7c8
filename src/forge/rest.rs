//! What is said alike to the REST APIs of GitHub and Gitea, and read alike from them. Asks nothing itself.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::text::{self, Text};
use super::{Content, ForgeError};
use crate::model::{Digest, RequestPolicy};
use crate::secret;
use crate::shown::{in_markdown, on_one_line};

/// What is shown of an answer.
pub(super) const WORDS: usize = 400;

/// A comment of ours is looked for among those of so many hours: whoever was killed is started again by then.
const COMMENTED_WITHIN: SignedDuration = SignedDuration::from_hours(48);

/// What is told of an answer whose commit has no id.
pub(super) const NO_COMMIT: &str = "its answer cannot be read: a commit id that is none";

/// Something to say below a request: once, also by one that was killed after saying it. A mark that no forge
/// shows tells our comments.
pub(super) struct Saying {
    words: String,
    mark: String,
}

impl Saying {
    /// That it is closed, and why.
    pub(super) fn closes(reason: &str) -> Self {
        let words = format!("Towpath closes this: {}.", in_markdown(reason, WORDS));
        let mark = Digest::of(words.as_bytes()).short();
        Self {
            words,
            mark: format!("<!-- towpath:said {mark} -->"),
        }
    }

    /// Since when it may have been said, as the forges' `since` takes it.
    pub(super) fn since(now: Timestamp) -> String {
        let since = now.checked_sub(COMMENTED_WITHIN);
        let since = since.unwrap_or(Timestamp::UNIX_EPOCH);
        since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// Whether this comment is it.
    pub(super) fn is(&self, comment: &str) -> bool {
        comment.contains(&self.mark)
    }

    /// What is posted.
    pub(super) fn body(&self) -> Value {
        json!({ "body": format!("{}\n\n{}", self.words, self.mark) })
    }
}

/// How much of a login is told.
pub(super) const LOGIN: usize = 64;

/// `approved by ann, bob`, in the order of their names; nobody is nothing.
pub(super) fn approved<'a>(by: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let by = by.into_iter().map(|login| on_one_line(login, LOGIN));
    let by: Vec<String> = by.collect();
    (!by.is_empty()).then(|| format!("approved by {}", by.join(", ")))
}

/// Who is asked to review, as it is posted; `None`: nobody.
pub(super) fn reviewers(policy: &RequestPolicy) -> Option<Value> {
    let (mut users, mut teams) = (Vec::new(), Vec::new());
    for name in &policy.reviewers {
        match name.strip_prefix("team:") {
            Some(team) => teams.push(team),
            None => users.push(name),
        }
    }
    let nobody = policy.reviewers.is_empty();
    (!nobody).then(|| json!({ "reviewers": users, "team_reviewers": teams }))
}

/// The text of a request that nobody wrote anything in yet.
pub(super) fn opening(content: &Content) -> Text {
    let empty = Text {
        title: String::new(),
        body: String::new(),
    };
    text::merged(&empty, content)
}

/// It does not answer, or not now.
pub(super) fn unavailable(forge: &str, detail: &str, retry_after: Option<Duration>) -> ForgeError {
    ForgeError::Unavailable {
        forge: forge.to_owned(),
        detail: secret::words(detail, WORDS),
        retry_after,
    }
}
