//! The key `request`: how requests about proposals are made, with `gate: pull-request`.

use serde_json::json;

use super::environment::values;
use super::form::{Flag, Text, Words, Wrong, text};
use super::list::any_list;
use super::problem::quote;
use super::section::Section;
use crate::model::{MergeMethod, OnNewer, RequestDiff, RequestPolicy, TitleTemplate};

/// Reads `request`.
pub(super) fn request(section: &mut Section<'_>) -> Option<RequestPolicy> {
    let title = section.or(
        "title",
        "Its title. `{application}`, `{environment}`, `{release}` and `{from}` (what it replaces) stand for their names.",
        title(),
        &format!("\"{}\"", TitleTemplate::default()),
    );
    let labels = section.or(
        "labels",
        "Labels that it gets when it is opened.",
        any_list(text("a label", "deployment")),
        "[]",
    );
    let reviewers = section.or(
        "reviewers",
        "Who is asked to review it when it is opened: user names, or `team:NAME`.",
        any_list(text("a user name", "ann")),
        "[]",
    );
    let draft = section.or("draft", "Whether it is opened as a draft.", Flag, "false");
    let auto_merge = section.or(
        "auto-merge",
        "How it merges by itself once its checks and approvals are in: `merge`, `squash` or `rebase`. `none`: a person merges it.",
        Words(&[
            ("none", None),
            ("merge", Some(MergeMethod::Merge)),
            ("squash", Some(MergeMethod::Squash)),
            ("rebase", Some(MergeMethod::Rebase)),
        ]),
        "none",
    );
    let on_newer = section.or(
        "on-newer",
        "What happens to a request that is approved, queued or armed to merge by itself when a newer release is proven: the newer one must `wait`, or it is to `replace` it, which dismisses approvals and turns auto-merge off first.",
        Words(&[("wait", OnNewer::Wait), ("replace", OnNewer::Replace)]),
        "wait",
    );
    let diff = section.optional(
        "diff",
        "How much of the difference to the cluster it shows: `full` (secrets masked), `fields` (paths without values) or `none`. Left out: `full` where the repository is private, else `fields`.",
        Words(&[
            ("full", RequestDiff::Full),
            ("fields", RequestDiff::Fields),
            ("none", RequestDiff::None),
        ]),
    );
    Some(RequestPolicy {
        title: title?.value,
        labels: values(labels?.value),
        reviewers: values(reviewers?.value),
        draft: draft?.value,
        auto_merge: auto_merge?.value,
        on_newer: on_newer?.value,
        diff: diff.map(|diff| diff.value),
    })
}

fn title() -> Text<TitleTemplate> {
    Text {
        wanted: "a title",
        sample: "{environment}: {application} {release}",
        parse: |text| {
            let parsed = text.parse::<TitleTemplate>();
            parsed.map_err(|why| {
                Wrong::new(
                    format!("{} is no title: {why}", quote(text)),
                    "write something like `{environment}: {application} {release}`",
                )
            })
        },
        schema: || json!({ "minLength": 1 }),
    }
}
