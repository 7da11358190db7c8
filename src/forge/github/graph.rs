//! What GraphQL alone can do: the merge queue and auto-merge
//! ([mutations](https://docs.github.com/en/graphql/reference/mutations)).

use serde::Deserialize;
use serde_json::{Value, json};

use super::GitHub;
use super::answer::{Pull, Rule};
use crate::forge::ForgeError;
use crate::model::MergeMethod;

#[derive(Deserialize)]
struct Queued {
    node: Option<QueuedNode>,
}

#[derive(Deserialize)]
struct QueuedNode {
    #[serde(rename = "mergeQueueEntry")]
    entry: Option<Value>,
}

impl GitHub {
    pub(super) async fn graph<T: for<'a> Deserialize<'a>>(
        &self,
        query: &str,
        variables: Value,
    ) -> Result<T, ForgeError> {
        let asked = json!({ "query": query, "variables": variables });
        let answered = self.octocrab().graphql(&asked).await;
        answered.map_err(|error| self.told(&error))
    }

    pub(super) async fn is_queued(&self, pull: &Pull) -> Result<bool, ForgeError> {
        let query =
            "query($id: ID!) { node(id: $id) { ... on PullRequest { mergeQueueEntry { id } } } }";
        let queued: Queued = self.graph(query, json!({ "id": pull.node_id })).await?;
        Ok(queued.node.is_some_and(|node| node.entry.is_some()))
    }

    pub(super) async fn dequeue(&self, pull: &Pull) -> Result<(), ForgeError> {
        let query =
            "mutation($id: ID!) { dequeuePullRequest(input: { id: $id }) { clientMutationId } }";
        let done = self.graph::<Value>(query, json!({ "id": pull.node_id }));
        done.await.map(drop)
    }

    pub(super) async fn auto_merge(
        &self,
        pull: &Pull,
        method: MergeMethod,
    ) -> Result<(), ForgeError> {
        let method = match method {
            MergeMethod::Merge => "MERGE",
            MergeMethod::Squash => "SQUASH",
            MergeMethod::Rebase => "REBASE",
        };
        let query = "mutation($id: ID!, $method: PullRequestMergeMethod!) { \
                     enablePullRequestAutoMerge(input: { pullRequestId: $id, mergeMethod: $method }) { clientMutationId } }";
        let variables = json!({ "id": pull.node_id, "method": method });
        self.graph::<Value>(query, variables).await.map(drop)
    }

    pub(super) async fn no_auto_merge(&self, pull: &Pull) -> Result<(), ForgeError> {
        let query = "mutation($id: ID!) { disablePullRequestAutoMerge(input: { pullRequestId: $id }) { clientMutationId } }";
        let done = self.graph::<Value>(query, json!({ "id": pull.node_id }));
        done.await.map(drop)
    }

    /// Whether a merge queue stands before a branch; asked once in a while. Who may not ask has none.
    pub(super) async fn has_queue(&self, branch: &str) -> bool {
        if let Some(known) = self.queue.of(branch) {
            return known;
        }
        let route = format!("rules/branches/{branch}");
        let rules = self.get::<Vec<Rule>>(&route, &[("per_page", "100")]).await;
        match rules {
            Ok(rules) => {
                let has = rules.iter().any(|rule| rule.kind == "merge_queue");
                self.queue.see(branch, has);
                has
            }
            Err(ForgeError::Denied { .. } | ForgeError::Refused { .. }) => {
                self.queue.see(branch, false);
                false
            }
            Err(_) => false,
        }
    }
}
