//! Forges: one contract for all of them.

mod app;
mod checked;
mod committed;
mod contract;
mod faults;
mod gitea;
mod github;
mod making;
mod rights;
mod simulated;
mod standing;
mod teams;

use contract::Page;
use serde_json::Value;

/// A request and its comments, as forges show them.
fn page(pull: &Value, comments: &Value) -> Page {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, field: &str| {
        let all = value.as_array().into_iter().flatten();
        all.map(|it| text(&it[field])).collect()
    };
    Page {
        title: text(&pull["title"]),
        body: text(&pull["body"]),
        labels: list(&pull["labels"], "name"),
        comments: list(comments, "body"),
    }
}
