//! Commits that GitHub makes and signs
//! ([createCommitOnBranch](https://docs.github.com/en/graphql/reference/mutations#createcommitonbranch)): their author
//! is whoever asks, their committer GitHub itself.
//!
//! Owns one request and how its answer is read. What became of the branch is looked at by [`crate::git`].

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHub;
use crate::forge::ForgeError;
use crate::forge::rest::{self, WORDS};
use crate::git::{Committer, Making, NotMade};
use crate::model::CommitId;
use crate::secret::words;

/// What the files of one commit may have together, in bytes: manifests have far less, and a request takes a third
/// more. Where GitHub's own limit is, it does not say.
const FILES_MAX: usize = 16 << 20;

const QUERY: &str = "mutation($input: CreateCommitOnBranchInput!) { \
                     createCommitOnBranch(input: $input) { commit { oid } } }";

/// What it answers: always with 200.
#[derive(Debug, Deserialize)]
pub(super) struct Created {
    data: Option<Data>,
    errors: Option<Vec<Wrong>>,
}

#[derive(Debug, Deserialize)]
struct Data {
    #[serde(rename = "createCommitOnBranch")]
    created: Option<OnBranch>,
}

#[derive(Debug, Deserialize)]
struct OnBranch {
    commit: Option<Commit>,
}

#[derive(Debug, Deserialize)]
struct Commit {
    oid: String,
}

#[derive(Debug, Deserialize)]
struct Wrong {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    message: String,
}

impl Created {
    /// The commit.
    pub(super) fn commit(&self, forge: &str) -> Result<CommitId, ForgeError> {
        if let Some(wrong) = self.errors.iter().flatten().next() {
            return Err(wrong.told(forge));
        }
        let commit = self.data.as_ref().and_then(|it| it.created.as_ref());
        let commit = commit.and_then(|it| it.commit.as_ref());
        let id = commit.and_then(|it| it.oid.parse().ok());
        id.ok_or_else(|| rest::unavailable(forge, rest::NO_COMMIT, None))
    }
}

impl Wrong {
    fn told(&self, forge: &str) -> ForgeError {
        let forge = forge.to_owned();
        let message = match self.message.trim() {
            "" => "it does not say why",
            message => message,
        };
        let reason = words(message, WORDS);
        match self.kind.as_deref() {
            Some("FORBIDDEN" | "INSUFFICIENT_SCOPES") => ForgeError::Denied {
                forge,
                reason: format!("{reason}: the credential lacks a right, see docs/github.md"),
            },
            // An error of GitHub's own has no type.
            None | Some("RATE_LIMITED" | "SERVICE_UNAVAILABLE" | "INTERNAL") => {
                rest::unavailable(&forge, &reason, None)
            }
            Some(_) => ForgeError::Refused { forge, reason },
        }
    }
}

/// The mutation's input.
fn input(repository: &str, making: &Making) -> Value {
    let (headline, body) = making
        .message
        .split_once('\n')
        .unwrap_or((&making.message, ""));
    let additions = making.files.iter().map(
        |(path, content)| json!({ "path": path, "contents": BASE64_STANDARD.encode(content) }),
    );
    json!({
        "branch": {
            "repositoryNameWithOwner": repository,
            "branchName": making.branch,
        },
        "message": { "headline": headline, "body": body.trim() },
        "fileChanges": { "additions": additions.collect::<Vec<_>>() },
        "expectedHeadOid": making.head.to_string(),
    })
}

impl GitHub {
    async fn create_commit(&self, making: &Making) -> Result<CommitId, ForgeError> {
        let size: usize = making.files.iter().map(|(_, content)| content.len()).sum();
        if size > FILES_MAX {
            let reason = format!(
                "the files of one commit have {} MiB together, and its API is asked for {} MiB at most",
                size >> 20,
                FILES_MAX >> 20
            );
            let forge = self.name.clone();
            return Err(ForgeError::Refused { forge, reason });
        }
        let asked = json!({ "query": QUERY, "variables": { "input": input(&self.path, making) } });
        let answered = self.octocrab().post("/graphql", Some(&asked)).await;
        let created: Created = answered.map_err(|error| self.told(&error))?;
        created.commit(&self.name)
    }
}

#[async_trait]
impl Committer for GitHub {
    fn name(&self) -> &str {
        &self.name
    }

    async fn commit(&self, making: &Making) -> Result<CommitId, NotMade> {
        self.create_commit(making).await.map_err(|error| NotMade {
            why: error.to_string(),
            retry_after: match error {
                ForgeError::Unavailable { retry_after, .. } => retry_after,
                _ => None,
            },
        })
    }
}
