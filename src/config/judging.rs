//! The keys `health` and `smoke`: when a deployment is judged, and by what.

use std::time::Duration;

use serde_json::json;

use super::form::{Text, Words, Wrong, a_second_or_more, text};
use super::health_rule;
use super::list::any_list;
use super::problem::quote;
use super::section::{Fields, Section};
use super::terms;
use super::terms::APPLICATION;
use crate::model::{HealthPolicy, NotExercised, SmokeTest};

/// Reads `health`.
pub(super) fn health(section: &mut Section<'_>) -> Option<HealthPolicy> {
    let timeout = section.or(
        "timeout",
        "How long a rollout may take before it has failed.",
        a_second_or_more(),
        "10m",
    );
    let not_exercised = section.or(
        "not-exercised",
        "What workloads that run nothing of a release (paused, scaled to zero, OnDelete, never due) say of it: `unproven` or `proven`.",
        Words(&[
            ("unproven", NotExercised::Unproven),
            ("proven", NotExercised::Proven),
        ]),
        "unproven",
    );
    let rules = section.or(
        "rules",
        "How the health of a kind is told that Towpath does not know, one rule a kind. Where no test holds, the object is in progress.",
        any_list(Fields {
            sample: "{ kind: Certificate, group: cert-manager.io, current: { /status/phase: [Ready] } }",
            read: health_rule::rule,
        }),
        "[]",
    );
    let rules = health_rule::once(rules?.value, section);
    Some(HealthPolicy {
        timeout: timeout?.value,
        not_exercised: not_exercised?.value,
        rules,
    })
}

/// A smoke test as it is stated, `{application}` not yet replaced.
#[derive(Debug, Clone)]
pub(super) struct SmokeStated {
    get: String,
    expect: u16,
    contains: Option<String>,
    timeout: Duration,
}

/// Reads one entry of `smoke`.
pub(super) fn smoke(section: &mut Section<'_>) -> Option<SmokeStated> {
    section.hint("url", "write `get: https://…`");
    section.hint("status", "write `expect: 200`");
    let get = section.required(
        "get",
        "The address that is asked for. `{application}` stands for the application's name.",
        web_address(),
    );
    let expect = section.or(
        "expect",
        "The status of the expected answer; redirects are not followed.",
        http_status(),
        "200",
    );
    let contains = section.optional(
        "contains",
        "A text that stands in the expected answer.",
        text("a text", "ok"),
    );
    let timeout = section.or(
        "timeout",
        "How long one request may take.",
        a_second_or_more(),
        "10s",
    );
    Some(SmokeStated {
        get: get?.value,
        expect: expect?.value,
        contains: contains.map(|text| text.value),
        timeout: timeout?.value,
    })
}

impl SmokeStated {
    /// The test of one application.
    pub(super) fn resolved(&self, application: &str) -> Option<SmokeTest> {
        Some(SmokeTest {
            get: self.get.replace(APPLICATION, application).parse().ok()?,
            expect: self.expect,
            contains: self.contains.clone(),
            timeout: self.timeout,
        })
    }
}

/// An address for HTTP in which `{application}` may stand. What is returned is the text as written.
fn web_address() -> Text<String> {
    Text {
        wanted: "an address",
        sample: "https://pipeline.example.com/healthz",
        parse: |text| {
            let url = terms::over_http(
                &text.replace(APPLICATION, "application"),
                "remove it: a smoke test asks for what everyone may see",
            )?;
            if url.is_none() {
                return Err(Wrong::new(
                    format!("{} is not an address", quote(text)),
                    "write `https://host/path` or `http://host/path`",
                ));
            }
            terms::placeholders(text)?;
            Ok(text.to_owned())
        },
        schema: || json!({ "pattern": "^https?://" }),
    }
}

/// The status of an HTTP answer.
fn http_status() -> Text<u16> {
    Text {
        wanted: "an HTTP status",
        sample: "200",
        parse: |text| match text.parse() {
            Ok(status @ 200..=599) => Ok(status),
            _ => Err(Wrong::new(
                format!("{} is not the status of an answer", quote(text)),
                "write a number from 200 to 599",
            )),
        },
        schema: || json!({ "type": "integer", "minimum": 200, "maximum": 599 }),
    }
}
